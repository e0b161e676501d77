"""Stop an agent that must not go on: its task was closed, taken or stopped, or it reported that it is done and stayed,
or it has cost what it may."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import ClassVar

from reconciler.model.names import RunId
from reconciler.model.observed import Run, RunState, StopWhy
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.planning.actions import guards
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.budget import cost_so_far
from reconciler.planning.job import Job
from reconciler.planning.labels import STOPPED, TAKEN

ENDS_IN = timedelta(seconds=30)  # what has not ended its run by then is itself ended at the next word


class StopAgent(Action, frozen=True, kw_only=True):
    by_merge: ClassVar[bool] = False
    run: RunId
    why: StopWhy

    @classmethod
    def due(cls, job: Job) -> Decision:
        run = job.attempts.live
        if run is None:
            return None
        if job.failure and job.failure.of(cls.__name__) and (waiting := guards.resting(job)):
            return waiting
        if ends(run, job.now):
            return None
        task = job.task
        if job.attempts.done_claimed_at and job.now - job.attempts.done_claimed_at >= guards.LINGER:
            return cls._of(
                job, run.id, StopWhy.DONE, Reason.AGENT_DONE, "reported 60 s ago that it is done and still runs"
            )
        if run.done_at and job.now - run.done_at >= guards.GRACE:
            return cls._of(job, run.id, StopWhy.DONE, Reason.AGENT_DONE, "it printed its final result and still runs")
        if words := overspent(run, job):
            return cls._of(job, run.id, StopWhy.BUDGET, Reason.BUDGET_SPENT, words)
        if why := _overdue(run, job):
            message = "its time is over and its supervisor does not end it"
            return cls._of(job, run.id, why, Reason.TIMED_OUT if why is StopWhy.TIMED_OUT else Reason.STUCK, message)
        if task.closed and not job.attempts.done_claimed_at:
            return cls._of(job, run.id, StopWhy.CLOSED, Reason.TASK_CLOSED, "its task was closed")
        if STOPPED in task.labels:
            return cls._of(job, run.id, StopWhy.PERSON, Reason.STOPPED, "a person stopped it")
        if TAKEN in task.labels:
            return cls._of(job, run.id, StopWhy.PERSON, Reason.TAKEN, "a person took its task over")
        if task.assignee not in ("", job.us):
            return cls._of(
                job, run.id, StopWhy.PERSON, Reason.ASSIGNED_ELSEWHERE, f"its task was assigned to {task.assignee}"
            )
        if run.state is RunState.ENDING and (run.halted or left_alone(run, job.now)):
            what = (
                "it was asked to end, and something stopped its supervisor again"
                if run.halted
                else "it ended, but processes of it still live"
            )
            why = (run.exit and run.exit.stop) or StopWhy.PERSON
            return cls._of(job, run.id, why, Reason.LEFTOVERS, what)
        return None

    @classmethod
    def _of(cls, job: Job, run: RunId, why: StopWhy, reason: Reason, message: str) -> StopAgent:
        return cls(
            manifest=job.spec.name, task=job.task.id, reason=reason, message=f"stop {run}: {message}", run=run, why=why
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.runner.stop(self.run, self.why)
        yield from ()


def overspent(run: Run, job: Job) -> str | None:
    """That a run says that it has cost what it may, in words; None while it has not, or does not say."""
    return cost_so_far(job.spec.budget, job.attempts.spend, run)


def _overdue(run: Run, job: Job) -> StopWhy | None:
    """Which limit of a run has passed that its supervisor does not keep; None while none has.

    Where a supervisor works it knows better: a newer file is progress too, and only it looks for those.
    """
    agent = job.spec.agent
    if out_of_time(run, agent.timeout_s, job.now):
        return StopWhy.TIMED_OUT
    if not run.halted or run.started_at is None or not agent.stuck_after_s:
        return None
    quiet = job.now - (run.last_progress_at or run.started_at)
    return StopWhy.STUCK if quiet >= timedelta(seconds=agent.stuck_after_s) + guards.SWEPT else None


def out_of_time(run: Run, most_s: float, now: datetime) -> bool:
    """True for a run past its time whose supervisor is stopped: a working one keeps the time itself."""
    return (
        run.halted and run.started_at is not None and now - run.started_at >= timedelta(seconds=most_s) + guards.SWEPT
    )


def ends(run: Run, now: datetime) -> bool:
    """True for a run that was asked to end while something sees to it: to ask again would say the same at each look.

    Elsewhere each look asks again by itself, and it may take as long as a node is silent.
    """
    if run.state is not RunState.ENDING or run.where:
        return run.state is RunState.ENDING
    seen_to = not run.halted and not left_alone(run, now)
    return seen_to and run.stopped_at is not None and now - run.stopped_at < ENDS_IN


def left_alone(run: Run, now: datetime) -> bool:
    """True when nobody ends what lives of a run here: its supervisor is dead, or had its time."""
    return not run.where and run.pid is None if run.exit is None else now - run.exit.at > guards.SWEPT
