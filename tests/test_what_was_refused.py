"""Why a push was refused is told to every attempt after it, and to people, until one goes well."""

from __future__ import annotations

import pytest
import worlds
from memory import World
from test_loop import Clockwork, X, a_loop, refuse

from reconciler.loop.loop import Loop, Met
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ContentRefusedError
from reconciler.model.names import RunId, RunKind, Sha
from reconciler.model.values import replace
from reconciler.render import failing
from reconciler.render.conditions import conditions

WHY = "the push was refused: Push cannot contain secrets; path: keys:1"
WORK = worlds.an_epic(merge={"checks": ()}, agent={"max_attempts": 9, "backoff_initial_s": 1.0, "backoff_max_s": 1.0})


@pytest.fixture
def world() -> World:
    made = World(now=worlds.NOW)
    made.checked = False
    made.add("x-1")
    return made


class _Told:
    def template(self, spec: EpicSpec, base: Sha) -> str:
        return "{title} {feedback}"

    def linked(self, spec: EpicSpec, base: Sha) -> frozenset[str]:
        return frozenset()


def a_telling_loop(world: World, **fields: object) -> Loop:
    loop = a_loop(world, WORK, **fields)
    loop.ports = replace(loop.ports, prompts=_Told())
    return loop


def a_work_run(n: int) -> RunId:
    return RunId(RunKind.WORK, "x-1", n)


def refused_once(world: World, loop: Loop) -> list[str]:
    """A loop whose second attempt is at work, as the push of the first was refused."""
    loop.until_quiet(Clockwork(world))
    world.commit("x-1", "a key")
    world.finish(a_work_run(1))
    calls = refuse(world, "open", ContentRefusedError(WHY))
    loop.until_quiet(Clockwork(world))
    assert [run.why for run in world.alive()] == ["PushRefused"]
    return calls


@pytest.mark.parametrize("rewritten", [False, True], ids=["as it was", "rewritten"])
@pytest.mark.parametrize("minutes", [1, 60])
def test_an_attempt_that_fails_hides_nothing_of_what_was_refused_from_the_next_one(
    world: World, rewritten: bool, minutes: int
) -> None:
    loop = a_telling_loop(world)
    refused_once(world, loop)
    for n in (2, 3):
        world.later(minutes=minutes)
        if rewritten:
            world.commit("x-1", f"another {n}")
        loop.until_quiet(Clockwork(world))
        said = loop.look().plan.epics[0]
        assert WHY in said.failing[X].message and "its agent gets it as feedback" in failing.words(
            failing.shown(said.failing[X]), world.now
        )
        world.finish(a_work_run(n), code=1)
        world.later(seconds=2)
        loop.until_quiet(Clockwork(world))

        told = world.specs[a_work_run(n + 1)].prompt
        assert WHY in told and "git commit --amend" in told and "exit status 1" in told


def test_whoever_acts_next_tells_it_on_until_a_push_goes_well(world: World) -> None:
    before = a_telling_loop(world)
    calls = refused_once(world, before)
    world.finish(a_work_run(2), code=1)
    world.later(minutes=60)
    left = failing.remembered(before.look().plan.epics[0])
    status = {"all": {"failing": left}}

    assert any(WHY in word.message for word in looking_on(world, status, left=True).values())
    after = a_telling_loop(world, met=lambda: Met(failures=failing.recalled(status, left=True)))
    after.until_quiet(Clockwork(world))
    assert WHY in world.specs[a_work_run(3)].prompt
    assert len(calls) == 1

    world.commit("x-1", "no key")
    world.finish(a_work_run(3))
    del world.open  # type: ignore[attr-defined]
    after.until_quiet(Clockwork(world))
    assert world.beads[X].closed and after.look().plan.epics[0].failing == {}


def looking_on(world: World, status: dict[str, dict[str, object]], *, left: bool) -> dict[str, object]:
    tick = a_telling_loop(world, met=lambda: Met(failures=failing.recalled(status, left=left))).look()
    return {action.task: action for action in tick.plan.actions}


def test_what_its_agent_can_mend_needs_no_person(world: World) -> None:
    loop = a_telling_loop(world)
    refused_once(world, loop)
    epic = loop.look().plan.epics[0]

    assert not epic.failed_for_good(X) and not failing.shown(epic.failing[X])["permanent"]
    degraded = next(each for each in conditions(epic, {}, world.now) if each["type"] == "Degraded")
    assert degraded["status"] == "True" and WHY in degraded["message"]


def test_what_was_refused_is_forgotten_with_its_task(world: World) -> None:
    loop = a_telling_loop(world)
    refused_once(world, loop)
    world.edit("x-1", status="closed")
    world.later(minutes=60)
    loop.until_quiet(Clockwork(world))

    assert loop.look().plan.epics[0].failing == {}
