"""Kernel locks that others hold for a moment only."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_FIRST_S, _MOST_S = 0.002, 0.1


def broken(path: Path) -> str | None:
    """Why kernel locks say nothing where this file stands; None where one keeps others out. The file is made for that."""
    first, second = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600) for _ in range(2))
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return "what one holds, another gets too"
    except BlockingIOError:
        return None
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
