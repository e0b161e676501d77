"""Git worktrees: one per task, one per check. Made so that an interrupted making is repaired, removed only when nothing is lost.

A worktree is used only when git lists it, it stands on its branch, and our completion mark lies in its admin folder (the
mark is written last, and taken away before a removal begins). Whatever else stands at its place is repaired, after its
content was saved, or refused. Files that git ignores are not saved; `ignored` counts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from reconciler.git import committed_files, own_view
from reconciler.git.commands import Git
from reconciler.git.places import FoundWorktree, busy, foreign, look
from reconciler.git.refs import HEADS
from reconciler.git.worktrees import MADE, Entry
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import BRANCH_PREFIX, BranchName, Sha, TaskId, branch_of, usable, usable_subject
from reconciler.model.observed import Branch, Salvage, Worktree, WorktreeFault
from reconciler.model.ports import CommittedFile, Place
from reconciler.model.venue import Venue
from reconciler.workspaces import checkout, copies, folders, snapshot
from reconciler.workspaces.branches import Branches
from reconciler.workspaces.check_refs import CheckRefs
from reconciler.workspaces.checkout import Recipe
from reconciler.workspaces.making import Making
from reconciler.workspaces.removal import Removals, refuse_nested
from reconciler.workspaces.salvage import Salvages
from reconciler.workspaces.worktree_register import Register, refuse_locked

CHECKS = ".checks"


class GitWorkspaces:
    """The worktrees, task branches and saved work of one repository. Safe to share between threads."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._branches = Branches(git)
        self._salvages = Salvages(git)
        self._register = Register(git)
        self._check_refs = CheckRefs(git)
        self._making = Making(git, self._branches, self._register)
        self._removals = Removals(
            git=git, branches=self._branches, salvages=self._salvages, register=self._register, look=self._look
        )

    # --- observing ---

    def worktrees(self, at: Venue, tasks: Iterable[TaskId]) -> Mapping[TaskId, Worktree]:
        """What stands at the places of these tasks, and of every other worktree of ours at this venue.

        `nested` is what `salvage` or `remove` last found and still stands: a walk of every worktree per call would cost
        seconds, and `remove` looks again in any case.
        """
        with _world():
            folder = _real(at.root)
            listing = self._register.listing()
            standing = _standing(folder)
            ours = {entry.path.name for entry in listing.entries if _ours(entry, folder)}
            # Few stand, of many tasks: of two sets the smaller one is walked.
            known = map(TaskId, standing.intersection(tasks) | (standing & ours))
            found = {task: look(listing, folder / task, branch_of(task)) for task in sorted(known) if usable(task)}
            return {task: each.observed(self._went_on(task, each)) for task, each in found.items() if each.present}

    def check_worktrees(self, at: Venue) -> Mapping[str, str]:
        """The path of every worktree of a check or a review, by subject; also of one that is only half there."""
        with _world():
            folder = _real(at.root) / CHECKS
            listed = {entry.path.name for entry in self._register.listing().entries if entry.path.parent == folder}
            standing = set(os.listdir(folder)) if folder.is_dir() else set()
            names = (subject for subject in sorted(listed | standing) if usable_subject(subject))
            return {
                name: str(folder / name) for name in names if not foreign(self._git.repository.common, folder / name)
            }

    def branches(self, base: Sha) -> Mapping[TaskId, Branch]:
        """Every `agent/<task>` branch, measured against `base`."""
        return self._branches.measured(base)

    def broken_branches(self) -> Mapping[TaskId, str]:
        """Tasks whose branch the last look at all of them could not read: why, and what fixes it."""
        return self._branches.damaged()

    def committed(self, base: Sha, path: str) -> CommittedFile | None:
        """The file as this commit holds it, which a checkout may not; None where that can't be known."""
        read = partial(committed_files.read, self._git, base, path)
        # What a commit holds never changes.
        return self._git.remembered(("committed", base, path), (), read, keep=lambda found: found is not None)

    def salvages(self) -> tuple[Salvage, ...]:
        """Everything that was saved, oldest first; what was dropped too."""
        return self._salvages.all()

    def time_passes(self, now: datetime) -> None:
        """Count the time since this was called last to the age of all that was saved."""
        with _world():
            self._salvages.time_passes(now)

    def ignored(self, task: TaskId, at: Venue) -> tuple[int, int]:
        """How many files in the worktree of `task` git ignores, and their bytes: what no salvage holds."""
        with self._alone(task) as lock:
            found = self._look(task, at.root, fix=False)
            return snapshot.ignored(self._git, self._removals.work(task, found), lock) if found.usable else (0, 0)

    # --- making ---

    def create(self, task: TaskId, spec: EpicSpec, base: Sha, n: int = 1) -> Place:
        """Make the worktree of `task`, or repair a half-made one, or find the one that is there."""
        with self._alone(task) as lock:
            found = self._look(task, spec.venue.root)
            if not found.usable:
                digests = copies.wanted(self._git.repository.main, spec.worktrees.copy)
                recipe = Recipe(copies=digests, sparse=spec.worktrees.sparse)
                self._removals.clear(task, found, lock)
                self._making.make(task, found.place, recipe, base, lock)
                found = self._look(task, spec.venue.root)
            return self._making.ready(task, found, lock)

    def create_check(self, subject: str, at: Venue, commit: Sha, *, n: int = 1, apart: bool = False) -> str:
        """A clean detached worktree of `commit` for the n-th check or review; its path. One that is there is made again. `apart`:
        git in it sees a view of its own."""
        place = _check_place(at.root, subject)
        with self._alone(f".{subject}") as lock:
            self._discard(place)
            with self._git.writing() as writer:
                if not apart:  # what a review is about is on a branch
                    self._check_refs.hold(subject, commit, self._standing_checks, writer)
                self._register.add(place, f"check {subject}", commit, writer)
                entry = self._register.entry(place)
            if apart and entry.admin:
                own_view.give(self._git, entry.admin, commit)
            checkout.fill(self._git, entry, commit, Recipe(), lock)
        return str(place)

    def fix(self, at: Venue) -> None:
        """Repair the links of worktrees that were moved, or whose repository was: the agents in them go on."""
        with _world():
            with self._git.writing() as writer:
                self._check_refs.sweep(self._standing_checks, writer)
            folder, listing = _real(at.root), self._register.listing()
            for name in sorted(filter(usable, _standing(folder))):
                if look(listing, folder / name, branch_of(TaskId(name))).moved:
                    with self._alone(TaskId(name)):
                        self._look(TaskId(name), at.root)

    def take(self, task: TaskId, at: Venue, head: Sha) -> None:
        """Bring the branch of `task` to `head`, on which its worktree went on without it, and the worktree back to it.

        Raises ChangedError where that is not so any more.
        """
        with self._alone(task):
            found = self._look(task, at.root)
            if found.heads != (head,) or not self._went_on(task, found):
                raise ChangedError(f"{task}: its worktree is not at {head[:12]}, off its branch, any more")
            with self._git.writing() as writer:
                self._branches.bring(task, head, writer)
                checkout.attach(found.admins[0], HEADS + branch_of(task))

    # --- saving and removing ---

    def salvage(self, task: TaskId, at: Venue) -> Salvage | None:
        """Save what no ref holds: changed and untracked files, and commits of a head that is off its branch."""
        with self._alone(task) as lock:
            found = self._look(task, at.root)
            if found.fault is WorktreeFault.TAKEN:
                return None
            return self._removals.save(task, found, lock).salvage

    def remove(self, task: TaskId, at: Venue) -> Salvage | None:
        """Remove the worktree of `task`; what no ref holds is salvaged first, and is the answer."""
        with self._alone(task) as lock:
            return self._removals.clear(task, self._look(task, at.root), lock)

    def expect_removable(self, task: TaskId, at: Venue) -> None:
        """Raise what `remove` would for what is in the worktree of `task`, or for who locked it. Nothing is changed."""
        with _world():
            place = _real(at.root) / _checked(task)
            found = look(self._register.around(place, branch_of(task)), place, branch_of(task))
            refuse_locked(found.entries)
            inside = folders.contents(place).repositories if found.present else ()
            refuse_nested(found, inside)

    def remove_check(self, subject: str, at: Venue) -> None:
        """Remove the worktree of a check or a review, and whatever that left in it."""
        with self._alone(f".{subject}"):
            self._discard(_check_place(at.root, subject))
            with self._git.writing() as writer:
                self._check_refs.release(subject, writer)

    def delete_branch(self, task: TaskId, expected: Sha) -> None:
        """Delete `agent/<task>` if its head still is `expected`. Raises ChangedError otherwise."""
        with _world(), self._git.writing() as lock:
            self._making.free(task, self._register.around(None, branch_of(task)))
            self._branches.delete(task, expected, lock)

    def drop_salvage(self, salvage: Salvage) -> None:
        """Drop saved work, if it still is this commit; what was dropped before is forgotten."""
        self._salvages.drop(salvage)

    def restore(self, task: TaskId) -> BranchName:
        """Bring the newest saved work of `task` back: as its branch, or as `restored/<task>-<n>` where that is taken."""
        return self._salvages.restore(task)

    # --- how a check's is taken away ---

    def _discard(self, place: Path) -> None:
        if place.is_symlink() or os.path.realpath(place.parent) != str(place.parent):
            raise PermanentError(f"{place} is in the way: it is a link", hint="remove it").due_to(place, place.parent)
        if owner := foreign(self._git.repository.common, place):
            raise PermanentError(
                f"{place} is in the way: it is a worktree of another repository, {owner}",
                hint="set another worktrees.root",
            ).due_to(place)
        folders.refuse_mounted(place)
        folders.take_away(place)
        with self._git.writing():
            listing = self._register.around(place)
            self._register.forget(listing.at(place))
            self._register.forget_unlisted(listing, place, f"check {place.name}")

    def _standing_checks(self) -> frozenset[str]:
        """The subjects of which there is a worktree, wherever it stands."""
        return frozenset(entry.path.name for entry in self._register.listing().entries)

    # --- looking ---

    def _went_on(self, task: TaskId, found: FoundWorktree) -> bool:
        """True for a worktree that was taken off its branch and holds all of that and more: its agent worked on there."""
        if found.fault is not WorktreeFault.WRONG_BRANCH or len(found.entries) != 1:
            return False
        (entry,) = found.entries
        of_a_task = bool(entry.branch and entry.branch.startswith(HEADS + BRANCH_PREFIX))
        if entry.head is None or of_a_task or busy(entry):
            return False
        return self._branches.grew_into(task, entry.head, entry.branch)

    @contextmanager
    def _alone(self, subject: str) -> Iterator[int]:
        """One at a time per worktree, also across processes: two commands may be asked for the same task."""
        with _world(), self._git.writing(f"worktrees/{subject}") as lock:
            yield lock

    def _look(self, task: TaskId, root: str, *, fix: bool = True) -> FoundWorktree:
        # As the writer, so that a `worktree add` which outlived its reconciler is over.
        with self._git.writing():
            place = _real(root) / _checked(task)
            found = look(self._register.around(place, branch_of(task)), place, branch_of(task))
            if not (found.moved and fix):
                return found
            self._register.fix(found)
            return look(self._register.around(place, branch_of(task)), place, branch_of(task))


@contextmanager
def _world() -> Iterator[None]:
    """Say what the system refused in the words that the caller understands."""
    try:
        yield
    except OSError as error:
        raise TemporaryError(f"{error.filename or 'a file'}: {error.strerror}", delay=30.0) from error


def _real(root: str) -> Path:
    return Path(os.path.realpath(root))


def _standing(folder: Path) -> set[str]:
    """The names of everything in a folder."""
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()
    except NotADirectoryError as error:
        raise PermanentError(f"{folder} is not a folder", hint="set another worktrees.root") from error


def _checked(name: str) -> str:
    if not usable_subject(name):
        raise PermanentError(f"{name!r} can't be the name of a worktree")
    return name


def _check_place(root: str, subject: str) -> Path:
    return _real(root) / CHECKS / _checked(subject)


def _ours(entry: Entry, folder: Path) -> bool:
    marked = entry.locked_by_us or entry.has(MADE) or (entry.branch or "").startswith(HEADS + BRANCH_PREFIX)
    return entry.path.parent == folder and entry.admin is not None and marked
