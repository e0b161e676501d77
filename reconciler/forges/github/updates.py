"""Heads into which nothing came but the base: a verdict on the one before holds for them as well.

It would have landed as just that merge, had nobody made it before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from reconciler.git import objects
from reconciler.git.commands import Git
from reconciler.landing.candidates import Candidates
from reconciler.model.names import Sha
from reconciler.model.observed import Candidate, Judged

DEEP_MAX = 20


class _Before(Struct, frozen=True):
    """A head that the base was merged into, and what a review of it was about."""

    head: Sha
    judged: Judged | None


class Updates:
    """Merges of a base into a branch. `on`: whether a base contains a commit."""

    def __init__(self, git: Git, candidates: Candidates, on: Callable[[Sha, Sha], bool]) -> None:
        self._git, self._candidates, self._on = git, candidates, on
        self._trees: dict[Sha, Sha] = {}
        self._before: dict[tuple[Sha, Sha], _Before | None] = {}

    def tree(self, head: Sha) -> Sha:
        """The tree of a commit that is here."""
        if head not in self._trees:
            (commit,) = objects.commits(self._git, head)
            self._trees[head] = commit.tree
        return self._trees[head]

    def older(self, head: Sha, tip: Sha) -> Iterator[Sha]:
        """The heads before it, newest first, as long as nothing but `tip`, or what is below it, was merged into them."""
        return (each.head for each in self._steps(head, tip))

    def judged(self, head: Sha, tip: Sha) -> tuple[Judged, ...]:
        """The same as what a review of each was about: a base that it had not left there is another one."""
        return tuple(each.judged for each in self._steps(head, tip) if each.judged)

    def _steps(self, head: Sha, tip: Sha) -> Iterator[_Before]:
        for _ in range(DEEP_MAX):
            before = self._just_before(head, tip)
            if before is None:
                return
            yield before
            head = before.head

    def _just_before(self, head: Sha, tip: Sha) -> _Before | None:
        if (head, tip) not in self._before:
            self._before[head, tip] = self._found(head, tip)
        return self._before[head, tip]

    def _found(self, head: Sha, tip: Sha) -> _Before | None:
        (commit,) = objects.commits(self._git, head)
        if len(commit.parents) != 2 or not self._on(tip, commit.parents[1]):
            return None
        before, base = commit.parents
        merged = self._candidates.judge(base, before)
        # A conflict that somebody resolved is work of theirs, and so is whatever else they put into the merge.
        if not isinstance(merged, Candidate) or merged.tree != commit.tree:
            return None
        start = self._git.objects("merge-base", base, before, ok=(0, 1)).text.strip()
        return _Before(before, Judged(self.tree(before), Sha(start)) if start else None)
