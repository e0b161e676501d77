"""From what is wanted and what was seen to what is done next. Pure: equal inputs give equal plans."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain

from reconciler.model.desired import Desired, EpicSpec, MergeMode
from reconciler.model.names import TaskId, check_subject
from reconciler.model.observed import (
    Base,
    Failure,
    Imprecise,
    Observed,
    PullRequest,
    PullState,
    Rules,
    Run,
    StopWhy,
    Unknown,
)
from reconciler.model.reasons import Awaits, Reason
from reconciler.planning import messages
from reconciler.planning.actions import (
    Action,
    CloseEpic,
    CloseTask,
    CreateTask,
    Decision,
    DropSalvage,
    FollowBase,
    Land,
    PushBase,
    RemoveWorktree,
    SetPhase,
    StartCheck,
    StopAgent,
    UpdateTask,
    Waiting,
    guards,
    next_step,
)
from reconciler.planning.actions.stop_agent import out_of_time
from reconciler.planning.agent_gate import agent_gate, spend_of
from reconciler.planning.base_checks import broken
from reconciler.planning.budget import Spend
from reconciler.planning.check_state import CheckState
from reconciler.planning.graph import Index
from reconciler.planning.job import Job
from reconciler.planning.jobs import EpicTasks, OrphanWorktree, group_tasks, jobs, orphan_worktrees, orphans, owners
from reconciler.planning.remarks import remarks
from reconciler.planning.scheduling import Decisions, admit

DROPPED = "no longer declared"
SALVAGE_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpicPlan:
    """What is done next for one manifest, what waits and why, and which sources were silent."""

    spec: EpicSpec
    epic: TaskId | None = None
    actions: tuple[Action, ...] = ()
    waiting: Mapping[TaskId, Waiting] = field(default_factory=dict)
    unknown: tuple[tuple[str, str], ...] = ()  # (source, why not)
    held: Waiting | None = None  # why nothing of this epic can be done
    resting: tuple[Waiting, ...] = ()  # actions beside the tasks' own that went wrong and are tried again later
    degraded: Waiting | None = None  # why no agent of it may start
    spend: Spend = field(default_factory=Spend)
    complete: bool = False  # every task is closed, and its epic
    epic_tasks: EpicTasks | None = None  # None: its tasks can't be read
    jobs: tuple[Job, ...] = ()
    remarks: Mapping[TaskId, Waiting] = field(
        default_factory=dict
    )  # what is amiss with closed tasks: reported, never fixed
    advice: Waiting | None = None  # what a person had better fix, although everything goes on without it
    alive: tuple[Run, ...] = ()  # what it has started and still runs, whatever is known of the tasks
    failing: Mapping[TaskId, Failure] = field(default_factory=dict)  # actions that went wrong at every try until now

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def converged(self) -> bool:
        """True when the manifest and the world are the same."""
        left = self.actions or self.waiting or self.unknown or self.held or self.resting
        return self.complete and not left

    @property
    def moves(self) -> bool:
        """True when something runs or a timer is pending: the world will change without a person."""
        running = any(decision.reason.awaits is Awaits.RUN for decision in self.waiting.values()) or any(
            job.live for job in self.jobs
        )
        running = running or (self.epic_tasks is None and bool(self.alive))
        return bool(self.actions or self.wakes or running)

    @property
    def unsettled(self) -> bool:
        """True when a source is silent or a worktree is in use: often over with the next look, without a person."""
        decisions = (*self.waiting.values(), *((self.held,) if self.held else ()))
        return any(decision.reason.row.passing for decision in decisions) or any(
            source != "forge" for source, _ in self.unknown
        )

    @property
    def wakes(self) -> tuple[datetime, ...]:
        """When the timers that something waits for run out."""
        return tuple(wait.until for wait in (*self.waiting.values(), *self.resting) if wait.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done next, and for everything else why not. Nothing in it is left to choose."""

    epics: tuple[EpicPlan, ...] = ()
    unsure: Imprecise = field(default_factory=Imprecise)  # look closer and plan again, before anything is done
    orphan_worktrees: tuple[OrphanWorktree, ...] = ()  # worktrees that no manifest clears away: reported, never touched

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(action for epic in self.epics for action in epic.actions)

    @property
    def converged(self) -> bool:
        return all(epic.converged for epic in self.epics)

    @property
    def moves(self) -> bool:
        return any(epic.moves for epic in self.epics)

    @property
    def unsettled(self) -> bool:
        return any(epic.unsettled for epic in self.epics)

    @property
    def wake_at(self) -> datetime | None:
        """When the next timer that something waits for runs out."""
        return min((until for epic in self.epics for until in epic.wakes), default=None)


def plan(desired: Desired, observed: Observed) -> Plan:
    """The changes that bring what was seen one step closer to what is wanted."""
    if isinstance(observed.tasks, Unknown):
        why = observed.tasks.why
        held = Waiting(Reason.TRACKER_UNAVAILABLE, f"its tasks can't be read: {why}")
        return Plan(
            epics=tuple(
                EpicPlan(
                    spec=s,
                    held=held,
                    unknown=(("tracker", why), *_silent(s, observed)),
                    spend=spend_of(s, observed),
                    alive=_alive(s, observed),
                )
                for s in desired.epics
            )
        )
    index = Index(observed.tasks, observed.at)
    found = group_tasks(desired, observed.prefix, observed.tasks, index)
    owned = owners(found)
    owned |= orphans(found, observed, owned)
    epics = {
        epic_tasks.spec.name: tuple(jobs(epic_tasks, observed, index, owned))
        for epic_tasks in found
        if not _held(epic_tasks, observed)
    }
    fields = {(job.spec.name, job.task.id): (job, next_step(job)) for job in chain(*epics.values())}
    decisions = admit(fields, desired, observed)
    return Plan(
        epics=tuple(
            _epic_plan(epic_tasks, epics.get(epic_tasks.spec.name, ()), decisions, observed, found)
            for epic_tasks in found
        ),
        unsure=_unsure(decisions),
        orphan_worktrees=tuple(orphan_worktrees(observed, owned)),
    )


def _unsure(decisions: Decisions) -> Imprecise:
    """What the actions rest on that was seen only in part."""
    landing = (job for job, decision in decisions.values() if isinstance(decision, Land))
    return Imprecise(
        bases=frozenset(job.spec.base for job in landing if _unlooked(job.base)),
        merges={
            job.task.id: (job.base_head, job.open_pull.head)
            for job, decision in decisions.values()
            if _shows_to_somebody(decision) and job.outdated and job.base_head and job.open_pull
        },
    )


def _shows_to_somebody(decision: Decision) -> bool:
    """True for what is acted on, by us or by the person that it asks: both want to know what it merges to now."""
    return isinstance(decision, Action) or (isinstance(decision, Waiting) and decision.reason.row.judged)


def _unlooked(base: Base | Unknown | None) -> bool:
    return isinstance(base, Base) and base.checkout is not None and base.checkout.dirty is None


# --- what one manifest's tasks get ---------------------------------------------------------------------------


def _epic_plan(
    epic_tasks: EpicTasks, mine: tuple[Job, ...], decisions: Decisions, observed: Observed, found: tuple[EpicTasks, ...]
) -> EpicPlan:
    spec = epic_tasks.spec
    held = _held(epic_tasks, observed)
    decided = [(job, decisions[spec.name, job.task.id][1]) for job in mine]
    waiting = {job.task.id: decision for job, decision in decided if isinstance(decision, Waiting)}
    # All that was wanted of it is done: what is left in its folder is a person's, and keeps nobody waiting.
    kept = {job.task.id for job, decision in decided if job.done and _is_nested(decision)}
    left = {task: waiting.pop(task) for task in kept}
    if held:
        waiting = {task.id: held for task in epic_tasks.members if not task.closed}
    waiting |= _without_a_task(spec, observed)
    actions: list[Action] = [decision for _, decision in decided if isinstance(decision, Action)]
    resting: tuple[Waiting, ...] = ()
    if not held and not spec.suspend and not spec.invalid:
        declared = [*_declared(epic_tasks), *_dropped(epic_tasks, mine)]
        # What is written again about a task comes first: it may be what keeps its agent from starting.
        rewritten = {action.task for action in declared}
        actions = [
            *declared,
            *(action for action in actions if action.task not in rewritten or isinstance(action, StopAgent)),
            *(phase for job, decision in decided if not isinstance(decision, Action) and (phase := _phase(job))),
            *_checks(epic_tasks, mine, observed, found, _being_checked(decisions)),
        ]
        if spec.name == min(other.spec.name for other in found):
            actions += _salvage(spec, observed)
        actions += _base(epic_tasks, observed, found)
        actions += _close_epics(epic_tasks, mine, observed)
        resting = tuple(wait for action in actions if (wait := _resting(action, observed)))
        actions = [action for action in actions if not _resting(action, observed)]
    return EpicPlan(
        spec=spec,
        epic=epic_tasks.epic.id if epic_tasks.epic else None,
        actions=tuple(actions),
        waiting=waiting,
        unknown=tuple(dict.fromkeys(_silent(spec, observed))),  # one source may keep several from answering
        held=held,
        resting=resting,
        degraded=_degraded(spec, observed),
        spend=spend_of(spec, observed),
        complete=_complete(epic_tasks),
        epic_tasks=epic_tasks,
        jobs=mine,
        remarks={}
        if held
        else left | remarks(epic_tasks, waiting.keys() | {action.task for action in actions}, observed),
        advice=_advice(spec, observed),
        alive=_alive(spec, observed),
        failing=_failing(spec, actions, observed),
    )


def _is_nested(decision: Decision) -> bool:
    return isinstance(decision, Waiting) and decision.reason is Reason.NESTED_REPOSITORY


def _failing(spec: EpicSpec, actions: list[Action], observed: Observed) -> dict[TaskId, Failure]:
    """What went wrong at every try until now, and still is to be done: now, or when it is tried again."""
    due = {(action.subject_id, type(action).__name__) for action in actions}
    return {
        subject: failure
        for subject, failure in sorted(observed.failures.items())
        if failure.manifest == spec.name
        and ((subject, failure.action) in due or (failure.until > observed.at and not failure.left))
    }


def _degraded(spec: EpicSpec, observed: Observed) -> Waiting | None:
    if observed.replaced:
        return Waiting(Reason.PROGRAM_REPLACED, observed.replaced)
    if hold := agent_gate(spec, observed):
        return Waiting(*hold)
    if why := broken(spec, observed):
        return Waiting(Reason.CHECK_BROKEN, why)
    base = observed.bases.get(spec.base)
    if isinstance(base, Base) and base.checkout and base.checkout.locked:
        message = f"a landing was cut off, and has locked the index of {base.checkout.path}; 'reconcile watch' or 'apply' ends it"
        return Waiting(Reason.LANDING_CUT_OFF, message)
    if isinstance(base, Base) and base.checkout and (paths := base.checkout.undoes):
        where, names = base.checkout.path, " ".join(shlex.quote(path) for path in paths[:8])
        message = f"{where}: the next commit there takes back what landed: {len(paths)} of its paths are staged as they were before"
        fixes = f"git restore --source=HEAD --staged --worktree -- {names if len(paths) <= 8 else '.'}"
        return Waiting(Reason.LANDING_UNDONE, f"{message}; '{fixes}' fixes it")
    return None


def _advice(spec: EpicSpec, observed: Observed) -> Waiting | None:
    base = observed.bases.get(spec.base)
    renamed = isinstance(base, Base) and base.rules and base.rules.renamed
    return Waiting(Reason.REPOSITORY_RENAMED, renamed) if renamed else None


def _alive(spec: EpicSpec, observed: Observed) -> tuple[Run, ...]:
    sources = (observed.runs, observed.checks)
    found = (run for source in sources if not isinstance(source, Unknown) for runs in source.values() for run in runs)
    return tuple(run for run in found if run.alive and run.manifest == spec.name)


def _held(epic_tasks: EpicTasks, observed: Observed) -> Waiting | None:
    """Why nothing of this manifest can be judged or done."""
    spec = epic_tasks.spec
    if why := observed.trackers.get(spec.name):
        return Waiting(Reason.TRACKER_UNAVAILABLE, why)
    if why := observed.forges.get(spec.name):
        return Waiting(Reason.FORGE_UNAVAILABLE, why)
    if spec.epic and epic_tasks.epic is None:
        return Waiting(Reason.EPIC_NOT_FOUND, f"no task {spec.epic} is in the tracker")
    if epic_tasks.epic and not epic_tasks.epic.closed and not epic_tasks.members and not spec.tasks:
        return Waiting(Reason.EPIC_EMPTY, f"{epic_tasks.epic.id} has no tasks")
    if isinstance(base := observed.bases.get(spec.base), Unknown):
        return Waiting(Reason.FORGE_UNAVAILABLE, base.why)
    if base and base.rules and (why := _forbidden(spec, base.rules)):
        return Waiting(Reason.FORGE_UNAVAILABLE, why)
    return None


def _forbidden(spec: EpicSpec, rules: Rules) -> str | None:
    """What the forge's rules forbid to everybody who would land there as this manifest wants it."""
    if rules.closed:
        return rules.closed
    if spec.merge.mode is MergeMode.MANUAL:
        return None
    if rules.queue:
        return f"{rules.queue}; write 'mergePolicy.mode: manual' to have people merge"
    if spec.merge.method not in rules.methods:
        allowed = ", ".join(sorted(rules.methods)) or "none"
        return f"{rules.forge} allows no '{spec.merge.method}' on {spec.base}; write 'mergePolicy.method' as one of: {allowed}"
    return None


def _silent(spec: EpicSpec, observed: Observed) -> Iterator[tuple[str, str]]:
    sources = {
        "runs": observed.runs,
        "checks": observed.checks,
        "worktrees": observed.worktrees,
        "branches": observed.branches,
        "forge": observed.pull_requests,
        "landings": observed.landings,
        "base": observed.bases.get(spec.base),
    }
    for name, source in sources.items():
        if isinstance(source, Unknown):
            yield name, source.why
    if why := observed.trackers.get(spec.name):
        yield "tracker", why
    if why := observed.forges.get(spec.name):
        yield "forge", why


def _resting(action: Action, observed: Observed) -> Waiting | None:
    """Why this very action is not tried again yet. Jobs say so by themselves; this is for all the others."""
    failure = observed.failure(action.subject_id)
    if failure is None or failure.action != type(action).__name__ or failure.until <= observed.at or failure.refused:
        return None  # what was refused was one head: that it is due says that this is another
    return Waiting(Reason.BACKOFF, f"{failure.action} went wrong: {failure.message}", failure.until)


def _without_a_task(spec: EpicSpec, observed: Observed) -> dict[TaskId, Waiting]:
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


def _phase(job: Job) -> SetPhase | None:
    # Once a task is closed, no matter who had it: labels of ours that stay on it would be for ever.
    hands_off = guards.not_for_us(job) or (not job.done and guards.somebody_elses(job))
    return None if hands_off else SetPhase.due(job)


def _declared(epic_tasks: EpicTasks) -> Iterator[Action]:
    spec = epic_tasks.spec
    if not spec.tasks:
        return
    if epic_tasks.epic is None:
        yield CreateTask.of(spec, epic_tasks.ids, None)
    for inline in spec.tasks:
        task = epic_tasks.declared.get(inline.key)
        if task is None:
            yield CreateTask.of(spec, epic_tasks.ids, inline)
        elif task.closed and task.close_reason == DROPPED:
            yield UpdateTask.reopening(spec, task, inline)
        elif not task.closed and (update := UpdateTask.of(spec, epic_tasks.ids, task, inline)):
            yield update


def _dropped(epic_tasks: EpicTasks, mine: tuple[Job, ...]) -> Iterator[Action]:
    """Tasks that are no longer declared are closed where nothing was done for them; the others go on."""
    dropped = {task.id for task in epic_tasks.dropped}
    for job in mine:
        if job.task.id not in dropped or job.task.closed or job.task.status != "open" or job.task.assignee:
            continue
        if not (job.runs or job.worktree or job.branch or job.pull):
            yield CloseTask(
                manifest=epic_tasks.spec.name,
                task=job.task.id,
                reason=Reason.DROPPED,
                message="close task: the manifest no longer declares it",
                subject=job.task,
                why=DROPPED,
                merged=False,
            )


def _close_epics(epic_tasks: EpicTasks, mine: tuple[Job, ...], observed: Observed) -> Iterator[Action]:
    """Close the epic, and those below it, of which all is closed. One that had no task yet is not finished but empty."""
    if any(_silent(epic_tasks.spec, observed)):
        return
    open_still = {job.task.id for job in mine if not job.done}  # closed by their own agents, and yet to land
    epics = list(epic_tasks.nested)
    if epic_tasks.epic and len(epic_tasks.declared) == len(epic_tasks.spec.tasks):
        epics.append((epic_tasks.epic, epic_tasks.members))
    for epic, tasks in epics:
        if epic.closed or not tasks or not all(task.closed and task.id not in open_still for task in tasks):
            continue
        yield CloseEpic(
            manifest=epic_tasks.spec.name,
            task=None,
            reason=Reason.EPIC_COMPLETE,
            message=f"close {epic.id}: all of its tasks are closed",
            epic=epic,
        )


def _complete(epic_tasks: EpicTasks) -> bool:
    if len(epic_tasks.declared) < len(epic_tasks.spec.tasks):
        return False
    if epic_tasks.epic is None:
        return (
            not epic_tasks.spec.epic and not epic_tasks.spec.tasks and all(task.closed for task in epic_tasks.members)
        )
    return epic_tasks.epic.closed and all(task.closed for task in epic_tasks.members)


# --- checks, salvage, base -----------------------------------------------------------------------------------


def _checks(
    epic_tasks: EpicTasks,
    mine: tuple[Job, ...],
    observed: Observed,
    found: tuple[EpicTasks, ...],
    starting: frozenset[str],
) -> Iterator[Action]:
    """End checks of trees that nothing wants any more, and remove the worktrees of those that have ended."""
    name = epic_tasks.spec.name
    sources = (observed.pull_requests, *(job.candidate for job in mine))
    if isinstance(observed.checks, Unknown) or any(isinstance(source, Unknown) for source in sources):
        return
    offered = [job for job in mine if job.open_pull and not job.done and not job.outdated]
    wanted = {job.subject for job in offered} | {run.id.subject for job in offered for run in _on_the_base(job)}
    for subject, runs in sorted(observed.checks.items()):
        last = runs[-1]
        if last.manifest != name or not last.alive or last.exit is not None:
            continue
        if subject not in wanted:
            message, why = "what it tested is no longer what would be merged", StopWhy.PERSON
        elif out_of_time(last, epic_tasks.spec.merge.timeout_s, observed.at):
            message, why = "its time is over and its supervisor does not end it", StopWhy.TIMED_OUT
        else:
            continue
        yield StopAgent(
            manifest=name,
            task=last.task,
            reason=Reason.STALE if why is StopWhy.PERSON else Reason.TIMED_OUT,
            message=f"stop {last.id}: {message}",
            run=last.id,
            why=why,
        )
    for subject, path in sorted(observed.check_worktrees.items()):
        runs = observed.checks.get(subject, ())
        # A check that starts again makes its worktree again: taken away from under it, it would turn red.
        if subject in starting or any(run.alive for run in runs) or _keeper(runs, path, found) != name:
            continue
        yield RemoveWorktree(
            manifest=name,
            task=runs[-1].task if runs else None,
            reason=Reason.CHECK_ENDED,
            message=f"clean up check worktree {messages.relative(path, epic_tasks.spec.repository)}",
            subject=runs[-1].task if runs else None,
            root=epic_tasks.spec.worktrees.root,
            check=subject,
        )


def _on_the_base(job: Job) -> tuple[Run, ...]:
    """The checks of the base as it is that tell whose fault a job's failed checks are."""
    asked = job.check_state is CheckState.FAILED
    return job.base_checks if asked and not isinstance(job.base_checks, Unknown) else ()


def _being_checked(decisions: Decisions) -> frozenset[str]:
    """The subjects of the checks that are to be started."""
    starts = (decision for _, decision in decisions.values() if isinstance(decision, StartCheck))
    return frozenset(check_subject(start.order.expected.tree, start.spec.merge.checks) for start in starts)


def _keeper(runs: tuple[Run, ...], path: str, found: tuple[EpicTasks, ...]) -> str | None:
    """The manifest that clears a check's worktree away: the one that started it, else the first with that root."""
    made = runs[-1].manifest if runs else None
    names = [epic_tasks.spec.name for epic_tasks in found if path.startswith(f"{epic_tasks.spec.worktrees.root}/")]
    return made if made in names else next(iter(names), None)


def _salvage(spec: EpicSpec, observed: Observed) -> Iterator[Action]:
    for saved in observed.salvages:
        if saved.age > SALVAGE_KEPT:
            yield DropSalvage(
                manifest=spec.name,
                task=saved.task,
                reason=Reason.EXPIRED,
                message=f"{'forget' if saved.dropped else 'drop'} what was saved of {saved.task} on {saved.at:%F}",
                salvage=saved,
            )


def _base(epic_tasks: EpicTasks, observed: Observed, found: tuple[EpicTasks, ...]) -> Iterator[Action]:
    spec = epic_tasks.spec
    base = observed.bases.get(spec.base)
    if (
        isinstance(base, Base)
        and base.behind
        and spec.name == min(c.spec.name for c in found if c.spec.base == base.name)
    ):
        yield FollowBase(
            manifest=spec.name,
            task=None,
            reason=Reason.LANDED_ELSEWHERE,
            message=f"update {base.name} and its checkouts to {base.head[:12]}",
            base=base.name,
        )
    first = min(c.spec.name for c in found if c.spec.base == spec.base and c.spec.merge.push) if spec.merge.push else ""
    if isinstance(base, Base) and base.unpushed and not base.diverged and spec.name == first:
        yield PushBase(
            manifest=spec.name,
            task=None,
            reason=Reason.UNPUSHED,
            message=f"push {base.name} to {base.remote}",
            base=base.name,
        )
