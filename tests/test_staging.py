"""What a forge tests on staging branches: chains of changes, in a whole world, with its verdicts about each commit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import worlds
from memory import Fault, Killed, World
from merging_world import MergingWorld
from test_loop import Clockwork, a_loop, offered

from reconciler.loop.loop import Tick
from reconciler.model.desired import EpicSpec, MergeMethod
from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.observed import CheckResult, Rules, Run, StagedCheck
from reconciler.model.pull_records import Verdict
from reconciler.model.reasons import Reason
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.planning.actions import StageChecks
from reconciler.planning.planner import plan

Green = Callable[[frozenset[str]], bool]
PUSHABLE = Rules(forge="GitHub")


def an_epic(parallel: int | None = 4, **merge: object) -> EpicSpec:
    fields = {"parallel": parallel, "staging": True, "checks": (), "method": MergeMethod.MERGE, **merge}
    return worlds.an_epic(max_agents=0, merge=fields)


class Night:
    """The world, a loop in it, and a forge that tests what is on staging branches: what is `green` passes."""

    def __init__(self, world: World, spec: EpicSpec, green: Green = lambda patches: True) -> None:
        self.world, self.spec, self.green = world, spec, green
        self.loop = a_loop(world, spec)
        self.rounds = 0

    def quiet(self) -> Tick:
        """Until nothing is left to do but to wait for the forge."""
        tick = self.loop.until_quiet(Clockwork(self.world))
        assert not self.world.broken
        self.waiting = {task: word for epic in tick.plan.epics for task, word in epic.waiting.items()}
        return tick

    def open(self) -> list[StagedCheck]:
        """Those on their branches that the forge has said nothing final of."""
        return [each for each in self.world.stagings.values() if each.there and each.run.exit is None]

    def inside(self, run: Run) -> frozenset[str]:
        base = self.world.commits[run.base_tip] if run.base_tip else frozenset()
        return base.union(*(self.world.commits[head] for head in run.heads))

    def test(self) -> None:
        """One round of the forge's: all that is there is tested, side by side."""
        self.rounds += 1
        for each in self.open():
            good = self.green(self.inside(each.run))
            self.world.test_staged(each.run.id, CheckResult.PASSED if good else CheckResult.FAILED)
        self.world.later(seconds=40)

    def through(self) -> None:
        for _ in range(60):
            self.quiet()
            if not self.open():
                return
            self.test()
        raise AssertionError("it never came to its end")

    @property
    def landed(self) -> list[str]:
        return [landing.task for landing in self.world.landed]


@pytest.fixture
def world() -> World:
    return World(now=worlds.NOW, rules=PUSHABLE)


def seen_for_a_while(world: World) -> None:
    """The forge has had the time to show checks of the heads, and there are none."""
    for number, pull in world.pulls.items():
        world.pulls[number] = replace(pull, checks=(), seen_at=world.now)
    world.later(seconds=40)


def a_night(world: World, count: int, green: Green = lambda patches: True, **merge: object) -> Night:
    offered(world, count)
    seen_for_a_while(world)
    return Night(world, an_epic(**merge), green)


def test_six_changes_one_of_them_bad_land_in_fewer_rounds_than_there_are_changes(world: World) -> None:
    night = a_night(world, 6, lambda patches: "p-4" not in patches)

    night.through()

    assert sorted(night.landed) == ["x-1", "x-2", "x-3", "x-5", "x-6"]
    assert night.rounds < 6
    assert night.waiting[TaskId("x-4")].reason is Reason.NO_AGENT_SLOT  # it would go back to its agent


def test_what_is_green_together_lands_in_one_move_after_one_round(world: World) -> None:
    night = a_night(world, 3, parallel=1)
    night.quiet()
    [staged] = night.open()
    assert len(staged.run.heads) == 3

    night.through()

    assert night.landed == ["x-1", "x-2", "x-3"] and night.rounds == 1
    assert world.effects.count("land") == 1


def test_the_commit_that_was_tested_is_the_one_that_is_ordered_to_land(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[Sha | None] = []
    land = World.land
    monkeypatch.setattr(World, "land", lambda self, order: (tested.append(order.tested), land(self, order))[1])
    night = a_night(world, 2, parallel=1)

    night.through()

    assert tested == [f"staged-{run}" for run in world.stagings]


def test_no_more_branches_are_in_use_than_checks_may_run_and_none_is_left(world: World) -> None:
    night = a_night(world, 9, parallel=3, every_commit=True)
    night.quiet()
    assert len(night.open()) == 3

    night.through()

    assert len(night.landed) == 9
    assert {each.branch for each in world.stagings.values()} <= {f"reconcile/staging/{n}" for n in range(1, 7)}
    assert not any(each.there for each in world.stagings.values())


def test_a_forge_that_merges_one_at_a_time_has_tested_every_tip(world: World) -> None:
    there = MergingWorld(now=worlds.NOW)
    offered(there, 4)
    there.verdicts = dict.fromkeys(there.heads.values(), CheckResult.PASSED)
    there.checked = True
    night = Night(there, an_epic(method=MergeMethod.SQUASH))

    night.through()

    assert night.landed == ["x-1", "x-2", "x-3", "x-4"]
    assert {there._tree(there.commits[landing.commit]) for landing in there.landed} <= set(there.pushes)
    assert len(there.pushes) == 4 and night.rounds == 1


def test_what_runs_here_passes_first_and_what_fails_here_is_never_pushed(world: World) -> None:
    night = a_night(world, 2, checks=worlds.CHECKS, parallel=1)
    night.quiet()
    [check] = world.alive(RunKind.CHECK)
    assert not world.pushes
    world.finish(check.id, 1)
    night.quiet()
    assert not world.pushes
    for _ in range(30):
        for check in world.alive(RunKind.CHECK):
            world.finish(check.id)
        night.quiet()
        night.test()
    assert sorted(night.landed) == ["x-1", "x-2"]
    assert {landed.task for landed in world.landed} and len(world.pushes) >= 1


def test_what_passed_here_alone_lands_nothing(world: World) -> None:
    night = a_night(world, 1, checks=worlds.CHECKS)
    night.quiet()
    [check] = world.alive(RunKind.CHECK)
    world.finish(check.id)

    night.quiet()

    assert night.landed == [] and len(night.open()) == 1


def test_what_the_forge_is_silent_about_is_never_green(world: World) -> None:
    night = a_night(world, 1)
    for _ in range(5):
        night.quiet()
        world.later(minutes=5)
    tick = night.quiet()

    assert night.landed == []
    word = night.waiting[TaskId("x-1")]
    assert "no check was there after 10 minutes" in word.message and word.until is None, tick.plan


def test_a_name_that_is_required_and_does_not_come_is_said_and_never_green(world: World) -> None:
    night = a_night(world, 1, required_checks=("build",))
    night.quiet()
    night.test()
    night.quiet()
    assert "not there yet: build" in night.waiting[TaskId("x-1")].message
    world.later(minutes=11)
    night.quiet()
    assert night.landed == [] and "required, and not there after 10 minutes" in night.waiting[TaskId("x-1")].message


def test_what_is_not_over_in_time_is_said_and_waits_for_a_person(world: World) -> None:
    night = a_night(world, 1, timeout_s=3600)
    night.quiet()
    [staged] = night.open()
    world.test_staged(staged.run.id, CheckResult.PENDING)
    night.quiet()
    assert night.waiting[TaskId("x-1")].until
    world.later(minutes=61)
    night.quiet()

    word = night.waiting[TaskId("x-1")]
    assert "1 of 1 not over: ci, after 60 minutes" in word.message and word.until is None
    world.test_staged(staged.run.id)
    world.later(minutes=1)
    night.quiet()
    assert night.landed == ["x-1"]


def test_what_is_required_of_what_is_staged_is_not_asked_of_the_head(world: World) -> None:
    night = a_night(world, 1, required_checks=("ci",))

    night.through()

    assert night.landed == ["x-1"]


def test_who_is_red_by_bad_luck_is_tested_once_more_and_lands(world: World) -> None:
    night = a_night(world, 1)
    night.quiet()
    [first] = night.open()
    world.test_staged(first.run.id, CheckResult.FAILED)
    night.through()

    assert night.landed == ["x-1"]
    assert [each.run.id.n for each in world.stagings.values() if each.run.tree == first.run.tree] == [1, 2]


def test_what_failed_there_is_told_to_the_agent_with_its_address(world: World) -> None:
    night = a_night(world, 1, lambda patches: "p-1" not in patches, retries=0)

    night.through()

    [verdict] = [job.verdict for epic in night.quiet().plan.epics for job in epic.jobs]
    assert (
        verdict and "checks of the forge failed" in verdict.message and "ci (https://ci) - it broke" in verdict.message
    )


def test_a_red_base_is_found_on_a_staging_branch_too_and_blames_nobody(world: World) -> None:
    night = a_night(world, 1, lambda patches: False, retries=0)

    night.through()

    assert night.landed == [] and not any(run.attempt > 1 for run in world.processes.values())
    assert "fails the checks on its own" in night.waiting[TaskId("x-1")].message


def test_nothing_that_only_a_person_may_let_land_is_pushed_before_they_have(world: World) -> None:
    night = a_night(world, 2, review=ReviewByRisk.always(Review.HUMAN))
    night.quiet()
    assert not world.pushes
    world.review(
        *next((number, pull.head) for number, pull in world.pulls.items() if pull.task == "x-2"), Verdict.APPROVED
    )

    night.through()

    assert night.landed == ["x-2"] and len(world.pushes) == 1


@pytest.mark.parametrize("protected", [(), (".github/**",)])
def test_a_change_to_workflows_is_staged_only_once_a_person_has_seen_it(
    world: World, protected: tuple[str, ...]
) -> None:
    offered(world, 2)
    world.commit("x-1", ".github/workflows/ci.yml")
    seen_for_a_while(world)
    night = Night(world, an_epic(protected_paths=protected))

    night.through()
    assert night.landed == ["x-2"] and "protected paths" in night.waiting[TaskId("x-1")].message

    head = world.heads[TaskId("x-1")]
    world.review(next(number for number, pull in world.pulls.items() if pull.task == "x-1"), head, Verdict.APPROVED)
    night.through()
    assert night.landed == ["x-2", "x-1"]


def test_a_head_that_moves_has_its_branch_deleted_and_is_tested_as_it_is_then(world: World) -> None:
    night = a_night(world, 1)
    night.quiet()
    [before] = night.open()

    world.commit("x-1", "more")
    for number, pull in world.pulls.items():
        world.pulls[number] = replace(pull, head=world.heads[TaskId("x-1")])
    night.quiet()

    [after] = night.open()
    assert after.run.tree != before.run.tree and not world.stagings[before.run.id].there
    assert world.stagings[before.run.id].run.exit


def test_what_is_manifests_no_more_is_cleared_away_by_another(world: World) -> None:
    night = a_night(world, 1)
    night.quiet()
    assert night.open()
    other = replace(an_epic(), name="other")

    a_loop(world, other).until_quiet(Clockwork(world))

    gone = [each for each in world.stagings.values() if each.run.manifest == "all"]
    assert gone and not any(each.there for each in gone)


EFFECTS = 20  # that a night like this has at most


def test_a_night_has_no_more_effects_than_it_is_killed_at(world: World) -> None:
    night = a_night(world, 3, parallel=1)
    world.effects.clear()

    night.through()

    assert {"_note_staging", "_push_staging", "_note_end", "_delete_staging", "land"} <= set(world.effects)
    assert len(world.effects) <= EFFECTS


@pytest.mark.parametrize("how", ["before", "after", "unanswered"])
@pytest.mark.parametrize("at", range(1, EFFECTS + 1))
def test_killed_at_any_effect_all_lands_once_tested_and_no_branch_is_left(at: int, how: str) -> None:
    world = World(now=worlds.NOW, rules=PUSHABLE)
    night = a_night(world, 3, parallel=1)
    world.fault = Fault(at, how)
    try:
        night.through()
    except Killed:
        world.dead = False
        night = Night(world, night.spec)
    night.through()
    world.later(minutes=20)  # what went wrong is tried again
    night.through()

    assert sorted(night.landed) == ["x-1", "x-2", "x-3"]
    assert not any(each.there for each in world.stagings.values())
    assert len(world.pushes) == len(set(world.pushes)) or how == "unanswered"


def test_the_same_world_gives_the_same_plan(world: World) -> None:
    night = a_night(world, 3)
    seen = night.loop.look().observed
    wanted = worlds.wanted(night.spec)
    starts = [a for a in plan(wanted, seen).actions if isinstance(a, StageChecks)]
    assert starts and plan(wanted, seen) == plan(wanted, seen)
    assert all(isinstance(start.run, RunId) and start.order.expected.tree for start in starts)
