"""One reconciler per repository: a kernel lock that dies with its holder. A convenience, not the safety argument."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, ValidationError, convert
from msgspec.structs import asdict

from reconciler.model.errors import LockedError, PermanentError
from reconciler.system import file_lock, files, format, program, unanswered

NAME_MAX = 4096


class Holder(Struct, frozen=True, kw_only=True):
    """Who wrote its name into the lock file: the reconciler of this moment, or the last one."""

    pid: int
    command: str
    since: str
    package: str = ""  # where its program stands, and what that was when it started; empty: it did not say
    fingerprint: str = ""
    content: str = ""
    surroundings: str = ""  # where its checks run; empty: it did not say

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command}), since {self.since}"

    @property
    def replaced(self) -> bool:
        """True where the files that it was started from are no longer there: what it loads now is another program."""
        package = Path(self.package)
        if not self.package or program.fingerprint(package) == self.fingerprint:
            return False
        return program.content(package) != self.content

    @property
    def stopped(self) -> bool:
        """True where it is there and does nothing: stopped by a signal, or by Ctrl-Z at its terminal. False where nobody says."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False
        return state in ("T", "t")

    @property
    def awoken(self) -> str:
        """What has it go on where it is stopped."""
        return f"kill -CONT {self.pid}, or 'fg' at its terminal"


@contextmanager
def reconciling(state: Path, command: str, surroundings: str = "") -> Iterator[None]:
    """Be the one reconciler of a repository while the block runs. `surroundings`: where its checks run.

    Raises LockedError, which names the holder, when another one is, PermanentError where locks keep nobody out. The lock is
    close-on-exec: no agent inherits it.
    """
    folder = state / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(file_of(state), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if why := file_lock.broken(folder):
            raise PermanentError(file_lock.message(folder, why), hint=file_lock.ADVICE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = holder(state) or "it has not written its name yet"
            raise LockedError(f"another reconciler is running here: {who}", hint="it does this by itself") from error
        us = Holder(
            pid=os.getpid(),
            command=command,
            since=f"{datetime.now(UTC):%FT%TZ}",
            package=str(program.PACKAGE),
            fingerprint=program.fingerprint(),
            content=program.content(),
            surroundings=surroundings,
        )
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(us)).encode(), 0)
        format.mark(state)
        with unanswered.recorded(state):
            yield
    finally:
        os.close(fd)


def holder(state: Path) -> Holder | None:
    """Whose name stands in the lock file; None where there is none. Only for people: the kernel knows who holds it."""
    try:
        with files.regular(file_of(state)) as file:
            return convert(json.loads(file.read(NAME_MAX)), Holder)
    except (OSError, ValueError, ValidationError):
        return None


def file_of(state: Path) -> Path:
    """The lock file of a repository."""
    return state / "locks" / "reconciler"
