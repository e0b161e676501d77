"""Folders that an agent wrote into: walked, compared and taken away without ever following a link out of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import TemporaryError

Stamp = tuple[
    int, int, int, int, int
]  # mode, size, times of content and of inode, inode: no program can forge them all


class Contents(Struct, frozen=True, kw_only=True):
    """What a folder holds. Paths are relative; a repository is named by the folder that its `.git` stands in."""

    files: Mapping[str, Stamp]  # regular files and links; what else there is (pipes, sockets) has no content to keep
    repositories: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes when anything of it does."""
        text = repr((sorted(self.files.items()), self.repositories))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def newest_ns(self) -> int:
        """When the youngest file was changed last, as its file system tells."""
        return max((max(stamp[2], stamp[3]) for stamp in self.files.values()), default=0)


def contents(root: Path) -> Contents:
    """Everything below `root`. A `.git` file of `root` itself is what makes it a worktree, and is left out.

    Raises TemporaryError for a folder that can't be read: what is in it is not known.
    """
    files: dict[str, Stamp] = {}
    repositories: list[str] = []
    top = os.path.abspath(root)
    for entry in _walk(top):
        relative = entry.path[len(top) :].lstrip("/")
        if entry.name == ".git":
            if not (relative == ".git" and entry.is_file(follow_symlinks=False)):
                repositories.append(os.path.dirname(relative) or ".")
        elif not entry.is_dir(follow_symlinks=False):
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
                files[relative] = _stamp(found)
    return Contents(files=files, repositories=tuple(sorted(repositories)))


def take_away(root: Path) -> None:
    """Remove a folder with everything in it, its `.git` last, so that a removal that is cut off is known from a
    folder of somebody's. Links are removed, never followed. A folder that is gone is fine.
    """
    if not os.path.lexists(root):
        return
    try:
        _empty(root)
    except PermissionError:
        _make_writable(root)  # some caches (Go's) are made read-only on purpose
        _empty(root)
    os.rmdir(root)


def _empty(root: Path) -> None:
    for name in sorted(os.listdir(root), key=lambda name: name == ".git"):
        _remove(root / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _make_writable(root: Path) -> None:
    for folder, names, _ in os.walk(root):
        for name in [".", *names]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                os.chmod(path, stat.S_IMODE(mode) | stat.S_IRWXU)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                found = list(entries)
        except OSError as error:
            raise TemporaryError(
                f"cannot read {current}: {error.strerror}", delay=60.0, hint="its owner must make it readable"
            ) from error
        yield from found
        pending += [entry.path for entry in found if entry.name != ".git" and entry.is_dir(follow_symlinks=False)]


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
