"""Git's register of worktrees, changed: an entry added, locked, unlocked, forgotten. Folders are somebody else's matter.

The caller of `add`, `forget` and `forget_unlisted` is the repository's writer (`Git.writing`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from reconciler.git import places, worktrees
from reconciler.git.commands import Git
from reconciler.git.places import FoundWorktree
from reconciler.git.worktrees import LOCK_REASON, MADE, Entry, WorktreeListing
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.workspaces import folders
from reconciler.workspaces.checkout import write


class Register:
    """The worktrees that one repository knows."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def listing(self) -> WorktreeListing:
        """Every worktree, as git lists them now."""
        return worktrees.read(self._git)

    def around(self, place: Path | None, branch: str | None = None) -> WorktreeListing:
        """Those that have to do with a place, or with a branch."""
        return worktrees.around(self._git, place, branch)

    def entry(self, place: Path) -> Entry:
        """The entry for `place`, where one was just made. Raises ChangedError when it is gone."""
        if entry := worktrees.at(self._git, place):
            return entry
        raise ChangedError(f"{place} vanished from git's list while it was being made")

    def add(self, place: Path, subject: str, start: str, lock: int) -> None:
        """Enter a worktree at `place`, locked, with no file in it but its `.git`, on the branch or commit `start`."""
        place.parent.mkdir(parents=True, exist_ok=True)
        how = ("--lock", "--reason", f"{LOCK_REASON}{subject}", "--no-checkout")
        self._git.refs("worktree", "add", *how, "--", str(place), start, lock=lock)

    def lock(self, subject: str, found: FoundWorktree) -> None:
        """Lock a worktree, so that neither people nor git take it away; one that is locked stays as it is."""
        with self._git.writing():
            for entry in found.entries:
                if entry.locked is None and entry.admin:
                    _lock(entry.admin, f"{LOCK_REASON}{subject}")

    def fix(self, found: FoundWorktree) -> None:
        """Have the links of a worktree of ours lead to each other again, after it or its repository was moved."""
        (entry,) = found.entries
        assert entry.admin  # only what has one was found to be moved
        write(entry.admin / "gitdir", f"{found.place}/.git\n")
        # Not replaced by a file of another name: killed in between, that would be a file of the agent's.
        (found.place / ".git").write_bytes(os.fsencode(f"gitdir: {entry.admin}\n"))
        write(entry.admin / MADE, places.identity(entry.admin, found.place))

    def forget(self, entries: Iterable[Entry]) -> None:
        """Take worktrees whose folder is gone off the list, each at one stroke."""
        entries = tuple(entries)
        refuse_locked(entries)
        for entry in entries:
            if entry.admin and entry.admin.is_dir():
                self._drop(entry.admin)

    def forget_unlisted(self, listing: WorktreeListing, place: Path, subject: str) -> None:
        """Take away what an `add` of ours at `place` left that was cut off before git could list it."""
        for admin in listing.unlisted:
            if _noted(admin) == f"{LOCK_REASON}{subject}" or _never_begun(admin, place.name):
                self._drop(admin)

    def _drop(self, admin: Path) -> None:
        # Renamed first: an entry that is half deleted is one that nobody recognises.
        removed = self._git.repository.state / "removed"
        removed.mkdir(mode=0o700, exist_ok=True)
        os.rename(admin, removed / f"{admin.name}.{time.time_ns()}")
        for left_over in removed.iterdir():
            folders.take_away(left_over)


def _lock(admin: Path, reason: str) -> None:
    """What `git worktree lock` does, at one stroke: a lock without its reason would be taken for somebody's."""
    written = admin / f".locked.{os.getpid()}"
    written.write_text(reason, "utf-8")
    try:
        os.link(written, admin / "locked")
    except FileExistsError as error:
        raise ChangedError(f"{admin.name} was locked by somebody while it was looked at") from error
    finally:
        written.unlink()


def _noted(admin: Path) -> str:
    locked = admin / "locked"
    return locked.read_text("utf-8", "replace").strip() if locked.is_file() else ""


def _never_begun(admin: Path, name: str) -> bool:
    """True when git was killed before it wrote a byte for a worktree called `name`: git itself keeps what is locked."""
    left = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in os.scandir(admin)}
    return re.fullmatch(re.escape(name) + "[0-9]*", admin.name) is not None and left in ({}, {"locked": 0})


def refuse_locked(entries: Iterable[Entry]) -> None:
    """Raise PermanentError for a worktree that somebody else locked: it may stand on a disk that is not there now."""
    for entry in entries:
        if entry.locked_by_others:
            raise PermanentError(
                f"{entry.path} was locked by somebody: {entry.locked or 'no reason given'}",
                hint=f"git worktree unlock {entry.path}",
            ).due_to(*(entry.admin / name for name in ("locked",) if entry.admin))
