"""The promises over every kind of job there can be: few enough to try them all, so nothing is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import product
from typing import Any

import pytest
import worlds
from worlds import BASE, HEAD, NOW, US, Unknown

from reconciler.model.desired import Budget, EpicSpec
from reconciler.model.names import RunKind, TaskId
from reconciler.model.observed import Landing, Observed, PullState, Rejection
from reconciler.model.reasons import Reason
from reconciler.model.report import Fault, Report
from reconciler.model.values import replace
from reconciler.planning.actions import (
    LIFECYCLE,
    Action,
    CloseTask,
    DeleteBranch,
    Enqueue,
    Land,
    OpenPullRequest,
    RemoveWorktree,
    RestartAgent,
    SetPhase,
    StartAgent,
    StartCheck,
    StartReview,
    StopAgent,
    Unstack,
    UpdateBranch,
    next_step,
)
from reconciler.planning.plan import EpicPlan
from reconciler.planning.planner import plan

# One process decides about every kind once; the others would decide about all of them again. Whoever comes first waits
# for it, and longer than any other test may where the machine has more to do.
pytestmark = [pytest.mark.xdist_group("promises"), pytest.mark.timeout(600)]

X = TaskId("x-1")
SILENT = Unknown("no answer")

TASKS = {
    "ready": worlds.a_task(),
    "ours": worlds.a_task(status="in_progress", assignee=US, labels=["phase:working"]),
    "claimed by another": worlds.a_task(status="in_progress", assignee="ann"),
    "handed over": worlds.a_task(status="blocked", assignee=US, labels=["needs-human"]),
    "blocked by its agent": worlds.a_task(status="blocked", assignee=US, updated_at=worlds.ago(90)),
    "blocked by a person": worlds.a_task(status="blocked", assignee=US, updated_at=NOW),
    "set open again": worlds.a_task(status="open", assignee=US, labels=["needs-human"], updated_at=NOW),
    "reopened after its landing": worlds.a_task(status="open", assignee=US, labels=["phase:merged"], updated_at=NOW),
    "stopped": worlds.a_task(status="in_progress", assignee=US, labels=["reconcile:stopped"]),
    "taken": worlds.a_task(status="in_progress", assignee=US, labels=["reconcile:taken"]),
    "deferred": worlds.a_task(status="deferred"),
    "of a foreign status": worlds.a_task(status="hooked"),
    "closed": worlds.a_task(status="closed", closed_at=NOW),
    "closed as merged": worlds.a_task(status="closed", labels=["phase:merged"], closed_at=NOW),
    "closed by its run": worlds.a_task(status="closed", closed_at=NOW, closed_by_session="work/x-1/1"),
}
RUNS = {
    "none": (),
    "reserved": (worlds.a_run(state="lost", started_at=None, exit=None),),
    "starting": (worlds.a_run(state="starting"),),
    "running": (worlds.a_run(state="running"),),
    "ending": (worlds.a_run(state="ending", exit={"code": 1}),),
    "well": (worlds.a_run(),),
    "failed": (worlds.a_run(exit={"code": 1}),),
    "exhausted": (worlds.a_run(n=3, exit={"code": 1}),),
    "lost": (worlds.a_run(state="lost"),),
    "stopped": (worlds.a_run(exit={"code": None, "cause": "stopped", "stop": "person"}),),
    "unavailable": (worlds.a_run(exit={"code": None, "cause": "unavailable"}),),
    "limited": (
        worlds.a_run(
            exit={"code": 1}, agent="claude", report=Report(fault=Fault.USAGE_LIMIT, retry_at=NOW + timedelta(hours=1))
        ),
    ),
    "failed in its own words": (worlds.a_run(agent="claude", report=Report(fault=Fault.FAILED, tokens=100)),),
    "repaired": (worlds.a_run(why="Conflict", base_tip=BASE),),
    "silent": SILENT,
}
WORKTREES = {
    "none": None,
    "whole": worlds.a_worktree(),
    "half-made": worlds.a_worktree(fault=worlds.WorktreeFault.HALF_MADE),
    "taken": worlds.a_worktree(fault=worlds.WorktreeFault.TAKEN),
    "nested": worlds.a_worktree(nested="vendor/x"),
    "silent": SILENT,
}
BRANCHES = {
    "none": None,
    "empty": worlds.a_branch(ahead=0, in_base=True),
    "ahead": worlds.a_branch(),
    "contained": worlds.a_branch(ahead=0, head=HEAD, in_base=True),
    "silent": SILENT,
}
PULLS = {
    "none": (None, None, ()),
    "unchecked": (worlds.a_pull(), worlds.a_candidate(), ()),
    "checking": (worlds.a_pull(), worlds.a_candidate(), (worlds.a_check("running"),)),
    "green": (worlds.a_pull(), worlds.a_candidate(), (worlds.a_check("passed"),)),
    "red": (worlds.a_pull(), worlds.a_candidate(), (worlds.a_check("failed"),)),
    "its check lost": (worlds.a_pull(), worlds.a_candidate(), (worlds.a_check("lost"),)),
    "protected": (worlds.a_pull(), worlds.a_candidate(".ci/run"), (worlds.a_check("passed"),)),
    "protected, an older head approved": (
        worlds.a_pull(approved=worlds.OTHER), worlds.a_candidate(".ci/run"), (worlds.a_check("passed"),),
    ),
    "protected, approved": (
        worlds.a_pull(approved=HEAD), worlds.a_candidate(".ci/run"), (worlds.a_check("passed"),),
    ),
    "rejected": (
        worlds.a_pull(rejection=Rejection(head=HEAD, text="no")), worlds.a_candidate(), (worlds.a_check("passed"),),
    ),
    "in conflict": (worlds.a_pull(), worlds.a_conflict(), ()),
    "incalculable": (worlds.a_pull(), SILENT, ()),
    "merged": (worlds.a_pull(state=PullState.MERGED, closed_at=NOW), None, ()),
    "declined": (worlds.a_pull(state=PullState.CLOSED, declined=True, closed_at=NOW), None, ()),
    "its branch deleted": (worlds.a_pull(state=PullState.CLOSED, declined=True), None, ()),
    "silent": (SILENT, None, ()),
}  # fmt: skip
LANDED = {"no": None, "yes": Landing(task=X, head=HEAD, commit=worlds.OTHER, at=NOW), "silent": SILENT}


@dataclass(frozen=True)
class Kind:
    """One kind of job, by the names of its parts."""

    task: str
    runs: str
    worktree: str
    branch: str
    pull: str
    landed: str

    @property
    def possible(self) -> bool:
        # An open pull request has a branch with commits; what landed or was contained is consistent with its branch.
        has_pull = self.pull not in ("none", "merged", "declined", "its branch deleted", "silent")
        parts = (self.runs, self.worktree, self.branch, self.pull, self.landed)
        # One silent source is told from its absence by itself; two at once teach nothing more.
        return (not has_pull or self.branch in ("ahead", "contained", "silent")) and parts.count("silent") <= 1

    def observed(self, epic: EpicSpec) -> Observed:
        pull, candidate, checks = PULLS[self.pull]
        return worlds.seen(
            TASKS[self.task],
            runs=_source(RUNS[self.runs]),
            worktrees=_source(WORKTREES[self.worktree]),
            branches=_source(BRANCHES[self.branch]),
            pull_requests=_source(pull),
            candidates={X: candidate} if candidate else {},
            checks=SILENT if self.runs == "silent" else checks,
            landings=_source(LANDED[self.landed]),
        )


def _source(value: object) -> object:
    return value if isinstance(value, Unknown) else {} if value is None else {X: value}


EVERY_KIND = [
    kind for parts in product(TASKS, RUNS, WORKTREES, BRANCHES, PULLS, LANDED) if (kind := Kind(*parts)).possible
]


@cache
def decide(kind: Kind) -> EpicPlan:
    epic = worlds.an_epic()
    return plan(worlds.wanted(epic), kind.observed(epic)).epics[0]


def taking(*types: type[Action]) -> list[Kind]:
    """Every kind of job for which an action of these types is due."""
    return [kind for kind in EVERY_KIND if any(isinstance(action, types) for action in decide(kind).actions)]


def test_every_open_task_is_acted_on_or_explained() -> None:
    silent = [
        kind
        for kind in EVERY_KIND
        if not TASKS[kind.task].closed and not decide(kind).actions and X not in decide(kind).waiting
    ]
    assert silent == []


BESIDE: list[dict[str, Any]] = [
    {},
    {"owned_by": "another"},
    {"blocked_by": ("x-8",)},
    {"put_off": worlds.a_task("x-9", type="epic", status="deferred")},
    {"agent_gate": (Reason.USAGE_LIMIT, "at its limit", None)},
    {"spec": worlds.an_epic(suspend=True)},
    {"spec": worlds.an_epic(invalid="it can't be read")},
    {"base": SILENT},
    {"base": None},
    {"checks": SILENT},
    {"occupant": SILENT},
    {"occupant": worlds.Occupant(pid=7, command="vi")},
    {"retried_at": NOW},
    {"was_green": True},
]


def test_of_a_task_with_nothing_but_itself_the_short_list_says_what_its_whole_life_says() -> None:
    jobs = {job.task: job for kind in EVERY_KIND for job in decide(kind).jobs if job.fresh}
    fresh = [job for of_one in jobs.values() for beside in BESIDE if (job := replace(of_one, **beside)).fresh]

    assert len(jobs) >= 5 and len(fresh) == len(jobs) * len(BESIDE)
    for job in fresh:
        assert next_step(job) == next(word for rule in LIFECYCLE if (word := rule(job))), job


def test_at_most_one_thing_is_done_to_a_task_beside_its_labels() -> None:
    for kind in EVERY_KIND:
        done = [a for a in decide(kind).actions if a.task == X and not isinstance(a, SetPhase) and not _of_a_check(a)]
        assert len(done) <= 1, (kind, done)


def test_no_agent_starts_where_one_may_be_alive() -> None:
    for kind in taking(StartAgent, RestartAgent):
        assert kind.runs not in ("starting", "running", "ending", "silent"), kind


def test_no_agent_starts_on_a_task_that_is_not_ours_to_work_on() -> None:
    untouchable = {
        "claimed by another", "handed over", "stopped", "taken", "deferred", "blocked by a person", "of a foreign status",
        "closed",
    }  # fmt: skip
    for kind in taking(StartAgent, RestartAgent):
        assert kind.task not in untouchable, kind


def test_what_somebody_put_off_stays_as_it_is() -> None:
    for kind in EVERY_KIND:
        if kind.task in ("deferred", "blocked by a person", "of a foreign status"):
            names = {type(action).__name__ for action in decide(kind).actions if not _of_a_check(action)}
            assert names <= {"StopAgent", "ClosePullRequest", "CloseTask", "SetPhase"}, (kind, names)


def test_no_agent_starts_before_its_usage_limit_is_lifted() -> None:
    for kind in taking(StartAgent, RestartAgent):
        assert kind.runs != "limited", kind


def test_a_spent_budget_changes_nothing_but_that_no_agent_starts() -> None:
    spent = worlds.an_epic(budget=Budget(tokens=100))
    for kind in (kind for kind in EVERY_KIND if kind.runs == "failed in its own words"):
        decided = plan(worlds.wanted(spent), kind.observed(spent)).epics[0]
        assert not any(isinstance(action, StartAgent) for action in decided.actions), kind
        assert _deeds(decided) == [
            deed for deed in _deeds(decide(kind)) if deed[0] not in (StartAgent, RestartAgent)
        ], kind


def _deeds(decided: EpicPlan) -> list[tuple[object, ...]]:
    """What is done, but for labels: those that an agent's start would write are written without it, too."""
    return [(type(a), a.task, a.reason) for a in decided.actions if not isinstance(a, SetPhase)]


def test_nothing_lands_that_is_not_green_approved_and_at_rest() -> None:
    for kind in taking(Land):
        assert kind.pull in ("green", "protected, approved"), kind
        assert kind.runs not in ("starting", "running", "ending", "silent"), kind
        assert kind.task not in ("closed", "closed as merged", "taken", "claimed by another", "handed over"), kind


def test_nothing_is_tested_reviewed_or_landed_that_holds_what_another_task_has_not_landed() -> None:
    upon = worlds.Upon(parent=TaskId("x-9"), fork=worlds.OTHER)
    epic = worlds.an_epic(stack=True)
    kinds = [kind for kind in EVERY_KIND if (kind.worktree, kind.landed) == ("none", "no") and kind.branch == "ahead"]
    assert len(kinds) > 1000
    for kind in kinds:
        parent = worlds.a_task("x-9", status="deferred")
        seen = kind.observed(epic)
        assert isinstance(seen.tasks, dict)
        task = replace(seen.tasks[X], blockers=(parent.id,))
        seen = replace(seen, tasks={X: task, parent.id: parent}, stacks={X: upon})
        for action in plan(worlds.wanted(epic), seen).epics[0].actions:
            assert not isinstance(action, Land | StartCheck | StartReview | Enqueue | UpdateBranch | Unstack), (
                kind,
                action,
            )


def test_only_the_judged_head_lands() -> None:
    for kind in taking(Land, StartCheck):
        for action in decide(kind).actions:
            if isinstance(action, Land | StartCheck):
                assert action.order.expected == PULLS[kind.pull][1], kind


def test_a_check_of_a_tree_whose_name_begins_alike_proves_nothing() -> None:
    twin = replace(worlds.a_check("passed"), tree=worlds.Sha(worlds.TREE[:12] + "0" * 28))
    world = worlds.seen(
        TASKS["ours"], branches={X: worlds.a_branch()}, runs={X: RUNS["well"]}, checks=(twin,),
        pull_requests={X: worlds.a_pull()}, candidates={X: worlds.a_candidate()},
    )  # fmt: skip
    decided = plan(worlds.wanted(worlds.an_epic()), world).epics[0]

    assert not any(isinstance(action, Land) for action in decided.actions)


def test_a_worktree_is_removed_only_for_a_closed_task_at_rest() -> None:
    for kind in taking(RemoveWorktree):
        assert TASKS[kind.task].closed, kind
        assert kind.runs not in ("starting", "running", "ending", "silent"), kind
        assert kind.worktree not in ("none", "taken", "nested", "silent"), kind


def test_a_branch_is_deleted_only_when_the_base_has_all_of_it() -> None:
    for kind in taking(DeleteBranch):
        assert TASKS[kind.task].closed, kind
        # The record of a pull request that was closed as merged holds the very commits.
        assert kind.branch in ("empty", "contained") or kind.landed == "yes" or kind.pull == "merged", kind
        assert kind.worktree == "none", kind


def test_a_task_is_closed_only_on_evidence_of_its_landing() -> None:
    for kind in taking(CloseTask):
        assert kind.landed == "yes", kind


def _of_a_check(action: Action) -> bool:
    """True for the clearing up of a check, which is a matter of a tree and not of the task it was made for."""
    return (isinstance(action, StopAgent) and action.run.kind is RunKind.CHECK) or (
        isinstance(action, RemoveWorktree) and action.check is not None
    )


@pytest.mark.parametrize("part", ["runs", "worktree", "branch", "pull", "landed"])
def test_a_silent_source_changes_nothing_but_stops_agents(part: str) -> None:
    for kind in EVERY_KIND:
        if getattr(kind, part) != "silent":
            continue
        for action in decide(kind).actions:
            labels = isinstance(action, SetPhase) and part == "worktree"
            assert labels or (isinstance(action, StopAgent) and part != "runs"), (kind, action)


def test_no_label_is_written_while_a_run_ends_or_its_agents_last_word_would_read_as_a_persons() -> None:
    ending = worlds.a_run(state="ending", pid=4711, exit={"at": worlds.ago(1)})
    for task in TASKS.values():
        decided = plan(worlds.wanted(), worlds.seen(task, runs={X: (ending,)})).epics[0]
        assert not any(isinstance(action, SetPhase) for action in decided.actions), task


def test_another_mans_task_is_not_touched_but_for_stopping_our_agent() -> None:
    for kind in EVERY_KIND:
        if kind.task in ("claimed by another", "taken"):
            names = {type(action).__name__ for action in decide(kind).actions}
            assert names <= {"StopAgent", "ClosePullRequest"}, (kind, names)


def test_only_finished_work_is_offered() -> None:
    for kind in taking(OpenPullRequest):
        assert kind.runs in ("well", "repaired") and kind.branch == "ahead", kind


def test_a_suspended_manifest_acts_on_nothing() -> None:
    epic = worlds.an_epic(suspend=True)
    for kind in EVERY_KIND[::7]:
        decided = plan(worlds.wanted(epic), kind.observed(epic)).epics[0]
        assert decided.actions == (), kind
        assert decided.waiting.get(X) is None or decided.waiting[X].reason is Reason.SUSPENDED


def test_equal_worlds_give_equal_plans() -> None:
    epic = worlds.an_epic()
    for kind in EVERY_KIND[::97]:
        assert plan(worlds.wanted(epic), kind.observed(epic)) == plan(worlds.wanted(epic), kind.observed(epic))
