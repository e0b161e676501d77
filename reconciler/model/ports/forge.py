"""Pull requests, and the way of their work to the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from reconciler.model.changes import Diff, File, PullCommit, Span
from reconciler.model.desired import LandingMode, MergeMethod, SquashMessage
from reconciler.model.names import PrNumber, RunId, Sha, TaskId
from reconciler.model.observed import (
    Base,
    BaseCommit,
    Candidate,
    Conflict,
    Exit,
    Landing,
    MergeStep,
    PullRequest,
    Run,
    StagedCheck,
    Upon,
)
from reconciler.model.pull_records import PullRecord, Verdict
from reconciler.model.verdicts import LineComment, ReviewVerdict


class LandOrder(Struct, frozen=True, kw_only=True):
    """A tested tree and how it goes onto the base. `expected` was judged; anything else is refused.

    `beneath`: what lands below it in the same move, the lowest first, on the same base. The tree of each has theirs in it.
    """

    task: TaskId
    number: PrNumber
    title: str
    body: str
    expected: Candidate
    base: str
    method: MergeMethod
    how: LandingMode = LandingMode.CAS  # CAS or FORGE; what is here is moved by us, whichever it says
    says: SquashMessage = SquashMessage.BOTH
    push: bool = False
    tested: Sha | None = None  # the commit on which the forge's own checks passed, made of just this
    beneath: tuple[LandOrder, ...] = ()

    @property
    def whole(self) -> tuple[LandOrder, ...]:
        """All that lands, the lowest first."""
        return (*self.beneath, self)

    @property
    def changed(self) -> frozenset[str]:
        """The paths in which the base may differ afterwards."""
        return frozenset().union(*(each.expected.changed for each in self.whole))


class VerdictPost(Struct, frozen=True, kw_only=True):
    """A reviewer's verdict for others to read. `head` was judged; `mark` names the verdict; `by`: a kind of agent.

    `enough`: nobody else's yes is needed. `placed`: those of its comments that stand at lines of what the head changes;
    `outside`: those of which what it read shows no such place.
    """

    mark: str
    head: Sha
    verdict: ReviewVerdict
    by: str
    enough: bool = False
    placed: tuple[LineComment, ...] = ()
    outside: tuple[LineComment, ...] = ()


class Changes(Protocol):
    """The changes between commits of one repository."""

    def span(self, base: Sha, head: Sha) -> Span:
        """The part of history that `head` has and `base` has not."""
        ...

    def before(self, landed: Sha) -> Sha:
        """The base as it was when a commit landed on it; the commit itself where it was the first of all."""
        ...

    def commits(self, span: Span) -> tuple[PullCommit, ...]:
        """Newest first."""
        ...

    def message(self, commit: Sha) -> str:
        """The whole message of a commit."""
        ...

    def files(self, span: Span) -> tuple[File, ...]:
        """The files in which both ends differ, by path; one that was renamed is two."""
        ...

    def paths(self, landed: Sha) -> frozenset[str]:
        """The paths in which a commit on a base differs from the base before it; cached."""
        ...

    def diff(self, base: Sha, head: Sha) -> Diff:
        """All that `head` brings to `base`; cached by the pair."""
        ...

    def patch(self, span: Span, *, whole: bool) -> bytes:
        """The unified diff. With `whole` it holds all of binary files too, so that `git apply` can take it."""
        ...


class Forge(Protocol):
    """Where pull requests live and base branches move."""

    def base(self, name: str, *, push: bool = False, look: bool = True) -> Base:
        """A base branch with its checkout, and its remote where `push`. Raises PermanentError when it is missing.

        What is dirty in the checkout is only read when asked to `look`: something may land.
        """
        ...

    def pull_requests(self) -> Mapping[TaskId, PullRequest]:
        """The newest pull request of every task that has one. One whose branch is gone reads as closed and declined."""
        ...

    def damaged(self) -> Mapping[PrNumber, str]:
        """Pull requests of which the last look could read nothing, also not whose they are: why, and what fixes it."""
        ...

    def landings(self, base: str) -> Sequence[Landing]:
        """Every commit on the base that carries our trailers, oldest first."""
        ...

    def recent(self, tip: Sha) -> tuple[BaseCommit, ...]:
        """The newest commits on the first-parent line that ends in `tip`, that one first: a score of them at most."""
        ...

    def candidate(self, base: Sha, head: Sha, *, exact: bool = True) -> Candidate | Conflict:
        """What landing `head` on `base` makes of it. Writes nothing to the repository; cached by the pair.

        Where it need not be exact, it may be that of an older tip of the base, since which nobody but us has landed
        anything: each landing would make those of all other pull requests again. Its `base` tells.
        """
        ...

    def fold(self, base: Sha, steps: tuple[MergeStep, ...]) -> tuple[Candidate | Conflict, ...]:
        """What landing these heads on `base` one after the other makes, one answer a step. Writes nothing to the repository.

        The `base` of each answer is the first one's. What conflicts with those before it is left out of the steps behind it.
        """
        ...

    def candidate_commit(self, order: LandOrder) -> Sha:
        """The commit that would land, written but on no branch: the same sha each time. Its tree is the judged one."""
        ...

    def open(self, task: TaskId, head: Sha, title: str, body: str, *, base: str = "", onto: str = "") -> PrNumber:
        """Open the pull request of `task`, or find the open one. Raises ChangedError when the branch is elsewhere.

        Where it lives elsewhere, the branch is pushed. `base`: what it is to land on; else the first of all bases. `onto`: the
        branch of another task that it goes onto until that has landed.
        """
        ...

    def stage(self, order: LandOrder, run: Run) -> None:
        """Push the commit that would land to a staging branch of ours, for the forge's own checks to run there; `run` is what
        they are: once, whatever becomes of the answer. Without `run.heads`: the base as it is.

        No branch is touched there that was not made here. Raises TemporaryError where none is free.
        """
        ...

    def staged(self) -> Sequence[StagedCheck]:
        """What was pushed to staging branches: what is on its way, and what it came to as far as that was written down."""
        ...

    def clear_staging(self, run: RunId, end: Exit, remark: str) -> None:
        """Write down what a staged check came to, then delete its branch where that still stands at its commit."""
        ...

    def runs_when_staged(self, base: Sha) -> bool:
        """True where, as far as a commit of the base tells, the forge runs something on what is pushed to a staging branch."""
        ...

    def contains(self, base: Sha, commit: Sha) -> bool:
        """True when `commit` is an ancestor of `base`."""
        ...

    def close(self, number: PrNumber, *, declined: bool, merged: bool = False) -> None:
        """Close a pull request: as merged, as declined by a person, or because there is nothing left to it."""
        ...

    def review(self, number: PrNumber, head: Sha, verdict: Verdict, text: str = "") -> None:
        """Record a person's word on one head. A later 'no' takes back that it is to be merged now. `text`: of a 'no'."""
        ...

    def land(self, order: LandOrder) -> Sha:
        """Move the base to the tested tree by compare-and-swap and bring its checkout along; the landed commit.

        Raises ChangedError when base, head or tree are not the judged ones, TemporaryError when the checkout is in
        the way. After it returns the landed tree has been compared with the judged one.
        """
        ...

    def follow(self, base: str) -> None:
        """See to what a killed landing left, and bring the local base to what landed elsewhere."""
        ...

    def unfreeze(self, base: str) -> bool:
        """Let a base go on on which nothing lands until a person has looked; False where nothing stops it."""
        ...

    def follow_branch(self, task: TaskId, head: Sha) -> None:
        """Bring the branch of `task` here, and its worktree, to the head that was pushed to the forge.

        Commits that only the branch here has are saved first. Raises TemporaryError when files are in the way.
        """
        ...

    def update(self, number: PrNumber, head: Sha) -> None:
        """Have the base merged into a pull request whose head still is `head`."""
        ...

    def enqueue(self, number: PrNumber, head: Sha) -> None:
        """Put a pull request whose head still is `head` into the merge queue of the forge; there already is there."""
        ...

    def stacks(self) -> Mapping[TaskId, Upon]:
        """What the branches of tasks began on that began on another task's."""
        ...

    def begin_on(self, task: TaskId, upon: Upon) -> None:
        """Note that the branch of a task, which is to be made, begins on another task's. Raises ChangedError where that branch
        has moved on, or the task has one."""
        ...

    def unstack(self, task: TaskId, head: Sha, upon: Upon, base: Sha) -> Sha:
        """Bring a branch whose head still is `head`, and its worktree, onto a commit of the base, without what is not its own.

        Raises UnfitError where its commits do not fit there one by one, TemporaryError when files are in the way.
        """
        ...

    def forget_stack(self, task: TaskId) -> None:
        """The branch of a task is gone, and with it what it began on."""
        ...

    def post_review(self, number: PrNumber, post: VerdictPost) -> None:
        """Post a reviewer's verdict at a pull request whose head still is the judged one: once, whatever becomes of the
        answer, and never as a person's word. Raises ChangedError."""
        ...

    def withdraw_reviews(self, number: PrNumber, keep: str | None) -> None:
        """Take back what was posted of verdicts that no longer hold, but for the one with the mark `keep`."""
        ...

    def rerun(self, number: PrNumber, head: Sha, workflows: Sequence[int]) -> None:
        """Have checks of a pull request whose head is `head` run again: once per head, whatever becomes of the answer.

        Raises ChangedError where the forge does not: their verdict stands then.
        """
        ...

    def drop_branch(self, task: TaskId, head: Sha) -> None:
        """Delete the branch of `task` on the forge where it still is at `head` and no open pull request builds on it."""
        ...

    def push_base(self, base: str) -> None:
        """Push the landed base to its remote, with a lease."""
        ...

    def catch_up(self, base: str) -> None:
        """Bring a checkout of the base forward that a crash left behind its moved branch."""
        ...

    @property
    def login_variables(self) -> tuple[str, ...]:
        """The variables that a program needs to push branches and open pull requests by itself."""
        ...

    @property
    def changes(self) -> Changes:
        """What a head brings to a base."""
        ...

    def every_pull_request(self) -> Sequence[tuple[PullRecord, PullRequest]]:
        """Every pull request that was ever heard of, oldest first: what is kept about it, and how it stands now."""
        ...

    def uncommitted(self, path: str, head: Sha) -> frozenset[str]:
        """Staged, changed and untracked paths of a worktree that is on `head`, without `.beads/`. Changes nothing there."""
        ...
