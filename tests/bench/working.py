"""What the program adds to the work itself: beside the git commands and interpreter starts that it can't do without."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from reconciler.loop import loop as loops
from reconciler.loop.executor import Outcome, execute
from reconciler.loop.loop import Tick
from reconciler.model.ports import Ports
from reconciler.planning.actions import Action, OpenPullRequest, StartAgent
from reconciler.system.wakes import Wakes, spots
from tests.bench.figures import Figure, Spent, spending
from tests.bench.scenes import COMMITS, Scene, scene

HANDOVER_MS = 100.0
END_TO_END, CPU, PROCESSES = 1.5, 2.0, 16.0
SPAWNING = 2.2


def handover(*, quick: bool) -> list[Figure]:
    """From the end of an agent to the beginning of the next action on its task, under a watch that sleeps until then."""
    tasks = 5 if quick else 20
    with scene("handover") as there:
        ids = [f"a-{n}" for n in range(tasks)]
        there.tasks({id: {} for id in ids})
        ends = there.folder / "ends"
        ends.mkdir()
        # The agent's last act is to say when it ends; the pause lets the watch come to rest before.
        script = f'{COMMITS} && sleep 0.5 && exec date +%s%N > "{ends}/$RECONCILE_TASK"'
        there.recorded(maxAgents=1, agent={"argv": ["sh", "-c", script]})
        began = _watched(there)
        waits = [began[id] - int((ends / id).read_text()) / 1e9 for id in ids]
        starts = [_seconds((sys.executable, "-c", "pass"), there.root, there.environ) for _ in range(tasks)]
    return [
        Figure(
            what="agent ends → next action begins, median",
            value=1000 * statistics.median(waits),
            unit="ms",
            beside="python -c pass",
            other=1000 * statistics.median(starts),
            limit=HANDOVER_MS,
            note=f"{1000 * min(waits):.0f} to {1000 * max(waits):.0f} ms in {tasks}",
        )
    ]


def end_to_end(*, quick: bool) -> list[Figure]:
    """200 trivial tasks from nothing to landed, beside what `Serial` does for each of as many."""
    tasks = 20 if quick else 200
    with scene("serial") as plain, scene("work") as there:
        ids = [f"a-{n}" for n in range(tasks)]
        serial = Serial(plain)
        there.tasks({id: {} for id in ids})
        manifest = there.manifest(maxAgents=8, agent={"argv": ["sh", "-c", COMMITS]})
        # Half before and half after: other work on this machine hits both sides.
        before = _each(serial.task, ids[: tasks // 2])
        with spending() as spent:
            took = there.ran("watch", "-f", str(manifest), "--until-done", most_s=3600)
        after = _each(serial.task, ids[tasks // 2 :])
        landed = int(there.repo.git("rev-list", "--count", "--grep=^Reconcile-Head: ", "main"))
        if landed != tasks:
            raise RuntimeError(f"{landed} of {tasks} landed")
    return [
        Figure(
            what=f"{tasks} trivial tasks end to end",
            value=took,
            unit="s",
            beside="their raw commands, serially",
            other=before.wall_s + after.wall_s,
            limit=END_TO_END,
            times=True,
        ),
        Figure(
            what=f"{tasks} trivial tasks end to end: CPU",
            value=spent.cpu_s,
            unit="s",
            beside="their raw commands",
            other=before.cpu_s + after.cpu_s,
            limit=CPU,
            times=True,
            note="with their agents",
        ),
        Figure(
            what="processes of a task, all of them counted",
            value=spent.forked / tasks,
            unit="",
            beside="its raw commands",
            other=(before.forked + after.forked) / tasks,
            limit=PROCESSES,
        ),
    ]


def spawning(*, quick: bool) -> list[Figure]:
    """The tick that starts 50 agents, beside 50 `git worktree add`; three times, of which the median counts."""
    agents = 10 if quick else 50
    rounds = sorted((_spawned(agents) for _ in range(3)), key=lambda pair: pair[0].wall_s / pair[1].wall_s)
    spent, raw = rounds[1]
    ratios = ", ".join(f"{ours.wall_s / theirs.wall_s:.2f}" for ours, theirs in rounds)
    return [
        Figure(
            what=f"spawning {agents} agents",
            value=spent.wall_s,
            unit="s",
            beside=f"{agents} x git worktree add -b",
            other=raw.wall_s,
            limit=SPAWNING,
            times=True,
            note=f"{ratios}; {len(spent.started) / agents:.1f} processes an agent; "
            f"CPU {1000 * spent.cpu_s / agents:.0f} ms an agent, beside {1000 * raw.cpu_s / agents:.0f} ms",
        )
    ]


def _spawned(agents: int) -> tuple[Spent, Spent]:
    """What it took to start so many agents, and to make as many worktrees."""
    with scene("raw") as plain, scene("spawn") as there:
        ids = [f"a-{n}" for n in range(agents)]
        there.tasks({id: {} for id in ids})
        there.recorded(maxAgents=agents)
        serial = Serial(plain)
        before = _each(serial.worktree, ids[: agents // 2])
        loop = there.loop()
        with spending() as spent:
            tick = loop.tick()
        there.end()
        after = _each(serial.worktree, ids[agents // 2 :])
    started = [o for o in tick.outcomes if isinstance(o.action, StartAgent) and o.error is None]
    if len(started) != agents:
        raise RuntimeError(f"{len(started)} of {agents} started: {tick.errors[:1]}")
    both = Spent(
        wall_s=before.wall_s + after.wall_s,
        own_s=before.own_s + after.own_s,
        children_s=before.children_s + after.children_s,
    )
    return spent, both


class Serial:
    """The least that a task needs, run one command after the other.

    A worktree on a new branch; one interpreter, which supervises; the agent's shell with its `git add` and `git commit`;
    the merge, its commit, the base moved and its checkout brought along; worktree and branch removed. Not in it: a pull
    request, a second look at anything, the claim, the record of a run.
    """

    def __init__(self, there: Scene) -> None:
        self._there = there
        self._trees = there.folder / "worktrees"

    def task(self, id: str) -> None:
        """Bring one task from nothing to landed."""
        tree, branch = self._trees / id, f"agent/{id}"
        self.worktree(id)
        self._run(sys.executable, "-I", "-S", "-c", "pass")
        self._run("sh", "-c", COMMITS, cwd=tree, RECONCILE_TASK=id)
        old = self._git("rev-parse", "main")
        merged = self._git("merge-tree", "--write-tree", "main", branch)
        new = self._git("commit-tree", "-p", old, "-m", f"Do {id}", merged)
        self._git("update-ref", "refs/heads/main", new, old)
        self._git("read-tree", "-m", "-u", old, new)
        self._git("worktree", "remove", str(tree))
        self._git("branch", "--quiet", "-D", branch)

    def worktree(self, id: str) -> None:
        """Make a worktree on a branch of its own."""
        self._run("git", "worktree", "add", "--quiet", "-b", f"agent/{id}", str(self._trees / id), "main")

    def _git(self, *args: str) -> str:
        return self._there.repo.git(*args)

    def _run(self, *argv: str, cwd: Path | None = None, **env: str) -> None:
        _seconds(argv, cwd or self._there.root, {**self._there.repo.environ, **env})


def _each(work: Callable[[str], None], ids: list[str]) -> Spent:
    with spending() as spent:
        for id in ids:
            work(id)
    return spent


def _seconds(argv: Sequence[str], cwd: Path, env: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(argv, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _watched(there: Scene) -> dict[str, float]:
    """When the pull request of each task was begun, while a watch works them all off."""
    began: dict[str, float] = {}

    def timed(actions: Sequence[Action], ports: Ports, *more: Any) -> list[Outcome]:
        now = time.time()
        began.update({a.task: now for a in actions if isinstance(a, OpenPullRequest) and a.task})
        return execute(actions, ports, *more)

    def over(tick: Tick) -> bool:
        return tick.plan.converged

    wake, site = threading.Event(), there.site
    with (
        patch.object(loops, "execute", timed),
        Wakes(spots(site.state, site.repository.common, site.beads, []), wake),
    ):
        there.loop().forever(wake, threading.Event(), enough=over)
    return began
