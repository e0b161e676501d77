"""What every tracker promises. A new kind of tracker gets a line in `TRACKERS`, and all of this runs on it."""

from datetime import UTC, datetime, timedelta

import pytest
from databases import database
from memory import World

from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import TaskId
from reconciler.model.ports import Change, NewTask
from reconciler.trackers.jsonl import JsonlTracker


def jsonl(folder):
    return lambda: JsonlTracker(folder / ".beads")


class Ageing(World):
    """A world in memory whose clock goes on by itself."""

    def change(self, change):
        self.now = datetime.now(UTC)
        super().change(change)


def memory(folder):
    world = Ageing(now=datetime.now(UTC))
    return lambda: world


def bd(name):
    return lambda folder: database(folder / "project", name).tracker


# Each makes a store in a folder, and gives what opens it.
TRACKERS = [
    pytest.param(memory, id="memory"),
    pytest.param(jsonl, id="jsonl"),
    pytest.param(bd("bd-sqlite"), id="bd-sqlite"),
    pytest.param(bd("bd"), id="bd", marks=pytest.mark.slow),
]


@pytest.fixture(params=TRACKERS)
def opened(request, tmp_path):
    """Opens the one store of the test, each time as a program that has just started."""
    return request.param(tmp_path)


@pytest.fixture
def tracker(opened):
    return opened()


def change(task="x-1", **fields):
    return Change(task=TaskId(task), **fields)


def make(tracker, task="x-1", **fields):
    """A task in the store, as it is read back."""
    assert list(tracker.write([change(task, create=NewTask(**{"title": task, **fields}))])) == [None]
    return tracker.tasks()[task]


def others(tracker, *tasks):
    """Tasks that others may name."""
    assert not any(tracker.write([change(task, create=NewTask(title=task)) for task in tasks]))


def written(tracker, task="x-1", **fields):
    """A task after one change."""
    assert list(tracker.write([change(task, **fields)])) == [None]
    return tracker.tasks()[task]


def refused(tracker, task="x-1", **fields):
    """What one change is answered; the store holds what it held."""
    before = tracker.tasks().get(task)
    (answer,) = tracker.write([change(task, **fields)])
    assert tracker.tasks().get(task) == before
    return answer


# --- making --------------------------------------------------------------------------------------------------


def test_a_store_that_was_never_made_holds_no_task(tracker):
    assert dict(tracker.tasks()) == {}


def test_a_new_task_is_read_back_as_it_was_made(tracker, opened):
    others(tracker, "x-e", "x-2", "x-3")
    started = datetime.now(UTC) - timedelta(seconds=1)
    made = make(
        tracker,
        title="Write <the> & parser \u2028 “ü”",
        type="feature",
        description="Do it.\n\nTwice.",
        acceptance="It parses.",
        priority=0,
        labels=frozenset({"backend", "a:b"}),
        parent=TaskId("x-e"),
        blockers=(TaskId("x-2"), TaskId("x-3")),
    )

    assert made.title == "Write <the> & parser \u2028 “ü”"
    assert (made.type, made.description, made.acceptance) == ("feature", "Do it.\n\nTwice.", "It parses.")
    assert (made.status, made.priority, made.assignee) == ("open", 0, "")
    assert made.labels == {"backend", "a:b"}
    assert (made.parents, made.blockers) == (("x-e",), ("x-2", "x-3"))
    assert started <= made.created_at == made.updated_at <= datetime.now(UTC)
    assert opened().tasks()["x-1"] == made


def test_making_a_task_that_exists_changes_nothing(tracker):
    made = make(tracker, title="the first")

    assert make(tracker, title="the second") == made


def test_a_task_is_made_and_changed_in_one_go(tracker):
    made = written(tracker, create=NewTask(title="t"), status="in_progress", assignee="us", add_labels=frozenset({"a"}))

    assert (made.status, made.assignee, made.labels) == ("in_progress", "us", {"a"})


def test_tasks_made_together_are_as_old_as_their_order_says(tracker):
    tracker.write([change(f"x-{n}", create=NewTask(title="t")) for n in "987"])

    tasks = tracker.tasks()
    ages = [tasks[f"x-{n}"].created_at for n in "987"]
    assert ages == sorted(ages)  # some stores keep whole seconds


@pytest.mark.parametrize("id", ["", "../x", "-x", "x y", "x..y", "x.lock", "x" * 101, "x\ny"])
def test_a_task_whose_id_could_become_something_else_is_never_made(tracker, id):
    assert isinstance(refused(tracker, id, create=NewTask(title="t")), PermanentError)


@pytest.mark.parametrize("fields", [{"title": ""}, {"title": "t" * 501}, {"priority": 5}, {"priority": -1}], ids=str)
def test_what_other_programs_would_refuse_is_never_made(tracker, fields):
    assert isinstance(refused(tracker, create=NewTask(**{"title": "t", **fields})), PermanentError)


# --- compare and swap ----------------------------------------------------------------------------------------


def test_a_change_is_written_while_the_task_is_as_expected(tracker):
    make(tracker)
    expected = {"expect_status": frozenset({"open", "blocked"}), "expect_assignee": frozenset({"", "us"})}

    claimed = written(tracker, **expected, status="in_progress", assignee="us")

    assert (claimed.status, claimed.assignee) == ("in_progress", "us")


@pytest.mark.parametrize(
    "expected",
    [
        {"expect_status": frozenset({"open"})},
        {"expect_assignee": frozenset({"", "us"})},
        {"expect_status": frozenset()},
    ],
    ids=str,
)
def test_a_task_that_is_not_as_expected_is_left_alone_and_to_be_looked_at_again(tracker, expected):
    make(tracker)
    written(tracker, status="in_progress", assignee="them")

    assert isinstance(refused(tracker, **expected, status="closed", note="no"), ChangedError)


def test_a_task_that_is_missing_is_named(tracker):
    make(tracker)

    answer = refused(tracker, "x-404", status="closed")

    assert isinstance(answer, PermanentError)
    assert "x-404" in str(answer)


def test_one_change_that_fails_stops_no_other(tracker):
    make(tracker)
    make(tracker, "x-2")

    answers = tracker.write(
        [
            change("x-404", status="closed"),
            change("x-1", status="closed"),
            change("x-2", expect_status=frozenset({"closed"}), status="open"),
            change("x-2", priority=0),
        ]
    )

    assert [type(answer) for answer in answers] == [PermanentError, type(None), ChangedError, type(None)]
    assert (tracker.tasks()["x-1"].status, tracker.tasks()["x-2"].priority) == ("closed", 0)


def test_changes_of_one_task_build_on_each_other(tracker):
    make(tracker)

    tracker.write(
        [change(add_labels=frozenset({"a"})), change(expect_status=frozenset({"open"}), note="n"), change(priority=1)]
    )

    task = tracker.tasks()["x-1"]
    assert (task.labels, task.notes, task.priority) == ({"a"}, "n", 1)


def test_no_change_at_all_is_fine(tracker):
    assert list(tracker.write([])) == []


# --- fields --------------------------------------------------------------------------------------------------


def test_a_change_changes_what_it_names_and_nothing_else(tracker):
    others(tracker, "x-2")
    before = make(tracker, description="d", acceptance="a", labels=frozenset({"l"}), blockers=(TaskId("x-2"),))

    after = written(tracker, title="new", description="", priority=4, acceptance="b")

    assert (after.title, after.description, after.priority, after.acceptance) == ("new", "", 4, "b")
    assert (after.labels, after.blockers, after.status, after.created_at) == (
        {"l"},
        ("x-2",),
        "open",
        before.created_at,
    )
    assert after.updated_at > before.updated_at


def test_a_title_is_never_taken_away(tracker):
    make(tracker, title="t")

    assert written(tracker, title="", priority=1).title == "t"


def test_a_change_that_changes_nothing_leaves_no_trace(tracker):
    others(tracker, "x-2")
    make(tracker, labels=frozenset({"l"}), blockers=(TaskId("x-2"),), description="d")
    written(tracker, "x-2", status="closed")
    before = written(tracker, status="closed", close_reason="done", note="n", assignee="us")

    again = written(
        tracker,
        status="closed",
        close_reason="done",
        note="n",
        assignee="us",
        title="x-1",
        description="d",
        acceptance="",
        priority=2,
        add_labels=frozenset({"l"}),
        remove_labels=frozenset({"gone"}),
        add_blockers=frozenset({TaskId("x-2")}),
        remove_blockers=frozenset({TaskId("x-9")}),
    )

    assert again == before


def test_an_assignee_can_be_taken_away(tracker):
    make(tracker)
    written(tracker, assignee="us")

    assert written(tracker, assignee="").assignee == ""


def test_a_label_that_is_added_and_removed_at_once_is_there(tracker):
    make(tracker, labels=frozenset({"a", "b"}))

    after = written(tracker, add_labels=frozenset({"a", "c"}), remove_labels=frozenset({"a", "b"}))

    assert after.labels == {"a", "c"}


def test_a_note_is_added_on_a_line_of_its_own_once(tracker):
    make(tracker)

    assert written(tracker, note="first").notes == "first"
    assert written(tracker, note="second\nline").notes == "first\nsecond\nline"
    assert written(tracker, note="second\nline").notes == "first\nsecond\nline"
    assert written(tracker, note="line").notes == "first\nsecond\nline"
    assert written(tracker, note="ine").notes == "first\nsecond\nline\nine"


def test_a_closed_task_says_when_and_why(tracker):
    make(tracker)

    closed = written(tracker, status="closed", close_reason="merged in #12", closed_by_session="work/x-1/3")

    assert closed.closed
    assert closed.closed_at == closed.updated_at
    assert closed.close_reason == "merged in #12"
    assert written(tracker, add_labels=frozenset({"l"})).closed_at == closed.closed_at


def test_a_closed_task_says_which_run_closed_it(tracker):
    make(tracker)

    assert written(tracker, status="closed", closed_by_session="work/x-1/3").closed_by_session == "work/x-1/3"


@pytest.mark.parametrize("status", ["open", "in_progress", "blocked", "deferred"])
def test_a_task_that_is_opened_again_forgets_its_close(tracker, status):
    make(tracker)
    written(tracker, status="closed", close_reason="done", closed_by_session="work/x-1/1")

    after = written(tracker, status=status)

    assert (after.status, after.closed_at, after.close_reason, after.closed_by_session) == (status, None, "", "")


def test_a_status_that_nobody_knows_is_not_written(tracker):
    make(tracker)

    assert isinstance(refused(tracker, status="done"), PermanentError)


def test_blockers_come_and_go(tracker):
    others(tracker, "x-2", "x-3")
    make(tracker, blockers=(TaskId("x-2"),))

    after = written(tracker, add_blockers=frozenset({TaskId("x-3")}), remove_blockers=frozenset({TaskId("x-2")}))

    assert after.blockers == ("x-3",)


@pytest.mark.parametrize("blocker", ["x-1", "x-e"], ids=["itself", "its parent"])
def test_a_task_never_waits_for_itself_or_its_parent(tracker, blocker):
    others(tracker, "x-e")
    made = make(tracker, parent=TaskId("x-e"))

    assert isinstance(refused(tracker, add_blockers=frozenset({TaskId(blocker)})), PermanentError)
    assert tracker.tasks()["x-1"] == made


def test_text_that_no_file_could_hold_is_read_back_as_text_that_any_can(tracker, opened):
    make(tracker, title="a\0b", description="half \udcff")

    task = opened().tasks()["x-1"]
    assert "\0" not in task.title
    task.description.encode()


def test_another_program_sees_what_was_written(tracker, opened):
    other = opened()
    make(tracker)
    assert set(other.tasks()) == {"x-1"}

    written(other, status="closed")

    assert tracker.tasks()["x-1"].closed


def test_the_prefix_can_begin_an_id(tracker, opened):
    assert isinstance(refused(tracker, f"{tracker.prefix()}-1", create=NewTask(title="t", priority=9)), PermanentError)
    assert make(tracker, f"{tracker.prefix()}-1").id.startswith(opened().prefix())
