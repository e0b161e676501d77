"""What the declared tasks of one manifest must be to each other: each key once, and an order in which they can be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.manifest.findings import FieldPath, did_you_mean, shown
from reconciler.manifest.model import Task
from reconciler.names import usable

Wrong = tuple[FieldPath, str, str | None]  # path below `spec.tasks`, what is wrong, hint


def wrong(tasks: list[Task], epic: str | None) -> Iterator[Wrong]:
    """Everything that keeps these tasks from being made and done."""
    first: dict[str, int] = {}
    for n, task in enumerate(tasks):
        if first.setdefault(task.key, n) != n:
            yield (n, "key"), f"{task.key!r} is the key of tasks[{first[task.key]}] already", None
        yield from (
            ((n, "dependsOn", m), *said) for m, said in _unusable(task, first.keys() | {t.key for t in tasks}, epic)
        )
    yield from _cycles(tasks, first)


def _unusable(task: Task, keys: set[str], epic: str | None) -> Iterator[tuple[int, tuple[str, str | None]]]:
    for m, name in enumerate(task.depends_on):
        if name == task.key:
            yield m, ("a task can't depend on itself", None)
        elif name == epic and name not in keys:
            yield m, ("a task can't depend on the epic that it is part of", None)
        elif name not in keys and not usable(name):
            yield m, (f"{shown(name)} is neither a key of this list nor an id", did_you_mean(name, keys))


def _cycles(tasks: list[Task], first: Mapping[str, int]) -> Iterator[Wrong]:
    """Each circle once, at the task of it that comes first."""
    done: set[str] = set()
    for task in tasks:
        trail: list[str] = []
        waiting = [iter([task.key])]
        while waiting:
            key = next(waiting[-1], None)
            if key is None:
                waiting.pop()
                if trail:
                    done.add(trail.pop())
            elif key in trail:
                circle = trail[trail.index(key) :]
                if len(circle) > 1:
                    yield (first[key], "dependsOn"), f"a circle: {' -> '.join([*circle, key])}", None
                    done.update(circle)
            elif key in first and key not in done:
                trail.append(key)
                waiting.append(iter(tasks[first[key]].depends_on))
