"""`get events -w`: the history as it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
from msgspec import Struct

from reconciler.cli.output import Output
from reconciler.model.names import TaskId
from reconciler.render import listing, safe
from reconciler.system.history import EventGap, Follower
from reconciler.wiring import Site

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
PAUSE_S = 0.3


class Wanted(Struct, frozen=True, kw_only=True):
    """Which events are meant: of a task, from a time on; of those that there are already, the newest so many."""

    task: TaskId | None = None
    after: datetime | None = None
    most: int | None = None

    def fits(self, event: Mapping[str, Any]) -> bool:
        return (self.task is None or event.get("task") == self.task) and (
            self.after is None or happened_at(event) >= self.after
        )

    def newest(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The newest of them, as many as are wanted."""
        return found if self.most is None else found[len(found) - min(self.most, len(found)) :]


def followed(site: Site, out: Output, wanted: Wanted) -> int:
    """Print what there is, and then each event as it happens. Ends by a signal only."""
    follower = Follower(site.journal.history)
    first = True
    while True:
        gap, found = follower.next()
        fitting = [event for event in found if wanted.fits(event)]
        if first and wanted.most is not None:
            gap, fitting = None, wanted.newest(fitting)
        if gap and (wanted.after is None or happened_at({"at": gap.last}) >= wanted.after):
            _say_missing(gap, out)
        for event in fitting:
            out.next(event)
            if out.for_people:
                click.echo(safe.line(listing.event_line(event)))
        first = False
        time.sleep(PAUSE_S)


def missing(gap: EventGap) -> str:
    """What can't be shown any more, in words."""
    return f"what happened from {gap.first} to {gap.last} is no longer kept"


def happened_at(event: Mapping[str, Any]) -> datetime:
    """When it happened; long ago where that is not known."""
    try:
        at = datetime.fromisoformat(str(event.get("at")))
    except ValueError:
        return LONG_AGO
    return at if at.tzinfo else LONG_AGO


def _say_missing(gap: EventGap, out: Output) -> None:
    if out.for_people:
        out.chat(missing(gap))
    else:
        out.next({"at": gap.last, "event": "HistoryDropped", "from": gap.first, "to": gap.last})
