"""What has landed, read from the base itself: the commits on its first-parent line that carry our trailers.

A merge commit brings the branch's own commits with it, and an agent may have written trailers into those: they are not
on the first-parent line. A person who moves the base to such a branch by fast-forward makes them count; that is theirs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from reconciler.git import objects
from reconciler.git.ancestry import Ancestry
from reconciler.git.commands import Git
from reconciler.git.refusals import GitError
from reconciler.landing import message, signature
from reconciler.landing.walked import Walked
from reconciler.model.names import Sha
from reconciler.model.observed import BaseCommit, Landing

_REMEMBERED_BASES = 8
_STEPS = 64
_RECENT = 20


class History:
    """Landings and ancestry. Commits never change, so what was read once is read again only where a base has moved."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._walked = Walked(git)
        self._read: dict[str, tuple[Sha, tuple[Landing, ...]]] = {}
        self._eras: dict[Sha, tuple[str, int]] = {}  # the base that it was the tip of, and the era
        self._era = 0
        self._ancestry = Ancestry(git)
        self._recent: dict[Sha, tuple[BaseCommit, ...]] = {}  # by the tips that were asked for
        self.contains = lru_cache(8192)(self._contains)

    def landings(self, base: str, tip: Sha) -> tuple[Landing, ...]:
        """Every landing on the line that ends in `tip`, oldest first."""
        before = self._read.get(base)
        if before and before[0] == tip:
            return before[1]
        before = before or self._walked.upto(base)
        longer = self._since(before[0], tip) if before else None
        if before and longer is not None:
            found = (*before[1], *(landing for landing in longer if landing))
        else:
            found = self._walk(tip)
        if not (before and longer and all(longer)):
            self._era += 1  # somebody else had a part in how the base came to be what it is
        self._eras[tip] = base, self._era
        kept = list(self._read.items())[-_REMEMBERED_BASES:]
        self._read = {**dict(kept), base: (tip, found)}
        self._walked.note(base, tip, found)
        return found

    def only_landings_between(self, old: Sha, new: Sha) -> bool:
        """True where a base is known to have come from one tip to the other by landings of ours alone."""
        era = self._eras.get(new)
        return old == new or (era is not None and self._eras.get(old) == era)

    def is_tip(self, commit: Sha) -> bool:
        """True for what a base pointed to when its landings were read last."""
        return any(tip == commit for tip, _ in self._read.values())

    def recent(self, tip: Sha) -> tuple[BaseCommit, ...]:
        """The newest commits on the line that ends in `tip`, that one first."""
        if tip not in self._recent:
            kept = list(self._recent.items())[1 - _REMEMBERED_BASES :]
            self._recent = {**dict(kept), tip: self._line(tip)[:_RECENT]}
        return self._recent[tip]

    def _line(self, tip: Sha) -> tuple[BaseCommit, ...]:
        found: list[BaseCommit] = []
        at = tip
        while at not in self._recent and len(found) < _RECENT:
            commit = objects.loose_commit(self._git, at)
            if commit is None:  # only git can tell, also where a shallow clone ends
                form = ("--no-commit-header", "--format=%H %T", f"--max-count={_RECENT}")
                rows = self._git.objects("rev-list", "--first-parent", *form, tip).text.splitlines()
                return tuple(BaseCommit(*map(Sha, row.split(" "))) for row in rows)
            found.append(BaseCommit(at, commit.tree))
            if not commit.parents:
                return tuple(found)
            at = commit.parents[0]
        return (*found, *self._recent.get(at, ()))

    def lacks(self, tip: Sha, than: Sha) -> tuple[Sha, ...]:
        """The commits on the first-parent line of `tip` that `than` does not contain."""
        listed = self._git.objects("rev-list", "--first-parent", tip, f"^{than}")
        return tuple(Sha(sha) for sha in listed.text.split())

    def _contains(self, base: Sha, commit: Sha) -> bool:
        return base == commit or self._ancestry.contains(base, commit)

    def _since(self, old: Sha, tip: Sha) -> list[Landing | None] | None:
        """What each commit after `old` landed (None: it is no landing), oldest first; None where `old` is not on the line."""
        if (near := self._few_since(old, tip)) is not None:
            return near
        try:
            rows = self._rows(tip, f"^{old}")
        except GitError:  # what was written down of another line may be gone with it
            return None
        # A merge *of* the base into something else makes the old tip an ancestor that is not on the new line.
        if not rows or rows[0][1].split(" ")[0] != old:
            return None
        return [_landing(Sha(sha), int(seconds), text) for sha, _, seconds, text in rows]

    def _few_since(self, old: Sha, tip: Sha) -> list[Landing | None] | None:
        """The same, where the few commits in between are files; None where only git can tell."""
        found: list[Landing | None] = []
        while tip != old:
            commit = objects.loose_commit(self._git, tip) if len(found) < _STEPS else None
            if commit is None or not commit.parents:
                return None
            found.append(_landing(commit.sha, signature.parse(commit.committer).seconds, commit.text))
            tip = commit.parents[0]
        return found[::-1]

    def _walk(self, tip: Sha) -> tuple[Landing, ...]:
        rows = self._rows("--basic-regexp", f"--grep=^{message.HEAD}: ", tip)
        found = (_landing(Sha(sha), int(seconds), text) for sha, _, seconds, text in rows)
        return tuple(landing for landing in found if landing)

    def _rows(self, *which: str) -> list[tuple[str, ...]]:
        """(commit, parents, time, message) of commits on a first-parent line, oldest first."""
        form = ("--no-commit-header", "--format=%H%x00%P%x00%ct%x00%B%x00")
        found = self._git.objects("rev-list", "--first-parent", *form, *which).out.decode("utf-8", "replace")
        cells = [cell.strip("\n") for cell in found.split("\0")]
        return list(reversed(list(zip(cells[0::4], cells[1::4], cells[2::4], cells[3::4], strict=False))))


def _landing(commit: Sha, seconds: int, text: str) -> Landing | None:
    named = message.landed(text)
    if named is None:
        return None
    return Landing(task=named[0], head=named[1], commit=commit, at=datetime.fromtimestamp(seconds, UTC))
