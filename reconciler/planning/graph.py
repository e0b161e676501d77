"""What follows from how tasks depend on each other: epics, their children, and what keeps a task from starting. Pure.

Every rule is computed from the whole graph, for every tracker alike, and walked without recursion: the edges come from
outside, so chains may be as long as the store and lead back to where they began.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from operator import attrgetter
from typing import TypeVar

from msgspec import Struct

from reconciler.model.names import TaskId
from reconciler.model.observed import Graph, Task
from reconciler.planning.labels import PHASES

T = TypeVar("T")
_LATEST = datetime.max.replace(tzinfo=UTC)


class Index(Struct, frozen=True, eq=False, dict=True):
    """A graph with what follows from its edges at one moment, computed once, when first asked for."""

    graph: Graph
    at: datetime = _LATEST  # for who asks nothing that depends on the time

    @cached_property
    def children(self) -> Mapping[TaskId, tuple[TaskId, ...]]:
        """The children of every task that has some, closed ones too, sorted."""
        found: dict[TaskId, list[TaskId]] = defaultdict(list)
        # Most tasks of a large tracker have no edge: what costs more than a glance is for those that do.
        for task in sorted(id for id, task in self.graph.items() if task.parents or "." in id):
            for parent in self.parents(task):
                found[parent].append(task)
        return {parent: tuple(children) for parent, children in found.items()}

    def parents(self, task: TaskId) -> tuple[TaskId, ...]:
        """What a task is a child of. `x.3` without any parent is a child of `x`: old Beads wrote no edge for it."""
        named = self.graph[task].parents
        if len(named) == 1 and named[0] != task:
            return named
        if named:
            return tuple(parent for parent in dict.fromkeys(named) if parent != task)
        if "." not in task:
            return ()
        parent, _, number = task.rpartition(".")
        return (TaskId(parent),) if number.isdecimal() and parent in self.graph else ()

    def is_epic(self, task: TaskId) -> bool:
        """True for what is never work itself: it is called an epic, or has children."""
        return task in self.epics

    @cached_property
    def epics(self) -> frozenset[TaskId]:
        """Every one of those, also where only its children are there."""
        return frozenset(id for id, task in self.graph.items() if task.type == "epic").union(self.children)

    def descendants(self, epic: TaskId) -> tuple[TaskId, ...]:
        """The children of `epic`, their children and so on, sorted; never `epic` itself."""
        found = {epic}
        pending = [epic]
        while pending:
            new = set(self.children.get(pending.pop(), ())) - found
            found |= new
            pending += new
        return tuple(sorted(found - {epic}))

    def blocked_by(self, task: TaskId) -> tuple[TaskId, ...]:
        """The tasks that keep `task` from starting, sorted; empty when nothing does.

        They are unclosed, or spawners that it waits for and that have unclosed children. Where nothing blocks the task
        itself it is what blocks the nearest of its blocked parents: an epic that waits holds back everything below it,
        while one that is merely open holds back nothing. A parent that only its id names holds back nothing either.
        """
        return self.blocked.get(task, ())

    def deferred_by(self, task: TaskId) -> Task | None:
        """The nearest of its parents that is put off; None where none is, whatever the task itself is."""
        return self.below_deferred.get(task)

    @cached_property
    def blocked(self) -> Mapping[TaskId, tuple[TaskId, ...]]:
        """Every task that something blocks, with that."""
        waiting = sorted(id for id, task in self.graph.items() if task.blockers or task.waits_for)
        blocked = {task: by for task in waiting if (by := self._own_blockers(self.graph[task]))}
        return self._handed_down(blocked)

    @cached_property
    def below_deferred(self) -> Mapping[TaskId, Task]:
        """Every task of which a parent is put off, with the nearest of these."""
        put_off = ((id, task) for id, task in self.graph.items() if task.defer_until or task.status == "deferred")
        deferred = {id: task for id, task in sorted(put_off) if is_deferred(task, self.at)}
        below = {child: deferred[parent] for parent in deferred for child in self._named_children(parent)}
        return self._handed_down(below)

    def _handed_down(self, found: dict[TaskId, T]) -> Mapping[TaskId, T]:
        """What holds for some tasks, and for all below them for which nothing nearer does."""
        pending = deque(found)
        while pending:
            parent = pending.popleft()
            for child in self._named_children(parent):
                if child not in found:
                    found[child] = found[parent]  # the same value: a long chain costs no more than its links
                    pending.append(child)
        return found

    def _named_children(self, parent: TaskId) -> Iterator[TaskId]:
        return (child for child in self.children.get(parent, ()) if parent in self.graph[child].parents)

    def _own_blockers(self, task: Task) -> tuple[TaskId, ...]:
        spawners = {id for id in task.waits_for if id in self.graph and id in self._busy}
        return tuple(sorted({id for id in task.blockers if self._holds_back(id)} | spawners))

    @cached_property
    def _busy(self) -> frozenset[TaskId]:
        """The tasks of whose children one is not closed."""
        return frozenset(task for task, children in self.children.items() if any(map(self._holds_back, children)))

    def _holds_back(self, task: TaskId) -> bool:
        """True for a task that exists and is not closed, whatever else its status says. What is pinned never closes."""
        found = self.graph.get(task)
        return found is not None and not found.closed and found.status != "pinned"


order: Callable[[Task], tuple[int, datetime, TaskId]] = attrgetter("priority", "created_at", "id")
"""The key by which the most urgent task comes first."""


def is_deferred(task: Task, now: datetime) -> bool:
    """True while somebody has put a task off: until a time that has not come, or until they open it again."""
    return not task.closed and (task.status == "deferred" or (task.defer_until is not None and task.defer_until > now))


def ready(graph: Graph, now: datetime) -> tuple[Task, ...]:
    """The tasks that could be started at `now`, most urgent first."""
    index = Index(graph, now)
    return tuple(sorted((task for task in graph.values() if _may_start(task, index)), key=order))


def _may_start(task: Task, index: Index) -> bool:
    if task.status != "open" or task.held_back or is_deferred(task, index.at) or index.deferred_by(task.id):
        return False
    return not index.is_epic(task.id) and not index.blocked_by(task.id)


def is_work(task: Task, index: Index) -> bool:
    """True for what an agent works on. A task that got children after its agent had begun is not forgotten for that."""
    return not index.is_epic(task.id) or (task.type != "epic" and bool(task.labels & set(PHASES)))
