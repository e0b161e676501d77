"""Worktrees, branches, bases and what is saved, as git shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct, field

from reconciler.model.names import BranchName, Sha, TaskId
from reconciler.model.venue import Venue

NO_TIME = timedelta()


class WorktreeFault(StrEnum):
    """Why a folder at a worktree's place is not used."""

    HALF_MADE = "half-made"  # ours, never finished: repaired by making it again
    TAKEN = "taken"  # not ours: another repository's worktree, or a folder of somebody's
    WRONG_BRANCH = "wrong-branch"  # ours, but on another branch or detached


class Worktree(Struct, frozen=True, kw_only=True):
    """A worktree at the place of a task. `head` is None where it is not known."""

    path: str
    head: Sha | None = None
    fault: WorktreeFault | None = None
    detail: str = ""  # what is wrong, for people
    nested: str | None = None  # a repository inside it, relative; such a worktree is never removed by us
    set_up: bool = True  # its set-up commands have all succeeded
    branch: str | None = None  # that it is on; None: it is detached
    went_on: bool = False  # it is off its task's branch, and holds all of that and more: plainly the task's work
    amid: str = ""  # what was begun in it and has not ended: a rebase, a merge and the like
    amid_at: datetime | None = None
    elsewhere: Venue | None = None  # None: it is a folder on this machine

    @property
    def at(self) -> Venue:
        """Where it is: another manifest may have made it, at a venue of its own."""
        return self.elsewhere or Venue(root=self.path.rpartition("/")[0])

    @property
    def off_its_branch(self) -> bool:
        return self.fault is WorktreeFault.WRONG_BRANCH and self.head is not None


class Branch(Struct, frozen=True, kw_only=True):
    """A task's branch against the base: `ahead` commits that the base lacks; `in_base`: the base contains its head."""

    name: BranchName
    head: Sha
    ahead: int
    in_base: bool


class Salvage(Struct, frozen=True, kw_only=True):
    """Saved work: `refs/reconcile/salvage/<task>/<n>`, or `dropped` where nobody asked for it.

    `at`: the clock's time then, for people. `age`: how long it has been there, counted over ticks.
    """

    task: TaskId
    n: int
    commit: Sha
    at: datetime
    age: timedelta = NO_TIME
    dropped: bool = False


class Landing(Struct, frozen=True, kw_only=True, gc=False):
    """A commit on the base whose trailers say that it carries `head` of `task`."""

    task: TaskId
    head: Sha
    commit: Sha
    at: datetime


class Checkout(Struct, frozen=True, kw_only=True):
    """The checkout of a base branch, where one exists: what in it a landing must not touch."""

    path: str
    # Staged, changed and untracked paths, without `.beads/`; None: nobody looked, because nothing was to land.
    dirty: frozenset[str] | None = frozenset()
    busy: str | None = None  # a merge, rebase or the like in progress
    locked: bool = False  # a landing of ours was cut off there some time ago, and its index is locked since
    undoes: tuple[str, ...] = ()  # paths that are staged as they were before they landed


class Touched(Struct, frozen=True):
    """The paths that work in hand has changed, committed or not. `now`: seen at this look."""

    paths: frozenset[str] = frozenset()
    now: bool = False


class Upon(Struct, frozen=True):
    """The task on whose branch another one begins, and the commit of it. What is below that is not the other one's own.

    `here`: its branch holds that still; else only what is offered of it does.
    """

    parent: TaskId
    fork: Sha
    here: bool = True


class BaseCommit(Struct, frozen=True):
    """A commit on the first-parent line of a base, and its tree."""

    commit: Sha
    tree: Sha


class Rules(Struct, frozen=True, kw_only=True):
    """What a forge asks of everything that lands on a base."""

    forge: str  # how people call it
    required: tuple[str, ...] = ()  # names of checks
    apps: Mapping[str, frozenset[int]] = field(default_factory=dict)  # of those that only some apps may report
    methods: frozenset[str] = frozenset({"merge", "squash", "rebase"})
    red: frozenset[str] = frozenset()  # names of checks that fail on the base itself
    closed: str | None = None  # why nothing can be pushed or opened there
    renamed: str | None = None  # that it is found by an old name, and what fixes that
    queue: str | None = None  # why nothing can be merged by us, only by the forge's own queue
    unpushable: str | None = None  # why nobody may push to the base itself
    mute: str | None = None  # why what we push may start no checks
    unread: str | None = None  # why this login can read of no check what it came to


class Base(Struct, frozen=True, kw_only=True):
    """A base branch. `remote_*` are filled where `push` is asked for."""

    name: str
    head: Sha
    checkout: Checkout | None = None
    remote: str | None = None
    unpushed: bool = False  # the remote lacks commits of the local base that we landed
    diverged: str | None = None  # why local base and remote can't be brought together by fast-forward
    behind: bool = (
        False  # it can be brought to what landed elsewhere, or a landing was cut off: `Forge.follow` sees to it
    )
    fetched: str | None = None  # the branch of a remote that was fetched and is ahead of it, by its short name
    # Tasks of which nothing is left on it although they landed, and the commit that took the last of it back.
    undone: Mapping[TaskId, Sha] = field(default_factory=dict)
    encoded: str | None = None  # why its files can't be worked with as they are stored, and what fixes it
    frozen: str | None = None  # something landed that was not judged: nothing more does until a person has looked
    rules: Rules | None = None  # None: a forge that has none of its own
