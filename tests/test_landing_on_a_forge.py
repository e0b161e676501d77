"""What is offered on a forge that merges one at a time: tested ahead, so that no landing has anything tested again."""

from __future__ import annotations

import pytest
import worlds
from merging_world import MergingWorld
from test_landing_line import Green, Night, an_epic
from test_loop import offered

from reconciler.model.desired import MergeMethod
from reconciler.model.names import TaskId
from reconciler.model.observed import CheckResult


@pytest.fixture
def there() -> MergingWorld:
    return MergingWorld(now=worlds.NOW)


def a_night(there: MergingWorld, count: int, green: Green = lambda patches: True, **merge: object) -> Night:
    offered(there, count)
    there.verdicts = dict.fromkeys(there.heads.values(), CheckResult.PASSED)
    return Night(there, an_epic(**merge), green)  # type: ignore[arg-type]


def test_each_of_twelve_that_land_one_at_a_time_is_tested_once(there: MergingWorld) -> None:
    night = a_night(there, 12, parallel=4)

    night.through()

    assert night.landed == [f"x-{n}" for n in range(1, 13)]
    assert len(night.started) == 12


def test_whatever_the_base_stands_at_was_tested_as_such(there: MergingWorld) -> None:
    tested: set[str] = set()
    night = a_night(there, 6, lambda patches: bool(tested.add(there._tree(patches))) or True, parallel=3)

    night.through()

    assert {there._tree(there.commits[landing.commit]) for landing in there.landed} <= tested


def test_the_next_ones_are_tested_on_top_of_what_is_under_test(there: MergingWorld) -> None:
    night = a_night(there, 5, parallel=3)

    night.quiet()

    assert sorted(len(run.heads) for run in night.checks()) == [1, 2, 3]


def test_a_longer_chain_that_passed_lands_nothing_before_the_shorter_ones_have(there: MergingWorld) -> None:
    night = a_night(there, 3, parallel=3)
    night.quiet()

    night.end(max(night.checks(), key=lambda run: len(run.heads)))
    night.quiet()
    assert night.landed == []

    night.through()
    assert night.landed == ["x-1", "x-2", "x-3"] and len(night.started) == 3


def test_who_is_red_on_top_of_what_passed_goes_back_and_the_others_land(there: MergingWorld) -> None:
    night = a_night(there, 6, lambda patches: "p-2" not in patches, parallel=2)

    night.through()

    assert sorted(night.landed) == ["x-1", "x-3", "x-4", "x-5", "x-6"]


def test_who_is_red_by_bad_luck_on_a_forge_lands_all_the_same(there: MergingWorld) -> None:
    night = a_night(there, 4, parallel=2)
    night.quiet()
    night.end(max(night.checks(), key=lambda run: len(run.heads)), well=False)

    night.through()

    assert sorted(night.landed) == ["x-1", "x-2", "x-3", "x-4"]
    assert not any(run.attempt > 1 for run in there.processes.values())


def test_what_somebody_else_merges_has_the_others_tested_on_that(there: MergingWorld) -> None:
    night = a_night(there, 3, parallel=3)
    night.quiet()

    there.main = there._new_commit(there.commits[there.main] | {"of a person"}, (there.main,))
    night.through()

    assert night.landed == ["x-1", "x-2", "x-3"]
    assert not there.broken


def test_what_a_forge_lands_commit_by_commit_is_tested_ahead_too(there: MergingWorld) -> None:
    night = a_night(there, 4, parallel=4, method=MergeMethod.REBASE)

    night.through()

    assert len(night.landed) == len(night.started) == 4


def test_where_the_rules_want_the_base_in_a_head_it_still_is_tested_once_here(there: MergingWorld) -> None:
    there.strict = True
    night = a_night(there, 4, parallel=4)
    for _ in range(40):
        night.quiet()
        there.run_checks()
        for check in night.checks():
            night.end(check)
        there.later(seconds=20)
        if len(night.landed) == 4:
            break

    assert night.landed == ["x-1", "x-2", "x-3", "x-4"]
    assert len(night.started) == 4


def test_a_head_that_is_still_tested_there_keeps_nobody_waiting(there: MergingWorld) -> None:
    night = a_night(there, 3, parallel=3)
    there.verdicts[there.there[TaskId("x-1")]] = CheckResult.PENDING

    night.through()

    assert night.landed == ["x-2", "x-3"]
