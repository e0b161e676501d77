"""What GitHub reports that it merged on a base, in one file: by its word alone, where the commit has no trailers of ours.

GitHub is asked about pull requests whose branches are here, or that are open. Once a branch is cleared away, who begins later hears
no more of what a person or a merge queue has merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.model.names import Sha, TaskId, is_sha
from reconciler.model.observed import Landing
from reconciler.system import derived

_FORM = "heard 1"
_MOST = 16_384


class _Merged(Struct, frozen=True, array_like=True):
    base: str
    task: TaskId
    head: Sha
    commit: Sha
    at: datetime


class Heard:
    """The file of one repository."""

    def __init__(self, git: Git) -> None:
        self._path = f"{git.repository.state}/heard"
        self._kept: tuple[_Merged, ...] | None = None

    def landings(self, base: str) -> list[Landing]:
        """What was heard to have been merged on a base; whether that still holds the commits is not asked here."""
        self._kept = self._read() if self._kept is None else self._kept
        rows = (row for row in self._kept if row.base == base)
        return [Landing(task=row.task, head=row.head, commit=row.commit, at=row.at) for row in rows]

    def note(self, base: str, landings: Sequence[Landing]) -> None:
        """Write these down, where they are not yet."""
        rows = [_Merged(base, each.task, each.head, each.commit, each.at) for each in landings]
        if not rows or (self._kept is not None and set(rows) <= set(self._kept)):
            return
        before = self._read()  # with what others have written since
        self._kept = tuple(dict.fromkeys((*before, *rows)))[-_MOST:]
        if set(rows) - set(before):
            derived.store(self._path, _FORM, self._kept)

    def _read(self) -> tuple[_Merged, ...]:
        rows = derived.load(self._path, _FORM, tuple[_Merged, ...]) or ()
        return tuple(row for row in rows if is_sha(row.head) and is_sha(row.commit))
