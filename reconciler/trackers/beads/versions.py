"""What each version of `bd` can do, and which of them are known to hurt. Pure.

Numbers are those of the releases in which a flag appeared or a defect was fixed; a version newer than all of them is
taken for the newest.
"""

from __future__ import annotations

import re
from enum import StrEnum

from msgspec import Struct

Version = tuple[int, int, int]

OLDEST: Version = (0, 24, 1)  # the first that changes labels and a status in one command
_VERSION = re.compile(r"\bversion\s+v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})")


class Can(StrEnum):
    """Something that not every version can."""

    LIST_EDGES = "list tells what a task depends on"
    LIST_HIDDEN = "list shows gates and templates too"
    LIST_INFRA = "list shows messages and the like too"
    LIST_NEEDS_FLAT = "list prints a tree unless --flat is given"
    DEFER = "a task can be deferred until a date"
    FORCE_CLOSE = "close takes --force"
    SESSION = "close takes --session"
    OWN_LABELS = "create can leave the labels of the parent to the parent"
    APPEND_NOTES = "update adds to the notes by itself"
    TELLS_SESSION = "list tells which session closed a task"
    GUARDS = "update takes --if-status and --if-assignee"


_SINCE: dict[Can, Version] = {
    Can.LIST_EDGES: (0, 49, 1),
    Can.LIST_HIDDEN: (0, 43, 0),
    Can.LIST_INFRA: (1, 0, 5),
    Can.LIST_NEEDS_FLAT: (0, 59, 0),
    Can.DEFER: (0, 43, 0),
    Can.FORCE_CLOSE: (0, 30, 6),
    Can.SESSION: (0, 43, 0),
    Can.OWN_LABELS: (0, 57, 0),
    Can.APPEND_NOTES: (1, 0, 5),  # some builds before took the text and dropped it
    Can.TELLS_SESSION: (1, 3, 0),
    Can.GUARDS: (1, 3, 0),
}
_UNTIL: dict[Can, Version] = {Can.LIST_NEEDS_FLAT: (0, 60, 0)}


class Trouble(Struct, frozen=True):
    """A range of versions that are known to hurt: from the first, up to the one that fixed it. `refused`: we run none."""

    first: Version
    fixed: Version
    what: str
    refused: bool = False


TROUBLES = (
    Trouble((0, 0, 0), OLDEST, "it can't change labels of a task, and is not supported", refused=True),
    Trouble((0, 51, 0), (0, 53, 0), "its released programs can't open their own database"),
    Trouble((0, 56, 0), (0, 57, 0), "it can't export"),
    Trouble((0, 59, 0), (0, 59, 1), "its 'list --json' prints no JSON"),
    Trouble((0, 63, 0), (1, 0, 3), "while one bd runs, every other fails at once"),
    Trouble((1, 0, 3), (1, 0, 5), "an old issues.jsonl may overwrite newer tasks of its database"),
)


def parsed(text: str) -> Version | None:
    """The version in what `bd version` printed.

    >>> parsed("bd version 0.47.1 (dev)"), parsed("command not found")
    ((0, 47, 1), None)
    """
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def spelled(version: Version) -> str:
    return ".".join(map(str, version))


def can(version: Version, what: Can) -> bool:
    """True where `version` can do this.

    >>> can((0, 47, 1), Can.LIST_EDGES), can((1, 3, 0), Can.LIST_EDGES), can((1, 3, 0), Can.LIST_NEEDS_FLAT)
    (False, True, False)
    """
    return _SINCE[what] <= version and (what not in _UNTIL or version < _UNTIL[what])


def troubles(version: Version) -> tuple[str, ...]:
    """What is known against a version.

    >>> troubles((0, 59, 0)), troubles((1, 3, 0))
    (("its 'list --json' prints no JSON",), ())
    """
    return tuple(each.what for each in TROUBLES if each.first <= version < each.fixed)
