"""Worktrees of ours whose task is over: which manifest clears them away, and which of them nobody does. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct

from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, Unknown, WorktreeFault, known_or
from reconciler.planning.actions import guards
from reconciler.planning.epic_tasks import EpicTasks


def orphans(found: Iterable[EpicTasks], observed: Observed, owned: Mapping[TaskId, str]) -> dict[TaskId, str]:
    """Closed tasks of no manifest whose worktrees still stand, and the one manifest that clears them away."""
    keeper = next((epic_tasks.spec.name for epic_tasks in found if epic_tasks.spec.prune.orphans), None)
    if keeper is None or isinstance(observed.worktrees, Unknown) or isinstance(observed.tasks, Unknown):
        return {}
    tasks = observed.tasks
    return {id: keeper for id in observed.worktrees if id in tasks and tasks[id].closed and id not in owned}


class OrphanWorktree(Struct, frozen=True, kw_only=True):
    """A worktree of ours whose task is closed or gone, and that no manifest clears away."""

    task: TaskId
    path: str
    why: str
    kept: str = ""  # what keeps even a person's `prune` from it, and the way out


def orphan_worktrees(observed: Observed, known: Iterable[Collection[TaskId]]) -> Iterator[OrphanWorktree]:
    """Worktrees of ours whose task is over and belongs to no manifest: nobody clears them away."""
    if isinstance(observed.worktrees, Unknown) or isinstance(observed.tasks, Unknown):
        return
    for id, tree in sorted(observed.worktrees.items()):
        task = observed.tasks.get(id)
        runs = known_or(observed.runs, {})
        alive = any(run.alive for run in runs.get(id, ()))
        if (
            any(id in each for each in known)
            or tree.fault is WorktreeFault.TAKEN
            or alive
            or (task and not task.closed)
        ):
            continue
        why = "its task is closed and belongs to no manifest" if task else "its task is not in the tracker"
        occupant = known_or(observed.occupants, {}).get(id)
        yield OrphanWorktree(task=id, path=tree.path, why=why, kept=guards.kept(tree, occupant))
