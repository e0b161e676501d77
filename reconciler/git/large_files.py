"""What filters keep in a git dir: large files (Git LFS), keys (git-crypt). Every git dir of ours uses the repository's own."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

_STORE = "lfs"
_KEYS = "git-crypt"
# A remote that does not answer says other things.
_NOWHERE = (
    r"Smudge error: Error downloading (?P<path>[^\n]+?) \((?P<id>[0-9a-f]{64})\): [^\n]*"
    r'(remote missing object|missing protocol: ""|does not exist on the server|\[404\])'
)
_NAMED = r"(?m)^\s*\((?:missing|corrupt)\) (?P<path>.+) \((?P<id>[0-9a-f]{64})\)$"
_NAMED_MAX = 5
_NOT_GOT = r"Smudge error: |smudge filter lfs failed|batch response: "
ADVICE = (
    "add the files themselves with git-lfs installed, not what stands for them; 'git lfs fetch' gets what a remote has"
)


def share(git_dir: Path, common: Path) -> None:
    """Have a git dir of ours look for large files, and put them, where those of the repository are.

    A link: `lfs.storage` uploads nothing to a remote that is a path, and alternates are not written to. Where there is no
    store yet, git-lfs makes one in the git dir that it was started with; that becomes the repository's.
    """
    share_keys(git_dir, common)
    link, store = git_dir / _STORE, common / _STORE
    if link.is_symlink():
        return
    if link.is_dir():
        _adopt(link, store)
    if store.is_dir():
        with suppress(FileExistsError):  # another thread was faster
            link.symlink_to(store)


def share_keys(git_dir: Path, common: Path) -> None:
    """Have a git dir, ours or that of a worktree, find the keys with which files are opened: git-crypt looks nowhere else."""
    link, keys = git_dir / _KEYS, common / _KEYS
    if keys.is_dir() and not os.path.lexists(link):
        with suppress(FileExistsError):  # another thread was faster
            link.symlink_to(keys)


def used(common: Path) -> bool:
    """True where the repository holds large files."""
    return (common / _STORE / "objects").is_dir()


def lacking(printed: str) -> str | None:
    """What git-lfs says of a commit that names large files which are nowhere; None where it says something else.

    >>> lacking(f"Git LFS upload failed:\\n  (missing) n.bin ({'1' * 64})\\nhint: no")
    'it names large files that are nowhere: n.bin (111111111111)'
    >>> lacking(f"Smudge error: Error downloading n.bin ({'1' * 64}): batch response: connection refused")
    """
    found = _found(printed)
    names = list(dict.fromkeys(f"{each['path']} ({each['id'][:12]})" for each in found))
    if not names:
        return None
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"it names large files that are nowhere: {', '.join(names[:_NAMED_MAX])}{more}"


def advice(printed: str) -> str | None:
    """What to do where git-lfs did not get a large file, which is somewhere; None for what is not about that.

    >>> advice("Smudge error: Error downloading n.bin: batch response: connection refused")
    "a remote with its large files must answer: 'git lfs fetch' shows whether it does"
    """
    return (
        "a remote with its large files must answer: 'git lfs fetch' shows whether it does"
        if re.search(_NOT_GOT, printed)
        else None
    )


def places(printed: str, common: Path) -> tuple[Path, ...]:
    """Where the large files would be that git-lfs says are nowhere."""
    ids = list(dict.fromkeys(each["id"] for each in _found(printed)))[:_NAMED_MAX]
    return tuple(common / _STORE / "objects" / id[:2] / id[2:4] / id for id in ids)


def _found(printed: str) -> list[re.Match[str]]:
    return [*re.finditer(_NAMED, printed), *re.finditer(_NOWHERE, printed)]


def _adopt(made: Path, store: Path) -> None:
    """Bring what was stored apart into the repository's store; files there are named by what they hold."""
    with suppress(OSError):
        os.rename(made, store)  # refused where that is no empty folder
        return
    for file in made.glob("objects/*/*/*"):
        there = store / file.relative_to(made)
        there.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            os.replace(file, there)
    shutil.rmtree(made, ignore_errors=True)
