"""Who sits in a folder in which no run of ours should be disturbed, or disturb."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from reconciler.model.names import RunId
from reconciler.model.observed import Occupant
from reconciler.runners import _processes as processes
from reconciler.runners import supervisor
from reconciler.runners._folders import Folders
from reconciler.runners._locks import Locks


class Occupants:
    """Those of the folders of one repository's runs."""

    def __init__(self, locks: Locks, folders: Folders) -> None:
        self._locks, self._folders = locks, folders

    def among(self, standing: Iterable[tuple[str, int]], alive: Iterable[RunId]) -> Mapping[str, Occupant]:
        """Of processes by the folder in which they stand: for each folder one that no run explains that is alive."""
        records = [self._folders.record(run) for run in alive]
        live = [(record.id, os.path.realpath(record.start.cwd)) for record in records if record.start.cwd]
        parents = supervisor.parent_pids()
        found: dict[str, Occupant] = {}
        for path, pid in standing:
            there = [run for run, cwd in live if cwd == os.path.realpath(path)]
            if path in found or any(self._belongs(p, there) for p in processes.ancestors(pid, parents)):
                continue
            if command := processes.command(pid):
                found[path] = Occupant(pid=pid, command=command)
        return found

    def _belongs(self, pid: int, runs: Iterable[RunId]) -> bool:
        marker = supervisor.marker(pid)
        for run in runs:
            lock = processes.file_id(self._locks.agent(run.kind, run.subject))
            if marker == os.fsencode(self._folders.folder(run)) or (lock and supervisor.has_open(pid, lock)):
                return True
        return False
