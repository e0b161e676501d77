"""Hand a task to a person, with a note that says why and what to do; and take it back when they set it open again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from reconciler.model.desired import OnConflict
from reconciler.model.names import Sha
from reconciler.model.observed import PullRequest, Task
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning import messages
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.job import Job
from reconciler.planning.labels import NEEDS_HUMAN, PHASES, STOPPED, TAKEN

WORDS_MAX = 200


class BlockTask(Action, frozen=True, kw_only=True):
    by_merge: ClassVar[bool] = False
    subject: Task
    note: str

    @classmethod
    def due(cls, job: Job) -> Decision:
        problem = _problem(job)
        if problem is None:
            return None
        reason, message = problem
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=reason,
            message=f"needs attention: {message}",
            subject=job.task,
            note=messages.needs_human(job.task.id, reason, message),
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        yield Change(
            task=self.subject.id,
            expect_status=frozenset({self.subject.status}),
            status="blocked",
            add_labels=frozenset({NEEDS_HUMAN}),
            note=self.note,
        )


def _declined(job: Job) -> str:
    pull = job.pull
    answer = pull.rejection if isinstance(pull, PullRequest) else None
    if answer and isinstance(pull, PullRequest) and answer.head == pull.head and answer.text.strip():
        return f"#{job.number} was rejected and closed: {' '.join(answer.text.split())[:WORDS_MAX]}"
    return f"its pull request #{job.number} was closed by somebody"


def _quoted(job: Job) -> str:
    return f': "{job.notes.last_words}"' if job.notes.last_words else ""


def _problem(job: Job) -> tuple[Reason, str] | None:
    verdict = job.verdict
    if job.offer.declined:
        return Reason.DECLINED, _declined(job)
    if job.blocked_by_its_agent:
        return Reason.BLOCKED_BY_AGENT, "its agent marked it blocked" + _quoted(job)
    if NEEDS_HUMAN in job.task.labels and job.attempts.last is not None:
        return Reason.BLOCKED_BY_AGENT, "its agent says that it can't go on" + _quoted(job)
    if job.failure and job.unlandable:
        offering = job.failure.action == "OpenPullRequest"
        what = "offered" if offering else "landed"
        way_out = "; mergePolicy.method squash or merge takes a branch as a whole" if job.unfit else ""
        message = f"it can't be {what}: {job.failure.message}{way_out}"
        return Reason.PUSH_REFUSED if offering else Reason.CONFLICT, message
    if verdict is None or verdict.reason is None:
        return None
    if verdict.reason is Reason.CONFLICT and job.spec.merge.on_conflict is OnConflict.BLOCK:
        return verdict.reason, verdict.message
    if verdict.reason is Reason.NO_CHANGES and job.landed_before:
        return verdict.reason, f"{verdict.message}, and what it did before has landed already as #{job.number}"
    if job.exhausted:
        return verdict.reason, f"{verdict.message}; all {job.spec.agent.max_attempts} attempts are used"
    return None


class RetryTask(Action, frozen=True, kw_only=True):
    """Count attempts and landings of a task from here on, because a person set it open again."""

    by_merge: ClassVar[bool] = False
    subject: Task
    base: Sha | None
    at: datetime

    @classmethod
    def due(cls, job: Job) -> Decision:
        if not job.reopened or job.task.assignee not in ("", job.us) or TAKEN in job.task.labels:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.REOPENED,
            message="start over: it was set open again",
            subject=job.task,
            base=job.base_head,
            at=job.now,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        # The record comes first: without the labels nothing would say any more that it was reopened.
        ports.runner.mark_since(self.subject.id, self.base, self.at)
        yield replace(retrying(self.subject), status=None)  # blocked or deferred meanwhile is a person's word too


def retrying(task: Task) -> Change:
    """What `retry` writes to the tracker, once the record of it stands."""
    spent = {label for label in task.labels if label in (*PHASES, NEEDS_HUMAN, STOPPED) or label.startswith("pr:")}
    return Change(task=task.id, expect_status=frozenset({task.status}), status="open", remove_labels=frozenset(spent))
