"""What a head has that a base lacks, worked out without git where the last commits are files with one parent each."""

from __future__ import annotations

import threading

from msgspec import Struct, field

from reconciler.git import objects
from reconciler.git.commands import Git
from reconciler.model.names import Sha

_STEPS = 64
_BASES = 8
_REMEMBERED = 10_000


def contains(git: Git, commit: Sha, other: Sha, *, absent: bool = False) -> bool:
    """True where `commit` contains `other`, by the word of git. `absent`: one that is not here counts as one that does not;
    else that is an error."""
    ok = (0, 1, 128) if absent else (0, 1)
    return git.objects("merge-base", "--is-ancestor", other, commit, ok=ok).code == 0


class _Line(Struct, frozen=True):
    """The commits that lead up to a base, each with the one before it as its only parent.

    Whatever else the base contains comes before the first of them. So a head whose own commits lead, one parent each, to
    a commit of the line shares with the base what comes up to there, and nothing more.
    """

    commits: set[Sha]
    walks: dict[Sha, tuple[Sha, ...] | None] = field(default_factory=dict)  # by head; None: in vain


class Ancestry:
    """Compares heads with bases. A line grows with its base; commits never change, so neither does what was found.

    Safe to share between threads.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._lines: dict[Sha, _Line] = {}  # by their last commits
        self._turn = threading.Lock()

    def ahead(self, base: Sha, head: Sha) -> int | None:
        """How many commits `head` has that `base` lacks, 0 where it has none; None where only git can tell."""
        found = self.own(base, head)
        return None if found is None else len(found)

    def contains(self, base: Sha, head: Sha) -> bool:
        """True where `base` contains `head`; asked of git where only that can tell."""
        ahead = self.ahead(base, head)
        return contains(self._git, base, head) if ahead is None else ahead == 0

    def own(self, base: Sha, head: Sha) -> tuple[Sha, ...] | None:
        """The commits that `head` has and `base` lacks, the newest first; None where only git can tell."""
        with self._turn:
            line = self._line(base)
            if head in line.commits:
                return ()
            if head not in line.walks:
                line.walks[head] = self._walk(head, line)
            walked = line.walks[head]
            # The base may have taken some of them over since.
            return None if walked is None else tuple(commit for commit in walked if commit not in line.commits)

    def _line(self, base: Sha) -> _Line:
        line = self._lines.pop(base, None) or self._grown(base)
        if len(line.commits) + len(line.walks) > _REMEMBERED:
            line = _Line({base})
        self._lines[base] = line
        if len(self._lines) > _BASES:
            del self._lines[next(iter(self._lines))]
        return line

    def _grown(self, base: Sha) -> _Line:
        """The line of the base that this one came from, with what was added; one of its own where that is not known."""
        walked = [base]
        while len(walked) <= _STEPS and (parent := self._parent(walked[-1])):
            if line := self._lines.pop(parent, None):
                line.commits.update(walked)
                return line
            walked.append(parent)
        return _Line(set(walked))

    def _walk(self, head: Sha, line: _Line) -> tuple[Sha, ...] | None:
        """The commits that lead from the line to a head; None where they do not, one parent each."""
        walked = [head]
        while len(walked) <= _STEPS and (parent := self._parent(walked[-1])):
            if parent in line.commits:
                return tuple(walked)
            walked.append(parent)
        return None

    def _parent(self, commit: Sha) -> Sha | None:
        """The only parent of a commit that has a file of its own."""
        found = objects.loose_commit(self._git, commit)
        return found.parents[0] if found and len(found.parents) == 1 else None
