"""What was decided about tasks of which there is nothing but themselves, to be repeated while nothing has changed.

Most tasks of a full tracker are such. A plan is the same with or without what is recalled; only its cost is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Generic, TypeVar

from msgspec import Struct, field

from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, Unknown
from reconciler.planning.job import Job

Around = tuple[object, ...]
"""What all tasks of a manifest have in common, as far as it tells anything of one of which nothing else is there."""
D = TypeVar("D")  # a decision: what decides stands above the jobs, which are recalled too


class Recall(Struct, Generic[D]):
    """By manifest, what was around its tasks, and by task its job and what was decided."""

    _around: dict[str, Around] = field(default_factory=dict)
    _decided: dict[str, dict[TaskId, tuple[Job, D]]] = field(default_factory=dict)

    def around(self, manifest: str, around: Around, observed: Observed) -> None:
        """Forget what was decided about the tasks of a manifest, unless this is around them still; and of those of which there
        is more by now."""
        beside = _beside(observed)
        if self._around.get(manifest) != around or beside is None:
            self._around[manifest], self._decided[manifest] = around, {}
            return
        decided = self._decided[manifest]
        # Of each the fewer are looked through: what is recalled, or what is there beside, of which thousands are finished.
        for task in [task for source in beside for task in decided.keys() & source]:
            decided.pop(task, None)

    def of(self, manifest: str) -> Mapping[TaskId, tuple[Job, D]]:
        """What is recalled of the tasks of a manifest. It is the same again for the very same task at the same place among the
        others: with what blocks it, who owns it, and its epic."""
        return self._decided.get(manifest, {})

    def keep(self, decided: Iterable[tuple[Job, D]]) -> None:
        """Remember what was decided about these, and nothing else."""
        self._decided = {manifest: {} for manifest in self._around}
        for each in decided:
            job, _ = each
            self._decided[job.spec.name][job.task.id] = each


def lasts(job: Job) -> bool:
    """True where no time and no other source changes what was decided about a task, so that it may be recalled."""
    return job.fresh and job.put_off is None and job.task.defer_until is None


def _beside(observed: Observed) -> Sequence[Set[TaskId]] | None:
    """By source, the tasks of which there is more than themselves; None where a source is silent about that."""
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
    beside = (*sources, observed.since, observed.candidates, observed.broken, observed.failures)
    return [*(source.keys() for source in beside), observed.merged_by_hand, observed.repaired]
