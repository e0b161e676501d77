"""What a row says, and how it is measured: processor time, processes, memory. Nothing here knows the program."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value beside another of the same run. `limit` bounds the value, or with `times` their ratio."""

    what: str
    value: float
    unit: str
    beside: str
    other: float
    limit: float
    times: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.value / self.other if self.other else None

    @property
    def ok(self) -> bool:
        measured = self.ratio if self.times else self.value
        return measured is not None and measured <= self.limit

    @property
    def document(self) -> dict[str, Any]:
        """The row for programs."""
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "beside": self.beside,
            "other": self.other,
            "ratio": self.ratio,
            "limit": self.limit,
            "limits": "ratio" if self.times else "value",
            "ok": self.ok,
            "note": self.note,
        }


@dataclass
class Spent:
    """What a block took. Processor time is our own and that of the processes that we started and waited for."""

    wall_s: float = 0.0
    own_s: float = 0.0
    children_s: float = 0.0
    forked: int = 0  # processes and threads that the whole machine started meanwhile
    started: list[str] = field(default_factory=list)

    @property
    def cpu_s(self) -> float:
        return self.own_s + self.children_s


@contextmanager
def spending() -> Iterator[Spent]:
    """Measure a block. `started` names every process that it starts; what git starts by itself is in the time only."""
    spent = Spent()
    real = subprocess.Popen.__init__

    def counted(self: Any, argv: Any, *rest: Any, **more: Any) -> None:
        spent.started.append(_name(argv))
        real(self, argv, *rest, **more)

    # Not the class: who inherits from it has it already.
    subprocess.Popen.__init__ = counted  # type: ignore[method-assign]
    forked = _forked()
    children, own, wall = _children_s(), time.process_time(), time.perf_counter()
    try:
        yield spent
    finally:
        spent.wall_s = time.perf_counter() - wall
        spent.own_s = time.process_time() - own
        spent.children_s = _children_s() - children
        spent.forked = _forked() - forked
        subprocess.Popen.__init__ = real  # type: ignore[method-assign]


def amount(value: float, unit: str) -> str:
    """A value for people: three digits or so, with its unit."""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def resident_mb(pid: int, field: str = "VmRSS") -> float:
    """The memory of a process that is in use now, or with `VmHWM` at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def private_mb(pid: int) -> float:
    """The memory of a process that it shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def own_cpu_ms(pid: int) -> float:
    """What a process has taken of a processor since it was forked, without its children."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def _forked() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("processes "))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _name(argv: Any) -> str:
    """A git command by its verb, anything else by its program."""
    words = [str(word) for word in argv]
    if words[0] != "git":
        return words[0].rpartition("/")[2]
    at = 1
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] == "-c" else 1
    return " ".join(("git", *words[at : at + 1]))
