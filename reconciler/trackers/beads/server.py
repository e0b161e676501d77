"""A process of another version of `bd` that serves the database beside the one that is installed."""

from __future__ import annotations

import json
from pathlib import Path

from msgspec import Struct

from reconciler.system.files import regular
from reconciler.trackers.beads.versions import Version, parsed

_LOCK = "daemon.lock"
_MOST = 65_536


class Server(Struct, frozen=True):
    """A daemon, by its own word."""

    pid: int
    version: str

    @property
    def what(self) -> str:
        return f"a daemon of bd {self.version} (process {self.pid}) still serves the database"

    @property
    def ends(self) -> str:
        return f"kill {self.pid}"


def other_server(beads: Path, installed: Version) -> Server | None:
    """The daemon that serves a database in another version than the one that is installed; None where none does."""
    import psutil  # noqa: PLC0415 - only where there is such a file: every command would wait for its import

    try:
        with regular(beads / _LOCK) as file:
            data = json.loads(file.read(_MOST))
        server = Server(int(data["pid"]), str(data["version"]))
        alive = psutil.Process(server.pid).name() == "bd"  # else its number may be somebody else's by now
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, psutil.Error):
        return None
    theirs = parsed(f"version {server.version}")
    return server if alive and theirs not in (None, installed) else None
