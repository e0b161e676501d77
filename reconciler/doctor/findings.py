"""Findings, and the probes that make them: each looks at one thing, for a limited time, beside all others.

What a probe starts goes through `shell`, not `sh`: that leaves the children of a program that hangs behind, and forks,
which is no good beside threads.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

import psutil
from msgspec import Struct

from reconciler.model.errors import ReconcileError

LIMIT_S = 12.0
ENDING_S = 1.0
NAMED = 5


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Diagnosis(Struct, frozen=True, kw_only=True):
    """One thing that was looked at: what was seen of it, what that means, and what to do."""

    name: str
    state: State = State.OK
    found: str = ""
    message: str = ""
    hint: str = ""


class Probe(Struct, frozen=True, kw_only=True):
    """A look at one thing. It changes nothing."""

    name: str
    look: Callable[[], Iterable[Diagnosis]]
    limit_s: float = LIMIT_S


def examine(probes: Sequence[Probe]) -> list[Diagnosis]:
    """What the probes find, in their order. One that does not answer in time is a finding itself."""
    began, looks = time.monotonic(), [_ProbeThread(probe) for probe in probes]
    with _ended(looks):
        for look in looks:
            look.begin()
        return [finding for look in looks for finding in look.answer(began)]


def named(names: Iterable[str]) -> str:
    """Names for a message, not more of them than one reads.

    >>> named("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    all_of_them = list(names)
    more = f" and {len(all_of_them) - NAMED} more" if len(all_of_them) > NAMED else ""
    return ", ".join(all_of_them[:NAMED]) + more


class _ProbeThread(threading.Thread):
    """One probe running. A daemon: one that hangs on a dead file system must not keep us from ending."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(daemon=True)
        self._probe = probe
        self._found: queue.SimpleQueue[list[Diagnosis]] = queue.SimpleQueue()

    def run(self) -> None:
        self._found.put(_looked(self._probe))

    def begin(self) -> None:
        """Look, beside all others; here and now where no thread is left, without a limit."""
        try:
            self.start()
        except RuntimeError:
            self.run()

    def answer(self, began: float) -> list[Diagnosis]:
        limit_s = self._probe.limit_s
        try:
            return self._found.get(timeout=max(began + limit_s - time.monotonic(), 0.01))
        except queue.Empty:
            message, hint = f"no answer within {limit_s:g} s", "is a disk or the network away?"
            return [Diagnosis(name=self._probe.name, state=State.PROBLEM, message=message, hint=hint)]


def _looked(probe: Probe) -> list[Diagnosis]:
    try:
        return list(probe.look())
    except ReconcileError as error:
        found = Diagnosis(name=probe.name, state=State.PROBLEM, message=str(error), hint=error.hint or "")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        found = Diagnosis(
            name=probe.name, state=State.PROBLEM, message=f"it can't be looked at: {where}{error.strerror}"
        )
    except Exception as error:  # noqa: BLE001 - a defect in one probe is a problem found, and costs none of the others
        message = f"looking at it failed: {type(error).__name__}: {error}"
        found = Diagnosis(name=probe.name, state=State.PROBLEM, message=message)
    return [found]


@contextmanager
def _ended(looks: Sequence[_ProbeThread]) -> Iterator[None]:
    """End the programs of looks that nobody waits for any more, after the limit and at Ctrl-C, and so the looks."""
    us = psutil.Process()
    before = {child.pid for child in us.children()}
    try:
        yield
    finally:
        deadline = time.monotonic() + ENDING_S
        while any(look.is_alive() for look in looks) and time.monotonic() < deadline:
            for child in us.children():
                if child.pid not in before:
                    _end(child.pid)
            time.sleep(0.01)


def _end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)  # what `shell` starts leads a group of its own
    except ProcessLookupError:
        pass
