"""Kernel locks that others hold for a moment only."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from reconciler.system import files

_FIRST_S, _MOST_S = 0.002, 0.1
ADVICE = "keep the repository on a local disk"


def message(folder: Path, why: str) -> str:
    """That locks say nothing in a folder, and what that means."""
    return f"file locks do not work in {folder}: {why}; without them nobody can tell whether an agent lives"


def broken(folder: Path) -> str | None:
    """Why kernel locks say nothing in a folder; None where one keeps others out. Raises OSError where it takes no file."""
    with files.tried(folder) as path:
        return _broken(*(os.open(path, os.O_RDWR | os.O_CLOEXEC) for _ in range(2)))


def _broken(first: int, second: int) -> str | None:
    """The same of a file that is open twice; it is closed."""
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return "what one holds, another gets too"
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(first)
        os.close(second)


def take(fd: int, most_s: float) -> None:
    """Lock an open file. Raises BlockingIOError where somebody else keeps it locked for so long."""
    deadline, pause_s = time.monotonic() + most_s, _FIRST_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        else:
            return
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _MOST_S)


def hold(path: Path, most_s: float, *, mode: int = 0o600) -> int | None:
    """Lock a file that its holders may delete, made where there is none; its descriptor. None when somebody else keeps it for so long."""
    deadline = time.monotonic() + most_s
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Deleted between the two, another may stand there.
            if _stands(fd, path):
                return fd
        except BlockingIOError:
            pass
        os.close(fd)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)


def _stands(fd: int, path: Path) -> bool:
    """True while this open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False
