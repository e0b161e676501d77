"""The files of a `.beads/` folder: who may write, what a file held when it was read, and how it is replaced.

A reader needs no lock: a file is only ever replaced as a whole. Writers take turns by a kernel lock, and look once more
before they replace, because editors and git do not know about the lock.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import PermanentError, RefusedError, TemporaryError
from reconciler.system import file_lock
from reconciler.system.files import Stamp, stamp_of, sync

LOCK = ".reconcile.lock"
TEMPORARY = ".reconcile.tmp"
PATIENCE_S = 10.0
# Within this time of a change another one could leave the same stamp: clocks of file systems tick slowly.
_SETTLES_NS = 1_000_000_000
_LASTING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
_ACCESSIBLE = "the one who owns it must make it accessible"


class Content(Struct, frozen=True):
    """What a file held. `settled`: the same stamp means the same content."""

    data: bytes
    stamp: Stamp
    settled: bool = False


def stamp(path: Path) -> Stamp | None:
    """What changes when a file does; None where there is none. Raises PermanentError for a link to nothing."""
    with telling(f"cannot read {path}"):
        try:
            return stamp_of(path.stat())
        except FileNotFoundError:
            for link in (path.parent, path):
                if link.is_symlink() and not link.exists():
                    raise PermanentError(f"{link} is a link to nothing", hint="put back what it leads to") from None
            return None


def read(path: Path) -> Content | None:
    """The content of a regular file; None where there is none."""
    with telling(f"cannot read {path}"):
        try:
            # A pipe in its place would hold us until somebody writes to it.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as stream:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise PermanentError(f"{path} is not a file", hint="move it away")
            settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLES_NS
            return Content(stream.read(), stamp_of(found), settled)


def replace(path: Path, data: bytes, before: Stamp | None) -> Stamp | None:
    """Replace a file as a whole, durably; its stamp. None, with nothing done, when it is not what it was `before`.

    Only while the lock is held. Raises PermanentError for a link: the one who made it meant another file.
    """
    temporary = path.with_name(TEMPORARY)
    with writing(path, f"cannot write {path}"):
        if path.is_symlink():
            raise PermanentError(f"{path} is a link: it is not written through", hint="put the file itself there")
        temporary.unlink(missing_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as stream:
            if before is not None:
                os.fchmod(stream.fileno(), stat.S_IMODE(path.stat().st_mode))
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            if stamp(path) != before:
                return None
            os.replace(temporary, path)
            written = stamp_of(os.fstat(stream.fileno()))
        sync(path.parent)
        return written


@contextmanager
def locked(folder: Path, name: str = LOCK, patience_s: float | None = None) -> Iterator[None]:
    """Be the only writer in a folder, which is made where it is missing. Raises TemporaryError when others are for long."""
    with writing(folder, f"cannot lock {folder}"):
        folder.mkdir(exist_ok=True)
        most_s = PATIENCE_S if patience_s is None else patience_s
        # `git clean` takes the file away under its holder.
        fd = file_lock.hold(folder / name, most_s, mode=0o666)
        if fd is None:
            raise TemporaryError(f"another program has been writing to {folder} for {most_s:g} s")
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say what could not be done, and whether another try may help."""
    try:
        yield
    except OSError as error:
        if error.errno in _LASTING:
            raise PermanentError(f"{what}: {error.strerror}", hint=_ACCESSIBLE) from error
        raise TemporaryError(f"{what}: {error.strerror}", delay=30.0) from error


@contextmanager
def writing(path: Path, what: str) -> Iterator[None]:
    """The same for what changes a store. Raises RefusedError where the machine is against it: no task is to blame for that,
    and as soon as `path` is accessible it is tried again."""
    try:
        yield
    except OSError as error:
        if error.errno not in _LASTING:
            raise TemporaryError(f"{what}: {error.strerror}", delay=30.0).due_to(path) from error
        refused = RefusedError(f"{what}: {error.strerror}", delay=30.0, hint=_ACCESSIBLE)
        raise refused.due_to(path) from error
