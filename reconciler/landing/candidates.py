"""What the base becomes when a head lands on it: computed without writing anything, and remembered."""

from __future__ import annotations

import time
from collections.abc import Sequence

from reconciler.git.commands import Git
from reconciler.landing.chains import Chains
from reconciler.landing.merge_tree import MergeTrees
from reconciler.model.errors import ReconcileError
from reconciler.model.names import Sha
from reconciler.model.observed import Candidate, Conflict, MergeStep

REMEMBERED = 16_384
# Objects can be made by hand at which git works for as long as it is let: all else would wait for them at every look.
LONG_S = 10.0
RESTS = 20  # times as long as it took


class Candidates:
    """Merges heads into bases. What was computed for a pair is remembered until `forget`.

    `whole`: somebody merges who makes no exception for `.beads/`.
    """

    def __init__(self, git: Git, *, whole: bool = False) -> None:
        self.benches = MergeTrees(git)
        self._chains = Chains(git, self.benches, whole=whole)
        self._pairs: dict[tuple[Sha, Sha], Candidate | Conflict] = {}
        self._newest: dict[Sha, Candidate | Conflict] = {}
        self._failed: dict[Sha, tuple[float, ReconcileError]] = {}  # by head: until when it is not tried again

    def judge(self, base: Sha, head: Sha) -> Candidate | Conflict:
        """The tree that landing `head` on `base` makes, or why git can't make one."""
        found = self._pairs.get((base, head)) or self._tried(base, head)
        if len(self._pairs) >= REMEMBERED:
            self._pairs.clear()
            self._newest.clear()
        self._pairs[base, head] = found
        return found

    def fold(self, base: Sha, steps: tuple[MergeStep, ...]) -> tuple[Candidate | Conflict, ...]:
        """What landing these heads on `base` one after the other makes, step by step; what conflicts is left out of the rest.

        What follows a change of `.gitattributes` conflicts too: by which rules it merges is known once that has landed.
        """
        return self._chains.fold(base, steps)

    def store(self, base: Sha, steps: Sequence[MergeStep], tree: Sha) -> bool:
        """Have the tree that landing these on `base` makes in the repository; False where it is to be merged for that again."""
        return self._chains.store(base, steps, tree)

    def lands_as(self, base: Sha, steps: Sequence[MergeStep], commit: Sha) -> None:
        """Remember by which commit these land on `base`: what was merged behind them is the same once they have."""
        self._chains.note(base, steps, commit)

    def note(self, found: Candidate | Conflict) -> None:
        """Remember it as the newest of its head: it is one on a tip of a base, not on one of before."""
        self._newest[found.head] = found

    def newest(self, head: Sha) -> Candidate | Conflict | None:
        """What was computed last for a head, on whatever base."""
        return self._newest.get(head)

    def forget(self) -> None:
        """Compute again from now on. A merge driver or another git may have changed what a merge gives."""
        self._pairs.clear()
        self._newest.clear()
        self._chains.forget()

    def _tried(self, base: Sha, head: Sha) -> Candidate | Conflict:
        begun = time.monotonic()
        until, error = self._failed.get(head, (begun, None))
        if error and begun < until:
            raise error.with_traceback(None)
        try:
            return self._chains.merged(base, head)
        except ReconcileError as failed:
            took = time.monotonic() - begun
            if took > LONG_S:
                self._failed[head] = begun + RESTS * took, failed
            raise
