"""The line of every base: who is tested with whom, for how long still, and who waits for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any

from rich.console import RenderableType

from reconciler.model.observed import Observed, Unknown
from reconciler.planning.plan import Plan
from reconciler.planning.queue_places import LineState, QueuePlace
from reconciler.render.listing import columns
from reconciler.render.words import stamp, wall
from reconciler.system.late import late

Document = dict[str, Any]

_SAYS_WHY = (LineState.HELD, LineState.QUEUED, LineState.APART, LineState.ENQUEUED, LineState.READY)
NEWEST = 20  # checks by which it is known how long one takes


def document(decided: Plan, observed: Observed) -> list[Document]:
    """A row for each place in a line, the first to be merged first: by base, then in its order."""
    took_s = _typical_s(observed)
    return [_row(place, took_s) for place in decided.line]


def table(rows: Sequence[Document]) -> RenderableType:
    """The line as people read it."""
    numbers = {row["task"]: row["number"] for row in rows}
    headings = ("BASE", "PR", "TASK", "STATE", "WITH", "DONE", "WHY")
    return columns(headings, rows, lambda row: _cells(row, numbers), yields=4)


def _row(place: QueuePlace, took_s: float | None) -> Document:
    run = place.run
    expected = run.started_at + timedelta(seconds=took_s) if run and run.started_at and took_s is not None else None
    return {
        "base": place.base,
        "landing": str(place.landing),
        "task": place.task,
        "number": place.number,
        "head": place.head,
        "state": str(place.state),
        "position": place.position,
        "with": [task for task in place.chain if task != place.task],
        "run": str(run.id) if run else None,
        "tree": run.tree if run else None,
        "startedAt": stamp(run.started_at) if run and run.started_at else None,
        "expectedAt": stamp(expected) if expected else None,
        "failed": place.reds,
        "message": place.message,
    }


def _cells(row: Document, numbers: Mapping[str, int | None]) -> Sequence[str]:
    beside = [f"#{numbers.get(task) or '?'}" for task in row["with"]]
    return (
        row["base"],
        f"#{row['number']}" if row["number"] else "",
        row["task"],
        row["state"],
        ", ".join(beside[:2]) + (f" +{len(beside) - 2}" if len(beside) > 2 else ""),
        wall(row["expectedAt"])[11:16] if row["expectedAt"] else "",
        row["message"] if row["state"] in _SAYS_WHY else "",
    )


def _typical_s(observed: Observed) -> float | None:
    """How long a check takes that passes: half of the newest took longer. None before one has passed."""
    if isinstance(observed.checks, Unknown):
        return None
    runs = (run for runs in observed.checks.values() for run in runs)
    known = ((run.started_at, run.exit.at) for run in runs if run.exit and run.exit.well and run.started_at)
    newest = sorted(known, key=itemgetter(1))[-NEWEST:]
    if not newest:
        return None
    found: float = late("statistics").median(max((ended - began).total_seconds(), 0.0) for began, ended in newest)
    return found
