"""When a command that waits has waited long enough."""

from __future__ import annotations

import pytest
import worlds
from memory import World

from reconciler.cli import drive
from reconciler.cli.drive import PATIENCE_S, NothingLeft
from reconciler.loop.observer import Circumstances, observe
from reconciler.model.desired import Desired
from reconciler.model.names import TaskId
from reconciler.model.observed import Failure, Occupant
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.render import planned


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(drive.time, "monotonic", lambda: now[0])
    return now


def decided(
    world: World, forges: dict[str, str] | None = None, failures: dict[TaskId, Failure] | None = None, **spec: object
) -> Plan:
    desired = Desired(epics=(worlds.an_epic(**spec),))
    met = Circumstances(at=world.now, forges=forges or {}, failures=failures or {})
    return plan(desired, observe(desired, world.ports(), met))


@pytest.mark.parametrize("source", ["tracker", "runs", "forge", "base"])
def test_a_source_that_is_silent_for_a_moment_needs_no_person(clock: list[float], source: str) -> None:
    world = World(now=worlds.NOW)
    world.add("x-1")
    world.down = {source}
    over = NothingLeft()
    assert not over(decided(world))
    clock[0] += PATIENCE_S / 2
    assert not over(decided(world))
    world.down = set()
    assert not over(decided(world)), "it can go on now"
    world.down = {source}
    assert not over(decided(world)), "and the time counts from anew"
    clock[0] += PATIENCE_S
    assert over(decided(world))


def test_an_editor_that_is_leaving_a_worktree_needs_no_person(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(now=worlds.NOW)
    world.add("x-1", status="closed")
    world.create(TaskId("x-1"), worlds.an_epic(), world.main)
    monkeypatch.setattr(world, "occupants", lambda paths: {path: Occupant(pid=7, command="vi") for path in paths})
    over = NothingLeft()
    assert not over(decided(world))
    clock[0] += PATIENCE_S
    assert over(decided(world))


@pytest.mark.parametrize(
    "spec", [{"suspend": True}, {"epic": TaskId("x-404")}, {"max_agents": 0}, {"forges": {"all": "not known"}}]
)
def test_what_only_a_person_can_change_is_not_waited_for(spec: dict[str, object]) -> None:
    world = World(now=worlds.NOW)
    world.add("x-1")
    assert NothingLeft()(decided(world, **spec))


@pytest.mark.parametrize("permanent", [True, False])
def test_what_failed_for_good_is_a_persons_and_what_may_go_well_is_waited_for(permanent: bool) -> None:
    world = World(now=worlds.NOW)
    world.add("x-1")
    world.add("x-2", blockers=(TaskId("x-1"),))
    failed = Failure(
        action="StartAgent",
        message="a branch called agent is in the way",
        since=worlds.ago(9),
        at=worlds.ago(9),
        until=worlds.ago(-600),
        manifest="all",
        permanent=permanent,
    )

    left = decided(world, failures={TaskId("x-1"): failed})

    assert NothingLeft()(left) is permanent
    assert [line.startswith("x-1 ") for line in planned.attention(left)] == ([True] if permanent else [])
    assert ("carries on" in planned.summary(left)) is not permanent


def test_a_whole_epic_is_over_when_it_is_done() -> None:
    world = World(now=worlds.NOW)
    world.add("x-1", status="closed")
    assert NothingLeft()(decided(world))
