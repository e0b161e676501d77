"""What has landed, read from the base itself: the commits on its first-parent line that carry our trailers.

A merge commit brings the branch's own commits with it, and an agent may have written trailers into those: they are not
on the first-parent line. A person who moves the base to such a branch by fast-forward makes them count; that is theirs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from reconciler.forges.local import message
from reconciler.git import Git
from reconciler.names import Sha
from reconciler.observed import Landing

_REMEMBERED_BASES = 8


class History:
    """Landings and ancestry. Commits never change, so what was read once is read again only where a base has moved."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._read: dict[str, tuple[Sha, tuple[Landing, ...]]] = {}
        self.contains = lru_cache(8192)(self._contains)

    def landings(self, base: str, tip: Sha) -> tuple[Landing, ...]:
        """Every landing on the line that ends in `tip`, oldest first."""
        before = self._read.get(base)
        if before and before[0] == tip:
            return before[1]
        longer = self._since(before[0], tip, before[1]) if before else None
        found = self._walk(tip) if longer is None else longer
        kept = list(self._read.items())[-_REMEMBERED_BASES:]
        self._read = {**dict(kept), base: (tip, found)}
        return found

    def lacks(self, tip: Sha, than: Sha) -> tuple[Sha, ...]:
        """The commits on the first-parent line of `tip` that `than` does not contain."""
        listed = self._git.objects("rev-list", "--first-parent", tip, f"^{than}")
        return tuple(Sha(sha) for sha in listed.text.split())

    def _contains(self, base: Sha, commit: Sha) -> bool:
        if base == commit:
            return True
        found = self._git.objects("merge-base", "--is-ancestor", commit, base, ok=(0, 1))
        return found.code == 0

    def _since(self, old: Sha, tip: Sha, known: tuple[Landing, ...]) -> tuple[Landing, ...] | None:
        # A merge *of* the base into something else makes the old tip an ancestor that is not on the new line.
        newer = self.lacks(tip, old)
        if not newer:
            return None
        parent = self._git.objects("rev-parse", "--verify", "--quiet", f"{newer[-1]}^1", ok=(0, 1)).text.strip()
        return (*known, *self._walk(tip, f"^{old}")) if parent == old else None

    def _walk(self, *ends: str) -> tuple[Landing, ...]:
        found = self._git.objects(
            "rev-list",
            "--first-parent",
            "--basic-regexp",
            f"--grep=^{message.HEAD}: ",
            "--no-commit-header",
            "--format=%H%x00%ct%x00%B%x00",
            *ends,
        ).out.decode("utf-8", "replace")
        cells = found.split("\0")
        rows = zip(cells[0::3], cells[1::3], cells[2::3], strict=False)
        landings = (_landing(Sha(sha.strip()), int(seconds), text) for sha, seconds, text in rows)
        return tuple(landing for landing in reversed(list(landings)) if landing)


def _landing(commit: Sha, seconds: int, text: str) -> Landing | None:
    said = message.landed(text)
    if said is None:
        return None
    return Landing(task=said[0], head=said[1], commit=commit, at=datetime.fromtimestamp(seconds, UTC))
