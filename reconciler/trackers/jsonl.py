"""The built-in store: `.beads/issues.jsonl`, one record a line, in the form that Beads exports and imports.

The whole file is read, changed and replaced; a batch of changes is one replacement, and none when nothing changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import TaskId, usable
from reconciler.model.observed import Graph
from reconciler.model.ports import Change, NewTask
from reconciler.system.files import Stamp
from reconciler.trackers import _files as files
from reconciler.trackers import _lines as lines
from reconciler.trackers import _settings as settings
from reconciler.trackers._edits import changed, made
from reconciler.trackers._lines import Line
from reconciler.trackers._records import Record
from reconciler.trackers._settings import holds_database

__all__ = ["JsonlTracker", "holds_database"]

TRIES = 5
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class _Held(Struct, frozen=True, eq=False, dict=True):
    """What a file holds."""

    lines: tuple[Line, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[TaskId, Line]:
        """The line of every task; of several for one id the last, as Beads reads them."""
        return {line.task.id: line for line in self.lines if line.task}

    @cached_property
    def graph(self) -> Graph:
        """Every task; the same mapping for as long as the file says the same."""
        return {task.id: task for line in self.lines if (task := line.task)}


class _Store(Struct, frozen=True, eq=False):
    """The file as it was read or written. `settled`: the same stamp means the same content."""

    held: _Held = _Held()
    stamp: Stamp | None = None
    settled: bool = False


class JsonlTracker:
    """The tasks in one `.beads/` folder. Deleted ones count as closed, so that nobody takes them for never made."""

    def __init__(self, beads: Path) -> None:
        self._beads = beads
        self._path = beads / "issues.jsonl"
        self._store = _Store()

    # --- reading ---------------------------------------------------------------------------------------------

    def tasks(self) -> Graph:
        """Every task of the store, by id; empty where no store was ever made.

        Raises PermanentError for a file that can't be read as a whole or belongs to a real Beads database, and
        TemporaryError for a store that was there and is gone.
        """
        return self._look().held.graph

    def prefix(self) -> str:
        """What ids made here begin with, without the dash."""
        return settings.prefix(self._beads)

    def record(self, task: TaskId) -> Record:
        """The record of a task as it stands in the file. Raises PermanentError where there is none."""
        found = self._look().held.by_id.get(task)
        if found is None:
            raise _missing(task)
        return found.record

    def records(self) -> list[Record]:
        """The record of every task, closed and deleted ones too, by id."""
        return [line.record for _, line in sorted(self._look().held.by_id.items())]

    # --- writing ---------------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> Sequence[ReconcileError | None]:
        """Write all changes at once; for each, None or why it was not written.

        Raises, with nothing written: TemporaryError when others write for long, PermanentError as `tasks` does.
        """
        if not changes:
            return []
        self._look()  # so that nothing is made in a folder that belongs to a real database
        with files.locked(self._beads):
            return self._write(changes)

    def create(self, new: NewTask) -> TaskId:
        """Make a task under an id that no other writer can take; the id."""
        self._look()
        with files.locked(self._beads):
            task = self.new_id(new.parent)
            for error in self._write([Change(task=task, create=new)]):
                if error:
                    raise error
        return task

    def new_id(self, parent: TaskId | None = None) -> TaskId:
        """An id that no task ever had: the next `parent.N`, or the prefix with four to six letters and digits."""
        seen = self._ever_seen()
        if parent is None:
            return _random_id(self.prefix(), seen)
        if parent not in self._look().held.by_id:
            raise _missing(parent)
        numbers = (id.removeprefix(f"{parent}.").partition(".")[0] for id in seen if id.startswith(f"{parent}."))
        task = TaskId(f"{parent}.{max((int(n) for n in numbers if n.isdecimal() and len(n) < 10), default=0) + 1}")
        if not usable(task):
            raise PermanentError(f"{task} is too long for an id", hint="make it the child of a task with a shorter one")
        return task

    def _write(self, changes: Sequence[Change]) -> Sequence[ReconcileError | None]:
        settings.prepare(self._beads)
        for _ in range(TRIES):
            before = self._look()
            after = dict(before.held.by_id)
            answers = [_apply(after, change) for change in changes]
            if all(after[id] is before.held.by_id.get(id) for id in after) or self._put(before, after):
                return answers
        raise TemporaryError(f"{self._path} changes all the time, and not by us")

    def _put(self, before: _Store, after: Mapping[TaskId, Line]) -> bool:
        # Of several lines for one id the last counts; the others come first, so that it stays so and nothing is lost.
        foreign = [line for line in before.held.lines if not line.task or before.held.by_id[line.task.id] is not line]
        written = lines.placed([*foreign, *after.values()])
        stamp = files.replace(self._path, lines.joined(written), before.stamp)
        if stamp is None:
            return False
        self._store = _Store(_Held(written), stamp)
        return True

    # --- the file --------------------------------------------------------------------------------------------

    def _look(self) -> _Store:
        """The store as it is now. One that did not change is not read again."""
        if database := holds_database(self._beads):
            raise PermanentError(
                f"{self._beads} belongs to a real Beads ({database}), and the built-in store does not write behind it",
                hint="to use the built-in store, export with 'bd export' and move the database out of that folder",
            )
        before = self._store
        if before.settled and files.stamp(self._path) == before.stamp:
            return before
        self._store = self._read(before)
        return self._store

    def _read(self, before: _Store) -> _Store:
        found = files.read(self._path)
        if found is None:
            self._check_absence()
            now = _Store()
        else:
            read = lines.parse(found.data, str(self._path), before.held.lines)
            held = before.held if read == before.held.lines else _Held(read)
            now = _Store(held, found.stamp, found.settled)
        # A checkout or an editor takes the file away for a moment. Tasks that were there are not gone by that.
        if before.held.graph and not now.held.graph:
            raise TemporaryError(
                f"{self._path} held {len(before.held.graph)} tasks, and now none",
                hint="put it back; or start reconcile again to begin with an empty store",
            )
        return now

    def _check_absence(self) -> None:
        files.stamp(self._path)  # raises for a link to nothing
        if (self._beads / "beads.jsonl").exists():
            raise PermanentError(
                f"{self._beads} holds beads.jsonl, the store of an early Beads", hint="rename it to issues.jsonl"
            )

    def _ever_seen(self) -> set[str]:
        """The ids of all tasks, and of those that edges still speak of."""
        graph = self._look().held.graph
        edges = (id for task in graph.values() for id in (*task.parents, *task.blockers, *task.waits_for))
        return {*graph, *edges}


def _apply(after: dict[TaskId, Line], change: Change) -> ReconcileError | None:
    """Apply one change to the lines; why not, where it can't be."""
    now = datetime.now(UTC)
    there = after.get(change.task)
    try:
        if there:
            record = there.record
        elif change.create:
            record = made(change.task, change.create, now)
        else:
            raise _missing(change.task)
        result = changed(record, change, now)
        if there is None or result is not record:
            after[change.task] = lines.line_of(result)
    except ReconcileError as error:
        return error
    return None


def _random_id(prefix: str, seen: set[str]) -> TaskId:
    for length in (4, 4, 5, 5, 6, 6, 6, 6):
        letters = "".join(secrets.choice(_BASE36) for _ in range(length - 1))
        # Beads takes a last part without a digit for a word of the prefix.
        task = TaskId(f"{prefix}-{letters}{secrets.choice(_BASE36[:10])}")
        if task not in seen:
            return task
    raise TemporaryError("no free id was found", delay=0.0)


def _missing(task: TaskId) -> PermanentError:
    return PermanentError(f"no task {task}", hint="'reconcile task list' shows every id")
