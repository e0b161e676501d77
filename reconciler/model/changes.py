"""What a head brings to a base, as values: its commits, the files in which both ends differ, and where."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from reconciler.model.names import Sha


class PullCommit(Struct, frozen=True, kw_only=True):
    """A commit by its subject."""

    sha: Sha
    subject: str


class File(Struct, frozen=True, kw_only=True):
    """A path that differs. `kind` is git's letter (A, D, M, T); counts of lines are None where it holds no text. `mode`: git's, of
    the file that it becomes, or was where it is removed."""

    path: str
    kind: str
    added: int | None
    deleted: int | None
    mode: str = "100644"

    @property
    def link(self) -> bool:
        return self.mode == "120000"

    @property
    def executable(self) -> bool:
        return self.mode == "100755"


class Span(Struct, frozen=True, kw_only=True):
    """From where a head left its base to the head itself. `start` None: they have no commit in common."""

    start: Sha | None
    head: Sha


class Diff(Struct, frozen=True, kw_only=True):
    """All that a head brings to a base. `tree` is the head's; `areas`: folders at the top of it that its start lacks.

    `lines`: by path, the first and last lines in the head of what the diff shows; None where it is too large to look.
    `size`: how many bytes of text it is. `named`: those of its paths that a file names which agents read unasked.
    """

    start: Sha | None
    head: Sha
    tree: Sha
    files: tuple[File, ...] = ()
    areas: frozenset[str] = frozenset()
    size: int = 0
    named: frozenset[str] = frozenset()
    lines: Mapping[str, tuple[tuple[int, int], ...]] | None = None

    def shows(self, path: str, line: int | None) -> bool:
        """True for a place that somebody who saw this diff can speak of; with None for the whole file."""
        if line is None:
            return any(file.path == path for file in self.files)
        return any(first <= line <= last for first, last in (self.lines or {}).get(path, ()))

    def knows(self, path: str, line: int | None) -> bool | None:
        """The same; None where it is a line of a diff that was too large to look."""
        of_file = self.shows(path, None)
        return None if of_file and line is not None and self.lines is None else self.shows(path, line)
