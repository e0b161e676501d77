"""A plan: what is done next, and for everything else why not. Values; they are made in `planner`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cached_property

from msgspec import Struct, field

from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunKind, TaskId
from reconciler.model.observed import Failure, Imprecise, Run
from reconciler.model.reasons import Awaits, Reason, Scope
from reconciler.model.values import replace
from reconciler.planning.actions import Action, Waiting
from reconciler.planning.base_checks import BaseHealth
from reconciler.planning.budget import Spend
from reconciler.planning.epic_tasks import EpicTasks
from reconciler.planning.job import Job
from reconciler.planning.labels import NEEDS_HUMAN
from reconciler.planning.orphans import OrphanWorktree
from reconciler.planning.queue_places import QueuePlace


class EpicPlan(Struct, frozen=True, kw_only=True, dict=True):
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
    limits: tuple[datetime, ...] = ()  # when what runs is past a limit of its, should its supervisor keep none
    base: BaseHealth | None = None  # at which commit its base is green
    failing: Mapping[TaskId, Failure] = field(default_factory=dict)  # actions that went wrong at every try until now

    @property
    def name(self) -> str:
        return self.spec.name

    def about(self, tasks: Collection[TaskId]) -> EpicPlan:
        """The same, as far as it is about these tasks."""
        jobs = tuple(job for job in self.jobs if job.task.id in tasks)
        return replace(
            self,
            jobs=jobs,
            actions=tuple(action for action in self.actions if action.task in tasks),
            waiting={task: word for task, word in self.waiting.items() if task in tasks},
            unknown=self.unknown if jobs else (),
            resting=(),
        )

    @cached_property
    def converged(self) -> bool:
        """True when the manifest and the world are the same."""
        left = self.actions or self.waiting or self.unknown or self.held or self.resting or self._testing
        return self.complete and not left

    @cached_property
    def words(self) -> Collection[Waiting]:
        """What its tasks wait for, each word once: of thousands most share theirs."""
        return {id(word): word for word in self.waiting.values()}.values()

    def saying(self, which: Callable[[Waiting], object]) -> list[TaskId]:
        """The tasks that wait for something that is such."""
        such = {id(word) for word in self.words if which(word)}
        return [task for task, word in self.waiting.items() if id(word) in such] if such else []

    @cached_property
    def gone(self) -> tuple[TaskId, ...]:
        """Its closed tasks whose work is not on the base: people may mean that, so it keeps nothing from converging."""
        return tuple(
            task for task, word in self.remarks.items() if word.reason in (Reason.UNLANDED, Reason.LANDING_UNDONE)
        )

    @cached_property
    def begun(self) -> tuple[Job, ...]:
        """Those of its jobs of which there is more than the task itself."""
        return tuple(job for job in self.jobs if not job.fresh)

    @cached_property
    def moves(self) -> bool:
        """True when something runs or a timer is pending: the world will change without a person."""
        running = any(word.reason.awaits is Awaits.RUN for word in self.words) or any(
            job.attempts.live for job in self.begun
        )
        running = running or (self.epic_tasks is None and bool(self.alive)) or self._testing
        # What failed for good is tried again now and then by who watches for days; it takes a person all the same.
        useless = {f.until for failure in self.failing.values() for f in failure.each if f.permanent}
        return bool(self.actions or running) or any(until not in useless for until in self.wakes)

    @property
    def _testing(self) -> bool:
        """True while checks run here, also of what nothing wants any more: their worktrees are still to be removed."""
        return any(run.id.kind is RunKind.CHECK and not run.where for run in self.alive)

    @cached_property
    def handed(self) -> frozenset[TaskId]:
        """The tasks that were handed to a person, whatever they wait for now."""
        return frozenset(job.task.id for job in self.begun if NEEDS_HUMAN in job.task.labels)

    @cached_property
    def needy(self) -> Mapping[TaskId, Waiting]:
        """The tasks about which a person has to do something who may not know it, and why."""
        asked = {*self.handed, *filter(self.failed_for_good, self.failing), *self.saying(_asks)}
        asking = ((task, word) for task, word in self.waiting.items() if task in asked) if asked else ()
        return {task: word for task, word in asking if not word.reason.row.chosen}

    def failed_for_good(self, task: TaskId) -> bool:
        """True when an action for the task went wrong in a way that no further try changes: a person is needed."""
        failure = self.failing.get(task)
        return failure is not None and failure.permanent and not failure.feedback  # that one its agent mends

    @cached_property
    def unsettled(self) -> bool:
        """True when a source is silent or a worktree is in use: often over with the next look, without a person."""
        words = (*self.words, *((self.held,) if self.held else ()))
        return any(word.reason.row.passing for word in words) or any(source != "forge" for source, _ in self.unknown)

    @cached_property
    def wakes(self) -> tuple[datetime, ...]:
        """When the timers that something waits for run out."""
        timed = [self.waiting[task] for task in self.saying(lambda word: word.until)]
        return tuple(wait.until for wait in (*timed, *self.resting) if wait.until)

    @cached_property
    def looks(self) -> tuple[datetime, ...]:
        """When to look at what nothing announces: what happens on other machines, and a limit that nobody keeps."""
        return (*self.limits, *(word.again for word in self.words if word.again))


def _asks(word: Waiting) -> bool:
    """True for what is for people to know."""
    row = word.reason.row
    return row.scope is Scope.TASK and not row.passing and word.needs_a_person


class Plan(Struct, frozen=True, kw_only=True):
    """What is done next, and for everything else why not. Nothing in it is left to choose."""

    epics: tuple[EpicPlan, ...] = ()
    unsure: Imprecise = field(default_factory=Imprecise)  # look closer and plan again, before anything is done
    line: tuple[QueuePlace, ...] = ()  # who is in the line of a base, by base and rank
    unmanaged: frozenset[TaskId] = (
        frozenset()
    )  # tasks that no manifest covers, of which something is left: only reported
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
        """When the next timer that something waits for runs out, or something is to be looked at again."""
        return min((until for epic in self.epics for until in (*epic.wakes, *epic.looks)), default=None)
