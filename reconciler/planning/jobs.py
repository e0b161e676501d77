"""What was seen of each task of a manifest, joined. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack

from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId, us_at
from reconciler.model.observed import Candidate, Observed, Run, Standing, Task, Unknown, Upon, known_or
from reconciler.model.observed.tasks import CLOSED
from reconciler.planning import forge_checks, proofs
from reconciler.planning.agent_gate import Gate, agent_gate, reviewer_gate
from reconciler.planning.asked import asked_of, limited
from reconciler.planning.epic_tasks import EpicTasks
from reconciler.planning.graph import Index, order
from reconciler.planning.job import Job
from reconciler.planning.labels import left_over
from reconciler.planning.recall import Recall
from reconciler.planning.swept import abandoned, adrift, swept

T = TypeVar("T")
_NO_PATHS = frozenset[str]()  # one for all: each of its own takes 216 bytes


def jobs(
    epic_tasks: EpicTasks,
    observed: Observed,
    index: Index,
    owned: Mapping[TaskId, str],
    recall: Recall[Any] | None = None,
) -> Iterator[Job]:
    """The jobs of one manifest, most urgent first; without closed tasks of which nothing is left."""
    spec, recall = epic_tasks.spec, recall or Recall[Any]()
    holds = {local: agent_gate(spec, observed, here=local) for local in {at.local for at in spec.venues}}
    held_review = reviewer_gate(spec, observed) if spec.merge.reviewed_by_agents else None
    pulls = observed.pull_requests
    outages = frozenset() if isinstance(pulls, Unknown) else forge_checks.outages(pulls.values(), observed.at)
    unmade = {id for key, id in epic_tasks.ids.items() if key and key not in epic_tasks.declared}
    green = proofs.green(spec, observed)
    checks_there, retried = proofs.base_checks(spec, observed), proofs.retried_at(spec, observed)
    base, base_tree = observed.bases.get(spec.base), observed.base_tree(spec.base)
    us = (observed.host, observed.tracker_folder)
    remote = remotes_away(spec, observed)
    recall.around(
        spec.name, (spec, us, base, base_tree, holds, checks_there, retried, outages, observed.remotes), observed
    )
    there = checks_there if isinstance(checks_there, Unknown) else checks_there[0] if checks_there else ()
    made = partial(
        _job, spec=spec, observed=observed, base_checks=there, retried_at=retried, outages=outages, owned_by=None
    )
    stacks = spec.stack and all(at.local for at in spec.venues)
    (hold, *_) = holds.values()
    mine = {task.id: task for task in epic_tasks.members}
    mine |= {id: index.graph[id] for id in owned.keys() - mine.keys() if owned[id] == spec.name}
    above = epic_tasks.epic.id if epic_tasks.epic else None
    # First: of thousands that are closed, few have to be put in order.
    begun = _begun(observed)
    left = [
        t
        for id, t in mine.items()
        if t.status not in CLOSED
        or (owned[id] == spec.name and (remote or begun is None or id in begun or left_over(t)))
    ]
    # Of thousands most are as they were: what is done for each of them is a glance at these.
    blocked, deferred, recalled, name = index.blocked, index.below_deferred, recall.of(spec.name), spec.name
    left.sort(key=order)
    for task in left:
        id = task.id
        owner = None if (owner := owned[id]) == name else owner
        # What is declared and not made yet is no dangling dependency, and what its agent closed has yet to land.
        blocked_by = blocked.get(id, ())
        if not blocked_by and task.blockers:
            blocked_by = tuple(
                on for on in task.blockers if on in unmade or _has_yet_to_land(on, spec, observed, index)
            )
        epic = parents[0] if (task.parents or "." in id) and (parents := index.parents(id)) else above
        put_off = deferred.get(id)
        if (known := recalled.get(id)) and not put_off and not (blocked_by and spec.stack):
            job = known[0]
            if (job.task is task and job.blocked_by == blocked_by) and (job.owned_by == owner and job.epic == epic):
                yield job
                continue
        below = [on for on in blocked_by if stacks and owned.get(TaskId(on)) == spec.name]
        upon = (
            _upon(task, observed, index.graph[TaskId(below[0])], made, green)
            if len(below) == len(blocked_by) == 1
            else None
        )
        yield _job(
            task,
            spec,
            observed,
            blocked_by=blocked_by,
            upon=upon,
            beneath=_of(observed.stacks, TaskId(below[0])) if len(below) == len(blocked_by) == 1 else None,
            put_off=put_off,
            agent_gate=holds[spec.venue_for(task.labels).local] if len(holds) > 1 else hold,
            reviewer_gate=held_review,
            owned_by=owner,
            epic=epic,
            base_checks=there,
            retried_at=retried,
            outages=outages,
            was_green=id in green,
        )


def _has_yet_to_land(id: TaskId, spec: EpicSpec, observed: Observed, index: Index) -> bool:
    task = index.graph.get(id)
    if task is None or not (task.closed_by_session or task.closed_by):
        return False
    return _job(task, spec, observed).finished_by_agent


def _begun(observed: Observed) -> frozenset[TaskId] | None:
    """The tasks of which something is there that may want something still when they are closed; None where a source is silent,
    which is no sign that nothing is left."""
    worktrees, branches, pulls = observed.worktrees, observed.branches, observed.pull_requests
    if isinstance(worktrees, Unknown) or isinstance(branches, Unknown) or isinstance(pulls, Unknown):
        return None
    if isinstance(observed.runs, Unknown):
        return None
    offered = [task for task, pull in pulls.items() if pull.closed_at is None or pull.left is not None]
    return frozenset().union(worktrees, branches, offered, (run.task for run in observed.live.agents))


def _upon(
    task: Task, observed: Observed, parent: Task, make: Callable[..., Job], green: frozenset[TaskId]
) -> Upon | None:
    """The branch on which a task may begin, or go on: that of the only one that it waits for, once that is offered, green and
    approved, and nothing is left to be done to it but to land."""
    stack = _of(observed.stacks, task.id)
    here = known_or(observed.branches, {}).get(task.id)
    if isinstance(stack, Unknown) or (stack.parent != parent.id if stack else here is not None):
        return None
    job = make(parent, was_green=parent.id in green)
    pull = job.open_pull
    if pull is None or pull.here is not Standing.SAME or pull.aside or job.stack or job.verdict or job.attempts.live:
        return None
    good = job.offer.green_once and job.offer.approved and not job.offer.discussion.open
    return Upon(parent.id, pull.head) if good else None


class _Beside(TypedDict, total=False):
    """What a job gets beside what was seen of its task: by its place among the others, or found once for all."""

    blocked_by: tuple[str, ...]
    put_off: Task | None
    upon: Upon | None
    beneath: Upon | Unknown | None
    agent_gate: Gate | None
    reviewer_gate: Gate | None
    owned_by: str | None
    epic: TaskId | None
    base_checks: tuple[Run, ...] | Unknown
    retried_at: datetime | None
    outages: frozenset[str]
    was_green: bool


def _job(task: Task, spec: EpicSpec, observed: Observed, **beside: Unpack[_Beside]) -> Job:
    """A task with what was seen of it."""
    id = task.id
    candidate = observed.candidates.get(id)
    asked = asked_of(spec, candidate.changed) if isinstance(candidate, Candidate) else spec.merge.tests
    tree = candidate.tree if isinstance(candidate, Candidate) else None
    step = proofs.step_on(observed, spec, tree, asked)
    if isinstance(candidate, Candidate) and (limited(spec) or spec.merge.staging):
        base_tree = observed.base_tree(spec.base)
        there = base_tree if isinstance(base_tree, Unknown) else proofs.runs_of(observed, spec, base_tree, step)
        beside = {**beside, "base_checks": there}
    return Job(
        task=task,
        spec=spec,
        now=observed.at,
        us=us_at(observed.host),
        tracker_folder=observed.tracker_folder,
        runs=_of(observed.runs, id) or (),
        since=observed.since.get(id),
        occupant=_of(observed.occupants, id),
        worktree=Unknown(away) if (away := _away(task, spec, observed)) else _of(observed.worktrees, id),
        branch=_of(observed.branches, id),
        pull=_of(observed.pull_requests, id),
        damaged=observed.broken.get(id) or _damaged(task, observed),
        base=observed.bases.get(spec.base),
        candidate=candidate,
        checks=proofs.runs_of(observed, spec, tree, step),
        staged=any(check.staged for check in step),
        diff=observed.diffs.get(id),
        reviews=_of(observed.reviews, id) or (),
        authors_words=observed.authors_words.get(id),
        brief=observed.review_prompts.get(spec.name, ""),
        guidelines=observed.guidelines.get(spec.name, ""),
        linked_prompts=observed.linked_prompts.get(spec.name, _NO_PATHS),
        red_checks=proofs.red_checks(observed, spec, id),
        base_tree=observed.base_tree(spec.base),
        landing=_of(observed.landings, id),
        merged_by_hand=id in observed.merged_by_hand,
        repaired=id in observed.repaired,
        failure=observed.failure(id),
        refusal=observed.refusal(id),
        stack=_of(observed.stacks, id),
        swept=swept(observed, _of(observed.pull_requests, id)),
        adrift=adrift(observed, _of(observed.stacks, id)),
        abandoned=abandoned(observed, _of(observed.stacks, id)),
        **beside,
    )


def remotes_away(spec: EpicSpec, observed: Observed) -> str | None:
    """Why nobody knows what stands at one of the places where tasks of a manifest are worked on."""
    away = observed.remotes  # nearly always none
    return next((why for at in spec.venues if (why := away.get(at.remote))), None) if away else None


def _away(task: Task, spec: EpicSpec, observed: Observed) -> str | None:
    """Why nobody knows what there is of a task: at its place, or, where it ever was elsewhere, at any."""
    if not observed.remotes:
        return None
    runs = _of(observed.runs, task.id) or ()
    if isinstance(runs, Unknown) or any(run.where for run in runs):
        return remotes_away(spec, observed)
    return observed.remotes.get(spec.venue_for(task.labels).remote)


def _damaged(task: Task, observed: Observed) -> str | None:
    return next((why for n, why in sorted(observed.damaged.items()) if f"pr:{n}" in task.labels), None)


def _of(source: Mapping[TaskId, T] | Unknown, task: TaskId) -> T | Unknown | None:
    return source if isinstance(source, Unknown) else source.get(task)
