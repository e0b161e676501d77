"""What is offered to one base is tested and lands together: in a whole world, with checks that say no to what it pleases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import worlds
from memory import World
from test_loop import Clockwork, a_loop, offer, offered

from reconciler.model.desired import EpicSpec, MergeMethod, MergeMode
from reconciler.model.errors import BlockedError, PermanentError, TemporaryError
from reconciler.model.names import PrNumber, RunId, RunKind, Sha, TaskId
from reconciler.model.observed import Room, Run, RunState
from reconciler.model.ports import LandOrder
from reconciler.model.pull_records import Verdict
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.planning.actions import StartCheck
from reconciler.planning.planner import plan
from reconciler.planning.queue_places import LineState
from reconciler.render import queue
from reconciler.render.conditions import conditions

Green = Callable[[frozenset[str]], bool]


@pytest.fixture
def world() -> World:
    return World(now=worlds.NOW)


def an_epic(parallel: int | None = 4, **merge: object) -> EpicSpec:
    return worlds.an_epic(max_agents=0, merge={"parallel": parallel, **merge})


class Night:
    """The world, a loop in it, and checks that end one at a time: those of a tree that is `green` pass."""

    def __init__(self, world: World, spec: EpicSpec, green: Green = lambda patches: True) -> None:
        self.world, self.green = world, green
        self.loop = a_loop(world, spec)
        self.started: list[tuple[Sha, ...]] = []
        self.trees = {world._tree(patches): patches for patches in [*world.commits.values()]}

    def quiet(self) -> None:
        """Until nothing is left to do but to wait for a check."""
        tick = self.loop.until_quiet(Clockwork(self.world))
        assert not self.world.broken
        self.waiting = {task: word for epic in tick.plan.epics for task, word in epic.waiting.items()}

    def checks(self) -> list[Run]:
        return self.world.alive(RunKind.CHECK)

    def end(self, run: Run, *, well: bool | None = None) -> None:
        well = self.green(self.inside(run)) if well is None else well
        self.started.append(run.heads)
        self.world.finish(run.id, 0 if well else 1)

    def inside(self, run: Run) -> frozenset[str]:
        """The patches in the tree that a check is about."""
        base = self.world.commits[run.base_tip] if run.base_tip else frozenset()
        return base.union(*(self.world.commits[head] for head in run.heads))

    def through(self) -> None:
        """To the end: each check ends as what it is about says."""
        for _ in range(200):
            self.quiet()
            if not self.checks():
                return
            self.end(self.checks()[0])
            self.world.later(seconds=1)
        raise AssertionError("it never came to its end")

    @property
    def landed(self) -> list[str]:
        return [landing.task for landing in self.world.landed]


def test_twelve_that_are_ready_together_cost_no_more_than_six_checks(world: World) -> None:
    offered(world, 12)
    night = Night(world, an_epic(parallel=4))
    night.through()
    assert sorted(night.landed) == sorted(f"x-{n}" for n in range(1, 13))
    assert len(night.started) <= 6
    assert all(task.closed for task in world.beads.values())


def test_where_it_is_left_to_the_machine_as_many_checks_run_as_it_has_processors_idle(world: World) -> None:
    offered(world, 12)
    spec = an_epic(parallel=None, review=ReviewByRisk.always(Review.HUMAN))  # each is tested by itself
    seen = Night(world, spec).loop.look().observed

    def started(room: Room) -> int:
        found = plan(worlds.wanted(spec), replace(seen, room=room))
        return sum(isinstance(action, StartCheck) for action in found.actions)

    assert [started(Room(processors=4, load=load)) for load in (0, 1, 30)] == [4, 3, 1]
    assert started(Room()) == 1


def test_the_whole_of_a_chain_lands_in_one_move(world: World) -> None:
    offered(world, 3)
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    [check] = night.checks()
    assert len(check.heads) == 3
    night.end(check)
    night.quiet()
    assert night.landed == ["x-1", "x-2", "x-3"]
    assert world.effects.count("land") == 1


def test_of_two_that_are_red_together_the_later_one_goes_back_and_nobody_else(world: World) -> None:
    offered(world, 6)
    night = Night(world, an_epic(parallel=2), lambda patches: not {"p-2", "p-5"} <= patches)
    night.through()
    assert sorted(night.landed) == ["x-1", "x-2", "x-3", "x-4", "x-6"]
    assert "ChecksFailed" in str(night.waiting[TaskId("x-5")]) or "agent" in night.waiting[TaskId("x-5")].message


def test_who_is_red_by_bad_luck_lands_all_the_same(world: World) -> None:
    offered(world, 4)
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    night.end(night.checks()[0], well=False)  # the whole group, for no fault of anybody
    night.through()
    assert sorted(night.landed) == ["x-1", "x-2", "x-3", "x-4"]
    assert not any(run.attempt > 1 for run in world.processes.values())


def test_who_is_red_goes_back_only_after_a_second_red_check_of_its_own(world: World) -> None:
    offered(world, 1)
    night = Night(world, an_epic(), lambda patches: "p-1" not in patches)
    night.through()
    of_its_own = [heads for heads in night.started if heads == (world.heads[TaskId("x-1")],)]
    assert len(of_its_own) == 2
    assert night.landed == []


def test_a_longer_chain_that_passes_clears_who_failed_by_itself(world: World) -> None:
    offered(world, 1)
    night = Night(world, an_epic(parallel=2))
    night.quiet()
    [alone] = night.checks()
    offer(world, 2)
    night.quiet()
    together = next(run for run in night.checks() if run.id != alone.id)
    assert together.heads[0] == alone.heads[0]
    night.end(alone, well=False)
    night.quiet()
    assert night.landed == []
    night.end(together)
    night.quiet()
    assert night.landed == ["x-1", "x-2"]


def test_what_does_not_merge_after_another_waits_for_it_and_is_not_blamed(world: World) -> None:
    offered(world, 3)
    world.rivals = {frozenset({"p-1", "p-2"})}
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    assert "does not merge after x-1" in night.waiting[TaskId("x-2")].message
    assert [len(run.heads) for run in night.checks()] == [2]


def test_what_a_person_has_yet_to_approve_is_in_no_group(world: World) -> None:
    offered(world, 3)
    world.review(PrNumber(1), world.heads[TaskId("x-1")], Verdict.APPROVED)
    world.review(PrNumber(3), world.heads[TaskId("x-3")], Verdict.APPROVED)
    night = Night(world, an_epic(parallel=4, review=ReviewByRisk.always(Review.HUMAN)))
    night.quiet()
    by_size = sorted(len(run.heads) for run in night.checks())
    assert by_size == [1, 2]
    night.through()
    assert night.landed == ["x-1", "x-3"]


def test_a_new_head_amid_a_check_leaves_its_group_and_the_check_is_ended(world: World) -> None:
    offered(world, 3)
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    [before] = night.checks()
    world.commit(TaskId("x-2"), "more")
    night.quiet()
    assert before.id not in {run.id for run in night.checks()}
    night.through()
    assert sorted(night.landed) == ["x-1", "x-2", "x-3"]


def test_who_pushes_to_the_base_amid_a_check_has_everything_tested_on_that(world: World) -> None:
    offered(world, 3)
    night = Night(world, an_epic(parallel=2))
    night.quiet()
    world.push_to_main("of a person")
    night.through()
    assert sorted(night.landed) == ["x-1", "x-2", "x-3"]
    assert "of a person" in world.commits[world.main]


def test_a_label_says_how_urgent_something_is_in_line(world: World) -> None:
    offered(world, 4)
    world.edit("x-2", labels=frozenset({"priority:00", "priority:-1", "priority:x", "priority:9"}))
    world.edit("x-3", labels=frozenset({"priority:3"}))
    world.edit("x-4", labels=frozenset({"priority:0", "priority:4"}))
    night = Night(world, an_epic(parallel=1))
    night.through()
    assert night.landed == ["x-4", "x-1", "x-2", "x-3"]


def test_what_is_labelled_solo_is_tested_and_lands_by_itself(world: World) -> None:
    offered(world, 3)
    world.edit("x-2", labels=frozenset({"solo"}))
    alone = world.heads[TaskId("x-2")]
    night = Night(world, an_epic(parallel=1))
    night.through()
    assert sorted(night.landed) == ["x-1", "x-2", "x-3"]
    assert all(heads == (alone,) for heads in night.started if alone in heads)


def test_a_check_says_what_is_in_it(world: World) -> None:
    offered(world, 3)
    night = Night(world, an_epic(parallel=1))
    starts = [action for action in night.loop.look().plan.actions if isinstance(action, StartCheck)]
    assert [action.message for action in starts] == ["run checks for #3 (merged with main, #1 and #2)"]
    assert replace(starts[0].order, beneath=()).whole == (replace(starts[0].order, beneath=()),)


def test_the_queue_says_who_is_tested_with_whom_until_when_and_who_waits(world: World) -> None:
    offered(world, 3)
    world.rivals = {frozenset({"p-1", "p-2"})}
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    tick = night.loop.look()
    shown = {row["task"]: row for row in queue.document(tick.plan, tick.observed)}
    assert list(shown) == ["x-1", "x-2", "x-3"]
    assert {row["base"] for row in shown.values()} == {"main"}
    assert [row["state"] for row in shown.values()] == ["testing", "held", "testing"]
    assert shown["x-1"]["with"] == ["x-3"] and shown["x-1"]["run"] == shown["x-3"]["run"]
    assert shown["x-1"]["expectedAt"] is None  # none has passed yet
    assert "x-1" in shown["x-2"]["message"]


def test_how_long_a_check_takes_is_told_by_those_that_passed(world: World) -> None:
    offered(world, 2)
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    world.later(seconds=90)
    night.end(night.checks()[0])
    night.quiet()
    offer(world, 3)
    night.quiet()
    tick = night.loop.look()
    [row] = queue.document(tick.plan, tick.observed)
    began, done = (datetime.fromisoformat(row[key]) for key in ("startedAt", "expectedAt"))
    assert (done - began).total_seconds() == 90


def test_a_red_check_is_its_topmosts_own_fault_only_where_what_is_beneath_has_passed(world: World) -> None:
    offered(world, 4)
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    night.end(night.checks()[0], well=False)
    assert reds(night) == {"x-1": 0, "x-2": 0, "x-3": 0, "x-4": 0}
    night.quiet()  # who of the four is it?
    while len(night.landed) < 2:
        assert not any(reds(night).values())
        night.end(night.checks()[0])
        night.quiet()
    assert night.landed == ["x-1", "x-2"]
    night.end(night.checks()[0])
    assert reds(night)["x-4"] == 1
    night.quiet()
    assert night.landed == ["x-1", "x-2", "x-3"]


def reds(night: Night) -> dict[str, int]:
    [epic] = night.loop.look().plan.epics
    return {job.task.id: len(job.offer.reds) for job in epic.jobs}


def test_what_lands_commit_by_commit_is_in_no_group(world: World) -> None:
    offered(world, 3)
    night = Night(world, an_epic(parallel=4, method=MergeMethod.REBASE))
    night.through()
    assert sorted(night.landed) == ["x-1", "x-2", "x-3"]
    assert {len(heads) for heads in night.started} == {1}


def test_what_passed_in_another_environment_proves_nothing(world: World) -> None:
    offered(world, 1)
    lax = replace(an_epic(), agent=replace(an_epic().agent, env={"STRICT": "0"}), name="lax", max_agents=0)
    night = Night(world, replace(lax, merge=replace(lax.merge, mode=MergeMode.MANUAL)))
    night.quiet()
    night.end(night.checks()[0])
    night.quiet()
    strict = replace(lax, name="strict", agent=replace(lax.agent, env={"STRICT": "1"}))
    again = Night(world, strict)
    again.quiet()
    assert again.landed == [] and len(again.checks()) == 1


def test_a_check_that_is_being_swept_up_after_is_looked_at_again_soon(world: World) -> None:
    offered(world, 2)
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    [check] = night.checks()
    world.processes[check.id] = replace(check, state=RunState.ENDING)
    tick = night.loop.look()
    assert tick.plan.wake_at and (tick.plan.wake_at - world.now).total_seconds() < 1


def test_what_waits_for_the_slot_of_a_check_that_is_swept_up_after_waits_no_longer(world: World) -> None:
    offered(world, 3)
    night = Night(world, an_epic(parallel=1))
    night.quiet()
    [check] = night.checks()
    night.end(check, well=False)
    world.processes[check.id] = replace(world.processes[check.id], state=RunState.ENDING)
    night.quiet()
    assert [each.id for each in night.checks()] == [check.id]
    tick = night.loop.look()
    assert tick.plan.wake_at and (tick.plan.wake_at - world.now).total_seconds() < 1
    assert not tick.plan.converged and tick.plan.moves


def test_what_can_not_land_below_others_is_held_against_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(world, 3)
    made = world.candidate_commit

    def refused(order: LandOrder) -> Sha:
        if any(each.task == "x-1" for each in order.whole):
            error = PermanentError("x-1: it can't be rebased")
            error.about = TaskId("x-1")
            raise error
        return made(order)

    monkeypatch.setattr(world, "candidate_commit", refused)
    night = Night(world, an_epic(parallel=1))
    night.through()
    assert night.landed == ["x-2", "x-3"] and not world.beads[TaskId("x-1")].closed


@pytest.mark.parametrize("error", [TemporaryError("the disk is full"), BlockedError("the index is locked")])
def test_where_the_base_can_not_move_just_now_nobody_is_blamed_and_nothing_tested_again(
    world: World, monkeypatch: pytest.MonkeyPatch, error: TemporaryError
) -> None:
    offered(world, 12)
    land, over = world.land, world.now + timedelta(minutes=8)

    def lands(order: LandOrder) -> Sha:
        if world.now < over:
            raise error
        return land(order)

    monkeypatch.setattr(world, "land", lands)
    night = Night(world, an_epic(parallel=4))
    night.through()
    assert not night.landed and {word.reason for word in night.waiting.values()} <= {"Backoff", "CheckoutInTheWay"}
    assert len(night.waiting) == 12 and {str(error) in word.message for word in night.waiting.values()} == {True}
    places = night.loop.look().plan.line
    assert [(each.state, str(error) in each.message) for each in places] == [(LineState.QUEUED, True)] * 12
    while world.now < over:
        world.later(seconds=30)
        night.through()
    world.later(minutes=5)
    night.through()
    assert len(night.landed) == 12
    assert len(night.started) <= 6


def test_on_a_red_base_each_is_tested_once_by_itself_until_one_comes_that_mends_it(world: World) -> None:
    offered(world, 11)
    night = Night(world, an_epic(parallel=2), lambda patches: "p-12" in patches)
    night.through()
    assert not night.landed and {word.reason for word in night.waiting.values()} == {"CheckBroken"}
    assert len(night.started) <= 11 + 7 and len(set(night.started)) == len(night.started)
    offer(world, 12)
    tested = len(night.started)
    night.through()
    assert night.landed[0] == "x-12" and len(night.landed) == 12
    assert len(night.started) - tested <= 6


def test_what_failed_on_a_red_base_has_yet_to_fail_as_often_as_others_on_a_green_one(world: World) -> None:
    offered(world, 1)
    night = Night(world, an_epic(parallel=1), lambda patches: "p-2" in patches)
    night.through()
    assert night.waiting[TaskId("x-1")].reason == "CheckBroken"
    offer(world, 2)
    night.quiet()
    [check] = night.checks()
    night.end(check)
    night.quiet()
    assert night.landed == ["x-2"]
    [check] = night.checks()
    night.end(check, well=False)  # bad luck
    night.through()
    assert night.landed == ["x-2", "x-1"]


def test_where_the_base_can_not_move_for_long_others_are_tried_without_that_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(world, 3)
    land = world.land

    def lands(order: LandOrder) -> Sha:
        if any(each.task == "x-3" for each in order.whole):
            raise BlockedError("no file can be written there")
        return land(order)

    monkeypatch.setattr(world, "land", lands)
    night = Night(world, an_epic(parallel=1))
    for _ in range(40):
        night.through()
        world.later(seconds=30)
    assert night.landed == ["x-1", "x-2"]
    assert night.waiting[TaskId("x-3")].reason == "CheckoutInTheWay"


def test_what_was_repaired_after_a_conflict_lands_next(world: World) -> None:
    offered(world, 3)
    mended = RunId(RunKind.WORK, "x-3", 1)
    world.processes[mended] = replace(world.processes[mended], why="Conflict")
    night = Night(world, an_epic(parallel=1))
    night.through()
    assert night.landed == ["x-3", "x-1", "x-2"]


def test_what_was_repaired_at_another_start_lands_next_too(world: World) -> None:
    offered(world, 3)
    failed, mended = RunId(RunKind.WORK, "x-3", 1), RunId(RunKind.WORK, "x-3", 2)
    world.processes[failed] = replace(world.processes[failed], why="Conflict")
    world.processes[mended] = replace(world.processes[failed], id=mended, why="AgentFailed")
    night = Night(world, an_epic(parallel=1))
    night.through()
    assert night.landed == ["x-3", "x-1", "x-2"]


def test_each_check_that_runs_is_counted_however_many_are_in_it(world: World) -> None:
    offered(world, 24)
    night = Night(world, an_epic(parallel=2))
    night.quiet()
    (epic,) = night.loop.look().plan.epics
    (progressing,) = [each for each in conditions(epic, {}, world.now) if each["type"] == "Progressing"]
    assert "2 checks running" in progressing["message"], progressing


def test_what_lands_leaves_those_behind_it_in_their_check(world: World) -> None:
    offered(world, 24)
    night = Night(world, an_epic(parallel=2))
    night.quiet()
    first, second = sorted(night.checks(), key=lambda run: len(run.heads))
    assert second.heads[: len(first.heads)] == first.heads
    night.end(first)
    night.quiet()
    assert len(night.landed) == len(first.heads) < 24
    assert second.id in {run.id for run in night.checks()}, "what it makes of the new base is the tree that it tests"
    night.end(second)
    night.quiet()
    assert len(night.landed) == len(second.heads)


def test_where_no_check_can_be_started_just_now_the_line_stays_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(world, 12)
    start, over, tries = world.create_check, world.now + timedelta(minutes=8), list[str]()

    def starts(subject: str, *args: Any, **more: Any) -> str:
        tries.append(subject)
        if world.now < over:
            raise TemporaryError("the disk is full")
        return start(subject, *args, **more)

    monkeypatch.setattr(world, "create_check", starts)
    night = Night(world, an_epic(parallel=1))
    night.through()
    assert {(word.reason, "the disk is full" in word.message) for word in night.waiting.values()} == {("Backoff", True)}
    assert len(night.waiting) == 12
    assert {place.state for place in night.loop.look().plan.line} == {LineState.QUEUED}
    while world.now < over:
        world.later(seconds=30)
        night.through()
    world.later(minutes=5)
    night.through()
    assert night.landed == [f"x-{n}" for n in range(1, 13)]
    assert len(set(tries)) == 1, "what is tested first is what was to be tested first"


def test_what_people_merge_is_tested_again_as_the_base_moves_and_is_seen_in_line(world: World) -> None:
    offered(world, 3)
    night = Night(world, an_epic(parallel=4, mode=MergeMode.MANUAL))
    night.through()
    line = night.loop.look().plan.line
    assert [(place.task, place.state, "reconcile merge" in place.message) for place in line] == [
        (f"x-{n}", LineState.READY, True) for n in (1, 2, 3)
    ]
    tested = len(night.started)
    world.push_to_main("elsewhere")
    night.quiet()
    assert {place.state for place in night.loop.look().plan.line} == {LineState.TESTING}
    night.through()
    assert {place.state for place in night.loop.look().plan.line} == {LineState.READY}
    assert night.landed == [] and len(night.started) == 2 * tested
