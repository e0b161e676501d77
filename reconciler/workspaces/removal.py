"""How a worktree goes: what no ref holds is saved, it is looked at again, and only what is as it was is taken away."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.git.places import FoundWorktree
from reconciler.git.refs import HEADS
from reconciler.git.worktrees import MADE, NESTED, Entry
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import Sha, TaskId, branch_of, is_sha
from reconciler.model.observed import Salvage, WorktreeFault
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.workspaces import checkout, copies, folders, snapshot
from reconciler.workspaces.branches import Branches
from reconciler.workspaces.folders import Stamp
from reconciler.workspaces.salvage import Salvages, Saved
from reconciler.workspaces.snapshot import Work
from reconciler.workspaces.worktree_register import Register, refuse_locked

_STASHES = ("rebase-merge/autostash", "rebase-apply/autostash", "MERGE_AUTOSTASH")


class Removals(Struct, frozen=True, kw_only=True):
    """Of one repository. `look` finds the worktree of a task below a root; `lock` everywhere is the worktree's own."""

    git: Git
    branches: Branches
    salvages: Salvages
    register: Register
    look: Callable[[TaskId, str], FoundWorktree]

    def clear(self, task: TaskId, found: FoundWorktree, lock: int) -> Salvage | None:
        """Take away what stands at a place, or what git remembers of it, once nothing in it can be lost; what was saved."""
        if found.fault is WorktreeFault.TAKEN:
            raise PermanentError(
                f"{found.place} is in the way: {found.detail}", hint="move it away, or set another worktrees.root"
            ).due_to(found.place)
        if not found.present and not found.entries:
            return None
        refuse_locked(found.entries)
        saved = self.save(task, found, lock)
        refuse_nested(found, saved.standing.repositories)
        if found.present:
            self._take_away(task, found, saved, lock)
        with self.git.writing():
            self.register.forget(found.entries)
        snapshot.forget(self.git, task)
        return saved.salvage

    def _take_away(self, task: TaskId, found: FoundWorktree, saved: Saved, lock: int) -> None:
        self.register.lock(task, found)
        again = self.look(task, str(found.place.parent))
        unlocked = replace(again, entries=tuple(_unlocked(entry) for entry in again.entries))
        before = replace(found, entries=tuple(_unlocked(entry) for entry in found.entries))
        seen = self._as_it_was(saved, lock) if unlocked == before else None
        if seen is None:
            raise ChangedError(f"{task}: {found.place} changed while it was being removed")
        folders.refuse_mounted(found.place)
        for admin in found.admins:
            (admin / MADE).unlink(missing_ok=True)
        folders.take_away(found.place, seen)

    def _as_it_was(self, saved: Saved, lock: int) -> dict[str, Stamp | None] | None:
        """Every file, with how it is where it counts; None when one that counts has changed since it was saved.

        What git ignores may have, which is asked only then.
        """
        if saved.sight is None:  # looked at this moment, and nothing was read since: everything counts
            return dict(saved.standing.files)
        work, standing = saved.work, folders.contents(saved.work.place)
        counts = {*saved.sight.files, *work.recipe.copies}
        if standing != saved.standing:
            if snapshot.sight(self.git, work, lock, standing) != saved.sight:
                return None
            if copies.changed(work.place, work.recipe.copies) != saved.kept_copies:
                return None
            # While git listed them, what counts must have stood still, and nothing have come.
            earlier, standing = standing, folders.contents(work.place)
            counts |= standing.files.keys() - earlier.files.keys()
            if any(standing.files.get(path) != earlier.files.get(path) for path in counts):
                return None
        return {path: stamp if path in counts else None for path, stamp in standing.files.items()}

    def save(self, task: TaskId, found: FoundWorktree, lock: int) -> Saved:
        """Save what no ref holds, and note where a repository of its own is in it."""
        saved = self.salvages.save(self.work(task, found), lock)
        for admin in found.admins:
            if nested := saved.standing.repositories:
                checkout.write(admin / NESTED, nested[0])
            else:
                (admin / NESTED).unlink(missing_ok=True)
        return saved

    def work(self, task: TaskId, found: FoundWorktree) -> Work:
        """What there is to be saved, and from where it is counted."""
        branch = self.branches.head(task)
        others = {entry.branch for entry in found.entries} - {None, HEADS + branch_of(task)}
        return Work(
            task=task,
            place=found.place,
            start=next(iter(found.heads), branch),
            heads=(*found.heads, *self._stashes(found)),
            branch=next(iter(others), None),
            recipe=checkout.recorded(found.admins),
            admin=next(iter(found.admins), None),
            whole=found.made,
        )

    def _stashes(self, found: FoundWorktree) -> Iterator[Sha]:
        """What git put aside for a rebase or merge that is not over: no ref holds it."""
        for admin in found.admins:
            for name in _STASHES:
                text = (admin / name).read_text("utf-8", "replace").strip() if (admin / name).is_file() else ""
                if is_sha(text):
                    yield Sha(text)


def refuse_nested(found: FoundWorktree, repositories: Iterable[str]) -> None:
    """Raise PermanentError for a worktree with a repository of its own in it: nobody knows what only that holds."""
    nested = next(iter(repositories), found.nested())
    if nested is not None:
        raise PermanentError(
            f"{Reason.NESTED_REPOSITORY}: {found.place} holds a repository of its own: {nested}",
            hint=f"look into it, then: git worktree remove --force {shlex.quote(str(found.place))}",
        ).due_to(found.place, found.place / nested)


def _unlocked(entry: Entry) -> Entry:
    return replace(entry, locked=None)
