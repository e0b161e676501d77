"""Keep what people and scripts read of a task, its labels and who works on it, in line with what is seen. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from reconciler.model.names import TaskId
from reconciler.model.observed import RunState, Unknown
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.actions.base import Action
from reconciler.planning.job import Job
from reconciler.planning.labels import PHASES, left_over


class SetPhase(Action, frozen=True, kw_only=True):
    by_merge: ClassVar[bool] = True
    subject: TaskId
    add: frozenset[str]
    remove: frozenset[str]
    claim: str = ""  # who works on it, where the tracker says that nobody does

    @property
    def housekeeping(self) -> bool:
        return True

    @classmethod
    def due(cls, job: Job) -> SetPhase | None:
        if job.fresh or (not job.task.labels and job.phase is None):
            return None  # most tasks: nothing was done for them yet
        if job.task.status == "tombstone":
            return None  # nobody can write to it any more
        if job.damaged:
            return None  # its label is all that tells whose record that is
        if any(isinstance(source, Unknown) for source in (job.runs, job.branch, job.pull, job.landing)):
            return None
        if job.reopened:
            return None  # the label is the evidence: `RetryTask` records it before it goes
        if job.attempts.live and job.attempts.live.state is RunState.ENDING:
            return None  # its end is what divides what its agent wrote last from what people wrote
        wanted, unwanted = _wanted(job), _unwanted(job)
        if job.done and not job.landed and not job.attempts.live:
            wanted, unwanted = frozenset(), left_over(job.task)
        add, remove = wanted - job.task.labels, (unwanted - wanted) & job.task.labels
        claim = job.us if job.attempts.live and job.task.status == "open" and not job.task.assignee else ""
        if not add and not remove and not claim:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.SEEN,
            message=_message(add, remove, claim),
            subject=job.task.id,
            add=add,
            remove=remove,
            claim=claim,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        labelled = Change(task=self.subject, add_labels=self.add, remove_labels=self.remove)
        if not self.claim:
            yield labelled
            return
        # Somebody gave it back while its agent works on it: to everybody else it would be free.
        free, nobody = frozenset({"open"}), frozenset({""})
        yield replace(labelled, expect_status=free, expect_assignee=nobody, status="in_progress", assignee=self.claim)


def _message(add: frozenset[str], remove: frozenset[str], claim: str) -> str:
    new, old = ", ".join(sorted(add)), ", ".join(sorted(remove))
    labels = f"label {new}" + (f" (was {old})" if old else "") if new else f"remove label {old}" if old else ""
    return ", ".join(filter(None, (labels, f"assign to {claim}" if claim else "")))


def _wanted(job: Job) -> frozenset[str]:
    if job.attempts.done_claimed_at and job.attempts.live:
        return frozenset()  # what it says of itself is left alone while it lives
    present = [phase for phase in PHASES if phase in job.task.labels and phase != "phase:merged"]
    phase = job.phase or (present[-1] if present else None)
    if job.task.closed and phase != "phase:merged":
        return frozenset()
    labels = {phase} if phase else set()
    if job.open_pull and not job.attempts.live:
        labels.add(f"pr:{job.open_pull.number}")
    return frozenset(labels)


def _unwanted(job: Job) -> frozenset[str]:
    if (job.attempts.done_claimed_at and job.attempts.live) or (job.task.closed and not job.landed):
        return frozenset()
    numbers = (
        {label for label in job.task.labels if label.startswith("pr:")}
        if job.open_pull and not job.attempts.live
        else set()
    )
    return frozenset({*PHASES, *numbers})
