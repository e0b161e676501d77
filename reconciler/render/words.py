"""Times and numbers, in JSON and in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def stamp(at: datetime) -> str:
    """A time as it stands in JSON: UTC, whole seconds.

    >>> stamp(datetime(2026, 1, 1, 12, tzinfo=UTC))
    '2026-01-01T12:00:00Z'
    """
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def stamped(text: str) -> datetime:
    """The time that `stamp` wrote as `text`.

    >>> stamped("2026-01-01T12:00:00Z").hour
    12
    """
    return datetime.fromisoformat(text)


def seconds_since(text: str, now: datetime) -> float:
    """How long ago the time is that `stamp` wrote as `text`."""
    return (now - stamped(text)).total_seconds()


def wall(text: str) -> str:
    """A time of a JSON document by the reader's own clock; what is none as it stands.

    >>> wall("2026-01-01T12:00:00.5Z") == f"{stamped('2026-01-01T12:00:00Z').astimezone():%Y-%m-%d %H:%M:%S}", wall("-")
    (True, '-')
    """
    try:
        return f"{stamped(text).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return text[:19]


def span(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> span(40), span(754), span(7500), span(200000)
    ('40s', '12m34s', '2h05m', '2d07h')
    """
    whole = max(round(seconds), 0)
    for size, unit, small, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // small:02d}{smaller}"
    return f"{whole}s"


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "task"), counted(2, "task"), counted(2, "entry", "entries")
    ('1 task', '2 tasks', '2 entries')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def run_name(run: Mapping[str, Any]) -> str:
    """What a run of a JSON document is called: only those of agents are counted as attempts.

    >>> run_name({"kind": "work", "attempt": 2}), run_name({"kind": "review", "attempt": None})
    ('attempt 2', 'review')
    """
    return f"attempt {run['attempt']}" if run["kind"] == "work" else str(run["kind"])
