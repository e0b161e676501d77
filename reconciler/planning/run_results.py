"""How a run ended: in its agent's own words first, then by the record that it left, then by what it committed. Pure.

Whether that is the last word is the job's to say: what it offered may still be judged bad.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from reconciler.model.agent_kinds import REPORTS_END, AgentKind
from reconciler.model.observed import Cause, Run, StopWhy
from reconciler.model.reasons import Reason
from reconciler.model.report import Fault, Report
from reconciler.model.values import replace

COMMAND_MAX = 80
SPENT = "agent has spent what it may"
# What is wrong with what an attempt made: the next one is to make something else.
TOLD_OF_ITS_WORK = (Reason.CHECKS_FAILED, Reason.CHANGES_REQUESTED, Reason.CONFLICT, Reason.PUSH_REFUSED)


class RunResult(Struct, frozen=True):
    """How an attempt ended. `reason` None: well, with something to offer. `counts`: it uses up one attempt."""

    reason: Reason | None
    message: str = ""
    counts: bool = True
    waits: bool = True  # the next attempt keeps the backoff's distance


def of(run: Run, *, new_commits: bool, excused: bool = True) -> RunResult:
    """How a run that is over ended. `excused`: what its agent gives as an excuse, if it gives one, may be true."""
    record, report = run.exit, run.report
    if record and record.stop in (StopWhy.PERSON, StopWhy.CLOSED):
        return RunResult(Reason.STOPPED, "agent was stopped", counts=False, waits=False)
    if record and record.stop is StopWhy.BUDGET:
        return RunResult(Reason.BUDGET_SPENT, SPENT, counts=not excused, waits=not excused)
    if record and record.cause is Cause.SETUP:
        return RunResult(Reason.SETUP_FAILED, f"a set-up command failed ({status(run)})")
    if report and not (record and record.stop) and (faulted := _in_its_words(report, run)):
        return faulted if excused else replace(faulted, counts=True, waits=True)
    if record is None and run.where and not (report and report.done):
        return RunResult(Reason.AGENT_FAILED, f"agent was given up: {run.remark or 'nobody knows what became of it'}")
    if record is None and not (report and report.done):
        return RunResult(Reason.AGENT_FAILED, "agent left no exit record (killed, or the machine went down)")
    if record is None or record.well:
        if new_commits:
            return RunResult(None)
        return (
            RunResult(Reason.AGENT_FAILED, _mute(run))
            if mute(run)
            else RunResult(Reason.NO_CHANGES, _without_commit(report))
        )
    match record.stop or record.cause:
        case Cause.UNAVAILABLE:
            return RunResult(Reason.AGENT_UNAVAILABLE, "agent's program could not be started", counts=False)
        case Cause.STUCK | StopWhy.STUCK:
            return RunResult(Reason.STUCK, "agent made no progress and was stopped")
        case Cause.TIMEOUT | StopWhy.TIMED_OUT:
            return RunResult(Reason.TIMED_OUT, "agent hit its time limit and was stopped")
        case StopWhy.ENGINE_LIMIT:
            return RunResult(
                Reason.TIMED_OUT, "agent hit Slurm's time limit and was stopped; runner.options sets it (--time)"
            )
        case _:
            return RunResult(Reason.AGENT_FAILED, f"agent failed ({status(run)})")


def mute(run: Run) -> bool:
    """True for a run whose exit status is good, and whose agent, of a kind that always says how it ended, did not."""
    ended = run.exit is not None and run.exit.well and run.exit.stop is None
    return ended and run.agent in REPORTS_END and not (run.report and (run.report.done or run.report.fault))


def fault(run: Run) -> Fault | None:
    """What an agent gives as the reason why it did not do its task, or what we ended it for in its stead."""
    if run.exit is not None and run.exit.stop is StopWhy.BUDGET:
        return Fault.BUDGET
    return run.report.fault if run.report else None


def session(runs: tuple[Run, ...], kind: AgentKind) -> str | None:
    """The session that a run goes on with after these; None: it begins a new one."""
    for run in reversed(runs):
        report = run.report
        if run.agent != kind or (report and report.fault in (Fault.SESSION, Fault.CONTEXT)):
            return None
        if report and report.session:
            return report.session
    return None


def status(run: Run | None) -> str:
    """How a program ended, in a few words."""
    if run is None or run.exit is None:
        return "no exit record"
    match run.exit.cause:
        case Cause.TIMEOUT:
            return f"took longer than its {run.exit.limit_s:.0f} s" if run.exit.limit_s else "time limit"
        case Cause.UNAVAILABLE:
            return "program could not be started"
    if run.exit.stop is StopWhy.BUDGET:
        return "it had spent what it may"
    if run.exit.stop is StopWhy.ENGINE_LIMIT:
        return "Slurm's time limit"
    return f"signal {run.exit.signal}" if run.exit.signal else f"exit status {run.exit.code}"


def failed_check(run: Run | None, checks: Sequence[str]) -> str:
    """Which of a manifest's checks a run of them failed at, how, and what shows what it printed."""
    if run and run.commit:
        return f"checks of the forge failed on what would be merged ({run.commit[:12]}): {run.remark}"
    checks = [check for n, check in enumerate(checks) if run is None or n not in run.left_out]
    if run is None or (command := _command(run, checks)) is None or run.exit is None or run.exit.step is None:
        return f"the checks failed on the merged tree ({status(run)})"
    which = f"check {run.exit.step + 1} of {len(checks)}" if len(checks) > 1 else "the check"
    return f"{which} failed on the merged tree ({status(run)}): {command}; 'reconcile logs {run.id}' shows its output"


def which_check(run: Run, commands: Sequence[str]) -> str:
    """The one of its commands at which a run of checks ended, followed by a colon; empty where there is one, or none is known."""
    command = _command(run, commands) if len(commands) > 1 else None
    return f"check {run.exit.step + 1}, {command!r}: " if command and run.exit and run.exit.step is not None else ""


def _command(run: Run, commands: Sequence[str]) -> str | None:
    if run.exit is None or run.exit.step is None or run.exit.step >= len(commands):
        return None
    command = " ".join(commands[run.exit.step].split())
    return command if len(command) <= COMMAND_MAX else command[: COMMAND_MAX - 1] + "…"


def _in_its_words(report: Report, run: Run) -> RunResult | None:
    """How a run ended in its agent's own words; None where those say nothing against it."""
    text = f": {report.message}" if report.message else ""
    match report.fault:
        case Fault.USAGE_LIMIT:
            message = f"agent's usage limit reached{text}"
            return RunResult(Reason.USAGE_LIMIT, message, counts=False, waits=report.retry_at is None)
        case Fault.UNAVAILABLE:
            return RunResult(Reason.AGENT_UNAVAILABLE, f"agent can't work{text}", counts=False)
        case Fault.MODEL:
            return RunResult(Reason.AGENT_UNAVAILABLE, f"agent's model is not available{text}", counts=False)
        case Fault.UNPAID:
            return RunResult(Reason.AGENT_UNAVAILABLE, f"agent's account has no credit{text}", counts=False)
        case Fault.NETWORK:
            return RunResult(Reason.AGENT_UNAVAILABLE, f"agent can't reach its model{text}", counts=False)
        case Fault.BUDGET:
            return RunResult(Reason.BUDGET_SPENT, SPENT, counts=False, waits=False)
        case Fault.SESSION:
            message = "the session to resume is gone"
            return RunResult(Reason.AGENT_FAILED, message, counts=False, waits=False)
        case Fault.CONTEXT:
            return RunResult(Reason.AGENT_FAILED, f"agent ran out of context{text}")
        case Fault.FAILED:
            return RunResult(Reason.AGENT_FAILED, f"agent failed ({status(run)}){text}")
        case _:
            return None


def _mute(run: Run) -> str:
    message = f": {run.report.message}" if run.report and run.report.message else ""
    return (
        f"agent exited 0 without the line in which {run.agent} reports how it ended{message} "
        f"(is the program on its PATH really {run.agent}?)"
    )


def _without_commit(report: Report | None) -> str:
    refused = report is not None and report.fault is Fault.REFUSED
    return "agent exited 0 without committing anything" + (f": {report.message}" if report and refused else "")
