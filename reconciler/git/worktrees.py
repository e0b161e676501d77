"""Which worktrees git knows, and what stands at the place of one: from git's list and its own folders, never by running
git inside a worktree, whose `.git` file an agent can replace.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from reconciler.git import fingerprints, refs
from reconciler.git.commands import Git
from reconciler.git.links import content, gitfile, normal, same_folder
from reconciler.model.errors import PermanentError
from reconciler.model.names import Sha
from reconciler.model.observed import WorktreeFault

MADE = "reconcile-made"  # written last: the worktree is whole; says which folders were made for it
READY = "reconcile-ready"  # touched by a run once its set-up has succeeded
NESTED = "reconcile-nested"  # the repository that was found inside it, last time somebody looked
LOCK_REASON = "reconcile "
BRANCHES = "refs/heads/"
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_Refs = Mapping[str, tuple[Sha, bool]]

_INITIALIZING = "initializing"  # git's own reason while it makes a worktree
_BUSY = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisection",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A worktree in git's list. `admin` is its folder in the common git dir; None for the main checkout."""

    path: Path
    admin: Path | None = None
    head: Sha | None = None
    branch: str | None = None  # the full name of a ref; None when detached
    locked: str | None = None  # the reason, which may be empty; None when it is not locked

    @property
    def locked_by_us(self) -> bool:
        return self.locked is not None and (self.locked.startswith(LOCK_REASON) or self.locked == _INITIALIZING)

    @property
    def locked_by_others(self) -> bool:
        return self.locked is not None and not self.locked_by_us

    def has(self, name: str) -> bool:
        """True when its admin folder holds `name`."""
        return self.admin is not None and os.path.lexists(f"{self.admin}/{name}")


@dataclass(frozen=True, slots=True)
class WorktreeListing:
    """Every worktree of a repository. `unlisted`: admin folders that git can't list, because making them was cut off."""

    common: Path
    entries: tuple[Entry, ...]
    unlisted: tuple[Path, ...] = ()
    places: Mapping[Path, tuple[Entry, ...]] = field(default_factory=dict)
    plain: bool = True  # False: a worktree names what no mark of ours notices

    def at(self, place: Path) -> tuple[Entry, ...]:
        """Every entry that claims this place: one, unless something went wrong."""
        return self.places.get(place, ())

    def holding(self, branch: str) -> tuple[Entry, ...]:
        """Every worktree that has this branch checked out."""
        return tuple(entry for entry in self.entries if entry.branch == BRANCHES + branch)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWorktree:
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


def read(git: Git) -> WorktreeListing:
    """Every worktree, as git lists them; listed again only when that has changed."""
    mark = fingerprints.of_worktrees(git.repository.common)
    return git.remembered("worktrees", mark, lambda: _read(git), keep=lambda listing: listing.plain)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the files of an admin folder say. `head`: the content of HEAD; None where that is a link."""

    admin: Path
    place: Path | None
    head: str | None
    locked: str | None


def around(git: Git, place: Path | None, branch: str | None) -> WorktreeListing:
    """The worktrees that have to do with a place, or with a branch: for who acts on one of many.

    The cost is one look at each admin folder. What changed inside one without changing the folder itself, as git never
    does it, is noticed once `read` has.
    """
    common = git.repository.common
    name, head = place and os.path.basename(gitfile(place) or ""), branch and f"ref: {BRANCHES}{branch}"
    found = []
    for admin, mark in _marked(f"{common}/worktrees"):
        one = git.remembered(("around", admin), mark, partial(_told, admin))
        if one.head is None or one.place in (None, place) or one.admin.name == name or one.head == head:
            found.append(_told(admin) if mark else one)
    listing = None if (common / "reftable").exists() else _listing(git, found)
    return listing if listing and listing.plain else read(git)


def at(git: Git, place: Path) -> Entry | None:
    """The worktree that stands at a place, by the files of the two that lead to each other; None where they don't."""
    common, leads_to = git.repository.common, gitfile(place)
    if leads_to is None or os.path.dirname(leads_to) != f"{common}/worktrees" or (common / "reftable").exists():
        return next(iter(read(git).at(place)), None)
    listing = _listing(git, [_told(leads_to)])
    return next(iter((listing if listing.plain else read(git)).at(place)), None)


def _read(git: Git) -> WorktreeListing:
    told = []
    for admin in _admins(f"{git.repository.common}/worktrees"):
        # Read again where one of them has changed: what its branch names is no part of it.
        told.append(
            git.remembered(("worktree", admin), fingerprints.of_worktree(admin), partial(_seen_anew, git, admin))
        )
    return _listing(git, told)


def _listing(git: Git, told: Iterable[_Told]) -> WorktreeListing:
    common = git.repository.common
    fields: dict[Path, list[_Told]] = {}
    unlisted = []
    for one in told:
        if one.place is None:
            unlisted.append(one.admin)
        else:
            fields.setdefault(one.place, []).append(one)
    by_files = None if (common / "reftable").exists() else _by_files(git, fields)
    entries = by_files or tuple(_by_git(git, {place: [one.admin for one in found] for place, found in fields.items()}))
    places: dict[Path, tuple[Entry, ...]] = {}
    for entry in entries:
        if entry.admin:
            places[entry.path] = (*places.get(entry.path, ()), entry)
    return WorktreeListing(common, entries, tuple(unlisted), places, plain=by_files is not None)


def _seen_anew(git: Git, admin: str) -> _Told:
    git.forget(("around", admin))
    return _told(admin)


def _told(admin: str) -> _Told:
    folder = Path(admin)
    return _Told(folder, _place_of(folder), _head(admin), _said(f"{admin}/locked"))


def _head(folder: str) -> str | None:
    path = f"{folder}/HEAD"
    return None if os.path.islink(path) else _said(path) or ""


def _by_files(git: Git, fields: Mapping[Path, list[_Told]]) -> tuple[Entry, ...] | None:
    """Every worktree as git's own files tell; None where only git can tell what one of them has checked out."""
    # Not `git worktree list`: it gives up on all of them while somebody adds one, and is asked for more than anything.
    repository = git.repository
    packed = cache(lambda: refs.readable(git, BRANCHES)[0])  # only where a branch has no file of its own
    found: list[Entry | None] = [
        Entry(path=repository.main)
        if repository.bare
        else _by_head(git, repository.main, None, _head(f"{repository.common}"), packed)
    ]
    for path, claimed in fields.items():
        found += [_by_head(git, path, one, one.head, packed) for one in claimed]
    return None if None in found else tuple(entry for entry in found if entry)


def _by_head(git: Git, path: Path, value: _Told | None, text: str | None, packed: Callable[[], _Refs]) -> Entry | None:
    admin, locked = (value.admin, value.locked) if value else (None, None)
    if text is None:
        return None
    if text.startswith(f"ref: {BRANCHES}"):
        branch = text.removeprefix("ref: ")
        own = refs.in_its_own_file(git, branch)
        commit, names_another = (own, False) if own else packed().get(branch, (None, False))
        return None if names_another else Entry(path=path, admin=admin, head=commit, branch=branch, locked=locked)
    if text and not _SHA.fullmatch(text):
        return None  # a ref of this worktree alone, or what only git can read
    return Entry(path=path, admin=admin, head=Sha(text) if text.strip("0") else None, locked=locked)


def _by_git(git: Git, admins: dict[Path, list[Path]]) -> Iterator[Entry]:
    for number, record in enumerate(_records(git.refs("worktree", "list", "--porcelain", "-z").out)):
        entry = _entry(record, admins)
        # Of a checkout whose git dir stands elsewhere git knows no place, and names the git dir first.
        yield entry if number or git.repository.bare else replace(entry, path=git.repository.main)


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
    """True for what nearly all are, told by one look: what is judged in steps otherwise would be right in each."""
    if len(entries) != 1 or leads_to is None or leads_to != str(entries[0].admin):
        return False
    (entry,) = entries
    try:
        names = set(os.listdir(leads_to))
    except OSError:
        return False
    right = entry.branch == BRANCHES + branch and entry.head is not None
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
    back = _place_of(Path(leads_to))
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
    if entry.branch != BRANCHES + branch:
        where = f"on {entry.branch.removeprefix(BRANCHES)}" if entry.branch else "on no branch"
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


def _admins(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            # A link would let an agent have us take away a folder elsewhere.
            yield from sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return


def _marked(folder: str) -> Iterator[tuple[str, fingerprints.Mark | None]]:
    """Every admin folder, with a mark of the folder itself; None where it changed a moment ago."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    status = fingerprints.of_status(entry.stat(follow_symlinks=False))
                    yield entry.path, None if status is None else ((entry.path, *status),)
    except FileNotFoundError:
        return


def _said(path: str) -> str | None:
    value = content(path)
    return None if value is None else value.strip()


def _place_of(admin: Path) -> Path | None:
    text = _said(f"{admin}/gitdir")
    return Path(normal(admin, text.removesuffix("/.git"))) if text else None


def _records(listed: bytes) -> Iterator[dict[str, str]]:
    for record in os.fsdecode(listed).split("\0\0"):
        lines = [line.partition(" ") for line in record.split("\0") if line]
        if lines:
            yield {key: value for key, _, value in lines}


def _entry(record: dict[str, str], admins: dict[Path, list[Path]]) -> Entry:
    path = Path(record["worktree"])
    claimed = admins.get(path, [])
    head = record.get("HEAD", "")
    return Entry(
        path=path,
        admin=claimed.pop() if claimed else None,
        head=Sha(head) if head.strip("0") else None,
        branch=record.get("branch"),
        locked=record.get("locked"),
    )
