"""The pull requests of one repository: what a push does to them, and whether they merge. Git is asked each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from github.bare import GITHUB, NOBODY, Bare, Refused
from github.records import Problem, Protection, Pull
from github.reports import Clerk, Reports
from github.rules import refusals
from github.workflows import Workflow


class Source(Protocol):
    """A repository that a branch is in."""

    bare: Bare

    @property
    def full_name(self) -> str: ...


class Finder(Clerk, Protocol):
    """What following branches needs of the server."""

    def find(self, name: str) -> Source | None: ...


@dataclass(kw_only=True, eq=False)
class Pulls(Reports):
    """Every method that shows or changes a pull request looks at git first (`look`)."""

    site: Finder
    owner: str
    name: str
    pulls: dict[int, Pull] = field(default_factory=dict)
    on_head: Callable[[str], object] | None = None  # called with every new head of a pull request: its checks may begin
    workflows: list[Workflow] = field(default_factory=list)
    late_pushes: int = 0  # a fault: so many more requests are answered as if nothing had been pushed
    unknown_reads: int = 0  # a fault: so many readings of `mergeable` say UNKNOWN for each new pair of tip and head
    stale_reads: int = 0  # a fault: so many readings tell what was true before the base moved
    _waits: dict[tuple[int, str, str], int] = field(default_factory=dict)
    _trees: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _before: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As in `owner/name`."""
        return f"{self.owner}/{self.name}"

    def pull(self, number: int) -> Pull:
        """A pull request as it is now."""
        self.look()
        return self.pulls[number]

    def opened(self) -> list[Pull]:
        """The open ones."""
        return [pull for pull in self.pulls.values() if pull.state == "OPEN"]

    def head(self, branch: str) -> str:
        """The commit of a branch."""
        return self.bare.heads()[branch]

    def source_of(self, pull: Pull) -> Source | None:
        """Where its branch is; None once that repository is gone."""
        return self.site.find(pull.source) if pull.source else None

    def rules_of(self, pull: Pull) -> Protection:
        """The rules of the branch it goes into; none at all where that is not protected."""
        return self.rules.get(pull.into, Protection())

    def close(self, number: int) -> None:
        """Close a pull request without merging it."""
        pull = self.pulls[number]
        if pull.state == "MERGED":
            raise Problem("Can't close a pull request that is already merged.")
        pull.state, pull.closed_at, pull.auto_merge, pull.queue = "CLOSED", self.site.now(), None, None
        self.touch(pull)

    def merged(self, pull: Pull, commit: str, *, by: str) -> None:
        """It is merged, by this commit."""
        now = self.site.now()
        pull.state, pull.merged_at, pull.closed_at, pull.merged_by, pull.merge_commit = "MERGED", now, now, by, commit
        pull.auto_merge = pull.queue = None
        self.touch(pull)

    def touch(self, pull: Pull) -> None:
        """It has changed now."""
        pull.updated_at = self.site.now()
        self.tell_git()

    # --- what is pushed ------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take in what was pushed, in order: heads that moved, pull requests that are merged, empty, or without branch."""
        if self.late_pushes > 0:
            return
        for workflow in self.workflows:
            workflow.go_on(self)
        for repository, ref, new in list(self._pushes()):
            for pull in self.opened():
                if repository is self and pull.into == ref:
                    self._base_moved(pull, new)
                elif pull.source == repository.full_name and pull.branch == ref:
                    self._head_moved(pull, new)

    def _pushes(self) -> Iterator[tuple[Source, str, str]]:
        """Repository, branch and commit: what git's hook wrote down, then where things are, however they came there."""
        names = {pull.source for pull in self.opened() if pull.source} | {self.full_name}
        sources = [found for name in sorted(names) if (found := self.site.find(name))]
        for repository in sources:
            for ref, new in repository.bare.pushed():
                if ref.startswith("refs/heads/"):
                    for workflow in self.workflows if repository is self else ():
                        workflow.pushed(self, ref.removeprefix("refs/heads/"), new)
                    yield repository, ref.removeprefix("refs/heads/"), new
        for repository in sources:
            heads = repository.bare.heads()
            watched = {pull.into for pull in self.opened() if repository is self}
            watched |= {pull.branch for pull in self.opened() if pull.source == repository.full_name}
            for branch in sorted(watched):
                yield repository, branch, heads.get(branch, NOBODY)

    def _base_moved(self, pull: Pull, new: str) -> None:
        if new == pull.tip:
            return
        if new == NOBODY:
            self.close(pull.number)
            return
        self._before[pull.number] = (pull.tip, pull.head)
        pull.tip = new
        if self.bare.contains(new, pull.head):
            self.merged(pull, new, by=pull.author)

    def _head_moved(self, pull: Pull, new: str) -> None:
        if new == pull.head:
            return
        if new == NOBODY:
            self.close(pull.number)
            return
        before = pull.base
        self._take_head(pull, new)
        if self.bare.contains(pull.tip, new):
            # Moved onto something that has landed since: merged. Without a commit of its own: closed.
            if self.bare.contains(before, new):
                self.close(pull.number)
            else:
                self.merged(pull, new, by=pull.author)

    def _take_head(self, pull: Pull, head: str) -> None:
        self._fetch(pull, head)
        if head != pull.head and self.rules_of(pull).dismiss_stale:
            for review in pull.reviews:
                if review.state == "APPROVED":
                    review.state, review.dismissed_by, review.outdated_by = "DISMISSED", pull.author, head
        pull.head, pull.base = head, pull.tip
        self.bare.update(f"refs/pull/{pull.number}/head", head)
        self.touch(pull)
        if self.on_head is not None:
            self.on_head(head)

    def _fetch(self, pull: Pull, head: str) -> None:
        source = self.source_of(pull)
        if source is not None and source is not self:
            self.bare.git("fetch", "--quiet", str(source.bare.path), head)

    # --- whether it merges ---------------------------------------------------------------------------------

    def mergeable(self, pull: Pull) -> str:
        """MERGEABLE, CONFLICTING or UNKNOWN, computed for the present tip and head when it is asked for."""
        if pull.state != "OPEN":
            return "UNKNOWN"
        pair = (pull.tip, pull.head)
        waits = self._waits.setdefault((pull.number, *pair), self.unknown_reads)
        if waits:
            self._waits[pull.number, *pair] -= 1
            return "UNKNOWN"
        if self.stale_reads and pull.number in self._before:
            self.stale_reads -= 1
            pair = self._before[pull.number]
        return "CONFLICTING" if self.tree(*pair) is None else "MERGEABLE"

    def tree(self, tip: str, head: str) -> str | None:
        """The tree of merging the two; None when they conflict."""
        if (tip, head) not in self._trees:
            try:
                self._trees[tip, head] = self.bare.merged_tree(tip, head)
            except Refused:
                self._trees[tip, head] = None  # histories without a common commit
        return self._trees[tip, head]

    def test_merge(self, pull: Pull) -> str | None:
        """The commit in which GitHub has tried to merge it, of the present tip and head; None where it doesn't merge."""
        tree = self.tree(pull.tip, pull.head) if pull.state == "OPEN" else None
        if tree is None:
            return None
        words = f"Merge {pull.head} into {pull.tip}\n"
        made = self.bare.write(tree, (pull.tip, pull.head), words, GITHUB, GITHUB, "")
        self.bare.update(f"refs/pull/{pull.number}/merge", made)
        return made

    def landable(self, branch: str) -> Iterable[str]:
        """Beside commits that passed: heads of pull requests into it that meet all its rules."""
        pulls = [pull for pull in self.opened() if pull.into == branch]
        met = [pull.head for pull in pulls if not refusals(pull, self.contexts(pull.head), self.rules[branch])]
        return [*super().landable(branch), *met]
