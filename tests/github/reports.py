"""What is reported of commits, and which pushes are refused for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from github.bare import Bare
from github.records import CheckRun, Problem, Protection, Status
from github.rules import Report, unmet_checks


class Clerk(Protocol):
    """What reporting needs of the server."""

    me: str

    def number(self) -> int: ...
    def now(self) -> datetime: ...


@dataclass(kw_only=True, eq=False)
class Reports:
    """Check runs, statuses and rules of one repository."""

    site: Clerk
    bare: Bare
    checks: list[CheckRun] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    rules: dict[str, Protection] = field(default_factory=dict)
    on_rerun: Callable[[CheckRun], object] | None = None  # called with every check that was asked to run again
    hidden: frozenset[str] = frozenset()  # what its readers may not read: of `checks` and `statuses`
    late_checks: int = 0  # a fault: so many readings of the checks of each commit find none
    _unread: dict[str, int] = field(default_factory=dict)

    def check(
        self,
        commit: str,
        name: str,
        result: str | None = None,
        *,
        status: str | None = None,
        again: bool = False,
        workflow: str = "CI",
        event: str = "push",
        app: bool = False,
    ) -> CheckRun:
        """Report a check of a commit: `result` is a conclusion, or None while it runs. `again`: beside the old one.

        `app`: another program than GitHub Actions runs it.
        """
        known = [run for run in self.checks if (run.commit, run.name) == (commit, name)]
        if again or not known:
            number = self.site.number()
            run = CheckRun(
                number=number,
                workflow_run=None if app else 7000 + number,
                commit=commit,
                name=name,
                workflow=workflow,
                event=event,
                url=f"https://ci.example/{number}",
            )
            self.checks.append(run)
        else:
            run = known[-1]
        run.status = status.upper() if status else "COMPLETED" if result else "IN_PROGRESS"
        run.conclusion = result.upper() if result else None
        run.started_at = None if run.status == "QUEUED" else run.started_at or self.site.now()
        run.completed_at = self.site.now() if result else None
        self.tell_git()
        return run

    def rerun(self, workflow_run: int) -> None:
        """Run again what failed in a run of a workflow. Raises Problem."""
        runs = {run.name: run for run in self.checks if run.workflow_run == workflow_run}
        if not runs:
            raise Problem("Not Found", status=404)
        if any(run.status != "COMPLETED" for run in runs.values()):
            raise Problem("This workflow is already running", status=403)
        failed = [run for run in runs.values() if run.conclusion not in ("SUCCESS", "NEUTRAL", "SKIPPED")]
        if not failed:
            raise Problem("This workflow run cannot be retried", status=403)
        for run in failed:
            queued = replace(
                run, number=self.site.number(), status="QUEUED", conclusion=None, started_at=None, completed_at=None
            )
            self.checks.append(queued)
            if self.on_rerun is not None:
                self.on_rerun(queued)
        self.tell_git()

    def status(
        self, commit: str, context: str, state: str = "success", *, by: str = "", description: str = ""
    ) -> Status:
        """Write a commit status; the newest of a context counts."""
        made = Status(
            number=self.site.number(), commit=commit, context=context, state=state.upper(), creator=by or self.site.me,
            created_at=self.site.now(), description=description,
        )  # fmt: skip
        self.statuses.append(made)
        self.tell_git()
        return made

    def contexts(self, commit: str) -> list[Report]:
        """Every check run of a commit and the newest status of each context."""
        newest = {status.context: status for status in self.statuses if status.commit == commit}
        return [*(run for run in self.checks if run.commit == commit), *newest.values()]

    def shown(self, commit: str) -> list[Report]:
        """What a client gets to see of them."""
        waits = self._unread.setdefault(commit, self.late_checks)
        if waits:
            self._unread[commit] -= 1
            return []
        return self.contexts(commit)

    def protect(self, branch: str, **rules: object) -> Protection:
        """Set the rules of a branch: fields of `Protection`. Without any they are taken away."""
        self.rules.pop(branch, None)
        made = Protection(**rules)  # type: ignore[arg-type]
        if rules:
            self.rules[branch] = made
        self.tell_git()
        return made

    def landable(self, branch: str) -> Iterable[str]:
        """The commits that may be pushed straight to a protected branch: those that passed, where that is all it asks."""
        rules = self.rules[branch]
        commits = {run.commit for run in self.checks} | {status.commit for status in self.statuses}
        return [sha for sha in sorted(commits) if not rules.reviews and not unmet_checks(self.contexts(sha), rules)]

    def refused_push(self, branch: str, commit: str) -> str | None:
        """Why this commit may not be pushed straight to this branch; None when it may."""
        rules = self.rules.get(branch)
        if rules is None or rules.pushes or not (rules.required or rules.reviews or rules.queue):
            return None
        if not rules.queue and commit in self.landable(branch):
            return None
        return _why(rules)

    def closed(self) -> str | None:
        """Why nothing at all may be pushed; None when something may."""
        return None

    def tell_git(self) -> None:
        """Write down for git which pushes are to be refused, and with which words."""
        lines = []
        for branch, rules in self.rules.items():
            if rules.pushes or not (rules.required or rules.reviews or rules.queue):
                continue
            allowed = ",".join(["", *([] if rules.queue else self.landable(branch)), ""])
            lines.append(f"refs/heads/{branch} {allowed} {'GH006' if rules.classic else 'GH013'} {_why(rules)}\n")
        self.bare.note("refused", "".join(lines))
        self.bare.note("no-push", self.closed() or "")


def _why(rules: Protection) -> str:
    if rules.queue:
        return "Changes must be made through the merge queue"
    if rules.reviews:
        return "Changes must be made through a pull request."
    return unmet_checks((), rules)[0]
