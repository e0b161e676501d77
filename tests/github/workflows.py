"""Workflows: checks that run on what is pushed to branches of some names, for a while, and then say what they found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Protocol

from github.bare import NOBODY
from github.records import CheckRun
from github.reports import Clerk


class Reporter(Protocol):
    """A repository whose commits they report about."""

    site: Clerk

    def check(self, commit: str, name: str, result: str | None = None, *, again: bool = False) -> CheckRun: ...


@dataclass(kw_only=True)
class Workflow:
    """One of them. `branches`: a glob; `result`: the conclusion of a commit; `lasts_s`: so long it takes; None: for ever.

    `rounds`: by commit, how many runs came one after the other up to the one of it. What runs side by side is one round.
    """

    branches: str
    name: str = "ci"
    result: Callable[[str], str] = lambda commit: "success"
    lasts_s: float | None = 0.0
    ready: Callable[[], bool] = lambda: True  # before that no machine is free
    rounds: dict[str, int] = field(default_factory=dict)
    pushes: list[tuple[str, str]] = field(default_factory=list)  # branch and commit
    _at_work: list[CheckRun] = field(default_factory=list)
    _over: int = 0

    def pushed(self, repository: Reporter, branch: str, commit: str) -> None:
        """Something was pushed."""
        if commit == NOBODY or not fnmatchcase(branch, self.branches):
            return
        self.pushes.append((branch, commit))
        self.rounds[commit] = self._over + 1
        self._at_work.append(repository.check(commit, self.name, again=True))

    def go_on(self, repository: Reporter) -> None:
        """What has run for long enough ends."""
        if self.lasts_s is None or not self.ready():
            return
        since = repository.site.now() - timedelta(seconds=self.lasts_s)
        for run in [run for run in self._at_work if run.started_at and run.started_at <= since]:
            self._at_work.remove(run)
            repository.check(run.commit, self.name, self.result(run.commit))
            self._over = max(self._over, self.rounds[run.commit])
