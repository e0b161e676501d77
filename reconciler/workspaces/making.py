"""How the worktree of a task is made, and made ready: the mark that it is whole comes last."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.git.commands import Git
from reconciler.git.places import FoundWorktree, foreign, identity
from reconciler.git.worktrees import MADE, READY, WorktreeListing
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import Sha, TaskId, branch_of
from reconciler.model.ports import Place
from reconciler.workspaces import checkout, copies
from reconciler.workspaces.branches import Branches
from reconciler.workspaces.checkout import Recipe
from reconciler.workspaces.stale_locks import clear
from reconciler.workspaces.worktree_register import Register


class Making:
    """The making of worktrees in one repository; one at a time per task."""

    def __init__(self, git: Git, branches: Branches, register: Register) -> None:
        self._git, self._branches, self._register = git, branches, register

    def make(self, task: TaskId, place: Path, recipe: Recipe, base: Sha, lock: int) -> None:
        """Make the worktree of `task`, whose branch begins at `base` where there is none. Git holds `lock` while it writes there."""
        with self._git.writing() as writer:
            listing = self._register.around(place, branch_of(task))
            self._register.forget(listing.at(place))
            self._register.forget_unlisted(listing, place, task)
            self.free(task, listing)
            self._branches.start(task, base, writer)
            self._register.add(place, task, branch_of(task), writer)
            entry = self._register.entry(place)
        if not (entry.admin and entry.head):
            raise ChangedError(f"{task}: its branch vanished while its worktree was being made")
        checkout.note(entry.admin, recipe)
        checkout.fill(self._git, entry, entry.head, recipe, lock)
        if not recipe.sparse:  # else it says of files that nobody is to look at them
            checkout.keep_index(entry.admin)
        copies.place(self._git.repository.main, place, recipe.copies)
        if self._register.entry(place).head != entry.head:
            raise ChangedError(f"{branch_of(task)} moved while its worktree was being made")
        checkout.write(entry.admin / MADE, identity(entry.admin, place))

    def ready(self, task: TaskId, found: FoundWorktree, lock: int) -> Place:
        """See to what a worktree that is there lacks before an agent works in it."""
        entry = found.entries[0] if found.usable else None
        if not (entry and entry.admin and entry.head):
            raise ChangedError(f"{found.place}: {found.detail or 'it vanished'} while it was being made")
        if not clear(entry.admin / "index.lock"):
            busy = TemporaryError(f"{found.place}: git is running there (index.lock)", delay=30.0)
            raise busy.due_to(entry.admin / "index.lock")
        checkout.fix_index(self._git, entry, checkout.recorded(found.admins), lock)
        self._register.lock(task, found)
        if not (entry.admin / MADE).stat().st_size:  # made before that was written down
            checkout.write(entry.admin / MADE, identity(entry.admin, found.place))
        marker = entry.admin / READY
        somebodys = entry.locked is not None and not entry.locked_by_us
        return Place(
            path=str(found.place),
            head=entry.head,
            ready_marker=str(marker),
            set_up=marker.exists(),
            lock_file="" if somebodys else str(entry.admin / "locked"),
        )

    def free(self, task: TaskId, listing: WorktreeListing) -> None:
        """Make sure that no worktree has the branch of `task` checked out."""
        for entry in listing.holding(branch_of(task)):
            # In a copy of a repository, what the original has checked out is not checked out here.
            there = os.path.lexists(entry.path) and not foreign(self._git.repository.common, entry.path)
            gone = not there and not entry.has("modules")
            if not gone or not (entry.locked_by_us or entry.has(MADE)):
                raise PermanentError(
                    f"{branch_of(task)} is checked out in {entry.path}",
                    hint=f"git worktree remove {entry.path}" if entry.admin else "check out another branch there",
                ).due_to(entry.path, (entry.admin or self._git.repository.common) / "HEAD")
            self._register.forget((entry,))
