"""What is amiss with closed tasks: reported, and never fixed by us. Pure."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.model.names import SALVAGE_REFS, TaskId, branch_of
from reconciler.model.observed import Base, Branch, Observed, PullRequest, PullState, Salvage, Task, Unknown
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting
from reconciler.planning.epic_tasks import EpicTasks
from reconciler.planning.labels import MERGED


def remarks(epic_tasks: EpicTasks, busy: Collection[TaskId | None], observed: Observed) -> dict[TaskId, Waiting]:
    """Closed tasks that are not what they seem: somebody took back what landed, or closed what never did."""
    base = observed.bases.get(epic_tasks.spec.base)
    if not isinstance(base, Base) or any(
        isinstance(source, Unknown)
        for source in (observed.landings, observed.branches, observed.pull_requests, observed.runs)
    ):
        return {}
    saved = {each.task: each for each in sorted(observed.salvages, key=lambda each: each.n) if not each.dropped}
    assert not isinstance(observed.landings, Unknown) and not isinstance(observed.branches, Unknown)
    landed, pulls, found = observed.landings, observed.pull_requests, {}
    assert not isinstance(pulls, Unknown)
    # Of thousands that are closed most landed, and nothing of them is there that could be amiss.
    beside = base.undone.keys() | observed.branches.keys() | saved.keys()
    for task in epic_tasks.members:
        if (
            task.status == "closed"
            and (task.id not in landed or task.id in beside or _went_on(pulls.get(task.id)))
            and task.id not in busy
            and (remark := _amiss(task, base, observed, saved.get(task.id)))
        ):
            found[task.id] = remark
    return found


def _amiss(task: Task, base: Base, observed: Observed, saved: Salvage | None) -> Waiting | None:
    assert not isinstance(observed.landings, Unknown) and not isinstance(observed.branches, Unknown)
    assert not isinstance(observed.pull_requests, Unknown) and not isinstance(observed.runs, Unknown)
    landing = observed.landings.get(task.id)
    again = f"'reconcile retry {task.id} --reopen' does it again"
    meant = f"if that was meant, take the label {MERGED} off it"
    if MERGED in task.labels and (taken := base.undone.get(task.id)):
        message = f"nothing of what landed of it is left on {base.name}: {taken[:12]} took the last of it back; {again}; {meant}"
        return Waiting(Reason.LANDING_UNDONE, message)
    pull = observed.pull_requests.get(task.id)
    elsewhere = pull and pull.state is PullState.MERGED and pull.landed is None
    if (
        MERGED in task.labels
        and task.id in observed.runs
        and not landing
        and not elsewhere
        and not _along(task, pull, observed)
    ):
        return Waiting(
            Reason.UNLANDED, f"it is labelled {MERGED}, and no commit of {base.name} carries it; {again}; {meant}"
        )
    if branch := unlanded(task.id, observed):
        return left_behind(task.id, branch, base.name)
    if pull and _went_on(pull) and not (landing and landing.head == pull.left):
        return _came_later(pull, base.name)
    landed = MERGED in task.labels or landing or (pull and pull.state is PullState.MERGED)
    return _kept(saved) if saved and not landed else None


def _along(task: Task, pull: PullRequest | None, observed: Observed) -> bool:
    """True where it was merged into the branch of another task, which has landed: no commit of the base names it.

    A forge tells nothing more of a pull request whose branch is gone. Then what it was closed for has to do, and that what it
    waited for has landed.
    """
    landed = observed.landings
    assert not isinstance(landed, Unknown)
    if pull is not None:
        return pull.state is PullState.MERGED and pull.onto in landed
    numbers = (label.removeprefix("pr:") for label in task.labels if label.startswith("pr:"))
    by_hand = not task.closed_by_session and any(task.close_reason == f"merged #{number}" for number in numbers)
    return by_hand and any(below in landed for below in task.blockers)


def _went_on(pull: PullRequest | None) -> bool:
    """True where its branch on the forge is not what was merged of it."""
    return bool(pull and pull.state is PullState.MERGED and pull.left and pull.left != pull.head)


def _came_later(pull: PullRequest, base: str) -> Waiting:
    branch = branch_of(pull.task)
    message = (
        f"{branch} went on to {(pull.left or '')[:12]} on the forge, which is not what was merged into {base} of it"
    )
    return Waiting(Reason.UNLANDED, f"{message}; open a pull request of it there, or delete it")


def _kept(saved: Salvage) -> Waiting:
    drop = f"'git update-ref -d {SALVAGE_REFS}{saved.task}/{saved.n}' drops it"
    again = f"'reconcile restore {saved.task}' brings it back, {drop}"
    return Waiting(Reason.UNLANDED, f"it is closed, nothing of it landed, and what its agent left is saved; {again}")


def left_behind(task: TaskId, branch: Branch, base: str) -> Waiting:
    """The words for a closed task with commits that its base lacks."""
    again, drop = f"'reconcile retry {task} --reopen' does it again", f"'git branch -D {branch.name}' drops them"
    message = f"it is closed, and {branch.name} holds commits that {base} lacks; {again}, {drop}"
    return Waiting(Reason.UNLANDED, message)


def unlanded(task: TaskId, observed: Observed) -> Branch | None:
    """The branch of a task that holds commits which landed in no form; None where a source that would tell is silent."""
    landings, branches, pulls = observed.landings, observed.branches, observed.pull_requests
    if isinstance(landings, Unknown) or isinstance(branches, Unknown) or isinstance(pulls, Unknown):
        return None
    if task in observed.merged_by_hand:
        return None
    branch, landing, pull = branches.get(task), landings.get(task), pulls.get(task)
    merged = pull.head if pull and pull.state is PullState.MERGED and pull.landed is None else None
    done = {landing.head if landing else None, merged}
    return branch if branch and branch.ahead and not branch.in_base and branch.head not in done else None
