"""Clear away what a closed task leaves behind, and nothing else: work that is on no base stays on its branch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from reconciler.model.names import Sha, TaskId, branch_of
from reconciler.model.observed import Branch, Landing, PullRequest, PullState, Salvage, Worktree, WorktreeFault
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.model.venue import Venue
from reconciler.planning.actions import guards
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.job import Job


class RemoveWorktree(Action, frozen=True, kw_only=True):
    """Remove a worktree; what no ref holds is salvaged first. With `check`, the worktree of a check that has ended."""

    by_merge: ClassVar[bool] = True
    tidies: ClassVar[bool] = True
    subject: TaskId | None
    at: Venue
    check: str | None = None

    @property
    def housekeeping(self) -> bool:
        return self.check is not None

    @classmethod
    def due(cls, job: Job) -> Decision:
        tree = job.worktree
        if not isinstance(tree, Worktree) or not job.spec.prune.worktrees or tree.fault is WorktreeFault.TAKEN:
            return None
        if waiting := guards.in_use(job) or guards.amid(job):
            return waiting
        if tree.nested:
            return Waiting(Reason.NESTED_REPOSITORY, guards.nested(tree))
        return cls.of(job, Reason.TASK_CLOSED, "its task is closed")

    @classmethod
    def of(cls, job: Job, reason: Reason, why: str) -> RemoveWorktree:
        """The removal of the job's own worktree."""
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=reason,
            message=f"remove worktree: {why}",
            subject=job.task.id,
            at=job.venue,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        if self.check is not None:
            ports.workspaces.remove_check(self.check, self.at)
        elif self.subject is not None:
            ports.workspaces.remove(self.subject, self.at)
        yield from ()


class DeleteBranch(Action, frozen=True, kw_only=True):
    """Delete a task's branch: on the forge first, where the name of the pull request's branch leads to it."""

    by_merge: ClassVar[bool] = True
    tidies: ClassVar[bool] = True
    subject: TaskId
    head: Sha
    there: bool = False

    @classmethod
    def due(cls, job: Job) -> Decision:
        branch = job.branch
        if not job.spec.prune.branches or not job.spec.merge.delete_branch:
            return None
        if there := _on_the_forge(job):
            return cls(
                manifest=job.spec.name,
                task=job.task.id,
                reason=Reason.LANDED,
                message=f"delete {branch_of(job.task.id)} on the forge: fully merged into {job.spec.base}",
                subject=job.task.id,
                head=there,
                there=True,
            )
        if not isinstance(branch, Branch):
            return None
        if job.worktree is not None or not _held_elsewhere(job, branch):
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.LANDED,
            message=f"delete {branch.name}: fully merged into {job.spec.base}",
            subject=job.task.id,
            head=branch.head,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        if self.there:
            ports.forge.drop_branch(self.subject, self.head)
        else:
            ports.workspaces.delete_branch(self.subject, self.head)
            ports.forge.forget_stack(self.subject)
        yield from ()


def _on_the_forge(job: Job) -> Sha | None:
    """Where its branch still stands on the forge, once exactly that head has landed."""
    pull, landing = job.pull, job.landing
    if not isinstance(pull, PullRequest) or pull.state is PullState.OPEN or pull.left is None:
        return None
    landed = {pull.head if pull.landed else None, landing.head if isinstance(landing, Landing) else None}
    return pull.left if job.landed and pull.left in landed else None


def _held_elsewhere(job: Job, branch: Branch) -> bool:
    """True when deleting the branch loses nothing: the base has its commits, or what was made of exactly this head."""
    landing, pull = job.landing, job.pull
    if isinstance(landing, Landing) and landing.head == branch.head:
        return True
    # Of work that the base held already nothing has landed; its pull request here keeps the commits.
    here = isinstance(pull, PullRequest) and pull.url is None and pull.landed is None and pull.head == branch.head
    return branch.in_base or job.merged_by_hand or (job.merged and here)


class DropSalvage(Action, frozen=True, kw_only=True):
    """Drop saved work that nobody asked for in 30 days, and forget it after as many more."""

    by_merge: ClassVar[bool] = False
    tidies: ClassVar[bool] = True
    salvage: Salvage

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.workspaces.drop_salvage(self.salvage)
        yield from ()


class PushBase(Action, frozen=True, kw_only=True):
    """Push what landed to the base's remote, with a lease."""

    by_merge: ClassVar[bool] = True
    base: str

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.push_base(self.base)
        yield from ()
