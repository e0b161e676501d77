"""Folders that an agent wrote into: walked, compared and taken away without ever following a link out of them."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.system.late import late

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
            if _has_content(found):
                files[relative] = _stamp(found)
    return Contents(files=files, repositories=tuple(sorted(repositories)))


def refuse_mounted(root: Path) -> None:
    """Raise PermanentError where something is mounted below `root`: what is in it stands elsewhere too."""
    if not os.path.lexists(root):
        return
    inside = f"{os.path.realpath(root)}/"
    try:
        mounted = [part.mountpoint for part in late("psutil").disk_partitions(all=True)]
    except FileNotFoundError:  # without /proc nobody can say, and no worktree could ever go
        return
    if found := next((point for point in mounted if point.startswith(inside)), None):
        hint = f"umount {shlex.quote(found)}"
        raise PermanentError(f"{root} can't be removed: something is mounted on {found}", hint=hint).due_to(Path(found))


def take_away(root: Path, seen: Mapping[str, Stamp | None] | None = None) -> None:
    """Remove a folder with everything in it, its `.git` last, so that a removal that is cut off is known from a
    folder of somebody's. Links are removed, never followed. A folder that is gone is fine.

    `seen`: the files and links that may go, by relative path, and how each must still be right before it goes (None:
    however it is). Raises ChangedError where one stayed or came meanwhile; the `.git` is left with it.
    """
    if not os.path.lexists(root):
        return
    removal = _Removal(root, seen)
    try:
        removal.run()
    except PermissionError:
        _make_writable(root)  # some caches (Go's) are made read-only on purpose
        removal.run()
    except RecursionError as error:
        what = f"{root} can't be removed: folders in it are nested too deeply"
        raise PermanentError(what, hint=f"remove it: rm -rf {shlex.quote(str(root))}").due_to(root) from error
    if removal.left:
        raise ChangedError(f"{root / removal.left[0]} changed while {root} was being removed")


class _Removal:
    """A folder on its way out. Each step starts from an open folder, so that no link put in its way leads elsewhere."""

    def __init__(self, root: Path, seen: Mapping[str, Stamp | None] | None) -> None:
        self.left: list[str] = []
        self._root = root
        self._seen = seen
        self._at = ""
        self._linked: set[int] = set()  # inodes that lost a name here, which changes a time of the others'

    def run(self) -> None:
        """Remove what may go. An OSError names the path that could not be removed."""
        self.left.clear()
        try:
            self._folder(None, str(self._root), "")
        except OSError as error:
            error.filename = str(self._root / self._at)
            raise

    def _folder(self, above: int | None, name: str, path: str) -> None:
        self._at = path
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name == ".git")
            for entry in found:
                inner = os.path.join(path, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    self._folder(folder, entry.name, inner)
                elif inner != ".git" or os.listdir(folder) == [".git"]:
                    self._file(folder, entry.name, inner)
        finally:
            os.close(folder)
        self._at = path
        try:
            os.rmdir(name, dir_fd=above)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            self.left.append(path)

    def _file(self, folder: int, name: str, path: str) -> None:
        self._at = path
        with suppress(FileNotFoundError):
            if self._seen is not None and path != ".git":
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if _has_content(found) and not self._is_as_seen(path, found):
                    self.left.append(path)
                    return
                if found.st_nlink > 1:
                    self._linked.add(found.st_ino)
            os.unlink(name, dir_fd=folder)

    def _is_as_seen(self, path: str, found: os.stat_result) -> bool:
        assert self._seen is not None
        if path not in self._seen:
            return False
        before, now = self._seen[path], _stamp(found)
        if before is None or before == now:
            return True
        return found.st_ino in self._linked and before[:3] + before[4:] == now[:3] + now[4:]


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


def _has_content(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
