"""One task as `status` and `describe` show it: a plain dictionary, from what was seen and what the plan says about it."""

from __future__ import annotations

from typing import Any

from reconciler.model.changes import Diff
from reconciler.model.names import RunKind, branch_of
from reconciler.model.observed import (
    Exit,
    Landing,
    Observed,
    PullRequest,
    PullState,
    Run,
    Task,
    Unknown,
)
from reconciler.model.reasons import Awaits, Reason, Scope
from reconciler.model.review_by_risk import Review
from reconciler.planning import messages
from reconciler.planning.actions import BlockTask, Waiting
from reconciler.planning.budget import spent
from reconciler.planning.check_state import CheckState
from reconciler.planning.job import Job
from reconciler.planning.labels import NEEDS_HUMAN, PHASES
from reconciler.planning.review_standing import why_not
from reconciler.planning.reviews import Reviewing, ended_well
from reconciler.render import failing
from reconciler.render.reviews import stands, verdict
from reconciler.render.spend import report, spend
from reconciler.render.task_views import TaskView, ended_checks, tested_with
from reconciler.render.words import stamp

GROUPS = ("closed", "needsHuman", "working", "merging", "review", "ready", "blocked")
"""What `counts` counts. A task is in the first that fits."""


def unread(subject: TaskView) -> dict[str, Any]:
    """A task that can't be read, by what runs for it; what only the tracker could tell is null."""
    run = subject.run
    reason, doing = _doing(run)
    word = Waiting(reason, f"{doing}; its task can't be read")
    unknown = dict.fromkeys(("key", "title", "status", "phase"))
    return {**entry(subject), **unknown, "group": _GROUP_OF[reason], "waiting": waiting(word)}


_GROUP_OF = {Reason.CHECKS_RUNNING: "merging", Reason.REVIEW_RUNNING: "review", Reason.AGENT_RUNNING: "working"}


def _doing(run: Run | None) -> tuple[Reason, str]:
    match run.id.kind if run else None:
        case RunKind.CHECK:
            return Reason.CHECKS_RUNNING, "a check of its work runs"
        case RunKind.REVIEW:
            return Reason.REVIEW_RUNNING, "a review of its work runs"
        case _:
            return Reason.AGENT_RUNNING, f"attempt {run.attempt if run else '?'} is running"


def entry(subject: TaskView) -> dict[str, Any]:
    """The task as it stands in JSON. `next` and a waiting's `until` are there only where there is something to say."""
    task, tree = subject.task, subject.worktree
    found: dict[str, Any] = {
        "id": task.id,
        "key": subject.key,
        "title": task.title,
        "status": task.status,
        "phase": phase(subject.task, subject.job, subject.observed),
        "group": group(subject),
        "run": _run(subject.run),
        "worktree": messages.relative(tree.path, "" if tree.elsewhere else subject.epic.spec.repository)
        if tree
        else None,
        "branch": branch_of(task.id),
        "pullRequest": _pull(subject),
        "waiting": waiting(subject.waiting) if subject.waiting else None,
        "failing": failing.shown(failure) if (failure := subject.epic.failing.get(task.id)) else None,
        "spend": spend(spent((*subject.runs, *subject.reviews))),
    }
    if subject.action:
        action = subject.action
        found["next"] = {"action": type(action).__name__, "reason": str(action.reason), "message": action.message}
    return found


def group(subject: TaskView) -> str:
    """The one of `GROUPS` that the task is counted in."""
    task, job = subject.task, subject.job
    if task.closed:
        return "closed"
    if NEEDS_HUMAN in task.labels:
        return "needsHuman"
    if any(run.alive for run in subject.runs):
        return "working"
    if job and job.open_pull:
        return "merging" if _merging(job) else "review"
    return "ready" if _ready(subject) else "blocked"


def waiting(word: Waiting) -> dict[str, Any]:
    """Why nothing is done, as it stands in JSON; `until` only where a timer runs."""
    found = {"reason": str(word.reason), "message": word.message}
    return {**found, "until": stamp(word.until)} if word.until else found


def merged(subject: TaskView) -> bool:
    """True when the task is closed and its work is on the base."""
    return subject.task.closed and phase(subject.task, subject.job, subject.observed) == "merged"


def _merging(job: Job) -> bool:
    return job.offer.check_state is CheckState.RUNNING or (
        job.offer.check_state is CheckState.PASSED and job.offer.approved
    )


def _ready(subject: TaskView) -> bool:
    if subject.epic.failed_for_good(subject.task.id):
        return False
    if subject.action:
        return not isinstance(subject.action, BlockTask)
    word = subject.waiting
    if word is None:
        return False
    later = word.reason.row.scope is Scope.EPIC and word.until is not None
    return later or word.reason.awaits in (Awaits.TURN, Awaits.TIMER)


def phase(task: Task, job: Job | None, observed: Observed) -> str | None:
    """What is seen of its life; where nothing seen speaks for a phase, what its label says."""
    landings = observed.landings
    if task.closed and not isinstance(landings, Unknown) and isinstance(landings.get(task.id), Landing):
        return "merged"
    label = (job.phase if job else None) or next((phase for phase in reversed(PHASES) if phase in task.labels), None)
    return label.removeprefix("phase:") if label else None


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "kind": str(run.id.kind),
        "attempt": run.attempt,
        "n": run.id.n,
        # A pid outlives its process only by mistake: the number may be somebody else's by now.
        "pid": run.pid if run.alive else None,
        **({"where": run.where} if run.where else {}),
        "state": str(run.state),
        "startedAt": stamp(run.started_at) if run.started_at else None,
        "lastProgressAt": stamp(run.last_progress_at) if run.last_progress_at else None,
    }


def run_record(run: Run, diff: Diff | None = None, offer: Reviewing | None = None) -> dict[str, Any]:
    """A run with how it ended, for `describe`. `diff`: what a review has read, where that is known; `offer`: what it may count for."""
    record = run.exit
    return {
        "id": str(run.id),
        "state": str(run.state),
        "attempt": run.attempt if run.id.kind is RunKind.WORK else None,
        "why": str(run.why),
        "startedAt": stamp(run.started_at) if run.started_at else None,
        "endedAt": stamp(record.at) if record else None,
        "exit": _ending(record) if record else None,
        "agent": run.agent or None,
        "report": report(run.report) if run.report else None,
        **({"where": run.where, "said": run.remark or None} if run.where else {}),
        **({"verdict": verdict(run.verdict, diff), **stands(run, offer)} if run.id.kind is RunKind.REVIEW else {}),
        **({"leftOut": [n + 1 for n in run.left_out]} if run.id.kind is RunKind.CHECK else {}),
    }


def _ending(record: Exit) -> dict[str, Any]:
    """How a run ended. `flaky`: which of its commands, from 1, passed only when they were started again; `stop`: why it was
    stopped."""
    return {
        "cause": str(record.cause),
        "code": record.code,
        "signal": record.signal,
        "limitSeconds": record.limit_s,
        "flaky": [step + 1 for step in record.flaky],
        **({"stop": str(record.stop)} if record.stop else {}),
    }


def _pull(subject: TaskView) -> dict[str, Any] | None:
    pull = subject.pull
    if pull is None:
        return None
    return {
        "number": pull.number,
        "url": pull.url,
        "state": str(pull.state),
        "head": pull.head,
        "checks": "passed" if (top := tested_with(pull, subject.checks, subject.beneath)) else _checks(subject, pull),
        "checkedWith": top,
        "review": _review(subject, pull),
        "approvedBy": _approvals(subject, pull),
        "risk": _risk(subject),
        "notCounted": _not_counted(subject),
    }


def _checks(subject: TaskView, pull: PullRequest) -> str:
    if pull.state is PullState.OPEN and subject.job:
        return _checks_open(subject.job)
    return ended_checks(pull, subject.checks)


def _checks_open(job: Job) -> str:
    match job.offer.check_state:
        case CheckState.PASSED if job.offer.subject or (job.open_pull and job.open_pull.checks):
            return "passed"
        case CheckState.NONE if job.offer.green_once and job.offer.subject:
            return "passed"  # on the base as it was; they run again before it is merged
        case CheckState.PENDING:
            return "pending"
        case CheckState.FAILED:
            return "pending" if job.offer.unasked else "failed"
        case _:
            return "pending" if job.offer.subject else "none"


def _review(subject: TaskView, pull: PullRequest) -> str:
    if pull.declined or (pull.rejection and pull.rejection.head == pull.head):
        return "rejected"
    if pull.approved == pull.head:
        return "approved"
    if pull.withheld:
        return "required"
    if pull.state is not PullState.OPEN or subject.job is None:
        return "none"
    offer = subject.job.offer
    if offer.reviewing.changes_requested:
        return "rejected"
    if offer.reviewing.asks is Review.NONE and not offer.protected:
        return "none"
    return "approved" if offer.approved else "required"


def _approvals(subject: TaskView, pull: PullRequest) -> list[str]:
    """Whose yes to this head there is, people's and agents' apart."""
    agent = bool(subject.job and subject.job.offer.reviewing.approved_by_agent)
    return [who for who, given in (("person", pull.approved == pull.head), ("agent", agent)) if given]


def _risk(subject: TaskView) -> dict[str, Any] | None:
    """How much could go wrong with what is offered, why, who must say yes to it, and what its reviewer has answered; null where
    nobody asked."""
    offer = subject.job.offer.reviewing if subject.job and subject.job.open_pull else None
    return offer.judged if offer else None


def _not_counted(subject: TaskView) -> dict[str, str]:
    """Why reviews that gave a verdict do not count for what is offered, by their runs."""
    offer = subject.reviewing
    given = [run for run in subject.reviews if run.verdict and ended_well(run)] if offer else ()
    return {str(run.id): why for run in given if offer and (why := why_not(offer, run))}
