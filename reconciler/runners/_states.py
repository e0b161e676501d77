"""What state a run is in, from its record, its locks and its processes. Pure.

A good ending is believed as soon as it is recorded, while the shim still sweeps; for everything else a run counts as
alive until nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.model.observed import Cause, Exit, Run, RunState
from reconciler.model.report import Report
from reconciler.model.verdicts import ReviewVerdict
from reconciler.runners._locks import Held
from reconciler.runners._records import Record

NOTHING = Held(shim=False, agent=False)


class Witnesses(Struct, frozen=True):
    """What is known about the life of one run. `carried` looks for processes, and is asked only where it matters."""

    held: Held
    carried: Callable[[], bool]
    boot_id: str
    now: datetime


class RunVerdict(Struct, frozen=True):
    """A run's state; `over`: nothing of it lives, and nothing about it will ever change."""

    state: RunState
    over: bool = False


def judge(record: Record, seen: Witnesses) -> RunVerdict:
    """The state of a run. `seen.held` must be older than `record`: a shim writes its record before it lets go."""
    if not record.start.at.local:
        return _elsewhere(record)
    if record.exit is not None:
        return _recorded(record.exit, seen)
    if seen.held.shim:
        if record.stop:
            return RunVerdict(RunState.ENDING)
        return RunVerdict(RunState.RUNNING if record.set_up else RunState.STARTING)
    if seen.held.agent:
        return RunVerdict(_unsupervised(record, seen.now))
    # The record of its beginning is written before anything of it may start.
    if record.started_at is not None and record.boot_id == seen.boot_id and seen.carried():
        return RunVerdict(RunState.ENDING)
    return RunVerdict(RunState.ENDED if record.stop and record.started_at else RunState.LOST, over=True)


def as_run(
    record: Record,
    judged: RunVerdict,
    held: Held,
    report: Report | None = None,
    done_at: datetime | None = None,
    *,
    usd: float | None = None,
    verdict: ReviewVerdict | str = "",
    halted: bool = False,
) -> Run:
    """A run as others see it. `report`: what its agent reported of it, once it has ended; `done_at`: since when it says, while
    it still runs, that it has; `usd`: what it says until then that it has cost; `verdict`: of a review, once it is over, or what is wrong with it; `halted`: its supervisor is stopped."""
    return Run(
        id=record.id,
        task=record.start.task,
        manifest=record.start.manifest,
        state=judged.state,
        attempt=record.start.attempt,
        why=record.start.why,
        baseline=record.start.baseline,
        base_tip=record.start.base_tip,
        tree=record.start.tree,
        heads=record.start.heads,
        left_out=record.start.left_out,
        below=record.start.below,
        judged=record.start.judged,
        terms=record.start.terms,
        verdict=None if isinstance(verdict, str) else verdict,
        unread=verdict if isinstance(verdict, str) else "",
        heard=record.start.heard,
        started_at=record.started_at,
        last_progress_at=record.last_progress_at,
        pid=record.pid if held.shim and not judged.over else None,
        exit=record.exit or (_told_to_stop(record) if judged.state is RunState.ENDED else None),
        agent=record.start.agent,
        report=report,
        usd=usd,
        done_at=done_at,
        stopped_at=record.stopped_at if judged.state is RunState.ENDING else None,
        halted=halted,
        where="" if record.start.at.local else f"{record.start.at.kind}:{record.node}".rstrip(":"),
        remark=record.given_up,
        says=record.says,
    )


def _recorded(ending: Exit, seen: Witnesses) -> RunVerdict:
    if seen.held.shim:
        return RunVerdict(RunState.ENDED if ending.well else RunState.ENDING)
    if seen.held.agent or seen.carried():
        return RunVerdict(RunState.ENDING)
    return RunVerdict(RunState.ENDED, over=True)


def _elsewhere(record: Record) -> RunVerdict:
    """Of a run that is not on this machine: what was heard of it. No lock and no process here says anything."""
    if record.exit is not None:
        return RunVerdict(RunState.ENDED, over=True)
    if record.given_up:
        return RunVerdict(RunState.ENDED if record.stop and record.started_at else RunState.LOST, over=True)
    if record.stop:
        return RunVerdict(RunState.ENDING)
    return RunVerdict(RunState.RUNNING if record.set_up else RunState.STARTING)


def _unsupervised(record: Record, now: datetime) -> RunState:
    """Its shim was killed. The agent may go on, but nobody else keeps its time limit, or takes it on from set-up."""
    if record.stop or not record.set_up or record.started_at is None:
        return RunState.ENDING
    limit = timedelta(seconds=min(record.start.timeout_s, 10.0**9))
    return RunState.ENDING if now - record.started_at > limit else RunState.RUNNING


def _told_to_stop(record: Record) -> Exit | None:
    # Stands in for the record that a killed shim could not write.
    if record.stop is None or record.stopped_at is None:
        return None
    return Exit(cause=Cause.STOPPED, stop=record.stop, at=record.stopped_at)
