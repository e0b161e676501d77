"""What is done for a manifest beside the life of its tasks: two tables, of what comes before it and what comes after. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct

from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId
from reconciler.model.observed import Base, Observed, Run, StopWhy, Unknown
from reconciler.model.reasons import Reason
from reconciler.planning import messages
from reconciler.planning.actions import (
    Action,
    CloseEpic,
    CloseTask,
    CreateTask,
    DropSalvage,
    FollowBase,
    PushBase,
    RemoveWorktree,
    StopAgent,
    UpdateTask,
    guards,
)
from reconciler.planning.actions.stop_agent import left_alone, out_of_time, overspent
from reconciler.planning.check_state import CheckState
from reconciler.planning.epic_state import unread
from reconciler.planning.job import Job
from reconciler.planning.jobs import EpicTasks

DROPPED = "no longer declared"
SALVAGE_KEPT = timedelta(days=30)


class EpicView(Struct, frozen=True, kw_only=True, dict=True):
    """One manifest with all that its epic-wide actions are decided from. `every`: all manifests, this one too;
    `checks_starting`, `reviews_starting`: the subjects of those that are started in this tick. `tested`: the checks under way whose trees
    the lines still want.
    """

    epic_tasks: EpicTasks
    jobs: tuple[Job, ...]
    observed: Observed
    every: tuple[EpicTasks, ...]
    checks_starting: frozenset[str] = frozenset()
    reviews_starting: frozenset[str] = frozenset()
    tested: Collection[RunId] = frozenset()

    @cached_property
    def begun(self) -> tuple[Job, ...]:
        """Those of its jobs of which there is more than the task itself: of the others nothing runs or is offered."""
        return tuple(job for job in self.jobs if not job.fresh)

    @property
    def spec(self) -> EpicSpec:
        return self.epic_tasks.spec

    def is_first(self, wanted: Callable[[EpicSpec], bool] = lambda spec: True) -> bool:
        """True where this is the first manifest, by name, of those that are wanted: what is everybody's is done once."""
        names = (other.spec.name for other in self.every if wanted(other.spec))
        return self.spec.name == min(names, default=None)


def declared(view: EpicView) -> Iterator[Action]:
    """Make the tasks that the manifest declares, and write what changed in it since."""
    epic_tasks, spec = view.epic_tasks, view.spec
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


def dropped(view: EpicView) -> Iterator[Action]:
    """Tasks that are no longer declared are closed where nothing was done for them; the others go on."""
    undeclared = {task.id for task in view.epic_tasks.dropped}
    for job in view.jobs if undeclared else ():
        if job.task.id not in undeclared or job.task.closed or job.task.status != "open" or job.task.assignee:
            continue
        if not (job.runs or job.worktree or job.branch or job.pull):
            yield CloseTask(
                manifest=view.spec.name,
                task=job.task.id,
                reason=Reason.DROPPED,
                message="close task: the manifest no longer declares it",
                subject=job.task,
                why=DROPPED,
                merged=False,
            )


def close_epics(view: EpicView) -> Iterator[Action]:
    """Close the epic, and those below it, of which all is closed. One that had no task yet is not finished but empty."""
    epic_tasks = view.epic_tasks
    if any(unread(view.spec, view.observed)):
        return
    open_still = {job.task.id for job in view.begun if not job.done}  # closed by their own agents, and yet to land
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


def checks(view: EpicView) -> Iterator[Action]:
    """End checks of trees that nothing wants any more, and remove the worktrees of those that have ended."""
    observed, mine, spec, name = view.observed, view.begun, view.spec, view.spec.name
    sources = (observed.pull_requests, *(job.candidate for job in mine))
    if isinstance(observed.checks, Unknown) or any(isinstance(source, Unknown) for source in sources):
        return
    offered = [job for job in mine if job.open_pull and not job.done and not job.offer.outdated]
    wanted = {job.offer.subject for job in offered} | {run.id.subject for job in offered for run in _on_the_base(job)}
    for subject, runs in sorted(observed.checks.items()):
        last = runs[-1]
        if last.manifest != name or not last.alive or last.exit is not None:
            continue
        if subject not in wanted and last.id not in view.tested:
            message, why = "what it tested is no longer what would be merged", StopWhy.PERSON
        elif out_of_time(last, spec.merge.timeout_s, observed.at):
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
        if (
            "@" in subject
            or subject in view.checks_starting
            or any(run.alive for run in runs)
            or _keeper(runs, path, view.every) != name
        ):
            continue
        yield RemoveWorktree(
            manifest=name,
            task=runs[-1].task if runs else None,
            reason=Reason.CHECK_ENDED,
            message=f"clean up check worktree {messages.relative(path, spec.repository)}",
            subject=runs[-1].task if runs else None,
            at=spec.checks_venue,
            check=subject,
        )


def reviews(view: EpicView) -> Iterator[Action]:
    """End reviews of what nothing asks about any more, and throw away the worktrees of those that have ended."""
    observed, spec, name = view.observed, view.spec, view.spec.name
    sources = (observed.pull_requests, *(job.diff for job in view.begun), *(job.brief for job in view.jobs[:1]))
    if isinstance(observed.reviews, Unknown) or any(isinstance(source, Unknown) for source in sources):
        return
    wanted = {run.id for job in view.begun if _for_review(job) for run in job.offer.reviewing.wanted}
    every = [run for runs in observed.reviews.values() for run in runs]
    by_task = {job.task.id: job for job in view.jobs} if every else {}
    for run in sorted(every, key=lambda run: run.id):
        if run.manifest != name or not run.alive or (run.exit is not None and not left_alone(run, observed.at)):
            continue
        if why := _why_ended(run, spec, by_task.get(run.task), observed.at, asked=run.id in wanted):
            yield StopAgent(
                manifest=name, task=run.task, reason=why[1], message=f"stop {run.id}: {why[2]}", run=run.id, why=why[0]
            )
    for subject, path in sorted(observed.check_worktrees.items()):
        runs = tuple(run for run in every if run.id.subject == subject)
        busy = subject in view.reviews_starting or any(run.alive for run in runs)
        if "@" not in subject or busy or _keeper(runs, path, view.every) != name:
            continue
        yield RemoveWorktree(
            manifest=name,
            task=runs[-1].task if runs else None,
            reason=Reason.REVIEW_ENDED,
            message=f"clean up review worktree {messages.relative(path, spec.repository)}",
            subject=runs[-1].task if runs else None,
            at=spec.checks_venue,
            check=subject,
        )


def _for_review(job: Job) -> bool:
    """True while a review of a task may still matter: it is offered, ours to go on with, and nobody works on it."""
    if not job.open_pull or job.done or job.attempts.live:  # as most are not offered
        return False
    aside = (
        guards.not_for_us(job) or guards.somebody_elses(job) or guards.for_a_person(job) or guards.deferred_by_user(job)
    )
    return not aside and not job.offer.approved


def _why_ended(
    run: Run, spec: EpicSpec, job: Job | None, now: datetime, *, asked: bool
) -> tuple[StopWhy, Reason, str] | None:
    reviewer = spec.reviewing
    if run.exit is not None:
        return run.exit.stop or StopWhy.PERSON, Reason.LEFTOVERS, "it ended, but processes of it still live"
    if not asked:
        return StopWhy.PERSON, Reason.STALE, "what it judges is not what is to be judged any more"
    if run.done_at and now - run.done_at >= guards.GRACE:
        return StopWhy.DONE, Reason.AGENT_DONE, "it printed its final result and still runs"
    if words := job and overspent(run, job):
        return StopWhy.BUDGET, Reason.BUDGET_SPENT, words
    if out_of_time(run, reviewer.timeout_s, now):
        return StopWhy.TIMED_OUT, Reason.TIMED_OUT, "its time is over and its supervisor does not end it"
    return None


def _on_the_base(job: Job) -> tuple[Run, ...]:
    """The checks of the base as it is that tell whose fault a job's failed checks are."""
    asked = job.offer.check_state is CheckState.FAILED
    return job.base_checks if asked and not isinstance(job.base_checks, Unknown) else ()


def _keeper(runs: tuple[Run, ...], path: str, found: tuple[EpicTasks, ...]) -> str | None:
    """The manifest that clears a check's worktree away: the one that started it, else the first with that root."""
    made = runs[-1].manifest if runs else None
    names = [epic_tasks.spec.name for epic_tasks in found if path.startswith(f"{epic_tasks.spec.worktrees.root}/")]
    return made if made in names else next(iter(names), None)


def salvage(view: EpicView) -> Iterator[Action]:
    """Drop what was saved long ago. Not of one manifest: the first of all sees to it."""
    if not view.is_first():
        return
    for saved in view.observed.salvages:
        if saved.age > SALVAGE_KEPT:
            yield DropSalvage(
                manifest=view.spec.name,
                task=saved.task,
                reason=Reason.EXPIRED,
                message=f"{'forget' if saved.dropped else 'drop'} what was saved of {saved.task} on {saved.at:%F}",
                salvage=saved,
            )


def base(view: EpicView) -> Iterator[Action]:
    """Bring the base here to what landed elsewhere, and push what landed here: the first manifest that wants it."""
    spec = view.spec
    seen = view.observed.bases.get(spec.base)
    if not isinstance(seen, Base):
        return
    if seen.behind and view.is_first(lambda other: other.base == spec.base):
        yield FollowBase(
            manifest=spec.name,
            task=None,
            reason=Reason.LANDED_ELSEWHERE,
            message=f"update {seen.name} and its checkouts to {seen.head[:12]}",
            base=seen.name,
        )
    pushes = spec.merge.push and view.is_first(lambda other: other.base == spec.base and other.merge.push)
    if pushes and seen.unpushed and not seen.diverged:
        yield PushBase(
            manifest=spec.name,
            task=None,
            reason=Reason.UNPUSHED,
            message=f"push {seen.name} to {seen.remote}",
            base=seen.name,
        )


EpicRule = Callable[[EpicView], Iterator[Action]]

BEFORE_TASKS: tuple[EpicRule, ...] = (
    declared,     # declared, and not in the tracker as declared  -> made, or written
    dropped,      # no longer declared, and nothing done for it   -> closed
)  # fmt: skip

AFTER_TASKS: tuple[EpicRule, ...] = (
    reviews,      # of what nobody asks about, or ended           -> stopped, their worktrees thrown away
    checks,       # of trees that nothing wants, or ended         -> stopped, their worktrees removed
    salvage,      # saved thirty days ago                         -> dropped
    base,         # behind, or not pushed                         -> followed, or pushed
    close_epics,  # all tasks closed                              -> closed
)  # fmt: skip


def due(rules: tuple[EpicRule, ...], view: EpicView) -> Iterator[Action]:
    """What the rules of a table say, in its order."""
    for rule in rules:
        yield from rule(view)
