"""What fails on the commit of a base that a head grew out of: while it does so there, it says nothing of the head."""

from __future__ import annotations

import math
import time

from reconciler.forges.github.look import Look
from reconciler.forges.github.pull import Pull
from reconciler.git.commands import Git
from reconciler.model.errors import ReconcileError
from reconciler.model.names import Sha
from reconciler.model.observed import CheckResult

KEPT_MAX = 1000
AGAIN_S = 60.0


class BasesBeneath:
    """What failed there, and only where a head is red that has not all of its base. It is asked for once for each such commit; as
    long as not all has ended there, or GitHub does not answer, again after a rest."""

    def __init__(self, git: Git, look: Look) -> None:
        self._git, self._look = git, look
        self._forks: dict[tuple[Sha, Sha], Sha | None] = {}
        self._red: dict[Sha, tuple[frozenset[str], float]] = {}  # and until when that holds

    def red(self, pull: Pull, tip: Sha) -> frozenset[str]:
        """The names of the checks that fail where an open pull request left its base, whose `tip` is another commit by now."""
        failed = any(check.result is CheckResult.FAILED for check in pull.checks)
        fork = self._fork(tip, pull.head) if failed else None
        if fork in (None, tip):
            return frozenset()
        found, until = self._red.get(fork, (frozenset[str](), 0.0))
        if time.monotonic() >= until:
            found, until = self._asked(fork, pull.base)
            if len(self._red) >= KEPT_MAX:
                self._red.clear()
            self._red[fork] = found, until
        return found

    def _asked(self, fork: Sha, base: str) -> tuple[frozenset[str], float]:
        try:
            checks = self._look.checks_of(fork, base)
        except ReconcileError:
            return frozenset(), time.monotonic() + AGAIN_S  # unknown: what is red counts as what it looks like
        over = all(check.result is not CheckResult.PENDING for check in checks)
        found = frozenset(check.name for check in checks if check.result is CheckResult.FAILED)
        return found, math.inf if over else time.monotonic() + AGAIN_S

    def _fork(self, tip: Sha, head: Sha) -> Sha | None:
        if (tip, head) not in self._forks:
            if len(self._forks) >= KEPT_MAX:
                self._forks.clear()
            found = self._git.objects("merge-base", tip, head, ok=(0, 1)).text.strip()
            self._forks[tip, head] = Sha(found) if found else None
        return self._forks[tip, head]
