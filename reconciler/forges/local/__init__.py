"""The local forge: pull requests, merges and landings on plain git, in the repository itself and with no server.

`pulls` keeps pull requests as refs, each change a compare-and-swap; how they land is `reconciler.landing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.forges.local.pulls import Pulls
from reconciler.git import refs
from reconciler.git.commands import Git
from reconciler.git.refusals import GitError
from reconciler.landing import checkouts, filtered
from reconciler.landing.candidates import Candidates
from reconciler.landing.changes import CommitChanges
from reconciler.landing.commits import Commits
from reconciler.landing.history import History
from reconciler.landing.landing import LandingLine
from reconciler.landing.opened import BaseCheckout
from reconciler.landing.remotes import REMOTE_VARIABLES, Remotes
from reconciler.landing.stacks import Stacking, Stacks
from reconciler.model.errors import PermanentError
from reconciler.model.names import PrNumber, RunId, Sha, TaskId, is_sha
from reconciler.model.observed import (
    Base,
    BaseCommit,
    Candidate,
    Checkout,
    Conflict,
    Exit,
    Landing,
    MergeStep,
    PullRequest,
    Run,
    StagedCheck,
)
from reconciler.model.ports import LandOrder, VerdictPost
from reconciler.model.pull_records import PullRecord, Verdict
from reconciler.model.values import replace


class LocalForge(Stacking):
    """`ports.Forge` on plain git. Safe to share between threads."""

    login_variables = REMOTE_VARIABLES

    def __init__(self, git: Git) -> None:
        self._git = git
        self.changes = CommitChanges(git)
        self._candidates = Candidates(git)
        self._commits = Commits(git, self._candidates)
        self._history = History(git)
        self._pulls = Pulls(git)
        self._remotes = Remotes(git)
        self._line = LandingLine(git, self._commits, self._history, self._pulls, self._remotes)
        self._stacks = Stacks(git, self._candidates, self._line)

    def base(self, name: str, *, push: bool = False, look: bool = True) -> Base:
        """A base branch with its checkout. With `push`, its head is the remote's, where the local one can follow."""
        ours = self._line.local(name)
        found = checkouts.of_base(self._git, name)
        checkout = self._seen(name, found[0], ours, look=look) if found else None
        cut_off, landings = self._line.begun(name) is not None, self._history.landings(name, ours)
        undoing = None if cut_off or not found or found[0].busy else self._line.undone.staged(found[0], ours, landings)
        by_chance = undoing is not None and undoing.by_chance
        if checkout and undoing and not by_chance:
            checkout = replace(checkout, undoes=tuple(sorted(change.path for change in undoing.changes)))
        base = (
            self._against_remote(name, ours, checkout)
            if push
            else Base(name=name, head=ours, checkout=checkout, behind=cut_off, fetched=self._fetched(name, ours))
        )
        undone = self._line.undone.on(name, ours, landings)
        encoded = filtered.hindrance(self._git, self._candidates.benches, name, base.head)
        return replace(base, behind=base.behind or by_chance, undone=undone, encoded=encoded)

    def pull_requests(self) -> Mapping[TaskId, PullRequest]:
        """The newest pull request of every task that has one."""
        return self._pulls.newest()

    def damaged(self) -> Mapping[PrNumber, str]:
        """Why what is kept about a pull request could not be read at the last look, and what fixes it."""
        return {number: error.advised for number, error in self._pulls.damaged.items()}

    def every_pull_request(self) -> Sequence[tuple[PullRecord, PullRequest]]:
        """Every pull request there ever was, oldest first: what is kept about it, and how it stands now."""
        return self._pulls.every()

    def show(self, number: PrNumber) -> PullRecord:
        """Everything that is kept about one pull request. Raises PermanentError when there is none."""
        return self._pulls.show(number).record

    def uncommitted(self, path: str, head: Sha) -> frozenset[str]:
        """Staged, changed and untracked paths of a worktree that is on `head`, without `.beads/`. Changes nothing there."""
        return checkouts.uncommitted(self._git, Path(path), head)

    def landings(self, base: str) -> Sequence[Landing]:
        """Every landing on the base, oldest first; on the remote's where it is ahead."""
        ours, theirs = self._line.local(base), self._remotes.last_heard(base)
        tip = theirs if theirs and self._history.contains(theirs, ours) else ours
        return self._history.landings(base, tip)

    def recent(self, tip: Sha) -> tuple[BaseCommit, ...]:
        """The newest commits on the first-parent line that ends in `tip`, that one first."""
        return self._history.recent(_commit(tip))

    def candidate(self, base: Sha, head: Sha, *, exact: bool = True) -> Candidate | Conflict:
        """What landing `head` on `base` makes of it; else, perhaps, on an older tip since which only we have landed."""
        older = None if exact else self._candidates.newest(_commit(head))
        if older and self._history.only_landings_between(older.base, base):
            return older
        found = self._candidates.judge(_commit(base), _commit(head))
        if self._history.is_tip(base):
            self._candidates.note(found)
        return found

    def fold(self, base: Sha, steps: tuple[MergeStep, ...]) -> tuple[Candidate | Conflict, ...]:
        """What landing these heads on `base` one after the other makes, one answer a step."""
        return self._candidates.fold(base, steps)

    def candidate_commit(self, order: LandOrder) -> Sha:
        """The commit that would land, written but on no branch."""
        return self._commits.make(order)[-1]

    def open(self, task: TaskId, head: Sha, title: str, body: str, *, base: str = "", onto: str = "") -> PrNumber:
        """Open the pull request of `task`, or find the open one."""
        return self._pulls.open(task, head, title, body)

    def stage(self, order: LandOrder, run: Run) -> None:
        """Nothing here runs checks of its own."""
        raise PermanentError("a forge that is here has no staging branches")

    def staged(self) -> Sequence[StagedCheck]:
        """Nothing is."""
        return ()

    def clear_staging(self, run: RunId, end: Exit, remark: str) -> None:
        """Nothing is there to be cleared away."""

    def runs_when_staged(self, base: Sha) -> bool:
        """Nothing does."""
        return False

    def contains(self, base: Sha, commit: Sha) -> bool:
        """True when `commit` is an ancestor of `base`."""
        return self._history.contains(_commit(base), _commit(commit))

    def close(self, number: PrNumber, *, declined: bool, merged: bool = False) -> None:
        """Close a pull request."""
        self._pulls.close(number, declined=declined, merged=merged)

    def review(self, number: PrNumber, head: Sha, verdict: Verdict, text: str = "") -> None:
        """Record a person's word on one head."""
        self._pulls.review(number, head, verdict, text)

    def land(self, order: LandOrder) -> Sha:
        """Move the base to the tested tree and bring its checkouts along; the landed commit."""
        return self._line.land(order)

    def push_base(self, base: str) -> None:
        """Push the landed base to its remote, with a lease."""
        self._line.push(base)

    def catch_up(self, base: str) -> None:
        """Finish what a killed landing left undone, and follow the remote of a base that is pushed."""
        self._line.catch_up(base)

    def follow(self, base: str) -> None:
        """Finish what a killed landing left undone, and what a git beside one put back; nothing lands elsewhere."""
        self._line.catch_up(base)
        self._line.restore(base)

    def unfreeze(self, base: str) -> bool:
        """Nothing is noted here of a base that would have to be lifted."""
        return False

    def follow_branch(self, task: TaskId, head: Sha) -> None:
        """There is no other place where somebody could have pushed to a branch."""
        raise PermanentError(f"{task}: its pull request has no branch but the one here")

    def update(self, number: PrNumber, head: Sha) -> None:
        """What lands is merged with the base in any case."""
        raise PermanentError(f"#{number}: this forge asks for no base in a branch")

    def enqueue(self, number: PrNumber, head: Sha) -> None:
        """The line is here."""
        raise PermanentError(f"#{number}: this forge has no merge queue of its own")

    def post_review(self, number: PrNumber, post: VerdictPost) -> None:
        """Where it would be read, it is kept."""
        raise PermanentError(f"#{number}: what its reviewers say stands here already")

    def withdraw_reviews(self, number: PrNumber, keep: str | None) -> None:
        """Nothing was posted."""
        raise PermanentError(f"#{number}: nothing of its reviewers was posted")

    def rerun(self, number: PrNumber, head: Sha, workflows: Sequence[int]) -> None:
        """There are no checks but those of the manifest, which are run here."""
        raise PermanentError(f"#{number}: this forge runs no checks")

    def drop_branch(self, task: TaskId, head: Sha) -> None:
        """There is no other branch than the one here."""
        raise PermanentError(f"{task}: its pull request has no branch but the one here")

    def _seen(self, name: str, checkout: BaseCheckout, head: Sha, *, look: bool) -> Checkout:
        dirty = checkouts.dirty(self._git, checkout, head) if look else None
        if dirty and (begun := self._line.begun(name)):
            # What a landing brings there is half done, and not somebody's work; whoever ends it looks again at the files.
            dirty -= checkouts.step(self._git, begun.old, begun.new).changed
        locked = checkouts.left_locked(checkout)
        return Checkout(path=str(checkout.path), dirty=dirty, busy=checkout.busy, locked=locked)

    def _fetched(self, name: str, ours: Sha) -> str | None:
        """The remote's branch where it is ahead of the base as it was fetched last. What git can't read of it says nothing."""
        ref = self._remotes.followed(name)
        if ref is None:
            return None
        try:
            theirs = refs.head_of(self._git, ref)
            ahead = theirs is not None and theirs != ours and self._history.contains(theirs, ours)
        except (GitError, PermanentError):  # its objects are not here, or it is no ref at all
            return None
        return ref.removeprefix("refs/remotes/") if ahead else None

    def _against_remote(self, name: str, ours: Sha, checkout: Checkout | None) -> Base:
        remote = self._remotes.of(name).name
        theirs = self._remotes.head(name, near=ours)
        if theirs and self._history.contains(theirs, ours):
            return Base(
                name=name, head=theirs, checkout=checkout, remote=remote, behind=self._line.begun(name) is not None
            )
        diverged = self._line.diverged(name, ours, theirs) if theirs else f"the remote {remote} has no branch {name}"
        return Base(name=name, head=ours, checkout=checkout, remote=remote, unpushed=not diverged, diverged=diverged)


def _commit(name: str) -> Sha:
    if not is_sha(name):
        raise PermanentError(f"{name[:80]!r} is not the name of a commit")
    return Sha(name)
