"""Who closed a task, where `bd` knows it and does not tell: agents close their own tasks, as Beads' guide has them do.

From 1.3 on it tells. Before, a database of SQLite holds the session that closed a task, and `interactions.jsonl` beside the
others the actor. Both are only read, and nobody relies on them being there: where neither says it, nobody knows. Nor does anybody
where what they say may be of an earlier close: not every way to close or to reopen a task is written down there.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reconciler.model.names import RunKind, TaskId
from reconciler.model.observed import Graph
from reconciler.model.values import replace
from reconciler.system.files import regular
from reconciler.trackers.beads import rows
from reconciler.trackers.beads.versions import Can, Version, can

_JOURNAL = "interactions.jsonl"
_BEFORE = timedelta(seconds=1)  # some know no fractions of a second
_READ_MAX = 8 << 20  # at once, of the newest
_LINE_MAX = 1 << 20


class Closers:
    """Who closed the tasks of one `.beads/` folder. `agents`: in whose name agents do it."""

    def __init__(self, beads: Path, agents: str) -> None:
        self._beads = beads
        self._agents = agents
        self._closes: dict[TaskId, tuple[datetime, str]] = {}
        self._read = (0, 0)  # of which file, and up to where

    def moved(self, version: Version) -> object:
        """What changes when one of them may know more: a close is seen a moment before it is written down."""
        if can(version, Can.TELLS_SESSION):
            return None
        return tuple(_mark(self._beads / name) for name in (_JOURNAL, rows.DATABASE, f"{rows.DATABASE}-wal"))

    def named(self, graph: Graph, version: Version) -> Graph:
        """The same tasks, with who closed those of which the answers of this version say nothing."""
        dumb = {id for id, task in graph.items() if task.status == "closed" and not task.closed_by_session}
        if not dumb or can(version, Can.TELLS_SESSION):
            return graph
        sessions, actors = self._sessions(), self._actors(graph, dumb)
        found = {
            id: replace(graph[id], closed_by_session=sessions.get(id, ""), closed_by=actors.get(id, ""))
            for id in dumb & (sessions.keys() | actors.keys())
        }
        return {**graph, **found} if found else graph

    def _sessions(self) -> Mapping[TaskId, str]:
        """The runs of ours that closed tasks, as a database of SQLite has them."""
        path = self._beads / rows.DATABASE
        if not path.is_file():
            return {}
        query = """SELECT id, closed_by_session FROM issues WHERE closed_by_session LIKE ? AND ? = (SELECT actor FROM events
            WHERE issue_id = issues.id AND event_type = 'closed' ORDER BY events.id DESC LIMIT 1)"""
        of_agents = f"{RunKind.WORK}/%", self._agents
        try:
            with rows.reading(path) as database:
                return {TaskId(id): session for id, session in database.execute(query, of_agents)}
        except sqlite3.Error:
            return {}  # of an early version, or somebody has it: then nobody knows

    def _actors(self, graph: Graph, closed: Iterable[TaskId]) -> Mapping[TaskId, str]:
        """The actors that closed tasks when they were closed last."""
        closes = self._journal()
        return {
            id: closes[id][1]
            for id in closed
            if id in closes and (at := graph[id].closed_at) and closes[id][0] >= at - _BEFORE
        }

    def _journal(self) -> Mapping[TaskId, tuple[datetime, str]]:
        """When and by whom tasks were closed, from what was added to the journal since the last look."""
        try:
            with regular(self._beads / _JOURNAL) as file:
                found = os.fstat(file.fileno())
                if self._read[0] != found.st_ino or found.st_size < self._read[1]:
                    self._closes, self._read = {}, (found.st_ino, 0)
                start = max(self._read[1], found.st_size - _READ_MAX)
                file.seek(start)
                added = file.read(_READ_MAX)
        except FileNotFoundError:
            self._closes, self._read = {}, (0, 0)
            return self._closes
        except OSError:
            return self._closes
        whole = added[: added.rfind(b"\n") + 1]
        self._read = self._read[0], start + len(whole)
        for line in whole.splitlines():
            self._note(line)
        return self._closes

    def _note(self, line: bytes) -> None:
        try:
            data = json.loads(line) if len(line) < _LINE_MAX else {}
            changed = data["extra"]
            if data["kind"] != "field_change" or changed["field"] != "status":
                return
            task = TaskId(str(data["issue_id"]))
            if changed["new_value"] == "closed":
                at = datetime.fromisoformat(data["created_at"])
                self._closes[task] = at if at.tzinfo else at.replace(tzinfo=UTC), str(data["actor"])
            else:
                self._closes.pop(task, None)
        except (ValueError, KeyError, TypeError, RecursionError):
            return  # a line of something else


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
