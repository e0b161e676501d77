"""What is free on the machine where runs start."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class Room(Struct, frozen=True, kw_only=True):
    """Bytes of memory and, by folder, of disk; how many processes may still start, and how many `of_user`, ours; the processors there
    are, and how many of them were in use in the last minute. `temporary`: bytes where temporary files are put, by that folder. None, or
    missing: that is not known."""

    memory: int | None = None
    disk: Mapping[str, int] = field(default_factory=dict)
    temporary: Mapping[str, int] = field(default_factory=dict)
    processes: int | None = None
    of_user: int | None = None
    processors: int | None = None
    load: int | None = None
