"""Close a task whose work is on the base, no matter who brought it there; close an epic whose tasks are all closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from reconciler.model.names import PrNumber
from reconciler.model.observed import Landing, Task
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.planning import messages
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.actions.land import closing
from reconciler.planning.job import Job


class CloseTask(Action, frozen=True, kw_only=True):
    by_merge: ClassVar[bool] = True
    subject: Task
    why: str
    number: PrNumber | None = None
    merged: bool = True

    @classmethod
    def due(cls, job: Job) -> Decision:
        if job.task.closed or not job.landed:
            return None
        landing = job.landing
        where = f"in {landing.commit[:12]}" if isinstance(landing, Landing) else f"on {job.spec.base}"
        commit = landing.commit if isinstance(landing, Landing) else None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.LANDED,
            message=f"close task: its work is {where}",
            subject=job.task,
            why=messages.close_reason(job.number, commit),
            number=job.number,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        if self.merged:
            yield closing(self.subject, self.why, self.number)
        else:
            yield Change(
                task=self.subject.id,
                expect_status=frozenset({self.subject.status}),
                status="closed",
                close_reason=self.why,
            )


class CloseEpic(Action, frozen=True, kw_only=True):
    by_merge: ClassVar[bool] = True
    epic: Task

    def perform(self, ports: Ports) -> Iterator[Change]:
        yield Change(
            task=self.epic.id,
            expect_status=frozenset({self.epic.status}),
            status="closed",
            close_reason="all of its tasks are closed",
        )


class ClosePullRequest(Action, frozen=True, kw_only=True):
    """Close a pull request that nothing is to come of: its task was closed, or a person deleted its branch."""

    by_merge: ClassVar[bool] = True
    number: PrNumber
    declined: bool
    merged: bool

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull = job.pull
        gone = not job.open_pull and job.offer.declined and getattr(pull, "closed_at", None) is None
        if job.number is None or not (gone or (job.open_pull and job.done)):
            return None
        why = "its work is on the base" if job.landed else "its branch was deleted" if gone else "its task was closed"
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.LANDED if job.landed else Reason.DECLINED if gone else Reason.TASK_CLOSED,
            message=f"close #{job.number}: {why}",
            number=job.number,
            declined=gone and not job.landed,
            merged=job.landed,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.close(self.number, declined=self.declined, merged=self.merged)
        yield from ()
