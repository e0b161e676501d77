"""An epic is what has children, or is called one: never what another manifest works on."""

from __future__ import annotations

import pytest
import worlds

from reconciler.model.desired import EpicSpec, InlineTask
from reconciler.model.names import TaskId, task_for_key, with_key
from reconciler.model.observed import Task
from reconciler.planning.epic_clashes import clashes
from reconciler.planning.graph import Index

NINE, ONE = TaskId("x-9"), TaskId("x-1")
B = worlds.an_epic(name="b", epic=ONE)
E = worlds.an_epic(name="e", epic=NINE)
DECLARES = worlds.an_epic(name="e", epic=NINE, tasks=(InlineTask(key="a", title="A"),))
DECLARED = worlds.a_task("x-1", parents=(NINE,), description=with_key("", "e", "a"))
BEGUN = worlds.a_task("x-1", parents=(NINE,), labels=["phase:working"])
CHILD = worlds.a_task("x-2", parents=(ONE,))


def found(*epics: EpicSpec, tasks: tuple[Task, ...] = ()) -> dict[str, str]:
    graph = {task.id: task for task in (worlds.a_task("x-9", type="epic"), *tasks)}
    return {name: clash.what for name, clash in clashes(epics, "x", Index(graph)).items()}


@pytest.mark.parametrize(
    ("epics", "tasks", "said"),
    [
        ((B, DECLARES), (DECLARED,), {"b": "x-1 is the task 'a' that the manifest e declares"}),
        ((DECLARES, B), (DECLARED,), {"b": "x-1 is the task 'a' that the manifest e declares"}),
        ((B, E), (BEGUN,), {"b": "x-1 is work that the manifest e has begun"}),
        ((B, E), (BEGUN, CHILD), {"b": "x-1 is work that the manifest e has begun"}),
        ((B, worlds.an_epic(name="e")), (BEGUN,), {"b": "x-1 is work that the manifest e has begun"}),
        ((B, DECLARES), (DECLARED, CHILD), {}),
        ((B, DECLARES), (worlds.a_task("x-1", type="epic", description=with_key("", "e", "a")),), {}),
        ((B, E), (worlds.a_task("x-1", parents=(NINE,)),), {}),
        ((B, E), (worlds.a_task("x-1", labels=["phase:working"]),), {}),
        ((B, E), (), {}),
        ((B, worlds.an_epic(name="e", epic=ONE)), (CHILD,), {}),
    ],
    ids=[
        "declared", "declared later", "begun", "begun and then split", "begun under one over all", "has children",
        "is called an epic", "not begun", "begun elsewhere", "not there", "one epic of two",
    ],
)  # fmt: skip
def test_an_epic_is_no_work_of_another_manifest(
    epics: tuple[EpicSpec, ...], tasks: tuple[Task, ...], said: dict[str, str]
) -> None:
    assert found(*epics, tasks=tasks) == said


def test_a_task_that_is_still_to_be_made_is_known_by_its_key() -> None:
    to_be = task_for_key("x", "e", "a")

    assert list(found(worlds.an_epic(name="b", epic=to_be), DECLARES)) == ["b"]


def test_a_manifest_is_not_below_its_own_task() -> None:
    own = worlds.an_epic(name="e", epic=ONE, tasks=(InlineTask(key="a", title="A"),))

    assert found(own, tasks=(DECLARED,)) == {"e": "x-1 is the task 'a' that it declares"}


def test_two_manifests_that_name_each_others_tasks_are_both_told() -> None:
    other = worlds.an_epic(name="b", epic=ONE, tasks=(InlineTask(key="z", title="Z"),))
    theirs = worlds.an_epic(name="e", epic=TaskId("x-7"), tasks=(InlineTask(key="a", title="A"),))
    tasks = (DECLARED, worlds.a_task("x-7", description=with_key("", "b", "z")))

    assert set(found(other, theirs, tasks=tasks)) == {"b", "e"}
