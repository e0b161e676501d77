"""Have the forge run again what was red: once per head, so that chance sends no agent back to work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from reconciler.model.names import PrNumber, Sha
from reconciler.model.observed import Candidate
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.job import Job


class RerunChecks(Action, frozen=True, kw_only=True):
    """Have the workflows of a head that did not end green run once more."""

    by_merge: ClassVar[bool] = True
    number: PrNumber
    head: Sha
    workflows: tuple[int, ...]

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head, "workflows": self.workflows}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, again = job.open_pull, job.offer.forge_verdict.again
        if pull is None or not again or job.verdict or job.stack or not isinstance(job.candidate, Candidate):
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.NOT_GREEN,
            message=f"run the checks of #{pull.number} again: {job.offer.forge_verdict.message}",
            number=pull.number,
            head=pull.head,
            workflows=again,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.rerun(self.number, self.head, self.workflows)
        yield from ()
