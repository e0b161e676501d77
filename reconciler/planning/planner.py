"""From what is wanted and what was seen to what is done next. Pure: equal inputs give equal plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.observed import (
    Base,
    Imprecise,
    Observed,
    Unknown,
)
from reconciler.model.reasons import Reason
from reconciler.planning import base_checks, epic_state, epic_wide, freeze
from reconciler.planning.actions import (
    Action,
    CloseTask,
    Decision,
    Land,
    SetPhase,
    StartCheck,
    StartReview,
    StopAgent,
    Waiting,
    guards,
    next_step,
)
from reconciler.planning.agent_gate import agent_gate, spend_of, unproven
from reconciler.planning.epic_tasks import EpicTasks, group_tasks, owners
from reconciler.planning.epic_view import EpicView
from reconciler.planning.epic_wide import AFTER_TASKS, BEFORE_TASKS
from reconciler.planning.graph import Index
from reconciler.planning.job import Job
from reconciler.planning.jobs import jobs
from reconciler.planning.orphans import orphan_worktrees, orphans
from reconciler.planning.plan import EpicPlan, Plan
from reconciler.planning.queue_places import Lines
from reconciler.planning.recall import Recall, lasts
from reconciler.planning.remarks import remarks
from reconciler.planning.scheduling import Decisions, Key, admit
from reconciler.planning.unmanaged import begun as unfinished
from reconciler.planning.unmanaged import without_a_task

_STARTS = (StartCheck, StartReview)


def plan(desired: Desired, observed: Observed, recall: Recall[Decision] | None = None) -> Plan:
    """The changes that bring what was seen one step closer to what is wanted, as far as something is done for it now.

    `recall` makes it quicker, not different.
    """
    recall = recall or Recall[Decision]()
    if isinstance(observed.tasks, Unknown):
        why = observed.tasks.why
        held = Waiting(Reason.TRACKER_UNAVAILABLE, f"its tasks can't be read: {why}")
        return Plan(
            epics=tuple(
                EpicPlan(
                    spec=s,
                    held=epic_state.unwritable(s, observed) or held,
                    unknown=(("tracker", why), *epic_state.unread(s, observed)),
                    spend=spend_of(s, observed),
                    alive=epic_state.alive(s, observed),
                )
                for s in desired.epics
                if desired.acts(s.name)
            )
        )
    index = Index(observed.tasks, observed.at)
    found = group_tasks(desired, observed.prefix, observed.tasks, index)
    covered = owners(found)
    owned = covered | orphans(found, observed, covered)
    epics = {
        epic_tasks.spec.name: tuple(jobs(epic_tasks, observed, index, owned, recall))
        for epic_tasks in found
        if not epic_state.held(epic_tasks, observed)
    }
    decisions: Decisions = {}
    begun = defaultdict[str, list[Key]](list)  # by base: what there is more of than the task itself
    lasting = list[tuple[Job, Decision]]()
    for name, mine in epics.items():
        recalled = recall.of(name)
        for job in mine:
            known, key = recalled.get(job.task.id), (name, job.task.id)
            if known and known[0] is job:
                decisions[key] = known  # of which there is nothing else
                lasting.append(known)
                continue
            decisions[key] = job, next_step(job)
            if not job.fresh:
                begun[job.spec.base].append(key)
            elif lasts(job):
                lasting.append(decisions[key])
                job.forget()
    recall.keep(lasting)
    paused = freeze.pauses(desired, observed)
    lines = admit(decisions, begun, desired, observed, paused)
    going = {key: decisions[key] for keys in begun.values() for key in keys}
    starting, decided = _Starting.of(going), defaultdict[str, dict[TaskId, tuple[Job, Decision]]](dict)
    for (name, task), each in decisions.items():  # in the order of their jobs
        decided[name][task] = each
    plans = tuple(
        _epic_plan(epic_tasks, decided[epic_tasks.spec.name], starting, lines, observed, found, paused)
        for epic_tasks in found
    )
    explained = [epic.waiting for epic in plans]  # of deleted tasks, too, whose agents they started
    unmanaged = unfinished(observed, (covered, *explained), index)
    return Plan(
        epics=tuple(_acted_on(plans, desired)),
        unsure=_unsure(going, lines),
        line=tuple(lines.places),
        unmanaged=unmanaged,
        orphan_worktrees=tuple(orphan_worktrees(observed, (owned, unmanaged))),
    )


def _acted_on(plans: Iterable[EpicPlan], desired: Desired) -> Iterator[EpicPlan]:
    for epic in plans:
        if desired.acts(epic.name):
            yield epic if desired.alone is None else epic.about({desired.alone})


def _unsure(decisions: Decisions, lines: Lines) -> Imprecise:
    """What the actions rest on that was seen only in part."""
    landing = (job for job, decision in decisions.values() if isinstance(decision, Land))
    return Imprecise(
        bases=frozenset(job.spec.base for job in landing if _unlooked(job.base)),
        merges={
            job.task.id: (job.base_head, job.open_pull.head)
            for job, decision in decisions.values()
            if job.candidate and _shows_to_somebody(decision) and job.offer.outdated and job.base_head and job.open_pull
        },
        folds=frozenset(lines.unmerged),
        touched=lines.touched,
        past=frozenset(lines.past),
    )


def _shows_to_somebody(decision: Decision) -> bool:
    """True for what is acted on, by us or by the person that it asks: both want to know what it merges to now."""
    return isinstance(decision, Action) or (isinstance(decision, Waiting) and decision.reason.row.judged)


def _unlooked(base: Base | Unknown | None) -> bool:
    return isinstance(base, Base) and base.checkout is not None and base.checkout.dirty is None


class _Starting(Struct, frozen=True):
    """The subjects of the checks and of the reviews that are to be started, of all manifests."""

    checks: frozenset[str]
    reviews: frozenset[str]

    @classmethod
    def of(cls, decisions: Decisions) -> _Starting:
        starts = [d for _, d in decisions.values() if isinstance(d, _STARTS)]
        return cls(
            frozenset(s.spec.subject_of(s.order.expected.tree) for s in starts if isinstance(s, StartCheck)),
            frozenset(start.run.subject for start in starts if isinstance(start, StartReview)),
        )


# --- what one manifest's tasks get ---------------------------------------------------------------------------


def _epic_plan(
    epic_tasks: EpicTasks,
    decided: Mapping[TaskId, tuple[Job, Decision]],
    starting: _Starting,
    lines: Lines,
    observed: Observed,
    found: tuple[EpicTasks, ...],
    paused: Mapping[str, str],
) -> EpicPlan:
    spec = epic_tasks.spec
    held = epic_state.held(epic_tasks, observed)
    mine = tuple([job for job, _ in decided.values()])
    waiting = {task: decision for task, (_, decision) in decided.items() if isinstance(decision, Waiting)}
    # All that was wanted of it is done: what is left in its folder is a person's, and keeps nobody waiting.
    nested = [task for task, word in waiting.items() if word.reason is Reason.NESTED_REPOSITORY]
    kept = [task for task in nested if decided[task][0].done]
    left = {task: waiting.pop(task) for task in kept}
    if held:
        waiting = {task.id: held for task in epic_tasks.members if not task.closed}
    waiting |= without_a_task(spec, observed)
    actions: list[Action] = [decision for _, decision in decided.values() if isinstance(decision, Action)]
    resting: tuple[Waiting, ...] = ()
    theirs = None
    if not held and not spec.suspend and not spec.invalid:
        view = EpicView(
            epic_tasks=epic_tasks,
            jobs=mine,
            observed=observed,
            every=found,
            checks_starting=starting.checks,
            reviews_starting=starting.reviews,
            tested=lines.tested,
        )
        declared = list(epic_wide.due(BEFORE_TASKS, view))
        # What is written again about a task comes first: it may be what keeps its agent from starting.
        rewritten = {action.task for action in declared}
        closing = {action.task for action in declared if isinstance(action, CloseTask)}
        waiting = {task: word for task, word in waiting.items() if task not in closing} if closing else waiting
        actions = [
            *declared,
            *(action for action in actions if action.task not in rewritten or isinstance(action, StopAgent)),
            *(
                phase
                for job in view.begun
                if not isinstance(decided[job.task.id][1], Action) and (phase := _phase(job))
            ),
            *epic_wide.due(AFTER_TASKS, view),
        ]
        theirs = epic_wide.left_to_others(view)
        resting = tuple(wait for action in actions if (wait := _resting(action, observed)))
        actions = [action for action in actions if not _resting(action, observed)]
    alive = epic_state.alive(spec, observed)
    alike = mine and len({at.local for at in spec.venues}) == 1  # then it is the same for all of them
    gate = mine[0].agent_gate if alike else agent_gate(spec, observed, here=spec.venue.local)
    return EpicPlan(
        spec=spec,
        epic=epic_tasks.epic.id if epic_tasks.epic else None,
        actions=tuple(actions),
        waiting=waiting,
        unknown=tuple(dict.fromkeys(epic_state.unread(spec, observed))),  # one source may keep several from answering
        held=held,
        resting=resting,
        degraded=epic_state.degraded(spec, observed, gate, paused.get(spec.name))
        or _full(waiting, observed)
        or (_unproven(spec, observed) if actions or alive or any(map(_goes_on, waiting.values())) else None),
        spend=spend_of(spec, observed),
        complete=_complete(epic_tasks, left_to_others=theirs is not None),
        epic_tasks=epic_tasks,
        jobs=mine,
        remarks={}
        if held
        else left | remarks(epic_tasks, waiting.keys() | {action.task for action in actions}, observed),
        advice=epic_state.advice(spec, observed) or theirs,
        alive=alive,
        limits=tuple(epic_state.limits(spec, alive, observed.at)),
        failing=epic_state.failing(spec, actions, waiting, observed),
        base=base_checks.health(spec, observed),
    )


def _unproven(spec: EpicSpec, observed: Observed) -> Waiting | None:
    gate = unproven(spec, observed)
    return Waiting(*gate) if gate else None


def _goes_on(word: Waiting) -> bool:
    return not word.needs_a_person


def _full(waiting: Mapping[TaskId, Waiting], observed: Observed) -> Waiting | None:
    """Why no agent can start where none of any manifest runs here, either: neither the end of one nor time makes room."""
    full = next((word for word in waiting.values() if word.reason is Reason.MACHINE_FULL and not word.until), None)
    return None if full is None or any(not run.where for run in epic_state.every_alive(observed)) else full


def _resting(action: Action, observed: Observed) -> Waiting | None:
    """Why this very action is not tried again yet. Jobs say so by themselves; this is for all the others."""
    known = observed.failure(action.subject_id)
    failure = known and known.of(type(action).__name__)
    if failure is None or failure.until <= observed.at or failure.refused:
        return None  # what was refused was one head: that it is due says that this is another
    return Waiting(Reason.BACKOFF, f"{failure.action} failed: {failure.message}", failure.until)


def _phase(job: Job) -> SetPhase | None:
    # Once a task is closed, no matter who had it: labels of ours that stay on it would be for ever.
    wanted = SetPhase.due(job)  # first: most tasks want none
    hands_off = wanted and (guards.not_for_us(job) or (not job.done and guards.somebody_elses(job)))
    return None if hands_off else wanted


def _complete(epic_tasks: EpicTasks, *, left_to_others: bool) -> bool:
    """True when there is nothing more for us in it: an epic that somebody else has is theirs to close."""
    if len(epic_tasks.declared) < len(epic_tasks.spec.tasks):
        return False
    if epic_tasks.epic is None:
        return (
            not epic_tasks.spec.epic and not epic_tasks.spec.tasks and all(task.closed for task in epic_tasks.members)
        )
    return (epic_tasks.epic.closed or left_to_others) and all(task.closed for task in epic_tasks.members)
