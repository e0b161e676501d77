"""Worktrees, and what is saved of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from reconciler.model.desired import EpicSpec
from reconciler.model.names import BranchName, Sha, TaskId
from reconciler.model.observed import (
    Branch,
    Salvage,
    Worktree,
)
from reconciler.model.venue import Venue


class Place(Struct, frozen=True, kw_only=True):
    """A worktree that is ready to be worked in. `ready_marker`: a file that a run touches once its set-up commands have
    succeeded; `set_up`: it is there. `lock_file`: what git-locks the worktree for us, taken away when the run ends."""

    path: str
    head: Sha
    ready_marker: str
    set_up: bool = False
    lock_file: str = ""


class CommittedFile(Struct, frozen=True, kw_only=True):
    """A file in a commit. `interpreters`: the programs that its first line names, with whose help alone it can be executed."""

    there: bool = True
    executable: bool = True
    interpreters: tuple[str, ...] = ()


class Workspaces(Protocol):
    """Git worktrees, one per task on `agent/<task>`, and one per check or review. On this machine they stand at `<root>/<task>`
    and `<root>/.checks/<subject>`, where `root` is that of the venue `at` which they are."""

    def worktrees(self, at: Venue, tasks: Iterable[TaskId]) -> Mapping[TaskId, Worktree]:
        """What stands at the places of these tasks, and of every other worktree of ours at this venue."""
        ...

    def check_worktrees(self, at: Venue) -> Mapping[str, str]:
        """The path of every worktree of a check or a review, by subject."""
        ...

    def branches(self, base: Sha) -> Mapping[TaskId, Branch]:
        """Every `agent/<task>` branch, measured against `base`."""
        ...

    def broken_branches(self) -> Mapping[TaskId, str]:
        """Tasks whose branch the last look at `branches` left out because it can't be read: why, and what fixes it."""
        ...

    def committed(self, base: Sha, path: str) -> CommittedFile | None:
        """The file as this commit holds it; None where that can't be known."""
        ...

    def salvages(self) -> tuple[Salvage, ...]:
        """Everything that was saved, oldest first; what was dropped too."""
        ...

    def time_passes(self, now: datetime) -> None:
        """Count the time since this was called last to the age of all that was saved: nothing at least, a day at most."""
        ...

    def create(self, task: TaskId, spec: EpicSpec, base: Sha, n: int = 1) -> Place:
        """Make the worktree of `task`, or repair a half-made one, or find the one that is there, for its n-th run.

        A new branch starts at `base`; one that exists is checked out as it is. The worktree is git-locked until
        `unlock`. Raises PermanentError for a place that is taken.
        """
        ...

    def create_check(self, subject: str, at: Venue, commit: Sha, *, n: int = 1, apart: bool = False) -> str:
        """A clean detached worktree of `commit` for a check or a review; its path. One that is there is made again.

        `apart`: git in it knows the commits and branches of the repository, and nothing that was set up in it.
        """
        ...

    def salvage(self, task: TaskId, at: Venue) -> Salvage | None:
        """Save what no ref holds: changed and untracked files, and commits of a head that is off its branch.

        Verified before it returns. None when there is nothing to save. The same content is saved once.
        """
        ...

    def remove(self, task: TaskId, at: Venue) -> Salvage | None:
        """Remove the worktree of `task`; what no ref holds is salvaged first, and is the answer. Raises PermanentError for a nested
        repository, ChangedError when it changes while it is being saved."""
        ...

    def expect_removable(self, task: TaskId, at: Venue) -> None:
        """Raise what `remove` would for what is in the worktree of `task`, or for who locked it. Nothing is changed."""
        ...

    def remove_check(self, subject: str, at: Venue) -> None:
        """Remove the worktree of a check or a review, and whatever that left in it."""
        ...

    def delete_branch(self, task: TaskId, expected: Sha) -> None:
        """Delete `agent/<task>` if its head still is `expected`. Raises ChangedError otherwise."""
        ...

    def drop_salvage(self, salvage: Salvage) -> None:
        """Drop saved work, if it still is this commit; what was dropped before is forgotten."""
        ...

    def take(self, task: TaskId, at: Venue, head: Sha) -> None:
        """Bring the branch of `task` to `head`, on which its worktree went on without it, and the worktree back to it."""
        ...

    def restore(self, task: TaskId) -> BranchName:
        """Bring the newest saved work of `task` back: as its branch, or as `restored/<task>-<n>` where that is taken."""
        ...

    def fix(self, at: Venue) -> None:
        """Have git find the worktrees of this venue again, where the repository was moved."""
        ...

    def ignored(self, task: TaskId, at: Venue) -> tuple[int, int]:
        """How many files in the worktree of `task` git ignores, and their bytes: what no salvage holds."""
        ...
