"""What is known of a Beads database is not asked for again, and no shortcut hides what others write."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from databases import Database, database
from fake_bd import Fake, change, record

from reconciler.model.errors import ChangedError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.trackers.beads import BeadsTracker, last_look, marks

X = TaskId("x-1")
LABELS = frozenset({"l"})
EMBEDDED = {"database": "dolt", "backend": "dolt", "dolt_mode": "embedded", "dolt_database": "x"}


class Dolt(Fake):
    """Such a script beside the files of a database in embedded mode."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.beads = self.main / ".beads"
        self.dolt = self.beads / "embeddeddolt" / "x" / ".dolt"
        self.noms = self.dolt / "noms"
        self.noms.mkdir(parents=True)
        (self.beads / "metadata.json").write_text(json.dumps(EMBEDDED))
        (self.dolt / "repo_state.json").write_text('{"head": "refs/heads/main"}')
        for name in ("manifest", "vvvv"):
            (self.noms / name).write_text("5:__DOLT__:lock:root:")

    def commits(self, *records: dict[str, object]) -> None:
        """Somebody has written, and this is what there is then."""
        self.holds(*records)
        with (self.noms / "vvvv").open("a") as journal:
            journal.write("c")

    def stores(self, *records: dict[str, object], again: str = "") -> None:
        """Its `update` stores these, and answers with the first."""
        kept, echo = json.dumps(list(records)), json.dumps([records[0]])
        self.does(
            f"""test $first = update && {{ printf %s '{kept}' > $store; echo c >> "{self.noms}/vvvv"; {again}
            echo '{echo}'; exit; }}"""
        )


@pytest.fixture
def dolt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dolt:
    monkeypatch.setattr("reconciler.trackers.beads.writing.PAUSE_S", 0.01)
    return Dolt(tmp_path)


def looked(dolt: Dolt) -> BeadsTracker:
    tracker = dolt.tracker()
    tracker.tasks()
    (dolt.here / "calls").unlink()
    return tracker


# --- looking -------------------------------------------------------------------------------------------------


def test_while_nobody_writes_no_process_is_started(dolt: Dolt) -> None:
    tracker = looked(dolt)
    before = tracker.tasks()

    assert tracker.tasks() is before and dolt.calls() == []


def _next_branch(dolt: Dolt) -> None:
    (dolt.dolt / "repo_state.json").write_text('{"head": "refs/heads/next"}')


def _collected(dolt: Dolt) -> None:
    (dolt.noms / "vvvv").rename(dolt.noms / "tttt")
    (dolt.noms / "vvvv").write_text("5:__DOLT__:lock:root:")


LIES: dict[str, Callable[[Dolt], object]] = {
    "the journal has grown, and its manifest is as it was": lambda dolt: dolt.commits(record(title="new")),
    "the manifest names another state": lambda dolt: (dolt.noms / "manifest").write_text("5:__DOLT__:lock:tree:"),
    "another branch": _next_branch,
    "what was kept was packed anew": _collected,
    "an export that came with a pull": lambda dolt: (dolt.beads / "issues.jsonl").write_text("{}"),
    "other settings": lambda dolt: (dolt.beads / "config.yaml").write_text("a: 1"),
    "another database": lambda dolt: (dolt.beads / "metadata.json").write_text(
        json.dumps(EMBEDDED | {"dolt_database": "y"})
    ),
    "a redirect": lambda dolt: (dolt.beads / "redirect").write_text("../other"),
    "a program of another version": lambda dolt: dolt.does(version="1.3.0"),
    "a manifest that can't be read": lambda dolt: (
        (dolt.noms / "manifest").unlink(),
        os.mkfifo(dolt.noms / "manifest"),
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_what_may_have_changed_is_looked_at_again(dolt: Dolt, what: str) -> None:
    tracker = looked(dolt)
    dolt.holds(record(title="new"))

    LIES[what](dolt)

    assert tracker.tasks()[X].title == "new"


def test_what_somebody_writes_shows_once_and_without_a_process(dolt: Dolt, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = looked(dolt)
    monkeypatch.setattr(last_look, "RESTS", 0)
    assert not tracker.stirred()

    dolt.commits(record(title="new"))

    assert (tracker.stirred(), tracker.stirred(), dolt.calls()) == (True, False, [])
    assert tracker.tasks()[X].title == "new" and not tracker.stirred()


def test_what_only_reads_stirs_nobody(dolt: Dolt, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = looked(dolt)
    monkeypatch.setattr(last_look, "RESTS", 0)

    os.utime(dolt.noms / "manifest")

    assert not tracker.stirred()


def test_who_writes_all_the_time_is_looked_after_for_a_tenth_of_it(dolt: Dolt, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = looked(dolt)
    monkeypatch.setattr(last_look, "RESTS", 1e6)

    dolt.commits(record(title="new"))

    assert not tracker.stirred()


@pytest.mark.parametrize(
    "where", ["server", "setting", "variable", "redirect", "no database", "no journal", "broken", "wisps"]
)
def test_where_marks_may_say_nothing_every_look_is_one(dolt: Dolt, where: str) -> None:
    match where:
        case "server":
            (dolt.beads / "metadata.json").write_text(json.dumps(EMBEDDED | {"dolt_mode": "server"}))
        case "setting":
            (dolt.beads / "config.yaml").write_text("# none\ndolt.shared-server: true\n")
        case "variable":
            dolt.env["BEADS_DOLT_SERVER_HOST"] = "db"
        case "redirect":
            (dolt.beads / "redirect").write_text("../other")
        case "no database":
            (dolt.beads / "metadata.json").unlink()
        case "no journal":
            (dolt.noms / "manifest").unlink()
        case "broken":
            (dolt.beads / "metadata.json").write_text("[" * 100_000)
        case "wisps":
            (dolt.beads / "metadata.json").write_text('{"database": "beads.db"}')
            with sqlite3.connect(dolt.beads / "beads.db") as made:
                for table in ("issues", "labels", "dependencies", "wisps"):
                    made.execute(f"CREATE TABLE {table} (id TEXT)")
    tracker = looked(dolt)
    dolt.holds(record(title="new"))

    assert tracker.tasks()[X].title == "new"


def test_what_is_written_during_a_look_is_seen_by_the_next_one(dolt: Dolt) -> None:
    later = json.dumps([record(title="new")])
    dolt.does(
        f"""test $first = list && once said && {{ cat $store; printf %s '{later}' > $store
        echo c >> "{dolt.noms}/vvvv"; exit; }}"""
    )
    tracker = dolt.tracker()

    assert [tracker.tasks()[X].title for _ in range(2)] == ["x-1", "new"]


def test_a_mark_that_stays_while_tasks_change_is_never_believed_again(
    dolt: Dolt, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = looked(dolt)
    dolt.holds(record(title="new"))  # behind its back
    assert tracker.tasks()[X].title == "x-1"

    monkeypatch.setattr(last_look, "HOLDS_S", -1.0)
    assert tracker.tasks()[X].title == "new"

    monkeypatch.undo()
    dolt.holds(record(title="newer"))
    assert tracker.tasks()[X].title == "newer"


def test_edges_told_in_another_order_are_no_change(dolt: Dolt, monkeypatch: pytest.MonkeyPatch) -> None:
    edges = [{"issue_id": "x-1", "depends_on_id": id, "type": "blocks"} for id in ("x-2", "x-3")]
    dolt.holds(record(dependencies=edges))
    tracker = looked(dolt)
    before = tracker.tasks()
    dolt.holds(record(dependencies=edges[::-1]))
    monkeypatch.setattr(last_look, "HOLDS_S", -1.0)
    assert tracker.tasks() is before

    monkeypatch.undo()
    (dolt.here / "calls").unlink()

    assert tracker.tasks() is before and dolt.calls() == []


# --- writing -------------------------------------------------------------------------------------------------


CLAIM = change(status="in_progress", assignee="us", expect_status=frozenset({"open"}), add_labels=LABELS)


def test_what_was_seen_is_not_read_before_a_write_and_reading_that_back_is_the_next_look(dolt: Dolt) -> None:
    tracker = looked(dolt)
    dolt.stores(record(status="in_progress", assignee="us", labels=["l"]))

    assert tracker.write([CLAIM]) == [None]

    assert tracker.tasks()[X].assignee == "us"
    assert [call.split()[0] for call in dolt.calls() if "version" not in call] == ["update", "list"]


def test_what_somebody_wrote_since_the_look_is_read_before_a_claim(dolt: Dolt) -> None:
    tracker = looked(dolt)
    dolt.commits(record(status="in_progress", assignee="ann"))

    (answer,) = tracker.write([CLAIM])

    assert isinstance(answer, ChangedError) and dolt.calls("update") == []


def test_what_others_write_with_ours_is_seen_by_what_reads_it_back(dolt: Dolt) -> None:
    dolt.holds(record(), record("x-2"))
    tracker = looked(dolt)
    dolt.stores(record(status="in_progress", assignee="us", labels=["l"]), record("x-2", status="blocked"))

    tracker.write([CLAIM])

    assert tracker.tasks()[TaskId("x-2")].status == "blocked"


def test_labels_are_read_back_by_the_next_look(dolt: Dolt) -> None:
    tracker = looked(dolt)
    dolt.stores(record(labels=["l"]))

    assert tracker.write([change(add_labels=LABELS)]) == [None]
    assert dolt.calls("list") == []

    assert tracker.tasks()[X].labels == LABELS


def test_labels_that_get_lost_are_read_back_at_once_the_second_time(dolt: Dolt) -> None:
    tracker = looked(dolt)
    dolt.does(f"""test $first = update && {{ echo c >> "{dolt.noms}/vvvv"; echo '{json.dumps([record()])}'; exit; }}""")
    assert tracker.write([change(add_labels=LABELS)]) == [None]
    assert tracker.tasks()[X].labels == frozenset()

    (answer,) = tracker.write([change(add_labels=LABELS)])

    assert isinstance(answer, TemporaryError) and "not written: labels" in str(answer)


def test_labels_that_are_refused_are_read_back_at_once(dolt: Dolt) -> None:
    tracker = looked(dolt)
    dolt.does("test $first = update && { echo 'Error: no issue found' >&2; exit 1; }")

    (answer,) = tracker.write([change(add_labels=LABELS)])

    assert "no issue found" in str(answer)


def test_two_writes_of_labels_in_a_row_know_of_each_other(dolt: Dolt) -> None:
    tracker = looked(dolt)
    dolt.stores(record(labels=["l"]))
    tracker.write([change(add_labels=LABELS)])

    tracker.write([change(add_labels=frozenset({"m"}), remove_labels=LABELS)])

    assert "--add-label=m" in dolt.calls("update")[-1] and "--remove-label=l" in dolt.calls("update")[-1]


def test_labels_of_a_task_that_was_never_seen_are_read_back_at_once(dolt: Dolt) -> None:
    tracker = looked(dolt)
    dolt.commits(record(), record("x-2"))
    dolt.stores(record("x-2"), record())

    (answer,) = tracker.write([change("x-2", add_labels=LABELS)])

    assert isinstance(answer, TemporaryError)


# --- the real ones -------------------------------------------------------------------------------------------

KINDS = [
    "bd-sqlite",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("bd-0.63", "bd-1.0", "bd")),
]
READS = (("list", "--json"), ("ready", "--json"), ("export",), ("config", "get", "issue_prefix"), ("version",))


@pytest.fixture(params=KINDS)
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return database(tmp_path / "main", request.param)


def test_every_write_of_the_real_one_moves_the_mark_and_reading_does_not(real: Database) -> None:
    one, two = real.make("One"), real.make("Two")
    real.bd("list", "--json")

    def mark() -> object:
        found = marks.of_database(real.beads, {})
        assert found is not None
        return found

    for command in READS:
        before = mark()
        real.bd(*command)
        assert mark() == before, command
    writes: list[tuple[str, ...]] = [
        ("update", one, "--notes=n"),
        ("update", one, "--add-label=a"),
        ("update", one, "--remove-label=a"),
        ("update", one, "--status=in_progress", "--assignee=ann"),
        ("dep", "add", one, two),
        ("dep", "remove", one, two),
        ("close", one, "--reason=r", *(["--force"] if "1.3" in real.bd("version") else [])),
        ("reopen", one),
        ("create", "Three", "--description=d"),
        ("delete", two, "--force"),
    ]
    for command in writes:
        before = mark()
        real.bd(*command)
        assert mark() != before, command


@pytest.mark.slow
def test_what_the_events_journal_does_not_say_is_seen(tmp_path: Path) -> None:
    real = database(tmp_path / "main", "bd")
    real.bd("config", "set", "events-journal", "true")
    task, tracker = TaskId(real.make("One")), real.tracker()
    tracker.tasks()

    real.env["BD_EVENTS_JOURNAL"] = "0"
    real.bd("update", task, "--title=Two")

    assert "Two" not in real.bd("events", "tail", "--since", "0")
    assert tracker.tasks()[task].title == "Two"


def test_a_look_at_the_real_one_is_believed_until_somebody_writes(real: Database) -> None:
    task = TaskId(real.make("One"))
    tracker = real.tracker()
    before = tracker.tasks()

    assert tracker.tasks() is before

    real.bd("update", task, "--add-label=theirs")
    assert tracker.tasks()[task].labels == {"theirs"}
