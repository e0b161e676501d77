"""What places runs on other machines: four words, and no more is asked of it.

An engine is believed in nothing that matters. What it says of a job shortens waiting and gives words; that a run is over is
proved by the ref of its task alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from reconciler.model.venue import Venue


class JobState(StrEnum):
    """`over`: the engine says that it ended, on a node that answers. `lost`: its node does not, and nobody knows."""

    QUEUED = "queued"
    RUNNING = "running"
    OVER = "over"
    LOST = "lost"


class EngineJob(Struct, frozen=True, kw_only=True):
    """A job as its engine sees it. `said`: why it waits, or how it ended, in the engine's words."""

    state: JobState
    node: str = ""
    said: str = ""


class Fitness(Struct, frozen=True, kw_only=True):
    """One thing that was looked at: `wrong` where it is, and then `hint` says what helps."""

    name: str
    found: str
    wrong: str = ""
    hint: str = ""
    fatal: bool = False


class Engine(Protocol):
    """An engine that exists, at one venue. Jobs are known by names that we give; a name may have several jobs."""

    def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
        """Have a script run on some node, with these variables. A program that outlives us may hold `lock`.

        Raises TemporaryError when it did not: there may be a job, or none. Twice is once: the script claims its run.
        """
        ...

    def jobs(self) -> Mapping[str, Sequence[EngineJob]]:
        """Every job of ours that it still knows of, by name. Raises TemporaryError when it does not answer."""
        ...

    def cancel(self, name: str) -> None:
        """Ask the jobs of this name to end, TERM first. Raises TemporaryError when it does not answer."""
        ...

    def fit(self) -> Iterator[Fitness]:
        """What of it, and of how it is set up, matters to us."""
        ...


def name_of(venue: Venue) -> str:
    """What people call an engine.

    >>> from reconciler.model.venue import VenueKind
    >>> name_of(Venue(kind=VenueKind.SLURM))
    'Slurm'
    """
    return {"slurm": "Slurm", "ssh": "ssh", "here": "pretend nodes"}.get(venue.kind, venue.kind)
