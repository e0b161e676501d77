"""Until when tasks are deferred, where the answers of `bd` do not say it: those on SQLite keep it, and export it to nobody.

Their own `ready` goes by it, so a task that somebody put off by date would be started. It is only read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from reconciler.trackers._records import Record
from reconciler.trackers.beads import rows

_NO_COLUMN = ("no such column", "no such table")  # of a version that knows no deferral


def of_rows(beads: Path) -> Mapping[str, str] | None:
    """The deferred tasks of a `.beads/` folder by id, each with its date; None where that can't be read there."""
    if (beads / "redirect").exists():
        return None
    path = beads / rows.DATABASE
    if not path.is_file():
        return {}
    query = "SELECT id, defer_until FROM issues WHERE defer_until IS NOT NULL AND status != 'closed'"
    try:
        with rows.reading(path) as database:
            return {str(id): str(until) for id, until in database.execute(query)}
    except sqlite3.Error as error:
        return {} if str(error).startswith(_NO_COLUMN) else None


def added(found: Iterable[Record], until: Mapping[str, str]) -> list[Record]:
    """The records with the dates that they lack."""
    return [_dated(record, until.get(str(record["id"]))) for record in found]


def _dated(record: Record, until: str | None) -> Record:
    return {**record, "defer_until": until} if until and not record.get("defer_until") else record
