"""Kernel locks that others hold for a moment only."""

from __future__ import annotations

import fcntl
import time

_FIRST_S, _MOST_S = 0.002, 0.1


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
