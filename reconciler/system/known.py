"""The repositories of this machine in which something is recorded, a path on each line: for who looks on at all of them.

No decision reads it. Where it can't be written nothing is lost but a line on a page.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from reconciler.system import files

LINES_MAX = 1000


def file_of(environ: Mapping[str, str]) -> Path | None:
    """Where they are noted; None where there is no place for it."""
    state = environ.get("XDG_STATE_HOME") or (f"{environ['HOME']}/.local/state" if environ.get("HOME") else "")
    return Path(state, "reconcile", "repositories") if state.startswith("/") else None  # others are to be ignored


def note(main: Path, environ: Mapping[str, str]) -> None:
    """Add the repository whose main checkout this is. What is no more there is left out."""
    path, line = file_of(environ), os.fspath(main)
    if path is None or line in map(os.fspath, listed(environ)) or not line.isprintable():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path.with_name(".repositories.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            there = [os.fspath(each) for each in listed(environ) if alive(each) and os.fspath(each) != line]
            files.replace(path, "".join(f"{each}\n" for each in [*there, line][-LINES_MAX:]))
        finally:
            os.close(fd)
    except OSError:
        pass


def listed(environ: Mapping[str, str]) -> list[Path]:
    """What is noted, dead or alive, in the order in which it was."""
    path = file_of(environ)
    try:
        with files.regular(path) if path else open(os.devnull, "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [Path(line) for line in dict.fromkeys(text.splitlines()) if line.startswith("/")]


def alive(path: Path) -> bool:
    """False for a folder that is gone, or that is no repository any more; one that can't be looked into may be."""
    try:
        return bool({".git", "HEAD"} & {each.name for each in os.scandir(path)})
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
