"""The promises about reviews, over every kind of change, verdict and policy there can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import pytest
import worlds
from worlds import BASE, HEAD, NOW, OTHER, US, Unknown

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.changes import Diff, File
from reconciler.model.desired import Budget
from reconciler.model.names import RunId, RunKind, Sha, TaskId, review_subject
from reconciler.model.observed import Judged, Observed, Rejection, Run
from reconciler.model.report import Fault, Report
from reconciler.model.review_by_risk import Review, ReviewByRisk, RiskLevel
from reconciler.model.values import replace
from reconciler.model.verdicts import ReviewVerdict, ReviewWord, mark_of
from reconciler.planning.actions import (
    Action,
    Land,
    PostReview,
    RemoveWorktree,
    RestartAgent,
    SetPhase,
    StartAgent,
    StartReview,
    StopAgent,
    WithdrawReview,
)
from reconciler.planning.plan import EpicPlan
from reconciler.planning.planner import plan
from reconciler.planning.review_terms import terms

pytestmark = [pytest.mark.xdist_group("promises of reviews"), pytest.mark.timeout(600)]

X = TaskId("x-1")
SILENT = Unknown("no answer")
TOLD = "Look."
TREE, OLD_TREE = Sha("4e" * 20), Sha("5f" * 20)
EPIC = worlds.an_epic(
    merge={"review": ReviewByRisk(low=Review.NONE, normal=Review.AGENT, high=Review.HUMAN)},
    reviewer=AgentSpec(argv=("reviewer",)),
    budget=Budget(usd_per_run=2),
)

TASKS = {
    "ours": worlds.a_task(status="in_progress", assignee=US),
    "handed over": worlds.a_task(status="blocked", assignee=US, labels=["needs-human"]),
    "taken": worlds.a_task(status="in_progress", assignee=US, labels=["reconcile:taken"]),
    "deferred": worlds.a_task(status="deferred"),
    "closed": worlds.a_task(status="closed", closed_at=NOW),
}
RUNS = {
    "well": (worlds.a_run(),),
    "running": (worlds.a_run(state="running"),),
    "failed": (worlds.a_run(exit={"code": 1}),),
    "silent": SILENT,
}
RISKS = {"low": "README.md", "normal": "a.py", "high": "migrations/1.py", "protected": ".ci/run", "silent": None}
PULLS = {
    "unchecked": (worlds.a_pull(), ()),
    "green": (worlds.a_pull(), ("passed",)),
    "red": (worlds.a_pull(), ("failed",)),
    "updated": (worlds.a_pull(updated=(Judged(OLD_TREE, BASE),)), ("passed",)),
    "approved": (worlds.a_pull(approved=HEAD), ("passed",)),
    "an older head approved": (worlds.a_pull(approved=OTHER), ("passed",)),
    "rejected": (worlds.a_pull(rejection=Rejection(head=HEAD, text="no")), ("passed",)),
}  # fmt: skip
POSTED = ("nowhere", "not yet", "yes", "and stands", "and dismissed")


def a_review(word: str | None = None, risk: str | None = None, *, tree: Sha = TREE, n: int = 1, **said: object) -> Run:
    under = said.pop("under", terms(EPIC, TOLD))
    verdict = word and ReviewVerdict(verdict=ReviewWord(word), summary="so", risk=RiskLevel(risk) if risk else None)
    run = worlds.a_run("x-1", n, **said)
    return replace(
        run,
        id=RunId(RunKind.REVIEW, review_subject(X, HEAD), n),
        baseline=HEAD,
        base_tip=BASE,
        tree=tree,
        judged=under,
        verdict=verdict or None,
    )


SPENT = {"exit": {"code": 1}, "report": Report(fault=Fault.BUDGET)}
REVIEWS: dict[str, tuple[Run, ...] | Unknown] = {
    "none": (),
    "running": (a_review(state="running"),),
    "running, dear": (a_review(state="running", usd=2.5),),
    "running about another head": (a_review(state="running", tree=OLD_TREE),),
    "yes": (a_review("approve"),),
    "yes, and the risk is high": (a_review("approve", "high"),),
    "yes, and the risk is low": (a_review("approve", "low"),),
    "yes to an older head": (a_review("approve", tree=OLD_TREE),),
    "yes under other terms": (a_review("approve", under="others"),),
    "yes of one that failed": (a_review("approve", exit={"code": 1}),),
    "no": (a_review("request_changes"),),
    "for a person": (a_review("person"),),
    "nothing": (a_review(),),
    "nothing, twice": (a_review(), a_review(n=2)),
    "too dear, twice": (a_review(**SPENT), a_review(n=2, **SPENT)),
    "silent": SILENT,
}
YES = {"yes", "yes, and the risk is low"}


@dataclass(frozen=True)
class Kind:
    """One kind of job, by the names of its parts."""

    task: str
    runs: str
    risk: str
    pull: str
    reviews: str
    posted: str

    @property
    def possible(self) -> bool:
        return (self.runs, self.risk, self.reviews).count("silent") <= 1

    @property
    def mark(self) -> str:
        """That of the newest verdict; of none where there is none."""
        runs = REVIEWS[self.reviews]
        last = runs[-1] if isinstance(runs, tuple) and runs else None
        return mark_of(last.id, last.verdict) if last and last.verdict else "of none"

    @property
    def agreed(self) -> bool:
        """True where whoever must say yes to exactly this has."""
        if self.pull == "approved":
            return True
        if self.posted == "and dismissed":
            return self.risk == "low"
        yes = YES | ({"yes to an older head"} if self.pull == "updated" else set())
        return self.risk == "low" or (self.risk == "normal" and self.reviews in yes)

    def observed(self) -> Observed:
        pull, checks = PULLS[self.pull]
        marks = frozenset({self.mark})
        if self.posted != "nowhere":
            pull = replace(pull, posted=frozenset() if self.posted == "not yet" else marks)
        if self.posted == "and stands":
            pull = replace(pull, standing=marks)
        if self.posted == "and dismissed":
            pull = replace(pull, dismissed={self.mark: "ann"})
        path = RISKS[self.risk] or "a.py"
        diff = Diff(start=BASE, head=HEAD, tree=TREE, files=(File(path=path, kind="A", added=1, deleted=0),))
        runs, reviews = RUNS[self.runs], REVIEWS[self.reviews]
        return worlds.seen(
            TASKS[self.task],
            runs=SILENT if isinstance(runs, Unknown) else {X: runs},
            branches={X: worlds.a_branch()},
            pull_requests={X: pull},
            candidates={X: worlds.a_candidate(path)},
            diffs={X: SILENT if self.risk == "silent" else diff},
            reviews=SILENT if isinstance(reviews, Unknown) else {X: reviews},
            review_prompts={EPIC.name: TOLD},
            checks=tuple(worlds.a_check(each) for each in checks),
        )


EVERY_KIND = [kind for parts in product(TASKS, RUNS, RISKS, PULLS, REVIEWS, POSTED) if (kind := Kind(*parts)).possible]


@cache
def decide(kind: Kind) -> EpicPlan:
    return plan(worlds.wanted(EPIC), kind.observed()).epics[0]


def taking(*types: type[Action]) -> Iterator[tuple[Kind, Action]]:
    """Every kind of job for which an action of these types is due, and that action."""
    for kind in EVERY_KIND:
        yield from ((kind, action) for action in decide(kind).actions if isinstance(action, types))


def test_nothing_lands_but_what_whoever_must_say_yes_to_it_has() -> None:
    found = {kind for kind, _ in taking(Land)}
    assert all(
        kind.agreed and kind.pull in ("green", "updated", "approved", "an older head approved") for kind in found
    )
    assert {kind.risk for kind in found} == {"low", "normal", "high", "protected", "silent"} - {"silent"}
    assert {kind.reviews for kind in found if kind.risk == "normal" and kind.pull == "green"} == YES


def test_no_reviewer_lets_protected_paths_land_nor_is_asked_about_them() -> None:
    for kind, action in taking(Land, StartReview):
        assert kind.risk != "protected" or (isinstance(action, Land) and kind.pull == "approved"), kind


def test_a_review_starts_only_where_one_is_wanted_and_none_is_there() -> None:
    found = {kind for kind, _ in taking(StartReview)}
    assert found
    for kind in found:
        assert (kind.task, kind.runs, kind.risk) == ("ours", "well", "normal"), kind
        assert kind.pull in ("green", "an older head approved", "updated"), kind
        assert kind.reviews in (
            "none",
            "yes to an older head",
            "yes under other terms",
            "nothing",
            "yes of one that failed",
        ), kind


def test_an_agent_is_sent_back_by_a_reviewer_only_for_a_no_that_stands() -> None:
    for kind, action in taking(RestartAgent):
        if action.reason == "ChangesRequested" and kind.pull != "rejected":
            assert kind.reviews == "no" and kind.pull != "approved", kind


def test_what_is_posted_is_a_verdict_that_counts_and_once() -> None:
    for kind, action in taking(PostReview):
        assert isinstance(action, PostReview)
        assert kind.posted == "not yet" and kind.task == "ours" and kind.runs != "running", kind
        assert kind.reviews in {*YES, "yes, and the risk is high", "no", "for a person"} or kind.pull == "updated", kind
        if action.post.enough:
            assert action.post.verdict.verdict is ReviewWord.APPROVE and kind.risk in ("low", "normal"), kind


def test_what_was_posted_is_taken_back_only_where_it_is_known_not_to_hold() -> None:
    for kind, _ in taking(WithdrawReview):
        assert kind.posted == "and stands" and "silent" not in (kind.runs, kind.risk, kind.reviews), kind
        assert kind.reviews != "no" or kind.pull == "approved", kind


def test_at_most_one_thing_is_done_to_a_task_beside_its_labels_and_the_end_of_its_reviews() -> None:
    for kind in EVERY_KIND:
        done = [
            action
            for action in decide(kind).actions
            if not isinstance(action, SetPhase | RemoveWorktree)
            and not (isinstance(action, StopAgent) and action.run.kind is not RunKind.WORK)
        ]
        assert len(done) <= 1, (kind, done)


def test_every_open_task_is_acted_on_or_explained() -> None:
    for kind in EVERY_KIND:
        decided = decide(kind)
        assert TASKS[kind.task].closed or decided.actions or X in decided.waiting, kind


def test_no_agent_and_no_reviewer_starts_where_one_is_alive() -> None:
    for kind, action in taking(StartAgent, StartReview):
        assert kind.runs not in ("running", "silent"), kind
        assert isinstance(action, StartAgent) or not kind.reviews.startswith(("running", "silent")), kind


def test_a_review_that_has_cost_what_it_may_ends_wherever_it_is_seen() -> None:
    ended = {kind for kind, action in taking(StopAgent) if action.reason == "BudgetSpent"}
    assert ended and all(kind.reviews == "running, dear" for kind in ended)


@pytest.mark.parametrize("part", ["runs", "risk", "reviews"])
def test_a_silent_source_starts_lands_and_posts_nothing(part: str) -> None:
    for kind in EVERY_KIND:
        if getattr(kind, part) == "silent" and (part != "risk" or kind.pull != "approved"):
            assert not [
                a for a in decide(kind).actions if isinstance(a, StartAgent | StartReview | Land | PostReview)
            ], kind
