"""Where tasks live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from reconciler.model.errors import ReconcileError
from reconciler.model.names import RunId, TaskId
from reconciler.model.observed import (
    Graph,
)


class NewTask(Struct, frozen=True, kw_only=True):
    """A task to be made under a given id."""

    title: str
    type: str = "task"
    description: str = ""
    acceptance: str = ""
    priority: int = 2
    labels: frozenset[str] = frozenset()
    parent: TaskId | None = None
    blockers: tuple[TaskId, ...] = ()


class Change(Struct, frozen=True, kw_only=True):
    """One compare-and-swap on one task. What is None or empty stays as it is.

    `create` makes the task unless it exists already (then that part does nothing). `expect_status` and
    `expect_assignee` name the values under which the rest is written; with others nothing is, and the answer is a
    ChangedError. `note` is added to the notes on a line of its own, once: a note that already ends so is left.
    """

    task: TaskId
    create: NewTask | None = None
    expect_status: frozenset[str] | None = None
    expect_assignee: frozenset[str] | None = None
    status: str | None = None
    assignee: str | None = None
    title: str | None = None
    description: str | None = None
    acceptance: str | None = None
    priority: int | None = None
    add_labels: frozenset[str] = frozenset()
    remove_labels: frozenset[str] = frozenset()
    add_blockers: frozenset[TaskId] = frozenset()
    remove_blockers: frozenset[TaskId] = frozenset()
    note: str = ""
    close_reason: str = ""
    closed_by_session: str = ""


class Tracker(Protocol):
    """Where tasks live. Dates are UTC."""

    @property
    def folder(self) -> str:
        """Where it keeps its files in the repository, relative: what a branch changes there is no work."""
        ...

    def environment(self, actor: str = "", run: RunId | None = None) -> Mapping[str, str]:
        """Variables by which the tracker's own program, called in a run, works on the right store: for an agent in the name
        of the `actor` that claimed the task."""
        ...

    def tasks(self) -> Graph:
        """Every task of the store, closed ones too, by id; also those whose id is unusable."""
        ...

    def stirred(self) -> bool:
        """True, once, where somebody has written since `tasks` was asked, as far as that shows without a process. False
        says nothing: where file events tell of it, or nothing does."""
        ...

    def renew(self, now: datetime) -> None:
        """Keep what we have claimed from running out, where a claim does. By who acts, again and again."""
        ...

    def prefix(self) -> str:
        """What ids made by this tracker begin with, without the dash."""
        ...

    def write(self, changes: Sequence[Change]) -> Sequence[ReconcileError | None]:
        """Write all changes at once; for each, None or why it was not written. Raises when nothing could be."""
        ...

    def create(self, new: NewTask) -> TaskId:
        """Make a task under an id of its own; the id. Raises PermanentError where a real Beads gives the ids."""
        ...

    def record(self, task: TaskId) -> dict[str, Any]:
        """A task as it is kept, field by field. Raises PermanentError where there is none."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """Every task as it is kept."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """What is known against the program that keeps the tasks."""
        ...
