"""What it costs that nothing happens: quiet ticks, and a controller that waits."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import dataclass

import psutil

from reconciler.loop.loop import DOUBT_MAX_S, RESYNC_S, Loop
from tests.bench import scenes
from tests.bench.figures import Figure, Spent, spending
from tests.bench.scenes import Scene, scene

TICK_CPU_MS = 20.0
IDLE_PERCENT = 0.2
RESTING_PERCENT = 0.3
AS_SMALL = 1.25  # what is the same twice differs by so much on a busy machine
OFFERED = "c-0"


@dataclass(frozen=True)
class Quiet:
    """What a quiet tick of a scene takes: the median of several."""

    cpu_ms: float
    own_ms: float
    processes: float
    started: str


def quiet_tick(*, quick: bool) -> list[Figure]:
    """1,000 tasks, half of them landed, and 50 agents running: a tick in which nothing changed, and a watch over it."""
    tasks, alive = (200, 10) if quick else (1000, 50)
    with scene("quiet") as there:
        crowd(there, tasks, alive)
        loop = settled(there)
        found = quiet(loop, 10 if quick else 25)
        git_ms = statistics.median(_git_ms(there) for _ in range(9))
        idle, shims = idling(there, (1 if quick else 2) * RESYNC_S + 1.0)
    where = f"{tasks} tasks, {alive} live runs, {tasks // 2} landed"
    one_git = "one `git for-each-ref` (CPU)"
    return [
        Figure(
            what=f"quiet tick: processes ({where})",
            value=found.processes,
            unit="",
            beside="at rest",
            other=0.0,
            limit=0.0,
            note=found.started,
        ),
        Figure(
            what="quiet tick: CPU",
            value=found.cpu_ms,
            unit="ms",
            beside=one_git,
            other=git_ms,
            limit=TICK_CPU_MS,
            note=f"{found.own_ms:.1f} ms of it in the controller itself",
        ),
        Figure(
            what="watch and supervisors, nothing happens: CPU",
            value=idle + shims,
            unit="%",
            beside="the supervisors alone",
            other=shims,
            limit=IDLE_PERCENT,
        ),
    ]


def resting(*, quick: bool) -> list[Figure]:
    """A watch over 20,000 tasks of which none may start, while nothing happens: looked at from outside, as it is run."""
    few, many = (100, 2000) if quick else (1000, 20_000)
    found = {}
    for tasks in (few, many):
        with scene(f"resting{tasks}") as there:
            there.tasks({f"a-{n}": {} for n in range(tasks)})
            there.recorded(maxAgents=0, mergePolicy={"mode": "manual"})
            settled(there)
            # Of many it is decided again more rarely than twice a minute: for so long that it is, and more than once.
            found[tasks], _ = idling(there, RESYNC_S if quick else 2 * RESYNC_S if tasks == few else DOUBT_MAX_S)
    return [
        Figure(
            what=f"watch over {many:,} tasks, nothing happens: CPU",
            value=found[many],
            unit="%",
            beside=f"over {few:,}",
            other=found[few],
            limit=RESTING_PERCENT,
        )
    ]


def large_repository(*, quick: bool) -> list[Figure]:
    """20 worktrees in a repository of 100,000 files beside the same in one of 100: nothing offered, then one pull request.

    The worktrees are sparse, so that the disk need not hold 2,000,000 files; their indexes are not.
    """
    files, trees = (10_000, 5) if quick else (100_000, 20)
    with scene("large", files) as large, scene("small", 100) as small:
        for there in (large, small):
            crowd(there, trees * 2, trees, sparse=["d0"])
        idle = in_turn(settled(large), settled(small), 9)
        for there in (large, small):
            there.offered(OFFERED)
        waiting = in_turn(settled(large), settled(small), 9)
    return [
        Figure(
            what=f"quiet tick, {files:,} files, {trees} worktrees{what}: CPU",
            value=big.cpu_ms,
            unit="ms",
            beside="the same with 100 files",
            other=little.cpu_ms,
            limit=AS_SMALL,
            times=True,
            note=f"{big.processes:g} processes",
        )
        for what, (big, little) in (("", idle), (", a pull request waits for a person", waiting))
    ]


def crowd(there: Scene, tasks: int, alive: int, **worktrees: object) -> None:
    """Half of the tasks landed, `alive` of the others with a live agent; the rest wait, `c-0` last of all."""
    done, todo = [f"a-{n}" for n in range(tasks // 2)], [f"b-{n}" for n in range(tasks - tasks // 2)]
    there.history(done)
    there.tasks({**scenes.landed(done), **{id: {} for id in todo}, OFFERED: {"priority": 4}})
    there.recorded(maxAgents=alive, mergePolicy={"mode": "manual"}, worktrees=worktrees)
    loop = there.loop()
    scenes.until(lambda: len(scenes.live(loop.tick())) == alive, "all agents to be alive")


def settled(there: Scene) -> Loop:
    """A loop that has seen everything, some time after anything has changed."""
    loop = there.loop()
    scenes.until(lambda: not loop.tick().plan.actions, "a plan without actions")
    time.sleep(scenes.SETTLES_S)
    for _ in range(3):
        loop.tick()
    return loop


def quiet(loop: Loop, times: int) -> Quiet:
    """What a tick takes while nothing changes."""
    return _median([_tick(loop) for _ in range(times)])


def in_turn(one: Loop, other: Loop, times: int) -> tuple[Quiet, Quiet]:
    """What quiet ticks of two loops take, turn by turn: other work on this machine hits both alike."""
    pairs = [(_tick(one), _tick(other)) for _ in range(times)]
    return _median([first for first, _ in pairs]), _median([second for _, second in pairs])


def idling(there: Scene, seconds: float) -> tuple[float, float]:
    """The percentage of a core that a watch uses, with all that it starts, and that of all shims."""
    (there.site.state / "status" / "all.json").unlink(missing_ok=True)
    watch = there.start("watch")
    try:
        scenes.until((there.site.state / "status" / "all.json").exists, "the watch to have looked")
        time.sleep(3.0)
        shims = [run.pid for run in there.site.runner.runs().values() if run.pid]
        before, before_shims = _cpu_s(watch.pid), sum(map(_cpu_s, shims))
        begun = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - begun
        used, used_by_shims = _cpu_s(watch.pid) - before, sum(map(_cpu_s, shims)) - before_shims
    finally:
        watch.terminate()
        watch.wait()
    return 100 * used / took, 100 * used_by_shims / took


def _tick(loop: Loop) -> Spent:
    with spending() as spent:
        tick = loop.tick()
    if tick.plan.actions:
        raise RuntimeError(f"not quiet: {tick.plan.actions[0]}")
    return spent


def _median(found: list[Spent]) -> Quiet:
    counted = Counter(found[-1].started)
    return Quiet(
        cpu_ms=1000 * statistics.median(spent.cpu_s for spent in found),
        own_ms=1000 * statistics.median(spent.own_s for spent in found),
        processes=statistics.median(len(spent.started) for spent in found),
        started=", ".join(f"{name} x{n}" if n > 1 else name for name, n in counted.most_common()),
    )


def _git_ms(there: Scene) -> float:
    with spending() as spent:
        there.repo.git("for-each-ref", "refs/heads/agent")
    return 1000 * spent.cpu_s


def _cpu_s(pid: int) -> float:
    return sum(psutil.Process(pid).cpu_times()[:4])
