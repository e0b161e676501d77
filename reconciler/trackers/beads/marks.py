"""A mark of a database: while it is the very same, nobody has written there, and another look would show the same.

It is of what the database holds, not of when its files changed, for `bd` touches them when it only reads. Dolt names its state
in a manifest and appends every commit to a journal; of SQLite, the rows are read that tasks are made of. A mark is None, and
says nothing, where `bd` may work on something else than these files (a server, a redirect), or where they can't be read.

The events journal of Beads (`bd events tail`) would not do: it costs a process as well, it is off by default, and neither what
somebody writes with BD_EVENTS_JOURNAL=0 is in it, nor what a pull brings.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.system.files import regular, stamp_of
from reconciler.trackers.beads import rows

Mark = tuple[object, ...]

_READ_MAX = 1 << 20
_ROWS = ("issues", "labels", "dependencies")
# Some keep rows of tasks elsewhere too.
_OTHER_ROWS = ("wisps",)
# Noise beside the database: locks, logs, what was touched last. Who closed a task is read by itself.
_NOISE = re.compile(
    r".*\.(db|db-shm|db-wal|db-journal|lock|log|pid|sock)|last-touched|interactions\.jsonl|\.reconcile.*|\..*\.partial"
)
_REWRITTEN = ("manifest", "journal.idx", "LOCK")  # by one that only reads; what the first says is read
_SERVER = re.compile(rb"^[^#\n]*\b(server|remote)", re.MULTILINE | re.IGNORECASE)
_ELSEWHERE = ("BEADS_DOLT", "BD_DOLT", "BEADS_SERVER", "BEADS_SHARED", "BEADS_PROXIED")


def of_database(beads: Path, environ: Mapping[str, str]) -> Mark | None:
    """A mark of the database of a `.beads/` folder; None where a change could go unnoticed."""
    if any(name.startswith(_ELSEWHERE) for name in environ):
        return None
    try:
        settings = _read(beads / "config.yaml") if (beads / "config.yaml").exists() else b""
        if (beads / "redirect").exists() or _SERVER.search(settings):
            return None
        beside = tuple(_beside(beads))
        match json.loads(_read(beads / "metadata.json")):
            case {"backend": "dolt", "dolt_mode": "embedded", "dolt_database": str(name)} if "/" not in name:
                return *beside, *_of_dolt(beads / "embeddeddolt" / name / ".dolt")
            case {"backend": "dolt"} | {"database": "dolt"}:
                return None
            case {"database": str(name)} if "/" not in name:
                return *beside, _of_sqlite(beads / name)
            case _:
                return None
    except (OSError, ValueError, RecursionError, sqlite3.Error):
        return None


def of_files(beads: Path) -> Mark | None:
    """What costs next to nothing: while it is the very same, so is the mark. It moves where `bd` only reads, too."""
    try:
        folders = (beads, *beads.glob("embeddeddolt/*/.dolt"), *beads.glob("embeddeddolt/*/.dolt/noms"))
        return tuple(mark for folder in folders for mark in _entries(folder))
    except OSError:
        return None


def _entries(folder: Path) -> Iterator[tuple[object, ...]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            found = entry.stat(follow_symlinks=False)
            yield entry.name, *stamp_of(found)


def _beside(beads: Path) -> Iterator[tuple[object, ...]]:
    """The files beside the database: some versions take in what stands in an export that is newer."""
    with os.scandir(beads) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not _NOISE.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False):
                found = entry.stat()
                yield entry.name, *stamp_of(found)


def _of_dolt(folder: Path) -> Iterator[object]:
    """The state by its name, its branch, and how far the journal of its commits has come."""
    yield _read(folder / "repo_state.json")
    yield _read(folder / "noms" / "manifest")
    with os.scandir(folder / "noms") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name not in _REWRITTEN:
                found = entry.stat()
                yield entry.name, found.st_ino, 0 if entry.is_dir() else found.st_size


def _of_sqlite(path: Path) -> bytes:
    """The rows that tasks are made of: each `bd` that only reads counts the file up."""
    digest = hashlib.sha256()
    os.stat(path)  # else it would be made
    with rows.reading(path) as database:
        database.execute("BEGIN")
        for table in _OTHER_ROWS:
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                raise ValueError(table)
        for table in _ROWS:
            for row in database.execute(f"SELECT * FROM {table}"):
                digest.update(repr(row).encode("utf-8", "replace"))
    return digest.digest()


def _read(path: Path) -> bytes:
    with regular(path) as file:
        return file.read(_READ_MAX)
