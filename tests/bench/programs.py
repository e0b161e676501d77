"""What it costs to start a command, and what stays in memory: measured from outside, on real processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.bench import scenes
from tests.bench.figures import Figure, own_cpu_ms, private_mb, resident_mb
from tests.bench.scenes import Scene, scene

HELP_MS, STATUS_MS, AMID_WORK_MS, DIFF_MS, AS_STATUS = 45.0, 150.0, 250.0, 120.0, 1.2
CONTROLLER_MB, MANY_MB, SHIM_MB = 80.0, 140.0, 12.0
PRIVATE_MB, START_MS = 1.0, 3.0
_SLEEPS = ("-c", "import time; time.sleep(600)")


def starting(*, quick: bool) -> list[Figure]:
    """`--help`, `status` and `diff` with 200 tasks: nothing begun, and amid the work."""
    times = 5 if quick else 15
    with scene("start") as there:
        there.tasks({f"a-{n}": {} for n in range(200)})
        there.recorded(maxAgents=0)
        fresh = _in_turn(there, ("--help",), ("status",), ("diff",), times=times)
        _amid_work(there)
        amid = _in_turn(there, ("status",), times=times)
    bare = statistics.median((fresh[0], amid[0]))
    rows = (
        ("reconcile --help", fresh[1], HELP_MS),
        ("reconcile status, 200 tasks", fresh[2], STATUS_MS),
        ("reconcile diff, 200 tasks", fresh[3], DIFF_MS),
        ("reconcile status, 200 tasks: 100 landed, 10 offered", amid[1], AMID_WORK_MS),
    )
    return [
        Figure(what=what, value=1000 * took, unit="ms", beside="python -c pass", other=1000 * bare, limit=limit)
        for what, took, limit in rows
    ]


def differing(*, quick: bool) -> list[Figure]:
    """`diff` with 10,000 tasks, beside `status`: what it says of each is as short."""
    tasks = 1000 if quick else 10_000
    with scene("differing") as there:
        there.tasks({f"a-{n}": {} for n in range(tasks)})
        there.recorded(maxAgents=0)
        _, status, diff = _in_turn(there, ("status",), ("diff",), times=3 if quick else 7)
    return [
        Figure(
            what=f"reconcile diff, {tasks:,} tasks",
            value=1000 * diff,
            unit="ms",
            beside="status",
            other=1000 * status,
            limit=AS_STATUS,
            times=True,
        )
    ]


def many(*, quick: bool) -> list[Figure]:
    """What a watch over 20,000 tasks takes at most, beside the store that it reads."""
    tasks = 2_000 if quick else 20_000
    with scene("many") as there:
        store = there.tasks({f"a-{n}": {} for n in range(tasks)})
        there.recorded(maxAgents=0)
        looked = there.site.state / "status" / "all.json"
        watch = there.start("watch")
        try:
            scenes.until(looked.exists, "the watch to have looked")
            time.sleep(5.0)
            peak, now = resident_mb(watch.pid, "VmHWM"), resident_mb(watch.pid)
        finally:
            watch.terminate()
            watch.wait()
        size = store.stat().st_size / 2**20
    return [
        Figure(
            what=f"controller with {tasks:,} tasks: RSS at most",
            value=peak,
            unit="MB",
            beside="their file",
            other=size,
            limit=MANY_MB,
            note=f"{now:.0f} MB at rest",
        )
    ]


def memory(*, quick: bool) -> list[Figure]:
    """A watch over 10,000 tasks, and the shim of one agent."""
    tasks = 2_000 if quick else 10_000
    with scene("memory") as there:
        there.tasks({f"a-{n}": {} for n in range(tasks)})
        there.recorded(maxAgents=1)
        watch = there.start("watch")
        try:
            shim = _first_shim(there)
            time.sleep(5.0)
            controller, peak = resident_mb(watch.pid), resident_mb(watch.pid, "VmHWM")
            supervisor = resident_mb(shim)
        finally:
            watch.terminate()
            watch.wait()
        plain, isolated = _bare_mb(_SLEEPS), _bare_mb(("-I", "-S", *_SLEEPS))
    return [
        Figure(
            what=f"controller with {tasks:,} tasks: RSS",
            value=controller,
            unit="MB",
            beside="a bare Python",
            other=plain,
            limit=CONTROLLER_MB,
            note=f"{peak:.0f} MB at most",
        ),
        Figure(
            what="shim: RSS",
            value=supervisor,
            unit="MB",
            beside="a bare `python -I -S`",
            other=isolated,
            limit=SHIM_MB,
        ),
    ]


def supervisors(*, quick: bool) -> list[Figure]:
    """What each of fifty agents takes beside itself: the process that supervises it."""
    agents = 5 if quick else 50
    with scene("supervisors") as there:
        there.tasks({f"a-{n}": {} for n in range(agents)})
        there.recorded(maxAgents=agents)
        watch = there.start("watch")
        try:
            pids: list[int] = []

            def all_started() -> bool:
                pids[:] = [run.pid for run in there.site.runner.runs().values() if run.pid and run.started]
                return len(pids) == agents

            scenes.until(all_started, "every agent to be started")
            time.sleep(2.0)
            private, cpu = (statistics.median(map(of, pids)) for of in (private_mb, own_cpu_ms))
        finally:
            watch.terminate()
            watch.wait()
        bare = subprocess.Popen((sys.executable, "-I", "-S", *_SLEEPS))
        try:
            time.sleep(0.5)
            plain_private, plain_cpu = private_mb(bare.pid), own_cpu_ms(bare.pid)
        finally:
            bare.kill()
            bare.wait()
    where, beside = f"{agents} alive, median", "a bare `python -I -S`"
    return [
        Figure(
            what=f"supervisor: private memory ({where})",
            value=private,
            unit="MB",
            beside=beside,
            other=plain_private,
            limit=PRIVATE_MB,
        ),
        Figure(
            what=f"supervisor: CPU until its agent runs ({where})",
            value=cpu,
            unit="ms",
            beside=beside,
            other=plain_cpu,
            limit=START_MS,
        ),
    ]


def _amid_work(there: Scene) -> None:
    done = [f"a-{n}" for n in range(100)]
    there.history(done)
    there.tasks({**scenes.landed(done), **{f"a-{n}": {} for n in range(100, 200)}})
    there.recorded(maxAgents=0, mergePolicy={"mode": "manual"})
    for n in range(100, 110):
        there.offered(f"a-{n}")


def _in_turn(there: Scene, *commands: tuple[str, ...], times: int) -> list[float]:
    """The median seconds of a bare interpreter and of each command, one after the other and over again."""
    rounds = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        subprocess.run((sys.executable, "-c", "pass"), env=there.environ, check=True)
        rounds.append([time.perf_counter() - begun, *(there.ran(*command) for command in commands)])
    # The first round only wrote what Python compiled.
    return [statistics.median(column) for column in zip(*rounds[1:], strict=True)]


def _first_shim(there: Scene) -> int:
    found: list[int] = []

    def started() -> bool:
        found[:] = [run.pid for run in there.site.runner.runs().values() if run.pid]
        return bool(found)

    scenes.until(started, "an agent to be started")
    return found[0]


def _bare_mb(args: tuple[str, ...]) -> float:
    process = subprocess.Popen((sys.executable, *args))
    try:
        time.sleep(0.5)
        return resident_mb(process.pid)
    finally:
        process.kill()
        process.wait()
