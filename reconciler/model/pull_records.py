"""A pull request as the local forge keeps it: one line of JSON that any later version of this program can read. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from reconciler.model.names import BranchName, PrNumber, Sha, TaskId, branch_of, is_sha, pull_request_ref, usable
from reconciler.model.observed import PullRequest, PullState, Rejection
from reconciler.model.values import replace

VERSION = 1
Moment = Annotated[datetime, Meta(tz=True)]


class Verdict(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"
    MERGE = "merge"  # now, where merging is left to people


class PersonReview(Struct, frozen=True, kw_only=True):
    """A person's verdict on one head."""

    verdict: Verdict
    head: Sha
    by: str
    at: Moment
    text: str = ""


def standing(reviews: Sequence[PersonReview], head: Sha) -> frozenset[Verdict]:
    """What was written about one head and still counts: a yes and a no end each other, and a no ends 'merge now' too."""
    found: frozenset[Verdict] = frozenset()
    for each in (review.verdict for review in reviews if review.head == head):
        match each:
            case Verdict.REJECTED:
                found = frozenset({each})
            case Verdict.APPROVED:
                found = found - {Verdict.REJECTED} | {each}
            case Verdict.MERGE:
                found |= {each}
    return found


class PullRecord(Struct, frozen=True, kw_only=True):
    """Everything that is kept about a pull request. `head` is the one at the last change of this record."""

    number: PrNumber
    task: TaskId
    title: str
    body: str
    head: Sha
    opened_head: Sha
    opened_at: Moment
    state: PullState = PullState.OPEN
    closed_at: Moment | None = None
    declined: bool = False
    landed: Sha | None = None  # the commit on the base, where we made it
    method: str | None = None  # how it was landed
    reviews: tuple[PersonReview, ...] = ()  # oldest first

    @property
    def branch(self) -> BranchName:
        return branch_of(self.task)

    @property
    def open(self) -> bool:
        return self.state is PullState.OPEN

    def rejected(self, head: Sha) -> bool:
        """True where a person's 'no' to one head stands."""
        return Verdict.REJECTED in standing(self.reviews, head)

    def closed(self, at: datetime, *, declined: bool, merged: bool) -> PullRecord:
        """This record, closed. What was closed keeps its time; work that landed is merged, whatever the record was before."""
        if self.state is PullState.MERGED or (not self.open and not merged):
            return self
        state = PullState.MERGED if merged else PullState.CLOSED
        return replace(self, state=state, closed_at=self.closed_at or at, declined=declined and not merged)

    def reviewed(self, review: PersonReview) -> PullRecord:
        """This record with one more review; the same where it says nothing new."""
        last = next((each for each in reversed(self.reviews) if each.head == review.head), None)
        if last and (last.verdict, last.text) == (review.verdict, review.text):
            return self
        return replace(self, reviews=(*self.reviews, review))

    def seen(self, branch_head: Sha | None) -> PullRequest:
        """The pull request that this record and the head of its branch (None: it is gone) make together."""
        vanished = self.open and branch_head is None
        approved = self._last(Verdict.APPROVED)
        rejected = self._last(Verdict.REJECTED)
        wanted = self._last(Verdict.MERGE)
        return PullRequest(
            number=self.number,
            task=self.task,
            head=branch_head if self.open and branch_head else self.head,
            state=PullState.CLOSED if vanished else self.state,
            approved=approved.head if approved else None,
            rejection=Rejection(head=rejected.head, text=rejected.text) if rejected else None,
            merge_now=wanted.head if wanted else None,
            declined=self.declined or vanished,
            opened_head=self.opened_head,
            opened_at=self.opened_at,
            closed_at=self.closed_at,
            landed=self.landed,
        )

    def _last(self, verdict: Verdict) -> PersonReview | None:
        """The newest review with this verdict that no later one on the same head took back."""
        given = (each for each in reversed(self.reviews) if each.verdict is verdict)
        return next((each for each in given if verdict in standing(self.reviews, each.head)), None)


class StoredPull(Struct, frozen=True):
    """A record and the commit that holds it."""

    record: PullRecord
    commit: Sha

    @property
    def ref(self) -> str:
        return pull_request_ref(self.record.number)


def encode(record: PullRecord) -> str:
    """One line of ASCII: hostile text in it stays text."""
    return json.dumps({"version": VERSION, "branch": record.branch, **to_builtins(record)})


def decode(text: str, number: PrNumber) -> PullRecord:
    """The record of pull request `number` that `encode` made. Raises ValueError for anything else."""
    try:
        kept = json.loads(text)
        if kept["version"] != VERSION:
            raise ValueError(f"written by another version of this program ({kept['version']!r})")
        if kept["number"] != number or not usable(kept["task"]):
            raise ValueError("it belongs to another pull request")
        record = convert(kept, PullRecord)
    except (KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        raise ValueError(f"no record of a pull request ({type(error).__name__})") from error
    named = (record.head, record.opened_head, *(review.head for review in record.reviews))
    if not all(map(is_sha, (*named, record.landed) if record.landed else named)):
        raise ValueError("what it names is no commit")
    return record
