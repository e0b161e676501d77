"""What the declared tasks of one manifest must be to each other: each key once, and an order in which they can be done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from graphlib import CycleError, TopologicalSorter

from reconciler.manifest.findings import FieldPath, did_you_mean, shown
from reconciler.manifest.task_fields import TaskFields
from reconciler.model.names import usable

Wrong = tuple[FieldPath, str, str | None]  # path below `spec.tasks`, what is wrong, hint


def wrong(tasks: list[TaskFields], epic: str | None) -> Iterator[Wrong]:
    """Everything that keeps these tasks from being made and done."""
    keys = {task.key for task in tasks}
    first: dict[str, int] = {}
    for n, task in enumerate(tasks):
        if first.setdefault(task.key, n) != n:
            yield (n, "key"), f"{task.key!r} is the key of tasks[{first[task.key]}] already", None
        yield from (((n, "dependsOn", m), *each) for m, each in _unusable(task, keys, epic))
    yield from _circle(tasks, keys)


def unheld(tasks: list[TaskFields], held: Callable[[], Collection[str]]) -> Iterator[Wrong]:
    """Every dependency that is neither a key of the list nor a task that somebody made; `held` gives their ids."""
    keys = {task.key for task in tasks}
    names = [((n, "dependsOn", m), name) for n, task in enumerate(tasks) for m, name in enumerate(task.depends_on)]
    for path, name in names:
        if name not in keys and name not in held():
            hint = did_you_mean(name, [*keys, *held()]) or "'reconcile task list' shows the tasks"
            yield path, f"{shown(name)} is neither a key of this list nor a task", hint


def _unusable(task: TaskFields, keys: set[str], epic: str | None) -> Iterator[tuple[int, tuple[str, str | None]]]:
    for m, name in enumerate(task.depends_on):
        if name == task.key:
            yield m, ("a task can't depend on itself", None)
        elif name == epic and name not in keys:
            yield m, ("a task can't depend on the epic that it is part of", None)
        elif name not in keys and not usable(name):
            yield m, (f"{shown(name)} is neither a key of this list nor an id", did_you_mean(name, keys))


def _circle(tasks: list[TaskFields], keys: set[str]) -> Iterator[Wrong]:
    """A way on which tasks wait for each other for ever, at the task of it that stands first."""
    waits = {task.key: {name for name in task.depends_on if name in keys and name != task.key} for task in tasks}
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle = error.args[1][:0:-1]  # it comes with each task before the one that waits for it, the first twice
        n, start = next((n, task.key) for n, task in enumerate(tasks) if task.key in circle)
        turned = [*circle[circle.index(start) :], *circle[: circle.index(start)], start]
        yield (n, "dependsOn"), f"these tasks wait for each other: {' -> '.join(turned)}", None
