"""Whose task is it: the tasks of each manifest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.names import TaskId, task_for_key
from reconciler.model.observed import Graph, Task
from reconciler.model.values import replace
from reconciler.planning.epic_clashes import EpicClash, Keys, clashes, keys_of
from reconciler.planning.graph import Index, is_work


class EpicTasks(Struct, frozen=True, kw_only=True):
    """The tasks of one manifest. `ids` gives the id of every declared key, and under None that of the epic."""

    spec: EpicSpec
    epic: Task | None
    members: tuple[Task, ...]
    ids: Mapping[str | None, TaskId]
    declared: Mapping[str, Task]  # the declared tasks that are in the tracker, by key
    nested: tuple[tuple[Task, tuple[Task, ...]], ...]  # every epic below its own, with its tasks
    clash: EpicClash | None = None  # its epic is work of another manifest
    dropped: tuple[Task, ...] = ()  # declared once, no longer in the manifest


def group_tasks(desired: Desired, prefix: str, graph: Graph, index: Index) -> tuple[EpicTasks, ...]:
    """Every manifest with the tasks that match it: people's own first, each kind in the order of their names."""
    keys = keys_of(graph)
    clashing = clashes(desired.epics, prefix, index, keys)
    named = {spec.epic for spec in desired.epics if spec.epic and spec.name not in clashing}
    epics = sorted(desired.epics, key=lambda spec: (spec.made_up, spec.name))
    found = tuple(_crew(spec, prefix, graph, index, keys, named, clashing.get(spec.name)) for spec in epics)
    rest = [each for each in found if each.spec.made_up and each.spec.epic is None]
    owned = owners(each for each in found if each not in rest) if rest else {}
    return tuple(_without(each, owned) if each in rest else each for each in found)


def _without(epic_tasks: EpicTasks, owned: Mapping[TaskId, str]) -> EpicTasks:
    """What `run` covers: what no manifest of people's own does."""
    return replace(epic_tasks, members=tuple(task for task in epic_tasks.members if task.id not in owned))


def owners(found: Iterable[EpicTasks]) -> dict[TaskId, str]:
    """The manifest that owns a task: the first that matches it."""
    owned: dict[TaskId, str] = {}
    for epic_tasks in found:
        for task in epic_tasks.members:
            owned.setdefault(task.id, epic_tasks.spec.name)
    return owned


def _crew(
    spec: EpicSpec,
    prefix: str,
    graph: Graph,
    index: Index,
    keys: Keys,
    named: set[TaskId],
    clash: EpicClash | None,
) -> EpicTasks:
    def id_of(key: str | None) -> TaskId:
        return keys.get((spec.name, key)) or task_for_key(prefix, spec.name, key)

    ids: dict[str | None, TaskId] = {task.key: id_of(task.key) for task in spec.tasks}
    ids[None] = spec.epic or id_of(None)
    declared = {key: graph[id] for key, id in ids.items() if key is not None and id in graph}
    whole = not spec.epic and not spec.tasks

    epics = index.epics

    def work(listed: Iterable[TaskId]) -> tuple[Task, ...]:
        there = [task for id in listed if id not in named and (task := graph.get(id))]
        return tuple([task for task in there if task.id not in epics or is_work(task, index)])

    below = graph if whole else index.descendants(ids[None])
    mine = {key: id for (manifest, key), id in keys.items() if manifest == spec.name and key is not None}
    return EpicTasks(
        spec=spec,
        epic=None if whole else graph.get(ids[None]),
        members=work(graph if whole else {*below, *(task.id for task in declared.values())}),
        ids=ids,
        declared=declared,
        nested=tuple(
            (graph[id], work(index.descendants(id)))
            for id in sorted(index.epics.intersection(below))
            if not is_work(graph[id], index) and id not in named
        ),
        clash=clash,
        dropped=tuple(graph[id] for key, id in mine.items() if key not in ids) if spec.tasks else (),
    )
