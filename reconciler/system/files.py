"""Files of ours, and files that others can put something else in the place of: read so that nothing there holds us, written so
that they are whole or as before, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

Stamp = tuple[int, int, int, int]  # inode, size, times of content and of inode


def stamp_of(found: os.stat_result) -> Stamp:
    """What changes when a file does, also where its date was put back."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def regular(path: Path | str) -> Iterator[BinaryIO]:
    """A regular file to be read. Raises OSError where it is none: of a pipe nobody knows when it says something."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        yield file


@contextmanager
def tried(folder: Path) -> Iterator[Path]:
    """A new file in a folder, by a path under which it can be opened for as long as the block runs. It has no name where the
    file system can do that, and changes no folder; else it is removed. Raises OSError where the folder takes none."""
    fd = _nameless(folder)
    if fd is not None:
        try:
            yield Path(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return
    path = folder / f".reconcile-probe.{os.getpid()}"
    path.unlink(missing_ok=True)  # of one that was killed
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _nameless(folder: Path) -> int | None:
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        return None


def replace(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file as a whole, durably: a crash leaves the old text or all of the new one.

    For one writer at a time: the unfinished file always has the same name, so that none is ever left over.
    """
    with _replacing(path, mode) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def put(path: Path, data: bytes) -> None:
    """Replace a file as a whole that can be lost with the machine: it is not synced. For one writer at a time too."""
    with _replacing(path, 0o600) as file:
        file.write(data)


@contextmanager
def _replacing(path: Path, mode: int) -> Iterator[BinaryIO]:
    partial = path.with_name(f".{path.name}.partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        yield file
    os.replace(partial, path)


def versioned(path: Path, known: Collection[int]) -> dict[str, Any]:
    """What a JSON file of ours holds beside its version. Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
    kept: dict[str, Any] = json.loads(path.read_bytes())
    if kept.pop("version") not in known:
        raise ValueError("written by another version of this program")
    return kept


def sync(folder: Path) -> None:
    """Have what was made, renamed or removed in a folder be on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
