"""Marks by which a change of refs, of the list of worktrees or of a setting is noticed without running git.

Git replaces such a file as a whole, by a rename: inode, times or size change with every change. A mark is None, and says
nothing, where that is not sure: a file changed a moment ago (file systems' clocks tick slowly), a link, a ref that names
another ref.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from reconciler.system.files import Stamp, stamp_of

Mark = tuple[tuple[str, int, int, int, int], ...]

_SETTLES_NS = 1_000_000_000
_PLAIN_REFS = (41, 65)  # a hash and a line end: what is of another size names another ref, or is broken
_OF_A_WORKTREE = ("HEAD", "gitdir", "locked")
# What every ref may be packed into.
_PACKED = ("packed-refs", "reftable/tables.list")


class _Unsure(Exception):
    pass


def of_refs(common: Path, *names: str) -> Mark | None:
    """A mark of the refs that are called so or stand below; None where a change could go unnoticed."""
    return _mark(common, (*_PACKED, *names))


def of_files(*paths: Path) -> Mark | None:
    """A mark of some files, whether they are there or not."""
    marks = [_mark(path.parent, (path.name,)) for path in paths]
    return None if None in marks else tuple(one for mark in marks if mark for one in mark)


def of_status(found: os.stat_result) -> Stamp | None:
    """A mark of one file that was looked at; None where it changed a moment ago."""
    if max(found.st_mtime_ns, found.st_ctime_ns) > time.time_ns() - _SETTLES_NS:
        return None
    return stamp_of(found)


def of_worktrees(common: Path) -> Mark | None:
    """A mark of what `git worktree list` shows."""
    names = _names(common / "worktrees")
    mark = _mark(
        common,
        (*_PACKED, "refs/heads", "HEAD", *(f"worktrees/{name}/{file}" for name in names for file in _OF_A_WORKTREE)),
    )
    # An empty folder is one that was cut off: it holds no file that could tell.
    return None if mark is None else (*mark, *((name, 0, 0, 0, 0) for name in names))


def of_worktree(admin: str) -> Mark | None:
    """A mark of what an admin folder says, without what its branch names."""
    return _mark(admin, _OF_A_WORKTREE)


def _mark(common: Path | str, names: tuple[str, ...]) -> Mark | None:
    settled = time.time_ns() - _SETTLES_NS
    try:
        root = str(common)
        return tuple(one for name in names for one in _walk(f"{root}/{name}", name.startswith("refs/"), settled))
    except (_Unsure, OSError):
        return None


def _walk(path: str, ref: bool, settled: int) -> Iterator[tuple[str, int, int, int, int]]:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield _of(path, found, ref, settled)
    if stat.S_ISDIR(found.st_mode):
        yield from _below(path, ref, settled)


def _below(folder: str, ref: bool, settled: int) -> Iterator[tuple[str, int, int, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            yield _of(entry.path, found, ref, settled)
            if stat.S_ISDIR(found.st_mode):
                yield from _below(entry.path, ref, settled)


def _of(path: str, found: os.stat_result, ref: bool, settled: int) -> tuple[str, int, int, int, int]:
    plain = stat.S_ISREG(found.st_mode)
    odd = not (plain or stat.S_ISDIR(found.st_mode)) or (ref and plain and found.st_size not in _PLAIN_REFS)
    if odd or max(found.st_mtime_ns, found.st_ctime_ns) > settled:
        raise _Unsure
    return path, *stamp_of(found)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
