"""Whose task is it: which tasks a manifest matches, who owns what several match, and when no agent may start at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import worlds
from worlds import BASE, NOW, RetryPoint, Unknown, ago

from reconciler.model.desired import EpicSpec, InlineTask, Prune
from reconciler.model.names import TaskId, task_for_key, with_key
from reconciler.model.observed import Observed, Run, Task
from reconciler.model.reasons import Reason
from reconciler.planning.agent_gate import agent_gate
from reconciler.planning.epic_tasks import EpicTasks, group_tasks, owners
from reconciler.planning.graph import Index
from reconciler.planning.jobs import jobs
from reconciler.planning.planner import plan


def crews_of(*epics: EpicSpec, tasks: tuple[Task, ...] = ()) -> tuple[EpicTasks, ...]:
    graph = {task.id: task for task in tasks}
    return group_tasks(worlds.wanted(*epics), "x", graph, Index(graph))


def members(epic_tasks: EpicTasks) -> set[str]:
    return {task.id for task in epic_tasks.members}


# --- membership ----------------------------------------------------------------------------------------------


STORE = (
    worlds.a_task("x-9", type="epic"),
    worlds.a_task("x-1", parents=(TaskId("x-9"),)),
    worlds.a_task("x-2", parents=(TaskId("x-9"),)),
    worlds.a_task("x-3", parents=(TaskId("x-2"),)),
    worlds.a_task("x-4"),
)


def test_a_manifest_over_an_epic_has_everything_below_it_that_is_work() -> None:
    (epic_tasks,) = crews_of(worlds.an_epic(epic=TaskId("x-9")), tasks=STORE)
    assert epic_tasks.epic and epic_tasks.epic.id == "x-9"
    assert members(epic_tasks) == {"x-1", "x-3"}
    assert [epic.id for epic, _ in epic_tasks.nested] == ["x-2"]


def test_a_manifest_without_an_epic_has_every_task_of_the_repository() -> None:
    (epic_tasks,) = crews_of(worlds.an_epic(), tasks=STORE)
    assert epic_tasks.epic is None
    assert members(epic_tasks) == {"x-1", "x-3", "x-4"}


def test_a_task_that_some_manifest_names_as_its_epic_is_never_work() -> None:
    whole, _ = crews_of(worlds.an_epic(name="a"), worlds.an_epic(name="b", epic=TaskId("x-4")), tasks=STORE)
    assert "x-4" not in members(whole)


def test_declared_tasks_are_found_by_their_key_whatever_their_id_and_place() -> None:
    spec = worlds.an_epic(name="m", tasks=(InlineTask(key="a", title="A"), InlineTask(key="b", title="B")))
    moved = worlds.a_task("x-7", description=with_key("text", "m", "a"), parents=(TaskId("x-4"),))
    (epic_tasks,) = crews_of(spec, tasks=(moved, *STORE))
    assert epic_tasks.ids["a"] == "x-7"
    assert epic_tasks.ids["b"] == task_for_key("x", "m", "b")
    assert members(epic_tasks) == {"x-7"} and set(epic_tasks.declared) == {"a"}


def test_a_key_of_another_manifest_is_not_ours() -> None:
    spec = worlds.an_epic(name="m", tasks=(InlineTask(key="a", title="A"),))
    (epic_tasks,) = crews_of(spec, tasks=(worlds.a_task("x-7", description=with_key("", "other", "a")),))
    assert epic_tasks.ids["a"] != "x-7" and members(epic_tasks) == set()


def test_a_key_that_the_manifest_no_longer_declares_is_dropped() -> None:
    spec = worlds.an_epic(name="m", tasks=(InlineTask(key="a", title="A"),))
    (epic_tasks,) = crews_of(spec, tasks=(worlds.a_task("x-7", description=with_key("", "m", "old")),))
    assert [task.id for task in epic_tasks.dropped] == ["x-7"]


def test_a_declared_task_with_children_is_an_epic_now() -> None:
    spec = worlds.an_epic(name="m", epic=TaskId("x-9"), tasks=(InlineTask(key="a", title="A"),))
    declared = worlds.a_task("x-5", description=with_key("", "m", "a"), parents=(TaskId("x-9"),))
    (epic_tasks,) = crews_of(spec, tasks=(*STORE, declared, worlds.a_task("x-6", parents=(TaskId("x-5"),))))
    assert members(epic_tasks) == {"x-1", "x-3", "x-6"} and epic_tasks.declared["a"].id == "x-5"


def test_an_epic_that_is_not_there_has_no_members() -> None:
    (epic_tasks,) = crews_of(worlds.an_epic(epic=TaskId("x-77")), tasks=STORE)
    assert epic_tasks.epic is None and members(epic_tasks) == set()


# --- owners --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_the_first_manifest_by_name_owns_what_several_match(names: tuple[str, str]) -> None:
    found = crews_of(*(worlds.an_epic(name=name) for name in names), tasks=STORE)
    assert set(owners(found).values()) == {"a"}


def test_others_wait_for_open_tasks_of_an_owner_and_forget_closed_ones() -> None:
    closed = worlds.a_task("x-8", status="closed")
    observed = worlds.seen(*STORE, closed, branches={closed.id: worlds.a_branch("x-8")})
    first, second = crews_of(worlds.an_epic(name="a"), worlds.an_epic(name="b"), tasks=(*STORE, closed))
    index, owned = Index(observed.tasks), owners((first, second))
    assert {job.task.id: job.owned_by for job in jobs(second, observed, index, owned)} == dict.fromkeys(
        ("x-1", "x-3", "x-4"), "a"
    )
    assert "x-8" in {job.task.id for job in jobs(first, observed, index, owned)}


@pytest.mark.parametrize("source", ["worktrees", "branches", "pull_requests", "runs"])
def test_a_closed_task_is_forgotten_only_when_everything_was_seen(source: str) -> None:
    closed = worlds.a_task(status="closed")
    (epic_tasks,) = crews_of(worlds.an_epic(), tasks=(closed,))

    def known(**fields: Any) -> list[Any]:
        observed = worlds.seen(closed, **fields)
        return list(jobs(epic_tasks, observed, Index(observed.tasks), owners((epic_tasks,))))

    assert known() == []
    assert len(known(**{source: Unknown("?")})) == 1


def test_the_most_urgent_job_comes_first() -> None:
    tasks = (worlds.a_task("x-1", priority=2), worlds.a_task("x-2", priority=0), worlds.a_task("x-3", priority=1))
    (epic_tasks,) = crews_of(worlds.an_epic(), tasks=tasks)
    observed = worlds.seen(*tasks)
    found = jobs(epic_tasks, observed, Index(observed.tasks), owners((epic_tasks,)))
    assert [job.task.id for job in found] == ["x-2", "x-3", "x-1"]


# --- the breaker ---------------------------------------------------------------------------------------------


def quick_failures(*ended_ago: float, **fields: Any) -> Observed:
    runs: dict[TaskId, tuple[Run, ...]] = {}
    for n, seconds in enumerate(ended_ago, start=1):
        made = {"started_at": ago(seconds + 4), "exit": {"code": 1, "at": ago(seconds)}, **fields}
        runs[TaskId(f"x-{n}")] = (worlds.a_run(f"x-{n}", **made),)
    return worlds.seen(runs=runs)


def broken(observed: Observed, **fields: Any) -> bool:
    hold = agent_gate(worlds.an_epic(**fields), observed)
    return hold is not None and hold[0] is Reason.AGENT_BROKEN


def test_three_tasks_in_a_row_that_fail_at_once_open_the_breaker() -> None:
    assert broken(quick_failures(30, 20, 10))
    assert not broken(quick_failures(20, 10))


def test_failures_that_are_far_apart_are_no_row() -> None:
    assert not broken(quick_failures(200, 20, 10))
    assert broken(quick_failures(130, 20, 10))


def test_an_agent_that_lived_for_a_while_is_not_broken() -> None:
    assert not broken(quick_failures(30, 20, 10, started_at=ago(60)))


def test_a_limit_or_a_stop_is_no_failure_of_the_agent_itself() -> None:
    for record in ({"cause": "timeout", "code": None}, {"cause": "stopped", "code": None, "stop": "person"}, {}):
        assert not broken(quick_failures(30, 20, 10, exit={**record, "at": ago(10)}, started_at=ago(12)))


def test_a_good_ending_in_between_ends_the_row() -> None:
    observed = quick_failures(30, 20, 10)
    well = worlds.a_run("x-4", exit={"at": ago(5)})
    assert not broken(worlds.seen(runs={**observed.runs, well.task: (well,)}))


def test_three_failures_of_one_task_say_nothing_about_the_agent() -> None:
    runs = tuple(
        worlds.a_run(n=n, started_at=ago(44 - 10 * n), exit={"code": 1, "at": ago(40 - 10 * n)}) for n in (1, 2, 3)
    )
    assert not broken(worlds.seen(runs={TaskId("x-1"): runs}))


def test_a_retry_or_a_changed_manifest_closes_the_breaker() -> None:
    observed = quick_failures(30, 20, 10)
    retried = worlds.seen(runs=observed.runs, since={TaskId("x-1"): RetryPoint(n=1, base=BASE, at=ago(5))})
    assert not broken(retried)
    assert not broken(observed, recorded_at=ago(5))


def test_another_manifests_failures_are_its_own() -> None:
    assert not broken(quick_failures(30, 20, 10), name="other")


@pytest.mark.parametrize(("ended_ago", "held"), [(5, True), (599, True), (601, False), (-599, True), (-86400, False)])
def test_after_a_failed_start_the_others_wait_no_longer_than_the_longest_pause(ended_ago: int, held: bool) -> None:
    record = {"code": None, "cause": "unavailable", "at": ago(ended_ago)}
    hold = agent_gate(worlds.an_epic(), worlds.seen(runs={TaskId("x-1"): (worlds.a_run(exit=record),)}))
    assert (hold is not None) is held
    if hold:
        assert hold[0] is Reason.AGENT_UNAVAILABLE
        assert hold[2] is not None and NOW < hold[2] <= NOW + timedelta(seconds=600)


def test_a_missing_agent_holds_its_manifest_only() -> None:
    observed = worlds.seen(agents_missing={"all": "no such program"})
    assert agent_gate(worlds.an_epic(), observed) == (
        Reason.AGENT_UNAVAILABLE,
        "no such program: see 'reconcile doctor'",
        None,
    )
    assert agent_gate(worlds.an_epic(name="other"), observed) is None


# --- what nobody cares for -----------------------------------------------------------------------------------


def orphans_of(*tasks: Task, **fields: Any) -> dict[str, str]:
    epics = (worlds.an_epic(name="one", epic=TaskId("x-9"), **fields),)
    trees = {id: worlds.a_worktree(id) for id in ("x-1", "x-2", "x-3", "x-4")}
    trees[TaskId("x-5")] = worlds.a_worktree("x-5", fault=worlds.WorktreeFault.TAKEN)
    decided = plan(worlds.wanted(*epics), worlds.seen(*tasks, worktrees=trees))
    return {orphan.task: orphan.why for orphan in decided.orphan_worktrees}


def test_worktrees_that_no_manifest_cares_for_are_said_and_not_touched() -> None:
    tasks = (
        worlds.a_task("x-9", type="epic"),
        worlds.a_task("x-1", parents=(TaskId("x-9"),)),
        worlds.a_task("x-2"),
        worlds.a_task("x-3", status="closed"),
    )
    assert orphans_of(*tasks) == {
        "x-3": "its task is closed and belongs to no manifest",
        "x-4": "its task is not in the tracker",
    }
    # Where the manifest says so, the closed one is cleared away; the other is nobody's still.
    assert set(orphans_of(*tasks, prune=Prune(orphans=True))) == {"x-4"}


def test_where_an_agent_runs_no_worktree_is_an_orphan() -> None:
    closed, gone = worlds.a_task("x-3", status="closed"), TaskId("x-4")
    runs = {id: (worlds.a_run(id, state="running"),) for id in (closed.id, gone)}
    trees = {id: worlds.a_worktree(id) for id in runs}

    found = plan(worlds.wanted(worlds.an_epic(epic=TaskId("x-9"))), worlds.seen(closed, worktrees=trees, runs=runs))

    assert found.orphan_worktrees == ()


def test_a_task_that_got_children_under_its_agent_is_still_work_and_no_epic_to_be_closed() -> None:
    begun = worlds.a_task("x-1", status="in_progress", assignee=worlds.US, labels=["phase:working"], parents=("x",))
    child = worlds.a_task("x-2", status="closed", parents=(TaskId("x-1"),))
    observed = worlds.seen(
        worlds.a_task("x", type="epic"),
        begun,
        child,
        runs={"x-1": (worlds.a_run(),)},
        branches={"x-1": worlds.a_branch()},
        worktrees={"x-1": worlds.a_worktree()},
    )

    (epic,) = plan(worlds.wanted(worlds.an_epic(epic=TaskId("x"))), observed).epics

    assert [(type(action).__name__, action.task) for action in epic.actions] == [("OpenPullRequest", "x-1")]


def test_of_worktrees_of_tasks_that_were_not_seen_nothing_is_said() -> None:
    seen = worlds.seen(worktrees={"x-1": worlds.a_worktree("x-1")}, tasks=Unknown("garbage"))
    assert plan(worlds.wanted(), seen).orphan_worktrees == ()


def test_an_agent_that_says_it_is_done_is_looked_at_again_when_its_minute_is_over() -> None:
    task = worlds.a_task(
        status="in_progress", assignee=worlds.US, labels=["phase:working", "phase:committed"], updated_at=ago(20)
    )
    run = worlds.a_run(state="running", started_at=ago(100))

    decided = plan(worlds.wanted(), worlds.seen(task, runs={task.id: (run,)}, worktrees={task.id: worlds.a_worktree()}))

    assert decided.actions == ()
    assert decided.wake_at == ago(-40)
