"""Errors by what the caller must do about them: fix the input, look again, wait, or stop.

* ReconcileError(message, hint)
  * ManifestError    the user edits the manifest; nothing was changed (exit 2)
  * UsageError       the user types something else; nothing was changed (exit 2)
  * TemporaryError   try again after `delay` seconds
    * ChangedError   the world moved since it was observed: look again at once
    * BlockedError   somebody's checkout is in the way; theirs to clear
    * RefusedError   somebody elsewhere refused: tried again later, and reported at once
    * SilentError    what lives elsewhere did not answer, and will by itself
  * PermanentError   retries are useless; a person or another decision is needed
  * LockedError      another reconciler holds the lock (exit 5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # how to fail is known before anything else is loaded
    from reconciler.model.names import TaskId


class ReconcileError(Exception):
    """A failure with a next step: `hint` says what the reader can do. `about`: the task that it concerns, where that
    is not the one that something was done for. `paths`: files and folders that it came from, there or not."""

    about: TaskId | None = None
    paths: tuple[str, ...] = ()

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def due_to(self, *paths: object) -> Self:
        """The same, with what it came from: once that is another, trying again is worth it."""
        self.paths = (*self.paths, *map(str, paths))
        return self

    @property
    def advised(self) -> str:
        """The message and its hint in one line."""
        return f"{str(self).removesuffix('.')}; {self.hint}" if self.hint else str(self)


class ManifestError(ReconcileError):
    """The manifest is wrong; nothing was changed. One message may hold several lines, one per finding."""


class UsageError(ReconcileError):
    """The command line is wrong; nothing was changed."""


class TemporaryError(ReconcileError):
    """Not now (a lock is held, a program did not answer)."""

    def __init__(self, message: str, *, delay: float = 5.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.delay = delay


class ChangedError(TemporaryError):
    """A compare-and-swap lost: what was observed is no longer so. Nothing was written; observe again."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, delay=0.0, hint=hint)


class BlockedError(TemporaryError):
    """A checkout keeps its branch from moving: edits, a lock or a folder that can't be written stand in the way."""


class RefusedError(TemporaryError):
    """A hook, a rule or a login elsewhere is against it, or who owns a file: no chance, though it may be lifted without us."""


class SilentError(TemporaryError):
    """Something elsewhere did not answer, and by itself it will: what does not depend on it may go on."""


class PermanentError(ReconcileError):
    """The same call would fail again (refused, missing program, damaged file)."""


class ContentRefusedError(PermanentError):
    """Elsewhere what commits hold was refused: the one who made them can fix that, and nobody else."""


class UnfitError(PermanentError):
    """The commits of a branch can't land one by one: the one who made them can make others."""


class LockedError(ReconcileError):
    """Another reconciler works on this repository."""
