"""The tasks as they were seen last, for as long as nobody has written since.

A `bd` takes a good part of a second, whatever it is asked. So what one look has shown is not asked for again while the mark of
the database is the same, and what a write is read back with is the next look. Labels alone, which are written again at every look
that does not show them, are read back by that look. Whether marks can be relied on shows: one that stays as it was while the
tasks have changed is never believed again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from reconciler.model.errors import ReconcileError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.observed import Graph
from reconciler.trackers._records import Record
from reconciler.trackers.beads import decoding, marks, store
from reconciler.trackers.beads.marks import Mark
from reconciler.trackers.beads.program import Bd

RESTS = 10
LEASE = timedelta(minutes=5)  # as every bd grants it
RENEWED_BEFORE = timedelta(minutes=2, seconds=30)
_EVER = datetime(1, 1, 1, tzinfo=UTC)
HOLDS_S = 300.0  # where a mark says nothing of a change after all, that is seen by then


class LastLook:
    """One look at every task of a database, and what was written since without being read back."""

    def __init__(self, bd: Bd) -> None:
        self._bd = bd
        self._graph: Graph = {}
        self._digest = b""
        self._open: Mapping[str, Record] = {}  # closed ones are hardly ever written to
        self._mark: Mark | None = None  # from before the look
        self._at = 0.0
        self._took_s = 0.0
        self._files: Mark | None = None  # as they were when the mark was compared last
        self._lied = False
        self._written: dict[str, Record] = {}
        self._renewed: dict[str, datetime] = {}  # leases, and when
        self._doubted = frozenset[str]()  # whose labels were written, and not there at the next look

    def graph(self) -> Graph:
        """Every task, by id: the same object while nothing has changed. Raises as `store.everything` does."""
        if not self._holds():
            self._keep(*self._taken())
        return self._graph

    def stirred(self) -> bool:
        """True, once for each change, where the mark has moved since this was looked at. A look costs its time: agents who
        write all the time are looked after for a tenth of it."""
        if self._mark is None or time.monotonic() - self._at < RESTS * self._took_s:
            return False
        files = marks.of_files(self._bd.beads)
        if files is None or files == self._files:
            return False
        self._files = files
        return self._mark != self._now()

    def before(self, ids: Collection[TaskId], *, exact: bool) -> Mapping[str, Record]:
        """These tasks, as far as they are there, as they are before they are written to.

        What need not be `exact` is as it was seen last, with what was written since.
        """
        known: dict[str, Record] = {**self._open, **self._written}
        if all(id in known for id in ids) and not exact:
            return {id: known[id] for id in ids}
        if all(id in self._open or id not in self._graph for id in ids) and self._holds():
            return {id: self._open[id] for id in ids if id in self._open}
        return {record["id"]: record for record in store.some(self._bd, ids)} if ids else {}

    def after(self, ids: Iterable[TaskId]) -> list[Record]:
        """These tasks, as far as they are there, as they are now. Where that is worth it, this is the next look as well."""
        self._doubted -= set(ids)
        if self._mark is None:
            return store.some(self._bd, ids)
        mark, at, found = self._taken()
        with suppress(ReconcileError):  # of others than these: that is for who asks for all
            self._keep(mark, at, found)
        return found

    def trusts(self, ids: Iterable[TaskId]) -> bool:
        """True for tasks of which it is known by the next look whether what was written has been stored."""
        return not self._doubted & set(ids) and all(id in self._open for id in ids)

    def running_out(self, now: datetime, actor: str) -> list[str]:
        """The tasks in work that are this actor's, as far as their leases end soon or have ended. Nothing is looked at."""
        return sorted(
            id
            for id, record in self._open.items()
            if record.get("lease_expires_at")
            and (record.get("status"), record.get("assignee")) == ("in_progress", actor)
            if max(_time(record["lease_expires_at"]), self._renewed.get(id, _EVER) + LEASE) - now < RENEWED_BEFORE
        )

    def renewed(self, id: str, now: datetime) -> None:
        """The lease of a task was renewed: what was seen of it is old."""
        self._renewed[id] = now

    def wrote(self, records: Mapping[str, Record]) -> None:
        """Labels of these tasks were written, and not read back."""
        self._written |= records

    def _holds(self) -> bool:
        if self._mark is None or self._lied or time.monotonic() - self._at > HOLDS_S:
            return False
        return self._mark == self._now()

    def _now(self) -> Mark | None:
        program = self._bd.program()
        mark = marks.of_database(self._bd.beads, self._bd.environ)
        return None if mark is None else (program.path, program.version, *mark)

    def _taken(self) -> tuple[Mark | None, float, list[Record]]:
        mark, at = self._now(), time.monotonic()
        found = store.everything(self._bd)
        self._took_s = time.monotonic() - at
        return mark, at, found

    def _keep(self, mark: Mark | None, at: float, found: list[Record]) -> None:
        digest = hashlib.sha256(repr(found).encode("utf-8", "replace")).digest()
        if digest != self._digest:
            graph = decoding.graph_of(found)
            if self._graph and not graph:
                # A database that was moved, or is being made again. Tasks that were there are not gone by that.
                raise TemporaryError(
                    f"the database of {self._bd.beads} held {len(self._graph)} tasks, and now none",
                    hint="put it back; or start reconcile again to begin with an empty one",
                )
            if graph != self._graph:
                self._lied = self._lied or (mark is not None and self._mark == mark == self._now())
                self._graph = graph
            self._digest = digest
            self._open = {record["id"]: record for record in found if record.get("status") != "closed"}
        self._mark, self._at = mark, at
        lost = {id for id, record in self._written.items() if _labels(self._open.get(id)) != _labels(record)}
        self._doubted |= lost & self._open.keys()
        self._written = {}


def _labels(record: Record | None) -> frozenset[str]:
    return frozenset(record.get("labels") or ()) if record else frozenset()


def _time(text: object) -> datetime:
    """When a lease ends; long ago where that can't be read."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return _EVER
    return at if at.tzinfo else at.replace(tzinfo=UTC)
