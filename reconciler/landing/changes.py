"""What a head brings to a base: its commits, the files that it changes, its diff.

All of it is read by sha through the control git dir, which knows no attributes, drivers, pagers or hooks of the
repository, and by git's plumbing, which heeds no taste of the user's: the same bytes for everybody.
"""

from __future__ import annotations

from reconciler.git.commands import Git
from reconciler.model.changes import File, PullCommit, Span
from reconciler.model.names import Sha

_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")


class CommitChanges:
    """The changes between commits of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def span(self, base: Sha, head: Sha) -> Span:
        """The part of history that `head` has and `base` has not."""
        found = self._git.objects("merge-base", base, head, ok=(0, 1))
        return Span(start=Sha(found.text.strip()) or None, head=head)

    def before(self, landed: Sha) -> Sha:
        """The base as it was when a commit landed on it; the commit itself where it was the first of all."""
        found = self._git.objects("rev-parse", "--verify", "--quiet", f"{landed}^1", ok=(0, 1))
        return Sha(found.text.strip()) or landed

    def commits(self, span: Span) -> tuple[PullCommit, ...]:
        """Newest first."""
        without = (f"^{span.start}",) if span.start else ()
        listed = self._git.objects(
            "rev-list", "--no-commit-header", "--encoding=UTF-8", "--format=%H%x00%s%x00", span.head, *without
        ).out.decode("utf-8", "replace")
        cells = listed.split("\0")
        return tuple(
            PullCommit(sha=Sha(sha.strip()), subject=subject)
            for sha, subject in zip(cells[0::2], cells[1::2], strict=False)
        )

    def files(self, span: Span) -> tuple[File, ...]:
        """The files in which both ends differ, by path; one that was renamed is two."""
        kinds = self._trees("--name-status", "--no-renames", "-z", span=span).decode("utf-8", "replace").split("\0")
        counts = self._trees("--numstat", "--no-renames", "-z", span=span).decode("utf-8", "replace").split("\0")
        lines = {path: (added, deleted) for added, deleted, path in (row.split("\t", 2) for row in counts if row)}
        return tuple(
            File(path=path, kind=kind, added=_number(lines[path][0]), deleted=_number(lines[path][1]))
            for kind, path in zip(kinds[0::2], kinds[1::2], strict=False)
        )

    def patch(self, span: Span, *, whole: bool) -> bytes:
        """The unified diff. With `whole` it holds all of binary files too, so that `git apply` can take it."""
        more = ("--binary", "--full-index") if whole else ()
        return self._trees("--patch", "-M", "--src-prefix=a/", "--dst-prefix=b/", *more, span=span)

    def _trees(self, *how: str, span: Span) -> bytes:
        start = span.start or self._git.objects("hash-object", "-t", "tree", "--stdin", stdin=b"").text.strip()
        return self._git.objects("diff-tree", "-r", *_PLAIN, *how, start, span.head).out


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
