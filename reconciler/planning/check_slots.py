"""How many checks may run at once: as a manifest says, or as the machine has room for. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.desired import EpicSpec
from reconciler.model.observed import Observed, Room

QUEUED_AUTO = 8  # of what an engine places: the rest it would only have waiting
STAGED_AUTO = 4  # of what a forge runs nobody here knows how many it has room for


def check_slots(specs: Iterable[EpicSpec], observed: Observed) -> int:
    """Of all manifests that share a line: the one that allows most says how many."""
    return max((spec.merge.parallel or _auto(spec, observed) for spec in specs), default=1)


def left(room: Room, *, checks: int, agents: int) -> int:
    """What a machine has left for checks beside all else that it does, of which `checks` run already; at least one.

    Agents wait for their models most of the time: where it is known what is in use, they are not counted.

    >>> left(Room(processors=8, load=5), checks=2, agents=20), left(Room(processors=8), checks=2, agents=5)
    (5, 3)
    >>> left(Room(processors=2, load=18), checks=1, agents=0), left(Room(), checks=0, agents=0)
    (1, 1)
    """
    others = agents if room.load is None else max(room.load - checks, 0)
    return max((room.processors or 1) - others, 1)


def _auto(spec: EpicSpec, observed: Observed) -> int:
    at = spec.merge.runner
    if not at.local:
        return len(at.hosts) * at.per_host or QUEUED_AUTO
    return STAGED_AUTO if spec.merge.staging and not spec.merge.checks else _free(observed)


def _free(observed: Observed) -> int:
    here = [run for run in observed.live.checks if not run.commit and not run.where]
    agents = sum(not run.where for run in observed.live.agents)
    return left(observed.room, checks=len(here), agents=agents)
