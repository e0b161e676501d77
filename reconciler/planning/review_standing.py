"""Why a review does not count for what is offered now. Pure. Shown for each of them; no decision asks."""

from __future__ import annotations

from reconciler.model.changes import Diff
from reconciler.model.observed import PullRequest, Run, Unknown
from reconciler.model.pull_records import PersonReview, Verdict, standing
from reconciler.model.verdicts import ReviewWord
from reconciler.planning.review_terms import changed, terms
from reconciler.planning.reviews import Reviewing, ended_well, why_it_failed


def why_not(offer: Reviewing, run: Run) -> str | None:
    """Why a review that is over does not count for what is offered; None where it does."""
    pull, diff, facts = offer.facts.open_pull, offer.diff, offer.facts
    if run.verdict is None or not ended_well(run):
        return why_it_failed(run)
    if pull is None or diff is None:
        return "it is not known what is offered"
    if isinstance(facts.brief, Unknown):
        return f"it is not known what a reviewer is to look for: {facts.brief.why}"
    if why := _about_another(run, pull, diff, facts.spec.base):
        return why
    if run.judged != terms(facts.spec, facts.brief):
        return f"changed since: {changed(run.terms, facts.spec, facts.brief)}"
    if offer.overruled(run):
        return "its task was retried since"
    if by := offer.dismissal_of(run):
        return f"{by} dismissed it"
    if offer.by and offer.by.id != run.id:
        return f"{offer.by.id} is newer"
    if run.verdict.verdict is ReviewWord.REQUEST_CHANGES and pull.approved == pull.head:
        return "a person has approved this head"
    return None


def why_not_a_persons(pull: PullRequest, review: PersonReview, every: tuple[PersonReview, ...]) -> str | None:
    """The same of a person's word about a pull request, among all that people have."""
    if review.head == pull.head:
        return (
            None if review.verdict in standing(every, pull.head) else "a later word about the same head goes before it"
        )
    # A forge may have it hold for a head into which nothing but the base was merged.
    if review.verdict is Verdict.APPROVED and pull.approved == pull.head:
        return None
    return f"it is about {review.head[:12]}, and the branch has changed since"


def _about_another(run: Run, pull: PullRequest, diff: Diff, base: str) -> str | None:
    trees = {diff.tree, *(each.tree for each in pull.updated)}
    if run.tree not in trees:
        return f"it read {(run.baseline or '?')[:12]}, and the branch has changed since"
    if (run.tree, run.base_tip) not in {(diff.tree, diff.start), *((each.tree, each.start) for each in pull.updated)}:
        began, begins = (run.base_tip or "nothing")[:12], (diff.start or "nothing")[:12]
        return f"what it read began at {began} of {base}, and what is offered begins at {begins}"
    return None
