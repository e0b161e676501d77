"""What a head brings to a base: its commits, the files that it changes, its diff.

All of it is read by sha through the control git dir, which knows no attributes, drivers, pagers or hooks of the
repository, and by git's plumbing, which heeds no taste of the user's: the same bytes for everybody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reconciler.git.commands import Git
from reconciler.landing.named import NamedPaths, named_at
from reconciler.model.changes import Diff, File, PullCommit, Span
from reconciler.model.names import Sha

REMEMBERED = 4096
STARTS_REMEMBERED = 64  # of these a few are asked about, over and over
LOOKED_AT_MAX = 4 << 20  # bytes of a diff whose lines are looked at
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")


class CommitChanges:
    """The changes between commits of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._diffs: dict[tuple[Sha, Sha], Diff] = {}
        self._paths: dict[Sha, frozenset[str]] = {}
        self._names: dict[Sha, NamedPaths] = {}

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

    def message(self, commit: Sha) -> str:
        """The whole message of a commit."""
        how = ("--no-commit-header", "--max-count=1", "--encoding=UTF-8", "--format=%B")
        return self._git.objects("rev-list", *how, commit).out.decode("utf-8", "replace").strip()

    def files(self, span: Span) -> tuple[File, ...]:
        """The files in which both ends differ, by path; one that was renamed is two."""
        # ":<mode before> <mode after> <object before> <object after> <kind>", and the path
        raw = self._trees("--raw", "--no-renames", "-z", span=span).decode("utf-8", "replace").split("\0")
        found = ((head[1:].split(" "), path) for head, path in zip(raw[0::2], raw[1::2], strict=False))
        counts = self._trees("--numstat", "--no-renames", "-z", span=span).decode("utf-8", "replace").split("\0")
        lines = {path: (added, deleted) for added, deleted, path in (row.split("\t", 2) for row in counts if row)}
        return tuple(
            File(
                path=path,
                kind=kind,
                added=_number(lines[path][0]),
                deleted=_number(lines[path][1]),
                mode=before if kind == "D" else after,
            )
            for (before, after, _, _, kind), path in found
        )

    def paths(self, landed: Sha) -> frozenset[str]:
        """The paths in which a commit on a base differs from the base before it."""
        if landed not in self._paths:
            start = self.before(landed)
            named = self._trees("--name-only", "--no-renames", "-z", span=Span(start=start, head=landed))
            found = frozenset(named.decode("utf-8", "replace").split("\0")) - {""}
            if len(self._paths) >= REMEMBERED:
                self._paths.clear()
            self._paths[landed] = found
        return self._paths[landed]

    def diff(self, base: Sha, head: Sha) -> Diff:
        """All that `head` brings to `base`."""
        found = self._diffs.get((base, head))
        if found is None:
            if len(self._diffs) >= REMEMBERED:
                self._diffs.clear()
            found = self._diffs[base, head] = self._diff(self.span(base, head))
        return found

    def _diff(self, span: Span) -> Diff:
        files = self.files(span)
        before = self._top(span.start) if span.start else frozenset()
        patch = self._trees("--patch", "--no-renames", span=span)
        return Diff(
            start=span.start,
            head=span.head,
            tree=Sha(self._git.objects("rev-parse", "--verify", f"{span.head}^{{tree}}").text.strip()),
            files=files,
            areas=frozenset(file.path.partition("/")[0] for file in files if "/" in file.path) - before,
            size=len(patch),
            lines=shown_lines(files, patch),
            named=self._named(span.start).among(file.path for file in files) if span.start else frozenset(),
        )

    def _named(self, commit: Sha) -> NamedPaths:
        if commit not in self._names:
            if len(self._names) >= STARTS_REMEMBERED:
                self._names.clear()
            self._names[commit] = named_at(self._git, commit)
        return self._names[commit]

    def _top(self, commit: Sha) -> frozenset[str]:
        """What stands at the top of a commit."""
        listed = self._git.objects("ls-tree", "--name-only", "-z", commit).out
        return frozenset(listed.decode("utf-8", "replace").split("\0"))

    def patch(self, span: Span, *, whole: bool) -> bytes:
        """The unified diff. With `whole` it holds all of binary files too, so that `git apply` can take it."""
        more = ("--binary", "--full-index") if whole else ()
        return self._trees("--patch", "-M", "--src-prefix=a/", "--dst-prefix=b/", *more, span=span)

    def _trees(self, *how: str, span: Span) -> bytes:
        start = span.start or self._git.objects("hash-object", "-t", "tree", "--stdin", stdin=b"").text.strip()
        return self._git.objects("diff-tree", "-r", *_PLAIN, *how, start, span.head).out


def shown_lines(files: Sequence[File], patch: bytes) -> Mapping[str, tuple[tuple[int, int], ...]] | None:
    """By path, which lines of the new side a unified diff of these files shows, in their order; None where it is too large."""
    if len(patch) > LOOKED_AT_MAX:
        return None
    # A file that became another kind of thing is shown as one that goes and one that comes.
    paths = iter([file.path for file in files for _ in range(2 if file.kind == "T" else 1)])
    found: dict[str, list[tuple[int, int]]] = {}
    path, old, new = "", 0, 0  # lines that are left of a hunk: what is in one begins nothing
    for line in patch.split(b"\n"):
        if old > 0 or new > 0:
            old -= line[:1] in (b" ", b"-", b"")
            new -= line[:1] in (b" ", b"+", b"")
        elif line.startswith(b"diff --git "):
            path = next(paths, "")
        elif hunk := _HUNK.match(line):
            old, new = (int(count) if count is not None else 1 for count in (hunk[1], hunk[3]))
            if new:
                found.setdefault(path, []).append((int(hunk[2]), int(hunk[2]) + new - 1))
    return {path: tuple(ranges) for path, ranges in found.items()}


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
