"""What was seen, and when. Frozen plain values. A source that did not answer is `Unknown`, which is never empty.

Times are UTC. Nothing here decides; what follows from a state is in `planning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from msgspec import Struct, field

from reconciler.model.changes import Diff
from reconciler.model.names import PrNumber, RunId, Sha, TaskId
from reconciler.model.observed.git import (
    Base,
    BaseCommit,
    Branch,
    Checkout,
    Landing,
    Rules,
    Salvage,
    Touched,
    Upon,
    Worktree,
    WorktreeFault,
)
from reconciler.model.observed.pulls import (
    Candidate,
    CheckResult,
    Comment,
    Conflict,
    Dequeued,
    ForgeCheck,
    Judged,
    MergeStep,
    PullRequest,
    PullState,
    QueueSpot,
    Rejection,
    Rerun,
    Standing,
    Thread,
)
from reconciler.model.observed.room import Room
from reconciler.model.observed.runs import Cause, Exit, LastWords, Occupant, RetryPoint, Run, RunState, Says, StopWhy
from reconciler.model.observed.staging import StagedCheck
from reconciler.model.observed.tasks import Task
from reconciler.model.values import replace

T = TypeVar("T")


class Unknown(Struct, frozen=True):
    """A source did not answer; `why` says why not. `again_s`: by itself it may answer so much later."""

    why: str
    again_s: float | None = None


def known_or(answer: T | Unknown, default: T) -> T:
    """The answer of a source, or the default where there is none: for what nothing is decided by alone."""
    return default if isinstance(answer, Unknown) else answer


Graph = Mapping[TaskId, Task]
Fold = tuple[Sha, tuple[MergeStep, ...]]
"""A tip of a base, and heads that land on it one after the other."""


class Live(Struct, frozen=True, kw_only=True):
    """The runs that are alive, of sources that answered."""

    agents: tuple[Run, ...]
    reviews: tuple[Run, ...]
    checks: tuple[Run, ...]


class Observed(Struct, frozen=True, kw_only=True, dict=True):
    """One look at the world. Each source is whole or Unknown; what is asked per task may be Unknown for that task."""

    at: datetime
    host: str = "localhost"
    prefix: str = "task"  # of ids that the tracker makes
    tracker_folder: str = ""  # where it keeps its files in the repository, relative
    tasks: Graph | Unknown = field(default_factory=dict)
    runs: Mapping[TaskId, tuple[Run, ...]] | Unknown = field(default_factory=dict)  # work runs, oldest first
    checks: Mapping[str, tuple[Run, ...]] | Unknown = field(default_factory=dict)  # by subject, oldest first
    reviews: Mapping[TaskId, tuple[Run, ...]] | Unknown = field(default_factory=dict)  # by task, in no order
    since: Mapping[TaskId, RetryPoint] = field(default_factory=dict)
    occupants: Mapping[TaskId, Occupant] | Unknown = field(default_factory=dict)
    worktrees: Mapping[TaskId, Worktree] | Unknown = field(default_factory=dict)
    remotes: Mapping[str, str] = field(
        default_factory=dict
    )  # by address: why nobody knows what it says of tasks that are worked on elsewhere; `worktrees` is without those
    check_worktrees: Mapping[str, str] = field(default_factory=dict)  # path by subject
    branches: Mapping[TaskId, Branch] | Unknown = field(default_factory=dict)
    pull_requests: Mapping[TaskId, PullRequest] | Unknown = field(default_factory=dict)
    candidates: Mapping[TaskId, Candidate | Conflict | Unknown] = field(default_factory=dict)
    diffs: Mapping[TaskId, Diff | Unknown] = field(default_factory=dict)  # of what is offered, where its risk matters
    folds: Mapping[Fold, Candidate | Conflict | Unknown] = field(
        default_factory=dict
    )  # what the last head of each makes
    stacks: Mapping[TaskId, Upon] | Unknown = field(default_factory=dict)  # whose branches hold what is another task's
    # Where somebody had to know, as of then:
    touched: Mapping[TaskId, Touched] = field(default_factory=dict)  # by those at work
    past: Mapping[Sha, frozenset[str]] = field(default_factory=dict)  # by landed commits: the paths that each changed
    repaired: frozenset[TaskId] = frozenset()  # conflict repairs that merge with the base they were given
    merged_by_hand: frozenset[TaskId] = frozenset()  # pull requests whose work a person brought to the base
    landings: Mapping[TaskId, Landing] | Unknown = field(default_factory=dict)  # newest that counts, per task
    landed: Mapping[str, int] = field(default_factory=dict)  # by base: how often something has
    checks_of: Mapping[Sha, tuple[Run, ...]] = field(
        default_factory=dict
    )  # the same by the topmost head in what they test
    checks_at: Mapping[Sha, tuple[Run, ...]] = field(default_factory=dict)  # the same by the tree that they test
    staged: Mapping[RunId, StagedCheck] = field(default_factory=dict)  # those of the checks that a forge runs
    unstaged: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its forge would run none of them
    bases: Mapping[str, Base | Unknown] = field(default_factory=dict)
    recent: Mapping[str, tuple[BaseCommit, ...] | Unknown] = field(default_factory=dict)  # of each base, its tip first
    printed: Mapping[RunId, str] = field(default_factory=dict)  # by the checks that are red on a base, at their ends
    authors_words: Mapping[TaskId, LastWords] = field(default_factory=dict)  # where they and a reviewer are at odds
    unaskable: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its checks can't be run here
    doubtful: Mapping[str, str] = field(default_factory=dict)  # by manifest: why a later one of them can hardly be run
    salvages: tuple[Salvage, ...] = ()
    agents_missing: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its agent can't be started
    reviewers_missing: Mapping[str, str] = field(default_factory=dict)  # the same of its reviewer
    guidelines: Mapping[str, str] = field(default_factory=dict)  # by manifest: whose words `review_prompts` has
    linked_prompts: Mapping[str, frozenset[str]] = field(
        default_factory=dict
    )  # by manifest: what its prompts link to or import
    review_prompts: Mapping[str, str | Unknown] = field(
        default_factory=dict
    )  # by manifest: what its reviewer is to look for
    forges: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its forge can't be used
    trackers: Mapping[str, str] = field(default_factory=dict)  # by manifest: why its tracker can't be used
    unwritable: Mapping[str, str] = field(default_factory=dict)  # by manifest: which folder takes nothing, and why
    failures: Mapping[TaskId, Failure] = field(default_factory=dict)  # actions that went wrong lately
    damaged: Mapping[PrNumber, str] = field(default_factory=dict)  # pull requests of which nothing can be read, and why
    broken: Mapping[TaskId, str] = field(default_factory=dict)  # tasks whose branch can't be read, and why
    room: Room = field(default_factory=Room)  # what is free where runs start
    replaced: str | None = None  # whose program was replaced under it, where that is who acts here

    @cached_property
    def live(self) -> Live:
        """What is alive of thousands of runs that ended: found once."""
        return Live(agents=_alive(self.runs), reviews=_alive(self.reviews), checks=_alive(self.checks))

    def base_tree(self, base: str) -> Sha | Unknown | None:
        """The tree of a base as it is."""
        recent = self.recent.get(base, ())
        return recent if isinstance(recent, Unknown) else recent[0].tree if recent else None

    def closed(self, subject: TaskId) -> bool:
        """True for a task that is known to be closed."""
        task = known_or(self.tasks, {}).get(subject)
        return task is not None and task.closed

    def failure(self, subject: TaskId) -> Failure | None:
        """What went wrong for it lately, where the one who met that will try again: not since the task was retried."""
        found, since = self.failures.get(subject), self.since.get(subject)
        return found and Failure.joined(f for f in found.each if not f.left and not (since and since.at >= f.at))

    def refusal(self, subject: TaskId) -> str | None:
        """Why a push of its work was refused for what that holds, where none has gone well since: not since the task was retried."""
        found, since = self.failures.get(subject), self.since.get(subject)
        refused = (
            next((f for f in found.each if f.feedback and not (since and since.at >= f.at)), None) if found else None
        )
        return refused.message if refused else None


class Imprecise(Struct, frozen=True, kw_only=True):
    """What a plan rests on that was seen only in part, to be looked at closer: what costs much is not seen without need."""

    bases: frozenset[str] = frozenset()  # in whose checkouts nobody has looked
    merges: Mapping[TaskId, tuple[Sha, Sha]] = field(default_factory=dict)  # (base, head) of candidates of older bases
    folds: frozenset[Fold] = frozenset()  # of which nobody has computed yet what they make
    touched: Mapping[TaskId, Sha] = field(default_factory=dict)  # at work since that base, and where matters to others
    past: frozenset[Sha] = frozenset()  # landed, and what they changed matters as well

    def __bool__(self) -> bool:
        return bool(self.bases or self.merges or self.folds or self.touched or self.past)


def _alive(source: Mapping[Any, tuple[Run, ...]] | Unknown) -> tuple[Run, ...]:
    return () if isinstance(source, Unknown) else tuple([run for runs in source.values() for run in runs if run.alive])


class Failure(Struct, frozen=True, kw_only=True):
    """An action that went wrong at every try since `since`: it is not tried again before `until`. `permanent`: trying again
    is useless. `denied`: somebody elsewhere is against it, as is known from the first try on. `line`: a landing, or the
    start of a check, and nothing says that it is on account of what was to land. `left`: by a reconciler that
    has ended, so that nobody tries again by itself. `refused`: the head of a branch whose content was refused. `feedback`: that of a push was, which
    every attempt hears of until one goes well. `others`: what fails of the same task beside it; first stands what keeps it from its next
    step, which housekeeping does not: what is refused, what is useless to try again, what rests for longest."""

    action: str
    message: str
    since: datetime
    until: datetime
    at: datetime  # the last try
    manifest: str = ""
    tries: int = 1
    permanent: bool = False
    denied: bool = False
    blocked: bool = False  # by a checkout: somebody's edits, a lock, a folder that can't be written
    line: bool = False
    left: bool = False
    refused: Sha | None = None
    feedback: bool = False
    housekeeping: bool = False
    others: tuple[Failure, ...] = ()

    @staticmethod
    def joined(failures: Iterable[Failure]) -> Failure | None:
        """Failures of one task, each of another action, as one; None for none."""
        ordered = sorted(
            failures,
            key=lambda f: (f.housekeeping, f.refused is None, not f.permanent, -f.until.timestamp(), f.action),
        )
        bare = tuple(replace(each, others=()) for each in ordered)
        return replace(bare[0], others=bare[1:]) if bare else None

    @property
    def each(self) -> tuple[Failure, ...]:
        """This one and the others."""
        return (self, *self.others)

    def of(self, action: str) -> Failure | None:
        """What went wrong with this action."""
        return next((each for each in self.each if each.action == action), None)

    def without(self, action: str) -> Failure | None:
        """What is left once this action went well."""
        return Failure.joined(each for each in self.each if each.action != action)


__all__ = [
    "Base",
    "BaseCommit",
    "Branch",
    "Candidate",
    "Cause",
    "CheckResult",
    "Checkout",
    "Comment",
    "Conflict",
    "Dequeued",
    "Exit",
    "Failure",
    "Fold",
    "ForgeCheck",
    "Graph",
    "Imprecise",
    "Judged",
    "Landing",
    "LastWords",
    "Live",
    "MergeStep",
    "Observed",
    "Occupant",
    "PullRequest",
    "PullState",
    "QueueSpot",
    "Rejection",
    "Rerun",
    "RetryPoint",
    "Room",
    "Rules",
    "Run",
    "RunState",
    "Salvage",
    "Says",
    "StagedCheck",
    "Standing",
    "StopWhy",
    "Task",
    "Thread",
    "Touched",
    "Unknown",
    "Upon",
    "Worktree",
    "WorktreeFault",
]
