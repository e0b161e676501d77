"""What was taken back of what has landed: on the base itself, or in the index of a checkout of it, by the next commit there.

The one who took it back may have meant to. So it is reported; and fixed only where it can be nobody's work: where every file is as
it was before a landing of this minute, as a git leaves it that began before that landing and ended after it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.git.tree_entries import BEADS
from reconciler.landing import following
from reconciler.landing.following import Entry, PathChange
from reconciler.landing.history import History
from reconciler.landing.opened import BaseCheckout, opened
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Landing

FAR = 64  # commits of a base that are looked at
BESIDE = timedelta(seconds=60)


class Logged(Struct, frozen=True):
    """A commit on the first-parent line of a base; `changes`: by path, what stood there before it and after it."""

    sha: Sha
    changes: Mapping[str, tuple[Entry | None, Entry | None]]


class Undoing(Struct, frozen=True):
    """What the index of a checkout takes back: `new` of each change is what is staged. `by_chance`: nobody's work."""

    changes: tuple[PathChange, ...]
    by_chance: bool


class Undone:
    """Looks at what was taken back. What was found is kept for as long as base and index stay as they are."""

    def __init__(self, git: Git, history: History) -> None:
        self._git, self._history = git, history
        self._log: dict[Sha, tuple[Logged, ...]] = {}
        self._bases: dict[str, tuple[Sha, Mapping[TaskId, Sha]]] = {}
        self._indexes: dict[str, tuple[object, Undoing | None]] = {}

    def on(self, base: str, tip: Sha, landings: Sequence[Landing]) -> Mapping[TaskId, Sha]:
        """The tasks of which nothing is left on a base that they landed on, and the commit that took the last of it back.

        Only where that is no landing: what landed later has passed its own checks.
        """
        known = self._bases.get(base)
        if known and (known[0] == tip or (not known[1] and self._history.only_landings_between(known[0], tip))):
            found = known[1]
        else:
            ours = {landing.commit: landing.task for landing in landings}
            found = self._taken_back(tip, ours) if ours and not self._ours_alone(tip, ours) else {}
        self._bases[base] = tip, found
        return found

    def staged(self, checkout: BaseCheckout, tip: Sha, landings: Sequence[Landing]) -> Undoing | None:
        """What the next commit in a checkout of `tip` would take back of what has landed; None where it is nothing."""
        if not landings:
            return None
        state = _state(checkout), tip
        known = self._indexes.get(str(checkout.path))
        if known and known[0] == state and state[0]:
            return known[1]
        found = self._staged(checkout, tip, landings) if state[0] else None
        self._indexes[str(checkout.path)] = state, found
        return found

    def clean(self, checkout: BaseCheckout, tip: Sha) -> None:
        """Remember that the index of a checkout was just brought to `tip` by us."""
        self._indexes[str(checkout.path)] = (_state(checkout), tip), None

    def _ours_alone(self, tip: Sha, ours: Mapping[Sha, TaskId]) -> bool:
        """True where nobody could have taken anything back. What each commit changed takes git ten times as long to tell."""
        line = self._git.objects("rev-list", "--first-parent", f"--max-count={FAR}", tip).text.split()
        return all(commit in ours for commit in line)

    def _taken_back(self, tip: Sha, ours: Mapping[Sha, TaskId]) -> dict[TaskId, Sha]:
        now: dict[str, tuple[Entry | None, Sha]] = {}  # what stands at a path, and the commit that put it there
        found: dict[TaskId, Sha] = {}
        newer: set[TaskId] = set()
        for logged in self._logged(tip):
            task = ours.get(logged.sha)
            if task in newer:
                task = None  # what it did before is no matter
            elif task:
                newer.add(task)
            last = [now.get(path, (new, logged.sha)) for path, (_, new) in logged.changes.items()]
            olds = [old for old, _ in logged.changes.values()]
            if task and last and all(there == old for (there, _), old in zip(last, olds, strict=True)):
                takers = {by for _, by in last}
                if not takers & ours.keys():
                    found.setdefault(task, next(iter(sorted(takers))))
            for path, (_, new) in logged.changes.items():
                now.setdefault(path, (new, logged.sha))
        return found

    def _staged(self, checkout: BaseCheckout, tip: Sha, landings: Sequence[Landing]) -> Undoing | None:
        with opened(self._git, checkout, tip) as seen:
            staged = following.staged(seen, tip)
            if not staged:
                return None
            landed = {landing.commit: landing for landing in landings}
            found, newest = [], None
            log = self._logged(tip)
            for change in staged:
                by = _taken(change, log, landed)
                if by and not change.path.startswith(f"{BEADS}/"):
                    found.append(change)
                    newest = max(newest or by.at, by.at)
            if not found or newest is None:
                return None
            beside = abs(datetime.fromtimestamp(checkout.index.stat().st_mtime, UTC) - newest) < BESIDE
            return Undoing(tuple(found), beside and all(following.untouched(seen, change) for change in found))

    def _logged(self, tip: Sha) -> tuple[Logged, ...]:
        """The newest commits of a base, newest first."""
        if tip not in self._log:
            which = ("--first-parent", f"--max-count={FAR}", "--format=%H", "--diff-merges=first-parent")
            how = ("--raw", "-z", "--no-renames", "--no-abbrev", "--no-show-signature", "--ignore-submodules=none")
            out = self._git.objects("log", *which, *how, tip, config=("log.showRoot=true",)).text
            self._log = {tip: tuple(_parsed(out.split("\0")))}
        return self._log[tip]


def _taken(change: PathChange, log: Sequence[Logged], landed: Mapping[Sha, Landing]) -> Landing | None:
    """The landing that a staged change takes back; None where somebody else had a part in what stood there."""
    for logged in log:
        if change.path not in logged.changes:
            continue
        if logged.sha not in landed:
            return None
        if logged.changes[change.path][0] == change.new:
            return landed[logged.sha]
    return None


def _parsed(cells: Sequence[str]) -> list[Logged]:
    found: list[tuple[Sha, dict[str, tuple[Entry | None, Entry | None]]]] = []
    rest = iter(cells)
    for cell in map(str.strip, rest):
        if cell.startswith(":"):
            found[-1][1][next(rest)] = following.sides(cell)
        elif cell:
            found.append((Sha(cell), {}))
    return [Logged(sha, changes) for sha, changes in found]


def _state(checkout: BaseCheckout) -> tuple[int, ...] | None:
    try:
        found = os.stat(checkout.index)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
