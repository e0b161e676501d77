"""Work that began on another task's branch: it waits for that one to land, then comes onto the base with what is its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from reconciler.model.names import Sha, TaskId, branch_of
from reconciler.model.observed import Base, Branch, PullRequest, Upon
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.job import Job


class Unstack(Action, frozen=True, kw_only=True):
    """Bring a branch onto the base, once what it began on has landed, or never will."""

    by_merge: ClassVar[bool] = True
    subject: TaskId
    head: Sha
    upon: Upon
    base: Sha

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head, "upon": self.upon.parent, "fork": self.upon.fork, "base": self.base}

    @classmethod
    def due(cls, job: Job) -> Decision:
        upon, branch, base = job.stack, job.branch, job.base
        if not isinstance(upon, Upon) or not isinstance(branch, Branch) or not isinstance(base, Base):
            return None
        if upon.parent in job.blocked_by or not upon.here or job.unfit:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.STACKED,
            message=f"bring {branch.name} onto {base.name}: what it began on, {branch_of(upon.parent)}, is no more in the way",
            subject=job.task.id,
            head=branch.head,
            upon=upon,
            base=base.head,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.unstack(self.subject, self.head, self.upon, self.base)
        yield from ()


def on_top(job: Job) -> Waiting | None:
    """Offered work that holds what is another's is not tested, reviewed or landed: it would bring that along."""
    upon = job.stack
    if not isinstance(upon, Upon) or (job.open_pull is None and job.attempts.last is None):
        return None  # what has its branch and no agent yet gets one
    if job.merged_below:
        return _merged_below(job, upon)
    what = f"#{job.number} is" if isinstance(job.pull, PullRequest) else "it is"
    return Waiting(
        Reason.STACKED, f"{what} on top of {branch_of(upon.parent)}, and goes on once {upon.parent} has landed"
    )


def _merged_below(job: Job, upon: Upon) -> Waiting:
    """A person has merged it into what it is on top of: it is on the base once that is, or is offered by itself once that never will be."""
    parent, onto, base = upon.parent, branch_of(upon.parent), job.spec.base
    if parent not in job.blocked_by or not job.abandoned:
        return Waiting(Reason.STACKED, f"#{job.number} was merged into {onto}, and goes on once {parent} has landed")
    return Waiting(
        Reason.SET_ASIDE,
        f"#{job.number} was merged into {onto}, and the pull request of that was closed: none of it is on {base}; open that one again and "
        f"it comes along, or close {parent} and it is offered to {base} by itself",
    )
