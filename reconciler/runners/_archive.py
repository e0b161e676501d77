"""What is over for good, in one database: finished runs take no folder, no locks, and no look of their own.

It holds every file of a run as it stood in its folder, and beside it the run as it was read from them, which is read from
them again where another version of this program wrote it. What is in here is never changed: a run's number is used once.
Beside its runs a subject has the files that stood in its own folder (number 0), of which the newest count.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import Struct

from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import RetryPoint, Run
from reconciler.runners import _records as records
from reconciler.runners._archive_rows import FORM, Files, Kept, decoded, encoded, packed_files
from reconciler.system.late import late

if TYPE_CHECKING:
    import sqlite3

PATIENCE_S = 2.0
SETTLES_NS = 1_000_000_000
RENEWED = 200  # runs of another version's form, at once
SINCE = "since.json"
WAY_OUT = "bring back a copy of it, or move it away: what ended runs printed, tried and cost is forgotten then"
_TABLES = """
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, n INTEGER NOT NULL,
    form TEXT NOT NULL, value BLOB NOT NULL, UNIQUE (kind, subject, n));
CREATE TABLE IF NOT EXISTS file (
    run INTEGER NOT NULL, name BLOB NOT NULL, modified_ns INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (run, name)) WITHOUT ROWID;
"""
_Stamp = tuple[int, int, int, int, int]


class Bundle(Struct, frozen=True):
    """A subject: its runs, the files of each, and those beside them."""

    kind: RunKind
    name: str
    runs: tuple[Run, ...]
    files: Mapping[int, Files]  # by the number of the run; 0: beside them

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(len(each.content) for files in self.files.values() for each in files.values())


class Archive:
    """The archive of one repository's runs. `derive` makes a run of its files again. Safe to share between threads.

    Every method raises OSError where it can't be read: what is in it is not known then, and not absent.
    """

    def __init__(self, path: str, derive: Callable[[RunId], Run]) -> None:
        self.path, self._derive = path, derive
        self._lock = threading.RLock()
        self._open: tuple[int, sqlite3.Connection] | None = None  # with its inode
        self._seen: _Stamp | None = None
        self._last = 0  # the newest row that was read
        self._runs: dict[RunId, Run] = {}
        self._since: dict[TaskId, RetryPoint] = {}

    # --- reading -------------------------------------------------------------------------------------------

    def runs(self) -> Mapping[RunId, Run]:
        """Every run in it; the same mapping while none is added."""
        with self._lock:
            self._refresh()
            return self._runs

    def since(self) -> Mapping[TaskId, RetryPoint]:
        """From where runs count, of the tasks in it; the same mapping while none is added."""
        with self._lock:
            self._refresh()
            return self._since

    def newest(self, kind: RunKind, subject: str) -> int:
        """The number of the newest run of a subject in it; 0 where there is none."""
        with self._reading() as db:
            rows = db.execute("SELECT max(n) FROM run WHERE kind = ? AND subject = ?", (kind, subject)) if db else ()
            return next((n for (n,) in rows), 0) or 0

    def file(self, run: RunId, name: str) -> Kept | None:
        """One file of a run."""
        return self.files(run.kind, run.subject, run.n, name).get(name)

    def files(self, kind: RunKind, subject: str, n: int, name: str | None = None) -> Files:
        """The files of a run, or those beside a subject's runs; `name`: only that one."""
        query = (
            "SELECT name, modified_ns, content FROM run JOIN file ON run = id"
            " WHERE kind = ? AND subject = ? AND n = ? AND name = coalesce(?, name)"
        )
        one = None if name is None else os.fsencode(name)
        with self._reading() as db:
            rows = db.execute(query, (kind, subject, n, one)) if db else ()
            return {os.fsdecode(name): Kept(zlib.decompress(content), at) for name, at, content in rows}

    # --- writing -------------------------------------------------------------------------------------------

    def add(self, bundles: Iterable[Bundle]) -> None:
        """Have these be in it, all or none, and on the disk. What is in it stays as it is, save what stands beside runs.

        Nobody can read while they are written: give no more than a few MB at once.
        """
        bundles = list(bundles)
        packed = [
            {n: [*packed_files(files)] for n, files in each.files.items()} for each in bundles
        ]  # it takes the longest
        with self._lock:
            with self._sqlite(self._made()) as db, db:
                for each, rows in zip(bundles, packed, strict=True):
                    key, values = (each.kind, each.name), {run.id.n: encoded(run) for run in each.runs}
                    if 0 in rows and (
                        old := db.execute("SELECT id FROM run WHERE kind = ? AND subject = ? AND n = 0", key).fetchone()
                    ):
                        db.execute("DELETE FROM file WHERE run = ?", old)
                        db.execute("DELETE FROM run WHERE id = ?", old)
                    for n, files in rows.items():
                        row = (*key, n, FORM, values.get(n, b""))
                        made = db.execute(
                            "INSERT OR IGNORE INTO run (kind, subject, n, form, value) VALUES (?, ?, ?, ?, ?)", row
                        )
                        if made.rowcount:
                            db.executemany(
                                "INSERT INTO file VALUES (?, ?, ?, ?)", ((made.lastrowid, *file) for file in files)
                            )
            self._refresh({run.id: run for each in bundles for run in each.runs})

    def renew(self) -> bool:
        """Write down again what another version wrote in its form, some of it; False once there is none."""
        with self._reading() as db:
            if db is None:
                return False
            query = "SELECT id, kind, subject, n FROM run WHERE n AND form != ? LIMIT ?"
            old = [
                (id, RunId(RunKind(kind), subject, n)) for id, kind, subject, n in db.execute(query, (FORM, RENEWED))
            ]
        found = [(FORM, encoded(self._derive(run)), id) for id, run in old]
        with self._reading() as db:
            if db and found:
                with db:
                    db.executemany("UPDATE run SET form = ?, value = ? WHERE id = ?", found)
        return bool(found)

    # --- the file ------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """The database; None where there is none."""
        with self._lock:
            found = self._look()
            if found is None:
                yield None
                return
            with self._sqlite(found[0]) as db:
                yield db

    def _refresh(self, same: Mapping[RunId, Run] | None = None) -> None:
        found = self._look()
        if found is None:
            self._seen, self._last = None, 0
            self._runs, self._since = self._runs and {}, self._since and {}
            return
        # Two changes within one tick of the file system's clock leave the same stamp.
        young = time.time_ns() - max(found[2:4]) <= SETTLES_NS
        if found == self._seen and not young:
            return
        if self._seen is None or self._seen[0] != found[0]:
            self._last, self._runs, self._since = 0, {}, {}
        # Only what is needed of a row: there are thousands, and what a run says names it.
        query = "SELECT id, CASE WHEN n AND form = ? THEN value END FROM run WHERE id > ? ORDER BY id"
        runs, since, last = {}, {}, self._last
        with self._sqlite(found[0]) as db:
            for last, value in db.execute(query, (FORM, self._last)):
                if run := decoded(value) if value is not None else None:
                    runs[run.id] = same.get(run.id, run) if same else run
                    continue
                ((kind, subject, n),) = db.execute("SELECT kind, subject, n FROM run WHERE id = ?", (last,))
                if n:
                    run = self._derive(RunId(RunKind(kind), subject, n))
                    runs[run.id] = run
                elif kind == RunKind.WORK and (point := self._point(subject)):
                    since[TaskId(subject)] = point
        # Only now: had one not been readable, the next look would have to read them all.
        self._runs = {**self._runs, **runs} if runs else self._runs
        self._since = {**self._since, **since} if since else self._since
        self._last, self._seen = last, found

    def _point(self, subject: str) -> RetryPoint | None:
        kept = self.files(RunKind.WORK, subject, 0, SINCE).get(SINCE)
        return records.retry_point(records.as_object(kept.content)) if kept else None

    def _look(self) -> _Stamp | None:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            self._close()
            return None
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{self.path}, where finished runs are kept, is no plain file; {WAY_OUT}")
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev

    def _made(self) -> int:
        """The inode of the database, which is made where there is none yet."""
        if self._look() is None:
            # Made beside it: nobody reads one that is not whole.
            partial = f"{self.path}.partial"
            with suppress(FileNotFoundError):
                os.unlink(partial)
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with self._errors():
                db = _connect(partial)
                try:
                    db.executescript(_TABLES)
                finally:
                    db.close()
            with suppress(FileExistsError):
                os.link(partial, self.path)
            os.unlink(partial)
        return os.lstat(self.path).st_ino

    @contextmanager
    def _sqlite(self, inode: int) -> Iterator[sqlite3.Connection]:
        with self._errors():
            if self._open is None or self._open[0] != inode:
                self._close()
                self._open = inode, _connect(self.path)
            yield self._open[1]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (late("sqlite3").Error, zlib.error) as error:
            message = f"{self.path}, where finished runs are kept, can't be read or written: {error}"
            raise OSError(f"{message}; {WAY_OUT}" if _is_damage(error) else message) from error

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _is_damage(error: Exception) -> bool:
    """True where trying again is in vain: no database, a broken one, or one without our tables."""
    name = getattr(error, "sqlite_errorname", "")
    return isinstance(error, zlib.error) or name.startswith(("SQLITE_ERROR", "SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _connect(path: str) -> sqlite3.Connection:
    """A database that is there."""
    where = f"file:{quote(path)}?mode=rw"
    db: sqlite3.Connection = late("sqlite3").connect(
        where, uri=True, timeout=PATIENCE_S, check_same_thread=False, isolation_level="IMMEDIATE"
    )
    db.execute("PRAGMA synchronous = EXTRA")
    db.execute("PRAGMA trusted_schema = OFF")
    return db
