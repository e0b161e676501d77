"""Why no agent of a manifest may start at all: its program, its account or its budget stands in the way. Pure.

All of it is read off the records of runs, so that a restart changes nothing about it. What a person does about it, a
changed manifest or a `retry`, ends every pause but that of the budget, which ends when it is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain

from reconciler.model.agent_kinds import AgentKind
from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.observed import Cause, Observed, Run, Unknown
from reconciler.model.reasons import Reason
from reconciler.model.report import Fault
from reconciler.model.values import replace
from reconciler.planning import run_results
from reconciler.planning.budget import Spend, spent, used_up

BREAKER_RUNS = 3
BREAKER_SPAN = timedelta(minutes=2)
BREAKER_QUICK = timedelta(seconds=10)
WORKS_FOR = timedelta(minutes=5)  # who can't reach a model gives up before
LIMIT_MAX = timedelta(days=8)  # the longest limits are of a week; a date beyond is no date
WORDED_MAX = timedelta(hours=5)  # the usual limits are of five hours; a longer one is met again, by one agent

Source = Mapping[TaskId, tuple[Run, ...]] | Unknown
Gate = tuple[Reason, str, datetime | None]


def agent_gate(spec: EpicSpec, observed: Observed, *, here: bool = True) -> Gate | None:
    """Why no agent of this manifest may start at all. `here`: on this machine; what others lack is not known."""
    if here and (missing := observed.agents_missing.get(spec.name)):
        return Reason.AGENT_UNAVAILABLE, ask_doctor(missing), None
    bounded = spec.budget.usd is not None or spec.budget.tokens is not None
    if bounded and (words := used_up(spec.budget, spend_of(spec, observed))):
        return Reason.BUDGET_SPENT, f"{words}; raise the budget in the manifest to go on", None
    own = _ended(spec, observed, (observed.runs,))
    sharing = _ended(spec, observed, _sources(spec, observed)) if _shares(spec) else own
    return _limited(spec, sharing, observed.at) or _broken(own, observed) or _resting(spec, sharing, observed.at)


def unproven(spec: EpicSpec, observed: Observed) -> Gate | None:
    """What the newest agent could not work for, until another is seen to work: that it may be tried again, or is, ends nothing."""
    ended = _ended(spec, observed, _sources(spec, observed))
    if not ended or not _met_trouble(ended[0]) or _from_the_future(ended[0], spec, observed.at):
        return None
    alive = (*observed.live.agents, *(observed.live.reviews if _shares(spec) else ()))
    since = (run for run in alive if run.manifest == spec.name)
    if any(run.started_at and run.started_at >= _end(ended[0]) and _works(run, observed.at) for run in since):
        return None
    return _reason(ended[0]), why(spec, ended[0]), None


def reviewer_gate(spec: EpicSpec, observed: Observed) -> Gate | None:
    """Why no reviewer of this manifest may start at all. What its agents met in the same program, it would meet."""
    if missing := observed.reviewers_missing.get(spec.name):
        return Reason.AGENT_UNAVAILABLE, ask_doctor(no_reviewer(missing)), None
    if words := used_up(spec.budget, spend_of(spec, observed)):
        return Reason.BUDGET_SPENT, f"{words}; raise the budget in the manifest to go on", None
    as_agent = replace(spec, agent=spec.reviewing)
    sources = (observed.runs, observed.reviews) if _shares(spec) else (observed.reviews,)
    ended = _ended(spec, observed, sources)
    return _limited(as_agent, ended, observed.at) or _resting(as_agent, ended, observed.at)


def no_reviewer(missing: str) -> str:
    """That no reviewer of a manifest can start, for want of its program."""
    return f"the reviewer can't start: {missing}"


def ask_doctor(why: str) -> str:
    """What is wrong with a machine, and who says how it is mended."""
    return f"{why}: see 'reconcile doctor'"


def _shares(spec: EpicSpec) -> bool:
    """True where agents and reviewers are the same program, with one account: what one of them meets, all would."""
    kind = spec.agent.kind
    return spec.merge.reviewed_by_agents and kind is not AgentKind.COMMAND and spec.reviewing.kind is kind


def _sources(spec: EpicSpec, observed: Observed) -> tuple[Source, ...]:
    """Where the runs are that say whether an agent can work."""
    return (observed.runs, observed.reviews) if _shares(spec) else (observed.runs,)


def spend_of(spec: EpicSpec, observed: Observed) -> Spend:
    """What all runs of a manifest have used, whenever they were, also of tasks that are gone."""
    return spent(run for run in _every((observed.runs, observed.reviews)) if run.manifest == spec.name)


def last_trouble(spec: EpicSpec, runs: Iterable[Run]) -> Run | None:
    """The newest run of a manifest to have ended, where it met what no other agent would get past either."""
    ended = [run for run in runs if run.manifest == spec.name and run.agent and run.exit is not None]
    last = max(ended, key=_end, default=None)
    return last if last and (last.unavailable or (last.report and last.report.fault is Fault.USAGE_LIMIT)) else None


def _limited(spec: EpicSpec, ended: list[Run], now: datetime) -> Gate | None:
    """The usage limit that is lifted last decides, for all tasks: they share the account."""
    dated = [(until, run) for run in ended if (until := _lifted(run)) and not _from_the_future(run, spec, now)]
    if not dated:
        return None
    until, run = max(dated, key=lambda each: each[0])
    return (Reason.USAGE_LIMIT, why(spec, run), until) if until > now else None


def _lifted(run: Run) -> datetime | None:
    """When the limit that a run met is lifted, where it reported one that can be: not for long on the word of a sentence."""
    report, ended = run.report, _end(run)
    if report is None or report.fault is not Fault.USAGE_LIMIT or report.retry_at is None:
        return None
    if not ended < report.retry_at <= ended + LIMIT_MAX:
        return None
    return min(report.retry_at, ended + WORDED_MAX) if report.worded else report.retry_at


def _resting(spec: EpicSpec, ended: list[Run], now: datetime) -> Gate | None:
    """What the newest run met, the others would meet. What may pass by itself is asked for soon, then ever less often."""
    if not ended or not _met_trouble(ended[0]) or _from_the_future(ended[0], spec, now):
        return None
    agent, last = spec.agent, ended[0]
    doublings = min(_in_a_row(ended) - 1, 30)
    rest_s = min(agent.backoff_initial_s * 2**doublings, agent.backoff_max_s) if _passing(last) else agent.backoff_max_s
    until = min(_end(last), now) + timedelta(seconds=rest_s)
    if until <= now:
        return None
    return _reason(last), why(spec, last), until


def _met_trouble(run: Run) -> bool:
    """True for an end that the others would have met as well."""
    return run.unavailable or _passing(run)


def _reason(run: Run) -> Reason:
    limit = run.report is not None and run.report.fault is Fault.USAGE_LIMIT
    return Reason.USAGE_LIMIT if limit else Reason.AGENT_UNAVAILABLE


def _works(run: Run, now: datetime) -> bool:
    """True for a run that is seen to do something: it has cost something, is done, or is at it for longer than it takes to fail."""
    return bool(run.usd or run.done_at or (run.started_at and now - run.started_at >= WORKS_FOR))


def _passing(run: Run) -> bool:
    """True for an end of which nobody can say when it would not be met again: it may be within seconds."""
    report = run.report
    if report is None:
        return False
    return report.fault is Fault.NETWORK or (report.fault is Fault.USAGE_LIMIT and _lifted(run) is None)


def _in_a_row(ended: list[Run]) -> int:
    """How often one after the other the agents have met what may pass; those that ran side by side have met it once."""
    times, began = 0, None
    for run in ended:
        if not _passing(run):
            break
        if began is None or _end(run) <= began:
            times, began = times + 1, run.started_at
    return times


def why(spec: EpicSpec, run: Run) -> str:
    """What stands in the way of all agents, by the run that met it, and what a person can do."""
    return "; ".join(what_and_advice(spec, run))


def what_and_advice(spec: EpicSpec, run: Run) -> tuple[str, str]:
    """The two apart."""
    agent, report = spec.agent.kind, run.report
    message = f": {report.message.removesuffix('.')}" if report and report.message else ""
    again = f"'reconcile retry {run.task}'"
    match report.fault if report else None:
        case Fault.USAGE_LIMIT:
            return f"the usage limit of {agent} is reached{message}", f"{again} tries before it is lifted"
        case Fault.NETWORK:
            return f"{agent} can't reach its model{message}", f"{again} tries at once"
        case Fault.MODEL:
            advice = f"write another 'model' in the manifest and apply it, or {again}"
            return f"the model that {agent} was to use is not there{message}", advice
        case Fault.UNPAID:
            advice = f"pay for some or log in as another, then {again}"
            return f"the account of {agent} has no credit{message}", advice
        case Fault.UNAVAILABLE:
            fix = agent.row.login.advice if agent.row.login else "fix that"
            return f"{agent} can't work{message}", f"{fix}, then {again}"
        case _:
            return f"{spec.agent.program!r} could not be started the last time", f"fix that, then {again}"


def _from_the_future(run: Run, spec: EpicSpec, now: datetime) -> bool:
    """True where the clock was set back since a run ended: nobody knows how long ago that was."""
    return _end(run) > now + timedelta(seconds=spec.agent.backoff_max_s)


def _broken(ended: list[Run], observed: Observed) -> Gate | None:
    newest = ended[:BREAKER_RUNS]
    if len(newest) < BREAKER_RUNS or not all(_quick_failure(run, observed) for run in newest):
        return None
    tasks = {run.task for run in newest}
    if len(tasks) < BREAKER_RUNS or _end(newest[0]) - _end(newest[-1]) > BREAKER_SPAN:
        return None
    return (
        Reason.AGENT_BROKEN,
        (
            f"the agents of {', '.join(sorted(tasks))} failed within 10 s of their start; "
            f"'reconcile logs {newest[0].task}' shows how; "
            "fix the agent's command, then 'reconcile retry' one of them or change the manifest"
        ),
        None,
    )


def _ended(spec: EpicSpec, observed: Observed, sources: Iterable[Source]) -> list[Run]:
    """The runs of the manifest that have ended since it was recorded or one of its tasks was retried, the newest first."""
    after = max([spec.recorded_at, *(since.at for since in observed.since.values())])
    mine = (run for run in _every(sources) if run.manifest == spec.name)
    return sorted((run for run in mine if run.exit is not None and run.exit.at > after), key=_end, reverse=True)


def _every(sources: Iterable[Source]) -> Iterator[Run]:
    known = (source.values() for source in sources if not isinstance(source, Unknown))
    return chain.from_iterable(chain.from_iterable(known))


def _end(run: Run) -> datetime:
    assert run.exit is not None  # as `_ended` has seen to
    return run.exit.at


def _quick_failure(run: Run, observed: Observed) -> bool:
    record = run.exit
    if record is None or record.cause is not Cause.EXITED or run.started_at is None:
        return False
    if record.well and not (run_results.mute(run) and _without_commits(run, observed)):
        return False
    if run.report and run.report.blameless:
        return False  # has a pause of its own
    return record.stop is None and record.at - run.started_at <= BREAKER_QUICK


def _without_commits(run: Run, observed: Observed) -> bool:
    if isinstance(observed.branches, Unknown):
        return False
    branch = observed.branches.get(run.task)
    return branch is not None and branch.ahead == 0
