"""Where the small files lead by which a checkout and its git dir name each other."""

from __future__ import annotations

import os
import stat
from pathlib import Path

VIEW = "view"  # in the admin folder of a worktree that sees its repository through one


def content(path: str) -> str | None:
    """What a small file says; None where there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place would hold us
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    try:
        return os.fsdecode(os.read(fd, 8192)) if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)


def gitfile(place: Path) -> str | None:
    """Where the `.git` file at `place` leads; None for anything but such a file."""
    path = f"{place}/.git"
    try:
        plain = stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    text = ((content(path) or "") if plain else "").rstrip("\r\n")
    target = text.removeprefix("gitdir: ")
    return normal(place, target) if target != text else None


def same_folder(one: Path | str, other: Path | str) -> bool:
    """True where both names lead to one folder: through links, mounts, or as they are."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def normal(start: Path, path: str) -> str:
    """A path that may be relative to `start`, without the steps in it that lead back."""
    return os.path.normpath(f"{start}/{path}" if not path.startswith("/") else path)


def behind(common: Path) -> Path:
    """The git dir of the repository that a worktree sees through a view of its own; any other git dir itself."""
    admin = common.parent
    seen = common.name == VIEW and admin.parent.name == "worktrees" and (admin / "gitdir").is_file()
    return admin.parent.parent if seen else common
