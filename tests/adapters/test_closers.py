"""Who closed a task, where `bd` does not tell: read from what it keeps, and never guessed."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import databases
import pytest
import worlds
from databases import database

from reconciler.model.names import TaskId
from reconciler.model.observed import Graph, Task
from reconciler.model.ports import Change
from reconciler.trackers.beads.closers import Closers
from reconciler.trackers.beads.server import other_server

OLD, NEW = (1, 0, 5), (1, 3, 0)
X = TaskId("x-1")


AT = datetime(2026, 1, 1, tzinfo=UTC)
US = "us"


def closed(id: str = "x-1") -> Task:
    return worlds.a_task(id, status="closed", closed_at=AT)


def a_graph(*tasks: Task) -> Graph:
    return {task.id: task for task in tasks or (closed(),)}


def said(actor: str = "us", task: str = "x-1", at: datetime = AT, **change: str) -> str:
    extra = {"field": "status", "old_value": "open", "new_value": "closed", **change}
    line = {"kind": "field_change", "actor": actor, "issue_id": task, "created_at": at.isoformat(), "extra": extra}
    return json.dumps(line) + "\n"


def by(beads: Path, closers: Closers | None = None) -> str:
    return (closers or Closers(beads, US)).named(a_graph(), OLD)[X].closed_by


def sqlite_of(beads: Path, *closes: tuple[str, str, str]) -> None:
    """A database in which these tasks are closed by a session; then the actor of the last event that says so."""
    with sqlite3.connect(beads / "beads.db") as database:
        database.execute("CREATE TABLE issues (id TEXT, closed_by_session TEXT)")
        database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, issue_id TEXT, event_type TEXT, actor TEXT)")
        for id, session, actor in closes:
            database.execute("INSERT INTO issues VALUES (?, ?)", (id, session))
            for each in (US, actor):
                database.execute("INSERT INTO events (issue_id, event_type, actor) VALUES (?, 'closed', ?)", (id, each))


@pytest.mark.parametrize(
    ("lines", "who"),
    [
        (said("ann"), "ann"),
        (said("ann") + said("us"), "us"),
        (said("us") + said("ann", new_value="open"), ""),
        (said("us", at=AT - timedelta(minutes=1)), ""),  # closed again since, in a way that is not written down
        (said("us", at=AT + timedelta(seconds=20)), "us"),  # written down late
        (said("us").replace('"created_at"', '"at"'), ""),
        (said("us", field="priority"), ""),
        (said("us", task="x-2"), ""),
        ("garbage\n{}\n[]\nnull\n" + said("us"), "us"),
        (said("us")[:-1], ""),  # half a line is still being written
        ("", ""),
    ],
)
def test_the_journal_says_in_whose_name_a_task_was_closed_last(tmp_path: Path, lines: str, who: str) -> None:
    (tmp_path / "interactions.jsonl").write_text(lines)
    assert by(tmp_path) == who


def test_only_what_was_added_to_the_journal_is_read_and_one_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    journal, closers = tmp_path / "interactions.jsonl", Closers(tmp_path, US)
    assert by(tmp_path, closers) == ""
    journal.write_text(said("ann"))
    assert by(tmp_path, closers) == "ann"
    with journal.open("a") as file:
        file.write(said("us"))
    assert by(tmp_path, closers) == "us"
    (tmp_path / "other").write_text(said("bob", task="x-2"))
    (tmp_path / "other").replace(journal)
    assert by(tmp_path, closers) == ""
    journal.unlink()
    assert by(tmp_path, closers) == ""


def test_a_database_of_sqlite_says_which_run_closed_a_task(tmp_path: Path) -> None:
    sqlite_of(tmp_path, ("x-1", "work/x-1/2", US), ("x-2", "somebodys", US))
    graph = Closers(tmp_path, US).named(a_graph(closed(), closed("x-2")), OLD)
    assert (graph[X].closed_by_session, graph[TaskId("x-2")].closed_by_session) == ("work/x-1/2", "")


def test_a_session_that_is_left_from_an_earlier_close_is_not_who_closed_it(tmp_path: Path) -> None:
    sqlite_of(tmp_path, ("x-1", "work/x-1/2", "ann"))
    assert Closers(tmp_path, US).named(a_graph(), OLD) == a_graph()


@pytest.mark.parametrize("what", ["no column", "no database", "nothing"])
def test_where_nobody_says_it_nobody_knows(tmp_path: Path, what: str) -> None:
    if what == "no column":
        with sqlite3.connect(tmp_path / "beads.db") as database:
            database.execute("CREATE TABLE issues (id TEXT)")
    elif what == "no database":
        (tmp_path / "beads.db").write_bytes(b"garbage" * 1000)
    assert Closers(tmp_path, US).named(a_graph(), OLD) == a_graph()


def test_a_version_that_tells_it_is_believed_and_nothing_else_is_read(tmp_path: Path) -> None:
    (tmp_path / "interactions.jsonl").write_text(said("us"))
    assert Closers(tmp_path, US).named(a_graph(), NEW)[X].closed_by == ""


def test_what_is_open_was_closed_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "interactions.jsonl").write_text(said("us"))
    assert Closers(tmp_path, US).named(a_graph(worlds.a_task()), OLD)[X].closed_by == ""


def test_a_close_that_is_written_down_later_is_looked_up_again(tmp_path: Path) -> None:
    closers = Closers(tmp_path, US)
    before = closers.moved(OLD)
    (tmp_path / "interactions.jsonl").write_text(said("us"))
    assert closers.moved(OLD) != before and by(tmp_path, closers) == "us"
    assert closers.moved(NEW) is None


@pytest.mark.parametrize("what", ["pipe", "folder", "link"])
def test_what_stands_in_the_place_of_the_journal_holds_nobody(tmp_path: Path, what: str) -> None:
    journal = tmp_path / "interactions.jsonl"
    match what:
        case "pipe":
            os.mkfifo(journal)
        case "folder":
            journal.mkdir()
        case "link":
            (tmp_path / "elsewhere").write_text(said("us"))
            journal.symlink_to(tmp_path / "elsewhere")
    assert by(tmp_path) == ""


def test_of_a_journal_that_is_too_long_the_newest_is_read(tmp_path: Path) -> None:
    with (tmp_path / "interactions.jsonl").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"\n" + said("us").encode())
    assert by(tmp_path) == "us"


@pytest.mark.parametrize(
    "text", ["", "[", '{"pid": Infinity, "version": "0.1.1"}', "[" * 100_000, '{"pid": -1, "version": "1"}']
)
def test_no_lock_of_a_daemon_is_more_than_its_word(tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.lock").write_text(text)
    assert other_server(tmp_path, OLD) is None
    (tmp_path / "daemon.lock").unlink()
    os.mkfifo(tmp_path / "daemon.lock")
    assert other_server(tmp_path, OLD) is None


KINDS = ["bd-sqlite", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bd-0.63", "bd-1.0", "bd"))]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_person_closed_again_after_its_agent_is_not_its_agents(tmp_path: Path, kind: str) -> None:
    real = database(tmp_path / "main", kind)
    force = ["--force"] if kind == "bd" else []
    other = real.make("Other")

    def by_agent(task: str) -> None:
        agent = {"BD_ACTOR": "reconcile@test", "BEADS_ACTOR": "reconcile@test", "CLAUDE_SESSION_ID": f"work/{task}/1"}
        databases.run(real.root, real.env | agent, "close", task, "--reason=done")

    def who(task: str) -> tuple[bool, bool]:
        found = real.tracker().tasks()[TaskId(task)]
        assert found.status == "closed"
        return found.closed_by_session == f"work/{task}/1", found.closed_by == "reconcile@test"

    again = [("close", "--reason=no", *force), ("update", "--status=closed", *force)]
    again += [] if kind == "bd-sqlite" else [("duplicate", f"--of={other}")]
    for verb, *options in again:
        task = real.make("One")
        by_agent(task)
        assert any(who(task))
        real.bd("reopen", task)
        time.sleep(1.1)
        real.bd(verb, task, *options)
        assert not any(who(task)), verb


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_closed_through_us_is_not_its_agents(tmp_path: Path, kind: str) -> None:
    real = database(tmp_path / "main", kind)
    task, tracker = TaskId(real.make("One")), real.tracker()

    assert tracker.write([Change(task=task, status="closed", close_reason="no")]) == [None]

    found = tracker.tasks()[task]
    assert (found.closed_by_session, found.closed_by) != ("", "reconcile@test")
    assert not found.closed_by_session
