"""Programs that have not answered for long: written down once one has not, for who looks on from elsewhere, until it has.

A program that answers costs nothing. What is written is relied on by nobody, and holds no argument of a program: there may be a
secret in those.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import msgspec
from msgspec import Struct

from reconciler.system import files

TELL_S = 10.0
_FILE = "_unanswered.json"  # no manifest is called so
_FILE_MAX = 64 << 10


class LongCall(Struct, frozen=True, kw_only=True):
    """A program that has not answered for long. `begun`: seconds since 1970; `limit_s`: after which it is given up; `about`: what it is
    run for, as far as that is known."""

    program: str
    begun: float
    limit_s: float
    about: str = ""


class _Record(Struct, frozen=True, kw_only=True):
    pid: int
    calls: tuple[LongCall, ...]


class _Unanswered:
    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.folder: Path | None = None
        self.calls: dict[int, LongCall] = {}
        self.count = 0

    def write(self) -> None:
        if self.folder is None:
            return
        with suppress(OSError, ValueError):  # who looks on sees less
            if not self.calls:
                (self.folder / _FILE).unlink(missing_ok=True)
                return
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            record = _Record(pid=os.getpid(), calls=tuple(self.calls.values()))
            files.put(self.folder / _FILE, msgspec.json.encode(record))


_HERE = _Unanswered()
_ABOUT: ContextVar[str] = ContextVar("about", default="")


@contextmanager
def recorded(state: Path) -> Iterator[None]:
    """Have it written down while the block runs, below the reconcile folder of a repository; for the one who acts there."""
    with _HERE.turn:
        _HERE.folder = state / "status"
        _HERE.write()  # what one that was killed has left
    try:
        yield
    finally:
        with _HERE.turn:
            _HERE.calls.clear()
            _HERE.write()
            _HERE.folder = None


@contextmanager
def about(what: str) -> Iterator[None]:
    """Say what the programs are run for that this thread runs while the block does."""
    before = _ABOUT.set(what)
    try:
        yield
    finally:
        _ABOUT.reset(before)


def begin(program: str, for_s: float, limit_s: float) -> int:
    """Tell of a program that has not answered for so long; what `end` is given."""
    call = LongCall(program=program, begun=time.time() - for_s, limit_s=limit_s, about=_ABOUT.get())
    with _HERE.turn:
        _HERE.count += 1
        _HERE.calls[_HERE.count] = call
        _HERE.write()
        return _HERE.count


def end(number: int) -> None:
    """It has ended."""
    with _HERE.turn:
        if _HERE.calls.pop(number, None):
            _HERE.write()


def known(state: Path, pid: int) -> tuple[LongCall, ...]:
    """The programs that the one who acts here, by its pid, waits for; the longest first."""
    try:
        with files.regular(state / "status" / _FILE) as file:
            found = msgspec.json.decode(file.read(_FILE_MAX), type=_Record)
    except (OSError, ValueError):
        return ()
    return tuple(sorted(found.calls, key=lambda call: call.begun)) if found.pid == pid else ()
