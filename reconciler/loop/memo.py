"""What was derived from a look, kept for as long as what it was derived from is the very same.

Sources give the same object while nothing changed. So a quiet look costs what is alive, and not what ever was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from msgspec import Struct, field

from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.observed import Candidate, Conflict, Fold, Run, Touched, Unknown
from reconciler.model.values import replace

T = TypeVar("T")
K = TypeVar("K")


_NEVER: tuple[tuple[object, ...], dict[Any, Any]] = ((None,), {})


class Memo(Struct):
    """The last value of each thing that is derived, with what it was derived from."""

    open_tasks: frozenset[TaskId] | None = None  # as of the last look that the tracker answered
    folds: Mapping[Fold, Candidate | Conflict | Unknown] = field(
        default_factory=dict
    )  # computed at the last closer look
    touched: dict[TaskId, Touched] = field(default_factory=dict)  # as they were seen at the last closer look
    past: dict[Sha, frozenset[str]] = field(default_factory=dict)  # what landed commits changed, as far as it was asked
    _last: dict[str, tuple[tuple[object, ...], Any]] = field(default_factory=dict)

    def of(self, name: str, sources: tuple[object, ...], make: Callable[[], T], equal: object = None) -> T:
        """What `make` gave last, where each source is the same object as then, and `equal` is equal; else what it gives now."""
        before = self._last.get(name)
        same = before and before[0][0] == equal and len(before[0]) == len(sources) + 1
        if before and same and all(a is b for a, b in zip(before[0][1:], sources, strict=True)):
            value: T = before[1]
            return value
        value = make()
        self._last[name] = (equal, *sources), value
        return value

    def folds_on(self, heads: Collection[Sha]) -> Mapping[Fold, Candidate | Conflict | Unknown]:
        """What is known still of what lands together on these tips of bases."""
        if any(isinstance(made, Unknown) or base not in heads for (base, _), made in self.folds.items()):
            known = ((chain, made) for chain, made in self.folds.items() if chain[0] in heads)
            self.folds = {chain: made for chain, made in known if not isinstance(made, Unknown)}
        return self.folds

    def touched_by(self, runs: Mapping[TaskId, tuple[Run, ...]] | Unknown) -> Mapping[TaskId, Touched]:
        """What those that are at work still had changed when somebody last looked."""
        if not self.touched or isinstance(runs, Unknown):
            return {}
        alive = {task for task in self.touched if any(run.alive for run in runs.get(task, ()))}
        self.touched = {task: replace(each, now=False) for task, each in self.touched.items() if task in alive}
        return self.touched

    def forget(self, name: str) -> None:
        """Derive it again at the next look."""
        self._last.pop(name, None)

    def grouped(
        self, name: str, kind: RunKind, runs: Mapping[RunId, Run], key: Callable[[Run], K | None]
    ) -> Mapping[K, tuple[Run, ...]]:
        """Runs of a kind by a key of theirs (None: left out), each group by number. Only groups in which one changed are made
        again."""
        before, groups = self._last.get(name, _NEVER)
        if before[0] is runs:
            same: Mapping[K, tuple[Run, ...]] = groups
            return same
        if before[0] is None:
            self._last[name] = (runs,), (made := _grouped([run for run in runs.values() if run.id.kind is kind], key))
            return made
        known: Mapping[RunId, Run] = before[0]
        changed = [run for id, run in runs.items() if known.get(id) is not run and id.kind is kind]
        gone = [run for id, run in known.items() if id not in runs and id.kind is kind]
        self._last[name] = (runs,), (made := _regrouped(groups, changed, gone, key))
        return made


def _grouped(runs: Iterable[Run], key: Callable[[Run], K | None]) -> dict[K, tuple[Run, ...]]:
    """Each group by number. Of thousands most are alone in theirs."""
    found: dict[K, tuple[Run, ...]] = {}
    more: dict[K, list[Run]] = {}
    for run in runs:
        of = key(run)
        if of is None:
            continue
        if of not in found:
            found[of] = (run,)
        elif of in more:
            more[of].append(run)
        else:
            more[of] = [*found[of], run]
    found.update((of, tuple(sorted(group, key=_number))) for of, group in more.items())
    return found


def _number(run: Run) -> int:
    return run.id.n


def _regrouped(
    groups: Mapping[K, tuple[Run, ...]], changed: Iterable[Run], gone: Iterable[Run], key: Callable[[Run], K | None]
) -> dict[K, tuple[Run, ...]]:
    edited: dict[K, dict[RunId, Run]] = {}
    for run, there in (*((run, False) for run in gone), *((run, True) for run in changed)):
        if (of := key(run)) is None:
            continue
        group = edited.setdefault(of, {each.id: each for each in groups.get(of, ())})
        group.pop(run.id, None)
        if there:
            group[run.id] = run
    made = dict(groups)
    for of, group in edited.items():
        if group:
            made[of] = tuple(sorted(group.values(), key=_number))
        else:
            made.pop(of, None)
    return made
