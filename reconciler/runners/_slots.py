"""The slots of a manifest: how many of its runs are alive, and one more only where that leaves a slot free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from msgspec import Struct, field

from reconciler.model.errors import ChangedError
from reconciler.model.names import RunId
from reconciler.model.ports import SlotBound
from reconciler.runners import _processes as processes
from reconciler.runners._folders import Folders
from reconciler.runners._locks import PROBE_PATIENCE_S, Locks, Slots, take


class _Count(Struct, frozen=True):
    """How many runs of a manifest were alive when all processes were looked through, and those that we started since.

    There are no more than that while nobody else has taken a slot (`turn`), even when some were given back: so of a hundred starts
    in a row only the first looks through all processes, and the one that would be too many.
    """

    folder: Path
    alive: int
    taken: frozenset[int]  # the slots that were held, or that we took
    turn: bytes

    @property
    def free(self) -> int:
        """A slot that nobody held then."""
        return next(k for k in count() if k not in self.taken)

    def with_one_more(self, slot: int, turn: bytes) -> _Count:
        """The count once a slot is taken."""
        return _Count(self.folder, self.alive + 1, self.taken | {slot}, turn)


class SlotCounts(Struct, kw_only=True):
    """Those of one repository. Safe to share between threads, and to use beside other reconcilers.

    `bound` gives the number of agents that a recorded manifest allows at this moment, None where none is recorded.
    """

    locks: Locks
    folders: Folders
    bound: Callable[[str], int | None]
    _counts: dict[str, _Count] = field(default_factory=dict)  # by manifest; only behind its gate

    def take(self, slot: SlotBound) -> int:
        """The descriptor of a slot that is free now. Raises ChangedError where as many run as may, or are counted to."""
        with self.locks.gate(slot.manifest) as gate:
            most = self._most(slot)
            known = self._counts.pop(slot.manifest, None)
            if known is None or not known.turn or known.turn != gate.turn or known.alive >= most:
                known = self._count(slot.manifest)
            free, turn, fd = known.free, b"", None
            if known.alive < most:
                turn = gate.take_turn()  # first: a slot that is taken and is not announced would stay taken
                fd = take(known.folder / str(free), PROBE_PATIENCE_S)
            if fd is not None:
                self._counts[slot.manifest] = known.with_one_more(free, turn)
        if fd is None:
            raise _all_running(slot, most)
        return fd

    @contextmanager
    def one_elsewhere(self, slot: SlotBound, run: RunId) -> Iterator[None]:
        """Count a run that is to be on another machine, or waits for one; its folder is made in this block.

        Raises ChangedError where as many run as may.
        """
        with self.locks.gate(slot.manifest) as gate:
            most = self._most(slot)
            if self._count(slot.manifest).alive >= most:
                raise _all_running(slot, most)
            gate.take_turn()
            self.locks.count_elsewhere(slot.manifest, run)
            yield

    def _most(self, slot: SlotBound) -> int:
        recorded = self.bound(slot.manifest)
        return slot.most if recorded is None else recorded

    def _count(self, manifest: str) -> _Count:
        slots = self.locks.slots(manifest)
        # In this order: a run that loses its slot in between is counted twice. The other way it would not be counted.
        hidden = self._hidden(manifest, slots)
        elsewhere = self._elsewhere(manifest)
        return _Count(slots.folder, len(slots.held) + hidden + elsewhere, slots.held, b"")

    def _elsewhere(self, manifest: str) -> int:
        """How many runs of a manifest are on other machines, or wait for one."""
        alive = 0
        for run in self.locks.elsewhere(manifest):
            # Its folder is made behind the gate, too: without one it never began.
            if self.folders.folder(run).is_dir() and not self.folders.record(run).settled:
                alive += 1
            else:
                self.locks.forget_elsewhere(manifest, run)
        return alive

    def _hidden(self, manifest: str, slots: Slots) -> int:
        """How many runs of a manifest live without a slot: their shim was killed, and their agent closed what it got."""
        files = {file for path in slots.files if (file := processes.file_id(path))}
        return sum(
            processes.holds_none(pids, files)
            for folder, pids in processes.carriers().items()
            if (run := self.folders.run_of(folder)) and self.folders.record(run).start.slot == manifest
        )


def _all_running(slot: SlotBound, most: int) -> ChangedError:
    return ChangedError(f"all {most} agents of {slot.manifest} are running")
