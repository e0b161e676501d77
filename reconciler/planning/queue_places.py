"""Where each pull request stands in the lines of all bases, for who asks. Pure."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from reconciler.model.desired import LandingMode
from reconciler.model.names import PrNumber, RunId, Sha, TaskId
from reconciler.model.observed import Fold, Run
from reconciler.planning.actions import (
    Decision,
)
from reconciler.planning.job import Job
from reconciler.planning.merge_queue import Chain


class LineState(StrEnum):
    """How far something in a line is."""

    LANDING = "landing"
    TESTING = "testing"
    STARTING = "starting"  # its check starts with this tick
    QUEUED = "queued"
    PAUSED = "paused"  # it would be tested, and the line pauses
    HELD = "held"  # it does not merge after one that is before it
    ENQUEUED = "enqueued"  # in the merge queue of the forge, or on its way there
    READY = "ready"  # it has passed on the base as it is; a person merges it, or says yes to it first
    APART = "apart"  # it failed, or does not merge, by itself: what comes of that is no matter of the line


class QueuePlace(Struct, frozen=True, kw_only=True):
    """Where something stands in the line of its base. `chain`: what it lands or is tested with, itself too, the lowest first.

    `run`: the check of that. `reds`: how often it has failed by itself. `position`: in the merge queue of its forge.
    """

    base: str
    landing: LandingMode
    task: TaskId
    number: PrNumber | None
    head: Sha | None
    state: LineState
    position: int | None = None
    chain: Chain = ()
    run: Run | None = None
    reds: int = 0
    message: str = ""


class Lines(Struct):
    """What the lines of all bases ask for, beside what they decide."""

    unmerged: set[Fold] = field(default_factory=set)  # chains of which it is not known yet what they make
    tested: set[RunId] = field(default_factory=set)  # the checks under way that still prove something
    places: list[QueuePlace] = field(default_factory=list)
    touched: dict[TaskId, Sha] = field(default_factory=dict)  # at work, on that base, and who starts depends on where
    past: set[Sha] = field(default_factory=set)  # landed, and it depends on what those changed


def place(
    job: Job,
    base: str,
    landing: LandingMode,
    state: LineState,
    chain: Chain = (),
    run: Run | None = None,
    *,
    word: Decision,
) -> QueuePlace:
    """Where a job stands in the line of its base, and what is decided of it."""
    pull = job.open_pull
    return QueuePlace(
        base=base,
        landing=landing,
        task=job.task.id,
        number=job.number,
        head=pull.head if pull else None,
        state=state,
        position=pull.queue.position if pull and pull.queue else None,
        chain=chain,
        run=run,
        reds=len(job.offer.reds),
        message=word.message if word else "",
    )
