"""Tasks under a manifest with all that was seen of them: what entries, tables and pictures are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Observed, PullRequest, Run, Task, Unknown, Worktree, WorktreeFault, known_or
from reconciler.planning.actions import Action, Waiting
from reconciler.planning.graph import Index, order
from reconciler.planning.job import Job
from reconciler.planning.jobs import jobs
from reconciler.planning.plan import EpicPlan
from reconciler.planning.reviews import Reviewing


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
        return known_or(self.observed.runs, {}).get(self.task.id, ())

    @property
    def reviews(self) -> tuple[Run, ...]:
        """The reviews of what it offered, as they began."""
        found = known_or(self.observed.reviews, {}).get(self.task.id, ())
        return tuple(sorted(found, key=lambda run: (not run.started, run.started_at or self.observed.at, run.id)))

    @property
    def reviewing(self) -> Reviewing | None:
        """Who must say yes to what it offers, and what was answered; None where nothing is open."""
        return self.job.offer.reviewing if self.job and self.job.open_pull else None

    @property
    def run(self) -> Run | None:
        """The run that is alive, else the newest. An agent's comes before a review's, and that before a check's."""
        started = [run for run in (*self.checks, *self.reviews, *self.runs) if run.started or run.alive]
        return next((run for run in reversed(started) if run.alive), started[-1] if started else None)

    @property
    def worktree(self) -> Worktree | None:
        found = self.observed.worktrees
        tree = known_or(found, {}).get(self.task.id)
        return None if tree is None or tree.fault is WorktreeFault.TAKEN else tree

    @property
    def pull(self) -> PullRequest | None:
        found = self.observed.pull_requests
        return known_or(found, {}).get(self.task.id)

    @property
    def key(self) -> str | None:
        """The key under which the manifest declares it."""
        ids = self.epic.epic_tasks.ids if self.epic.epic_tasks else {}
        return next((key for key, id in ids.items() if key is not None and id == self.task.id), None)

    @property
    def waiting(self) -> Waiting | None:
        return self.epic.waiting.get(self.task.id) or self.epic.remarks.get(self.task.id)


def finished(epic: EpicPlan, observed: Observed) -> Mapping[TaskId, Task]:
    """The closed tasks of a manifest of which nothing is left, waits, goes wrong or runs."""
    if epic.epic_tasks is None or isinstance(observed.tasks, Unknown):
        return {}
    trees = known_or(observed.worktrees, {})
    busy = epic.waiting.keys() | epic.remarks.keys() | epic.failing.keys() | trees.keys()
    busy |= {job.task.id for job in _jobs(epic, observed)} | _due(epic.actions).keys() | _alive(observed)
    return {task.id: task for task in epic.epic_tasks.members if task.closed and task.id not in busy}


def _alive(observed: Observed) -> set[TaskId]:
    sources = (observed.runs, observed.reviews, observed.checks)
    groups = (runs for source in sources if not isinstance(source, Unknown) for runs in source.values())
    # Of thousands nearly all have ended.
    return {run.task for runs in groups for run in runs if run.exit is None and run.alive}


def _jobs(epic: EpicPlan, observed: Observed) -> Iterable[Job]:
    # A held manifest has no jobs in its plan; what runs there is shown all the same.
    if not epic.held or epic.epic_tasks is None or isinstance(observed.tasks, Unknown):
        return epic.jobs
    owned = {task.id: epic.name for task in epic.epic_tasks.members}
    return jobs(epic.epic_tasks, observed, Index(observed.tasks, observed.at), owned)


def subjects(epic: EpicPlan, observed: Observed, but: Collection[TaskId] = ()) -> tuple[TaskView, ...]:
    """The tasks of a manifest without some, most urgent first."""
    if epic.epic_tasks is None or isinstance(observed.tasks, Unknown):
        return ()
    members = sorted((task for task in epic.epic_tasks.members if task.id not in but), key=order)
    known = {job.task.id: job for job in _jobs(epic, observed)}
    due, beneath = _due(epic.actions), beneath_another(observed)
    # Of an open task that waits for nothing it is all that tells why.
    tidied = {action.task: action for action in epic.actions if action.housekeeping}
    due = {**{task.id: tidied[task.id] for task in members if _only_tidied(task, epic) and task.id in tidied}, **due}
    checks = checks_by_task(observed, {task.id for task in members} if but else None)
    pulls = known_or(observed.pull_requests, {})
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


def view_of(task: TaskId, epics: Iterable[EpicPlan], observed: Observed) -> TaskView | None:
    """A task as its owner sees it, where several manifests hold it; None where none of these does."""
    found = [subject for epic in epics for subject in subjects(epic, observed) if subject.task.id == task]
    return min(found, key=lambda subject: bool(subject.job and subject.job.owned_by), default=None)


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


def checks_by_task(observed: Observed, only: Collection[TaskId] | None = None) -> Mapping[TaskId, tuple[Run, ...]]:
    """All checks of what tasks offered, oldest first; those that never started come last. `only`: of these tasks."""
    if isinstance(observed.checks, Unknown):
        return {}
    found: dict[TaskId, list[Run]] = defaultdict(list)
    every = (run for runs in observed.checks.values() for run in runs if only is None or run.task in only)
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
    several = (run for runs in observed.checks.values() for run in runs if len(run.heads) > 1)
    passed = (run for run in several if run.exit and run.exit.well)
    found = ((run.heads[:-1], observed.pull_requests.get(run.task)) for run in passed)
    return {head: top.number for heads, top in found if top for head in heads}


def tested_with(pull: PullRequest, checks: Sequence[Run], beneath: PrNumber | None) -> PrNumber | None:
    """Beneath which pull request it passed, where we merged it and no check of its own had passed last."""
    return beneath if pull.landed and ended_checks(pull, checks) != "passed" else None


def _only_tidied(task: Task, epic: EpicPlan) -> bool:
    return not task.closed and task.id not in epic.waiting


def _due(actions: Iterable[Action]) -> dict[TaskId, Action]:
    """What is done next for each task. Keeping its labels in order is nothing that it waits for."""
    found: dict[TaskId, Action] = {}
    for action in actions:
        if action.task is not None and not action.housekeeping:
            found.setdefault(action.task, action)
    return found
