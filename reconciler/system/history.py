"""The history on disk: `events.jsonl`, and before it `events.1.jsonl` (the newest that is full) to `events.4.jsonl`.

Lines are only added, so a follower needs to know of each file only how far it has been read. What is dropped stands in
`events.dropped.json`, by its span.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct, field

from reconciler.system import file_lock, files

SEGMENT_BYTES = 8 * 1024 * 1024
FULL_KEPT = 4
PATIENCE_S = 5.0
_LOCK = "events.lock"

Line = dict[str, Any]


class EventGap(Struct, frozen=True):
    """From the first event to the last one, as the history writes times."""

    first: str
    last: str


class EventLog:
    """The segments in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "events.jsonl"

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines; what is full becomes a segment of its own. Raises OSError."""
        if self._path.exists() and self._path.stat().st_size > SEGMENT_BYTES:
            self._start_over()
        text = "".join(json.dumps(line) + "\n" for line in lines)
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def dropped(self) -> EventGap | None:
        """What is no longer kept, as far as it is known."""
        try:
            found = json.loads((self._folder / "events.dropped.json").read_bytes())
            return EventGap(str(found["first"]), str(found["last"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def opened(self) -> Iterator[list[BinaryIO]]:
        """Every segment that is kept, the oldest first, as of one moment."""
        with ExitStack() as open_files:
            with self._still(writing=False):
                found = []
                for path in (*(self._full(n) for n in range(FULL_KEPT, 0, -1)), self._path):
                    if path.exists():
                        found.append(open_files.enter_context(files.regular(path)))
            yield found

    def _start_over(self) -> None:
        with self._still(writing=True):
            if self._path.stat().st_size <= SEGMENT_BYTES:
                return  # somebody else was quicker
            oldest = self._full(FULL_KEPT)
            if oldest.exists():
                self._name_dropped(oldest)
                oldest.unlink()
            for n in range(FULL_KEPT - 1, 0, -1):
                if self._full(n).exists():
                    os.replace(self._full(n), self._full(n + 1))
            os.replace(self._path, self._full(1))

    def _name_dropped(self, segment: Path) -> None:
        before = self.dropped()
        with files.regular(segment) as file:
            times = [str(line["at"]) for line in parsed(file.read()) if "at" in line]
        if times:
            span = {"first": before.first if before else times[0], "last": times[-1]}
            files.replace(self._folder / "events.dropped.json", json.dumps(span) + "\n", mode=0o644)

    def _full(self, n: int) -> Path:
        return self._folder / f"events.{n}.jsonl"

    @contextmanager
    def _still(self, *, writing: bool) -> Iterator[None]:
        """While no segment gets another name. Who only reads leaves nothing: where there is no lock, none was renamed yet."""
        how = os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY
        try:
            fd = os.open(self._folder / _LOCK, how | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            yield
            return
        try:
            if writing:
                file_lock.take(fd, PATIENCE_S)
            else:
                fcntl.flock(fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)


class Follower(Struct):
    """Reads a history on and on, each line once, whatever becomes full meanwhile."""

    history: EventLog
    _read: dict[bytes, int] = field(default_factory=dict)  # by the first line of a segment, how far
    _last: str = ""  # the time of the newest event that was read
    _gap: EventGap | None = None

    def next(self) -> tuple[EventGap | None, list[Line]]:
        """What is new since the last call, the oldest first; and the span of what was dropped before it could be read."""
        found: list[Line] = []
        with self.history.opened() as segments:
            reached: dict[bytes, int] = {}
            for file in segments:
                # By its first line, which holds a time: a new file may have got the number of one that was dropped.
                first = file.readline()
                at = self._read.get(first, 0)
                file.seek(at)
                whole, end, _ = file.read().rpartition(b"\n")
                found += parsed(whole)
                reached[first] = at + len(whole) + len(end)
            dropped = self.history.dropped()
        self._read = reached
        gap = dropped if dropped and dropped != self._gap and dropped.last > self._last else None
        if gap and self._last:
            gap = EventGap(self._last, gap.last)
        self._gap = dropped
        self._last = max((str(line["at"]) for line in found if "at" in line), default=self._last)
        return gap, found


def parsed(content: bytes, holding: bytes = b"") -> Iterator[Line]:
    """The lines that can be read; `holding`: only those in which this stands."""
    for text in content.split(b"\n"):
        if not text or holding not in text:
            continue
        try:
            line = json.loads(text.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue  # the last line of a program that was killed while it wrote
        if isinstance(line, dict):
            yield line
