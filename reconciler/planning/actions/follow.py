"""Follow what happened on the forge: a base that was moved there, a branch that somebody pushed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.names import Sha, TaskId, branch_of
from reconciler.model.observed import Standing
from reconciler.model.ports import Change, Ports
from reconciler.planning.actions.base import Action, Word
from reconciler.planning.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowBase(Action):
    """Bring the base here, and its checkouts, to what landed elsewhere; see to landings that were cut off."""

    base: str

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.follow(self.base)
        yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowBranch(Action):
    """Bring a task's branch here, and its worktree, to the head that somebody pushed to the forge."""

    subject: TaskId
    head: Sha

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head}

    @classmethod
    def due(cls, job: Job) -> Word:
        pull = job.open_pull
        if pull is None or pull.here is not Standing.BEHIND:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason="Pushed",
            message=f"bring {branch_of(job.task.id)} to {pull.head[:12]}, which was pushed to #{pull.number}",
            subject=job.task.id,
            head=pull.head,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.follow_branch(self.subject, self.head)
        yield from ()
