"""What `diff` says comes of a plan: exactly what the loop does next, where nobody interferes."""

from __future__ import annotations

import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st
from stories import Story, Teller, inline

from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.values import replace
from reconciler.planning.actions import CreateTask, StartAgent
from reconciler.planning.forecast import Forecast, forecast
from reconciler.planning.planner import plan

KEYS = ("a", "b", "c", "d", "e")


@st.composite
def manifests(draw: st.DrawFn) -> EpicSpec:
    """Up to five tasks of which each waits for some of those before it, and a few agents for them."""
    number = draw(st.integers(1, len(KEYS)))
    after = {KEYS[n]: tuple(draw(st.sets(st.sampled_from(KEYS[:n]), max_size=2))) for n in range(1, number)}
    return worlds.an_epic(name="m", tasks=inline(*KEYS[:number], after=after), max_agents=draw(st.integers(0, 3)))


def foretold(spec: EpicSpec, observed, **applied) -> Forecast:
    wanted = Desired(epics=(replace(spec, applied=applied),))
    return forecast(wanted, observed, plan(wanted, observed))[spec.name]


@given(manifests())
def test_what_is_foretold_is_what_happens(spec: EpicSpec) -> None:
    teller = Teller(story := Story(epic=spec, tasks=()), story.world())
    loop = teller._loop()

    first, second = loop.tick(), loop.tick()

    assert foretold(spec, first.observed) == Forecast(
        create=sum(isinstance(action, CreateTask) and bool(action.key) for action in first.plan.actions),
        start=sum(isinstance(action, StartAgent) for tick in (first, second) for action in tick.plan.actions),
        blocked=sum(word.reason == "Blocked" for word in second.plan.epics[0].waiting.values()),
    )


def test_agents_that_start_at_once_are_counted_once() -> None:
    observed = worlds.seen(worlds.a_task(), worlds.a_task("x-2", blockers=(TaskId("x-1"),)))

    assert foretold(worlds.an_epic(), observed) == Forecast(create=0, start=1, blocked=1)


def test_a_task_that_is_written_anew_starts_after_that() -> None:
    old, new = inline("a", "b", after={"b": ("a",)}), inline("a", "b")
    loop = Teller(story := Story(epic=worlds.an_epic(name="m", tasks=old), tasks=()), story.world())._loop()
    loop.tick()
    observed = loop.tick().observed

    later = foretold(worlds.an_epic(name="m", tasks=new), observed, **{task.key: task for task in old})

    assert later == Forecast(create=0, start=2, blocked=0)


def test_a_task_that_is_dropped_waits_for_nothing() -> None:
    both, one = inline("a", "b", after={"b": ("a",)}), inline("a")
    loop = Teller(story := Story(epic=worlds.an_epic(name="m", tasks=both), tasks=()), story.world())._loop()
    loop.tick()
    observed = loop.tick().observed
    wanted = Desired(epics=(worlds.an_epic(name="m", tasks=one, applied={task.key: task for task in both}),))
    decided = plan(wanted, observed)

    assert forecast(wanted, observed, decided)["m"].blocked == 0
    assert [word.reason for word in decided.epics[0].waiting.values()] != ["Blocked"]


@pytest.mark.parametrize("source", ["tasks", "worktrees"])
def test_where_a_source_is_silent_nothing_is_foretold(source: str) -> None:
    observed = worlds.seen(**{source: worlds.Unknown("locked")})

    assert foretold(worlds.an_epic(), observed) == Forecast()
