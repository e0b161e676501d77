"""What was begun for tasks that no manifest covers: nobody goes on with it, so how it stands is reported. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId, us_at
from reconciler.model.observed import (
    Branch,
    Observed,
    Occupant,
    PullRequest,
    PullState,
    Task,
    Unknown,
    Worktree,
    WorktreeFault,
)
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.actions import Waiting, guards
from reconciler.planning.epic_tasks import EpicTasks
from reconciler.planning.graph import Index, is_work, order
from reconciler.planning.job import Job
from reconciler.planning.jobs import jobs
from reconciler.planning.labels import TAKEN
from reconciler.planning.plan import EpicPlan
from reconciler.planning.remarks import left_behind, unlanded

_NOBODYS = "no manifest covers it"


def begun(observed: Observed, covered: Iterable[Collection[TaskId]], index: Index) -> frozenset[TaskId]:
    """The tasks in none of the collections `covered` that somebody took, or of which something is left: an agent, a worktree,
    commits, a pull request, our name."""
    us = us_at(observed.host)
    ours = {
        id
        for id, task in index.graph.items()
        if (task.assignee == us and task.status == "in_progress") or TAKEN in task.labels
    }
    alive = {run.task for run in observed.live.agents}
    left = _left(observed)
    unfinished = alive | _offered(observed) | {id for id in left if unlanded(id, observed)}
    return frozenset(
        id
        for id in (ours | unfinished | left).difference(*covered)
        if (_is_open_work(index.graph[id], index, unfinished) if id in index.graph else id in alive)
    )


def unmanaged(spec: EpicSpec, observed: Observed, found: Collection[TaskId]) -> EpicPlan | None:
    """Those tasks as a plan shows them, in which nothing is done; None where there are none.

    `spec`: what `run` would say about them.
    """
    if not found or isinstance(observed.tasks, Unknown):
        return None
    graph = {**{id: _gone(id, observed) for id in found}, **observed.tasks}
    members = tuple(sorted((graph[id] for id in found), key=order))
    epic_tasks = EpicTasks(spec=spec, epic=None, members=members, ids={}, declared={}, nested=())
    owned = dict.fromkeys(found, spec.name)
    mine = tuple(jobs(epic_tasks, observed, Index(graph, observed.at), owned))
    return EpicPlan(
        spec=spec, epic_tasks=epic_tasks, jobs=mine, waiting={job.task.id: _how_it_stands(job) for job in mine}
    )


def _gone(id: TaskId, observed: Observed) -> Task:
    """What is left to be shown of a task that was deleted under its agent."""
    return Task(id=id, title="", created_at=observed.at, updated_at=observed.at)


def _is_open_work(task: Task, index: Index, unfinished: Collection[TaskId]) -> bool:
    """True for what is work, and not over; of closed ones for what still runs, is open or landed nowhere."""
    return is_work(task, index) and (not task.closed or task.id in unfinished)


def _left(observed: Observed) -> set[TaskId]:
    """The tasks of which a worktree, or commits that the base lacks, are there."""
    found: set[TaskId] = set()
    if not isinstance(observed.worktrees, Unknown):
        found |= {id for id, tree in observed.worktrees.items() if tree.fault is not WorktreeFault.TAKEN}
    if not isinstance(observed.branches, Unknown):
        found |= {id for id, branch in observed.branches.items() if branch.ahead and not branch.in_base}
    return found


def _offered(observed: Observed) -> frozenset[TaskId]:
    if isinstance(observed.pull_requests, Unknown):
        return frozenset()
    return frozenset(id for id, pull in observed.pull_requests.items() if pull.state is PullState.OPEN)


def _how_it_stands(job: Job) -> Waiting:
    id, branch, pull = job.task.id, job.branch, job.pull
    if running := guards.at_work(job):
        return replace(running, message=f"{running.message}; {_NOBODYS}")
    theirs = guards.somebody_elses(job)
    if theirs and theirs.reason is Reason.TAKEN and not job.task.closed:
        return replace(theirs, message=f"{theirs.message}; {_NOBODYS}")
    spawned = job.attempts.last is not None and job.attempts.last.manifest == job.spec.name
    then = "'reconcile merge' merges it" if spawned else "apply its manifest, or 'reconcile run', to go on"
    if isinstance(pull, PullRequest) and pull.state is PullState.OPEN:
        what = f"#{pull.number} is open; {then}"
    elif isinstance(branch, Branch) and branch.ahead and job.task.closed:
        what = left_behind(id, branch, job.spec.base).message
    elif isinstance(branch, Branch) and branch.ahead:
        what = f"{branch.name} has commits that are in no pull request; {then}"
    elif job.worktree:
        occupant = job.occupant if isinstance(job.occupant, Occupant) else None
        kept = guards.kept(job.worktree, occupant) if isinstance(job.worktree, Worktree) else ""
        removes = kept or f"'reconcile prune {id}' saves and removes it"
        what = f"its worktree is left; 'reconcile spawn {id}' goes on in it; {removes}"
    else:
        what = f"in progress in our name, but nothing runs; 'reconcile spawn {id}' starts an agent"
    return Waiting(Reason.UNMANAGED, f"{what}; {_NOBODYS}")


def without_a_task(spec: EpicSpec, observed: Observed) -> dict[TaskId, Waiting]:
    """What was begun for tasks that are no longer in the tracker: nobody asked for it to end, so it is only reported."""
    if isinstance(observed.runs, Unknown) or isinstance(observed.tasks, Unknown):
        return {}
    found: dict[TaskId, Waiting] = {}
    for task in sorted(observed.runs.keys() - observed.tasks.keys()):
        runs = observed.runs[task]
        if any(run.alive and run.manifest == spec.name for run in runs):
            message = f"its agent runs, but the task is gone; 'reconcile stop {task}' ends it"
            found[task] = Waiting(Reason.AGENT_RUNNING, message)
        elif runs and runs[-1].manifest == spec.name and (pull := _still_open(task, observed)):
            message = (
                f"#{pull.number} is open, but the task is gone; 'reconcile reject {task} --close -m TEXT' closes it"
            )
            found[task] = Waiting(Reason.TASK_GONE, message)
    return found


def _still_open(task: TaskId, observed: Observed) -> PullRequest | None:
    if isinstance(observed.pull_requests, Unknown):
        return None
    pull = observed.pull_requests.get(task)
    return pull if pull and pull.state is PullState.OPEN else None
