"""The picture of a live view: it fits, what matters most comes first, and nobody else's text can draw in it."""

from __future__ import annotations

import re
import time

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from worlds import (
    NOW,
    US,
    a_branch,
    a_candidate,
    a_check,
    a_pull,
    a_run,
    a_task,
    a_worktree,
    ago,
    an_epic,
    seen,
    wanted,
)

from reconciler.cli.screen import Drawn, _changed, _rows, drawn, rows
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.desired import Budget
from reconciler.model.names import TaskId
from reconciler.model.observed import Unknown
from reconciler.model.report import Fault, Report
from reconciler.model.values import replace
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.render import document, live
from reconciler.render.tails import last_line, live_runs

X = (TaskId("x"),)
HOSTILE = {
    "escape": "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "c1": "\x9b31mred\x85next",
    "bidi": "abc\u202egpj.exe\u2066\u200f",
    "lines": "one\ntwo\r\nthree\rfour\u2028five\x0bsix",
    "invisible": "a\u200bb\ufeffc\u00add\U000e0041",
    "surrogate": "half \ud83d of it",
    "markup": "[bold red]no[/] [/nothing] :smile: [link=http://x]y[/link]",
    "long": "x" * 10_000,
    "wide": "語" * 10_000,
    "combining": "e" + "\u0301" * 10_000,
    "blank": " \t ",
}


def busy(title="Do it", **more):
    """A manifest with a task of every kind."""
    ours = {"status": "in_progress", "assignee": US, "parents": X, "title": title}
    tasks = (
        a_task("x", type="epic"),
        a_task("x-1", title=title, parents=X, status="closed", labels=["phase:merged"]),
        a_task("x-2", title=title, parents=X),
        a_task("x-3", title=title, parents=X, blockers=(TaskId("x-2"),)),
        a_task("x-4", **ours, labels=["phase:spawned"]),
        a_task("x-5", **ours, labels=["phase:pr_created"]),
        a_task("x-6", title=title, parents=X, status="blocked", assignee=US, labels=["needs-human", "phase:spawned"]),
        a_task("x-7", **ours, labels=["phase:working"]),
    )
    alive = a_run("x-7", 2, state="running", started_at=ago(754), last_progress_at=ago(5), pid=4242)
    observed = seen(
        *tasks,
        runs={
            "x-4": (a_run("x-4", exit={"code": 1, "at": ago(4)}),),
            "x-5": (a_run("x-5"),),
            "x-6": tuple(a_run("x-6", n, exit={"code": 1}) for n in (1, 2, 3)),
            "x-7": (a_run("x-7", exit={"code": 1}), alive),
        },
        worktrees={id: a_worktree(id) for id in ("x-4", "x-5", "x-6", "x-7")},
        branches={"x-5": a_branch("x-5")},
        pull_requests={"x-5": a_pull("x-5", 7)},
        candidates={"x-5": a_candidate()},
        checks=(a_check("running", task="x-5"),),
        **more,
    )
    return plan(wanted(an_epic(name="feature", epic=TaskId("x"))), observed), observed


def many(n):
    """A manifest of so many tasks, of which ten are running."""
    tasks = [a_task(f"x-{i}", title=f"Task {i}", parents=X) for i in range(10, n)]
    working = [a_task(f"x-{i}", status="in_progress", assignee=US, parents=X) for i in range(10)]
    runs = {f"x-{i}": (a_run(f"x-{i}", state="running", started_at=ago(60), pid=100 + i),) for i in range(10)}
    observed = seen(
        a_task("x", type="epic"), *working, *tasks, runs=runs, worktrees={task: a_worktree(task) for task in runs}
    )
    return plan(wanted(an_epic(name="big", epic=TaskId("x"), max_agents=10)), observed), observed


def shown(world, width=100, height=None, said=lambda task: "", **fields):
    """The lines of the picture of a world, as text."""
    return [
        each.plain.rstrip()
        for each in live.picture(document.status(*world), live.Size(width=width, height=height, **fields), NOW, said)
    ]


def test_tasks_that_can_not_be_read_are_said_to_be_unknown_and_what_runs_is_shown():
    observed = seen(tasks=Unknown("locked"), runs={TaskId("x-1"): (a_run(state="running"),)})
    world = plan(wanted(), observed), observed

    lines = shown(world, said=lambda task: f"{task} says so")

    assert lines[0] == "all  1 running, tasks unknown"
    assert re.search(r"x-1 .* x-1 says so$", lines[-1]), lines
    assert list(live_runs(*world)) == ["x-1"]


# --- what it says ----------------------------------------------------------------------------------------------


def test_a_picture_says_who_works_for_how_long_what_they_say_and_what_the_others_wait_for():
    assert shown(busy(), 120, 24, {"x-7": "12 tests passed"}.get) == [
        # The time of day is the reader's own.
        f"── as of {NOW.astimezone():%H:%M:%S} " + "─" * 102,
        "feature  ━━━━──────────────────────────  1/7 closed · 1 running · 1 needs attention",
        "  TASK  TITLE                         PHASE       TRY  AGE     PULL REQUEST",
        "● x-7   Do it                         working       2  12m34s                12 tests passed",
        "! x-6   Do it                         spawned       3",
        "    agent failed (exit status 1); see 'reconcile describe x-6'; 'reconcile retry x-6' tries again",
        "◆ x-5   Do it                         pr_created       1m00s   #7 pending    "
        "checks running on the merged tree e3e3e3e3…",
        "… x-4   Do it                         spawned       1                        "
        "agent failed (exit status 1); attempt 2 is…",
        "○ x-2   Do it                                                                next: start agent (attempt 1)",
        "· x-3   Do it                                                                blocked by x-2",
    ]


def test_of_what_runs_and_says_nothing_it_is_said_what_it_does():
    lines = {each[2:5]: each for each in shown(busy(), 130, 24)}

    assert lines["x-5"].endswith("  checks running on the merged tree e3e3e3e3e3e3")
    assert lines["x-7"].endswith("  attempt 2 is running")


@pytest.mark.parametrize("said", ["", "12 tests passed"])
@pytest.mark.parametrize("width", [80, 130])
def test_of_what_runs_elsewhere_it_is_said_first_where_it_is(said: str, width: int):
    alive = a_run("x-1", state="running", started_at=ago(9), where="slurm:n2")
    tasks = a_task("x", type="epic"), a_task("x-1", status="in_progress", assignee=US, parents=X, title="Do it")
    observed = seen(*tasks, runs={"x-1": (alive,)})
    lines = shown((plan(wanted(an_epic(epic=TaskId("x"))), observed), observed), width, 24, lambda task: said)

    (row,) = [each for each in lines if each.startswith("● x-1")]
    assert row.partition("9s")[2].split()[0] == "n2" and row.count("n2") == 1
    assert row.endswith("12 tests passed" if said else "attempt 1 is running"), row


def test_what_needs_a_person_is_said_in_full():
    (at,) = [i for i, each in enumerate(shown(busy(), 60, 24)) if each.startswith("! x-6")]

    assert " ".join(" ".join(shown(busy(), 60, 24)[at + 1 : at + 3]).split()) == (
        "agent failed (exit status 1); see 'reconcile describe x-6'; 'reconcile retry x-6' tries again"
    )


def test_what_is_wrong_with_a_manifest_stands_above_its_tasks():
    decided = plan(wanted(an_epic(name="gone", epic=TaskId("y"))), seen())

    assert shown((decided, seen()), 80, 24)[1:] == [
        "gone  ──────────────────────────────  0/0 closed",
        "  EpicNotFound: no task y is in the tracker: see 'reconcile task list'",
    ]


@pytest.mark.parametrize("height", [None, 24])
def test_a_suspended_manifest_says_so_above_its_tasks_and_what_runs_is_shown_on(height):
    _, observed = busy()
    spec = an_epic(name="feature", epic=TaskId("x"), suspend=True)

    found = shown((plan(wanted(spec), observed), observed), 120, height)
    rows = {each[2:5]: each for each in found}

    assert "  Suspended: nothing is done until 'reconcile resume feature'" in found
    assert rows["x-7"].endswith("12m34s                attempt 2 is running")
    assert rows["x-2"] == "· x-2   Do it", "said once"


def test_what_agents_have_cost_and_a_budget_that_runs_low_stand_above_the_tasks():
    used = a_run(agent="claude", exit={"code": 1}, report=Report(fault=Fault.FAILED, usd=9.0))
    observed = seen(a_task(), runs={TaskId("x-1"): (used,)})
    spec = an_epic(budget=Budget(usd=10), agent={"kind": AgentKind.CLAUDE})

    found = shown((plan(wanted(spec), observed), observed), 80, 24)

    assert found[1].endswith("0/1 closed · $9.00"), found[1]
    assert found[2].startswith("  BudgetLow: $9.00 of $10.00 are spent"), found[2]


def test_what_is_wrong_with_a_manifest_is_said_in_full_where_it_is_printed_once():
    observed = seen(a_task())
    decided = plan(wanted(an_epic(invalid="a word " * 40 + "and what to do")), observed)

    once, live_view = (shown((decided, observed), 60, height) for height in (None, 24))

    assert any(each.endswith("and what to do") for each in once)
    assert live_view[3].endswith("…") and "what to do" not in " ".join(live_view)


def test_how_the_base_stands_is_said_where_it_is_printed_once():
    status = document.status(*busy())
    status["epics"][0]["base"] = {"name": "main", "green": "1" * 40, "commits": [{"sha": "1" * 40, "state": "green"}]}
    once, live_view = (
        [each.plain for each in live.picture(status, live.Size(width=80, height=height), NOW)] for height in (None, 24)
    )

    assert once[-1] == "Base  main is green at its tip 111111111111"
    assert not any("green" in each for each in live_view)


def test_nothing_recorded_is_said():
    assert shown((Plan(), seen()), 80, 24) == ["No manifest is applied; run 'reconcile apply -f FILE'"]


def test_an_age_goes_on_between_two_looks_at_the_world():
    status = document.status(*busy())
    later = live.picture(status, live.Size(width=100, height=24), NOW.replace(second=7), lambda task: "")

    assert any("12m41s" in each.plain for each in later)


def test_only_what_runs_or_is_about_to_keeps_it_busy():
    idle = plan(wanted(an_epic()), seen(a_task("x-1", status="closed")))

    assert live.restless(document.status(*busy()), NOW)
    assert not live.restless(document.status(idle, seen(a_task("x-1", status="closed"))), NOW)


def test_a_picture_that_is_drawn_again_makes_only_moving_lines_anew():
    laid_out = live.Picture(document.status(*busy()), live.Size(width=100, height=24))

    first, second = (laid_out.lines(NOW.replace(second=n), lambda task: "") for n in (1, 2))

    moving = [a.plain[:5] for a, b in zip(first, second, strict=True) if a is not b]
    assert moving == ["● x-7", "◆ x-5", "… x-4"]


def test_what_runs_is_found_agents_and_checks():
    assert {task: str(run).split("/")[0] for task, run in live_runs(*busy()).items()} == {
        "x-5": "check",
        "x-7": "work",
    }


def test_the_last_words_of_a_check_are_said_to_be_its_own():
    rows = {
        task: line
        for line in shown(busy(), 160, 60, lambda task: "12 passed")
        for task in ("x-5", "x-7")
        if task in line
    }

    assert "check: 12 passed" in rows["x-5"]
    assert "12 passed" in rows["x-7"] and "check:" not in rows["x-7"]


# --- how it fits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [8, 24, 60])
@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("world", [busy(), many(40), (plan(wanted(), seen()), seen())], ids=["busy", "many", "empty"])
def test_a_picture_is_never_wider_or_taller_than_asked_for(world, width, height):
    found = shown(world, width, height, lambda task: "語" * 100)

    assert len(found) <= height
    assert max(map(cell_len, found)) <= width


@pytest.mark.parametrize("height", range(1, 12))
@pytest.mark.parametrize("width", [1, 5, 12, 20])
def test_a_window_of_any_size_gets_something(width, height):
    found = shown(many(40), width, height)

    assert 1 <= len(found) <= height
    assert max(map(cell_len, found)) <= width


def test_what_matters_most_stays_in_a_small_window():
    found = shown(busy(), 60, 7)

    assert [each[:7] for each in found] == ["feature", "● x-7  ", "! x-6  ", "    age", "    x-6", "◆ x-5  ", "  … and"]
    assert found[-1] == "  … and 3 more: 1 waiting, 1 ready, 1 blocked"


@pytest.mark.parametrize("width", [72, 80, 99])
def test_a_usual_terminal_shows_what_every_task_is_about(width):
    tasks = [a_task(f"calculator-npad{i:02}", title="Make a command of it") for i in range(3)]
    observed = seen(*tasks)
    found = shown((plan(wanted(), observed), observed), width, 24)

    assert sum("Make a command" in each for each in found) == 3
    assert all(len(each) <= width for each in found)


def test_where_it_is_printed_once_no_room_is_left_to_what_nobody_has():
    observed = seen(a_task("project-u0cr37", title="Write the lexer, and its tests too"))
    decided = plan(wanted(), observed), observed

    once, live_view = (shown(decided, 80, height) for height in (None, 24))

    assert once[1:3] == [
        "  TASK            TITLE",
        "○ project-u0cr37  Write the lexer, and its tests too",
    ]
    assert once[3] == "    next: start agent (attempt 1)"
    assert "AGE     PULL REQUEST" in live_view[2], "there it may come to be used"


def test_titles_that_a_few_cells_make_whole_are_whole_on_a_usual_terminal():
    observed = seen(*(a_task(f"numbers-{i:06}", title=f"Add the number {i}") for i in range(10, 20)))

    for height in (None, 24):
        found = shown((plan(wanted(), observed), observed), 80, height)
        assert sum("Add the number 1" in each for each in found) == 10, found


def test_headings_stand_only_above_what_they_name():
    assert any("TITLE" in line for line in shown(busy(), 80, 24))
    assert not any("PHASE" in line for line in shown(busy(), 60, 24)), "titles of what waits stand there"


def test_every_task_is_shown_or_counted():
    found = shown(many(40), 80, 24)

    listed = sum(re.match(r"[●!◆…○·] x-", each) is not None for each in found)
    (left_out,) = re.findall(r"… and (\d+) more", "\n".join(found))
    assert listed + int(left_out) == 40
    assert len(found) == 24


def test_several_manifests_share_the_room_and_the_busiest_stay():
    tasks = [a_task(f"{name}-{i}", parents=(TaskId(name),)) for name in "abcdef" for i in range(5)]
    epics = [a_task(name, type="epic") for name in "abcdef"]
    run = {"e-0": (a_run("e-0", state="running", started_at=ago(9), pid=5),)}
    observed = seen(*epics, *tasks, runs=run)
    decided = plan(wanted(*(an_epic(name=name, epic=TaskId(name)) for name in "abcdef")), observed)

    found = shown((decided, observed), 80, 12)

    assert len(found) <= 12
    assert any(each.startswith("e  ") for each in found)
    assert any(each.startswith("● e-0") for each in found)
    assert found[-1] == "… and 2 more manifests"


def test_printed_once_it_leaves_nothing_out():
    found = "\n".join(shown(many(300), 60))

    assert all(re.search(rf" x-{i} ", found) for i in range(300))
    assert "more:" not in found
    assert "Worktrees (10 in ../worktrees)" in found


def test_logs_are_read_for_visible_rows_alone():
    asked = []

    found = shown(many(1000), 80, 10, lambda task: asked.append(task) or "")

    assert [each.split()[1] for each in found if each.startswith("●")] == asked
    assert 0 < len(asked) < 10


def test_what_an_agent_prints_moves_no_column():
    silent, loud = (shown(busy(), 120, 24, lambda task, said=said: said) for said in ("", "語" * 200))

    assert [each[:70].rstrip() for each in silent] == [each[:70].rstrip() for each in loud]


def test_a_thousand_tasks_are_drawn_at_once():
    status = document.status(*many(1000))

    began = time.process_time()
    for _ in range(10):
        live.picture(status, live.Size(width=120, height=40), NOW, lambda task: "said")

    assert time.process_time() - began < 1.0  # a tenth of a second each, on a slow machine


@pytest.mark.parametrize(("height", "most"), [(1, 1), (8, 5), (12, 8), (24, 17), (40, 31), (100, 91)])
def test_the_newest_events_stay_in_sight(height, most):
    assert rows(height) == most


# --- text of others --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 120])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_draws_nothing_and_breaks_no_line(name, width):
    decided, observed = busy(HOSTILE[name], forges={"feature": HOSTILE[name]})
    unusable = a_task(HOSTILE[name], title=HOSTILE[name], parents=X)
    observed = replace(observed, tasks={**observed.tasks, unusable.id: unusable})
    decided = plan(wanted(*(epic.spec for epic in decided.epics)), observed)
    unseen = (plan(wanted(an_epic(name="feature")), seen(tasks=Unknown(HOSTILE[name]))), seen())

    for world in ((decided, observed), unseen):
        for height in (24, None):
            found = shown(world, width, height, lambda task: last_line(HOSTILE[name] + "\n"))

            assert all(each.isprintable() for each in found)
            assert max(map(cell_len, found)) <= width


@pytest.mark.parametrize(
    ("printed", "last"),
    [
        ("one\ntwo\n", "two"),
        ("one\ntw", "one"),
        ("", ""),
        ("never ended", ""),
        ("one\n\n \n", "one"),
        ("10 %\r20 %\r", "20 %"),
        ("one\r\n", "one"),
        ("\x1b[1;33m[1]\x1b[0m \x1b[Kok\n", "[1] ok"),
        ("\x1b]0;title\x07said\n", "said"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link"),
        ("\x1b(Bplain\x1b7\n", "plain"),
        ("\x1b[?25l\x1b[2J\n", ""),
        ("語\x07\n", "語\\x07"),
        ("a\u202eb\n", "a\\u202eb"),
    ],
)
def test_the_last_line_of_a_log_is_what_it_says_and_not_how_it_looks(printed, last):
    assert last_line(printed) == last


# --- drawing it anew -------------------------------------------------------------------------------------------


def test_every_line_is_coloured_by_itself():
    console = Console(color_system="standard", force_terminal=True)

    assert drawn(console, []) == []
    assert drawn(console, [Text(), Text("語", "red"), Text(), Text("x" * 500)]) == [
        Drawn("", 0),
        Drawn("\x1b[31m語\x1b[0m", 2),
        Drawn("", 0),
        Drawn("x" * 500, 500),
    ]


def test_a_picture_that_is_the_same_writes_nothing():
    lines = [Drawn("one", 3), Drawn("two", 3)]

    assert _changed(lines, lines) == ""


def test_only_lines_that_changed_are_written():
    before, after = ([Drawn(text, 3) for text in texts] for texts in (["one", "two", "six"], ["one", "ten", "six"]))

    assert [word in _changed(before, after) for word in ("one", "ten", "six")] == [False, True, False]


def test_a_terminal_that_became_narrower_has_broken_the_lines():
    lines = [Drawn("", 0), Drawn("x" * 40, 40), Drawn("x" * 81, 81)]

    assert [_rows(lines, 100, now) for now in (120, 100, 90, 80, 40)] == [3, 3, 3, 4, 5]
