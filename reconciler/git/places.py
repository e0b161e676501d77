"""What stands at the place of a worktree: ours and whole, half made, moved, somebody else's. Never by running git inside it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from reconciler.git.links import content, gitfile, same_folder
from reconciler.git.refs import HEADS
from reconciler.git.worktrees import MADE, NESTED, READY, Entry, WorktreeListing, place_of
from reconciler.model.errors import PermanentError
from reconciler.model.names import Sha
from reconciler.model.observed import Worktree, WorktreeFault

_BUSY = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisection",
}


class FoundWorktree(Struct, frozen=True, kw_only=True):
    """What stands at a place. `present` is False where there is nothing; entries may be left over all the same."""

    place: Path
    present: bool = False
    entries: tuple[Entry, ...] = ()
    fault: WorktreeFault | None = None
    detail: str = ""
    moved: bool = False  # it is ours, and its links lead to where it or its repository stood before

    @property
    def admins(self) -> tuple[Path, ...]:
        """Its folders in the common git dir."""
        return tuple(entry.admin for entry in self.entries if entry.admin and entry.admin.is_dir())

    @property
    def heads(self) -> tuple[Sha, ...]:
        """Every commit that a worktree here stands on."""
        return tuple(entry.head for entry in self.entries if entry.head)

    @property
    def usable(self) -> bool:
        return self.present and self.fault is None

    @property
    def made(self) -> bool:
        """True when it was whole once, so that an agent may have worked in it."""
        return any(entry.has(MADE) for entry in self.entries)

    def nested(self) -> str | None:
        """A repository inside it: the one that was found last time and still stands, or a submodule's."""
        for admin in (entry.admin for entry in self.entries if entry.admin):
            name = content(f"{admin}/{NESTED}")
            if name and os.path.lexists(self.place / name / ".git"):
                return name
            # The repositories of its submodules would go with the admin folder.
            modules = f"{admin}/modules"
            if os.path.isdir(modules) and (within := sorted(os.listdir(modules))):
                return within[0]
        return None

    def observed(self, went_on: bool) -> Worktree:
        """As the planner sees it. `went_on`: it holds all of its branch and more, and is off it."""
        ours = self.fault is not WorktreeFault.TAKEN
        branch = next((entry.branch for entry in self.entries), None)
        amid, since = (begun(self.entries) if ours and self.detail else None) or ("", None)
        return Worktree(
            path=str(self.place),
            head=next(iter(self.heads), None) if ours else None,
            fault=self.fault,
            detail=self.detail,
            nested=self.nested() if ours else None,
            set_up=any(entry.has(READY) for entry in self.entries),
            branch=branch.removeprefix(HEADS) if branch and ours else None,
            went_on=went_on,
            amid=amid,
            amid_at=since,
        )


def look(listing: WorktreeListing, place: Path, branch: str) -> FoundWorktree:
    """What stands at `place`, where a worktree on `branch` should be."""
    entries = listing.at(place)
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return FoundWorktree(place=place, entries=entries)
    except NotADirectoryError as error:
        raise PermanentError(f"{place.parent} is not a folder", hint="set another worktrees.root") from error
    if not stat.S_ISDIR(mode):
        return FoundWorktree(place=place, present=True, fault=WorktreeFault.TAKEN, detail="it is not a folder")
    leads_to = gitfile(place)
    if _is_whole(entries, branch, leads_to):
        return FoundWorktree(place=place, present=True, entries=entries)
    if owner := _another_owner(listing.common, place, leads_to):
        message = f"it is a worktree of another repository, {owner}"
        return FoundWorktree(place=place, present=True, fault=WorktreeFault.TAKEN, detail=message)
    if moved := _moved_here(listing, place, entries, leads_to):
        message = "it or its repository was moved"
        return FoundWorktree(
            place=place, present=True, entries=(moved,), fault=WorktreeFault.HALF_MADE, detail=message, moved=True
        )
    entries = entries or _under_another_name(listing, place, leads_to)
    fault, detail = _judge(listing.common, place, entries, branch, leads_to)
    return FoundWorktree(place=place, present=True, entries=entries, fault=fault, detail=detail)


def _is_whole(entries: tuple[Entry, ...], branch: str, leads_to: str | None) -> bool:
    """True for what nearly all are, seen by one look: what is judged in steps otherwise would be right in each."""
    if len(entries) != 1 or leads_to is None or leads_to != str(entries[0].admin):
        return False
    (entry,) = entries
    try:
        names = set(os.listdir(leads_to))
    except OSError:
        return False
    right = entry.branch == HEADS + branch and entry.head is not None
    return right and MADE in names and "index" in names and names.isdisjoint(_BUSY)


def foreign(common: Path, place: Path) -> str | None:
    """The git dir of another repository whose worktree stands at `place`; None where it is ours, or nobody's."""
    return _another_owner(common, place, gitfile(place))


def identity(admin: Path, place: Path) -> str:
    """What a worktree is known by when its `.git` is damaged: the two folders that were made for it.

    Both: a copy of a repository holds the same notes about worktrees that are not its own.
    """
    return json.dumps({"admin": _inode(admin), "place": _inode(place)})


def _inode(folder: Path) -> list[int]:
    found = os.stat(folder)
    return [found.st_dev, found.st_ino]


def _another_owner(common: Path, place: Path, leads_to: str | None) -> str | None:
    """The other repository whose admin folder and this folder lead to each other: one that is named alone owns nothing."""
    if leads_to is None or leads_to.startswith(f"{common}/worktrees/"):
        return None
    owner, name = os.path.split(os.path.dirname(leads_to))
    if name != "worktrees" or not os.path.isdir(leads_to) or same_folder(owner, common):
        return None
    back = place_of(Path(leads_to))
    return owner if back and same_folder(back, place) else None


def _moved_here(
    listing: WorktreeListing, place: Path, entries: tuple[Entry, ...], leads_to: str | None
) -> Entry | None:
    """The entry of a worktree whose links were left behind: its repository, its folder, or both stood elsewhere before.

    Nothing may stand where they lead: what stands there may be the original, and this a copy.
    """
    if leads_to is None:
        return None
    own = listing.common / "worktrees" / os.path.basename(leads_to)
    entry = next((each for each in listing.entries if each.admin == own), None)
    if entry is None or not entry.has(MADE):
        return None
    repository_left = not os.path.lexists(leads_to) and not os.path.lexists(os.path.dirname(os.path.dirname(leads_to)))
    if entries:
        return entry if entries == (entry,) and repository_left else None
    if os.path.lexists(entry.path) or not (repository_left or same_folder(leads_to, own)):
        return None
    return entry if _made_for(entry, place) else None


def _made_for(entry: Entry, place: Path) -> bool:
    """True where this very folder was made for this very entry."""
    try:
        return entry.admin is not None and content(f"{entry.admin}/{MADE}") == identity(entry.admin, place)
    except OSError:
        return False


def _under_another_name(listing: WorktreeListing, place: Path, leads_to: str | None) -> tuple[Entry, ...]:
    """The entry of a folder that git knows by another path: bind mounts show one folder in two places."""
    if leads_to is None or not same_folder(os.path.dirname(leads_to), listing.common / "worktrees"):
        return ()
    name = os.path.basename(leads_to)
    return tuple(
        entry
        for entry in listing.entries
        if entry.admin and entry.admin.name == name and same_folder(entry.path, place)
    )


def _judge(
    common: Path, place: Path, entries: tuple[Entry, ...], branch: str, leads_to: str | None
) -> tuple[WorktreeFault | None, str]:
    match entries:
        case ():
            return _judge_unlisted(common, place, leads_to)
        case (entry,) if not entry.has(MADE):
            if entry.locked_by_us:
                return WorktreeFault.HALF_MADE, "making or removing it was cut off"
            return WorktreeFault.TAKEN, "it is a worktree that somebody else made"
        case (entry,):
            return _judge_made(entry, place, branch, leads_to)
        case _:
            return WorktreeFault.HALF_MADE, "git lists it twice"


def _judge_made(entry: Entry, place: Path, branch: str, leads_to: str | None) -> tuple[WorktreeFault | None, str]:
    if not (leads_to and entry.admin and (leads_to == f"{entry.admin}" or same_folder(leads_to, entry.admin))):
        if _made_for(entry, place):
            return WorktreeFault.HALF_MADE, "its .git is damaged"
        return WorktreeFault.TAKEN, "its .git is damaged, and nothing says that this repository made it"
    if not entry.has("index"):
        return WorktreeFault.HALF_MADE, "its index is missing"
    if entry.branch != HEADS + branch:
        where = f"on {entry.branch.removeprefix(HEADS)}" if entry.branch else "on no branch"
        return WorktreeFault.WRONG_BRANCH, f"it is {where} instead of {branch}{_busy(entry, ', amid {}')}"
    if entry.head is None:
        return WorktreeFault.WRONG_BRANCH, f"its branch {branch} does not exist"
    if busy := _busy(entry, "{} was begun in it"):
        return WorktreeFault.WRONG_BRANCH, busy
    return None, ""


def _judge_unlisted(common: Path, place: Path, leads_to: str | None) -> tuple[WorktreeFault, str]:
    # Holds nothing: no reason to keep a task waiting for a person.
    if not os.listdir(place):
        return WorktreeFault.HALF_MADE, "it is empty"
    admin = Path(os.path.realpath(leads_to)) if leads_to else None
    if admin and same_folder(admin.parent, common / "worktrees") and not admin.exists():
        return WorktreeFault.HALF_MADE, "git has forgotten it"
    return WorktreeFault.TAKEN, "it is not a worktree of ours"


def busy(entry: Entry) -> bool:
    """True amid a rebase, a merge or the like."""
    return bool(_busy(entry, "{}"))


def begun(entries: Iterable[Entry]) -> tuple[str, datetime] | None:
    """What was begun in a worktree and has not ended, and when; None where nothing is."""
    for admin in (entry.admin for entry in entries if entry.admin):
        for name, what in _BUSY.items():
            # The folder of a rebase changes with every step; what it was begun on is written once.
            for path in (admin / name / "head-name", admin / name):
                with suppress(OSError):
                    return what, datetime.fromtimestamp(path.lstat().st_mtime, UTC)
    return None


def _busy(entry: Entry, phrase: str) -> str:
    there = set(os.listdir(entry.admin)) if entry.admin else set()
    return next((phrase.format(what) for name, what in _BUSY.items() if name in there), "")
