"""What a head brings to a base, as values: its commits, and the files in which both ends differ."""

from __future__ import annotations

from msgspec import Struct

from reconciler.model.names import Sha


class PullCommit(Struct, frozen=True, kw_only=True):
    """A commit by its subject."""

    sha: Sha
    subject: str


class File(Struct, frozen=True, kw_only=True):
    """A path that differs. `kind` is git's letter (A, D, M, T); lines are None where it holds no text."""

    path: str
    kind: str
    added: int | None
    deleted: int | None


class Span(Struct, frozen=True, kw_only=True):
    """From where a head left its base to the head itself. `start` None: they have no commit in common."""

    start: Sha | None
    head: Sha
