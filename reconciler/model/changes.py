"""What a head brings to a base, as values: its commits, and the files in which both ends differ."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.names import Sha


@dataclass(frozen=True, slots=True, kw_only=True)
class PullCommit:
    """A commit by its subject."""

    sha: Sha
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A path that differs. `kind` is git's letter (A, D, M, T); lines are None where it holds no text."""

    path: str
    kind: str
    added: int | None
    deleted: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From where a head left its base to the head itself. `start` None: they have no commit in common."""

    start: Sha | None
    head: Sha
