"""What fails on the commit of a base that a head grew out of: while it does so there, it says nothing of the head."""

from __future__ import annotations

from reconciler.forges.github.look import Look
from reconciler.forges.github.pull import Pull
from reconciler.git.commands import Git
from reconciler.model.errors import ReconcileError
from reconciler.model.names import Sha
from reconciler.model.observed import CheckResult

KEPT_MAX = 1000


class BasesBeneath:
    """What failed there, asked for once for each such commit, and only where a head is red that has not all of its base."""

    def __init__(self, git: Git, look: Look) -> None:
        self._git, self._look = git, look
        self._forks: dict[tuple[Sha, Sha], Sha | None] = {}
        self._red: dict[Sha, frozenset[str]] = {}

    def red(self, pull: Pull, tip: Sha) -> frozenset[str]:
        """The names of the checks that fail where an open pull request left its base, whose `tip` is another commit by now."""
        failed = any(check.result is CheckResult.FAILED for check in pull.checks)
        fork = self._fork(tip, pull.head) if failed else None
        if fork in (None, tip):
            return frozenset()
        if fork not in self._red:
            try:
                checks = self._look.checks_of(fork, pull.base)
            except ReconcileError:
                return frozenset()  # unknown: what is red is told as what it looks like
            found = frozenset(check.name for check in checks if check.result is CheckResult.FAILED)
            if any(check.result is CheckResult.PENDING for check in checks):
                return found
            self._remember(fork, found)
        return self._red[fork]

    def _fork(self, tip: Sha, head: Sha) -> Sha | None:
        if (tip, head) not in self._forks:
            if len(self._forks) >= KEPT_MAX:
                self._forks.clear()
            found = self._git.objects("merge-base", tip, head, ok=(0, 1)).text.strip()
            self._forks[tip, head] = Sha(found) if found else None
        return self._forks[tip, head]

    def _remember(self, fork: Sha, found: frozenset[str]) -> None:
        if len(self._red) >= KEPT_MAX:
            self._red.clear()
        self._red[fork] = found
