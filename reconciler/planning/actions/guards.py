"""Why a task is left alone. No action here: each function says `Waiting`, or None when it has nothing against going on."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta

from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId, branch_of, usable
from reconciler.model.observed import Failure, Occupant, Run, RunState, Task, Unknown, Upon, Worktree, WorktreeFault
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.actions.base import Waiting
from reconciler.planning.budget import allowance, cost_so_far, task_used_up
from reconciler.planning.graph import is_deferred
from reconciler.planning.job import Job
from reconciler.planning.labels import NEEDS_HUMAN, STOPPED, TAKEN
from reconciler.planning.silence import no_word

SWEEP = timedelta(seconds=1)
SWEPT = timedelta(seconds=3)  # by then what supervised a run has kept its limits, and swept up after it, or was killed
LINGER = timedelta(seconds=60)  # how long an agent that says that it is done may stay
GRACE = timedelta(seconds=10)  # and one that has printed its final result
LINE_RESTS = timedelta(minutes=10)  # for so long nobody in line is blamed where a base can't be moved
COST = timedelta(seconds=15)  # after which it is looked at again what a run has cost that may cost so much
_GOES_ON = "set it to 'open' to continue"


def not_for_us(job: Job) -> Waiting | None:
    """Tasks that no action of this manifest may touch."""
    task = job.task
    if not usable(task.id):
        return Waiting(Reason.UNUSABLE_ID, "its id can't be used as a branch and folder name")
    if job.owned_by:
        return Waiting(Reason.OWNED_BY, f"belongs to the manifest {job.owned_by}")
    if job.spec.invalid:
        return Waiting(Reason.MANIFEST_INVALID, job.spec.invalid)
    if job.spec.suspend:
        waits, run = suspended(job.spec), job.attempts.live
        return replace(waits, message=f"{running(run)}; then {waits.message}") if run else waits
    if isinstance(job.runs, Unknown):
        return Waiting(Reason.UNKNOWN, f"its runs can't be seen: {job.runs.why}")
    return None


def suspended(spec: EpicSpec) -> Waiting:
    """Whichever of its file and the command was last: the command ends it."""
    return Waiting(Reason.SUSPENDED, f"nothing is done until 'reconcile resume {spec.name}'")


def resting(job: Job) -> Waiting | None:
    """What went wrong a moment ago is not tried again at once."""
    failure = job.failure
    if failure is None or job.unlandable or failure.refused:
        return None
    holding = (each for each in failure.each if each.housekeeping == failure.housekeeping and each.until > job.now)
    resting = next((each for each in holding if not _rests_with_its_line(each, job.now)), None)
    return why_it_rests(resting) if resting else None


def why_it_rests(failure: Failure) -> Waiting:
    """What went wrong, and when it is tried again."""
    if failure.blocked:
        return Waiting(Reason.CHECKOUT_IN_THE_WAY, failure.message, failure.until)
    return Waiting(Reason.BACKOFF, f"{failure.action} failed: {failure.message}", failure.until)


def line_rests(job: Job, *actions: str) -> Failure | None:
    """What of these went wrong so that its line waits for a while: else the line would be tested again without it."""
    tries = (job.failure.of(action) for action in actions) if job.failure else ()
    return next((each for each in tries if each and each.until > job.now and _rests_with_its_line(each, job.now)), None)


def _rests_with_its_line(failure: Failure, now: datetime) -> bool:
    return failure.line and now - failure.since < LINE_RESTS


def at_work(job: Job) -> Waiting | None:
    """A live run holds back everything else."""
    run = job.attempts.live
    if run is None:
        return None
    # What sweeps up after a run announces nothing when it is through; nor does the end of an agent's last minute.
    until = job.now + SWEEP if run.state is RunState.ENDING else _overdue(run, job)
    aside = deferred_by_user(job)
    after = f"; what comes after it waits: {aside.message}" if aside else ""
    budget, spent = job.spec.budget, job.attempts.spend
    if run.usd is not None and allowance(budget, spent) is not None:
        until = min(filter(None, (until, job.now + COST)))
    cost = cost_so_far(budget, spent, run, budget.warn_at)
    after = (f"; {cost}" if cost else "") + after
    if run.where:
        return _elsewhere(run, job, after)
    return Waiting(Reason.AGENT_RUNNING, f"{running(run)}{after}", until)


def _elsewhere(run: Run, job: Job, after: str) -> Waiting:
    """A live run on another machine: nothing announces what becomes of it, so it is looked at again as often as it reports."""
    again = job.now + timedelta(seconds=job.venue.looked_every_s)
    node = run.node
    if silent := no_word(run, job.now):
        return Waiting(Reason.NODE_SILENT, f"{silent}{after}", run.gives_up_at, again)
    if run.state is RunState.STARTING and not run.started and not node:
        message = f"attempt {run.attempt} waits for a node" + (f": {run.remark}" if run.remark else "") + after
        return Waiting(Reason.QUEUED, message, again=again)
    remark = f" ({run.remark})" if run.remark else ""
    return Waiting(Reason.AGENT_RUNNING, f"{running(run)}{remark}{after}", _overdue(run, job), again)


def running(run: Run) -> str:
    """Which attempt it is, and whether it has begun or is about to end."""
    doing = {RunState.STARTING: "is starting", RunState.ENDING: "is ending"}.get(run.state, "is running")
    node = run.node
    return f"attempt {run.attempt} {doing}" + (f" on {node}" if node else "")


def _overdue(run: Run, job: Job) -> datetime | None:
    """When an agent that says that it is done has had its time; None where it does not say so."""
    ends = (job.attempts.done_claimed_at and job.attempts.done_claimed_at + LINGER, run.done_at and run.done_at + GRACE)
    return min(filter(None, ends), default=None)


def unseen(job: Job) -> Waiting | None:
    """What was not seen is not absent: nothing is started, offered, landed or removed on half a picture."""
    if job.damaged and not job.open_pull:
        return Waiting(Reason.RECORD_DAMAGED, f"{job.damaged}; then it goes on")
    for name, source in (
        ("its worktree", job.worktree),
        ("who works in its worktree", job.occupant),
        ("its branch", job.branch),
        ("its pull request", None if _may_begin(job) else job.pull),
        ("what has landed", job.landing),
        ("its base branch", job.base),
        ("its checks", job.checks),
        ("its reviews", job.reviews),
        ("what its branch began on", job.stack),
    ):
        if isinstance(source, Unknown):
            return Waiting(Reason.UNKNOWN, f"{name} can't be seen: {source.why}", _again(job, source))
    if job.open_pull and isinstance(job.candidate, Unknown):
        return Waiting(Reason.UNKNOWN, f"its merge with the base can't be computed: {job.candidate.why}")
    for name, seen in (("what it changes", job.diff), ("what its reviewer is to look for", job.brief)):
        if job.open_pull and isinstance(seen, Unknown):
            return Waiting(Reason.UNKNOWN, f"{name} can't be read: {seen.why}")
    return None


def _may_begin(job: Job) -> bool:
    """True where a forge elsewhere is silent for a while, and nothing says that anything was ever done for the task."""
    return isinstance(job.pull, Unknown) and job.pull.again_s is not None and job.untouched


def _again(job: Job, source: Unknown) -> datetime | None:
    return None if source.again_s is None else job.now + timedelta(seconds=source.again_s)


def somebody_elses(job: Job) -> Waiting | None:
    """Tasks that a person or another program works on, or that a person put aside."""
    task = job.task
    if TAKEN in task.labels:
        return taken(task.id)
    if task.assignee not in ("", job.us):
        return Waiting(Reason.ASSIGNED_ELSEWHERE, f"assigned to {task.assignee}")
    if task.status == "in_progress" and not job.ours:
        return Waiting(Reason.ASSIGNED_ELSEWHERE, "in progress elsewhere")
    if STOPPED in task.labels:
        return Waiting(Reason.STOPPED, f"stopped; 'reconcile retry {task.id}' starts it again")
    return None


def taken(task: TaskId) -> Waiting:
    """That a person works on it, and until when nothing of it is touched."""
    return Waiting(Reason.TAKEN, f"taken over by a person; 'reconcile release {task}' gives it back")


def for_a_person(job: Job) -> Waiting | None:
    """Tasks that were handed to a person."""
    if NEEDS_HUMAN not in job.task.labels or (job.in_its_agents_words and job.task.status != "blocked"):
        return None
    what = f"see 'reconcile describe {job.task.id}'; 'reconcile retry {job.task.id}' tries again"
    if job.offer.declined:
        return Waiting(Reason.DECLINED, f"its pull request was closed; {what}")
    reason = job.notes.reason
    if reason is Reason.DECLINED and job.open_pull:
        return Waiting(reason, f"#{job.number} is open again; 'reconcile retry {job.task.id}' has it go on")
    if Reason.CONFLICT in (reason, job.verdict and job.verdict.reason):
        what = f"{what}; 'reconcile take {job.task.id}' keeps agents away while you resolve it in its worktree"
    if job.verdict and job.verdict.reason and reason in (None, job.verdict.reason):
        return Waiting(job.verdict.reason, f"{job.verdict.message}; {what}")
    return Waiting(reason or Reason.BLOCKED_BY_AGENT, f"{job.notes.message or 'needs attention'}; {what}")


def deferred_by_user(job: Job) -> Waiting | None:
    """Tasks that somebody put off, by what they wrote into the tracker: whatever is there of them stays as it is.

    Of all that stands there we write only `open`, `in_progress` and `closed`, and `blocked` with a label of ours.
    """
    task = job.task
    if task.closed or job.blocked_by_its_agent:
        return None
    if is_deferred(task, job.now):
        return _deferred(task, job.now)
    if task.status not in ("open", "in_progress"):
        return Waiting(Reason.BLOCKED, f"its status is {task.status!r}; {_GOES_ON}")
    if task.held_back:
        return Waiting(Reason.BLOCKED, "it is pinned or a template")
    return None


def not_ready(job: Job) -> Waiting | None:
    """Tasks that may not be started yet."""
    if job.blocked_by and job.upon is None:
        on = job.beneath.parent if isinstance(job.beneath, Upon) else None
        deeper = f", which is on top of {branch_of(on)} itself; it may begin once that has landed" if on else ""
        return Waiting(Reason.BLOCKED, f"blocked by {', '.join(job.blocked_by)}{deeper}")
    return _deferred(job.put_off, job.now, f"its epic {job.put_off.id} is ") if job.put_off else None


def _deferred(task: Task, now: datetime, of: str = "") -> Waiting:
    # A time that has passed opens no task by itself, and is nothing to wake up for.
    later = task.defer_until if task.defer_until and task.defer_until > now else None
    return Waiting(
        Reason.DEFERRED, f"{of}deferred until {later:%F %T}" if later else f"{of}deferred; {_GOES_ON}", later
    )


def not_now(job: Job) -> Waiting | None:
    """What keeps an agent from starting although the task is ready for one."""
    if isinstance(job.worktree, Unknown) or job.base_head is None:
        return Waiting(Reason.UNKNOWN, "can't read its worktree or its base")
    if job.worktree and job.worktree.fault is WorktreeFault.TAKEN:
        message = (
            f"{job.worktree.path} is not ours: {job.worktree.detail}; write another worktrees.root, or clear the place"
        )
        return Waiting(Reason.PATH_TAKEN, message)
    if job.occupant:
        return in_use(job)
    if waiting := amid(job):
        return waiting
    if job.agent_gate:
        return Waiting(*job.agent_gate)
    if why := task_used_up(job.spec.budget, job.attempts.spend):
        return Waiting(Reason.BUDGET_SPENT, why)
    if (due := job.not_before) is not None:
        return Waiting(Reason.BACKOFF, f"{_why(job)}; attempt {job.next_attempt} is next", due)
    return None


def in_use(job: Job) -> Waiting | None:
    """A process that nobody but its working directory connects with us is never signalled."""
    return Waiting(Reason.WORKTREE_IN_USE, occupied(job.occupant)) if isinstance(job.occupant, Occupant) else None


def amid(job: Job) -> Waiting | None:
    """A rebase, merge or the like that no run of the task began is a person's, and never ended by us."""
    tree = job.worktree
    if not isinstance(tree, Worktree) or tree.amid_at is None or isinstance(job.runs, Unknown):
        return None
    if any(_lived(run, tree.amid_at, job.now) for run in job.runs):
        return None
    message = f"somebody began {tree.amid} in {tree.path}: it goes on once that is continued or aborted there"
    return Waiting(Reason.WORKTREE_IN_USE, message)


def _lived(run: Run, at: datetime, now: datetime) -> bool:
    ended = run.exit.at if run.exit else now  # of one that left no record nobody knows until when it lived
    return run.started_at is not None and run.started_at - SWEEP <= at <= ended + SWEEP  # in doubt it is a person's


def nested(tree: Worktree) -> str:
    """Why a worktree is never removed by us that holds another repository, and what a person does about it."""
    return (
        f"{tree.path} holds a repository of its own in {tree.nested}, and what is only there would go with it: look, then "
        f"'git worktree remove --force {shlex.quote(tree.path)}'"
    )


def occupied(by: Occupant) -> str:
    """That a process works in a worktree."""
    return f"process {by.pid} ({by.command}) has its working directory there"


def kept(tree: Worktree, occupant: Occupant | None) -> str:
    """Why a worktree is not removed by a person's `prune` either, as far as it was seen; empty where it is."""
    return occupied(occupant) if occupant else nested(tree) if tree.nested else ""


def _why(job: Job) -> str:
    return job.verdict.message if job.verdict else "its worktree is gone"
