"""Verdicts of reviewers, posted as reviews: each once, and taken back when it no longer says what holds.

Where the login may not say yes or no to a pull request, its own above all, the review is a comment; where it may not even
comment, the verdict is a commit status, which holds nothing up. What was posted is known by its mark, so that an answer that
was lost, or never read, is looked up before anything is posted again.
"""

from __future__ import annotations

import json

from msgspec import Struct

from reconciler.forges.github import review_text
from reconciler.forges.github.answers import LimitError, LostError
from reconciler.forges.github.gh import Gh
from reconciler.forges.github.look import Look
from reconciler.forges.github.marks import mark_in
from reconciler.forges.github.notes import Notes, PostedReviews
from reconciler.forges.github.pull import Opinion, Pull
from reconciler.model.errors import ChangedError, ReconcileError
from reconciler.model.names import PrNumber
from reconciler.model.ports import VerdictPost
from reconciler.model.values import replace

_OWN = "your own pull request"


class Objection(Struct, frozen=True):
    """What of ours still asks for something at a pull request: a no, or a conversation that nobody but us is in."""

    mark: str
    mutation: str


class Postings:
    """What is posted of one repository. Safe to share between threads."""

    def __init__(self, gh: Gh, look: Look, notes: Notes) -> None:
        self._gh, self._look, self._notes = gh, look, notes

    def posted(self, pull: Pull) -> frozenset[str]:
        """The marks of the verdicts that need not be posted any more: a yes that a push has outdated needs to be."""
        return frozenset(self._kept(pull.number).marks) - {each.mark for each in pull.posted if _outdated(each, pull)}

    def standing(self, pull: Pull) -> frozenset[str]:
        """The marks of those that still ask for something there, and that nobody has tried to take back."""
        return frozenset(held.mark for held in _objections(pull)) - set(self._kept(pull.number).withdrawn)

    def post(self, number: PrNumber, post: VerdictPost) -> None:
        """Post a verdict about a head that the pull request still has; what GitHub takes in no form is not posted."""
        pull = self._look.one(number)
        if pull is None or not pull.open or pull.head != post.head:
            raise ChangedError(f"#{number} is not open at {post.head[:12]} any more", hint="it is judged again")
        if not self._there(pull, post.mark):
            self._ask(pull, post)
            self._look.stale()
        kept = self._kept(number)
        self._notes.reviews(number, replace(kept, marks=sorted({*kept.marks, post.mark})))

    def withdraw(self, number: PrNumber, keep: str | None) -> None:
        """Take back every no of ours, and settle what we alone have to say, but for one verdict. What may not be is left."""
        pull = self._look.one(number)
        if pull is None or not pull.open:
            return
        held = [each for each in _objections(pull) if each.mark != keep]
        for each in held:
            try:
                self._gh.graphql(each.mutation)
            except (LimitError, LostError):
                self._look.stale()
                raise
            except ReconcileError:
                pass  # GitHub's rules say who may: it waits for them there
        self._look.stale()
        kept = self._kept(number)
        marks = sorted({*kept.withdrawn, *(each.mark for each in held)})
        self._notes.reviews(number, replace(kept, withdrawn=marks))

    def _ask(self, pull: Pull, post: VerdictPost) -> None:
        path = f"{self._look.slug.path}/pulls/{pull.number}/reviews"
        event = "COMMENT" if _spoken(pull) else review_text.event(post)
        for how in dict.fromkeys((event, "COMMENT")):
            for placed in dict.fromkeys((bool(post.placed), False)):
                answer = self._gh.change("POST", path, review_text.review(post, how, placed=placed))
                if answer.ok:
                    return
                if _OWN in answer.text:
                    break  # it is not for want of its lines
        self._gh.change("POST", f"{self._look.slug.path}/statuses/{post.head}", review_text.status(post))

    def _there(self, pull: Pull, mark: str) -> bool:
        found = self._gh.pages(f"{self._look.slug.path}/pulls/{pull.number}/reviews") or ()
        outdated = {each.head for each in pull.posted if _outdated(each, pull)}
        return any(
            mark_in(str(each.get("body") or "")) == mark and each.get("commit_id") not in outdated for each in found
        )

    def _kept(self, number: PrNumber) -> PostedReviews:
        return self._notes.posted_reviews(number)


def _outdated(opinion: Opinion, pull: Pull) -> bool:
    """True for a yes of ours that by the rules counts no longer since its head got the base merged into it. One that a
    person dismissed is not posted again."""
    if not opinion.mine or opinion.head == pull.head or opinion.dismissed_by:
        return False
    return opinion.dismissed or (opinion.state == "APPROVED" and pull.decision == "REVIEW_REQUIRED")


def _spoken(pull: Pull) -> bool:
    """True where the user has answered there with this login: ours would stand in its place."""
    return any(each.mine and not each.dismissed for each in pull.opinions)


def _objections(pull: Pull) -> list[Objection]:
    noes = [
        Objection(each.mark, _dismiss(each.node))
        for each in pull.posted
        if each.mark and each.mine and each.state == "CHANGES_REQUESTED"
    ]
    talks = [
        Objection(mark, _resolve(each.id))
        for each in pull.threads
        if all(word.ours for word in each.comments) and (mark := each.comments[0].ours)
    ]
    return noes + talks


def _dismiss(node: str) -> str:
    asked = f'pullRequestReviewId: {json.dumps(node)}, message: "It was about something else than what is offered now."'
    return f"mutation {{ dismissPullRequestReview(input: {{ {asked} }}) {{ clientMutationId }} }}"


def _resolve(thread: str) -> str:
    return f"mutation {{ resolveReviewThread(input: {{ threadId: {json.dumps(thread)} }}) {{ clientMutationId }} }}"
