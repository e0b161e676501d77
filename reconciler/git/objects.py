"""Objects of the repository as they are stored: read from a file of their own, where they have one that says what its name
promises, else from git, which is asked once for all of them. What an object says never changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.names import Sha, is_sha

_START = re.compile(rb"(commit|tree|blob|tag) ([0-9]{1,10})")
_FILE_MAX = 1024 * 1024
_CONTENT_MAX = 4 * 1024 * 1024
_COPIES = 512
_AT_ONCE = 64  # more than so many cost more, one by one, than a git that reads them all


class GitObject(Struct, frozen=True):
    """An object: `commit`, `tree`, `blob`, `tag`; `missing` where there is none."""

    kind: str
    content: bytes


class Commit(Struct, frozen=True):
    """A commit. `author` and `committer` are the lines as they stand in it."""

    sha: Sha
    tree: Sha
    parents: tuple[Sha, ...]
    author: str
    committer: str
    text: str


def write_commit(
    git: Git,
    tree: Sha,
    parents: Sequence[Sha],
    *,
    author: str,
    committer: str,
    text: str,
    copies: Path | None = None,
    objects: Path | None = None,
) -> Sha:
    """Store a commit, as `git commit-tree` does: no hook sees it, nothing signs it; the same twice is one. Its name.

    `copies`: a folder that gets one of it, and keeps the newest few. `objects`: where it is stored, if not in the repository.
    """
    lines = (f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {author}", f"committer {committer}")
    if any("\n" in line or "\0" in line for line in lines) or "\0" in text:
        raise PermanentError("a commit can't hold a NUL, nor its names a line end")
    stored = GitObject("commit", ("\n".join(lines) + f"\n\n{text}").encode("utf-8", "replace"))
    name = Sha(_digest(_whole(stored), len(tree)))
    if not loose(git, name, objects):
        packed = zlib.compress(_whole(stored), 1)
        if copies:
            _copy(copies, name, packed)
        _store(objects or git.repository.common / "objects", name, packed)
    return name


def store(git: Git, name: Sha, stored: GitObject) -> None:
    """Store an object that was read elsewhere under its name. The same twice is one."""
    if not loose(git, name):
        _store(git.repository.common / "objects", name, zlib.compress(_whole(stored), 1))


def read(git: Git, *names: Sha) -> list[GitObject]:
    """These objects, in this order."""
    found = {name: stored for name in names if (stored := loose(git, name))} if len(names) <= _AT_ONCE else {}
    if asked := [name for name in dict.fromkeys(names) if name not in found]:
        found.update(zip(asked, _by_git(git, asked), strict=True))
    return [found[name] for name in names]


def commits(git: Git, *names: Sha) -> list[Commit]:
    """These commits. Raises PermanentError for what is none."""
    return [commit(name, stored) for name, stored in zip(names, read(git, *names), strict=True)]


def commit(name: Sha, stored: GitObject) -> Commit:
    """An object as a commit. Raises PermanentError where it is none."""
    if found := _parsed(name, stored):
        return found
    raise PermanentError(f"{name} is not a commit in this repository", hint="'git fsck' says more")


def loose_commit(git: Git, name: Sha) -> Commit | None:
    """A commit that has a file of its own; None where only git can tell."""
    stored = loose(git, name)
    return _parsed(name, stored) if stored else None


def loose(git: Git, name: Sha, folder: Path | None = None) -> GitObject | None:
    """An object from a file of its own; None where only git can tell."""
    if not is_sha(name):
        return None
    content = _unpacked(f"{folder or git.repository.common / 'objects'}/{name[:2]}/{name[2:]}")
    # An agent can put anything there: it counts where it is what it is called by.
    if _digest(content, len(name)) != name:
        return None
    head, _, rest = content.partition(b"\0")
    start = _START.fullmatch(head)
    if not start or int(start[2]) != len(rest):
        return None  # its name is right all the same
    return GitObject(start[1].decode(), rest)


def restored(git: Git, name: Sha, copies: Path) -> GitObject | None:
    """An object that is gone from the repository, stored there again from the folder that has its copy."""
    copy = _read_file(copies / name)
    if copy:
        _store(git.repository.common / "objects", name, copy)
    return loose(git, name) if copy else None


def _whole(stored: GitObject) -> bytes:
    return b"%s %d\0" % (stored.kind.encode(), len(stored.content)) + stored.content


def _digest(content: bytes, length: int) -> str:
    hashed = hashlib.sha1(content, usedforsecurity=False) if length == 40 else hashlib.sha256(content)
    return hashed.hexdigest()


def _copy(folder: Path, name: Sha, packed: bytes) -> None:
    """Keep a copy of an object. Without one it is only as safe as git's own: a disk that is full costs no more."""
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        kept = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in kept[: -_COPIES // 2] if len(kept) >= _COPIES else ():
            os.unlink(entry)
        (folder / name).write_bytes(packed)


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _store(objects: Path, name: Sha, packed: bytes) -> None:
    folder = objects / name[:2]
    try:
        folder.mkdir(exist_ok=True)
        # So called, git takes it away where we are killed in between.
        fd, temporary = tempfile.mkstemp(prefix="tmp_obj_", dir=folder)
        with open(fd, "wb") as file:
            file.write(packed)
            os.fchmod(fd, 0o444)
        os.replace(temporary, folder / name[2:])
    except OSError as error:
        raise TemporaryError(f"cannot write {folder / name[2:]}: {error.strerror}", delay=30.0) from error


def _unpacked(path: str) -> bytes:
    """What such a file holds; nothing where there is none, or too much in it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        about = os.fstat(fd)
        packed = os.read(fd, _FILE_MAX) if stat.S_ISREG(about.st_mode) and about.st_size < _FILE_MAX else b""
    finally:
        os.close(fd)
    try:
        return zlib.decompressobj().decompress(packed, _CONTENT_MAX)
    except zlib.error:
        return b""


def _by_git(git: Git, names: list[Sha]) -> Iterator[GitObject]:
    out = git.objects("cat-file", "--batch", stdin="".join(f"{name}\n" for name in names).encode()).out
    at = 0
    for _ in names:
        end = out.index(b"\n", at)
        _, kind, size = (*out[at:end].decode("utf-8", "replace").split(" "), "0")[:3]
        at = end + 1
        if kind == "missing":
            yield GitObject(kind, b"")
            continue
        yield GitObject(kind, out[at : at + int(size)])
        at += int(size) + 1


def _parsed(name: Sha, stored: GitObject) -> Commit | None:
    head, _, message = stored.content.partition(b"\n\n")
    fields = [line.partition(" ") for line in head.decode("utf-8", "replace").split("\n")]
    first = {key: value for key, _, value in reversed(fields)}
    tree, parents = first.get("tree", ""), tuple(Sha(value) for key, _, value in fields if key == "parent")
    if stored.kind != "commit" or not all(map(is_sha, (tree, *parents))):
        return None
    return Commit(
        sha=name,
        tree=Sha(tree),
        parents=parents,
        author=first.get("author", ""),
        committer=first.get("committer", ""),
        text=_decoded(message, first.get("encoding", "utf-8")),
    )


def _decoded(message: bytes, encoding: str) -> str:
    try:
        return message.decode(encoding, "replace")
    except (LookupError, ValueError):  # some of Python's encodings know nothing of replacing
        return message.decode("utf-8", "replace")
