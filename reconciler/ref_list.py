"""Which refs there are and what they name. Read again only when they have changed."""

from __future__ import annotations

import os
import re
import stat

from reconciler import marks
from reconciler.errors import PermanentError
from reconciler.git import Git
from reconciler.names import Sha

Row = tuple[str, ...]
_FILE_MOST = 100
_HASH = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\n")


def listed(git: Git, prefix: str, *fields: str) -> tuple[Row, ...]:
    """(ref, object, *fields) of every ref that is called so or stands below. Raises PermanentError for a broken one."""
    return tuple((row[0], row[1], *row[3:]) for row in _rows(git, prefix, fields))


def plain(git: Git, prefix: str) -> dict[str, tuple[Sha, bool]]:
    """For every such ref: the object that it names, and whether it does so by naming another ref."""
    return {row[0]: (Sha(row[1]), bool(row[2])) for row in _rows(git, prefix, ())}


def head_of(git: Git, ref: str) -> Sha | None:
    """The object that a ref names; None when there is no such ref."""
    if any(ord(letter) <= ord(" ") or ord(letter) == 0x7F or letter in "*?[\\" for letter in ref):
        raise PermanentError(f"{ref!r} can't be the name of a ref")
    if found := in_its_own_file(git, ref):
        return found
    return next((Sha(row[1]) for row in _rows(git, ref, ()) if row[0] == ref), None)


def in_its_own_file(git: Git, ref: str) -> Sha | None:
    """The object that a ref names, where it has a file of its own that says so; None where only git can tell.

    Such a file counts before everything that is packed, and most refs that we ask for were moved a moment ago.
    """
    if ".." in ref or not ref.startswith("refs/"):
        return None
    try:
        # Neither through a link, nor waiting for whoever put a pipe there.
        fd = os.open(f"{git.repository.common}/{ref}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = os.read(fd, _FILE_MOST) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    return Sha(content[:-1].decode()) if _HASH.fullmatch(content) and content.strip(b"0\n") else None


def _rows(git: Git, prefix: str, fields: tuple[str, ...]) -> tuple[Row, ...]:
    mark = marks.of_refs(git.repository.common, prefix.rstrip("/"))
    return git.remembered(
        (prefix, *fields), mark, lambda: _read(git, prefix, fields), keep=lambda rows: not any(row[2] for row in rows)
    )


def _read(git: Git, prefix: str, fields: tuple[str, ...]) -> tuple[Row, ...]:
    columns = ("%(refname)", "%(objectname)", "%(symref)", *fields)
    found = git.refs("for-each-ref", "--format=" + "".join(f"{column}%00" for column in columns), prefix, ok=(0, 128))
    # Git leaves a ref out that it can't read, and only warns: it would look as if it had been deleted.
    if found.code or b"broken ref" in found.err:
        raise PermanentError(
            f"cannot read the refs under {prefix}: {found.complaint}",
            hint="'git fsck' says more; 'git update-ref -d <ref>' removes a ref",
        )
    cells = found.text.split("\0")
    rows = (tuple(cells[at : at + len(columns)]) for at in range(0, len(cells) - 1, len(columns)))
    return tuple((row[0].lstrip("\n"), *row[1:]) for row in rows)
