"""What the base becomes when a head lands on it: computed without writing anything, and remembered."""

from __future__ import annotations

from functools import lru_cache

from reconciler.forges.local.bench import BEADS, Bench, Benches
from reconciler.git import Git
from reconciler.names import Sha
from reconciler.observed import Candidate, Conflict

REMEMBERED = 1024


class Candidates:
    """Merges heads into bases. What was computed for a pair is remembered until `forget`."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self.benches = Benches(git)
        self._remembered = lru_cache(REMEMBERED)(self._judge)

    def judge(self, base: Sha, head: Sha) -> Candidate | Conflict:
        """The tree that landing `head` on `base` makes, or why git can't make one."""
        return self._remembered(base, head)

    def forget(self) -> None:
        """Compute anew from now on. A merge driver or another git may have changed what a merge gives."""
        self._remembered.cache_clear()

    def _judge(self, base: Sha, head: Sha) -> Candidate | Conflict:
        with self.benches.at(base, quarantined=True) as bench:
            parted = _parted(bench, base, head)
            if parted is None:
                return Conflict(base=base, head=head, detail="it has no commit in common with the base")
            return merge(bench, base, head, parted)


def merge(bench: Bench, base: Sha, head: Sha, parted: Sha | None = None) -> Candidate | Conflict:
    """Merge `head` into `base` on this bench; `.beads` stays as the base has it, and is never in conflict."""
    tree = bench.tree(head)
    cleaned = bench.with_beads_of(base, tree)
    theirs = head if cleaned == tree else bench.commit(cleaned, head)
    merged = bench.merge(base, theirs)
    if merged.conflicts:
        return Conflict(base=base, head=head, paths=merged.conflicts)
    own = {path for path in bench.changed(parted, head) if not _of_beads(path)} if parted else True
    return Candidate(
        base=base, head=head, tree=merged.tree, changed=bench.changed(base, merged.tree), own_changes=bool(own)
    )


def _parted(bench: Bench, base: Sha, head: Sha) -> Sha | None:
    found = bench.run("merge-base", base, head, ok=(0, 1))
    return Sha(found.text.strip()) if found.code == 0 else None


def _of_beads(path: str) -> bool:
    return path == BEADS or path.startswith(f"{BEADS}/")
