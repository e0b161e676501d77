"""Who could not be notified, as `status` shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.model.desired import EpicSpec
from reconciler.planning.notices import Told, recipient
from reconciler.render.safe import line
from reconciler.render.words import counted, stamp


def unreached(specs: Iterable[EpicSpec], record: Told) -> list[dict[str, Any]]:
    """Every recipient that could not be reached the last time, and why."""
    rules = {recipient(rule): rule for spec in specs for rule in spec.notify}
    return [
        {
            "to": rules[to].shown,
            "message": missed.why,
            "tries": missed.tries,
            "since": stamp(missed.since),
            "lastTry": stamp(missed.at),
        }
        for to, missed in sorted(record.missed.items())
        if to in rules
    ]


def lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The same for people, a line each."""
    for each in found:
        tries = counted(each["tries"], "try", "tries")
        yield f"{line(each['to'])} could not be notified since {each['since']} ({tries}): {line(each['message'])}"
