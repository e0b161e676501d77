"""What was sent to whom: `reconcile/notified.jsonl`, a line for each message that was sent, or could not be.

Whoever sends writes here once the recipient has taken it. Killed in between, it is sent once more, and never not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.system import file_lock, files, history

MOST_BYTES = 1024 * 1024
KEPT_LINES = 1000
PATIENCE_S = 10.0

Line = Mapping[str, Any]


class Notified:
    """The record of one repository."""

    def __init__(self, state: Path) -> None:
        self._state, self._path = state, state / "notified.jsonl"
        self._stamp: tuple[int, int, int] | None = None
        self._lines: list[Line] = []

    def lines(self) -> list[Line]:
        """What is recorded, oldest first; the same list while nothing changed. Raises OSError where it can't be read."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._lines = None, []
            return self._lines
        stamp = found.st_ino, found.st_size, found.st_mtime_ns
        if stamp != self._stamp:
            with files.regular(self._path) as file:
                self._lines = [*history.parsed(file.read())]
            self._stamp = stamp
        return self._lines

    def sent(self, to: str, keys: list[str]) -> None:
        """A recipient has taken a message. Raises OSError."""
        self._append({"to": to, "keys": keys})

    def missed(self, to: str, keys: list[str], why: str, tries: int) -> None:
        """A recipient could not be reached. Raises OSError."""
        self._append({"to": to, "keys": keys, "failed": why, "tries": tries})

    def shorten(self, keep: Callable[[Line], bool]) -> None:
        """Where it grew long: drop all but the newest lines, and those to `keep`. Raises OSError."""
        if not self._path.exists() or self._path.stat().st_size <= MOST_BYTES:
            return
        with self._writing():
            lines = self.lines()
            old, new = lines[:-KEPT_LINES], lines[-KEPT_LINES:]
            kept = [*filter(keep, old), *new]
            files.replace(self._path, "".join(json.dumps(line) + "\n" for line in kept))

    def _append(self, line: Line) -> None:
        with self._writing():
            fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(fd).st_size
                # What a program wrote that was killed meanwhile has no end.
                begin = "\n" if size and os.pread(fd, 1, size - 1) != b"\n" else ""
                os.write(fd, f"{begin}{json.dumps({'at': f'{datetime.now(UTC):%FT%T.%fZ}', **line})}\n".encode())
                os.fsync(fd)
            finally:
                os.close(fd)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        folder = self._state / "locks"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / "notified", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            file_lock.take(fd, PATIENCE_S)
            yield
        finally:
            os.close(fd)
