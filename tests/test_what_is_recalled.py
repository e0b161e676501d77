"""What an earlier or another reconciler has met is recalled from a file that nobody relies on."""

from __future__ import annotations

from datetime import timedelta

import pytest
import worlds

from reconciler.model.names import TaskId
from reconciler.model.observed import Failure, Observed
from reconciler.model.values import replace
from reconciler.planning.plan import EpicPlan
from reconciler.render import failing

X = TaskId("x-1")
FAILURE = Failure(
    action="StartAgent",
    message="no room",
    since=worlds.NOW - timedelta(minutes=2),
    until=worlds.NOW + timedelta(seconds=30),
    at=worlds.NOW,
    manifest="all",
    tries=3,
    blocked=True,
)


def remembered() -> dict[str, object]:
    return {"failing": failing.remembered(EpicPlan(spec=worlds.an_epic(), failing={X: FAILURE}))}


def test_what_is_remembered_comes_back_as_it_was() -> None:
    assert failing.recalled({"all": remembered()}, left=False) == {X: FAILURE}


def test_of_a_reconciler_that_has_ended_nothing_is_waited_for() -> None:
    (found,) = failing.recalled({"all": remembered()}, left=True).values()

    assert found.left and found.until <= worlds.NOW
    assert Observed(at=worlds.NOW, failures={X: found}).failure(X) is None


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"failing": None},
        {"failing": {"x-1": 1}},
        {"failing": [1, None, {"subject": "x-1"}]},
        {"failing": [{"subject": "x-1", "action": "A", "message": "m", "since": "yesterday", "nextTry": "now"}]},
        {"failing": [{"subject": "x-1", "action": "A", "message": "m", "since": "2026-01-01", "nextTry": None}]},
        {
            "failing": [
                {
                    "subject": "x-1",
                    "action": "A",
                    "message": "m",
                    "lastTry": "2026-01-01T00:00:00Z",
                    "since": "0001-01-01T00:00:00+14:00",
                    "nextTry": "2026-01-01T00:00:00Z",
                }
            ]
        },
    ],
)
def test_what_can_not_be_understood_is_as_if_it_were_not_there(damage: dict[str, object]) -> None:
    assert failing.recalled({"all": damage}, left=False) == failing.recalled({"all": damage}, left=True) == {}


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"left": True}, "reconcile watch"),
        ({"feedback": True, "permanent": True}, "reconcile describe x-1"),
        ({"permanent": True}, "once that is fixed: reconcile retry x-1"),
        ({"denied": True}, "lift it there"),
        ({"blocked": True}, "clear that checkout"),
        ({}, "mend what it names"),
        ({"action": "Land"}, "mend what it names"),
        ({"housekeeping": True}, "mend what it names"),
    ],
)
def test_whatever_fails_has_a_next_step(fields: dict[str, object], step: str) -> None:
    plain = Failure(action="StartAgent", message="no", since=worlds.NOW, until=worlds.NOW, at=worlds.NOW)

    assert step in failing.next_step("x-1", replace(plain, **fields))
    assert failing.next_step("manifest:all", replace(plain, manifest="all", **fields)).endswith("reconcile status all")


def test_what_fails_beside_it_is_recalled_too() -> None:
    beside = replace(FAILURE, action="SetPhase", housekeeping=True, refused=None)
    both = Failure.joined([beside, FAILURE])
    assert both and both.action == FAILURE.action and both.others == (beside,)
    status = {"failing": failing.remembered(EpicPlan(spec=worlds.an_epic(), failing={X: both}))}

    assert failing.recalled({"all": status}, left=False) == {X: both}
    assert failing.words(failing.shown(both), FAILURE.at).endswith(f"; SetPhase too: {FAILURE.message}")
