"""The merge queue of a forge: what is ready is put there, it tests it with those before it and merges it, and says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import ClassVar

from reconciler.model.desired import LandingMode
from reconciler.model.names import PrNumber, Sha
from reconciler.model.observed import Base, Candidate, PullRequest
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.planning.actions.approval import asks_a_person
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.actions.hindrances import hindrance
from reconciler.planning.forge_checks import LOOK_AGAIN
from reconciler.planning.job import Job
from reconciler.planning.landing_mode import mode_of

AFTER_A_CONFLICT = timedelta(seconds=60)  # with one before it, which may be merged or gone by then


def in_the_forges_queue(job: Job) -> Waiting | None:
    """What stands in the merge queue of its forge, no matter who put it there, is the forge's to merge."""
    pull = job.open_pull
    if pull is None or pull.queue is None:
        return None
    state = pull.queue.state.replace("_", " ").lower()
    where = f"#{pull.number} is number {pull.queue.position} in the merge queue of {job.spec.base}"
    return Waiting(Reason.LANDING_QUEUED, where + (f" ({state})" if state else ""), job.now + LOOK_AGAIN)


class Enqueue(Action, frozen=True, kw_only=True):
    """Put a head into the merge queue of its forge. Our own checks have passed on it once, whichever base that was with:
    there it is tested with what it lands on."""

    by_merge: ClassVar[bool] = True
    number: PrNumber
    head: Sha

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, candidate, base = job.open_pull, job.candidate, job.base
        if pull is None or not isinstance(candidate, Candidate) or not isinstance(base, Base):
            return None
        if mode_of(job.spec, base) is not LandingMode.QUEUE or not job.offer.green_once:
            return None
        again = f" again: {pull.removed.reason}" if pull.removed else ""
        return (
            asks_a_person(job)
            or hindrance(job, candidate)
            or _taken_out(job, pull)
            or cls(
                manifest=job.spec.name,
                task=job.task.id,
                reason=Reason.CHECKS_PASSED if pull.checks or job.offer.subject else Reason.NO_CHECKS,
                message=f"put #{pull.number} ({pull.head[:12]}) into the merge queue of {job.spec.base}{again}",
                number=pull.number,
                head=pull.head,
            )
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.enqueue(self.number, self.head)
        yield from ()


def taken_out_by_a_person(pull: PullRequest) -> bool:
    """True while a head stays out of the queue of its forge because a person took it out, until one says otherwise."""
    return pull.removed is not None and pull.removed.by_person and pull.merge_now != pull.head


def _taken_out(job: Job, pull: PullRequest) -> Waiting | None:
    """Why what was in the queue is not put there again at once."""
    out = pull.removed
    if out is None:
        return None
    if taken_out_by_a_person(pull):
        how = "'reconcile merge' puts it back"
        return Waiting(
            Reason.SET_ASIDE, f"somebody took #{pull.number} out of the merge queue of {job.spec.base}; {how}"
        )
    if out.conflict and job.now < out.at + AFTER_A_CONFLICT:
        message = f"#{pull.number} did not merge after those before it in the merge queue of {job.spec.base}"
        return Waiting(Reason.LANDING_QUEUED, message, out.at + AFTER_A_CONFLICT)
    return None
