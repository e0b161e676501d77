"""Why no agent of a manifest may start at all: its program, its account or its budget stands in the way. Pure.

All of it is read off the records of runs, so that a restart changes nothing about it. What a person does about it, a
changed manifest or a `retry`, ends every pause but that of the budget, which ends when it is raised.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from heapq import nlargest

from reconciler import endings
from reconciler.desired import EpicSpec
from reconciler.observed import Cause, Observed, Run, Unknown
from reconciler.reasons import Reason
from reconciler.report import Fault
from reconciler.spending import Spend, spent, used_up

BREAKER_RUNS = 3
BREAKER_SPAN = timedelta(minutes=2)
BREAKER_QUICK = timedelta(seconds=10)
LIMIT_MOST = timedelta(days=8)  # the longest limits are of a week; a date beyond is no date

Hold = tuple[Reason, str, datetime | None]


def spawn_hold(spec: EpicSpec, observed: Observed) -> Hold | None:
    """Why no agent of this manifest may start at all."""
    if missing := observed.agents_missing.get(spec.name):
        return Reason.AGENT_UNAVAILABLE, missing, None
    if words := used_up(spec.budget, spend_of(spec, observed)):
        return Reason.BUDGET_SPENT, f"{words}; raise the budget in the manifest to go on", None
    ended = _ended_runs(spec, observed)
    newest = nlargest(BREAKER_RUNS, ended, key=_end)
    return _limited(spec, ended, observed.at) or _broken(newest, observed) or _unavailable(spec, newest, observed.at)


def spend_of(spec: EpicSpec, observed: Observed) -> Spend:
    """What all runs of a manifest have used, whenever they were, also of tasks that are gone."""
    if isinstance(observed.runs, Unknown):
        return Spend()
    return spent(run for runs in observed.runs.values() for run in runs if run.manifest == spec.name)


def _limited(spec: EpicSpec, ended: list[Run], now: datetime) -> Hold | None:
    """The usage limit that was met last decides, for all tasks: they share the account."""
    met = [run for run in ended if run.report and run.report.fault is Fault.USAGE_LIMIT]
    until, said = max(
        ((_lifted(run, spec, now), run.report.said if run.report else "") for run in met), default=(now, "")
    )
    if until <= now:
        return None
    return Reason.USAGE_LIMIT, f"its agent's usage limit is reached: {said}", until


def _lifted(run: Run, spec: EpicSpec, now: datetime) -> datetime:
    """When the limit that a run met is lifted: as was said, else after the longest backoff."""
    ended, stated = _end(run), run.report.retry_at if run.report else None
    if stated and ended < stated <= ended + LIMIT_MOST:
        return now if _from_the_future(run, spec, now) else stated
    return _rested(run, spec, now)


def _rested(run: Run, spec: EpicSpec, now: datetime) -> datetime:
    """When an ending has been followed by the longest backoff."""
    if _from_the_future(run, spec, now):
        return now
    return min(_end(run), now) + timedelta(seconds=spec.agent.backoff_max_s)


def _from_the_future(run: Run, spec: EpicSpec, now: datetime) -> bool:
    """True where the clock was set back since a run ended: nobody knows how long ago that was."""
    return _end(run) > now + timedelta(seconds=spec.agent.backoff_max_s)


def _broken(newest: list[Run], observed: Observed) -> Hold | None:
    if len(newest) < BREAKER_RUNS or not all(_quick_failure(run, observed) for run in newest):
        return None
    tasks = {run.task for run in newest}
    if len(tasks) < BREAKER_RUNS or _end(newest[0]) - _end(newest[-1]) > BREAKER_SPAN:
        return None
    return (
        Reason.AGENT_BROKEN,
        (
            f"the agents of {', '.join(sorted(tasks))} failed within 10 s of their start; "
            "mend the agent's command, then 'reconcile retry' one of them or change the manifest"
        ),
        None,
    )


def _unavailable(spec: EpicSpec, newest: list[Run], now: datetime) -> Hold | None:
    if not newest or not newest[0].unavailable:
        return None
    until = _rested(newest[0], spec, now)
    if until <= now:
        return None
    report = newest[0].report
    why = (
        f"it can't work: {report.said}" if report and report.fault else "its program could not be started the last time"
    )
    return Reason.AGENT_UNAVAILABLE, why, until


def _ended_runs(spec: EpicSpec, observed: Observed) -> list[Run]:
    """The ended work runs of the manifest since it was recorded or one of its tasks was retried."""
    if isinstance(observed.runs, Unknown):
        return []
    after = max([spec.recorded_at, *(since.at for since in observed.since.values())])
    return [
        run
        for runs in observed.runs.values()
        for run in runs
        if run.manifest == spec.name and run.exit is not None and run.exit.at > after
    ]


def _end(run: Run) -> datetime:
    assert run.exit is not None  # as `_ended_runs` has seen to
    return run.exit.at


def _quick_failure(run: Run, observed: Observed) -> bool:
    record = run.exit
    if record is None or record.cause is not Cause.EXITED or run.started_at is None:
        return False
    if record.well and not (endings.mute(run) and _without_commits(run, observed)):
        return False
    if run.report and run.report.blameless:
        return False  # has a pause of its own
    return record.stop is None and record.at - run.started_at <= BREAKER_QUICK


def _without_commits(run: Run, observed: Observed) -> bool:
    if isinstance(observed.branches, Unknown):
        return False
    branch = observed.branches.get(run.task)
    return branch is not None and branch.ahead == 0
