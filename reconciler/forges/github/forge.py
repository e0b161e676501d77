"""The forge on GitHub: looking, opening, landing, and verdicts given here, behind the protocol of forges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reconciler.forges.github import offers
from reconciler.forges.github.bases import RemoteBases
from reconciler.forges.github.beneath import BasesBeneath
from reconciler.forges.github.branch_removal import BranchRemoval
from reconciler.forges.github.branches import TaskBranches
from reconciler.forges.github.gh import Gh
from reconciler.forges.github.landing import Merges
from reconciler.forges.github.look import Look
from reconciler.forges.github.openings import Openings
from reconciler.forges.github.postings import Postings
from reconciler.forges.github.pull_reports import PullReports
from reconciler.forges.github.queue import MergeQueue
from reconciler.forges.github.reruns import Reruns
from reconciler.forges.github.slug import Slug
from reconciler.forges.github.spending import Spent
from reconciler.forges.github.staging import OnStagingBranches, Staging
from reconciler.forges.github.updates import Updates
from reconciler.forges.github.verdicts import Verdicts
from reconciler.forges.github.workflows import Workflows
from reconciler.git.commands import Git
from reconciler.git.tree_entries import of_beads
from reconciler.landing import checkouts
from reconciler.landing.candidates import Candidates
from reconciler.landing.changes import CommitChanges
from reconciler.landing.commits import Commits
from reconciler.landing.history import History
from reconciler.landing.landing import LandingLine, PullRecords
from reconciler.landing.remotes import REMOTE_VARIABLES, Remotes
from reconciler.landing.stacks import Stacking, Stacks
from reconciler.model.desired import LandingMode, MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import (
    Base,
    BaseCommit,
    Candidate,
    Conflict,
    Landing,
    MergeStep,
    PullRequest,
)
from reconciler.model.ports import LandOrder, VerdictPost
from reconciler.model.pull_records import PullRecord, Verdict
from reconciler.model.values import replace


class GitHubForge(Stacking, OnStagingBranches):
    """`ports.Forge` on GitHub. Safe to share between threads. `bases`: what work lands on, the first one first.

    `local`: pull requests from before the work went to GitHub, one of whose landings may have been cut off.
    """

    login_variables = ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GH_HOST", "GH_CONFIG_DIR", *REMOTE_VARIABLES)

    def __init__(self, git: Git, gh: Gh, slug: Slug, bases: Callable[[], Sequence[str]], local: PullRecords) -> None:
        self._git, self._gh, self._bases = git, gh, bases
        self.changes = CommitChanges(git)
        self._candidates = Candidates(git, whole=True)
        self._commits = Commits(git, self._candidates)
        self._history = History(git)
        # The user's login serves git as well, after whatever they have set up for it themselves.
        self._remotes = Remotes(git, (f"credential.https://{slug.host}.helper=!gh auth git-credential",))
        self._line = LandingLine(git, self._commits, self._history, local, self._remotes)
        self._stacks = Stacks(git, self._candidates, self._line)
        self._branches = TaskBranches(git, self._remotes, self._history, self._line)
        self._verdicts = Verdicts(git)
        self.look = Look(gh, slug, bases, self._branches.tasks, staged=lambda: self._staging.awaited())
        self._openings = Openings(gh, self.look)
        self._merges = Merges(git, gh, self.look, self._remotes, self._commits)
        self._staging = Staging(git, self.look, self._remotes, self._merges.commit)
        self._workflows = Workflows(git)
        self._queue = MergeQueue(git, gh, self.look, self._remotes, self._candidates, self._merges)
        self._there = RemoteBases(
            git=git,
            look=self.look,
            remotes=self._remotes,
            history=self._history,
            line=self._line,
            candidates=self._candidates,
            merges=self._merges,
            queue=self._queue,
        )
        self._updates = Updates(git, self._candidates, self._there.on)
        self._reruns = Reruns(gh, self.look, self._merges.notes)
        self._postings = Postings(gh, self.look, self._merges.notes)
        self._removal = BranchRemoval(gh, self.look, self._branches)
        self._reports = PullReports(
            bases=bases,
            look=self.look,
            remotes=self._remotes,
            history=self._history,
            branches=self._branches,
            stacks=self._stacks,
            queue=self._queue,
            merges=self._merges,
            verdicts=self._verdicts,
            reruns=self._reruns,
            postings=self._postings,
            updates=self._updates,
            beneath=BasesBeneath(git, self.look),
        )

    @property
    def slug(self) -> Slug:
        """The repository, by the name that GitHub has for it."""
        return self.look.slug

    @property
    def spent(self) -> Spent:
        """What asking has cost, and what is left."""
        return self._gh.spending.now()

    @property
    def trouble(self) -> str | None:
        """Why GitHub can't be used until a person has done something; None where it can, or is only silent."""
        try:
            self.look.now()
        except PermanentError as error:
            return error.advised
        except TemporaryError:
            return None
        return None

    # --- looking -------------------------------------------------------------------------------------------

    def base(self, name: str, *, push: bool = False, look: bool = True) -> Base:
        """A base as GitHub has it. Where GitHub is silent, as it was heard last: nothing lands meanwhile."""
        return self._there.seen(name)

    def pull_requests(self) -> Mapping[TaskId, PullRequest]:
        """The pull request of every task that has one: the first open one, else the newest. Raises where GitHub is silent.

        What goes to none of our bases counts only where nothing else does: somebody takes a branch elsewhere as well.
        """
        self._merges.freezes.heed()
        return self._reports.newest()

    def every_pull_request(self) -> Sequence[tuple[PullRecord, PullRequest]]:
        """Every pull request that was heard of, oldest first, and how it stands now."""
        return self._reports.every()

    def uncommitted(self, path: str, head: Sha) -> frozenset[str]:
        """Staged, changed and untracked paths of a worktree that is on `head`, without `.beads/`. Changes nothing there."""
        return checkouts.uncommitted(self._git, Path(path), head)

    def damaged(self) -> Mapping[PrNumber, str]:
        """What is kept on GitHub is not damaged here."""
        return {}

    def landings(self, base: str) -> Sequence[Landing]:
        """Every landing on the base as GitHub has it: by our trailers, or by GitHub's word and the commit it names."""
        return self._there.landings(base)

    def recent(self, tip: Sha) -> tuple[BaseCommit, ...]:
        """The newest commits on the first-parent line that ends in `tip`, that one first."""
        return self._history.recent(tip)

    def candidate(self, base: Sha, head: Sha, *, exact: bool = True) -> Candidate | Conflict:
        """What landing `head` on `base` makes of it; else, perhaps, on an older tip since which only we have landed."""
        older = None if exact else self._candidates.newest(head)
        if older and self._history.only_landings_between(older.base, base):
            return older
        found = self._candidates.judge(base, head)
        if isinstance(found, Candidate):
            # A tree alike is not enough: what was tested may be its merge with what the base has taken back since.
            whole = found.tree == self._updates.tree(head) and self._history.contains(head, base)
            found = replace(found, is_head=whole)
        if self._history.is_tip(base):
            self._candidates.note(found)
        return found

    def fold(self, base: Sha, steps: tuple[MergeStep, ...]) -> tuple[Candidate | Conflict, ...]:
        """What landing these heads on `base` one after the other makes, one answer a step."""
        return self._candidates.fold(base, steps)

    def candidate_commit(self, order: LandOrder) -> Sha:
        """A commit with the tree that would land: what is checked. GitHub makes the one that lands."""
        return self._commits.make(order)[-1]

    def contains(self, base: Sha, commit: Sha) -> bool:
        """True when `commit` is an ancestor of `base`."""
        return self._history.contains(base, commit)

    # --- changing ------------------------------------------------------------------------------------------

    def open(self, task: TaskId, head: Sha, title: str, body: str, *, base: str = "", onto: str = "") -> PrNumber:
        """Push the branch of `task` and open its pull request, or find the open one."""
        base = base or self._base_of(task)
        tip = self._remotes.last_heard(base) or self._line.local(base)
        what = offers.offered(self._git, self._candidates.benches, task, tip, head)
        there = self._branches.push(base, task, head, what)
        return self._openings.open(onto or base, task, there, title, body)

    def close(self, number: PrNumber, *, declined: bool, merged: bool = False) -> None:
        """Close a pull request. What we pushed to the base GitHub calls merged only where it finds the very commits there."""
        commit = self._reports.landed_as(self.look.last.pulls.get(number)) if merged else None
        self._openings.close(number, commit, there=bool(commit) and self._there.marks(number))
        self._merges.notes.closed(number)

    def review(self, number: PrNumber, head: Sha, verdict: Verdict, text: str = "") -> None:
        """Record a person's word on one head."""
        pull = self.look.one(number)
        if pull is None or not pull.open:
            raise PermanentError(f"#{number} is not open", hint="only an open pull request is reviewed")
        if pull.head != head:
            raise ChangedError(f"the head of #{number} is {pull.head[:12]}, not {head[:12]}", hint="look at it again")
        self._branches.bring(pull.base if pull.base in self._bases() else self._bases()[0], pull.task, head)
        self._verdicts.add(number, head, verdict, text)

    def update(self, number: PrNumber, head: Sha) -> None:
        """Have GitHub merge the base into a pull request whose head still is `head`."""
        self._openings.update(number, head)

    def rerun(self, number: PrNumber, head: Sha, workflows: Sequence[int]) -> None:
        """Have GitHub Actions run again what was red in these workflows of a pull request's head."""
        self._reruns.ask(number, head, workflows)

    def post_review(self, number: PrNumber, post: VerdictPost) -> None:
        """Post a reviewer's verdict as a review, or as what else GitHub takes of it."""
        self._postings.post(number, post)

    def withdraw_reviews(self, number: PrNumber, keep: str | None) -> None:
        """Take back what was posted of verdicts that no longer hold."""
        self._postings.withdraw(number, keep)

    def land(self, order: LandOrder) -> Sha:
        """Have GitHub merge what was judged, or push it; the landed commit, once its tree was compared with the judged one."""
        self._verdicts.heed(order)
        if (
            order.how is LandingMode.FORGE
            and order.method is MergeMethod.REBASE
            and not any(map(of_beads, order.expected.changed))
        ):
            self._commits.make(order)  # what does not add up here would land there as what nobody has tested
        landed = self._merges.land(order)
        for each in order.whole:
            self._merges.notes.closed(each.number)
        return landed

    def enqueue(self, number: PrNumber, head: Sha) -> None:
        """Put a head into GitHub's merge queue."""
        self._queue.enter(number, head)

    def push_base(self, base: str) -> None:
        """Nothing of ours is on a base here that GitHub does not have."""
        raise PermanentError(f"{base} is moved by {self.slug} only")

    def follow(self, base: str) -> None:
        """Learn what became of a merge whose answer was lost; then bring the base here to where it is there."""
        self._merges.settle(base)
        self._queue.settle(base)
        self._merges.freezes.settle(base)
        self._line.catch_up(base)

    def unfreeze(self, base: str) -> bool:
        """Let a base go on on which nothing landed any more, wherever that was noted; False where nothing stopped it."""
        return self._merges.freezes.lift(base)

    def follow_branch(self, task: TaskId, head: Sha) -> None:
        """Bring the branch of `task` here, and its worktree, to the head that was pushed to GitHub."""
        self._branches.follow(task, head)

    def drop_branch(self, task: TaskId, head: Sha) -> None:
        """Delete the branch of `task` on GitHub. What was to be merged into it is sent on to where it landed before that."""
        self._removal.drop(task, head, self._base_of(task))

    def catch_up(self, base: str) -> None:
        """Finish what a killed program left undone here; what is to be asked of GitHub, `follow` asks."""
        self._line.catch_up(base)

    # --- inside --------------------------------------------------------------------------------------------

    def _base_of(self, task: TaskId) -> str:
        known = [pull for pull in self.look.last.pulls.values() if pull.task == task and pull.base in self._bases()]
        last = max(known, key=lambda pull: (pull.landed is not None, pull.number), default=None)
        return last.base if last else self._bases()[0]


__all__ = ["Gh", "GitHubForge", "Slug"]
