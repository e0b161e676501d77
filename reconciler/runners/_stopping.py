"""How what lives of a run is ended: through its shim where that lives, else directly. TERM and CONT first, KILL later.

A process is signalled only when two things speak for it: its pid was pinned, and then it was (still) seen to carry the
run's marker, to have its lock open, or to descend from one that does. Its working directory alone is no reason.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from reconciler.model.errors import ChangedError, TemporaryError
from reconciler.model.names import RunId
from reconciler.runners import _processes as processes
from reconciler.runners import supervisor
from reconciler.runners._folders import Folders
from reconciler.runners._locks import PROBE_PATIENCE_S, Locks, take
from reconciler.runners._records import Record

SHIM_PATIENCE_S = 30.0


class Stopping:
    """The runs that were asked to end, and since when."""

    def __init__(self, locks: Locks, folders: Folders) -> None:
        self._locks, self._folders = locks, folders
        self._asked: dict[RunId, float] = {}

    def ask_shim(self, record: Record) -> None:
        """TERM to the shim of a run, which then ends all of it; KILL if it has been asked for long and is still there."""
        # One that is stopped again each time it was let go is ended by its agent's doing: it had the time that agents get.
        again = record.pid is not None and record.id in self._asked and supervisor.halted(record.pid)
        patience_s = supervisor.STOP_GRACE_S if again else SHIM_PATIENCE_S
        signals = (signal.SIGKILL,) if self._waited(record) > patience_s else (signal.SIGTERM, signal.SIGCONT)
        if not supervisor.PROC and record.pid:
            return supervisor.send(record.pid, supervisor.pin(record.pid) or -1, *signals)
        if not self._signal_shim(record, [record.pid or 0], signals):
            self._signal_shim(record, processes.carriers().get(str(self._folders.folder(record.id)), ()), signals)

    def sweep(self, record: Record) -> None:
        """End what a run left behind without a shim: TERM the first time, KILL once it had its time. Does not wait."""
        run = record.id
        first = run not in self._asked
        grace_s = supervisor.SWEEP_GRACE_S if record.exit else supervisor.STOP_GRACE_S
        late = self._waited(record) > grace_s
        # With this in hand no next run can start, whose agent would have the same lock open.
        fd = take(self._locks.shim(run.kind, run.subject), PROBE_PATIENCE_S)
        if fd is None:
            self._asked.pop(run, None)
            return
        try:
            tree = self.tree(run)
            if late:
                tree.send(signal.SIGKILL)
            elif first:
                tree.send(signal.SIGTERM, signal.SIGCONT)
        finally:
            os.close(fd)

    def make_sure_it_is_over(self, record: Record) -> None:
        """End what a run left behind, before another one starts. To be called with the shim's lock held.

        Raises ChangedError for a run that is not over, TemporaryError where something survives.
        """
        run = record.id
        if not record.start.at.local and not record.settled:
            raise ChangedError(f"{run} is not known to be over")
        tree = self.tree(run)
        # Twice: a process that forks and ends while one looks at it can be missed.
        if not tree.members() and not tree.members():
            return
        if self._folders.record(run).exit is None:
            raise ChangedError(f"{run} is alive, although its locks are free")
        if not self._sweep_to_the_end(run):
            raise TemporaryError(f"something that {run} started can't be ended", delay=10.0)

    def _sweep_to_the_end(self, run: RunId) -> bool:
        """In `SWEEP_GRACE_S` and a bit; False when something survives that."""
        tree = self.tree(run)
        if not tree.send(signal.SIGTERM, signal.SIGCONT):
            return True
        begun = time.monotonic()
        while tree.members():
            waited = time.monotonic() - begun
            if waited > 2 * supervisor.SWEEP_GRACE_S:
                return False
            if waited > supervisor.SWEEP_GRACE_S:
                tree.send(signal.SIGKILL)
            time.sleep(0.03)
        return True

    def tree(self, run: RunId) -> supervisor.Tree:
        """What lives of a run. Only the newest run of a subject can have the subject's lock open."""
        newest = self._folders.newest(run.kind, run.subject) <= run.n
        agent = processes.file_id(self._locks.agent(run.kind, run.subject)) if newest else None
        return supervisor.Tree(
            str(self._folders.folder(run)), agent, processes.file_id(self._locks.shim(run.kind, run.subject))
        )

    def _waited(self, record: Record) -> float:
        """Seconds since the run was first asked to end, by us or by the one who wrote its stop record."""
        here = time.monotonic() - self._asked.setdefault(record.id, time.monotonic())
        there = (datetime.now(UTC) - record.stopped_at).total_seconds() if record.stopped_at else 0.0
        return max(here, there)

    def _signal_shim(self, record: Record, pids: Iterable[int], signals: Iterable[int]) -> bool:
        lock = processes.file_id(self._locks.shim(record.id.kind, record.id.subject))
        folder = os.fsencode(self._folders.folder(record.id))
        sent = False
        for pid in pids:
            handle = supervisor.pin(pid) if pid > 1 else None
            if handle is None:
                continue
            # Looked at after it was pinned: by now the number may belong to somebody else.
            if lock and pid != os.getpid() and supervisor.marker(pid) == folder and supervisor.has_open(pid, lock):
                supervisor.send(pid, handle, *signals)
                sent = True
            if handle >= 0:
                os.close(handle)
        return sent
