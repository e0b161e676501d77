"""With what is recalled a plan is the same as without: whatever came to be known of the tasks in between."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import worlds
import yaml
from test_plans import PLANS, _given
from worlds import a_task, an_epic, seen, wanted

from reconciler.model.desired import Desired
from reconciler.model.names import TaskId
from reconciler.model.observed import Base, Observed, Task, Unknown
from reconciler.model.values import replace
from reconciler.planning.actions import Decision
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.planning.recall import Recall

NOTHING: dict[str, Any] = {
    "runs": {}, "checks": {}, "occupants": {}, "worktrees": {}, "branches": {}, "pull_requests": {}, "landings": {},
    "since": {}, "candidates": {}, "broken": {}, "failures": {}, "merged_by_hand": frozenset(), "repaired": frozenset(),
    "damaged": {},
}  # fmt: skip


def without_time(decided: Plan) -> Plan:
    """A plan in which no job says when it was made, nor which equal base it saw."""
    return replace(
        decided,
        epics=tuple(
            replace(epic, jobs=tuple(replace(job, now=worlds.NOW) for job in epic.jobs)) for epic in decided.epics
        ),
    )


def same(desired: Desired, observed: Observed, recall: Recall[Decision]) -> Plan:
    decided = plan(desired, observed, recall)
    assert without_time(decided) == without_time(plan(desired, observed))
    return decided


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_rule_holds_for_what_was_decided_before_with_less_to_be_seen(path: Path) -> None:
    desired, observed = _given(**yaml.safe_load(path.read_text())["given"])
    recall = Recall[Decision]()
    for _ in range(2):
        # Twice: only the second look asks what is recalled.
        for look in (replace(observed, **NOTHING), replace(observed, **NOTHING), observed):
            same(desired, look, recall)


@pytest.mark.parametrize("minutes", [0, 1, 60 * 24])
def test_time_opens_what_was_put_off(minutes: int) -> None:
    later = worlds.NOW + timedelta(minutes=30)
    tasks = (
        a_task(defer_until=later),
        a_task("x-2", parents=(TaskId("x-9"),)),
        a_task("x-9", type="epic", defer_until=later),
    )
    recall = Recall[Decision]()
    same(wanted(an_epic()), seen(*tasks), recall)
    same(wanted(an_epic()), replace(seen(*tasks), at=worlds.NOW + timedelta(minutes=minutes)), recall)


FIRST = {id: a_task(id) for id in map(TaskId, ("x-1", "x-2", "x-3"))}
EPICS = (an_epic(),)


def other(**tasks: Task) -> Observed:
    return seen(*{**FIRST, **{TaskId(id.replace("_", "-")): task for id, task in tasks.items()}}.values())


@pytest.mark.parametrize(
    ("desired", "observed"),
    [
        (wanted(an_epic(max_agents=0)), other()),
        (wanted(an_epic(suspend=True)), other()),
        (wanted(an_epic(), max_agents=1), other()),
        (wanted(an_epic(name="aaa"), an_epic()), other()),
        (wanted(an_epic(epic=TaskId("x-2"))), other(x_3=a_task("x-3", parents=(TaskId("x-2"),)))),
        (wanted(*EPICS), other(x_1=a_task(blockers=(TaskId("x-2"),)))),
        (wanted(*EPICS), other(x_2=a_task("x-2", status="closed"))),
        (wanted(*EPICS), other(x_2=a_task("x-2", priority=0))),
        (wanted(*EPICS), other(x_3=a_task("x-3", parents=(TaskId("x-1"),)))),
        (wanted(*EPICS), replace(other(), bases={"main": Unknown("no answer")})),
        (wanted(*EPICS), replace(other(), bases={"main": Base(name="main", head=worlds.OTHER)})),
        (wanted(*EPICS), replace(other(), branches=Unknown("no answer"))),
        (wanted(*EPICS), replace(other(), tasks=Unknown("no answer"))),
        (wanted(*EPICS), replace(other(), agents_missing={"all": "no such program"})),
        (wanted(*EPICS), replace(other(), host="elsewhere")),
        (wanted(*EPICS), replace(other(), replaced="another version")),
    ],
)
def test_what_changed_around_a_task_is_not_recalled_over(desired: Desired, observed: Observed) -> None:
    recall = Recall[Decision]()
    for wish, look in ((wanted(*EPICS), other()), (desired, observed), (wanted(*EPICS), other())):
        same(wish, look, recall)


def test_what_did_not_change_is_recalled() -> None:
    recall = Recall[Decision]()
    before = plan(wanted(*EPICS), other(), recall)
    after = plan(wanted(*EPICS), other(x_2=a_task("x-2", priority=0)), recall)

    kept = {job.task.id: job for job in before.epics[0].jobs}
    assert {job.task.id for job in after.epics[0].jobs if kept[job.task.id] is job} == {"x-1", "x-3"}
