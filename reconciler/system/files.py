"""Files of ours, and files that others can put something else in the place of: read so that nothing there holds us, written so
that they are whole or as before, whatever happens."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def regular(path: Path) -> Iterator[BinaryIO]:
    """A regular file to be read. Raises OSError where it is none: of a pipe nobody knows when it says something."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        yield file


def replace(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file as a whole, durably: a crash leaves the old text or all of the new one.

    For one writer at a time: the unfinished file always has the same name, so that none is ever left over.
    """
    partial = path.with_name(f".{path.name}.partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Have what was made, renamed or removed in a folder be on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
