"""What follows once the tasks of a manifest are written: the same planner asked once more, about a tracker that holds
them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from reconciler.model.desired import Desired, InlineTask
from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, Task, Unknown
from reconciler.model.ports import Change, NewTask
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.actions import CloseTask, CreateTask, StartAgent, UpdateTask
from reconciler.planning.plan import EpicPlan, Plan
from reconciler.planning.planner import plan


class Forecast(Struct, frozen=True, kw_only=True):
    """How many tasks are made, how many agents start at first, and how many tasks wait for others."""

    create: int = 0
    start: int = 0
    blocked: int = 0


def forecast(desired: Desired, observed: Observed, decided: Plan) -> Mapping[str, Forecast]:
    """For every manifest of a plan what comes of it, by name."""
    after = plan(*_written(desired, observed, decided)) if any(map(_writes, decided.actions)) else decided
    then = {epic.name: epic for epic in after.epics}
    return {epic.name: _of(epic, then[epic.name]) for epic in decided.epics}


def _of(now: EpicPlan, then: EpicPlan) -> Forecast:
    return Forecast(
        create=sum(isinstance(action, CreateTask) and action.key is not None for action in now.actions),
        start=len({action.task for epic in (now, then) for action in epic.actions if isinstance(action, StartAgent)}),
        blocked=sum(word.reason is Reason.BLOCKED for word in then.waiting.values()),
    )


def _writes(action: object) -> bool:
    return isinstance(action, CreateTask | UpdateTask | CloseTask)


def _written(desired: Desired, observed: Observed, decided: Plan) -> tuple[Desired, Observed]:
    """What is wanted and what is seen once all of what was decided about declared tasks has been written."""
    if isinstance(observed.tasks, Unknown):
        return desired, observed
    tasks = dict(observed.tasks)
    applied: dict[str, dict[str, InlineTask]] = {}
    for action in decided.actions:
        if isinstance(action, CreateTask | UpdateTask) and action.inline:
            applied.setdefault(action.manifest, {})[action.inline.key] = action.inline
        for id, task in _changes(action, tasks, observed):
            tasks[id] = task
    epics = (replace(s, applied={**s.applied, **applied.get(s.name, {})}) for s in desired.epics)
    return replace(desired, epics=tuple(epics)), replace(observed, tasks=tasks)


def _changes(action: object, tasks: Mapping[TaskId, Task], observed: Observed) -> Iterator[tuple[TaskId, Task]]:
    match action:
        case CreateTask(subject=id, new=new) if id not in tasks:
            yield id, _made(id, new, observed)
        case UpdateTask(change=change):
            yield change.task, _changed(tasks[change.task], change)
        case CloseTask(subject=task) if task.id in tasks:
            yield task.id, replace(tasks[task.id], status="closed", closed_at=observed.at)


def _made(id: TaskId, new: NewTask, observed: Observed) -> Task:
    return Task(
        id=id,
        title=new.title,
        created_at=observed.at,
        updated_at=observed.at,
        description=new.description,
        acceptance=new.acceptance,
        type=new.type,
        priority=new.priority,
        labels=new.labels,
        parents=(new.parent,) if new.parent else (),
        blockers=new.blockers,
    )


def _changed(task: Task, change: Change) -> Task:
    kept = tuple(id for id in task.blockers if id not in change.remove_blockers)
    return replace(
        task,
        status=change.status or task.status,
        priority=task.priority if change.priority is None else change.priority,
        labels=task.labels - change.remove_labels | change.add_labels,
        blockers=(*kept, *sorted(change.add_blockers - set(kept))),
    )
