"""A Beads database, read and written through the user's own `bd`.

`versions` knows what each version can and which hurt, `program` finds and runs it, `decoding` reads what it prints,
`store` looks at the tasks, `deferrals` at what some do not say of them, `marks` tells whether anybody has written since,
`last_look` keeps what was seen until then, `closers` finds out who closed a task, `rows` reads a database of SQLite,
`commands` says how one gets from here to there, `writing` does it and reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.model.names import TaskId
from reconciler.model.observed import Graph
from reconciler.model.ports import Change
from reconciler.trackers import _files as files
from reconciler.trackers import _settings as settings
from reconciler.trackers._records import Record
from reconciler.trackers.beads import store, versions, writing
from reconciler.trackers.beads.closers import Closers
from reconciler.trackers.beads.last_look import LastLook
from reconciler.trackers.beads.program import Bd
from reconciler.trackers.beads.server import other_server

__all__ = ["BeadsTracker"]

PATIENCE_S = 60.0


class BeadsTracker:
    """The tasks of one `.beads/` folder that holds a database.

    People and other programs write there at any time: it is looked at again once its mark has moved. `locks` is a folder of
    ours: its lock keeps reconcilers from writing at once, others are met by reading back.
    """

    def __init__(self, main: Path, beads: Path, locks: Path, environ: Mapping[str, str], actor: str) -> None:
        self._bd = Bd(main=main, beads=beads, environ=environ, actor=actor)
        self._beads = beads
        self._locks = locks
        self._last = LastLook(self._bd)
        self._closers = Closers(beads, actor)
        # From which tasks, as what says who closed them was then.
        self._named: tuple[Graph, object, Graph] | None = None
        self._prefix = ""

    def tasks(self) -> Graph:
        """Every task, by id. Raises TemporaryError where `bd` gives no whole answer, PermanentError where none is there."""
        version = self._bd.program().version
        graph, moved = self._last.graph(), self._closers.moved(version)
        if self._named is None or self._named[0] is not graph or self._named[1] != moved:
            self._named = graph, moved, self._closers.named(graph, version)
        return self._named[2]

    def stirred(self) -> bool:
        """True, once, where the database has changed since `tasks` looked at it, as far as its files tell."""
        return self._last.stirred()

    def renew(self, now: datetime) -> None:
        """Renew the leases of what we have claimed that would run out soon. Raises as `tasks` does.

        A claim of ours has none, until its agent asks for one ('bd heartbeat') and then forgets it: from then on a neighbour's
        'bd reclaim' would take the task away under it.
        """
        for id in self._last.running_out(now, self._bd.actor):
            self._bd.write("heartbeat", id)  # where it has none any more that is refused, and nothing is lost by it
            self._last.renewed(id, now)

    def prefix(self) -> str:
        """What ids of this database begin with, without the dash. Asked for once."""
        if not self._prefix:
            self._prefix = (store.prefix(self._bd) or settings.prefix(self._beads)).removesuffix("-")
        return self._prefix

    def write(self, changes: Sequence[Change]) -> Sequence[ReconcileError | None]:
        """Write all changes; for each, None or why it was not written. Raises as `tasks` does."""
        if not changes:
            return []
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        with files.locked(self._locks, "tracker", PATIENCE_S):
            return writing.write(self._bd, changes, self._last)

    def records(self) -> list[Record]:
        """Every task as `bd` prints it, by id."""
        return sorted(store.everything(self._bd), key=lambda record: str(record["id"]))

    def record(self, task: TaskId) -> Record:
        """One task as `bd` prints it. Raises PermanentError where there is none."""
        found = next((record for record in store.some(self._bd, [task]) if record["id"] == task), None)
        if found is None:
            raise PermanentError(f"no task {task}", hint="'bd list --all' shows every id")
        return found

    def warnings(self) -> tuple[str, ...]:
        """What is known against the version that is installed, and against another one that still serves the database.

        Raises PermanentError where none is there.
        """
        version = self._bd.program().version
        served = other_server(self._beads, version)
        beside = (f"{served.what}; '{served.ends}' ends it",) if served else ()
        known = (f"{what}; install another version" for what in versions.troubles(version))
        return tuple(f"bd {versions.spelled(version)}: {what}" for what in (*known, *beside))
