"""What was seen, and when. Frozen plain values. A source that did not answer is `Unknown`, which is never empty.

Times are UTC. Nothing here decides; what follows from a state is in `job`, `planner` and `actions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from reconciler.model.names import BranchName, PrNumber, RunId, RunKind, Sha, TaskId
from reconciler.model.report import UNFIT, Fault, Report

NO_TIME = timedelta()


@dataclass(frozen=True, slots=True)
class Unknown:
    """A source did not answer; `why` says why not. `again_s`: by itself it may answer so much later."""

    why: str
    again_s: float | None = None


# --- tasks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A bead. `status` is the tracker's own word; only the five that Beads builds in mean something to us."""

    id: TaskId
    title: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    acceptance: str = ""
    notes: str = ""
    status: str = "open"
    type: str = "task"
    priority: int = 2
    assignee: str = ""
    labels: frozenset[str] = frozenset()
    defer_until: datetime | None = None
    closed_at: datetime | None = None
    close_reason: str = ""
    closed_by_session: str = ""  # the run that closed it, where one did
    closed_by: str = ""  # in whose name it was closed, where only that is known
    held_back: bool = False  # pinned, ephemeral or a template: never work
    parents: tuple[TaskId, ...] = ()
    blockers: tuple[TaskId, ...] = ()  # `blocks` and `conditional-blocks`
    waits_for: tuple[TaskId, ...] = ()  # spawners whose children must all be closed

    @property
    def closed(self) -> bool:
        return self.status in ("closed", "tombstone")


# --- runs --------------------------------------------------------------------------------------------------


class RunState(StrEnum):
    """`starting`: locks are held, set-up is not over. `ending`: asked to stop, or its record is written and something
    of it still lives. `lost`: nothing of it lives and it left no record."""

    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    LOST = "lost"


class Cause(StrEnum):
    """What ended a run. `setup`: a set-up command failed. `unavailable`: the program could not be started."""

    EXITED = "exited"
    TIMEOUT = "timeout"
    STUCK = "stuck"
    SETUP = "setup"
    UNAVAILABLE = "unavailable"
    STOPPED = "stopped"


class StopWhy(StrEnum):
    """Why we stopped a run; written before the first signal, so that the ending is known from a failure."""

    PERSON = "person"  # `reconcile stop`, taken over, reassigned
    CLOSED = "closed"  # its task was closed
    DONE = "done"  # by its hint or by its final result, and stayed: counts as ended well
    STUCK = "stuck"  # its supervisor did not see that itself: it was stopped, or suspended
    TIMED_OUT = "timed-out"  # the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The record that a run left. `code` is None where a signal or a limit ended it."""

    cause: Cause
    at: datetime
    code: int | None = None
    signal: int | None = None
    stop: StopWhy | None = None

    @property
    def well(self) -> bool:
        return (self.cause is Cause.EXITED and self.code == 0) or self.stop is StopWhy.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One supervised process, alive or not. What it was started with comes from its spec."""

    id: RunId
    task: TaskId
    manifest: str
    state: RunState
    attempt: int = 1
    why: str = "Ready"  # the reason of the action that started it
    baseline: Sha | None = None  # the branch's head at the last feedback; commits after it are this run's
    base_tip: Sha | None = None  # the base that a conflict repair was given, or that a check was built on
    tree: Sha | None = None  # the tree that a check is about
    started_at: datetime | None = None  # None: it was reserved and never started
    last_progress_at: datetime | None = None
    pid: int | None = None  # of the supervising process
    exit: Exit | None = None
    agent: str = ""  # the kind of agent; empty for a check
    report: Report | None = None  # what its agent reported of it, once it is over
    heard: frozenset[str] = frozenset()  # the comments on its pull request that its prompt held, by their ids
    done_at: datetime | None = None  # since when its agent has printed that it came to its end, while it still runs
    halted: bool = False  # its supervisor is stopped (SIGSTOP): nobody keeps its limits

    @property
    def alive(self) -> bool:
        """True while anything of it may still change the worktree: counts against slots, holds back everything."""
        return self.state in (RunState.STARTING, RunState.RUNNING, RunState.ENDING)

    @property
    def started(self) -> bool:
        return self.started_at is not None

    @property
    def unavailable(self) -> bool:
        """True when its agent could not work at all: not there, not logged in, without its model, limited for who knows
        how long."""
        report = self.report
        reported = report is not None and report.fault in (*UNFIT, Fault.NETWORK)
        limited = report is not None and report.fault is Fault.USAGE_LIMIT and report.retry_at is None
        return reported or limited or (self.exit is not None and self.exit.cause is Cause.UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPoint:
    """`retry`, or a reopening that was noticed: only runs after `n` and landings after `base` count."""

    n: int
    base: Sha | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A process that is known only by its working directory. It is never signalled."""

    pid: int
    command: str


# --- git ---------------------------------------------------------------------------------------------------


class WorktreeFault(StrEnum):
    """Why a folder at a worktree's place is not used."""

    HALF_MADE = "half-made"  # ours, never finished: repaired by making it again
    TAKEN = "taken"  # not ours: another repository's worktree, or a folder of somebody's
    WRONG_BRANCH = "wrong-branch"  # ours, but on another branch or detached


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
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

    @property
    def off_its_branch(self) -> bool:
        return self.fault is WorktreeFault.WRONG_BRANCH and self.head is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A task's branch against the base: `ahead` commits that the base lacks; `in_base`: the base contains its head."""

    name: BranchName
    head: Sha
    ahead: int
    in_base: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """Saved work: `refs/reconcile/salvage/<task>/<n>`, or `dropped` where nobody asked for it.

    `at`: the clock's time then, for people. `age`: how long it has been there, counted over ticks.
    """

    task: TaskId
    n: int
    commit: Sha
    at: datetime
    age: timedelta = NO_TIME
    dropped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """A commit on the base whose trailers say that it carries `head` of `task`."""

    task: TaskId
    head: Sha
    commit: Sha
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The checkout of a base branch, where one exists: what in it a landing must not touch."""

    path: str
    # Staged, changed and untracked paths, without `.beads/`; None: nobody looked, because nothing was to land.
    dirty: frozenset[str] | None = frozenset()
    busy: str | None = None  # a merge, rebase or the like in progress
    locked: bool = False  # a landing of ours was cut off there some time ago, and its index is locked since
    undoes: tuple[str, ...] = ()  # paths that are staged as they were before they landed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a forge asks of everything that lands on a base."""

    forge: str  # how people call it
    required: tuple[str, ...] = ()  # names of checks
    apps: Mapping[str, frozenset[int]] = field(default_factory=dict)  # of those that only some apps may report
    methods: frozenset[str] = frozenset({"merge", "squash", "rebase"})
    red: frozenset[str] = frozenset()  # names of checks that fail on the base itself
    closed: str | None = None  # why nothing can be pushed or opened there
    renamed: str | None = None  # that it is found by an old name, and what fixes that
    queue: str | None = None  # why nothing can be merged by us, only by the forge
    mute: str | None = None  # why what we push may start no checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
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
    frozen: str | None = None  # something landed that was not judged: nothing more does until a person has looked
    rules: Rules | None = None  # None: a forge that has none of its own


# --- pull requests -----------------------------------------------------------------------------------------


class PullState(StrEnum):
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class CheckResult(StrEnum):
    """What one check on a forge says of a head. `void`: it ended without a verdict (cancelled, stale)."""

    PASSED = "passed"
    FAILED = "failed"
    PENDING = "pending"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeCheck:
    """A check that a forge ran on exactly one head. `name` is the one that rules call it by.

    `number` tells one run of it from the next. `workflow`: what the forge can run again; None where only others can.
    """

    name: str
    result: CheckResult
    url: str | None = None
    summary: str = ""
    number: int | None = None
    workflow: int | None = None
    app: int | None = None  # that reported it, where that is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """A head's checks were asked to run again. `after`: the runs of them that had ended and were not green: while they are
    the newest ones, nothing came of it. `times`: how often that was asked for.
    """

    at: datetime
    after: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()
    times: int = 1


class Standing(StrEnum):
    """How the branch here stands to the head that a forge shows. Elsewhere wins where both have gone on."""

    SAME = "same"
    AHEAD = "ahead"  # it holds commits that are to be pushed
    BEHIND = "behind"  # somebody pushed to it there


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A person's 'no' to one head, in their words."""

    head: Sha
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """What somebody who may push, or a bot, wrote about a pull request. `id` is the forge's own."""

    id: str
    by: str  # a login
    text: str
    at: datetime
    bot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation about a place in the code that nobody has resolved. `comments`: oldest first, at least one."""

    path: str
    line: int | None
    comments: tuple[Comment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """The newest pull request of a task. `head` follows the branch while it is open."""

    number: PrNumber
    task: TaskId
    head: Sha
    state: PullState = PullState.OPEN
    approved: Sha | None = None  # the head that a person approved
    rejection: Rejection | None = None
    merge_now: Sha | None = None  # the head that a person wants merged, where that is left to people
    declined: bool = False  # closed by `reject --close` or by deleting the branch
    opened_head: Sha | None = None  # the head it was opened with
    opened_at: datetime | None = None
    closed_at: datetime | None = None  # None where only the missing branch says that it is closed
    url: str | None = None
    # What only a forge that is a program of others knows of it:
    checks: tuple[ForgeCheck, ...] | None = None  # None: that forge runs none
    seen_at: datetime | None = None  # since when it is known to have this head
    settled_at: datetime | None = None  # when the last of its checks ended
    unseen: str = ""  # why it may have checks that can't be read
    rerun: Rerun | None = None  # of this head's checks
    author: str = ""  # who opened it there
    threads: tuple[Thread, ...] = ()
    remarks: tuple[Comment, ...] = ()  # reviews that say neither yes nor no, oldest first
    doubted: bool = (
        False  # a rule is reported not to be met, none is seen that is not, and merging was not asked for yet
    )
    here: Standing = Standing.SAME
    base: str | None = None  # where it goes; None: to its manifest's base, as always
    aside: str | None = None  # why it is not to be landed as it is: a draft, on its way to another base, in a queue
    withheld: str | None = None  # what else the forge wants before it merges
    lacks_base: bool = False  # the forge wants the base in it first
    landed: Sha | None = None  # the commit that it became, where it is merged
    left: Sha | None = None  # where its branch still stands on the forge, when it is open no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the base becomes when `head` lands on `base`: a tree, and the paths in which it differs from the base.

    `own_changes`: head differs from the point where it left the base. With own changes and nothing `changed`, all that
    the branch did is on the base already. `is_head`: what lands is the head's own tree, as the base has nothing that it
    lacks; reported by forges that test heads. `submodules`: the paths among those changed where a commit of another
    repository stands, or stood; `scripts`: those that are a package.json and say other scripts.
    """

    base: Sha
    head: Sha
    tree: Sha
    changed: frozenset[str] = frozenset()
    submodules: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()
    own_changes: bool = True
    is_head: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """`head` can't be merged into `base` by git alone. `detail`: why, where it is not a matter of paths."""

    base: Sha
    head: Sha
    paths: tuple[str, ...] = ()
    detail: str = ""


# --- all of it ---------------------------------------------------------------------------------------------

Graph = Mapping[TaskId, Task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One look at the world. Each source is whole or Unknown; what is asked per task may be Unknown for that task."""

    at: datetime
    host: str = "localhost"
    prefix: str = "task"  # of ids that the tracker makes
    tracker_folder: str = ""  # where it keeps its files in the repository, relative
    tasks: Graph | Unknown = field(default_factory=dict)
    runs: Mapping[TaskId, tuple[Run, ...]] | Unknown = field(default_factory=dict)  # work runs, oldest first
    checks: Mapping[str, tuple[Run, ...]] | Unknown = field(default_factory=dict)  # by subject, oldest first
    since: Mapping[TaskId, RetryPoint] = field(default_factory=dict)
    occupants: Mapping[TaskId, Occupant] | Unknown = field(default_factory=dict)
    worktrees: Mapping[TaskId, Worktree] | Unknown = field(default_factory=dict)
    check_worktrees: Mapping[str, str] = field(default_factory=dict)  # path by subject
    branches: Mapping[TaskId, Branch] | Unknown = field(default_factory=dict)
    pull_requests: Mapping[TaskId, PullRequest] | Unknown = field(default_factory=dict)
    candidates: Mapping[TaskId, Candidate | Conflict | Unknown] = field(default_factory=dict)
    repaired: frozenset[TaskId] = frozenset()  # conflict repairs that merge with the base they were given
    merged_by_hand: frozenset[TaskId] = frozenset()  # pull requests whose work a person brought to the base
    landings: Mapping[TaskId, Landing] | Unknown = field(default_factory=dict)  # newest that counts, per task
    bases: Mapping[str, Base | Unknown] = field(default_factory=dict)
    base_trees: Mapping[str, Sha | Unknown] = field(default_factory=dict)  # of the bases on which a check turned red
    printed: Mapping[RunId, str] = field(default_factory=dict)  # by the checks that are red on a base, at their ends
    unaskable: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its checks can't be run here
    salvages: tuple[Salvage, ...] = ()
    agents_missing: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its agent can't be started
    forges: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its forge can't be used
    trackers: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its tracker can't be used
    failures: Mapping[TaskId, Failure] = field(default_factory=dict)  # actions that went wrong lately
    damaged: Mapping[PrNumber, str] = field(default_factory=dict)  # pull requests of which nothing can be read, and why
    broken: Mapping[TaskId, str] = field(default_factory=dict)  # tasks whose branch can't be read, and why
    replaced: str | None = None  # whose program was replaced under it, where that is who acts here

    def failure(self, subject: TaskId) -> Failure | None:
        """What went wrong for it lately, where the one who met that will try again: not since the task was retried."""
        found, since = self.failures.get(subject), self.since.get(subject)
        return None if found is None or found.left or (since and since.at >= found.at) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Imprecise:
    """What a plan rests on that was seen only in part, to be looked at closer: what costs much is not seen without need."""

    bases: frozenset[str] = frozenset()  # in whose checkouts nobody has looked
    merges: Mapping[TaskId, tuple[Sha, Sha]] = field(default_factory=dict)  # (base, head) of candidates of older bases

    def __bool__(self) -> bool:
        return bool(self.bases or self.merges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An action that went wrong at every try since `since`: it is not tried again before `until`. `permanent`: trying again
    is useless. `left`: by a reconciler that has ended, so that nobody tries again by itself. `refused`: the head of a branch
    whose content was refused."""

    action: str
    message: str
    since: datetime
    until: datetime
    at: datetime  # the last try
    manifest: str = ""
    tries: int = 1
    permanent: bool = False
    blocked: bool = False  # by a checkout: somebody's edits, a lock, a folder that can't be written
    left: bool = False
    refused: Sha | None = None


def runs_of_kind(runs: tuple[Run, ...], kind: RunKind) -> tuple[Run, ...]:
    """The runs of one kind, oldest first."""
    return tuple(sorted((run for run in runs if run.id.kind is kind), key=lambda run: run.id.n))
