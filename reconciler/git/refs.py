"""Which refs there are and what they name: from git's own files where these say so plainly, else from git."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from reconciler.git import fingerprints
from reconciler.git.commands import Git, Loose, Refs
from reconciler.model.errors import PermanentError
from reconciler.model.names import PULL_REQUEST_REFS, Sha
from reconciler.system.files import Stamp

HEADS = "refs/heads/"
LOOK_S = 60.0
_FILE_MAX = 100
_HASH = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\n")
# What git lets no ref be called, and warns of where it finds one.
_ODD = re.compile(r"[\0- \x7f~^:?*\[\\]|\.\.|@\{|\.\Z")
_REMEMBERED_MAX = 64


class _NotPlain(Exception):
    """Files that say it in another way than git writes it."""


def plain(git: Git, prefix: str) -> Refs:
    """Every ref that is called so or stands below. Raises PermanentError for a broken one."""
    found, broken = readable(git, prefix)
    if broken:
        raise PermanentError(
            f"cannot read the refs under {prefix}: git calls {', '.join(sorted(broken))} broken",
            hint="'git fsck' says more; 'git update-ref -d <ref>' removes a ref",
        )
    return found


def readable(git: Git, prefix: str) -> tuple[Refs, frozenset[str]]:
    """The same, without broken ones; and the names of these."""
    try:
        return _by_files(git, prefix), frozenset()
    except _NotPlain:
        return _by_git(git, prefix)


def head_of(git: Git, ref: str) -> Sha | None:
    """The object that a ref names; None when there is no such ref."""
    if any(ord(letter) <= ord(" ") or ord(letter) == 0x7F or letter in "*?[\\" for letter in ref):
        raise PermanentError(f"{ref!r} can't be the name of a ref")
    return in_its_own_file(git, ref) or plain(git, ref).get(ref, (None,))[0]


def in_its_own_file(git: Git, ref: str) -> Sha | None:
    """The object that a ref names, where it has a file of its own that says so; None where only git can tell.

    Such a file counts before everything that is packed, and most refs that we ask for were moved a moment ago.
    """
    if ".." in ref or not ref.startswith("refs/"):
        return None
    try:
        return _read(f"{git.repository.common}/{ref}")[1]
    except (OSError, _NotPlain):
        return None


def _by_files(git: Git, prefix: str) -> Refs:
    common = git.repository.common
    if not prefix.startswith("refs/") or _ODD.search(prefix) or os.path.lexists(f"{common}/reftable"):
        raise _NotPlain
    # In this order: who packs a ref takes its file away last.
    loose = _ours(git, prefix) if prefix == PULL_REQUEST_REFS else _loose(git, prefix)
    packed = common / "packed-refs"
    listed = git.remembered(("packed", prefix), fingerprints.of_files(packed), lambda: _packed(packed, prefix))
    before = git.joined.get(prefix)
    if before and before[0] is listed and before[1] is loose:
        return before[2]
    found = {ref: loose.get(ref) or listed[ref] for ref in sorted({*listed, *loose})}
    if prefix == PULL_REQUEST_REFS:  # the others change all the time
        git.joined[prefix] = listed, loose, found
    return found


def _ours(git: Git, prefix: str) -> Refs:
    """The refs with a file of their own, where only git writes: by renaming, so that the folder changes with each file.

    While it has not, they are the same dictionary, and none is looked at; but for once a minute, for who wrote into one
    as git never does.
    """
    before, now = git.in_one_folder.get(prefix), time.monotonic()
    mark = _folder(f"{git.repository.common}/{prefix.rstrip('/')}")
    if before and mark and before[0] == mark and now - before[1] < LOOK_S:
        return before[2]
    found = _loose(git, prefix)
    flat = all("/" not in ref.removeprefix(prefix) for ref in found)
    if before and before[2] == found:
        found = before[2]
    git.in_one_folder[prefix] = mark if flat else None, now, found
    return found


def _folder(path: str) -> Stamp | None:
    try:
        about = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return fingerprints.of_status(about) if stat.S_ISDIR(about.st_mode) else None


def _loose(git: Git, prefix: str) -> Refs:
    """The refs with a file of their own. A file that has not changed for a while is not read again: a process that starts
    reads each and asks nothing else about it, a later look only asks."""
    before = git.loose.get(prefix, {})
    kept: Loose = {}
    found: Refs = {}
    start = len(f"{git.repository.common}/")
    try:
        for path in _files(git, prefix):
            known = before.get(path)
            mark, sha = known if known and known[0] == _mark(path) else _read(path)
            if sha:
                found[path[start:]] = sha, False
                if mark:
                    kept[path] = mark, sha
    except OSError as error:
        raise _NotPlain from error
    if len(git.loose) >= _REMEMBERED_MAX:
        git.loose.clear()
    if kept:
        git.loose[prefix] = kept
    return found


def _files(git: Git, prefix: str) -> Iterator[str]:
    top = f"{git.repository.common}/{prefix.rstrip('/')}"
    try:
        about = os.lstat(top)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(about.st_mode):
        if not prefix.endswith("/"):
            yield top
        return
    if not stat.S_ISDIR(about.st_mode):
        raise _NotPlain
    folders = [top]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.name.startswith(".") or entry.name.endswith(".lock"):
                continue  # as git does: it is being written
            if entry.is_file(follow_symlinks=False) and not _ODD.search(entry.name):
                yield entry.path
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                raise _NotPlain  # a link, a name that git does not take for one


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _mark(path: str) -> Stamp | None:
    """A mark of such a file; None where it is gone, or changed a moment ago."""
    try:
        return fingerprints.of_status(os.lstat(path))
    except FileNotFoundError:
        return None


def _read(path: str) -> tuple[Stamp | None, Sha | None]:
    """A mark of such a file, and what it says; None where it is gone: deleted, or packed, which is read next."""
    try:
        # Neither through a link, nor waiting for the one who put a pipe there.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, None
    try:
        about = os.fstat(fd)
        content = os.read(fd, _FILE_MAX) if stat.S_ISREG(about.st_mode) else b""
    finally:
        os.close(fd)
    if not _HASH.fullmatch(content) or not content.strip(b"0\n"):
        raise _NotPlain
    return fingerprints.of_status(about), Sha(content[:-1].decode())


def _packed(path: Path, prefix: str) -> Refs:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _NotPlain from error
    # Only from the first to the last that begins so is read line by line: all else may be thousands of somebody's tags.
    begins = b" " + os.fsencode(prefix)
    first, last = content.find(begins), content.rfind(begins)
    if first < 0:
        return {}
    content = content[content.rfind(b"\n", 0, first) + 1 : content.find(b"\n", last) + 1 or None]
    name = re.escape(prefix) + (r"[^\n]+" if prefix.endswith("/") else r"(?:/[^\n]+)?")
    rows = re.findall(rf"^([0-9a-f]{{40}}|[0-9a-f]{{64}}) ({name})$", os.fsdecode(content), re.MULTILINE)
    return {name: (Sha(sha), False) for sha, name in rows}


def _by_git(git: Git, prefix: str) -> tuple[Refs, frozenset[str]]:
    mark = fingerprints.of_refs(git.repository.common, prefix.rstrip("/"))
    return git.remembered(prefix, mark, lambda: _listed(git, prefix), keep=_lasts)


def _lasts(found: tuple[Refs, frozenset[str]]) -> bool:
    """True where nothing changes what was listed but what a mark of these refs notices."""
    listed, broken = found
    return not broken and not any(symbolic for _, symbolic in listed.values())


def _listed(git: Git, prefix: str) -> tuple[Refs, frozenset[str]]:
    form = "--format=%(refname)%00%(objectname)%00%(symref)%00"
    found = git.refs("for-each-ref", form, prefix, ok=(0, 128))
    # Git leaves a ref out that it can't read, and only warns: it would look as if it had been deleted.
    broken = frozenset(os.fsdecode(name) for name in re.findall(rb"ignoring broken ref (\S+)", found.err))
    if found.code or (b"broken ref" in found.err and not broken):
        raise PermanentError(f"cannot read the refs under {prefix}: {found.complaint}", hint="'git fsck' says more")
    cells = found.text.split("\0")
    rows = zip(cells[0::3], cells[1::3], cells[2::3], strict=False)
    return {name.lstrip("\n"): (Sha(sha), bool(symref)) for name, sha, symref in rows}, broken
