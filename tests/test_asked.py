"""Which checks a change must pass, and that this is part of what is proven."""

from __future__ import annotations

import pytest
import worlds
from memory import World
from test_landing_line import Night, an_epic
from test_loop import offered

from reconciler.model.checks import Check
from reconciler.model.names import RunKind, Sha, TaskId
from reconciler.model.values import replace
from reconciler.planning import asked, base_checks

BOTH = ({"run": "just check"}, {"run": "just web", "paths": ("web/**", "package.json")})
TREE = Sha("a" * 40)


@pytest.fixture
def world() -> World:
    return World(now=worlds.NOW)


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        (["a.py"], ["just check"]),
        (["a.py", "web/x/a.js"], ["just check", "just web"]),
        (["package.json"], ["just check", "just web"]),
        (["Web/a.js"], ["just check", "just web"]),
        ([], ["just check"]),
    ],
)
def test_a_check_is_left_out_where_a_change_touches_none_of_its_paths(changed: list[str], runs: list[str]) -> None:
    spec = worlds.an_epic(merge={"checks": BOTH})
    assert [check.run for check in asked.asked_of(spec, changed)] == runs


def test_what_is_about_the_paths_of_no_check_gets_all_of_them() -> None:
    spec = worlds.an_epic(merge={"checks": BOTH[1:]})
    assert asked.asked_of(spec, ["README"]) == spec.merge.checks


def test_what_ran_is_part_of_what_is_proven() -> None:
    spec = worlds.an_epic(merge={"checks": BOTH})
    whole, part = spec.subject_of(TREE), spec.subject_of(TREE, spec.merge.checks[:1])
    assert whole != part
    run = replace(worlds.a_check("passed"), tree=TREE, id=replace(worlds.a_check("passed").id, subject=part))
    assert asked.ran(spec, replace(run, left_out=(1,))) and not asked.ran(spec, run)
    other = worlds.an_epic(merge={"checks": (Check("just lint"), *BOTH[1:])})
    assert not asked.ran(other, replace(run, left_out=(1,)))


def test_a_chain_must_pass_what_any_of_its_members_must(world: World) -> None:
    offered(world, 2)
    checks = ("just check", {"run": "just one", "paths": ("p-1",)}, {"run": "just two", "paths": ("p-2",)})
    night = Night(world, an_epic(parallel=1, checks=checks))
    night.quiet()
    (run,) = night.checks()
    assert (len(run.heads), run.left_out) == (2, ())
    night.end(run, well=False)
    night.quiet()
    (alone,) = night.checks()
    assert (len(alone.heads), alone.left_out) == (1, (2,))
    night.through()
    assert sorted(night.landed) == ["x-1", "x-2"]


def test_the_base_is_green_where_what_landed_passed_what_it_was_asked(world: World) -> None:
    offered(world, 1)
    night = Night(world, an_epic(checks=("just check", {"run": "just web", "paths": ("web/**",)})))
    night.through()
    assert night.landed == ["x-1"]
    seen, desired = night.loop.look().observed, night.loop.look().plan.epics[0].spec
    found = base_checks.health(desired, seen)
    assert found and found.green == world.main


def test_whose_fault_a_red_check_is_is_asked_of_the_base_with_the_same_checks(world: World) -> None:
    offered(world, 1)
    night = Night(world, an_epic(checks=("just check", {"run": "just web", "paths": ("web/**",)}), retries=0))
    night.quiet()
    night.end(night.checks()[0], well=False)
    night.quiet()
    (of_the_base,) = world.alive(RunKind.CHECK)
    assert of_the_base.baseline == of_the_base.base_tip and of_the_base.left_out == (1,)
    night.end(of_the_base, well=True)
    night.quiet()
    assert str(night.waiting[TaskId("x-1")].reason) != "CheckBroken"
