"""What keeps a worktree from a person's `prune`: asked before it is removed, shown as to be removed, or advised."""

from __future__ import annotations

from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.observed import Task, Worktree
from reconciler.model.ports import Runner, Workspaces
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting, guards
from reconciler.planning.labels import TAKEN


def kept(id: TaskId, tree: Worktree, task: Task | None, runner: Runner, *, alive: bool) -> Waiting | None:
    """Who uses a worktree, or has taken it over; None where nobody does. `alive`: a run of the task lives."""
    if alive:
        return Waiting(Reason.AGENT_RUNNING, f"its agent runs; 'reconcile stop {id}' ends it")
    if task and not task.closed and TAKEN in task.labels:
        return guards.taken(id)
    if occupant := runner.occupants([tree.path]).get(tree.path):
        return Waiting(Reason.WORKTREE_IN_USE, guards.occupied(occupant))
    return None


def refused(id: TaskId, tree: Worktree, workspaces: Workspaces) -> Waiting | None:
    """Why its removal would be refused for what is in it, and the way out; None where it would go. Nothing is changed."""
    if tree.nested:
        return Waiting(Reason.NESTED_REPOSITORY, guards.nested(tree))
    try:
        workspaces.expect_removable(id, tree.at)
    except ReconcileError as error:
        return waiting(error)
    return None


def waiting(error: ReconcileError) -> Waiting:
    """What a removal that went wrong waits for."""
    word = str(error).partition(":")[0]
    if word in set(Reason):
        return Waiting(Reason.of(word), error.advised)
    # An agent that began meanwhile, or somebody who writes there; else it went wrong, and may be tried again.
    in_use = isinstance(error, ChangedError) or not isinstance(error, TemporaryError)
    return Waiting(Reason.WORKTREE_IN_USE if in_use else Reason.BACKOFF, error.advised)
