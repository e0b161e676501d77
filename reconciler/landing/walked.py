"""What was found to have landed on a base up to a tip of it, in one file: a process that starts goes on from there.

What is on the line that ends in a commit never changes. So a row counts for its tip, and for what comes after that; but not in a
shallow clone, where a line may turn out to be longer.
"""

from __future__ import annotations

import sys
from datetime import datetime

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.model.names import Sha, TaskId, is_sha
from reconciler.model.observed import Landing
from reconciler.system import derived

FEWEST = 32  # landings that are not written down, before they are
_FORM = "landings 1"  # another one wherever another text is taken for a landing
_BASES = 8


class _Row(Struct, frozen=True, array_like=True):
    task: TaskId
    head: Sha
    commit: Sha
    at: datetime


class Walked:
    """The file of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._path = f"{git.repository.state}/landings"
        self._written: dict[str, int] = {}

    def upto(self, base: str) -> tuple[Sha, tuple[Landing, ...]] | None:
        """A commit that was the tip of a base once, and every landing on the line that ends in it, oldest first."""
        found = self._read().get(base)
        if found is None or not is_sha(found[0]):
            return None
        self._written[base] = len(found[1])
        return found[0], tuple(
            [Landing(task=TaskId(sys.intern(r.task)), head=r.head, commit=r.commit, at=r.at) for r in found[1]]
        )

    def note(self, base: str, tip: Sha, landings: tuple[Landing, ...]) -> None:
        """Write these down, once that is worth it."""
        before = self._written.get(base, 0)
        if abs(len(landings) - before) < max(FEWEST, before // 16) or self._shallow():
            return
        rows = [_Row(each.task, each.head, each.commit, each.at) for each in landings]
        others = [(name, kept) for name, kept in self._read().items() if name != base]
        derived.store(self._path, _FORM, dict([*others[1 - _BASES :], (base, (tip, rows))]))
        self._written[base] = len(landings)

    def _read(self) -> dict[str, tuple[Sha, list[_Row]]]:
        kept = None if self._shallow() else derived.load(self._path, _FORM, dict[str, tuple[Sha, list[_Row]]])
        return kept or {}

    def _shallow(self) -> bool:
        common = self._git.repository.common
        return (common / "shallow").exists() or (common / "info" / "grafts").exists()
