"""What grows, and with what: with the agents alive, with the tasks of the store, with what ever landed."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

from reconciler.planning.actions import StartAgent
from tests.bench import leaving
from tests.bench.figures import Figure, spending
from tests.bench.scenes import Scene, live, scene, until
from tests.bench.ticks import quiet, settled
from tests.bench.working import Serial

LINEAR = 4.2  # four times as much, and noise
FLAT = 1.3
TURN_MS = {10: 100.0, 50: 120.0, 200: 200.0}  # by how many are alive
# Each end of an agent is asked for by name, so that the others sleep as agents do that think.
_WAITS = """date +%s%N > "{0}/$RECONCILE_TASK.began"
mkfifo "{0}/$RECONCILE_TASK.go"
read word < "{0}/$RECONCILE_TASK.go"
echo 1 > "$RECONCILE_TASK" && git add . && git commit -qm work
exec date +%s%N > "{0}/$RECONCILE_TASK.ended"
"""


def starting_many(*, quick: bool) -> list[Figure]:
    """The tick that starts 200 agents beside the one that starts 50: what one start costs must not depend on the others."""
    few, many = (5, 20) if quick else (50, 200)
    little, much = _started(few), _started(many)
    git = _made(many) / _made(few)
    return [
        Figure(
            what=f"starting {many} agents",
            value=much,
            unit="s",
            beside=f"starting {few}",
            other=little,
            limit=LINEAR,
            times=True,
            note=f"{1000 * much / many:.0f} ms an agent, beside {1000 * little / few:.0f}; `git worktree add` alone: {git:.1f} x",
        )
    ]


def history(*, quick: bool) -> list[Figure]:
    """A tick in which nothing changed with five agents alive, after little and after much has landed and its hour is over."""
    few, many = (20, 200) if quick else (100, 5000)
    took = {landed: _quiet_after(landed) for landed in (few, many)}
    return [
        Figure(
            what=f"quiet tick after {many:,} tasks landed: CPU",
            value=took[many],
            unit="ms",
            beside=f"after {few}",
            other=took[few],
            limit=FLAT,
            times=True,
        )
    ]


def _quiet_after(landed: int) -> float:
    """The CPU of such a tick, in ms."""
    with scene(f"landed{landed}") as there:
        leaving.landed(there, landed)
        leaving.archived(there)
        there.recorded(maxAgents=5, mergePolicy={"mode": "manual"})
        loop = there.loop()
        until(lambda: len(live(loop.tick())) == 5, "all agents to be alive")
        cpu_ms = quiet(settled(there), 15).cpu_ms
        there.end()
        return cpu_ms


def turnover(*, quick: bool) -> list[Figure]:
    """From the end of an agent to the first instruction of the next one, under a watch, with 1,000 tasks."""
    rows = []
    for alive in (3,) if quick else TURN_MS:
        with scene(f"turn{alive}") as there:
            waits = _turns(there, 20 if quick else 1000, alive, 3 if quick else 9)
            plain = Serial(there)
            raw = [_seconds(plain, f"raw-{n}") for n in range(5)]
        rows.append(
            Figure(
                what=f"agent ends → the next one runs, {alive} alive, median",
                value=1000 * statistics.median(waits),
                unit="ms",
                beside="git worktree add",
                other=1000 * statistics.median(raw),
                limit=TURN_MS.get(alive, 100.0),
                note=f"{1000 * min(waits):.0f} to {1000 * max(waits):.0f} ms in {len(waits)}",
            )
        )
    return rows


def one_change(*, quick: bool) -> list[Figure]:
    """A tick after one of many tasks changed in the store, beside reading and replacing that file."""
    few, many = (20, 200) if quick else (1000, 20_000)
    (little, _), (much, raw) = _changed(few), _changed(many)
    return [
        Figure(
            what=f"tick after one of {many:,} tasks changed: CPU",
            value=1000 * much,
            unit="ms",
            beside=f"of {few:,}, and twice reading and replacing the store",
            other=1000 * (little + 2 * raw),
            limit=1.0,
            times=True,
            note=f"{1e6 * much / many:.0f} us a task, beside {1e6 * little / few:.0f}; the store {1000 * raw:.0f} ms",
        )
    ]


def _changed(tasks: int) -> tuple[float, float]:
    """The seconds that such a tick takes, and that changing the store by hand does."""
    with scene(f"change{tasks}") as there:
        path = there.tasks({f"a-{n}": {} for n in range(tasks)})
        there.recorded(maxAgents=0, mergePolicy={"mode": "manual"})
        loop = settled(there)
        took, raw = [], []
        for n in range(7):
            raw.append(_rewrite(path, n))
            with spending() as spent:
                loop.tick()
            took.append(spent.cpu_s)
    return statistics.median(took), statistics.median(raw)


def _started(agents: int) -> float:
    with scene(f"crowd{agents}") as there:
        there.tasks({f"a-{n}": {} for n in range(agents)})
        there.recorded(maxAgents=agents)
        loop = there.loop()
        with spending() as spent:
            tick = loop.tick()
        there.end()
    started = [o for o in tick.outcomes if isinstance(o.action, StartAgent) and o.error is None]
    if len(started) != agents:
        raise RuntimeError(f"{len(started)} of {agents} started: {tick.errors[:1]}")
    return spent.wall_s


def _made(worktrees: int) -> float:
    """The seconds that plain git takes for as many worktrees, one after the other."""
    with scene(f"plain{worktrees}") as there:
        plain = Serial(there)
        return sum(_seconds(plain, f"raw-{n}") for n in range(worktrees))


def _turns(there: Scene, tasks: int, alive: int, turns: int) -> list[float]:
    """The seconds between the end of one agent and the beginning of the next, turn by turn."""
    said = there.folder / "said"
    said.mkdir()
    there.tasks({f"a-{n:04}": {} for n in range(tasks)})
    agent = {"argv": ["sh", "-c", _WAITS.format(said)]}
    there.recorded(maxAgents=alive, agent=agent, mergePolicy={"mode": "manual"})
    watch = there.start("watch")
    try:
        until(lambda: len(_those(said, "began")) >= alive, "all agents to be alive")
        waits = []
        for _ in range(turns):
            time.sleep(2.0)  # the watch comes to rest
            before = _those(said, "began")
            ending = min(before - _those(said, "ended"))
            (said / f"{ending}.go").write_text("go\n")
            until(lambda known=before: _those(said, "began") - known, "the next agent to begin")
            (following,) = _those(said, "began") - before
            waits.append(_at(said / f"{following}.began") - _at(said / f"{ending}.ended"))
    finally:
        watch.terminate()
        watch.wait()
        there.end()
    return waits


def _those(said: Path, what: str) -> set[str]:
    """The tasks whose agents have said this, and to the end."""
    return {path.stem for path in said.glob(f"*.{what}") if path.read_text().endswith("\n")}


def _at(path: Path) -> float:
    return int(path.read_text()) / 1e9


def _seconds(plain: Serial, id: str) -> float:
    begun = time.perf_counter()
    plain.worktree(id)
    return time.perf_counter() - begun


def _rewrite(path: Path, n: int) -> float:
    """Change one line of the store as `bd` does, by a rename; the seconds that reading and replacing it took."""
    begun = time.perf_counter()
    lines = path.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[n])
    lines[n] = json.dumps({**record, "priority": record["priority"] % 4 + 1}, separators=(",", ":")).encode() + b"\n"
    written = path.with_suffix(".new")
    written.write_bytes(b"".join(lines))
    os.replace(written, path)
    return time.perf_counter() - begun
