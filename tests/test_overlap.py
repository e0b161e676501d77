"""Where tasks are likely to change something, and what a night gains by it. What is decided by that is in `plans/`."""

from __future__ import annotations

from datetime import timedelta

import pytest
import worlds
from memory import World

from reconciler.loop.closer import closer
from reconciler.loop.memo import Memo
from reconciler.loop.observer import Circumstances, observe
from reconciler.model.desired import Desired
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Touched
from reconciler.model.ports import RunSpec
from reconciler.planning.actions import StartAgent
from reconciler.planning.overlap import PASSED_MAX, Footprint, declared, first_apart
from reconciler.planning.planner import plan
from tests.bench import overlapping


def at(*paths: str) -> Footprint:
    return declared({f"paths:{path}" for path in paths})


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ("src/a.py", "src/a.py", "src/a.py"),
        ("src/a.py", "src/b.py", None),
        ("src/a.py", "SRC/**", "src/a.py"),
        ("src/*.py", "src/deep/a.py", None),
        ("src/**", "src/deep/*.py", "src/**"),
        ("src/**", "docs/**", None),
        ("*.md", "*.py", None),
        ("**/*.md", "docs/**", "**/*.md"),
    ],
)
def test_two_meet_where_a_path_may_be_one_of_both(one: str, other: str, where: str | None) -> None:
    assert at(one).meets(at(other)) == where
    assert bool(at(other).meets(at(one))) == bool(where)


def test_what_names_nothing_meets_nobody() -> None:
    assert not declared({"ui", "paths:"}) and declared({"paths:"}).meets(at("**")) is None


def test_the_first_that_keeps_apart_goes_first_and_where_none_does_the_first() -> None:
    ready = [at("a"), at("b"), at("c")]
    assert [first_apart(ready, hand, lambda _: 0) for hand in ([], [at("a")], [at("a"), at("b")], [at("*")])] == [
        0,
        1,
        2,
        0,
    ]


def test_whom_enough_have_passed_goes_before_the_first_that_keeps_apart() -> None:
    ready, passed = [at("a"), at("a"), at("b")], [PASSED_MAX - 1, PASSED_MAX, PASSED_MAX]
    assert first_apart(ready, [at("a")], passed.__getitem__) == 1
    assert first_apart(ready, [], passed.__getitem__) == 0


def test_however_many_others_arrive_whoever_is_ready_begins_in_the_end() -> None:
    world = World(now=worlds.NOW)
    desired, ports = Desired(epics=(worlds.an_epic(max_agents=2),)), world.ports()
    world.add("x-1", status="in_progress", assignee=worlds.US, labels=frozenset({"paths:src/a.py"}))
    world.create(TaskId("x-1"), desired.epics[0], world.main)
    run = RunId(RunKind.WORK, "x-1", 1)
    world.start(RunSpec(id=run, task=TaskId("x-1"), manifest="all", steps=(("agent",),), cwd="", baseline=world.main))
    world.add("x-2", labels=frozenset({"paths:src/a.py"}))

    def begun(n: int) -> str:
        """Who begins where two are ready; where it is another than x-2, that one is done at once."""
        world.now += timedelta(minutes=1)
        world.add(f"y-{n:02}")
        seen = observe(desired, ports, Circumstances(at=world.now), memo)
        decided = plan(desired, closer(seen, desired, ports, plan(desired, seen).unsure, memo))
        (task,) = (action.task for action in decided.actions if isinstance(action, StartAgent))
        if task != "x-2":
            world.start(
                RunSpec(id=RunId(RunKind.WORK, task, 1), task=task, manifest="all", steps=(("agent",),), cwd="")
            )
            world.finish(RunId(RunKind.WORK, task, 1))
            world.edit(task, status="closed", closed_at=world.now)
        return str(task)

    memo = Memo()
    order = [begun(n) for n in range(PASSED_MAX + 1)]
    assert order.index("x-2") == PASSED_MAX, order


def test_where_an_agent_works_is_looked_at_only_where_somebody_has_to_be_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(now=worlds.NOW)
    epic = worlds.an_epic(max_agents=2)
    world.add("x-1", status="in_progress", assignee=worlds.US)
    world.create(TaskId("x-1"), epic, world.main)
    run = RunId(RunKind.WORK, "x-1", 1)
    world.start(RunSpec(id=run, task=TaskId("x-1"), manifest="all", steps=(("agent",),), cwd="", baseline=world.main))
    world.trees[TaskId("x-1")].dirty = frozenset({"src/a.py"})
    desired, ports, memo = Desired(epics=(epic,)), world.ports(), Memo()
    world.add("x-2", labels=frozenset({"paths:src/a.py"}))
    seen = observe(desired, ports, Circumstances(at=world.now), memo)
    assert not plan(desired, seen).unsure.touched
    world.add("x-3")
    seen = observe(desired, ports, Circumstances(at=world.now), memo)

    decided = plan(desired, seen)

    assert decided.unsure.touched == {"x-1": world.main}
    again = closer(seen, desired, ports, decided.unsure, memo)
    assert again.touched == {"x-1": Touched(frozenset({"src/a.py"}), now=True)}
    better = plan(desired, again)
    assert not better.unsure and [action.task for action in better.actions if action.task != "x-1"] == ["x-3"]
    later = observe(desired, ports, Circumstances(at=world.now), memo)
    assert not later.touched[TaskId("x-1")].now
    full = Desired(epics=(worlds.an_epic(max_agents=1),))
    assert not plan(full, later).unsure and "in hand" in plan(full, later).epics[0].waiting[TaskId("x-2")].message


@pytest.mark.parametrize("knows", overlapping.WANTED)
def test_a_night_has_fewer_conflicts_where_those_that_would_meet_start_one_after_the_other(knows: float) -> None:
    plain, apart = overlapping.nights(knows=0.0, many=40), overlapping.nights(knows=knows, many=40)
    print(plain, apart)
    assert apart.conflicts < plain.conflicts * overlapping.WANTED[knows]
    assert apart.hours <= plain.hours * 1.02
