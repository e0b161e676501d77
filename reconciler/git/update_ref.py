"""Refs of the repository, moved only by compare-and-swap: all of a transaction, or nothing of it."""

from __future__ import annotations

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.git.refs import head_of
from reconciler.git.refusals import GitError
from reconciler.model.errors import ChangedError
from reconciler.model.names import Sha


class Move(Struct, frozen=True):
    """One ref from `old` to `new`. `old` None: it must not exist yet. `new` None: it must stay where it is, or be `gone`."""

    ref: str
    old: Sha | None
    new: Sha | None = None
    gone: bool = False

    def command(self) -> str:
        if self.old is None:
            return f"create {self.ref}\0{self.new}\0"
        if self.gone:
            return f"delete {self.ref}\0{self.old}\0"
        if self.new is None:
            return f"verify {self.ref}\0{self.old}\0"
        return f"update {self.ref}\0{self.new}\0{self.old}\0"


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
