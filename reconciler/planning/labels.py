"""The labels that we write on tasks: for people and scripts; read, they are hints. Pure."""

from __future__ import annotations

from reconciler.model.observed import Task

MERGED = "phase:merged"
COMMITTED, PR_CREATED = "phase:committed", "phase:pr_created"
PHASES = ("phase:spawned", "phase:working", COMMITTED, PR_CREATED, MERGED)
NEEDS_HUMAN = "needs-human"
STOPPED = "reconcile:stopped"
TAKEN = "reconcile:taken"
PATHS = "paths:"  # a person's: where it is likely to change something
SOLO = "solo"  # a person's: nothing is tested or lands together with it
PRIORITIES = ("0", "1", "2", "3", "4")
PRIORITY = "priority:"  # a person's: with 0 to 4, its place in the line of its base, whatever the task's own priority
OURS = frozenset({*PHASES, NEEDS_HUMAN, STOPPED, TAKEN})
_PASSING, _NONE = OURS - {MERGED}, frozenset[str]()


def line_priority(task: Task) -> int:
    """How urgent a task is in the line of its base: the most urgent of its labels says so, else its own priority."""
    named = [label.removeprefix(PRIORITY) for label in task.labels if label.startswith(PRIORITY)]
    return min((int(each) for each in named if each in PRIORITIES), default=task.priority)


def left_over(task: Task) -> frozenset[str]:
    """The labels of ours that say nothing any more of a closed task. That of its landing stays, with its number."""
    if task.status == "tombstone":
        return frozenset()  # it was deleted: nobody can write to it any more
    if MERGED in task.labels:
        return _NONE if _PASSING.isdisjoint(task.labels) else task.labels & _PASSING
    return frozenset(label for label in task.labels if label in OURS or label.startswith("pr:"))
