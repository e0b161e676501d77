"""A task with everything that was found to belong to it, as it was found. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from reconciler.model.changes import Diff
from reconciler.model.checks import Check
from reconciler.model.desired import EpicSpec, MergeMethod
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import (
    Base,
    Branch,
    Candidate,
    Conflict,
    Failure,
    Landing,
    LastWords,
    Occupant,
    PullRequest,
    PullState,
    RetryPoint,
    Run,
    Task,
    Unknown,
    Upon,
    Worktree,
)
from reconciler.model.reasons import Reason
from reconciler.planning.asked import apart, asked_of


class Facts(Struct, frozen=True, kw_only=True, dict=True):
    """A task together with everything found to belong to it, under the manifest that owns it."""

    task: Task
    spec: EpicSpec
    now: datetime
    us: str = "reconcile@localhost"
    epic: TaskId | None = None  # what it is a child of
    blocked_by: tuple[str, ...] = ()
    stack: Upon | Unknown | None = None  # what its branch began on, as long as that has not landed
    swept: bool = False  # its pull request was closed by its forge alone, with the branch that it went onto
    adrift: bool = False  # the pull request of what its branch began on is open no more
    abandoned: bool = False  # that one was closed without landing, and nobody has said since that it goes on
    upon: Upon | None = None  # what it may begin on, or go on with, although that has not landed
    beneath: Upon | Unknown | None = None  # what the only one that it waits for, and may begin on, began on itself
    put_off: Task | None = None  # the epic above it that somebody deferred
    owned_by: str | None = None  # another manifest that comes first
    runs: tuple[Run, ...] | Unknown = ()
    since: RetryPoint | None = None
    occupant: Occupant | Unknown | None = None
    worktree: Worktree | Unknown | None = None
    branch: Branch | Unknown | None = None
    pull: PullRequest | Unknown | None = None
    damaged: str | None = None  # why its pull request or its branch can't be read, and what fixes that
    base: Base | Unknown | None = None
    candidate: Candidate | Conflict | Unknown | None = None
    checks: tuple[Run, ...] | Unknown = ()  # of the candidate's tree, oldest first
    staged: bool = False  # its own checks have passed on that tree: these are the forge's, on a staging branch
    diff: Diff | Unknown | None = None  # what is offered, where its risk matters
    reviews: tuple[Run, ...] | Unknown = ()  # of every head that it offered
    authors_words: LastWords | None = None  # of its newest attempt, where its agent reports nothing
    brief: str | Unknown = ""  # what a reviewer of it is to look for
    guidelines: str = ""  # whose words that is, for people
    linked_prompts: frozenset[str] = frozenset()  # the paths to which its prompts lead, as links or imports
    reviewer_gate: tuple[Reason, str, datetime | None] | None = None  # why no reviewer of this epic may start
    red_checks: tuple[Run, ...] = ()  # that its head has failed by itself, on whichever base
    was_green: bool = False  # the head that it offers has passed these checks on some base
    base_tree: Sha | Unknown | None = None
    base_checks: tuple[Run, ...] | Unknown = ()  # of that tree, oldest first
    retried_at: datetime | None = None  # when any task was retried last: the base is everybody's
    landing: Landing | Unknown | None = None
    tracker_folder: str = ""  # in the repository, relative; empty: the tracker keeps nothing there
    outages: Collection[str] = ()  # checks of the forge that fail on everything
    merged_by_hand: bool = False
    repaired: bool = False
    failure: Failure | None = None
    refusal: str | None = None  # why a push of its work was refused, where none has gone well since
    agent_gate: tuple[Reason, str, datetime | None] | None = None  # why no agent of this epic may start

    @cached_property
    def open_pull(self) -> PullRequest | None:
        return self.pull if isinstance(self.pull, PullRequest) and self.pull.state is PullState.OPEN else None

    @cached_property
    def asked(self) -> tuple[Check, ...]:
        """The checks that its work must pass, as it would land."""
        known = isinstance(self.candidate, Candidate)
        return asked_of(self.spec, self.candidate.changed) if known else self.spec.merge.tests  # type: ignore[union-attr]

    @property
    def step(self) -> tuple[Check, ...]:
        """Those of them that are next, or were last."""
        own, staged = apart(self.asked)
        return staged if self.staged else own or staged

    @property
    def merged_below(self) -> bool:
        """True when all that its branch holds was merged into the branch of the other task that it went onto, and not into the base."""
        pull, branch = self.pull, self.branch
        if not isinstance(pull, PullRequest) or not isinstance(branch, Branch) or pull.state is not PullState.MERGED:
            return False
        return pull.head == branch.head and pull.onto is not None

    @property
    def number(self) -> PrNumber | None:
        return self.pull.number if isinstance(self.pull, PullRequest) else None

    @property
    def base_head(self) -> Sha | None:
        return self.base.head if isinstance(self.base, Base) else None

    @property
    def refused(self) -> str | None:
        """Why the push of exactly this head was refused, where its agent can fix that."""
        failure = self.failure
        return failure.message if failure and failure.action == "OpenPullRequest" and self._refused_here else None

    @property
    def unfit(self) -> bool:
        """True when the commits of exactly this head can't land one by one. Its agent hears of it once, then a person."""
        by_rebase = self.spec.merge.method is MergeMethod.REBASE
        failure = self.failure
        one_by_one = failure is not None and (
            failure.action == "Unstack" or (by_rebase and failure.action != "OpenPullRequest")
        )
        return one_by_one and self._refused_here

    @property
    def _refused_here(self) -> bool:
        failure, branch = self.failure, self.branch
        return failure is not None and isinstance(branch, Branch) and failure.refused == branch.head
