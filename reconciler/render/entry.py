"""One task as `status` and `describe` show it: a plain dictionary, from what was seen and what the plan says about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.model.desired import Review
from reconciler.model.names import PrNumber, RunKind, Sha, TaskId, branch_of
from reconciler.model.observed import (
    Exit,
    Landing,
    Observed,
    PullRequest,
    PullState,
    Run,
    Task,
    Unknown,
    Worktree,
    WorktreeFault,
)
from reconciler.model.reasons import Awaits, Reason, Scope
from reconciler.planning import messages
from reconciler.planning.actions import Action, BlockTask, Waiting
from reconciler.planning.budget import spent
from reconciler.planning.check_state import CheckState
from reconciler.planning.graph import Index, order
from reconciler.planning.job import Job
from reconciler.planning.jobs import jobs
from reconciler.planning.labels import NEEDS_HUMAN, PHASES
from reconciler.planning.plan import EpicPlan
from reconciler.render import failing
from reconciler.render.spend import report, spend
from reconciler.render.words import stamp

GROUPS = ("closed", "needsHuman", "working", "merging", "review", "ready", "blocked")
"""What `counts` counts. A task is in the first that fits."""


class TaskView(Struct, frozen=True, kw_only=True):
    """A task under a manifest, with all that was seen of it. Closed tasks of which nothing is left have no job."""

    task: Task
    epic: EpicPlan
    observed: Observed
    job: Job | None = None
    action: Action | None = None  # what is done for it next
    checks: tuple[Run, ...] = ()  # of whatever was to land of it, oldest first
    beneath: PrNumber | None = None  # the pull request beneath which its own has passed

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its work runs, oldest first."""
        return () if isinstance(self.observed.runs, Unknown) else self.observed.runs.get(self.task.id, ())

    @property
    def reviews(self) -> tuple[Run, ...]:
        """The reviews of what it offered, as they began."""
        found = () if isinstance(self.observed.reviews, Unknown) else self.observed.reviews.get(self.task.id, ())
        return tuple(sorted(found, key=lambda run: (not run.started, run.started_at or self.observed.at, run.id)))

    @property
    def run(self) -> Run | None:
        """The run that is alive, else the newest. An agent's comes before a review's, and that before a check's."""
        started = [run for run in (*self.checks, *self.reviews, *self.runs) if run.started or run.alive]
        return next((run for run in reversed(started) if run.alive), started[-1] if started else None)

    @property
    def worktree(self) -> Worktree | None:
        found = self.observed.worktrees
        tree = None if isinstance(found, Unknown) else found.get(self.task.id)
        return None if tree is None or tree.fault is WorktreeFault.TAKEN else tree

    @property
    def pull(self) -> PullRequest | None:
        found = self.observed.pull_requests
        return None if isinstance(found, Unknown) else found.get(self.task.id)

    @property
    def key(self) -> str | None:
        """The key under which the manifest declares it."""
        ids = self.epic.epic_tasks.ids if self.epic.epic_tasks else {}
        return next((key for key, id in ids.items() if key is not None and id == self.task.id), None)

    @property
    def waiting(self) -> Waiting | None:
        return self.epic.waiting.get(self.task.id) or self.epic.remarks.get(self.task.id)


def checks_by_task(observed: Observed) -> Mapping[TaskId, tuple[Run, ...]]:
    """All checks of what tasks offered, oldest first; those that never started come last."""
    if isinstance(observed.checks, Unknown):
        return {}
    found: dict[TaskId, list[Run]] = defaultdict(list)
    every = (run for runs in observed.checks.values() for run in runs)
    for run in sorted(every, key=lambda run: (run.started_at is None, run.started_at or observed.at, run.id)):
        found[run.task].append(run)
    return {task: tuple(runs) for task, runs in found.items()}


def ended_checks(pull: PullRequest, checks: Sequence[Run]) -> str:
    """What the checks of a pull request that is open no more came to: passed, failed or none.

    A task may have had several pull requests; a check is of the one that was open when it started.
    """
    since, until = pull.opened_at, pull.closed_at
    ran = [
        run
        for run in checks
        if run.started_at and (since is None or since <= run.started_at) and (until is None or run.started_at <= until)
    ]
    if not ran or ran[-1].exit is None:
        # What we merged had passed: an older pull request of the task may have had the very same tree checked.
        earlier = any(run.exit and run.exit.well for run in checks)
        return "passed" if pull.landed and (pull.checks or earlier) else "none"
    # What was merged is what has passed, whichever of its checks was over last.
    passed = any(run.exit and run.exit.well for run in ran) if pull.landed else ran[-1].exit.well
    return "passed" if passed else "failed"


def beneath_another(observed: Observed) -> Mapping[Sha, PrNumber]:
    """By the head of each change that passed its checks below another one: the pull request of the topmost."""
    if isinstance(observed.checks, Unknown) or isinstance(observed.pull_requests, Unknown):
        return {}
    passed = (run for runs in observed.checks.values() for run in runs if run.exit and run.exit.well)
    found = ((run.heads[:-1], observed.pull_requests.get(run.task)) for run in passed if len(run.heads) > 1)
    return {head: top.number for heads, top in found if top for head in heads}


def tested_with(pull: PullRequest, checks: Sequence[Run], beneath: PrNumber | None) -> PrNumber | None:
    """Beneath which pull request it passed, where we merged it and no check of its own had passed last."""
    return beneath if pull.landed and ended_checks(pull, checks) != "passed" else None


def subjects(epic: EpicPlan, observed: Observed) -> tuple[TaskView, ...]:
    """The tasks of a manifest, most urgent first."""
    if epic.epic_tasks is None or isinstance(observed.tasks, Unknown):
        return ()
    members = sorted(epic.epic_tasks.members, key=order)
    # A held manifest has no jobs in its plan; what runs there is shown all the same.
    owned = {task.id: epic.name for task in members}
    found = jobs(epic.epic_tasks, observed, Index(observed.tasks, observed.at), owned) if epic.held else epic.jobs
    known = {job.task.id: job for job in found}
    due, checks, beneath = _due(epic.actions), checks_by_task(observed), beneath_another(observed)
    pulls = {} if isinstance(observed.pull_requests, Unknown) else observed.pull_requests
    return tuple(
        TaskView(
            task=task,
            epic=epic,
            observed=observed,
            job=known.get(task.id),
            action=due.get(task.id),
            checks=checks.get(task.id, ()),
            beneath=beneath.get(pulls[task.id].head) if task.id in pulls else None,
        )
        for task in members
    )


def running(epic: EpicPlan, observed: Observed) -> tuple[TaskView, ...]:
    """For each task for which something of a manifest runs, what is known without it; where the tasks can't be read."""
    found = sorted({run.task for run in epic.alive}) if epic.epic_tasks is None else ()
    at, checks = observed.at, checks_by_task(observed) if found else {}
    return tuple(
        TaskView(
            task=Task(id=id, title="", created_at=at, updated_at=at),
            epic=epic,
            observed=observed,
            checks=checks.get(id, ()),
        )
        for id in found
    )


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
        "phase": _phase(subject),
        "group": group(subject),
        "run": _run(subject.run),
        "worktree": messages.relative(tree.path, subject.epic.spec.repository) if tree else None,
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
    return subject.task.closed and _phase(subject) == "merged"


def _due(actions: Iterable[Action]) -> dict[TaskId, Action]:
    """What is done next for each task. Keeping its labels in order is nothing that it waits for."""
    found: dict[TaskId, Action] = {}
    for action in actions:
        if action.task is not None and not action.housekeeping:
            found.setdefault(action.task, action)
    return found


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


def _phase(subject: TaskView) -> str | None:
    """What is seen of its life; where nothing seen speaks for a phase, what its label says."""
    task, job = subject.task, subject.job
    landings = subject.observed.landings
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


def run_record(run: Run) -> dict[str, Any]:
    """A run with how it ended, for `describe`."""
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
        **({"where": run.where, "said": run.said or None} if run.where else {}),
        **({"verdict": msgspec.to_builtins(run.verdict)} if run.id.kind is RunKind.REVIEW else {}),
        **({"leftOut": [n + 1 for n in run.left_out]} if run.id.kind is RunKind.CHECK else {}),
    }


def _ending(record: Exit) -> dict[str, Any]:
    """How a run ended. `flaky`: which of its commands, from 1, passed only when they were started again."""
    return {
        "cause": str(record.cause),
        "code": record.code,
        "signal": record.signal,
        "limitSeconds": record.limit_s,
        "flaky": [step + 1 for step in record.flaky],
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
            return "failed"
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
    """How much could go wrong with what is offered, why, who must say yes to it, and what its reviewer has said; null where
    nobody asked."""
    offer = subject.job.offer.reviewing if subject.job and subject.job.open_pull else None
    return offer.judged if offer else None
