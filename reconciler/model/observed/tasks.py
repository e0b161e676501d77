"""Tasks as the tracker shows them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from reconciler.model.names import TaskId

CLOSED = "closed", "tombstone"  # the latter: it was deleted


class Task(Struct, frozen=True, kw_only=True, gc=False):
    """A bead. `status` is the tracker's own word; only the five that Beads builds in mean something to us."""

    id: TaskId
    title: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    acceptance: str = ""
    notes: str = ""
    status: str = "open"
    type: str = "task"
    priority: int = 2
    assignee: str = ""
    labels: frozenset[str] = frozenset()
    defer_until: datetime | None = None
    closed_at: datetime | None = None
    close_reason: str = ""
    closed_by_session: str = ""  # the run that closed it, where one did
    closed_by: str = ""  # in whose name it was closed, where only that is known
    held_back: bool = False  # pinned, ephemeral or a template: never work
    parents: tuple[TaskId, ...] = ()
    blockers: tuple[TaskId, ...] = ()  # `blocks` and `conditional-blocks`
    waits_for: tuple[TaskId, ...] = ()  # spawners whose children must all be closed

    @property
    def closed(self) -> bool:
        return self.status in CLOSED
