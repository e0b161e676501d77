"""Have what a reviewer answered stand where people read the change; and take back there what no longer holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from reconciler.model.changes import Diff
from reconciler.model.names import PrNumber
from reconciler.model.observed import Run
from reconciler.model.ports import Change, Ports, VerdictPost
from reconciler.model.reasons import Reason
from reconciler.model.verdicts import LineComment, ReviewVerdict, ReviewWord, mark_of
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.job import Job

_WORDS = {
    ReviewWord.APPROVE: "it approves",
    ReviewWord.REQUEST_CHANGES: "it asks for changes",
    ReviewWord.PERSON: "it leaves it to a person",
}


class PostReview(Action, frozen=True, kw_only=True):
    """Post the verdict that counts for what is offered, once."""

    by_merge: ClassVar[bool] = True
    number: PrNumber
    post: VerdictPost

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.post.head, "verdict": self.post.verdict.verdict}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, offer = job.open_pull, job.offer.reviewing
        verdict, by, diff = offer.verdict, offer.by, offer.diff
        if pull is None or pull.posted is None or verdict is None or by is None or diff is None:
            return None
        if diff.head != pull.head or mark_of(by.id, verdict) in pull.posted:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.REVIEW_ENDED,
            message=f"post the review of #{pull.number}: {_WORDS[verdict.verdict]}",
            number=pull.number,
            post=VerdictPost(
                mark=mark_of(by.id, verdict),
                head=pull.head,
                verdict=verdict,
                by=by.agent or "reviewer",
                enough=offer.approved and offer.approved_by_agent and not job.offer.protected,
                placed=_placed(by, verdict, diff),
                outside=_outside(by, verdict, diff),
            ),
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.post_review(self.number, self.post)
        yield from ()


class WithdrawReview(Action, frozen=True, kw_only=True):
    """Take back a no that was posted and no longer is the last word: its head has changed, or a person has approved."""

    by_merge: ClassVar[bool] = True
    number: PrNumber
    keep: str | None

    @property
    def housekeeping(self) -> bool:
        return True

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, offer = job.open_pull, job.offer.reviewing
        if pull is None or not pull.standing or (job.spec.merge.reviewed_by_agents and not _known(job)):
            return None
        keep = mark_of(offer.by.id, offer.verdict) if offer.changes_requested and offer.by and offer.verdict else None
        if not pull.standing - {keep}:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.REVIEW_ENDED,
            message=f"take back what was posted about #{pull.number} before",
            number=pull.number,
            keep=keep,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.withdraw_reviews(self.number, self.keep)
        yield from ()


def _known(job: Job) -> bool:
    """True where it is known what its reviewers have answered that counts."""
    diff, facts = job.offer.reviewing.diff, job.offer.facts
    read = isinstance(facts.brief, str) and isinstance(facts.reviews, tuple)
    return read and diff is not None and job.open_pull is not None and diff.head == job.open_pull.head


def _placed(by: Run, verdict: ReviewVerdict, diff: Diff) -> tuple[LineComment, ...]:
    """The comments at lines that the diff shows. Of another tree, though much the same, a line may be another one."""
    if by.tree != diff.tree:
        return ()
    return tuple(each for each in verdict.comments if each.line is not None and diff.shows(each.path, each.line))


def _outside(by: Run, verdict: ReviewVerdict, diff: Diff) -> tuple[LineComment, ...]:
    """The comments on places that the diff does not show: who reads them would look there in vain."""
    if by.tree != diff.tree:
        return ()
    return tuple(each for each in verdict.comments if diff.knows(each.path, each.line) is False)
