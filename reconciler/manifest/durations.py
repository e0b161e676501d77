"""Times as people write them: `90s`, `15m`, `2h`."""

from __future__ import annotations

import re

SECONDS = {"s": 1, "m": 60, "h": 3600}
LONGEST_S = 30 * 24 * 3600

_DURATION = re.compile(r"(0|[1-9][0-9]{0,6})([smh])")


def duration(text: str) -> float:
    """Seconds. Raises ValueError for anything but a whole number and its unit.

    >>> duration("90s"), duration("15m"), duration("2h")
    (90.0, 900.0, 7200.0)
    """
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError("allowed: a whole number with its unit, such as 90s, 15m or 2h")
    seconds = int(found[1]) * SECONDS[found[2]]
    if seconds > LONGEST_S:
        raise ValueError("at most 30 days (720h) are allowed")
    return float(seconds)


def written(seconds: float) -> str:
    """The shortest text from which `duration` makes these seconds again.

    >>> written(5400.0), written(7200.0), written(0.0)
    ('90m', '2h', '0s')
    """
    whole = int(seconds)
    unit = next(unit for unit in ("h", "m", "s") if whole % SECONDS[unit] == 0 and (whole or unit == "s"))
    return f"{whole // SECONDS[unit]}{unit}"
