"""Where a task is worked on: its checkout and its run are in one place, and that place is a value. Plain words, no reading."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

_LOOKED_MOST_S = 15.0


class VenueKind(StrEnum):
    """Who places a run. `local`: this machine, and nobody. `here`: pretend nodes on this machine, to try it out."""

    LOCAL = "local"
    HERE = "here"
    SLURM = "slurm"
    SSH = "ssh"


class Venue(Struct, frozen=True, kw_only=True):
    """A place for checkouts and runs. Local: worktrees under `root`, an absolute path.

    Elsewhere: `remote` is a git URL that we and the nodes reach, `scratch` an absolute path that every node has. A node saves
    what it has every `sync_s` and ends its run once it has been without contact for `lease_s`. `options` are the engine's
    own; `hosts` and `per_host` are for those that place nothing by themselves.
    """

    kind: VenueKind = VenueKind.LOCAL
    root: str = ""
    remote: str = ""
    scratch: str = ""
    sync_s: float = 30.0
    lease_s: float = 900.0
    options: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    per_host: int = 4

    @property
    def looked_every_s(self) -> float:
        """How often it is looked at what runs there, as nothing announces that it ended."""
        return min(max(self.sync_s, 1.0), _LOOKED_MOST_S)

    @property
    def local(self) -> bool:
        """True for this machine."""
        return self.kind is VenueKind.LOCAL
