"""Checks run again on GitHub: what GitHub Actions ran can be; what other programs report can't.

That it was asked for is noted before it is asked for, with the runs that were there: newer ones tell that it was done, so
that a request which was lost, or never sent, is made again and none that was heard is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from reconciler.forges.github.gh import Gh
from reconciler.forges.github.look import Look
from reconciler.forges.github.notes import Notes, SecondRun
from reconciler.forges.github.pull import Pull
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import PrNumber, Sha
from reconciler.model.observed import CheckResult, Rerun
from reconciler.model.values import replace

_NOT_GREEN = (CheckResult.FAILED, CheckResult.VOID)
_BUSY = "already running"  # jobs that wait for others are not shown before they start
_ENOUGH = Rerun(at=datetime.fromtimestamp(0, UTC))


class Reruns:
    """The second runs of one repository."""

    def __init__(self, gh: Gh, look: Look, notes: Notes) -> None:
        self._gh, self._look, self._notes = gh, look, notes

    def of(self, pull: Pull) -> Rerun | None:
        """The second run of the head that a pull request has; None where none was asked for."""
        try:
            kept = self._notes.second_run(pull.number)
        except PermanentError:
            return _ENOUGH  # whether it was asked for is not known: so it is not asked for again
        if kept is None or kept.head != pull.head:
            return None
        at, after = datetime.fromisoformat(kept.at), frozenset(kept.after)
        return Rerun(at=at, after=after, names=tuple(kept.names), times=kept.times)

    def ask(self, number: PrNumber, head: Sha, workflows: Sequence[int]) -> None:
        """Have workflows run again what did not end well in them. Raises ChangedError where GitHub does not."""
        pull = self._look.one(number)
        if pull is None or not pull.open or pull.head != head:
            raise ChangedError(f"the head of #{number} has moved on")
        before = self.of(pull)
        bad = [c for c in pull.checks if c.result in _NOT_GREEN and c.workflow in workflows]
        if not bad or (before and not any(check.number in before.after for check in bad)):
            raise ChangedError(f"the checks of #{number} were run again meanwhile")
        asked = SecondRun(
            head=head,
            at=datetime.now(UTC).isoformat(),
            after=sorted(check.number for check in bad if check.number is not None),
            names=sorted({check.name for check in bad}),
            times=before.times + 1 if before else 1,
        )
        self._notes.asked_again(number, asked)
        self._look.stale()
        for workflow in workflows:
            answer = self._gh.change("POST", f"{self._look.slug.path}/actions/runs/{workflow}/rerun-failed-jobs")
            if not answer.ok:
                # What is not run again is as it was: nothing is waited for, but the end of what still runs in it.
                if _BUSY not in answer.text:
                    self._notes.asked_again(number, replace(asked, after=[], names=[]))
                raise ChangedError(f"the checks of #{number} are not run again: {answer.message or answer.status}")
