"""Many agents, people and crashes on one real repository: what is on the base has passed, once, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import worlds
from git_world import GitWorld, green
from memory import Killed

from reconciler.loop.loop import Loop, Tick
from reconciler.model.desired import Desired, EpicSpec, MergeMethod
from reconciler.model.reasons import Awaits
from reconciler.model.values import replace

TICKS_MAX = 600


def an_epic(seed: int) -> EpicSpec:
    methods = (MergeMethod.SQUASH, MergeMethod.MERGE)
    agent = {"backoff_initial_s": 0.0, "max_attempts": 3}
    return worlds.an_epic(
        max_agents=8, agent=agent, merge={"parallel": 1 + seed % 4, "method": methods[seed % 2], "retries": 1}
    )


def told(world: GitWorld, spec: EpicSpec, changes: int) -> Tick:
    """From the first change to where nothing moves without a person; a person has a line that pauses go on."""

    def a_loop() -> Loop:
        return Loop(load=lambda: Desired(epics=(spec,)), ports=world.ports(), clock=lambda: world.now, workers=1)

    loop, offered, quiet = a_loop(), 0, 0
    for _ in range(TICKS_MAX):
        for _ in range(world.rng.randrange(4) if offered < changes else 0):
            if offered < changes:
                offered += 1
                world.offer(offered)
        if offered < changes:
            world.chance()
        try:
            tick = loop.tick()
        except Killed:
            world.born()
            loop = a_loop()
            continue
        assert world.broken == []
        pauses = [
            epic for epic in tick.plan.epics if epic.degraded and epic.degraded.reason in ("QueuePaused", "CheckBroken")
        ]
        world.runs_end()
        world.later(seconds=10)
        waits = tick.plan.actions or any(run.alive for run in world.processes.values()) or tick.plan.wake_at
        quiet = 0 if waits else quiet + 1
        if quiet > 3 and pauses:
            world.mend()
            spec, quiet = replace(spec, unfrozen_at=world.now), 0
            world.later(seconds=10)
        elif quiet > 3 and offered == changes:
            return tick
    raise AssertionError(f"not quiet after {TICKS_MAX} ticks: {tick.plan.actions} {tick.plan.epics[0].waiting}")


def assert_kept(world: GitWorld, tick: Tick) -> None:
    repo = world.repo
    tips = [line.split("\0") for line in repo.git("reflog", "show", "--format=%H%x00%gs", "main").splitlines()]
    ours = [tip for tip, why in tips if why.startswith("reconcile: land")]
    assert ours
    assert [tip for tip in ours if not green(repo, tip)] == [], "a tip that we made is red"
    line = set(repo.git("rev-list", "main").split())
    assert [sha for sha in world.people if sha not in line] == [], "what a person pushed is lost"
    landed = Counter(landing.task for landing in world.forge.landings("main"))
    assert not landed or set(landed.values()) == {1}, "something landed twice"
    names = set(repo.git("ls-tree", "--name-only", "main", "own/").splitlines())
    assert names == {f"own/{task}" for task in landed}, "what landed is not on the base"
    left = [line for line in repo.status().splitlines() if "people" not in line]  # that git refused a person just then
    assert left == [], "the checkout is not what the base is"
    waiting = tick.plan.epics[0].waiting
    for task, bead in world.beads.items():
        if bead.closed:
            assert task in landed, f"{task} is closed and has not landed"
        else:
            word = waiting[task]
            assert word.reason.awaits is Awaits.PERSON and word.message, f"{task} ended unexplained: {word}"
    assert len(landed) > len(world.beads) // 2


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_the_base_is_green_and_whole(tmp_path: Path, seed: int) -> None:
    world = GitWorld.made(tmp_path, seed)
    assert_kept(world, told(world, an_epic(seed), changes=12))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_of_a_thousand_changes_all_land_or_say_why_not(tmp_path: Path, seed: int) -> None:
    world = GitWorld.made(tmp_path, seed)
    assert_kept(world, told(world, an_epic(seed), changes=25))
