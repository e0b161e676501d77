"""Lock files of git in the common git dir: which were left by a git of ours that was killed, and which are somebody's.

Git never removes what a killed git left, and refuses to work beside it. What ours is about to lock is written into the
writer's lock before it runs: the one who holds that next, and finds something there, knows that nobody is running any more.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

NOTE_MAX = 64 * 1024
SETTLES_S = 2.0  # a git of somebody's holds such a lock for less
CLOCK_S = 5.0  # by which the file system's clock may differ from ours
# What any change of a ref may lock beside the ref: the branch that HEAD is on, refs that are packed.
_BESIDE = ("HEAD", "packed-refs")
_OF_THE_WHOLE = (*_BESIDE, "index", "config", "shallow")
STALE_AFTER_S = 60.0
_REF = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]+")


def note(fd: int, args: Sequence[str], stdin: bytes | None) -> None:
    """Write down which refs a git is about to lock."""
    words = " ".join(args) + " " + (stdin or b"").decode("utf-8", "surrogateescape").replace("\0", " ")
    refs = sorted({name for word in words.split(" ") if (name := word.rstrip("/")) and _REF.fullmatch(name)})
    text = json.dumps({"at": time.time(), "refs": refs}).encode("ascii")
    os.ftruncate(fd, 0)
    os.pwrite(fd, text, 0)


def forget(fd: int) -> None:
    """The git has ended, well or not: it has taken its locks away."""
    os.ftruncate(fd, 0)


def clear(fd: int, common: Path) -> None:
    """Remove what a git of ours that was killed left, by the note in the writer's lock, which is held."""
    try:
        data = json.loads(os.pread(fd, NOTE_MAX, 0))
        began, refs = float(data["at"]), [str(ref) for ref in data["refs"]]
    except (ValueError, KeyError, TypeError):
        return
    for lock in (common / f"{name}.lock" for name in (*refs, *_BESIDE) if name in _BESIDE or _REF.fullmatch(name)):
        if ".." not in lock.parts and _left(lock, began):
            lock.unlink(missing_ok=True)
    forget(fd)


def stale(common: Path, branches: Iterable[str] = (), *, everywhere: bool = False) -> Iterator[tuple[Path, float]]:
    """Lock files that are older than a git running holds them, with their ages: of HEAD, index, config and these branches.

    `everywhere`: of every ref, which takes as long as there are refs.
    """
    named = [*(common / f"{name}.lock" for name in _OF_THE_WHOLE)]
    named += (
        sorted((common / "refs").rglob("*.lock")) if everywhere else (common / f"refs/heads/{b}.lock" for b in branches)
    )
    for lock in named:
        try:
            age_s = time.time() - lock.lstat().st_mtime
        except OSError:
            continue
        if age_s > STALE_AFTER_S:
            yield lock, age_s


def _left(lock: Path, began: float) -> bool:
    """True for a lock that was made since then, and that stays where it is."""
    try:
        before = lock.lstat()
    except OSError:
        return False
    if before.st_mtime < began - CLOCK_S:
        return False  # it was there before: ours could not have made it
    time.sleep(max(0.0, min(SETTLES_S - (time.time() - before.st_mtime), SETTLES_S)))
    try:
        now = lock.lstat()
    except OSError:
        return False
    return (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
