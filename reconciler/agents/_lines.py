"""Reading what agents print, a JSON object a line: lines that are cut off, or that something else printed, are no objects.

Cut off they are where a log grew too long and lost its middle, and where a run was killed while it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

LINE_MAX = 4 << 20  # what is longer is no message but a file that a tool has read


def objects(log: str) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a log, each on a line of its own."""
    return (found for line in log.splitlines() if (found := read(line)) is not None)


def read(line: str) -> Mapping[str, Any] | None:
    """The JSON object in a line; None where there is none."""
    if not line.startswith("{") or len(line) > LINE_MAX:
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def mapping(value: object) -> Mapping[str, Any]:
    """A value as the object that it should be; empty where it is something else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects of what should be a list of them."""
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def plain(log: str) -> Iterator[str]:
    """The lines that are not JSON: what was printed beside it, on standard error for instance."""
    return (line.strip() for line in log.splitlines() if line.strip() and not line.startswith("{"))


def total(counts: Iterable[int | None]) -> int | None:
    """The sum of those that are known; None where none is."""
    known = [each for each in counts if each is not None]
    return sum(known) if known else None
