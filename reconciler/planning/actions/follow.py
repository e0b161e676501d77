"""Follow what happened on the forge: a base that was moved there, a branch that somebody pushed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from reconciler.model.names import Sha, TaskId, branch_of
from reconciler.model.observed import Standing, Worktree
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.model.venue import Venue
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.job import Job


class FollowBase(Action, frozen=True, kw_only=True):
    """Bring the base here, and its checkouts, to what landed elsewhere; see to landings that were cut off."""

    by_merge: ClassVar[bool] = True
    base: str

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.follow(self.base)
        yield from ()


class FollowBranch(Action, frozen=True, kw_only=True):
    """Bring a task's branch here, and its worktree, to the head that somebody pushed to the forge, or on which its agent
    went on off the branch. `at`: where its worktree is, for the latter."""

    by_merge: ClassVar[bool] = True
    subject: TaskId
    head: Sha
    at: Venue | None = None

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, tree = job.open_pull, job.worktree
        if (
            isinstance(tree, Worktree)
            and tree.head
            and tree.went_on
            and job.attempts.last
            and tree.branch != job.spec.base
        ):
            where = f"the branch {tree.branch}" if tree.branch else "no branch"
            return cls(
                manifest=job.spec.name,
                task=job.task.id,
                reason=Reason.OFF_ITS_BRANCH,
                message=f"move {branch_of(job.task.id)} to {tree.head[:12]}: its agent committed that on {where}",
                subject=job.task.id,
                head=tree.head,
                at=job.venue,
            )
        if pull is None or pull.here is not Standing.BEHIND:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.PUSHED,
            message=f"move {branch_of(job.task.id)} to {pull.head[:12]}, pushed to #{pull.number}",
            subject=job.task.id,
            head=pull.head,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        if self.at is None:
            ports.forge.follow_branch(self.subject, self.head)
        else:
            ports.workspaces.take(self.subject, self.at, self.head)
        yield from ()
