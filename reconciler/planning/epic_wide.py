"""What is done for a manifest beside the life of its tasks: two tables, of what comes before it and what comes after. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from reconciler.model.names import us_at
from reconciler.model.observed import Base, Task
from reconciler.model.reasons import Reason
from reconciler.planning.actions import (
    Action,
    CloseEpic,
    CloseTask,
    CreateTask,
    DropSalvage,
    FollowBase,
    PushBase,
    UpdateTask,
    Waiting,
)
from reconciler.planning.epic_state import unread
from reconciler.planning.epic_view import EpicView
from reconciler.planning.stale_runs import checks, reviews, staged

DROPPED = "no longer declared"
SALVAGE_KEPT = timedelta(days=30)


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
    """Close the epic, and those below it, of which all is closed; not one that somebody else has, or what is above it."""
    finished = list(_finished(view))
    theirs = [(epic, tasks) for epic, tasks in finished if _owner(epic, view)]
    for epic, tasks in finished:
        if any(epic is other or _above(epic, tasks, below, view) for other, below in theirs):
            continue
        yield CloseEpic(
            manifest=view.spec.name,
            task=None,
            reason=Reason.EPIC_COMPLETE,
            message=f"close {epic.id}: all of its tasks are closed",
            epic=epic,
        )


def left_to_others(view: EpicView) -> Waiting | None:
    """An epic of which all is closed, and that somebody else has: from 1.3 on `bd` refuses that others close it."""
    for epic, _ in _finished(view):
        if owner := _owner(epic, view):
            message = f"all tasks of {epic.id} are closed; it is assigned to {owner}, and left for them to close"
            return Waiting(Reason.ASSIGNED_ELSEWHERE, message)
    return None


def _finished(view: EpicView) -> Iterator[tuple[Task, tuple[Task, ...]]]:
    """The open epics of which all is closed, each with its tasks. One that had no task yet is not finished but empty."""
    epic_tasks = view.epic_tasks
    if any(unread(view.spec, view.observed)):
        return
    open_still = {job.task.id for job in view.begun if not job.done}  # closed by their own agents, and yet to land
    epics = list(epic_tasks.nested)
    if epic_tasks.epic and len(epic_tasks.declared) == len(epic_tasks.spec.tasks):
        epics.append((epic_tasks.epic, epic_tasks.members))
    for epic, tasks in epics:
        if not epic.closed and tasks and all(task.closed and task.id not in open_still for task in tasks):
            yield epic, tasks


def _owner(epic: Task, view: EpicView) -> str:
    """Who has an epic, other than we; empty where nobody has."""
    return "" if epic.assignee == us_at(view.observed.host) else epic.assignee


def _above(epic: Task, tasks: tuple[Task, ...], below: tuple[Task, ...], view: EpicView) -> bool:
    """True for an epic that holds all tasks of another, and more; the one of the manifest holds them all."""
    return epic is view.epic_tasks.epic or {task.id for task in tasks} > {task.id for task in below}


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
    staged,       # tested by the forge, or wanted by nobody      -> written down, its branch deleted
    checks,       # of trees that nothing wants, or ended         -> stopped, their worktrees removed
    salvage,      # saved thirty days ago                         -> dropped
    base,         # behind, or not pushed                         -> followed, or pushed
    close_epics,  # all tasks closed                              -> closed
)  # fmt: skip


def due(rules: tuple[EpicRule, ...], view: EpicView) -> Iterator[Action]:
    """What the rules of a table say, in its order."""
    for rule in rules:
        yield from rule(view)
