"""The attempts at a task: how many count, how the newest one ended, and what its agent says by itself. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct

from reconciler.model.observed import (
    Branch,
    Run,
    Unknown,
    Worktree,
)
from reconciler.model.reasons import Reason
from reconciler.model.report import Fault
from reconciler.model.values import replace
from reconciler.planning import run_results
from reconciler.planning.budget import Spend, spent, task_used_up
from reconciler.planning.facts import Facts
from reconciler.planning.run_results import RunResult


class Attempts(Struct, frozen=True, dict=True):
    """The work runs of a task, as far as they count."""

    facts: Facts

    @cached_property
    def live(self) -> Run | None:
        """The work run that is alive, whether it counts or not."""
        return (
            None
            if isinstance(self.facts.runs, Unknown)
            else next((r for r in reversed(self.facts.runs) if r.alive), None)
        )

    @cached_property
    def counted(self) -> tuple[Run, ...]:
        """Work runs since the last retry that really started, oldest first."""
        if isinstance(self.facts.runs, Unknown) or not self.facts.runs:
            return ()
        after = self.facts.since.n if self.facts.since else 0
        return tuple(run for run in self.facts.runs if run.id.n > after and run.started)

    @cached_property
    def last(self) -> Run | None:
        """The newest work run that counts."""
        return self.counted[-1] if self.counted else None

    @property
    def repairs(self) -> bool:
        """True where the newest one is to resolve a conflict, or is another start at that after one that came to nothing."""
        whys = (run.why for run in reversed(self.counted) if run.why in run_results.TOLD_OF_ITS_WORK)
        return next(whys, None) == Reason.CONFLICT

    @property
    def next_n(self) -> int:
        """The number of the next work run: one that was never used."""
        return 1 if isinstance(self.facts.runs, Unknown) else max((run.id.n for run in self.facts.runs), default=0) + 1

    @cached_property
    def done_claimed_at(self) -> datetime | None:
        """Since when the agent says that it is done, by a label it set on its own task."""
        run = self.live
        claimed = self.facts.task.labels & {"phase:committed"} or any(
            label.startswith("pr:") for label in self.facts.task.labels
        )
        if run and self.closed_by(run):
            claimed = True
        if not run or not run.started_at or not claimed:
            return None
        return max(self.facts.task.updated_at, run.started_at)

    def closed_by(self, run: Run) -> bool:
        """True when the task was closed by this run: by its session, or in our name while it lived."""
        task = self.facts.task
        if not task.closed or task.closed_by_session:
            return task.closed and task.closed_by_session == str(run.id)
        if task.closed_by != self.facts.us or task.closed_at is None or run.started_at is None:
            return False
        ended = run.exit.at if run.exit else self.facts.now
        # Some trackers know no fractions of a second.
        return run.started_at - timedelta(seconds=1) <= task.closed_at <= ended + timedelta(seconds=1)

    @cached_property
    def ending(self) -> RunResult | None:
        """How the newest attempt ended by itself; None where none has ended yet. Its work may still be judged bad."""
        run = self.last
        if run is None or run.alive:
            return None
        excused = not self._cannot_be(run_results.fault(run))
        found = run_results.of(run, new_commits=self.new_commits, excused=excused)
        if found.reason is Reason.NO_CHANGES and run.heard and self.facts.open_pull:
            return RunResult(None)  # it was asked a question, and there was nothing to change
        where = self._elsewhere(run) if found.reason is Reason.NO_CHANGES else None
        return replace(found, message=f"{found.message}; {where}") if where else found

    def _elsewhere(self, run: Run) -> str | None:
        """Where commits are that count for nothing; None where there are none."""
        tree, branch = self.facts.worktree, self.facts.branch
        if isinstance(tree, Worktree) and tree.off_its_branch:
            where = f"the branch {tree.branch}" if tree.branch else "no branch"
            return f"its worktree is on {where}, at {(tree.head or '')[:12]}: what was committed there is saved and counts for nothing"
        if (
            isinstance(branch, Branch)
            and branch.in_base
            and run.baseline
            and branch.head not in (run.baseline, run.base_tip)
        ):
            return f"what it committed ({branch.head[:12]}) is on {self.facts.spec.base} already, and was not landed by us: nothing checked it"
        return None

    def _cannot_be(self, fault: Fault | None) -> bool:
        """True for an excuse that does not hold: taken for one, it would be given again and again, at once."""
        before = self.counted[:-1]
        match fault:
            case Fault.SESSION:
                return run_results.session(before, self.facts.spec.agent.kind) is None  # it was to go on with none
            case Fault.BUDGET if task_used_up(self.facts.spec.budget, self.spend) is None:
                again = bool(before and run_results.fault(before[-1]) is Fault.BUDGET)
                # What one run may cost is an end of its own: the next one goes on, and is another attempt.
                budget = self.facts.spec.budget
                return again or budget.usd_per_task is None or budget.usd_per_run is not None
            case _:
                return False

    @property
    def new_commits(self) -> bool:
        """True when the branch holds commits that the last run's reason to be did not know."""
        run = self.last
        branch = self.facts.branch
        return isinstance(branch, Branch) and branch.ahead > 0 and (run is None or branch.head != run.baseline)

    @property
    def _unavailable_in_a_row(self) -> int:
        count = 0
        for run in reversed(self.counted):
            if not run.unavailable:
                break
            count += 1
        return count

    @property
    def session(self) -> str | None:
        """The session of its agent that the next attempt goes on with; None: it begins a new one."""
        return run_results.session(self.counted, self.facts.spec.agent.kind)

    @cached_property
    def spend(self) -> Spend:
        """What all of its runs have used, also those before the last retry, and its reviews."""
        sources = (self.facts.runs, self.facts.reviews)
        return spent(run for source in sources if not isinstance(source, Unknown) for run in source)
