"""Runs as their folders, locks and processes show them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from reconciler.model.names import RunId, Sha, TaskId
from reconciler.model.report import UNFIT, Fault, Report
from reconciler.model.verdicts import ReviewVerdict


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
    BUDGET = "budget"  # it has reported that it cost what it may
    ENGINE_LIMIT = "engine-limit"  # by Slurm, at the time limit of its job: the node says so


class Exit(Struct, frozen=True, kw_only=True, gc=False):
    """The record that a run left. `code` is None where a signal or a limit ended it; `step`: which of its steps, from 0."""

    cause: Cause
    at: datetime
    code: int | None = None
    signal: int | None = None
    stop: StopWhy | None = None
    step: int | None = None
    memory: int | None = None  # bytes that its largest process had at once; None: it did not say
    limit_s: float | None = (
        None  # that of its last step, where that took longer; None: it was another one that ended it
    )
    flaky: tuple[int, ...] = ()  # steps that had failed, and passed when they were started again

    @property
    def well(self) -> bool:
        return (self.cause is Cause.EXITED and self.code == 0) or self.stop is StopWhy.DONE


class Says(Struct, frozen=True, kw_only=True):
    """What an agent on another machine says of its task: `blocked`, `done` or nothing, labels, a note. Hostile text."""

    status: str = ""
    labels: tuple[str, ...] = ()
    note: str = ""


class LastWords(Struct, frozen=True, kw_only=True):
    """What an attempt whose agent reports nothing has left of itself: the message of the newest commit that it offers, and the
    end of what it printed. Hostile text."""

    commit: str = ""
    printed: str = ""


ALIVE = (RunState.STARTING, RunState.RUNNING, RunState.ENDING)
_ENDED = RunState.ENDED


class Run(Struct, frozen=True, kw_only=True, gc=False):
    """One supervised process, alive or not. What it was started with comes from its spec. With a `commit` it is no process, but
    what a forge runs on that."""

    id: RunId
    task: TaskId
    manifest: str
    state: RunState
    attempt: int = 1
    why: str = "Ready"  # the reason of the action that started it
    baseline: Sha | None = None  # the branch's head at the last feedback; commits after it are this run's
    # The base that a conflict repair was given, or that a check was built on; where what a review is about left it.
    base_tip: Sha | None = None
    tree: Sha | None = None  # the tree that a check is about, or a review
    heads: tuple[Sha, ...] = ()  # what a check has merged into the base, the lowest first
    below: Sha | None = None  # the tree without the topmost of them; None: the base's own
    left_out: tuple[int, ...] = ()  # which of its manifest's checks it left out, from 0
    commit: Sha | None = None  # of a check that the forge runs on a staging branch: what was pushed there
    # Of a review: under what it judges; of an attempt that a review asked for: that review.
    judged: str = ""
    terms: tuple[str, ...] = ()  # of a review: the same, a word for each part; none: it was made before that was kept
    verdict: ReviewVerdict | None = None  # of a review that is over; None: it has given none that can be read
    unread: str = ""  # what is wrong with what it gave instead; as it was written, so hostile
    started_at: datetime | None = None  # None: it was reserved and never started
    last_progress_at: datetime | None = None
    pid: int | None = None  # of the supervising process
    exit: Exit | None = None
    agent: str = ""  # the kind of agent; empty for a check
    report: Report | None = None  # what its agent reported of it, once it is over
    heard: frozenset[str] = frozenset()  # the comments on its pull request that its prompt held, by their ids
    usd: float | None = None  # what its agent says, while it runs, that it has cost so far
    done_at: datetime | None = None  # since when its agent has printed that it came to its end, while it still runs
    stopped_at: datetime | None = None  # of one that is ending: when it was asked to; None: nobody has asked
    halted: bool = False  # its supervisor is stopped (SIGSTOP): nobody keeps its limits
    where: str = ""  # the engine that placed it, and the node; empty: this machine
    remark: str = ""  # elsewhere: why it waits for a node, or why it was given up; what a forge's checks came to
    says: Says | None = None  # elsewhere: what its agent wrote for the tracker
    heard_at: datetime | None = None  # elsewhere: when its node was heard last, where that is long ago
    gives_up_at: datetime | None = None  # when it is given up if its node says nothing until then

    @property
    def alive(self) -> bool:
        """True while anything of it may still change the worktree: counts against slots, holds back everything."""
        return self.state is not _ENDED and self.state in ALIVE  # asked of thousands that have ended

    @property
    def node(self) -> str:
        """Where it is elsewhere; empty where it is here, and while no node has taken it."""
        return self.where.partition(":")[2]

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


class RetryPoint(Struct, frozen=True, kw_only=True):
    """`retry`, or a reopening that was noticed: only runs after `n` and landings after `base` count."""

    n: int
    base: Sha | None
    at: datetime


class Occupant(Struct, frozen=True, kw_only=True):
    """A process that is known only by its working directory. It is never signalled."""

    pid: int
    command: str
