"""Bring the base into a branch: where the forge merges nothing that lacks it, or tests nothing but what has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from reconciler.model.names import PrNumber, Sha
from reconciler.model.observed import Candidate, PullRequest
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.check_state import CheckState
from reconciler.planning.job import Job


class UpdateBranch(Action, frozen=True, kw_only=True):
    """Have the forge merge the base into a pull request. All that is left to it is to be green with the base in it."""

    by_merge: ClassVar[bool] = True
    number: PrNumber
    head: Sha

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull = job.open_pull
        if pull is None or not job.offer.needs_base or not isinstance(job.candidate, Candidate):
            return None
        # Every landing makes all others outdated: what would not land yet anyway would only be checked once more.
        if job.offer.check_state is not CheckState.PASSED or (
            not pull.lacks_base and (job.offer.manual or pull.withheld)
        ):
            return None
        why = "the forge merges only what has it" if pull.lacks_base else "its checks ran without it"
        return cls._of(job, pull, why)

    @classmethod
    def brings_a_fix(cls, job: Job) -> Decision:
        """What was red on the base beneath it as well is tested on the base as it is, before it counts."""
        pull, found = job.open_pull, job.offer.forge_verdict
        if pull is None or not found.inherited or job.verdict or job.stack or pull.aside:
            return None
        return cls._of(job, pull, found.message) if isinstance(job.candidate, Candidate) else None

    @classmethod
    def _of(cls, job: Job, pull: PullRequest, why: str) -> UpdateBranch:
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.OUTDATED,
            message=f"merge {job.spec.base} into #{pull.number}: {why}",
            number=pull.number,
            head=pull.head,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.update(self.number, self.head)
        yield from ()
