"""What people are told, to whom and when: from a plan, the record and the clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import worlds
from worlds import NOW, a_run, a_task, an_epic, seen, wanted

from reconciler.manifest.commands import wrong_command
from reconciler.model.desired import Budget, EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.notify import Notify, Telling
from reconciler.model.report import Report
from reconciler.model.values import replace
from reconciler.planning.notices import Letter, Notice, Told, due, notices, recipient, told_of
from reconciler.planning.planner import plan
from reconciler.render import document

ME = Notify(on=tuple(Telling), run=("notify-send", "{message}"), every_s=0)
TO = recipient(ME)


def found(observed: Any, spec: EpicSpec, recorded: Any = None) -> list[Notice]:
    epic = plan(wanted(spec), observed).epics[0]
    return list(notices(epic, document.conditions(epic, recorded or {}, observed.at), observed.at))


def a_notice(key: str = "k", event: Telling = Telling.NEEDS_HUMAN, **fields: Any) -> Notice:
    return Notice(**{"manifest": "all", "event": event, "key": key, "message": f"about {key}", **fields})


def letters(
    *known: Notice, rule: Notify = ME, told: Told | None = None, at: datetime = NOW, **how: Any
) -> list[Letter]:
    spec = replace(an_epic(), notify=(rule,))
    return due([spec], {"all": known}, told or Told(), at, **how)


def recorded(*lines: dict[str, Any]) -> Told:
    return told_of([{"at": worlds.ago(60).isoformat(), "to": TO, "keys": [], **line} for line in lines])


# --- what there is to tell -----------------------------------------------------------------------------------


def test_a_task_that_was_handed_to_a_person_is_told() -> None:
    handed = a_task(status="blocked", labels=("needs-human",))
    (notice,) = found(seen(handed, runs={"x-1": (a_run(n=3),)}), an_epic())

    assert (notice.event, notice.task) == (Telling.NEEDS_HUMAN, "x-1")


def test_what_a_person_wanted_so_is_not_told() -> None:
    stopped = a_task(status="blocked", labels=("reconcile:stopped", "needs-human"))
    taken = a_task("x-2", labels=("reconcile:taken",))

    assert found(seen(stopped, taken), an_epic()) == []
    assert found(seen(a_task()), replace(an_epic(), suspend=True)) == []


def test_a_task_that_works_or_waits_for_others_is_not_told() -> None:
    busy = a_task(status="in_progress", assignee=worlds.US)
    blocked = a_task("x-2", blockers=(TaskId("x-1"),))

    assert found(seen(busy, blocked, runs={"x-1": (a_run(state="running"),)}), an_epic()) == []


def test_started_over_and_back_again_it_is_another_occurrence() -> None:
    handed = a_task(status="blocked", labels=("needs-human",))
    first, second = (found(seen(handed, runs={"x-1": (a_run(n=n),)}), an_epic())[0].key for n in (3, 4))

    assert first != second


def test_an_epic_that_is_complete_is_told_again_only_when_another_task_was_closed() -> None:
    def done(**fields: Any) -> str:
        task = a_task(status="closed", **fields)
        (notice,) = found(seen(task), an_epic())
        assert notice.event is Telling.EPIC_COMPLETE
        return notice.key

    assert done(closed_at=worlds.ago(90)) == done(closed_at=worlds.ago(90)) != done(closed_at=worlds.ago(60))


def test_a_budget_that_runs_low_is_told_once_for_each_budget() -> None:
    run = a_run(agent="claude", report=Report(usd=9.0), exit={"code": 0})
    busy = a_task(status="in_progress", assignee=worlds.US)
    keys = [
        notice.key
        for usd in (10.0, 10.5)
        for notice in found(seen(busy, runs={"x-1": (run,)}), an_epic(budget=Budget(usd=usd)))
        if notice.event is Telling.BUDGET_LOW
    ]
    assert len(set(keys)) == 2


def test_a_source_that_is_silent_is_told_only_when_it_stays_so() -> None:
    silent = seen(a_task(), agents_missing={}, forges={}, runs=worlds.Unknown("no answer"))
    young = found(silent, an_epic())
    since = (NOW - timedelta(minutes=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {"conditions": [{"type": "Degraded", "status": "True", "lastTransitionTime": since}]}
    old = found(silent, an_epic(), before)

    assert young == []
    assert [notice.event for notice in old] == [Telling.DEGRADED]


def test_an_agent_that_is_missing_is_told_at_once_and_once_for_all_tasks() -> None:
    lost = seen(a_task(), a_task("x-2"), agents_missing={"all": "no such program"})

    (notice,) = found(lost, an_epic())

    assert notice.event is Telling.DEGRADED and "no such program" in notice.message


# --- when it is told -----------------------------------------------------------------------------------------


def test_each_thing_is_told_once_to_each_recipient_also_over_restarts() -> None:
    other = replace(ME, run=("other",))
    told = recorded({"keys": ["k"]})

    assert [letter.keys for letter in letters(a_notice(), a_notice("l"), told=told)] == [("l",)]
    assert [letter.keys for letter in letters(a_notice(), rule=other, told=told)] == [("k",)]


def test_only_what_was_asked_for_is_told() -> None:
    rule = replace(ME, on=(Telling.EPIC_COMPLETE,))

    assert letters(a_notice(), rule=rule) == []


def test_two_rules_with_one_recipient_are_one_message() -> None:
    rules = tuple(replace(ME, on=(event,)) for event in (Telling.NEEDS_HUMAN, Telling.DEGRADED))
    known = (a_notice("a"), a_notice("b", Telling.DEGRADED))

    (letter,) = due([replace(an_epic(), notify=rules)], {"all": known}, Told(), NOW)

    assert letter.keys == ("a", "b")


@pytest.mark.parametrize(("every_s", "sent"), [(30, 1), (90, 0)])
def test_what_comes_too_soon_after_the_last_message_waits_for_the_next(every_s: float, sent: int) -> None:
    rule, told = replace(ME, every_s=every_s), recorded({"keys": ["old"]})

    assert len(letters(a_notice(), rule=rule, told=told)) == sent
    assert len(letters(a_notice(), rule=rule, told=told, closing=True)) == 1


@pytest.mark.parametrize(
    ("clock", "quiet", "sent"),
    [
        ("21:59", "22:00-07:00", 1),
        ("22:00", "22:00-07:00", 0),
        ("03:00", "22:00-07:00", 0),
        ("07:00", "22:00-07:00", 1),
        ("12:30", "12:00-13:00", 0),
        ("13:00", "12:00-13:00", 1),
    ],
)
def test_in_quiet_hours_nothing_is_sent(clock: str, quiet: str, sent: int) -> None:
    at = datetime.fromisoformat(f"2026-01-01T{clock}:00+05:30")

    assert len(letters(a_notice(), rule=replace(ME, quiet=quiet), at=at, closing=True)) == sent


@pytest.mark.parametrize(("tries", "sent"), [(1, 1), (2, 0)])
def test_who_could_not_be_told_is_tried_ever_less_often_and_never_given_up(tries: int, sent: int) -> None:
    told = recorded({"keys": ["k"], "failed": "no answer", "tries": tries})

    found = letters(a_notice(), told=told)

    assert [letter.tries for letter in found] == [tries] * sent
    assert letters(a_notice(), told=told, at=NOW + timedelta(hours=1))


def test_what_comes_and_goes_is_told_again_after_hours_only() -> None:
    told = recorded({"keys": ["k"]})
    back = a_notice(event=Telling.DEGRADED, since=NOW)
    stays = a_notice(event=Telling.DEGRADED, since=worlds.ago(3600))
    later = NOW + timedelta(hours=7)

    assert letters(back, told=told) == letters(stays, told=told, at=later) == []
    assert letters(back, told=told, at=later)


def test_a_clock_that_was_set_back_silences_nobody() -> None:
    told = told_of([{"at": (NOW + timedelta(days=9)).isoformat(), "to": TO, "keys": ["old"]}])

    assert letters(a_notice(), rule=replace(ME, every_s=600), told=told)


def test_a_damaged_record_costs_what_it_does_not_say() -> None:
    nonsense: list[Any] = [
        {"at": 3},
        {"to": TO},
        {"at": "x", "to": TO, "keys": []},
        {"at": "2026-01-01", "to": 1, "keys": 2},
    ]

    assert told_of(nonsense) == Told()


# --- how it reads --------------------------------------------------------------------------------------------


def test_what_many_tasks_wait_for_alike_is_one_line() -> None:
    many = [a_notice(f"k{n}", message="Stuck: no progress", task=TaskId(f"x-{n}"), title=f"Do {n}") for n in range(5)]

    (letter,) = letters(*many, a_notice("z"))

    assert letter.message == "all: x-0 Do 0, x-1 Do 1, x-2 Do 2 and 2 more: Stuck: no progress\nall: about z"
    assert letter.subject == "reconcile all: NeedsHuman"


def test_a_message_never_begins_like_an_option_and_holds_no_escape() -> None:
    hostile = a_task(
        title="--exec \x1b[2J\n" + 100 * "x",
        status="blocked",
        labels=("needs-human",),
        notes="reconcile: Stuck: \x1b[2J--x",
    )
    (notice,) = found(seen(hostile, runs={"x-1": (a_run(),)}), an_epic())

    (letter,) = letters(notice)

    assert letter.message.startswith("all: x-1 --exec") and "\x1b" not in letter.message
    assert "\n" not in letter.message and len(notice.title) <= 60


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "echo {message}"],
        ["env", "A=1", "bash", "-lc", "wall '{message}'"],
        ["/usr/bin/python3", "-c", "print('{subject}')"],
        ["./tell", "{message}"],
        ["tools/tell"],
        ["{message}"],
        ["${PROGRAM}"],
        ["ssh", "host", "wall", "{message}"],
    ],
)
def test_a_message_is_never_code_and_no_program_is_one_that_agents_write(argv: list[str]) -> None:
    assert "allowed:" in wrong_command(argv)


@pytest.mark.parametrize("argv", [["sh", "-c", 'wall "$1"', "sh", "{message}"], ["mail", "-s", "{subject}", "me"]])
def test_a_message_may_be_an_argument(argv: list[str]) -> None:
    assert wrong_command(argv) == ""
