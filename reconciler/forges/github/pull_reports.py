"""Pull requests as the planner and people know them: what GitHub shows, with verdicts and landings of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from reconciler.forges.github import verdicts
from reconciler.forges.github.beneath import BasesBeneath
from reconciler.forges.github.branches import TaskBranches
from reconciler.forges.github.landing import Merges
from reconciler.forges.github.look import Look
from reconciler.forges.github.postings import Postings
from reconciler.forges.github.pull import Pull
from reconciler.forges.github.queue import MergeQueue
from reconciler.forges.github.reruns import Reruns
from reconciler.forges.github.updates import Updates
from reconciler.forges.github.verdicts import Reviews, Verdicts
from reconciler.landing.history import History
from reconciler.landing.remotes import Remotes
from reconciler.landing.stacks import Stacks
from reconciler.model.names import Sha, TaskId, branch_of
from reconciler.model.observed import Judged, PullRequest, PullState, Standing
from reconciler.model.pull_records import PersonReview, PullRecord, Verdict, standing
from reconciler.model.values import replace


class PullReports(Struct, frozen=True, kw_only=True):
    """Those of one repository. Safe to share between threads, as all are that it asks.

    `bases`: those that work lands on, the first one first.
    """

    bases: Callable[[], Sequence[str]]
    look: Look
    remotes: Remotes
    history: History
    branches: TaskBranches
    stacks: Stacks
    queue: MergeQueue
    merges: Merges
    verdicts: Verdicts
    reruns: Reruns
    postings: Postings
    updates: Updates
    beneath: BasesBeneath

    def newest(self) -> Mapping[TaskId, PullRequest]:
        """The pull request of every task that has one: the first open one, else the newest. Raises where GitHub is silent."""
        pulls, bases = self.look.now().pulls.values(), self.bases()
        ordered = sorted(pulls, key=lambda p: (p.base in bases, p.open, -p.number if p.open else p.number))
        newest = {pull.task: pull for pull in ordered}
        reviews = self.verdicts.all()
        return {task: self._observed(pull, bases, reviews.get(pull.number, ())) for task, pull in newest.items()}

    def every(self) -> Sequence[tuple[PullRecord, PullRequest]]:
        """Every pull request that was heard of, oldest first, and how it stands now."""
        reviews, bases = self.verdicts.all(), self.bases()
        pulls = (pull for _, pull in sorted(self.look.now().pulls.items()))
        found = ((pull, reviews.get(pull.number, ())) for pull in pulls)
        return [(_recorded(self._by_our_record(pull), mine), self._observed(pull, bases, mine)) for pull, mine in found]

    def landed_as(self, pull: Pull | None) -> Sha | None:
        """The commit on its base that carries the head of a pull request, by our trailers."""
        if pull is None:
            return None
        tip = self.remotes.last_heard(pull.base)
        landings = self.history.landings(pull.base, tip) if tip else ()
        return next((each.commit for each in landings if (each.task, each.head) == (pull.task, pull.head)), None)

    def _observed(self, pull: Pull, bases: Sequence[str], reviews: Reviews) -> PullRequest:
        """A pull request with the verdicts given here."""
        here, pull = Standing.SAME, self._by_our_record(pull)
        upon = self.stacks.all().get(pull.task)
        if pull.open:
            self.branches.bring(pull.base if pull.base in bases else bases[0], pull.task, pull.head)
            here = self.branches.standing(pull.task, pull.head)
        pull, reviews = self._as_of_now(pull, reviews)
        seen = self.queue.seen(
            pull,
            pull.observed(bases if upon is None else (*bases, branch_of(upon.parent)), self.look.since(pull), here),
        )
        here_said = standing(reviews, pull.head)
        if pull.open and (unread := self.verdicts.damaged.get(pull.number)):
            seen = replace(seen, aside=f"{unread}; {unread.hint}")  # a 'no' that can't be read is not none
        return replace(
            seen,
            approved=pull.head if Verdict.APPROVED in here_said else seen.approved,
            rejection=verdicts.rejection(reviews, pull.head) or seen.rejection,
            withheld=self._withheld(pull, seen.withheld),
            doubted=pull.open and self.merges.doubted(pull),
            # The one who approves exactly this head here has seen what is open there.
            threads=() if Verdict.APPROVED in here_said else seen.threads,
            rerun=self.reruns.of(pull) if pull.open else None,
            merge_now=pull.head if Verdict.MERGE in here_said else None,
            updated=self._updated(pull),
            red_beneath=self._red_beneath(pull),
            posted=self.postings.posted(pull) if pull.open else None,
            dismissed={each.mark: each.dismissed_by for each in pull.posted if each.mark and each.dismissed_by},
            standing=self.postings.standing(pull) if pull.open else frozenset(),
        )

    def _by_our_record(self, pull: Pull) -> Pull:
        """What we pushed to its base squashed, GitHub calls closed: it is merged."""
        commit = self.landed_as(pull) if pull.state is PullState.CLOSED else None
        return replace(pull, state=PullState.MERGED, landed=commit) if commit else pull

    def _as_of_now(self, pull: Pull, reviews: Reviews) -> tuple[Pull, Reviews]:
        """What people decided on heads that only got the base since, as decided on the head that there is: each one's last word."""
        tip = self.look.last.heads.get(pull.base)
        spoken = {review.head for review in reviews} | {opinion.head for opinion in pull.opinions}
        if tip is None or not pull.open or not spoken - {pull.head}:
            return pull, reviews
        same = spoken & set(self.updates.older(pull.head, tip))
        opinions = (replace(each, head=pull.head) if each.head in same else each for each in pull.opinions)
        return replace(pull, opinions=tuple(opinions)), tuple(
            replace(each, head=pull.head) if each.head in same else each for each in reviews
        )

    def _updated(self, pull: Pull) -> tuple[Judged, ...]:
        tip = self.look.last.heads.get(pull.base)
        return self.updates.judged(pull.head, tip) if tip and pull.open else ()

    def _red_beneath(self, pull: Pull) -> frozenset[str]:
        tip = self.remotes.last_heard(pull.base)  # what GitHub shows as its tip may not be here yet
        return self.beneath.red(pull, tip) if tip and pull.open else frozenset()

    def _withheld(self, pull: Pull, seen: str | None) -> str | None:
        """Why it is not merged yet, in GitHub's own words where it was asked."""
        refusal = self.merges.notes.refusal(pull.number, pull.head) if seen and pull.doubted else None
        return f"GitHub was asked to merge it, and says: {refusal}" if refusal else seen


def _recorded(pull: Pull, reviews: Reviews) -> PullRecord:
    """A pull request in the words of the local forge, for those who list and show them."""
    theirs = [
        PersonReview(
            verdict=Verdict.APPROVED if opinion.state == "APPROVED" else Verdict.REJECTED,
            head=opinion.head,
            by=opinion.by,
            at=opinion.at,
            text=opinion.text,
        )
        for opinion in pull.opinions
        if opinion.head and not opinion.dismissed
    ]
    return PullRecord(
        number=pull.number,
        task=pull.task,
        title=pull.title,
        body=pull.body,
        head=pull.head,
        opened_head=pull.head,
        opened_at=pull.opened_at,
        state=pull.state,
        closed_at=pull.closed_at,
        declined=pull.state is PullState.CLOSED,
        landed=pull.landed,
        reviews=tuple(sorted((*theirs, *reviews), key=lambda review: review.at)),
    )
