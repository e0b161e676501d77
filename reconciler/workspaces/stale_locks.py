"""Lock files that a killed git left behind. Git never removes them, and refuses to work beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

STALE_AFTER_S = 60.0


def clear(lock: Path) -> bool:
    """Remove a lock file that is old and that no process has open; True when it is gone."""
    try:
        age_s = time.time() - lock.lstat().st_mtime
    except FileNotFoundError:
        return True
    if age_s < STALE_AFTER_S or _is_open(lock):
        return False
    lock.unlink(missing_ok=True)
    return True


def _is_open(path: Path) -> bool:
    wanted = os.path.realpath(path)
    return any(wanted == opened for pid in _listed("/proc") if pid.isdecimal() for opened in _opened(pid))


def _opened(pid: str) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for descriptor in _listed(folder):
        try:
            yield os.readlink(f"{folder}/{descriptor}")
        except OSError:  # closed meanwhile
            continue


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # the process ended or is somebody else's; or there is no /proc, and age alone must do
        return []
