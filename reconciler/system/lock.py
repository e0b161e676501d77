"""One reconciler per repository: a kernel lock that dies with its holder. A convenience, not the safety argument."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from reconciler.model.errors import LockedError


@contextmanager
def reconciling(state: Path, command: str) -> Iterator[None]:
    """Be the one reconciler of a repository while the block runs.

    Raises LockedError, which names the holder, when another one is. The lock is close-on-exec: no agent inherits it.
    """
    folder = state / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder / "reconciler", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"another reconciler works here: {_holder(fd)}", hint="it does what this would do"
            ) from error
        said = {"pid": os.getpid(), "since": f"{datetime.now(UTC):%FT%TZ}", "command": command}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(said).encode(), 0)
        yield
    finally:
        os.close(fd)


def _holder(fd: int) -> str:
    """Who wrote its name into the lock file; only for people, the kernel knows who holds it."""
    try:
        said = json.loads(os.pread(fd, 4096, 0) or b"{}")
        return f"pid {int(said['pid'])} ({said['command']}), since {said['since']}"
    except (ValueError, KeyError, TypeError):
        return "it has not said its name yet"
