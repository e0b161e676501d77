"""Whether there is room on the machine for one more agent. Pure. What is not known holds nobody up.

Nothing that runs is ended for want of room: who is there already may be about to give some back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from msgspec import Struct

from reconciler.model.desired import EpicSpec
from reconciler.model.observed import Observed, Run, Unknown
from reconciler.model.reasons import Reason
from reconciler.model.venue import Venue
from reconciler.planning.actions import Waiting

RUNS_ASKED = 5  # the newest that reported how much memory they took
DISK_LEAST = 500 << 20  # on a full disk not even git works
PROCESSES_LEAST = 64
TEMPORARY_LEAST = 1 << 20
GROWS = timedelta(minutes=2)  # until then an agent has not taken yet what it will take


class Needs(Struct, frozen=True):
    """What an agent takes: bytes of memory and of disk."""

    memory: int
    disk: int


class MachineRoom:
    """What is free, less what those will take that have just started, or are about to."""

    def __init__(self, specs: Iterable[EpicSpec], observed: Observed) -> None:
        self._observed = observed
        self._specs = {spec.name: spec for spec in specs}
        self._needs: dict[str, Needs] = {}
        self._memory, self._disk, self._placed = 0, Counter[str](), Counter[str]()  # by root, by host
        self._grown = observed.at  # when what was promised is taken
        for run in observed.live.agents:
            if run.where:
                self._placed[run.where] += 1
            elif run.started_at and observed.at - run.started_at < GROWS and run.manifest in self._specs:
                self.promise(self._specs[run.manifest], run.started_at)

    def lacks(self, spec: EpicSpec) -> Waiting | None:
        """What there is too little of for one more agent of this manifest, where it is worked on; elsewhere an engine that has a
        queue knows.

        Where only those that have just started are in the way, time tells whether they really take what they may.
        """
        if not spec.venue.local:
            return self._crowded(spec.venue)
        needs, room, root = self._of(spec), self._observed.room, spec.worktrees.root
        known = "" if spec.agent.memory is not None else ", as earlier ones did"
        if room.memory is not None and needs.memory and room.memory - self._memory < needs.memory:
            short = f"an agent takes {words(needs.memory)} of memory{known}, and {_left(room.memory, self._memory)}"
            return self._full(short, enough=room.memory >= needs.memory)
        disk = room.disk.get(root)
        if disk is not None and needs.disk and disk - self._disk[root] < needs.disk:
            short = f"an agent takes {words(needs.disk)} of disk, and {_left(disk, self._disk[root])} at {root}"
            return self._full(short, enough=disk >= needs.disk)
        if room.processes is not None and room.processes < PROCESSES_LEAST:
            return self._full(f"only {room.processes} more processes may start here", enough=False)
        if room.of_user is not None and room.of_user < PROCESSES_LEAST:
            return self._full(f"only {room.of_user} more processes of this user may start (ulimit -u)", enough=False)
        for folder, free in room.temporary.items():
            if free < TEMPORARY_LEAST:
                what = "where programs put what they need for a moment"
                return self._full(f"only {words(free)} is free at {folder}, {what}", enough=False)
        return None

    def promise(self, spec: EpicSpec, at: datetime | None = None) -> None:
        """One more of its agents starts, or has started at this time."""
        if not spec.venue.local:
            self._placed[str(spec.venue.kind)] += 1
            return
        self._grown = max(self._grown, (at or self._observed.at) + GROWS)
        needs = self._of(spec)
        self._memory += needs.memory
        self._disk[spec.worktrees.root] += needs.disk

    def _crowded(self, at: Venue) -> Waiting | None:
        """That hosts without a queue have as many runs as they take. One of which no host is known yet may be on any."""
        taken = sum(self._placed[where] for where in (at.kind, *(f"{at.kind}:{host}" for host in at.hosts)))
        if not at.hosts or taken < len(at.hosts) * at.per_host:
            return None
        what = f"{', '.join(at.hosts)} {'have' if len(at.hosts) > 1 else 'has'} as many agents as perHost allows"
        return Waiting(Reason.NO_AGENT_SLOT, f"{what} ({at.per_host})")

    def _full(self, short: str, *, enough: bool) -> Waiting:
        """`enough`: there is, before anything that was promised."""
        return Waiting(Reason.MACHINE_FULL, short, self._grown if enough else None)

    def _of(self, spec: EpicSpec) -> Needs:
        if spec.name not in self._needs:
            agent = spec.agent
            memory = self._usual(spec) if agent.memory is None else agent.memory
            self._needs[spec.name] = Needs(memory, DISK_LEAST if agent.disk is None else agent.disk)
        return self._needs[spec.name]

    def _usual(self, spec: EpicSpec) -> int:
        """The most that its newest runs took; 0 where none reported it."""
        if isinstance(self._observed.runs, Unknown):
            return 0
        ended = (run for each in self._observed.runs.values() for run in each if run.manifest == spec.name)
        known = sorted(((run.exit.at, run.exit.memory) for run in ended if _tells(run) and run.exit), reverse=True)
        return max((memory or 0 for _, memory in islice(known, RUNS_ASKED)), default=0)


def words(size: int) -> str:
    """An amount of bytes, rounded.

    >>> words(2 << 30), words(300 << 20), words(1536 << 20), words(9000), words(5 << 40)
    ('2G', '300M', '1.5G', '9K', '5T')
    """
    for unit, one in (("T", 1 << 40), ("G", 1 << 30)):
        if size >= one:
            return f"{size / one:.1f}".removesuffix(".0") + unit
    return f"{size >> 20}M" if size >= 1 << 20 else f"{-(-size >> 10)}K"


def _left(free: int, promised: int) -> str:
    taken = f", of which {words(promised)} will be taken by those that have just started" if promised else ""
    return f"{words(free)} is free{taken}"


def _tells(run: Run) -> bool:
    return bool(run.exit and run.exit.memory)
