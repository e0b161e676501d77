"""The wheel: it turns until nothing is left to do, sleeps until it must look again, and never spins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import worlds
from memory import Fault, World

from reconciler.loop import loop as loop_module
from reconciler.loop.executor import Outcome
from reconciler.loop.loop import Loop, Met, Tick
from reconciler.loop.setbacks import FAILURE_MOST_S, PERMANENT_S
from reconciler.model.desired import Desired, EpicSpec, MergeMethod, MergeMode
from reconciler.model.errors import ChangedError, PermanentError, RefusedError, TemporaryError
from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.observed import Base, Room, Run, RunState, Salvage, StopWhy
from reconciler.model.ports import LandOrder, Place, RunSpec
from reconciler.model.reasons import Reason
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.planning.actions import SetPhase
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.render.failing import lasting

X = TaskId("x-1")


class Clockwork(threading.Event):
    """An event on which nobody waits in earnest: the world's clock moves on instead."""

    def __init__(self, world: World, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.world, self.then = world, then
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            assert timeout is not None
            self.waits.append(timeout)
            self.world.later(seconds=timeout)
            self.then()
        return self.is_set()


@pytest.fixture
def world() -> World:
    made = World(now=worlds.NOW)
    made.add("x-1")
    return made


def a_loop(world: World, *epics: EpicSpec, **fields: object) -> Loop:
    desired = Desired(epics=epics or (worlds.an_epic(),))
    return Loop(load=lambda: desired, ports=world.ports(), clock=lambda: world.now, workers=1, **fields)


def rest_s(tick: Tick, world: World) -> int:
    """How long the tick's next timer runs, to the second."""
    return round((tick.plan.wake_at - world.now).total_seconds())


def refuse(world: World, method: str, error: Exception) -> list[str]:
    """Make a method of the world raise; the times at which it was called."""
    calls: list[str] = []

    def refused(*args: object, **kwargs: object) -> None:
        calls.append(f"{world.now:%T}")
        raise error

    setattr(world, method, refused)
    return calls


# --- until quiet ---------------------------------------------------------------------------------------------


def test_it_turns_until_only_running_processes_are_awaited(world: World) -> None:
    tick = a_loop(world).until_quiet(Clockwork(world))
    assert tick.plan.actions == ()
    assert tick.plan.epics[0].waiting[X].reason is Reason.AGENT_RUNNING
    assert world.beads[X].labels == {"phase:working"}


def test_a_whole_task_is_done_between_two_runs(world: World) -> None:
    loop = a_loop(world, worlds.an_epic(merge={"checks": ()}))
    world.checked = False
    loop.until_quiet(Clockwork(world))
    world.commit("x-1", "p")
    world.finish(RunId(RunKind.WORK, "x-1", 1))
    tick = loop.until_quiet(Clockwork(world))
    assert tick.plan.converged
    assert world.beads[X].closed and not world.trees and not world.heads


def test_looking_changes_nothing(world: World) -> None:
    looked = a_loop(world).look()
    assert [type(action).__name__ for action in looked.plan.actions] == ["StartAgent"]
    assert world.effects == []


def test_what_a_look_shows_is_what_the_tick_then_does(world: World) -> None:
    loop = a_loop(world)
    assert loop.look().plan == loop.tick().plan


def test_who_acts_has_the_runs_of_all_but_open_tasks_archived_and_who_looks_does_not(world: World) -> None:
    world.add("x-2", status="closed")
    asked: list[object] = []
    world.archive = asked.append  # type: ignore[method-assign]
    a_loop(world).look()
    assert not asked

    a_loop(world).tick()
    assert asked == [{X}]


def test_who_acts_keeps_what_is_claimed_from_running_out_and_who_looks_does_not(world: World) -> None:
    asked: list[object] = []
    world.renew = asked.append  # type: ignore[method-assign]
    a_loop(world).look()
    assert not asked

    a_loop(world).tick()
    assert asked == [world.now]


def test_where_no_task_could_be_read_no_run_is_archived(world: World) -> None:
    asked: list[object] = []
    world.archive = asked.append  # type: ignore[method-assign]
    refuse(world, "tasks", TemporaryError("locked"))
    a_loop(world).tick()
    assert not asked


def test_why_finished_runs_could_not_be_archived_is_told(world: World) -> None:
    def refused(open_tasks: object) -> None:
        raise TemporaryError("locked")

    world.archive = refused  # type: ignore[method-assign]
    assert a_loop(world).tick().unarchived == "locked"


def test_it_stops_between_two_ticks(world: World) -> None:
    stop = Clockwork(world)
    stop.set()
    a_loop(world).until_quiet(stop)
    assert len(world.alive()) == 1
    assert world.beads[X].labels == {"phase:spawned"}  # the next tick would have said that it works


def test_actions_that_are_not_wanted_are_not_done(world: World) -> None:
    tick = a_loop(world, wanted=lambda action: False).until_quiet(Clockwork(world))
    assert tick.plan.actions == () and world.effects == []


def test_every_tick_is_shown(world: World) -> None:
    shown: list[Tick] = []
    last = a_loop(world, seen=shown.append).until_quiet(Clockwork(world))
    assert shown[-1] == last and len(shown) == 3


def test_what_an_action_saved_is_said_once_in_the_tick_that_saved_it(world: World) -> None:
    shown: list[Tick] = []
    loop = a_loop(world, worlds.an_epic(merge={"checks": ()}), seen=shown.append)
    world.checked = False
    loop.until_quiet(Clockwork(world))
    world.commit("x-1", "p")
    world.trees[X].dirty = frozenset({"q"})
    world.finish(RunId(RunKind.WORK, "x-1", 1))
    loop.until_quiet(Clockwork(world))

    [saved] = [salvage for tick in shown for salvage in tick.saved]
    assert saved == world.saved[0] and saved.task == X


def test_what_somebody_else_saves_meanwhile_is_not_said_to_be_saved_here(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = world.create

    def beside(task: TaskId, spec: EpicSpec, base: Sha, n: int) -> Place:
        world.saved.append(Salvage(task=TaskId("x-9"), n=1, commit=Sha("s9"), at=world.now))
        return create(task, spec, base, n)

    monkeypatch.setattr(world, "create", beside)
    tick = a_loop(world).tick()

    assert tick.outcomes and world.saved and tick.saved == ()


def test_what_was_kept_and_could_not_be_seen_for_a_moment_is_not_said_to_be_saved_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.saved.append(Salvage(task=X, n=1, commit=Sha("s0"), at=world.now))
    answers = [TemporaryError("busy"), TemporaryError("busy")]  # as it looks, and before it acts

    def salvages() -> tuple[Salvage, ...]:
        if answers:
            raise answers.pop()
        return tuple(world.saved)

    monkeypatch.setattr(world, "salvages", salvages)
    tick = a_loop(world).tick()

    assert tick.outcomes and not answers and tick.saved == ()


# --- what goes wrong -----------------------------------------------------------------------------------------


def test_a_lost_race_is_run_again_with_growing_pauses_and_is_no_error(world: World) -> None:
    calls = refuse(world, "start", ChangedError("somebody was faster"))
    stop = Clockwork(world)
    tick = a_loop(world).until_quiet(stop)
    assert tick.errors == ()
    assert len(calls) < 10
    assert stop.waits == sorted(stop.waits) and stop.waits[0] > 0 and stop.waits[-1] == 1.0


def test_a_race_that_is_always_lost_is_none_and_rests(world: World) -> None:
    calls = refuse(world, "start", ChangedError("somebody was faster"))
    stop = Clockwork(world)
    wake = Clockwork(world, lambda: stop.set() if world.now > worlds.NOW + timedelta(hours=1) else None)
    a_loop(world).forever(wake, stop, interval_s=30)
    assert len(calls) < 30


def test_an_agent_that_cannot_be_ended_is_asked_for_hours_once_a_second(world: World) -> None:
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    world.stop = lambda run, why: None
    world.edit("x-1", labels=frozenset({"reconcile:stopped"}))
    stop = Clockwork(world)
    loop.until_quiet(stop, most=1200)
    assert len(stop.waits) == 1199 and max(stop.waits) == 1.0


def test_an_agent_that_takes_its_time_to_end_is_not_asked_in_a_hot_loop(world: World) -> None:
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    asked: list[RunId] = []

    def slow(run: RunId, why: StopWhy) -> None:
        asked.append(run)
        if world.now > worlds.NOW + timedelta(seconds=10):
            World.stop(world, run, why)

    world.stop = slow
    world.edit("x-1", labels=frozenset({"reconcile:stopped"}))
    stop = Clockwork(world)
    assert loop.until_quiet(stop).plan.epics[0].waiting[X].reason is Reason.STOPPED
    assert len(asked) < 20
    assert not world.alive()


def test_a_failed_action_rests_and_rests_longer_each_time(world: World) -> None:
    calls = refuse(world, "start", TemporaryError("the disk is full", delay=5))
    loop = a_loop(world)
    rests = []
    for _ in range(10):
        loop.until_quiet(Clockwork(world))
        tick = loop.look()
        waiting = tick.plan.epics[0].waiting[X]
        assert waiting.reason is Reason.BACKOFF and "the disk is full" in waiting.message
        rests.append(rest_s(tick, world))
        world.now = tick.plan.wake_at
    assert rests == [5, 10, 20, 40, 80, 160, *[FAILURE_MOST_S] * 4]
    assert len(calls) == 10


def test_what_fails_again_and_again_is_said_to_fail_since_its_first_time_until_it_went_well(world: World) -> None:
    start = world.start
    refuse(world, "start", TemporaryError("the disk is full", delay=5, hint="make room"))
    loop, began = a_loop(world), world.now
    for tries in (1, 2, 3):
        loop.until_quiet(Clockwork(world))
        tick = loop.look()
        failure = tick.plan.epics[0].failing[X]
        assert (failure.since, failure.tries, failure.until) == (began, tries, tick.plan.wake_at)
        assert failure.message == "the disk is full; make room"
        world.now = tick.plan.wake_at
    world.start = start
    loop.until_quiet(Clockwork(world))
    assert loop.look().plan.epics[0].failing == {}


@pytest.mark.parametrize("error", [TemporaryError, RefusedError])
def test_what_somebody_is_against_is_a_condition_at_its_first_failure_and_what_may_be_chance_at_its_second(
    world: World, error: type[TemporaryError]
) -> None:
    refuse(world, "start", error("frozen: ask Ann", delay=5))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    first = lasting((tick := loop.look()).plan.epics[0])
    world.now = tick.plan.wake_at
    loop.until_quiet(Clockwork(world))
    second = lasting(loop.look().plan.epics[0])

    assert second and "frozen: ask Ann" in second.message
    assert (first == second) is (error is RefusedError)
    assert first is None or error is RefusedError


def test_a_run_that_deletes_all_that_is_known_of_it_is_not_started_for_ever(world: World) -> None:
    start, started = world.start, []

    def gone(spec: RunSpec) -> None:
        start(spec)
        started.append(spec.id)
        del world.processes[spec.id]

    world.start = gone
    loop = a_loop(world)
    for _ in range(8):
        loop.until_quiet(Clockwork(world))
        world.now = loop.look().plan.wake_at or world.now

    failure = loop.look().plan.epics[0].failing[X]
    assert (
        failure.permanent and "nothing was left of it" in failure.message and "reconcile retry x-1" in failure.message
    )
    assert len(started) <= 10 and len(set(started)) == 1


def test_of_two_actions_that_fail_for_a_task_neither_hides_the_other(world: World) -> None:
    refuse(world, "start", TemporaryError("the disk is full", delay=5))
    loop, began = a_loop(world), world.now
    starts = loop.until_quiet(Clockwork(world)).plan.epics[0].failing[X]
    labels = SetPhase(
        manifest="all", task=X, reason=Reason.SEEN, message="", subject=X, add=frozenset(), remove=frozenset()
    )

    world.later(seconds=2)
    for _ in range(2):
        loop._setbacks.remember([Outcome(action=labels, error=TemporaryError("no bd", delay=60))], loop.clock)
    seen = loop.look().plan.epics[0]

    (other,) = seen.failing[X].others
    assert (seen.failing[X].action, seen.failing[X].since) == (starts.action, began)
    assert (other.action, other.tries, other.housekeeping) == ("SetPhase", 2, True)
    assert seen.waiting[X].message == "StartAgent failed: the disk is full"
    loop._setbacks.remember([Outcome(action=labels)], loop.clock)
    assert loop.look().plan.epics[0].failing[X].others == ()


def test_a_retry_ends_the_rest_of_what_failed_before_it(world: World) -> None:
    start = world.start
    refuse(world, "start", PermanentError("a branch called agent is in the way"))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    world.start = start
    world.later(seconds=5)
    assert loop.until_quiet(Clockwork(world)).plan.epics[0].waiting[X].reason is Reason.BACKOFF
    world.mark_since(X, None, world.now)
    assert loop.until_quiet(Clockwork(world)).plan.epics[0].waiting[X].reason is Reason.AGENT_RUNNING
    assert loop.look().plan.epics[0].failing == {}


def test_who_acts_next_goes_on_counting_what_failed_before(world: World) -> None:
    refuse(world, "start", TemporaryError("the disk is full", delay=5))
    loop, began = a_loop(world), world.now
    loop.until_quiet(Clockwork(world))
    met = Met(failures={X: replace(loop.look().observed.failures[X], left=True)})
    world.later(seconds=60)
    following = a_loop(world)
    following.met = lambda: met
    following.until_quiet(Clockwork(world))
    failure = following.look().plan.epics[0].failing[X]
    assert (failure.since, failure.tries, failure.left) == (began, 2, False)


def test_what_failed_and_is_wanted_no_more_fails_no_longer(world: World) -> None:
    refuse(world, "start", TemporaryError("the disk is full", delay=5))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    world.edit("x-1", status="closed")
    world.later(seconds=6)
    loop.until_quiet(Clockwork(world))
    tick = loop.look()
    assert tick.plan.epics[0].failing == {} and not tick.observed.failures


def test_who_looks_on_sees_what_goes_wrong_for_who_acts_and_who_acts_tries_by_itself(world: World) -> None:
    refuse(world, "start", TemporaryError("the disk is full", delay=5))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    met = Met(failures=loop.look().observed.failures)
    assert met.failures[X].message == "the disk is full"

    beside = a_loop(world)
    beside.met = lambda: met
    assert beside.look().plan.epics[0].waiting[X].reason is Reason.BACKOFF
    beside.met = lambda: Met(failures={X: replace(met.failures[X], left=True, until=world.now)})
    seen = beside.look().plan.epics[0]
    assert [type(action).__name__ for action in seen.actions] == ["StartAgent"] and X in seen.failing
    beside.met = lambda: Met(invalid={"all": "its file is gone"})
    assert beside.look().plan.epics[0].waiting[X].reason is Reason.MANIFEST_INVALID


def test_a_success_ends_the_growth(world: World) -> None:
    start = world.start
    refuse(world, "start", TemporaryError("not now", delay=5))
    loop = a_loop(world)
    for _ in range(3):
        loop.until_quiet(Clockwork(world))
        world.now = loop.look().plan.wake_at
    world.start = start
    loop.until_quiet(Clockwork(world))
    assert len(world.alive()) == 1
    world.lose(RunId(RunKind.WORK, "x-1", 1))
    world.later(hours=1)
    refuse(world, "start", TemporaryError("not now", delay=5))
    loop.until_quiet(Clockwork(world))
    assert rest_s(loop.look(), world) == 5


def test_what_can_never_work_rests_for_long(world: World) -> None:
    refuse(world, "start", PermanentError("no such thing"))
    loop = a_loop(world)
    tick = loop.until_quiet(Clockwork(world))
    assert rest_s(tick, world) == PERMANENT_S
    assert [str(error) for error in loop.tick().errors] == []


def test_what_was_refused_for_good_is_tried_again_after_a_retry(world: World) -> None:
    loop = a_loop(world, worlds.an_epic(merge={"checks": ()}))
    world.checked = False
    loop.until_quiet(Clockwork(world))
    world.commit("x-1", "p")
    world.finish(RunId(RunKind.WORK, "x-1", 1))
    land = world.land
    refuse(world, "land", PermanentError("a branch with merges can't be rebased"))
    loop.until_quiet(Clockwork(world))
    assert world.beads[X].status == "blocked" and "needs-human" in world.beads[X].labels
    world.land = land
    world.later(seconds=5)
    world.edit("x-1", status="open")
    loop.until_quiet(Clockwork(world))
    assert world.beads[X].closed and len(world.landed) == 1


def test_what_went_wrong_for_want_of_a_login_is_tried_once_there_is_one(world: World) -> None:
    trouble: dict[str, str] = {}
    loop = a_loop(world, forges=lambda desired: trouble)
    calls = refuse(world, "create", PermanentError("not logged in"))
    loop.tick()
    trouble["all"] = "gh is not logged in"
    world.later(seconds=1)
    assert loop.tick().plan.epics[0].held
    trouble.clear()
    world.later(seconds=1)
    loop.tick()
    assert len(calls) == 2
    world.later(seconds=1)
    loop.tick()
    assert len(calls) == 2  # it failed again, and rests as before


def test_one_tasks_trouble_does_not_hold_up_another(world: World) -> None:
    world.add("x-2")
    start = world.start

    def fussy(spec: object) -> None:
        if spec.task == X:
            raise TemporaryError("not this one", delay=60)
        start(spec)

    world.start = fussy
    a_loop(world).until_quiet(Clockwork(world))
    assert [run.task for run in world.alive()] == ["x-2"]


def test_a_manifests_own_failure_is_shown_and_waited_for(world: World) -> None:
    epic = worlds.an_epic(epic=TaskId("x-9"))
    world.add("x-9", type="epic")
    world.edit("x-1", status="closed", parents=(TaskId("x-9"),))
    refuse(world, "change", TemporaryError("the store is locked", delay=5))
    tick = a_loop(world, epic).until_quiet(Clockwork(world))
    (plan,) = tick.plan.epics
    assert [wait.reason for wait in plan.resting] == [Reason.BACKOFF]
    assert rest_s(tick, world) == 5
    assert tick.plan.moves and not tick.plan.converged


def test_a_clock_that_is_set_back_lets_nothing_rest_for_ever(world: World) -> None:
    refuse(world, "start", TemporaryError("not now", delay=5))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    world.later(days=-1)
    assert loop.look().plan.actions != ()


def test_an_answer_that_got_lost_is_looked_for_not_repeated(world: World) -> None:
    world.fault = Fault(at=5, how="unanswered")  # the start of the run
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    world.later(seconds=5)
    loop.until_quiet(Clockwork(world))
    assert world.effects.count("start") == 1 and len(world.alive()) == 1


def test_a_loop_that_starts_anew_remembers_nothing_and_needs_nothing(world: World) -> None:
    a_loop(world).until_quiet(Clockwork(world))
    effects = list(world.effects)
    assert a_loop(world).until_quiet(Clockwork(world)).plan.actions == ()
    assert world.effects == effects


# --- for ever ------------------------------------------------------------------------------------------------


def test_it_wakes_when_it_is_woken(world: World) -> None:
    stop = Clockwork(world)
    rounds: list[int] = []

    def somebody_finishes() -> None:
        rounds.append(len(world.alive()))
        if len(rounds) == 1:
            world.commit("x-1", "p")
            world.finish(RunId(RunKind.WORK, "x-1", 1))
            wake.set()
        else:
            stop.set()

    wake = Clockwork(world, somebody_finishes)
    a_loop(world).forever(wake, stop, interval_s=30)
    assert [pull.task for pull in world.pulls.values()] == [X]


def test_after_something_was_done_it_looks_again_soon_then_later_and_later(world: World) -> None:
    stop = Clockwork(world)
    wake = Clockwork(world, lambda: stop.set() if len(wake.waits) == 8 else None)

    a_loop(world).forever(wake, stop, interval_s=30)

    assert wake.waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_where_nothing_was_done_it_looks_no_sooner_than_it_has_to(world: World) -> None:
    a_loop(world).until_quiet(Clockwork(world))
    stop = Clockwork(world)
    wake = Clockwork(world, lambda: stop.set() if len(wake.waits) == 2 else None)

    a_loop(world).forever(wake, stop, interval_s=30)

    assert wake.waits == [30, 30]


def planned_at(world: World, monkeypatch: pytest.MonkeyPatch, cost_s: float, loop: Loop) -> list[int]:
    """After how many seconds a quiet loop plans again within ten minutes, where a plan takes so long."""
    begun, spent, found = world.now, 0.0, list[int]()

    def planned(*args: object) -> Plan:
        nonlocal spent
        spent += cost_s
        found.append(round((world.now - begun).total_seconds()))
        return plan(*args)

    monkeypatch.setattr(loop_module, "plan", planned)
    monkeypatch.setattr(loop_module.time, "thread_time", lambda: spent)
    for _ in range(120):
        loop.tick()
        world.later(seconds=5)
    return found


@pytest.mark.parametrize(("cost_s", "often"), [(0.001, 20), (0.03, 20), (0.1, 6), (5.0, 2)])
def test_a_plan_that_takes_long_is_doubted_less_often_but_never_let_stand_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, cost_s: float, often: int
) -> None:
    found = planned_at(world, monkeypatch, cost_s, a_loop(world, worlds.an_epic(max_agents=0)))

    assert len(found) == often and found[:2] == [0, min(max(30, round(1000 * cost_s)), 300)]


def test_a_plan_that_takes_long_is_made_again_at_its_next_timer_and_at_every_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.edit("x-1", defer_until=worlds.NOW + timedelta(seconds=42))
    loop = a_loop(world, worlds.an_epic(max_agents=0))
    found = planned_at(world, monkeypatch, 5.0, loop)
    assert found[:2] == [0, 45]

    world.edit("x-1", title="Another")
    before = len(found)
    loop.tick()
    assert len(found) == before + 1


def test_it_sleeps_no_longer_than_the_next_timer(world: World) -> None:
    world.edit("x-1", defer_until=worlds.NOW + timedelta(seconds=7))
    stop = Clockwork(world)
    wake = Clockwork(world, lambda: stop.set() if world.alive() else None)
    a_loop(world).forever(wake, stop, interval_s=30, enough=lambda tick: bool(world.alive()))
    assert wake.waits == [7]


def test_it_sleeps_no_longer_than_the_resync(world: World) -> None:
    world.edit("x-1", defer_until=worlds.NOW + timedelta(hours=7))
    stop = Clockwork(world)
    wake = Clockwork(world, stop.set)
    a_loop(world).forever(wake, stop, interval_s=30)
    assert wake.waits == [30]


def test_a_silent_source_is_asked_again_soon_and_then_less_often(world: World) -> None:
    world.down = {"tracker"}
    waits = Clockwork(world)
    looks = iter(range(8))
    a_loop(world).forever(waits, threading.Event(), enough=lambda tick: next(looks) == 7)
    assert waits.waits == [1, 2, 4, 8, 16, 30, 30]


def test_two_actions_of_one_manifest_that_go_wrong_both_rest(world: World) -> None:
    world.add("x-9", type="epic")
    world.edit("x-1", status="closed", parents=(TaskId("x-9"),))
    world.base = lambda *args, **kwargs: Base(name="main", head=world.main, remote="origin", unpushed=True)
    epic = worlds.an_epic(epic=TaskId("x-9"), merge={"push": True})
    refuse(world, "change", TemporaryError("the store is locked", delay=5))
    refuse(world, "push_base", TemporaryError("no network", delay=5))
    loop = a_loop(world, epic)
    loop.until_quiet(Clockwork(world))
    decided = loop.look().plan
    assert sorted(wait.message.split()[0] for wait in decided.epics[0].resting) == ["CloseEpic", "PushBase"]
    assert decided.actions == ()


# --- a closer look, where something would be done -----------------------------------------------------------


def offered(world: World, count: int, first: int = 1) -> None:
    """So many tasks, each with a pull request that may land."""
    for n in range(first, first + count):
        offer(world, n)


def offer(world: World, n: int) -> None:
    """One more of them."""
    task = TaskId(f"x-{n}")
    if task not in world.beads:
        world.add(task)
    world.create(task, worlds.an_epic(), world.main)
    world.edit(task, status="in_progress", assignee=worlds.US)
    world.start(RunSpec(id=RunId(RunKind.WORK, task, 1), task=task, manifest="all", steps=(("agent",),), cwd=""))
    world.commit(task, f"p-{n}")
    world.finish(RunId(RunKind.WORK, task, 1))
    world.open(task, world.heads[task], "", "")


def test_only_what_is_next_in_line_is_merged_anew_after_each_landing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[str] = []
    judge = World._judge
    monkeypatch.setattr(World, "_judge", lambda self, base, head: (merged.append(head), judge(self, base, head))[1])
    world.checked = False
    offered(world, 20)
    a_loop(world, worlds.an_epic(merge={"checks": ()})).until_quiet(Clockwork(world))
    assert len(world.landed) == 20
    assert len(merged) <= 2 * 20, "each once when it was offered, and once when its turn came"


def test_after_a_persons_commit_everything_is_merged_anew(world: World) -> None:
    offered(world, 3)
    loop = a_loop(world, worlds.an_epic(merge={"mode": MergeMode.MANUAL}))
    loop.look()
    world.main = world._new_commit({"p-1"}, (world.main,))  # what x-1 does, without its branch
    tick = loop.look()
    assert {candidate.base for candidate in tick.observed.candidates.values()} == {world.main}
    assert "CloseTask x-1" in [f"{type(action).__name__} {action.task}" for action in tick.plan.actions]


def test_nothing_lands_over_edits_that_were_not_looked_for_at_first(world: World) -> None:
    world.checked = False
    offered(world, 1)
    world.in_the_way = frozenset({"p-1"})
    loop = a_loop(world, worlds.an_epic(merge={"checks": ()}))
    tick = loop.until_quiet(Clockwork(world))
    assert tick.plan.epics[0].waiting[X].reason is Reason.CHECKOUT_IN_THE_WAY
    world.in_the_way = frozenset()
    loop.until_quiet(Clockwork(world))
    assert len(world.landed) == 1, "seen at the next look, though nothing else had changed"


@pytest.mark.parametrize(
    ("merge", "reason"),
    [
        ({"mode": MergeMode.MANUAL}, "AwaitingMerge"),
        ({"review": ReviewByRisk.always(Review.HUMAN)}, "AwaitingApproval"),
    ],
)
def test_a_conflict_with_what_landed_is_told_before_a_person_is_asked(
    world: World, merge: dict[str, object], reason: str
) -> None:
    world.checked = False
    world.rivals = {frozenset({"p-1", "p-2"})}
    offered(world, 2)
    loop = a_loop(world, worlds.an_epic(merge={"checks": (), **merge}))
    assert loop.look().plan.epics[0].waiting["x-2"].reason == reason
    pull = world.pull_requests()[X]
    expected = world._judge(world.main, pull.head)
    world.land(
        LandOrder(
            task=X, number=pull.number, title="", body="", expected=expected, base="main", method=MergeMethod.SQUASH
        )
    )
    decided = loop.look().plan
    assert ("RestartAgent", "x-2", "Conflict") in [(type(a).__name__, a.task, a.reason) for a in decided.actions]


def test_what_the_base_holds_already_by_another_task_does_not_land_again(world: World) -> None:
    world.checked = False
    offered(world, 2)
    world.commits[world.heads[TaskId("x-2")]] = world.commits[world.heads[X]]  # both did the same
    a_loop(world, worlds.an_epic(merge={"checks": ()})).until_quiet(Clockwork(world))
    assert [landing.task for landing in world.landed] == ["x-1"]
    assert world.beads[TaskId("x-2")].closed


def test_a_closer_look_that_fails_for_a_moment_is_taken_again_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.checked = False
    offered(world, 2)
    loop = a_loop(world, worlds.an_epic(merge={"checks": ()}))
    loop.tick()
    judge, failures = World.candidate, iter([True, True])

    def fussy(self: World, base: str, head: str, *, exact: bool = True) -> object:
        if exact and next(failures, False):
            raise TemporaryError("not now")
        return judge(self, base, head, exact=exact)

    monkeypatch.setattr(World, "candidate", fussy)
    waits = Clockwork(world)
    loop.forever(waits, threading.Event(), enough=lambda tick: len(world.landed) == 2)
    assert sum(waits.waits) < 10


def test_a_base_that_can_no_longer_be_seen_when_looked_at_closer_lands_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.checked = False
    offered(world, 1)
    base = World.base

    def fussy(self: World, name: str, *, push: bool = False, look: bool = True) -> Base:
        if look:
            raise TemporaryError("no answer")
        return base(self, name, push=push, look=look)

    monkeypatch.setattr(World, "base", fussy)
    a_loop(world, worlds.an_epic(merge={"checks": ()})).until_quiet(Clockwork(world))
    assert world.landed == []


def test_a_deferral_that_has_run_out_is_nothing_to_wake_up_for(world: World) -> None:
    world.edit("x-1", status="deferred", defer_until=worlds.NOW - timedelta(seconds=7))
    stop = Clockwork(world)
    wake = Clockwork(world, stop.set)
    tick = a_loop(world).forever(wake, stop, interval_s=30)
    assert wake.waits == [30] and not tick.plan.moves


def test_it_ends_when_it_is_enough(world: World) -> None:
    tick = a_loop(world).forever(Clockwork(world), Clockwork(world), enough=lambda tick: True)
    assert tick.plan.actions == ()


@pytest.mark.parametrize("error", [TemporaryError("unreadable"), ZeroDivisionError("a defect")])
def test_one_bad_night_does_not_end_a_watch(world: World, error: Exception) -> None:
    told: list[Exception] = []
    stop = Clockwork(world)
    wake = Clockwork(world, lambda: stop.set() if world.alive() else None)
    loop = a_loop(world, troubled=told.append)
    load = loop.load
    loop.load = lambda: load() if told else _raise(error)
    loop.forever(wake, stop, interval_s=30)
    assert told == [error] and wake.waits[0] == 30
    assert len(world.alive()) == 1


def _raise(error: Exception) -> Desired:
    raise error


def test_a_stop_leaves_the_agents_running(world: World) -> None:
    stop = Clockwork(world)
    a_loop(world).forever(Clockwork(world, stop.set), stop)
    run: Run = world.processes[RunId(RunKind.WORK, "x-1", 1)]
    assert run.state is RunState.RUNNING


def test_real_events_wake_and_stop_it(world: World) -> None:
    wake, stop = threading.Event(), threading.Event()
    ticks: list[Tick] = []
    loop = a_loop(world, seen=ticks.append)
    thread = threading.Thread(target=loop.forever, args=(wake, stop), kwargs={"interval_s": 60})
    thread.start()

    def saw(reason: Reason) -> bool:
        return any(X in e.waiting and e.waiting[X].reason is reason for tick in ticks for e in tick.plan.epics)

    while not saw(Reason.AGENT_RUNNING):
        thread.join(0.01)
    world.lose(RunId(RunKind.WORK, "x-1", 1))
    wake.set()
    while not saw(Reason.BACKOFF):
        thread.join(0.01)
    stop.set()
    wake.set()
    thread.join(5)
    assert not thread.is_alive()


# --- several manifests ---------------------------------------------------------------------------------------


def test_manifests_that_share_a_store_share_the_bound_and_neither_starves(world: World) -> None:
    epics = tuple(worlds.an_epic(name=name, epic=TaskId(f"{name}-0"), merge={"checks": ()}) for name in ("a", "b"))
    world.beads.clear()
    world.checked = False
    for name in ("a", "b"):
        world.add(f"{name}-0", type="epic")
        for n in range(1, 5):
            world.add(f"{name}-{n}", parents=(TaskId(f"{name}-0"),))
    desired = Desired(epics=epics, max_agents=1)
    loop = Loop(load=lambda: desired, ports=world.ports(), clock=lambda: world.now, workers=1)
    turns: list[str] = []
    for _ in range(20):
        loop.until_quiet(Clockwork(world))
        assert len(world.alive()) <= 1
        for run in world.alive():
            turns.append(run.manifest)
            world.later(seconds=1)
            world.commit(run.task, f"p-{run.task}")
            world.finish(run.id)
    assert turns == ["a", "b"] * 4
    assert all(task.closed for task in world.beads.values())


def test_a_store_that_answers_slowly_is_asked_less_often(world: World) -> None:
    def pauses(seconds: float) -> list[float]:
        seen = type(world).tasks

        def slow() -> dict[TaskId, object]:
            world.later(seconds=seconds)
            return seen(world)

        world.tasks = slow  # type: ignore[method-assign]
        wake = Clockwork(world, lambda: stop.set() if len(wake.waits) == 6 else None)
        stop = Clockwork(world)
        a_loop(world).forever(wake, stop, interval_s=30)
        return wake.waits

    assert pauses(2)[:4] == [20, 20, 20, 20]  # an agent was started: else it would look after 1, 2, 4 and 8
    assert pauses(60)[0] == 30


def test_what_failed_is_known_to_who_looks_on_before_anything_else_is_tried(world: World) -> None:
    told: list[set[TaskId]] = []
    known: list[set[TaskId]] = []
    refuse(world, "create", PermanentError("a branch is in the way"))
    loop = a_loop(world, begins=lambda tick: told.append(set(tick.plan.epics[0].failing)))
    loop.until_quiet(threading.Event())
    world.add("x-2")
    world.create = lambda *args: known.append(told[-1])  # type: ignore[method-assign]
    loop.tick()

    assert known == [{X}]


def test_what_failed_of_a_task_that_somebody_closes_is_reported_no_more_and_that_of_others_is(world: World) -> None:
    world.add("x-2")
    refuse(world, "create", PermanentError("a branch is in the way"))
    loop = a_loop(world)
    loop.until_quiet(threading.Event())
    assert set(loop.look().plan.epics[0].failing) == {X, "x-2"}

    world.edit("x-1", status="closed")
    loop.until_quiet(threading.Event())

    assert set(loop.until_quiet(threading.Event()).plan.epics[0].failing) == {"x-2"}


# --- room on the machine -------------------------------------------------------------------------------------


def test_what_is_free_changes_at_every_look_and_makes_no_new_plan_of_a_quiet_one(world: World) -> None:
    world.edit("x-1", status="closed")
    loop = a_loop(world)
    world.free = Room(memory=5)
    before = loop.until_quiet(threading.Event()).plan
    world.free = Room(memory=4)

    assert loop.tick().plan is before


def test_who_waits_for_room_starts_as_soon_as_there_is_some(world: World) -> None:
    loop = a_loop(world, worlds.an_epic(agent={"memory": 100}))
    world.free = Room(memory=99)
    full = loop.until_quiet(threading.Event()).plan
    world.free = Room(memory=100)
    loop.until_quiet(threading.Event())

    assert full.epics[0].waiting[X].reason is Reason.MACHINE_FULL
    assert len(world.alive()) == 1
