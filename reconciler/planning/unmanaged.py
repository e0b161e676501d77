"""What was begun for tasks that no manifest covers: nobody goes on with it, so how it stands is reported. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.observed import Branch, Graph, Observed, PullRequest, PullState, Task, Unknown, WorktreeFault
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting, guards
from reconciler.planning.graph import Index, order
from reconciler.planning.job import Job
from reconciler.planning.jobs import EpicTasks, is_work, jobs, owners
from reconciler.planning.plan import EpicPlan, Plan

_NOBODYS = "no manifest covers it"


def begun(observed: Observed, decided: Plan) -> frozenset[TaskId]:
    """The tasks of no manifest of which something is left: an agent, a worktree, commits, a pull request, our name."""
    if isinstance(observed.tasks, Unknown) or any(epic.epic_tasks is None for epic in decided.epics):
        return frozenset()
    owned = owners(epic.epic_tasks for epic in decided.epics if epic.epic_tasks)
    us = f"reconcile@{observed.host}"
    ours = {id for id, task in observed.tasks.items() if task.assignee == us and task.status == "in_progress"}
    return frozenset(_work(observed.tasks, {*ours, *_seen(observed)} - owned.keys(), observed))


def unmanaged(spec: EpicSpec, observed: Observed, decided: Plan) -> EpicPlan | None:
    """Those tasks as a plan shows them, in which nothing is done; None where there are none.

    `spec`: what `run` would say about them.
    """
    found = begun(observed, decided)
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


def _work(tasks: Graph, found: set[TaskId], observed: Observed) -> Iterator[TaskId]:
    """Those that are work, and not over; of closed ones only what still runs or is open."""
    index = Index(tasks, observed.at)
    over = _unfinished(observed)
    for id in found:
        if id not in tasks:
            if id in _alive(observed):
                yield id
        elif is_work(tasks[id], index) and (not tasks[id].closed or id in over):
            yield id


def _seen(observed: Observed) -> set[TaskId]:
    found = _unfinished(observed)
    if not isinstance(observed.worktrees, Unknown):
        found |= {id for id, tree in observed.worktrees.items() if tree.fault is not WorktreeFault.TAKEN}
    if not isinstance(observed.branches, Unknown):
        found |= {id for id, branch in observed.branches.items() if branch.ahead and not branch.in_base}
    return found


def _unfinished(observed: Observed) -> set[TaskId]:
    found = set(_alive(observed))
    if not isinstance(observed.pull_requests, Unknown):
        found |= {id for id, pull in observed.pull_requests.items() if pull.state is PullState.OPEN}
    return found


def _alive(observed: Observed) -> frozenset[TaskId]:
    if isinstance(observed.runs, Unknown):
        return frozenset()
    return frozenset(id for id, runs in observed.runs.items() if any(run.alive for run in runs))


def _how_it_stands(job: Job) -> Waiting:
    id, branch, pull = job.task.id, job.branch, job.pull
    if running := guards.at_work(job):
        return replace(running, message=f"{running.message}; {_NOBODYS}")
    spawned = job.attempts.last is not None and job.attempts.last.manifest == job.spec.name
    then = "'reconcile merge' merges it" if spawned else "apply its manifest, or 'reconcile run', to go on"
    if isinstance(pull, PullRequest) and pull.state is PullState.OPEN:
        what = f"#{pull.number} is open; {then}"
    elif isinstance(branch, Branch) and branch.ahead:
        what = f"{branch.name} holds what is in no pull request; {then}"
    elif job.worktree:
        what = (
            f"its worktree is left; 'reconcile spawn {id}' goes on in it, 'reconcile prune {id}' saves and removes it"
        )
    else:
        what = f"in progress in our name, but nothing runs; 'reconcile spawn {id}' starts an agent"
    return Waiting(Reason.UNMANAGED, f"{what}; {_NOBODYS}")
