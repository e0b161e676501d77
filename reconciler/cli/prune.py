"""`prune` and `restore`: clearing up by hand, and getting back what was saved before something was cleared up."""

from __future__ import annotations

import os
from typing import Any

import click
from msgspec import Struct

from reconciler import wiring
from reconciler.cli.hands import saved_from_elsewhere
from reconciler.cli.output import Output, act, common, here, looking
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import known_in, on_a_task, task_named
from reconciler.git import worktrees
from reconciler.git.refs import HEADS
from reconciler.git.worktrees import WorktreeListing
from reconciler.loop import clearing
from reconciler.loop.loop import Tick
from reconciler.model.errors import PermanentError, ReconcileError, TemporaryError, UsageError
from reconciler.model.names import BRANCH_PREFIX, TaskId
from reconciler.model.observed import Observed, Unknown, WorktreeFault
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.planning.actions import DeleteBranch, Waiting
from reconciler.render.entry import waiting
from reconciler.wiring import Site
from reconciler.workspaces import CHECKS

DEFAULT_ROOT = "worktrees"


class Removal(Struct, frozen=True, kw_only=True):
    """A worktree that may be removed, or why it is kept."""

    task: TaskId
    path: str
    at: Venue
    kept: Waiting | None = None


@click.command("prune")
@click.argument("task", required=False)
@click.option("--all", "everything", is_flag=True, help="Every worktree of reconcile without a running agent")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed")
@common
@looking
def prune_command(task: str | None, everything: bool, dry_run: bool, out: Output) -> int:
    """Remove the worktrees of closed tasks, or of TASK. Uncommitted changes are saved first; branches are kept.

    What a person has taken over stays.
    """
    if not dry_run:
        wiring.refuse_agents(wiring.environ(), "prune")
    site = here()
    tick = LoopSession(site=site, out=out).look()
    named = task_named(site, task, out.chat) if task else None
    found = _removals(site, tick.observed, named, everything, dry_run)
    if named and not found:
        known_in(site, named)
        raise UsageError(f"{named} has no worktree")
    done = [_removed(site, removal, dry_run) for removal in found]
    done += _branches(site, tick, dry_run)
    lines = "\n".join(f"{each['task']}  {each['message']}" for each in done) or "nothing to remove"
    acts = [each for each in done if "action" in each]
    kept = [each for each in done if "action" not in each]
    if not dry_run:
        out.noted(site, acts)
    out.answer({"actions": acts, "waiting": kept, "unknown": []}, lambda: lines)
    return 1 if kept and named else 0


@click.command("restore")
@common
@on_a_task
def restore_command(site: Site, id: TaskId, out: Output) -> int:
    """Bring the newest saved work of a TASK back, as a branch."""
    if not any(saved.task == id for saved in site.workspaces.salvages()):
        known_in(site, id)
    unseen = _bring(site, id)
    if unseen and not any(saved.task == id for saved in site.workspaces.salvages()):
        raise TemporaryError(f"{id}: nothing is saved here; {unseen}")
    branch = site.workspaces.restore(id)
    return out.acted(site, "Restore", id, f"its saved work is on {branch}")


def _bring(site: Site, task: TaskId) -> str:
    """Save here what a run that is over had not committed elsewhere, where it stays for the next one; what can't be seen of that."""
    if not site.desired().elsewhere or any(run.alive and run.task == task for run in site.runner.runs().values()):
        return ""
    return saved_from_elsewhere(site, task)[1]


def _removals(site: Site, observed: Observed, named: TaskId | None, everything: bool, dry_run: bool) -> list[Removal]:
    tasks, runs, occupants = observed.tasks, observed.runs, observed.occupants
    if isinstance(tasks, Unknown) or isinstance(runs, Unknown) or isinstance(occupants, Unknown):
        raise PermanentError("can't read tasks, runs or processes now, so nothing is removed")
    found: list[Removal] = []
    for at in venues(site, worktrees.read(site.git)):
        for task, tree in sorted(site.workspaces.worktrees(at, [named] if named else []).items()):
            closed = task in tasks and tasks[task].closed
            if tree.fault is WorktreeFault.TAKEN or not (task == named or (named is None and (closed or everything))):
                continue
            alive = any(run.alive for run in runs.get(task, ()))
            kept = clearing.kept(task, tree, tasks.get(task), site.runner, alive=alive)
            if not kept and dry_run:  # what the removal itself looks for again
                kept = clearing.refused(task, tree, site.workspaces)
            found.append(Removal(task=task, path=tree.path, at=at, kept=kept))
    return found


def _removed(site: Site, removal: Removal, dry_run: bool) -> dict[str, Any]:
    if removal.kept:
        return _kept(removal, removal.kept)
    count, size = site.workspaces.ignored(removal.task, removal.at)
    lost = f" ({count} ignored files, {size:,} bytes, are not saved)" if count else ""
    if dry_run:
        return act("RemoveWorktree", removal.task, f"would remove {removal.path}{lost}")
    try:
        with site.runner.idle(removal.task):
            saved = site.workspaces.remove(removal.task, removal.at)
    except ReconcileError as error:
        return _kept(removal, clearing.waiting(error))
    back = f"; its uncommitted changes are saved: 'reconcile restore {removal.task}' brings them back" if saved else ""
    return act("RemoveWorktree", removal.task, f"removed {removal.path}{lost}{back}")


def _kept(removal: Removal, why: Waiting) -> dict[str, Any]:
    kept = replace(why, message=f"kept {removal.path}: {why.message}")
    return {"task": removal.task, **waiting(kept)}


def _branches(site: Site, tick: Tick, dry_run: bool) -> list[dict[str, Any]]:
    due = [action for action in tick.plan.actions if isinstance(action, DeleteBranch)]
    for action in due if not dry_run else ():
        site.workspaces.delete_branch(action.subject, action.head)
    return [act("DeleteBranch", a.subject, ("would " if dry_run else "") + a.message, str(a.reason)) for a in due]


def venues(site: Site, known: WorktreeListing) -> list[Venue]:
    """Where worktrees of ours stand: as the manifests say, and where those stand that no manifest speaks of any more."""
    named = [spec.worktrees.root for spec in site.desired().epics]
    left = [str(e.path.parent) for e in known.entries if (e.branch or "").startswith(HEADS + BRANCH_PREFIX)]
    checks = [str(e.path.parent.parent) for e in known.entries if e.path.parent.name == CHECKS]
    default = [] if named else [str(site.repository.main.parent / DEFAULT_ROOT)]
    roots = dict.fromkeys(os.path.realpath(root) for root in (*named, *default, *left, *checks))
    return [*(Venue(root=root) for root in roots), *site.desired().elsewhere]
