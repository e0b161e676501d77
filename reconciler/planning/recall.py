"""What was decided about tasks of which there is nothing but themselves, to be repeated while nothing has changed.

Most tasks of a full tracker are such. A plan is the same with or without what is recalled; only its cost is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct, field

from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, Task, Unknown
from reconciler.planning.job import Job

Around = tuple[object, ...]
"""What all tasks of a manifest have in common, as far as it tells anything of one of which nothing else is there."""
D = TypeVar("D")  # a decision: what decides stands above the jobs, which are recalled too


class Recall(Struct, Generic[D]):
    """By manifest, what was around its tasks, and by task its job and what was decided."""

    _around: dict[str, Around] = field(default_factory=dict)
    _decided: dict[str, dict[TaskId, tuple[Job, D]]] = field(default_factory=dict)
    _beside: tuple[Observed, frozenset[TaskId] | None] | None = None

    def around(self, manifest: str, around: Around) -> None:
        """Forget what was decided about the tasks of a manifest, unless this is around them still."""
        if self._around.get(manifest) != around:
            self._around[manifest], self._decided[manifest] = around, {}

    def job(
        self,
        manifest: str,
        task: Task,
        observed: Observed,
        blocked_by: tuple[str, ...],
        owned_by: str | None,
        epic: TaskId | None,
    ) -> Job | None:
        """The job of a task, where it would be the same again."""
        job, _ = self._decided[manifest].get(task.id, (None, None))
        if (
            job is None
            or job.task is not task
            or (job.blocked_by, job.owned_by, job.epic) != (blocked_by, owned_by, epic)
        ):
            return None
        if self._beside is None or self._beside[0] is not observed:
            self._beside = observed, _beside(observed)
        beside = self._beside[1]
        return job if beside is not None and task.id not in beside else None

    def decision(self, job: Job) -> D | None:
        """What was decided about this very job; None where nothing is recalled."""
        known, decision = self._decided.get(job.spec.name, {}).get(job.task.id, (None, None))
        return decision if known is job else None

    def keep(self, decided: Iterable[tuple[Job, D]]) -> None:
        """Remember what was decided, as far as no time and no other source changes it."""
        kept: dict[str, dict[TaskId, tuple[Job, D]]] = {manifest: {} for manifest in self._around}
        for job, decision in decided:
            if self.decision(job) or _lasts(job):
                kept[job.spec.name][job.task.id] = job, decision
        self._decided = kept


def _lasts(job: Job) -> bool:
    return job.fresh and job.put_off is None and job.task.defer_until is None


def _beside(observed: Observed) -> frozenset[TaskId] | None:
    """The tasks of which there is more than themselves; None where a source is silent about that."""
    facts = (
        observed.runs,
        observed.branches,
        observed.pull_requests,
        observed.worktrees,
        observed.landings,
        observed.occupants,
    )
    sources = [source for source in facts if not isinstance(source, Unknown)]
    if len(sources) < len(facts):
        return None
    beside = (observed.since, observed.candidates, observed.broken, observed.failures)
    return frozenset().union(*sources, *beside, observed.merged_by_hand, observed.repaired)
