"""Refs of the repository, moved only by compare-and-swap: all of a transaction, or nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.errors import ChangedError, PermanentError, TemporaryError
from reconciler.git import Git, GitError
from reconciler.names import Sha

HEADS = "refs/heads/"


@dataclass(frozen=True, slots=True)
class Move:
    """One ref from `old` to `new`. `old` None: it must not exist yet. `new` None: it must stay where it is."""

    ref: str
    old: Sha | None
    new: Sha | None = None

    def command(self) -> str:
        if self.old is None:
            return f"create {self.ref}\0{self.new}\0"
        if self.new is None:
            return f"verify {self.ref}\0{self.old}\0"
        return f"update {self.ref}\0{self.new}\0{self.old}\0"


def head_of(git: Git, ref: str) -> Sha | None:
    """The object that a ref names; None when there is no such ref."""
    if any(ord(letter) <= ord(" ") or ord(letter) == 0x7F for letter in ref):
        raise PermanentError(f"{ref!r} can't be the name of a ref")
    found = git.refs("show-ref", "--verify", "--hash", "--", ref, ok=(0, 1, 128))
    if found.code == 0:
        return Sha(found.text.strip())
    if b"not a valid ref" in found.err:
        return None
    raise TemporaryError(f"cannot read {ref}: {found.complaint}")


def listed(git: Git, prefix: str, *fields: str) -> list[tuple[str, ...]]:
    """(ref, object, *fields) of every ref under a prefix. Raises PermanentError where one of them is broken."""
    columns = ("%(refname)", "%(objectname)", *fields)
    found = git.refs("for-each-ref", "--format=" + "".join(f"{column}%00" for column in columns), prefix, ok=(0, 128))
    # Git leaves a ref out that it can't read, and only warns: it would look as if it had been deleted.
    if found.code or b"broken ref" in found.err:
        raise PermanentError(
            f"cannot read the refs under {prefix}: {found.complaint}",
            hint="'git fsck' says more; 'git update-ref -d <ref>' removes a ref",
        )
    cells = found.text.split("\0")
    rows = (tuple(cells[at : at + len(columns)]) for at in range(0, len(cells) - 1, len(columns)))
    return [(row[0].lstrip("\n"), *row[1:]) for row in rows]


def move(git: Git, moves: tuple[Move, ...], why: str, lock: int | None = None) -> None:
    """Make all moves in one transaction, in this order. Raises ChangedError when a ref is not where it was seen."""
    commands = "".join(step.command() for step in moves).encode()
    try:
        git.refs("update-ref", "-m", f"reconcile: {why}", "--stdin", "-z", stdin=commands, lock=lock)
    except GitError as error:
        # Another program may hold the lock of a ref for a moment; that is not the same as having moved it.
        for step in moves:
            now = head_of(git, step.ref)
            if now != step.old:
                raise ChangedError(f"{step.ref} is at {_short(now)}, not at {_short(step.old)}") from error
        raise


def _short(sha: Sha | None) -> str:
    return sha[:12] if sha else "nothing"
