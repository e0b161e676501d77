"""Untracked files that a worktree got a copy of (`worktrees.copy`): placed, recognised again, kept when they changed.

They may hold secrets. So what an agent made of them is kept as a private file beside the repository's own, never in git.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.system import files

Digests = Mapping[str, str]  # by relative path

_BLOCK = 1 << 20


def wanted(main: Path, patterns: Sequence[str]) -> Digests:
    """What is to be copied: each file that the manifest names, or that a folder named there holds.

    Raises PermanentError for a path that leaves the checkout or is not there.
    """
    found: dict[str, str] = {}
    for name in patterns:
        _check(main, name)
        for path in _files(main / name):
            found[os.path.relpath(path, main)] = digest(path)
    return found


def place(main: Path, place: Path, digests: Digests) -> None:
    """Copy the files into a worktree. What stands there already (a tracked file) is left as it is."""
    for name in digests:
        target = place / name
        _check_inside(place, name)
        if os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(main / name, target)


def changed(place: Path, digests: Digests) -> Digests:
    """The copies in a worktree that are no longer what was copied, with what they are now. Removed ones are not."""
    now = {name: digest(place / name) for name in digests if _is_file(place / name) and _inside(place, name)}
    return {name: seen for name, seen in now.items() if seen != digests[name]}


def keep(place: Path, changes: Digests, folder: Path) -> None:
    """Save changed copies as private files `<folder>/<digest>/<path>`: the same content once, and read back."""
    for name, seen in changes.items():
        target = folder / seen[:16] / name
        if os.path.lexists(target) and digest(target) == seen:
            continue
        _private_folders(folder, target.parent)
        partial = target.with_name(f".{seen[:16]}.partial")
        partial.unlink(missing_ok=True)
        _copy(place / name, partial, mode=0o600)
        if digest(partial) != seen:
            raise TemporaryError(f"{place / name} changed while it was being saved")
        os.replace(partial, target)
        files.sync(target.parent)


def plain(name: str) -> bool:
    """True for a relative path that stays in its folder and is no part of a git dir."""
    parts = Path(name).parts
    return bool(parts) and not os.path.isabs(name) and not {"..", ".git"} & set(parts) and "\0" not in name


def digest(path: Path) -> str:
    """What a file holds, or where a link points, as one word."""
    if path.is_symlink():
        return hashlib.sha256(b"link " + os.fsencode(os.readlink(path))).hexdigest()
    sha = hashlib.sha256()
    with files.regular(path) as stream:
        while block := stream.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def _check(main: Path, name: str) -> None:
    if not plain(name):
        raise PermanentError(f"worktrees.copy: {name!r} is not a path inside the checkout")
    _check_inside(main, name)
    if not os.path.lexists(main / name):
        raise PermanentError(
            f"worktrees.copy: there is no {name!r} in {main}", hint="make it, or take it out of worktrees.copy"
        )


def _check_inside(root: Path, name: str) -> None:
    if not _inside(root, name):
        raise PermanentError(f"worktrees.copy: {name!r} leads out of {root} through a link")


def _inside(root: Path, name: str) -> bool:
    return Path(os.path.realpath((root / name).parent)).is_relative_to(os.path.realpath(root))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        # A repository in it would make the worktree one that we never remove.
        for name in sorted(set(os.listdir(path)) - {".git"}):
            yield from _files(path / name)
    elif _is_file(path):
        yield path


def _is_file(path: Path) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _copy(source: Path, target: Path, mode: int | None = None) -> None:
    if source.is_symlink():
        os.symlink(os.readlink(source), target)
        return
    with files.regular(source) as old:
        wanted_mode = stat.S_IMODE(os.fstat(old.fileno()).st_mode) if mode is None else mode
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(writing, "wb") as new:
            while block := old.read(_BLOCK):
                new.write(block)
            os.fchmod(writing, wanted_mode)
            new.flush()
            os.fsync(writing)


def _private_folders(top: Path, folder: Path) -> None:
    for path in reversed([folder, *folder.parents]):
        if path.is_relative_to(top.parent):
            path.mkdir(mode=0o700, exist_ok=True)
