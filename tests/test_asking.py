"""Since when somebody is needed is remembered for who looks on, as long as it is for the same."""

from __future__ import annotations

from worlds import TaskId, a_task, ago, an_epic, seen, wanted

from reconciler.model.observed import Failure
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting
from reconciler.planning.plan import EpicPlan
from reconciler.planning.planner import plan
from reconciler.render import asking, document
from reconciler.render.words import stamp

MINE = seen(a_task(status="blocked", labels=["needs-human"]), a_task("x-2"))


def _remembered(before: object, minutes: int) -> dict:
    (epic,) = plan(wanted(), MINE).epics
    return asking.remembered(epic, {"asking": before}, ago(-60 * minutes))


def test_since_when_a_person_is_needed_stays_for_as_long_as_it_is_for_the_same():
    first = _remembered(None, 0)
    assert list(first) == ["x-1"] and first["x-1"]["since"] == stamp(ago(0))
    assert _remembered(first, 5) == first
    other = {"x-1": {**first["x-1"], "reason": "Unlanded"}}
    assert _remembered(other, 5)["x-1"]["since"] == stamp(ago(-300))


def test_what_was_remembered_is_believed_only_where_it_makes_sense():
    odd = {"a": 1, "b": {"reason": "X"}, "c": {"reason": "X", "message": "m", "since": "yesterday"}}
    for damaged in (None, [], "x", odd):
        assert asking.recalled({"asking": damaged}) == {}


def test_a_task_says_since_when_it_needs_a_person_and_no_other_does():
    decided = plan(wanted(), MINE)
    recorded = {"all": {"asking": _remembered(None, 0)}}
    (epic,) = document.status(decided, MINE, recorded)["epics"]
    waits = {entry["id"]: entry["waiting"] for entry in epic["tasks"]}
    assert waits["x-1"]["since"] == stamp(ago(0)) and "since" not in (waits["x-2"] or {})
    assert TaskId("x-1") in waits


def test_tasks_that_wait_for_the_same_are_each_asked_about_and_counted():
    word = Waiting(Reason.BUDGET_SPENT, "it is spent")
    later = Waiting(Reason.BACKOFF, "again", until=ago(-60))
    chosen = Waiting(Reason.TAKEN, "somebody has it")
    waiting = {"x-1": word, "x-2": later, "x-3": chosen, "x-4": word, "x-5": later}
    gone_wrong = Failure(action="Land", message="no", since=ago(9), until=ago(-9), at=ago(9), permanent=True)
    failing = {"x-3": gone_wrong, "x-5": gone_wrong}
    epic = EpicPlan(spec=an_epic(), waiting=waiting, failing=failing)

    assert epic.needy == {"x-1": word, "x-4": word, "x-5": later}
    assert epic.wakes == (ago(-60), ago(-60))
    assert epic.saying(lambda word: word.needs_a_person) == ["x-1", "x-3", "x-4"]
