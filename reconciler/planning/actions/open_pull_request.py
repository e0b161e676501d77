"""Offer finished work: what its agent left uncommitted is saved, its commits become a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import ClassVar

from reconciler.model.names import Sha, branch_of
from reconciler.model.observed import Branch, PullRequest, Task, Upon
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.model.venue import Venue
from reconciler.planning import messages
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.forge_checks import LOOK_AGAIN
from reconciler.planning.job import Job
from reconciler.planning.labels import COMMITTED, PR_CREATED

SHOWS_WITHIN = timedelta(minutes=2)


class OpenPullRequest(Action, frozen=True, kw_only=True):
    by_merge: ClassVar[bool] = True
    subject: Task
    at: Venue
    head: Sha
    checks: tuple[str, ...] = ()
    base: str = ""
    onto: str = ""  # the branch of another task that it goes onto first

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head}

    @classmethod
    def due(cls, job: Job) -> Decision:
        if (job.open_pull and not job.offer.unpushed) or not isinstance(job.branch, Branch) or job.refused:
            return None
        if job.stack and job.unfit:
            return None  # what it began on has landed, and it does not fit there: offered, it would bring that along
        if job.adrift and _onto(job):
            return None  # where it would go is merged or closed, and here that is not known of its task yet
        if job.merged_below and _onto(job):
            return None  # it is where it would go
        ended_well = job.attempts.ending is not None and job.attempts.ending.reason is None
        if not ended_well and not job.pushed_again:
            return None
        if waiting := _merged_elsewhere(job, job.branch):
            return waiting
        count = f"{job.branch.ahead} commit{'s' if job.branch.ahead != 1 else ''}"
        push = f"push {job.branch.name} ({count}) to #{job.number}" if job.offer.unpushed else None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.AGENT_DONE,
            message=push or f"open pull request for {job.branch.name} ({count})",
            subject=job.task,
            at=job.venue,
            head=job.branch.head,
            checks=job.spec.merge.commands,
            base=job.spec.base,
            onto=_onto(job),
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        task, phases = self.subject.id, {label for label in self.subject.labels if label.startswith("phase:")}
        ports.workspaces.salvage(task, self.at)
        if not phases & {COMMITTED, PR_CREATED}:  # a push may take long: until then it is seen where the work stands
            yield Change(task=task, add_labels=frozenset({COMMITTED}), remove_labels=frozenset(phases))
        title, body = messages.title(self.subject), messages.body(self.subject, self.checks)
        number = ports.forge.open(task, self.head, title, body, base=self.base, onto=self.onto)
        yield Change(
            task=task,
            add_labels=frozenset({PR_CREATED, f"pr:{number}"}),
            remove_labels=frozenset(
                label
                for label in {*self.subject.labels, COMMITTED}
                if label.startswith(("phase:", "pr:")) and label not in (PR_CREATED, f"pr:{number}")
            ),
        )


def _onto(job: Job) -> str:
    """The branch of another task on which it began, and which has yet to land; empty where there is none."""
    waits = isinstance(job.stack, Upon) and job.stack.parent in job.blocked_by
    return branch_of(job.stack.parent) if isinstance(job.stack, Upon) and waits else ""


def _merged_elsewhere(job: Job, branch: Branch) -> Waiting | None:
    """A forge says that exactly this was merged, and the base does not show it: offered again, it might land twice."""
    pull = job.pull
    if not isinstance(pull, PullRequest) or not pull.landed or not job.merged or pull.head != branch.head:
        return None
    if job.merged_below:
        return None  # not into the base: what it went into instead has landed without it, or never will
    fresh = pull.closed_at is not None and job.now - pull.closed_at < SHOWS_WITHIN
    return Waiting(
        Reason.SET_ASIDE,
        f"#{pull.number} is merged as {pull.landed[:12]}, but {job.spec.base} does not hold that; "
        f"'reconcile retry {job.task.id}' offers it again",
        job.now + LOOK_AGAIN if fresh else None,
    )
