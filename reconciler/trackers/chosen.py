"""The one who keeps the tasks of a repository: a real Beads where `.beads/` holds a database, else the built-in store.

Asked again at every call, because `bd init` may be run at any time: what is written beside a database is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.desired import TrackerKind
from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.model.names import RunId, TaskId
from reconciler.model.observed import Graph
from reconciler.model.ports import Change, NewTask
from reconciler.trackers._records import Record
from reconciler.trackers.jsonl import JsonlTracker, holds_database

if TYPE_CHECKING:
    from reconciler.trackers.beads import BeadsTracker


class ChosenTracker:
    """One of two trackers. Everything but `create` works on either. `real` makes the other one, once it is needed."""

    def __init__(self, beads: Path, built_in: JsonlTracker, real: Callable[[], BeadsTracker]) -> None:
        self._beads = beads
        self._built_in = built_in
        self._made = real

    def tasks(self) -> Graph:
        return self._now.tasks()

    def stirred(self) -> bool:
        """Only of a database: the file of the built-in store is listened to."""
        return bool(holds_database(self._beads)) and self._real.stirred()

    def renew(self, now: datetime) -> None:
        """Claims in the built-in store never run out."""
        if holds_database(self._beads):
            self._real.renew(now)

    def prefix(self) -> str:
        return self._now.prefix()

    def write(self, changes: Sequence[Change]) -> Sequence[ReconcileError | None]:
        return self._now.write(changes)

    def record(self, task: TaskId) -> Record:
        return self._now.record(task)

    def records(self) -> list[Record]:
        return self._now.records()

    def create(self, new: NewTask) -> TaskId:
        """Make a task under an id of its own; the id. Raises PermanentError where a real Beads gives the ids."""
        if database := holds_database(self._beads):
            raise PermanentError(
                f"a real Beads keeps the tasks of this repository ({database})", hint="make the task with 'bd create'"
            )
        return self._built_in.create(new)

    @property
    def folder(self) -> str:
        return self._beads.name

    def environment(self, actor: str = "", run: RunId | None = None) -> Mapping[str, str]:
        """For an agent's own `bd`, and for `reconcile task`."""
        found = {"BEADS_DIR": str(self._beads)}
        if actor:
            # A daemon would outlive the run, or be ended with it.
            found |= {"BD_ACTOR": actor, "BEADS_ACTOR": actor, "BEADS_NO_DAEMON": "1"}
        # Beads notes by it who closes a task.
        return {**found, "CLAUDE_SESSION_ID": str(run)} if run else found

    def warnings(self) -> tuple[str, ...]:
        """What is known against the program that keeps the tasks."""
        return self._real.warnings() if holds_database(self._beads) else ()

    @cached_property
    def _real(self) -> BeadsTracker:
        return self._made()

    @property
    def _now(self) -> BeadsTracker | JsonlTracker:
        return self._real if holds_database(self._beads) else self._built_in


def other_tracker(kind: TrackerKind, database: str | None) -> str | None:
    """Why this kind of tracker is not the one that keeps the tasks; None where it is."""
    if kind is TrackerKind.JSONL and database:
        return (
            f"the tasks are in a Beads database ({database}), and 'tracker: jsonl' is the built-in store; write "
            "'tracker: auto', or export with 'bd export' and move the database out of .beads/"
        )
    if kind is TrackerKind.BEADS and not database:
        return "there is no Beads database in .beads/; run 'bd init', or write 'tracker: auto' for the built-in store"
    return None
