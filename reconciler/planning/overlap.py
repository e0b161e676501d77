"""Where tasks are likely to change something, so that those who would change the same begin one after the other. Pure.

What is likely is declared by labels (`paths:src/parser/**`), else what landed before of tasks with the same labels has changed;
of work in hand also what it has changed so far. It is a guess, and decides nothing but an order: of equally urgent tasks those
go first that meet nobody, a slot is never left empty for it, and nobody is passed for ever.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from reconciler.model.globs import fits
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Candidate, Conflict, Landing, Observed, Task, known_or
from reconciler.planning.job import Job
from reconciler.planning.labels import OURS, PATHS, SOLO

PAST_MAX = 30  # landings that are learned from, the newest
OFTEN = 1 / 3  # of the landings of like tasks, so that a path is likely
PASSED_MAX = 20  # others that may begin before one that is ready; a night of sixty tasks gains nothing by more
ANYWHERE = 1 / 2  # of those of other tasks: what so many change says nothing of any
_WILD = re.compile(r"[*?]")


Scopes = tuple[tuple[str, tuple[str, ...]], ...]
"""Names, and the globs of what hangs together under each."""


class Footprint(Struct, frozen=True):
    """Where a piece of work is likely to change something. `scopes`: the names of what that is part of."""

    paths: frozenset[str] = frozenset()
    globs: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.paths or self.globs)

    def meets(self, other: Footprint) -> str | None:
        """Where both are likely to change something: a path, where one is known; None where they keep apart."""
        found = self.paths & other.paths
        found |= {path for path in other.paths if fits(path, self.globs)}
        found |= {path for path in self.paths if fits(path, other.globs)}
        glob = next((g for g in self.globs for o in other.globs if _cross(g, o)), None)
        if found or glob:
            return min(found) if found else glob
        return next((f"what is in scope {name}" for name in sorted(self.scopes & other.scopes)), None)

    def joined(self, other: Footprint) -> Footprint:
        """Both of them."""
        return Footprint(self.paths | other.paths, tuple(dict.fromkeys((*self.globs, *other.globs))))

    def within(self, scopes: Scopes) -> Footprint:
        """The same, with the scopes that it is in.

        >>> Footprint(frozenset({"src/a.py"})).within((("core", ("src/**",)), ("web", ("web/**",)))).scopes
        frozenset({'core'})
        """
        found = (
            name
            for name, globs in scopes
            if any(fits(path, globs) for path in self.paths) or any(_cross(g, o) for g in self.globs for o in globs)
        )
        return Footprint(self.paths, self.globs, frozenset(found)) if scopes and self else self


def first_apart(ready: Sequence[Footprint], in_hand: Sequence[Footprint], passed: Callable[[int], int]) -> int:
    """Which of those that are ready goes first: the first one that meets nothing in hand, else the first. Before that one whom
    as many have passed as may; `passed`: how many it were."""
    at = next((n for n, foot in enumerate(ready) if not any(foot.meets(each) for each in in_hand)), 0)
    return next((n for n in range(at) if passed(n) >= PASSED_MAX), at)


def declared(labels: Collection[str]) -> Footprint:
    """What the labels of a task name: `paths:` and a path or a glob each.

    >>> declared({"paths:src/*.py", "paths:README.md", "ui"})
    Footprint(paths=frozenset({'README.md'}), globs=('src/*.py',), scopes=frozenset())
    """
    named = sorted(label.removeprefix(PATHS) for label in labels if label.startswith(PATHS))
    wild = tuple(glob for glob in named if _WILD.search(glob))
    return Footprint(frozenset(named) - {*wild, ""}, wild)


class Guesses:
    """What is known of one look about where its tasks change something. Remembers what it was asked."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._learned: dict[frozenset[str], Footprint] = {}
        self._past: tuple[tuple[frozenset[str], Sha], ...] | None = None

    def of(self, task: Task) -> Footprint:
        """Where a task is likely to change something, by what it declares, else by what like ones changed."""
        found = declared(task.labels)
        kind = _kind(task.labels)
        if found or not kind:
            return found
        if kind not in self._learned:
            self._learned[kind] = self._learn(kind)
        return self._learned[kind]

    def in_hand(self, job: Job) -> Footprint:
        """The same of work that was begun, with what it has changed by now."""
        changed = job.candidate.changed if isinstance(job.candidate, Candidate) else frozenset[str]()
        changed |= frozenset(job.candidate.paths) if isinstance(job.candidate, Conflict) else frozenset()
        touched = self._observed.touched.get(job.task.id)
        return self.of(job.task).joined(Footprint(changed | (touched.paths if touched else frozenset())))

    def unread(self, task: Task) -> frozenset[Sha]:
        """The landings that would have to be read to learn of it, and have not been."""
        kind = _kind(task.labels)
        if declared(task.labels) or not kind or not any(kind <= labels for labels, _ in self._landed()):
            return frozenset()
        return frozenset(commit for _, commit in self._landed() if commit not in self._observed.past)

    def _learn(self, kind: frozenset[str]) -> Footprint:
        read = [(labels, self._observed.past.get(commit)) for labels, commit in self._landed()]
        known = [(labels, paths) for labels, paths in read if paths is not None]
        alike = [paths for labels, paths in known if kind <= labels]
        others = [paths for labels, paths in known if not kind <= labels]
        return Footprint(_often(alike, OFTEN) - _often(others, ANYWHERE))

    def _landed(self) -> tuple[tuple[frozenset[str], Sha], ...]:
        """The newest landings: the labels of their tasks, and their commits."""
        if self._past is None:
            landings, tasks = self._observed.landings, self._observed.tasks
            found: Mapping[TaskId, Landing] = known_or(landings, {})
            graph: Mapping[TaskId, Task] = known_or(tasks, {})
            newest = sorted((each for each in found.values() if each.task in graph), key=lambda each: each.at)
            self._past = tuple((graph[each.task].labels, each.commit) for each in newest[-PAST_MAX:])
        return self._past


def _kind(labels: Iterable[str]) -> frozenset[str]:
    """The labels that say what a task is about."""
    ours = (*OURS, SOLO)
    return frozenset(each for each in labels if each not in ours and not each.startswith(("pr:", PATHS)))


def _often(changes: Sequence[frozenset[str]], share: float) -> frozenset[str]:
    """The paths in more than this share of them."""
    counts = Counter(path for paths in changes for path in paths)
    return frozenset(path for path, many in counts.items() if many > share * len(changes))


def _cross(one: str, other: str) -> bool:
    """True where a path might fit both globs, as far as their fixed beginnings and ends tell."""
    (begin, end), (others_begin, others_end) = _ends(one), _ends(other)
    begins = begin.startswith(others_begin) or others_begin.startswith(begin)
    return begins and (end.endswith(others_end) or others_end.endswith(end))


def _ends(glob: str) -> tuple[str, str]:
    parts = _WILD.split(glob.casefold())
    return parts[0], parts[-1]
