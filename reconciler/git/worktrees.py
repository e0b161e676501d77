"""Which worktrees git knows, and what stands at the place of one: from git's list and its own folders, never by running
git inside a worktree, whose `.git` file an agent can replace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

from msgspec import Struct, field

from reconciler.git import fingerprints, refs
from reconciler.git.commands import Git
from reconciler.git.links import content, gitfile, normal
from reconciler.git.refs import HEADS
from reconciler.model.names import Sha, is_sha
from reconciler.model.values import replace

MADE = "reconcile-made"  # written last: the worktree is whole; says which folders were made for it
READY = "reconcile-ready"  # touched by a run once its set-up has succeeded
NESTED = "reconcile-nested"  # the repository that was found inside it, last time somebody looked
AS_MADE = "reconcile-index"  # a copy of its index as it was when its files were written
LOCK_REASON = "reconcile "
_Refs = Mapping[str, tuple[Sha, bool]]

_INITIALIZING = "initializing"  # git's own reason while it makes a worktree


class Entry(Struct, frozen=True, kw_only=True):
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


class WorktreeListing(Struct, frozen=True):
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
        return tuple(entry for entry in self.entries if entry.branch == HEADS + branch)


def read(git: Git) -> WorktreeListing:
    """Every worktree, as git lists them; listed again only when that has changed."""
    mark = fingerprints.of_worktrees(git.repository.common)
    return git.remembered("worktrees", mark, lambda: _read(git), keep=lambda listing: listing.plain)


class _Admin(Struct, frozen=True):
    """What the files of an admin folder say. `head`: the content of HEAD; None where that is a link."""

    admin: Path
    place: Path | None
    head: str | None
    locked: str | None


def around(git: Git, place: Path | None, branch: str | None) -> WorktreeListing:
    """The worktrees that have to do with a place, or with a branch: for who acts on one of many.

    The cost is one look at each admin folder. What is written into a file there in place changes no folder (git does so
    where it repairs or moves a worktree): it is noticed once `read` has. Git itself refuses what is taken.
    """
    common = git.repository.common
    name, head = place and os.path.basename(gitfile(place) or ""), branch and f"ref: {HEADS}{branch}"
    found = []
    for entry in _admins(f"{common}/worktrees"):
        try:
            status = fingerprints.of_status(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue  # it was taken away meanwhile
        admin, mark = entry.path, None if status is None else ((entry.path, *status),)
        one = git.remembered(("around", admin), mark, partial(_read_admin, admin))
        if one.head is None or one.place in (None, place) or one.admin.name == name or one.head == head:
            found.append(_read_admin(admin) if mark else one)
    listing = None if (common / "reftable").exists() else _listing(git, found)
    return listing if listing and listing.plain else read(git)


def at(git: Git, place: Path) -> Entry | None:
    """The worktree that stands at a place, by the files of the two that lead to each other; None where they don't."""
    common, leads_to = git.repository.common, gitfile(place)
    if leads_to is None or os.path.dirname(leads_to) != f"{common}/worktrees" or (common / "reftable").exists():
        return next(iter(read(git).at(place)), None)
    listing = _listing(git, [_read_admin(leads_to)])
    return next(iter((listing if listing.plain else read(git)).at(place)), None)


def _read(git: Git) -> WorktreeListing:
    admins = (entry.path for entry in _admins(f"{git.repository.common}/worktrees"))
    # Read again where one of them has changed: what its branch names is no part of it.
    facts = (
        git.remembered(("worktree", a), fingerprints.of_worktree(a), partial(_reread_admin, git, a)) for a in admins
    )
    return _listing(git, facts)


def _listing(git: Git, facts: Iterable[_Admin]) -> WorktreeListing:
    common = git.repository.common
    fields: dict[Path, list[_Admin]] = {}
    unlisted = []
    for one in facts:
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


def _reread_admin(git: Git, admin: str) -> _Admin:
    git.forget(("around", admin))
    return _read_admin(admin)


def _read_admin(admin: str) -> _Admin:
    folder = Path(admin)
    return _Admin(folder, place_of(folder), _head(admin), _line(f"{admin}/locked"))


def _head(folder: str) -> str | None:
    path = f"{folder}/HEAD"
    return None if os.path.islink(path) else _line(path) or ""


def _by_files(git: Git, fields: Mapping[Path, list[_Admin]]) -> tuple[Entry, ...] | None:
    """Every worktree as git's own files tell; None where only git can tell what one of them has checked out."""
    # Not `git worktree list`: it gives up on all of them while somebody adds one, and is asked for more than anything.
    repository = git.repository
    packed = cache(lambda: refs.readable(git, HEADS)[0])  # only where a branch has no file of its own
    found: list[Entry | None] = [
        Entry(path=repository.main)
        if repository.bare
        else _by_head(git, repository.main, None, _head(f"{repository.common}"), packed)
    ]
    for path, claimed in fields.items():
        found += [_by_head(git, path, one, one.head, packed) for one in claimed]
    return None if None in found else tuple(entry for entry in found if entry)


def _by_head(git: Git, path: Path, value: _Admin | None, text: str | None, packed: Callable[[], _Refs]) -> Entry | None:
    admin, locked = (value.admin, value.locked) if value else (None, None)
    if text is None:
        return None
    if text.startswith(f"ref: {HEADS}"):
        branch = text.removeprefix("ref: ")
        own = refs.in_its_own_file(git, branch)
        commit, names_another = (own, False) if own else packed().get(branch, (None, False))
        return None if names_another else Entry(path=path, admin=admin, head=commit, branch=branch, locked=locked)
    if text and not is_sha(text):
        return None  # a ref of this worktree alone, or what only git can read
    return Entry(path=path, admin=admin, head=Sha(text) if text.strip("0") else None, locked=locked)


def _by_git(git: Git, admins: dict[Path, list[Path]]) -> Iterator[Entry]:
    for number, record in enumerate(_records(git.refs("worktree", "list", "--porcelain", "-z").out)):
        entry = _entry(record, admins)
        # Of a checkout whose git dir stands elsewhere git knows no place, and names the git dir first.
        yield entry if number or git.repository.bare else replace(entry, path=git.repository.main)


def _admins(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            # A link would let an agent have us take away a folder elsewhere.
            found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda entry: entry.path)


def _line(path: str) -> str | None:
    value = content(path)
    return None if value is None else value.strip()


def place_of(admin: Path) -> Path | None:
    text = _line(f"{admin}/gitdir")
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
