"""For each review it is said why it does not count for what is offered: a person who sees a yes asks why nothing lands."""

from __future__ import annotations

from typing import Any

import pytest
import worlds
from worlds import ago

from reconciler.model.changes import Diff
from reconciler.model.desired import AgentSpec, EpicSpec, MergePolicy
from reconciler.model.names import RunId, RunKind, Sha
from reconciler.model.observed import Judged, PullRequest, Rejection, RetryPoint, Run, Unknown
from reconciler.model.pull_records import PersonReview, Verdict
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.model.verdicts import ReviewVerdict, ReviewWord, mark_of
from reconciler.planning.facts import Facts
from reconciler.planning.review_standing import why_not, why_not_a_persons
from reconciler.planning.review_terms import parts, terms
from reconciler.planning.reviews import Reviewing

TREE = Sha("77" * 20)
POLICY = {"review": ReviewByRisk(low=Review.NONE, normal=Review.AGENT, high=Review.HUMAN)}


def an_epic(reviewer: str = "reviewer", **policy: Any) -> EpicSpec:
    return worlds.an_epic(merge=worlds.a_policy(**{**POLICY, **policy}), reviewer=AgentSpec(argv=(reviewer,)))


def a_review(
    n: int = 1, word: str = "approve", spec: EpicSpec | None = None, brief: str = "look", **fields: Any
) -> Run:
    under = spec or an_epic()
    known = {
        "baseline": worlds.HEAD,
        "base_tip": worlds.BASE,
        "tree": TREE,
        "judged": terms(under, brief),
        "terms": parts(under, brief),
        "verdict": ReviewVerdict(verdict=ReviewWord(word), summary="fine"),
    }
    run = worlds.a_run("x-1", n, **{**known, **fields})
    return replace(run, id=RunId(RunKind.REVIEW, "x-1@c1c1c1c1c1c1", n))


def offered(*reviews: Run, pull: dict[str, Any] | None = None, **facts: Any) -> Reviewing:
    known = {
        "task": worlds.a_task(),
        "spec": an_epic(),
        "now": worlds.NOW,
        "pull": worlds.a_pull(**(pull or {})),
        "diff": Diff(start=worlds.BASE, head=worlds.HEAD, tree=TREE),
        "brief": "look",
        "reviews": reviews,
    }
    return Reviewing(Facts(**{**known, **facts}), ())


def said(run: Run, **facts: Any) -> str | None:
    return why_not(offered(run, **facts), run)


def test_a_review_of_exactly_what_is_offered_counts() -> None:
    assert said(a_review()) is None


def test_a_review_of_another_head_says_which_it_read() -> None:
    run = a_review(tree=worlds.TREE, baseline=worlds.OTHER)

    assert said(run) == "it read d2d2d2d2d2d2, and the branch has changed since"


def test_a_review_of_the_same_tree_on_another_base_says_where_both_begin() -> None:
    run = a_review(base_tip=worlds.OTHER)

    assert said(run) == "what it read began at d2d2d2d2d2d2 of main, and what is offered begins at b0b0b0b0b0b0"
    updated = {"updated": (Judged(tree=TREE, start=worlds.OTHER),)}
    assert said(run, pull=updated) is None


@pytest.mark.parametrize(
    ("now", "said_of_it"),
    [
        (an_epic(review=ReviewByRisk.always(Review.AGENT)), "mergePolicy.review"),
        (an_epic(risk_high=("a",)), "mergePolicy.risk"),
        (an_epic(risk_low=("a",)), "mergePolicy.risk"),
        (an_epic(protected_paths=("a",)), "mergePolicy.protectedPaths"),
        (an_epic("another"), "its reviewer"),
        (an_epic("another", risk_low=("a",)), "mergePolicy.risk, its reviewer"),
    ],
)
def test_what_of_the_policy_has_changed_since_is_named(now: EpicSpec, said_of_it: str) -> None:
    assert said(a_review(), spec=now) == f"changed since: {said_of_it}"


def test_guidelines_that_have_changed_since_are_named() -> None:
    assert said(a_review(brief="look away")) == "changed since: what it is to look for"


def test_of_a_review_from_before_its_parts_were_kept_it_is_said_what_may_have_changed() -> None:
    run = a_review(brief="look away", terms=())

    assert said(run) == "changed since: the policy, its reviewer or what that is to look for"


def test_who_dismissed_a_review_is_named() -> None:
    run = a_review()
    assert run.verdict

    assert said(run, pull={"dismissed": {mark_of(run.id, run.verdict): "ann"}}) == "ann dismissed it"


def test_a_retry_a_newer_review_and_a_persons_yes_go_before_it() -> None:
    no = a_review(word="request_changes")
    newer = a_review(2, started_at=ago(100))

    assert said(no, since=RetryPoint(n=0, base=None, at=ago(10))) == "its task was retried since"
    assert why_not(offered(no, newer), no) == "review/x-1@c1c1c1c1c1c1/2 is newer"
    assert why_not(offered(no, newer), newer) is None
    assert said(no, pull={"approved": worlds.HEAD}) == "a person has approved this head"


def test_where_a_source_is_silent_nobody_says_that_it_has_changed() -> None:
    assert said(a_review(), diff=Unknown("no answer")) == "it is not known what is offered"
    assert said(a_review(), brief=Unknown("gone")) == "it is not known what a reviewer is to look for: gone"


def test_a_verdict_from_before_its_parts_were_kept_holds_on() -> None:
    merge = MergePolicy(review=ReviewByRisk.always(Review.AGENT), risk_high=("a",), risk_low=("b",))
    spec = worlds.an_epic(merge=merge, reviewer=AgentSpec(argv=("r",)))

    assert terms(spec, "look") == "b36238bc05fabe5a"


@pytest.mark.parametrize(
    ("verdict", "head", "pull", "why"),
    [
        ("approved", worlds.HEAD, {}, None),
        ("approved", worlds.OTHER, {}, "it is about d2d2d2d2d2d2, and the branch has changed since"),
        ("approved", worlds.OTHER, {"approved": worlds.HEAD}, None),
        (
            "rejected",
            worlds.OTHER,
            {"approved": worlds.HEAD},
            "it is about d2d2d2d2d2d2, and the branch has changed since",
        ),
        ("rejected", worlds.HEAD, {"rejection": Rejection(head=worlds.HEAD, text="")}, None),
    ],
)
def test_a_persons_word_counts_for_its_head(verdict: str, head: Sha, pull: dict[str, Any], why: str | None) -> None:
    word = PersonReview(verdict=Verdict(verdict), head=head, by="ann", at=ago(60))
    seen: PullRequest = worlds.a_pull(**pull)

    assert why_not_a_persons(seen, word, (word,)) == why


def test_a_persons_later_word_about_the_same_head_goes_before_their_first() -> None:
    yes = PersonReview(verdict=Verdict.APPROVED, head=worlds.HEAD, by="ann", at=ago(60))
    no = replace(yes, verdict=Verdict.REJECTED)

    assert why_not_a_persons(worlds.a_pull(), yes, (yes, no)) == "a later word about the same head goes before it"
