"""Some reconcilers, agents that behave badly, an editor who changes the bound, and somebody who kills all of them."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import until

import reconciler
from reconciler.model.errors import TemporaryError
from reconciler.model.observed import StopWhy
from reconciler.runners import supervisor
from reconciler.runners.local import LocalRunner

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")
HERE = Path(__file__).parent / "torture"
Agents = frozenset[tuple[str, int]]


class Storm:
    """Everything goes on for a while in which processes are killed at random; who lived together is written down."""

    def __init__(self, folder: Path, broken: str = "nothing", reconcilers: int = 2) -> None:
        self.folder, self.broken, self.reconcilers = folder, broken, reconcilers
        self.tag = f"torture-{uuid.uuid4().hex}"
        self.kills = 0
        self.together: set[tuple[int, Agents]] = set()
        self.drivers: list[subprocess.Popen[bytes]] = []
        self.write_bound(2)

    def rage(self, looks: int) -> None:
        """Kill at about every fifth look at all processes: where the machine is slow all of it is, and the storm too."""
        before: Agents = frozenset()
        try:
            for _ in range(looks):
                self.keep_drivers()
                at = time.monotonic_ns()
                now = self.alive()
                # A look at all processes takes its time; who is seen before and after a moment lived at that moment.
                self.together.add((at, before & now))
                before = now
                if random.random() < 0.2:
                    self.kill_one()
                if random.random() < 0.02:
                    self.write_bound(random.randint(1, 3))
                time.sleep(0.01)
        finally:
            for driver in self.drivers:
                driver.kill()
                driver.wait()

    def keep_drivers(self) -> None:
        self.drivers = [driver for driver in self.drivers if driver.poll() is None]
        path = os.pathsep.join((str(Path(reconciler.__path__[0]).parent), str(HERE.parent.parent)))
        while len(self.drivers) < self.reconcilers:
            argv = [sys.executable, HERE / "driver.py", self.folder, f"of:{self.tag}", HERE / "agent.py", self.broken]
            with open(self.folder / "errors", "ab") as errors:
                env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
                self.drivers.append(subprocess.Popen(argv, env=env, stderr=errors, cwd=self.folder))

    def alive(self) -> Agents:
        """(subject, n) of every agent of which a process lives, told by nothing but command lines."""
        words = (command for _, command in _commands() if self.tag in command)
        return frozenset((w[w.index(self.tag) + 1], int(w[w.index(self.tag) + 2])) for w in words)

    def kill_one(self) -> None:
        what = random.choices(["driver", "shim", "agent"], [1, 4, 4])[0]
        if what == "driver":
            pids = [driver.pid for driver in self.drivers]
        elif what == "shim":
            pids = [
                pid
                for pid, words in _commands()
                if any("/supervisor." in word for word in words) and str(self.folder) in " ".join(words)
            ]
        else:
            pids = [pid for pid, words in _commands() if self.tag in words]
        for pid in random.sample(pids, min(len(pids), 1)):
            try:
                os.kill(pid, random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                self.kills += 1
            except ProcessLookupError:
                pass

    def write_bound(self, most: int) -> None:
        (self.folder / "most.new").write_text(str(most))
        os.replace(self.folder / "most.new", self.folder / "most")

    def lines(self, name: str) -> list[list[str]]:
        path = self.folder / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def violations(self) -> Iterator[str]:
        """Two runs of one subject at one moment; or more runs than the bound was when the last of them started."""
        passes = [(int(at), (subject, int(n)), int(most)) for at, subject, n, most in self.lines("passes")]
        for at, agents in self.together:
            if len({subject for subject, _ in agents}) < len(agents):
                yield f"at once: {sorted(agents)}"
            last = max(((when, most) for when, agent, most in passes if agent in agents and when <= at), default=None)
            if last and len(agents) > last[1]:
                yield f"more than {last[1]}: {sorted(agents)}"

    def calm(self) -> None:
        """After the storm a runner that knows nothing ends everything."""
        runner = LocalRunner(self.folder / "state", os.environ, self.folder, lambda _: None)

        def over() -> bool:
            for run in runner.runs().values():
                if run.alive:
                    try:
                        runner.stop(run.id, StopWhy.PERSON)
                    except TemporaryError:
                        continue
            return not any(run.alive for run in runner.runs().values())

        until(over, "every run to be over")
        until(lambda: not self.alive(), "every agent to be gone")


def _commands() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal():
                yield int(name), Path(f"/proc/{name}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue


@pytest.mark.parametrize("looks", [300, pytest.param(1000, marks=pytest.mark.slow)])  # some fifty a second
def test_kills_never_make_two_runs_of_a_task_or_more_than_the_bound(tmp_path: Path, looks: int):
    storm = Storm(tmp_path)
    storm.rage(looks)
    assert list(storm.violations) == []
    assert storm.lines("errors") == []
    assert len(storm.lines("started")) >= 5
    assert storm.kills >= looks // 25
    storm.calm()


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["gate", "locks"])
def test_the_storm_notices_when_a_safety_is_missing(tmp_path: Path, broken: str):
    storm = Storm(tmp_path, broken, reconcilers=4)
    for _ in range(20):
        storm.rage(200)
        if seen := list(storm.violations):
            break
    for pid, words in _commands():
        if storm.tag in words or str(tmp_path) in " ".join(words):
            os.kill(pid, signal.SIGKILL)
    assert seen
