"""A reconciler in small: `driver.py <folder> of:<tag> <agent> <break>` looks and starts for ever, until it is killed.

Behind the gate it notes which run it is about to start, when, and what the bound is: so that whoever looks on can tell
how many may be alive beside it. `break` takes a safety away.
"""

import os
import random
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from reconciler.model.errors import TemporaryError
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run, RunState, StopWhy
from reconciler.model.ports import RunSpec, SlotBound
from reconciler.runners import _locks, _slots, _stopping, local

SUBJECTS = ("s-1", "s-2", "s-3", "s-4", "s-5")


class Driver:
    def __init__(self, folder: Path, tag: str, agent: str, broken: str) -> None:
        self.folder, self.tag, self.agent, self.broken = folder, tag, agent, broken
        self.starting = RunId(RunKind.WORK, "none", 1)
        self.runner = local.LocalRunner(folder / "state", os.environ, folder, self.bound)

    def bound(self, _manifest: str) -> int:
        most = int((self.folder / "most").read_text())
        self.note("passes", f"{time.monotonic_ns()} {self.starting.subject} {self.starting.n} {most}")
        return most

    def turn(self) -> None:
        runs = self.runner.runs()
        for subject in random.sample(SUBJECTS, len(SUBJECTS)):
            mine = [run for run in runs.values() if run.id.subject == subject]
            live = [run for run in mine if run.alive]
            try:
                self.stop_some(live)
                if not live or self.broken == "locks":
                    self.start(RunId(RunKind.WORK, subject, max((run.id.n for run in mine), default=0) + 1))
            except TemporaryError as error:
                self.note("refused", str(error))

    def stop_some(self, live: list[Run]) -> None:
        for run in live:
            if run.state is RunState.ENDING or random.random() < 0.1:
                self.runner.stop(run.id, StopWhy.PERSON)

    def start(self, run: RunId) -> None:
        self.starting = run
        steps = ((sys.executable, "-I", "-S", self.agent, self.tag, run.subject, str(run.n)),)
        slot = SlotBound(manifest="demo", most=1)
        task = TaskId(run.subject)
        self.runner.start(RunSpec(id=run, task=task, manifest="demo", steps=steps, cwd=str(self.folder), slot=slot))
        self.note("started", str(run))

    def note(self, name: str, line: str) -> None:
        fd = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)


def count_slowly() -> None:
    """As on a busy machine, so that two who count at once get in each other's way if they can.

    And reach for any free slot: that two reach for the same one must not be what keeps them apart.
    """
    look = _locks.held

    def held(path: Path) -> bool:
        time.sleep(random.random() * 0.01)
        return look(path)

    def free(self: _slots._Count) -> int:
        return random.choice([k for k in range(6) if not look(self.folder / str(k))] or [len(self.taken)])

    _locks.held, _slots._Count.free = held, property(free)


def break_it(what: str) -> None:
    if what == "gate":
        _locks.Locks.gate = lambda self, manifest: nullcontext(_locks.Gate(opened(self._slots(manifest) / "gate")))
    if what == "locks":
        _locks.Locks.take = lambda self, kind, subject, *_: opened(self.shim(kind, subject))
        _locks.Locks.take_agent = lambda self, kind, subject: opened(self.agent(kind, subject))
        _stopping.Stopping.make_sure_it_is_over = lambda self, record: None


def opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


if __name__ == "__main__":
    count_slowly()
    break_it(sys.argv[4])
    driver = Driver(Path(sys.argv[1]), sys.argv[2].removeprefix("of:"), sys.argv[3], sys.argv[4])
    while True:
        driver.turn()
        time.sleep(0.02)
