"""One manifest, as what is done for it beside the life of its tasks is decided from it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property

from msgspec import Struct

from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId
from reconciler.model.observed import Observed
from reconciler.planning.epic_tasks import EpicTasks
from reconciler.planning.job import Job


class EpicView(Struct, frozen=True, kw_only=True, dict=True):
    """One manifest with all that its epic-wide actions are decided from. `every`: all manifests, this one too;
    `checks_starting`, `reviews_starting`: the subjects of those that are started in this tick. `tested`: the checks under way whose trees
    the lines still want.
    """

    epic_tasks: EpicTasks
    jobs: tuple[Job, ...]
    observed: Observed
    every: tuple[EpicTasks, ...]
    checks_starting: frozenset[str] = frozenset()
    reviews_starting: frozenset[str] = frozenset()
    tested: Collection[RunId] = frozenset()

    @cached_property
    def begun(self) -> tuple[Job, ...]:
        """Those of its jobs of which there is more than the task itself: of the others nothing runs or is offered."""
        return tuple(job for job in self.jobs if not job.fresh)

    @property
    def spec(self) -> EpicSpec:
        return self.epic_tasks.spec

    def is_first(self, wanted: Callable[[EpicSpec], bool] = lambda spec: True) -> bool:
        """True where this is the first manifest, by name, of those that are wanted: what is everybody's is done once."""
        names = (other.spec.name for other in self.every if wanted(other.spec))
        return self.spec.name == min(names, default=None)
