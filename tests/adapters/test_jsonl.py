"""The built-in store: what it makes of files that others wrote, and what becomes of them when it writes."""

import errno
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.model.errors import PermanentError, RefusedError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.ports import Change, NewTask
from reconciler.trackers import _files, _settings
from reconciler.trackers import _lines as lines
from reconciler.trackers.jsonl import JsonlTracker, holds_database

ROOT = Path(__file__).parents[2]
OLD = "2026-01-01T00:00:00Z"


class Folder:
    """A `.beads/` folder as others see it, and a tracker on it."""

    def __init__(self, root):
        self.beads = root / ".beads"
        self.path = self.beads / "issues.jsonl"
        self.tracker = JsonlTracker(self.beads)

    def put(self, *lines):
        self.beads.mkdir(exist_ok=True)
        self.path.write_bytes(b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines))

    def lines(self):
        return self.path.read_text("utf-8").splitlines()

    def write(self, task, **fields):
        assert self.tracker.write([Change(task=TaskId(task), **fields)]) == [None]

    def look(self):
        """What the folder holds and when it was last touched, without the lock."""
        return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in self.beads.iterdir() if p.name != _files.LOCK}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "My Demo").mkdir()
    return Folder(tmp_path / "My Demo")


def record(id="x-1", **fields):
    return json.dumps(
        {"id": id, "title": id, "status": "open", "priority": 2, "created_at": OLD, "updated_at": OLD, **fields}
    )


def edge(task, target, type):
    return {"issue_id": task, "depends_on_id": target, "type": type, "created_at": OLD, "created_by": "somebody"}


# --- reading what others wrote ---------------------------------------------------------------------------------


def test_a_line_of_beads_is_read_as_the_task_it_means(folder):
    edges = [
        edge("x-1", "x-e", "parent-child"),
        edge("x-1", "x-2", "blocks"),
        edge("x-1", "x-3", "conditional-blocks"),
        edge("x-1", "x-4", "waits-for"),
        edge("x-1", "x-5", "related"),
        {"depends_on_id": "x-6"},
    ]
    folder.put(
        record(
            issue_type="bug",
            acceptance_criteria="a",
            notes="n",
            assignee="w1",
            labels=["b", "a"],
            created_at="2025-10-19T22:43:56.761279-07:00",
            updated_at="2026-11-22T08:40:05.314449502Z",
            defer_until="2026-12-01",
            dependencies=edges,
        )
    )

    task = folder.tracker.tasks()["x-1"]

    assert (task.type, task.acceptance, task.notes, task.assignee, task.labels) == ("bug", "a", "n", "w1", {"a", "b"})
    assert (task.parents, task.blockers, task.waits_for) == (("x-e",), ("x-2", "x-3", "x-6"), ("x-4",))
    assert task.created_at == datetime(2025, 10, 20, 5, 43, 56, 761279, UTC)
    assert task.updated_at == datetime(2026, 11, 22, 8, 40, 5, 314449, UTC)
    assert task.defer_until == datetime(2026, 12, 1, tzinfo=UTC)
    assert task.created_at.tzinfo is UTC


def test_lines_that_are_no_tasks_are_not_shown(folder):
    folder.put(
        '{"_schema":"beads-jsonl/1","id":"h"}',
        '{"_type":"memory","id":"m-1","value":1}',
        '{"title":"no id"}',
        "",
        record(),
    )

    assert set(folder.tracker.tasks()) == {"x-1"}


def test_of_two_lines_for_one_task_the_last_counts(folder):
    folder.put(record(title="old"), record("x-2"), record(title="new"))

    assert folder.tracker.tasks()["x-1"].title == "new"
    folder.write("x-2", priority=0)
    titles = [json.loads(line)["title"] for line in folder.lines()]
    assert sorted(titles) == ["new", "old", "x-2"] and titles.index("old") < titles.index("new")


def test_a_deleted_task_counts_as_closed_and_stays_deleted(folder):
    folder.put(record(status="tombstone", deleted_by="somebody"))

    assert folder.tracker.tasks()["x-1"].closed
    (answer,) = folder.tracker.write([Change(task=TaskId("x-1"), status="open")])
    assert isinstance(answer, PermanentError)
    folder.write("x-1", create=NewTask(title="again"))
    assert folder.lines() == [record(status="tombstone", deleted_by="somebody")]


@pytest.mark.parametrize("why", ["pinned", "ephemeral", "is_template"])
def test_what_is_marked_as_no_work_is_held_back(folder, why):
    folder.put(record(**{why: True}), record("x-2", **{why: False}))

    tasks = folder.tracker.tasks()
    assert (tasks["x-1"].held_back, tasks["x-2"].held_back) == (True, False)


def test_messages_between_programs_are_no_work(folder):
    folder.put(record(issue_type="message"), record("x-2", issue_type="bug"))

    assert [task.held_back for task in folder.tracker.tasks().values()] == [True, False]


STRANGE = [7, -1, 1.5, 1e300, True, None, "", "text", [], [7, None, "x"], {}, {"a": []}, "\0", "\ud800"]
KEYS = (
    *("title", "description", "acceptance_criteria", "notes", "priority", "issue_type", "assignee", "labels"),
    *("created_at", "closed_at", "close_reason", "closed_by_session", "metadata", "comments", "pinned"),
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_a_value_of_another_type_hides_no_task_and_survives_a_change(folder, key, value):
    folder.put(record(**{key: value}))

    task = folder.tracker.tasks()["x-1"]
    folder.write("x-1", add_blockers=frozenset({TaskId("x-2")}))

    assert 0 <= task.priority <= 4
    text = "".join((task.title, task.description, task.acceptance, task.notes, task.type, task.assignee, *task.labels))
    assert b"\0" not in text.encode()
    (edited,) = (json.loads(line) for line in folder.lines())
    assert [e["depends_on_id"] for e in edited["dependencies"]] == ["x-2"]
    assert edited[key] == value


def refusal(folder):
    """Why the file is refused. Nothing is written there, whatever it was that was tried."""
    before = folder.look()
    with pytest.raises(PermanentError) as told:
        folder.tracker.tasks()
    for attempt in ({"status": "closed"}, {"create": NewTask(title="t")}):
        with pytest.raises(PermanentError):
            folder.tracker.write([Change(task=TaskId("x-1"), **attempt)])
    assert folder.look() == before
    assert told.value.hint
    return str(told.value)


@pytest.mark.parametrize(
    "line",
    [
        b"<<<<<<< HEAD",
        b"=======",
        b">>>>>>> theirs\r",
        b"||||||| base",
        b'{"id":"x-2"',
        b'{"id":"x-2"} {"id":"x-3"}',
        b'{"id":"x-2","metadata":NaN}',
        b'{"id":"x-2","metadata":1e999}',
        b'{"id":"x-2","metadata":' + b"9" * 5000 + b"}",
        b'{"id":"x-2","status":"open","status":"closed"}',
        b'["x-2"]',
        b"null",
        b"7",
        b'{"id":"x-2","title":"\xff"}',
        b'\xef\xbb\xbf{"id":"x-2"}',
        b'{"id":"x-2","metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id":"x-2","metadata":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"id":7}',
        b'{"id":["x-2"]}',
        b'{"id":"x-2","status":7}',
        b'{"id":"x-2","defer_until":"next week"}',
        b'{"id":"x-2","dependencies":"x-1"}',
        b'{"id":"x-2","dependencies":["x-1"]}',
        b'{"id":"x-2","dependencies":[{"depends_on_id":7,"type":"blocks"}]}',
        b'{"id":"x-2","dependencies":[{"depends_on_id":"x-1","type":{}}]}',
    ],
    ids=lambda line: line[:48],
)
def test_a_file_with_a_line_that_can_not_be_read_is_refused_by_name_and_never_written(folder, line):
    folder.put(record(), line + b"\n", record("x-3"))

    assert f"{folder.path}:2: " in refusal(folder)


ODD = (
    "1e999",
    "-0",
    "01",
    "1.0",
    "1E5",
    "123456789012345678901234567890",
    "NaN",
    "-Infinity",
    '"\\ud800"',
    '"\\ud83d\\ude00"',
)
ODD = (
    *ODD,
    '"\\u0000"',
    '"\\u0041"',
    '"a\tb"',
    '"\x7f"',
    '"é"',
    '"</x>"',
    "[" * 120 + "]" * 120,
    "[" * 90 + "]" * 90,
    "tru",
    "",
    '{"a":1,"a":2}',
)
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.builds(lambda v: json.dumps(v, ensure_ascii=False), st.one_of(st.text(), st.floats(), st.integers())),
)
KEYS = st.sampled_from(["id", "title", "a", "\\u0061", "b"])
LINES = st.builds(
    lambda pairs, colon, comma, end: "{" + comma.join(f'"{key}"{colon}{value}' for key, value in pairs) + "}" + end,
    st.lists(st.tuples(KEYS, VALUES), max_size=5),
    st.sampled_from([":", ": ", " :", "\t:"]),
    st.sampled_from([",", ", ", ",,"]),
    st.sampled_from(["", " ", "x", "\x00", "\ufeff"]),
)


def outcome(read, raw):
    try:
        found = read(raw)
    except ValueError as error:
        return str(error)
    return repr(found)


@settings(max_examples=1000, suppress_health_check=list(HealthCheck), deadline=None)
@given(LINES)
def test_a_line_that_is_read_quickly_is_read_as_with_care(line):
    """Two values for one key, too, whatever stands between them: one of them would be lost when it is written again."""
    raw = line.encode("utf-8", "surrogatepass")

    assert outcome(lines._decoded, raw) == outcome(lines._read_with_care, raw)


def test_what_we_and_beads_write_is_read_quickly(monkeypatch):
    monkeypatch.setattr(lines, "_read_with_care", lambda raw: pytest.fail(f"read with care: {raw}"))

    assert lines.line_of({"id": "x-1", "title": "é ü", "labels": ["a"], "dependencies": [{"depends_on_id": "y"}]}).task


def test_a_merge_that_git_could_not_finish_is_called_by_its_name(folder):
    folder.put("<<<<<<< HEAD", record(title="ours"), "=======", record(title="theirs"), ">>>>>>> theirs")

    assert "issues.jsonl:1: a conflict that git left" in refusal(folder)


def test_a_line_that_was_cut_off_is_refused(folder):
    folder.put(record(), record("x-2").encode()[:-20])

    assert "issues.jsonl:2: not JSON" in refusal(folder)


@pytest.mark.parametrize("place", ["issues.jsonl", ".beads"])
def test_a_link_to_nothing_is_not_an_empty_store(folder, place):
    folder.beads.mkdir()
    path = folder.path if place == "issues.jsonl" else folder.beads
    if path is folder.beads:
        path.rmdir()
    path.symlink_to("gone")

    with pytest.raises(PermanentError, match="link to nothing"):
        folder.tracker.tasks()


def test_a_pipe_in_the_place_of_the_file_is_refused_at_once(folder):
    folder.beads.mkdir()
    os.mkfifo(folder.path)

    with pytest.raises(PermanentError, match="not a file"):
        folder.tracker.tasks()


def test_a_file_in_the_place_of_the_folder_is_refused(folder):
    folder.beads.write_text("")

    with pytest.raises(PermanentError, match="Not a directory"):
        folder.tracker.tasks()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_not_an_empty_store(folder):
    folder.put(record())
    folder.path.chmod(0)

    with pytest.raises(PermanentError, match="Permission denied"):
        folder.tracker.tasks()


def test_a_store_that_may_not_be_written_is_no_fault_of_the_task_that_was_to_be(folder, monkeypatch):
    folder.put(record())
    folder.write("x-1", priority=1)

    def forbidden(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(_files.os, "replace", forbidden)  # what an immutable file says, to root as well

    with pytest.raises(RefusedError, match="cannot write") as told:
        folder.tracker.write([Change(task=TaskId("x-1"), priority=0)])
    assert told.value.paths == (str(folder.path),) and "accessible" in told.value.advised


def test_the_file_of_an_early_beads_is_not_passed_over(folder):
    folder.beads.mkdir()
    (folder.beads / "beads.jsonl").write_text(record())

    assert "beads.jsonl" in refusal(folder)


@pytest.mark.parametrize("how", ["removed", "emptied", "the whole folder"])
def test_tasks_that_were_there_are_not_gone_because_their_file_is(folder, how):
    folder.put(record())
    folder.tracker.tasks()
    match how:
        case "removed":
            folder.path.unlink()
        case "emptied":
            folder.path.write_text("\n")
        case _:
            folder.path.unlink()
            folder.beads.rmdir()

    with pytest.raises(TemporaryError, match="held 1 tasks, and now none"):
        folder.tracker.tasks()
    with pytest.raises(TemporaryError):
        folder.tracker.write([Change(task=TaskId("x-2"), create=NewTask(title="t"))])
    assert dict(JsonlTracker(folder.beads).tasks()) == {}

    folder.put(record(title="back"))
    assert folder.tracker.tasks()["x-1"].title == "back"


# --- noticing changes ------------------------------------------------------------------------------------------


def test_a_change_is_seen_even_where_nothing_but_the_content_tells(folder):
    folder.put(record(title="one"))
    clock = folder.path.stat()
    assert folder.tracker.tasks()["x-1"].title == "one"

    for title in ("two", "six"):
        folder.put(record(title=title))
        os.utime(folder.path, ns=(clock.st_atime_ns, clock.st_mtime_ns))
        assert folder.tracker.tasks()["x-1"].title == title


def test_a_change_is_seen_even_where_the_clock_of_the_file_system_stands_still(folder, monkeypatch):
    monkeypatch.setattr(_files, "stamp_of", lambda found: (1, 1, 1, 1))
    for title in ("one", "two"):
        folder.put(record(title=title))
        assert folder.tracker.tasks()["x-1"].title == title


def test_a_file_that_did_not_change_for_a_while_is_not_read_again(folder, monkeypatch):
    folder.put(record(title="one"))
    clock, later = folder.path.stat(), time.time_ns() + 60_000_000_000
    monkeypatch.setattr(_files.time, "time_ns", lambda: later)
    seen = folder.tracker.tasks()

    assert folder.tracker.tasks() is seen
    time.sleep(0.02)
    folder.put(record(title="two"))
    os.utime(folder.path, ns=(clock.st_atime_ns, clock.st_mtime_ns))
    assert folder.tracker.tasks()["x-1"].title == "two"


ONE_OF = [record("x-1"), f" {record('x-1')}", record("x-2"), record("x-2", title="again"), '{"_schema": 1}', "", "  "]


@example([ONE_OF[0]], [ONE_OF[1]], "\n")  # the one ends as the other does
@given(st.lists(st.sampled_from(ONE_OF)), st.lists(st.sampled_from(ONE_OF)), st.sampled_from(["", "\n"]))
def test_a_file_is_read_as_if_nobody_had_read_it_before(before, after, end):
    known = lines.parse("\n".join(before).encode(), "issues.jsonl")
    data = ("\n".join(after) + end).encode()

    assert lines.parse(data, "issues.jsonl", known) == lines.parse(data, "issues.jsonl")


def test_lines_that_others_moved_are_not_read_again():
    one, two, three, four = known = lines.parse("\n".join(record(f"x-{n}") for n in range(4)).encode(), "issues.jsonl")
    moved = b"\n".join([one.raw, record("new").encode(), three.raw, b"", two.raw, four.raw])

    found = lines.parse(moved, "issues.jsonl", known)

    assert [next((line for line in known if line is each), None) for each in found] == [one, None, three, two, four]


def test_a_line_that_can_not_be_read_is_named_by_its_number_however_much_was_read_before(folder):
    folder.put(record("x-1"), "", record("x-2"), record("x-3"))
    folder.tracker.tasks()
    folder.put(record("x-1"), "", "{", record("x-3"))

    with pytest.raises(PermanentError, match=r"issues\.jsonl:3: "):
        folder.tracker.tasks()


@pytest.mark.parametrize("how", ["touched", "replaced", "set back"])
def test_a_file_that_says_what_it_said_gives_the_very_same_tasks(folder, how):
    folder.put(record("x-1"), record("x-2"))
    seen = folder.tracker.tasks()

    if how == "replaced":
        other = folder.path.with_suffix(".new")
        other.write_bytes(folder.path.read_bytes())
        os.replace(other, folder.path)
    else:
        os.utime(folder.path, (0, 0) if how == "set back" else None)

    assert folder.tracker.tasks() is seen


def test_what_was_written_is_not_read_again(folder, monkeypatch):
    folder.put('{"_schema": 1}', record("x-2"), record("x-1"))
    folder.write("x-1", add_labels=frozenset({"mine"}))

    monkeypatch.setattr(lines, "_read", lambda raw: pytest.fail(f"read again: {raw!r}"))

    assert folder.tracker.tasks()["x-1"].labels == {"mine"}


# --- writing ---------------------------------------------------------------------------------------------------


def test_the_first_write_makes_the_folder_with_its_settings(folder):
    folder.write("x-1", create=NewTask(title="t"))

    assert (folder.beads / "config.yaml").read_text() == 'issue-prefix: "my-demo"\n'
    assert set((folder.beads / ".gitignore").read_text().split()) == {
        ".reconcile.lock",
        ".reconcile.tmp",
        "orchestrator/",
    }
    assert set(os.listdir(folder.beads)) == {"issues.jsonl", "config.yaml", ".gitignore", ".reconcile.lock"}


def test_settings_of_others_are_kept(folder):
    folder.beads.mkdir()
    (folder.beads / "config.yaml").write_text("# nothing said\n")
    (folder.beads / ".gitignore").write_bytes(b"*.db\n.reconcile.lock\r\nlast")
    for n in (1, 2):
        folder.write(f"x-{n}", create=NewTask(title="t"))

    assert (folder.beads / "config.yaml").read_text() == "# nothing said\n"
    assert (
        folder.beads / ".gitignore"
    ).read_bytes() == b"*.db\n.reconcile.lock\r\nlast\n.reconcile.tmp\norchestrator/\n"


def test_a_gitignore_that_is_a_link_stops_no_write(folder, tmp_path):
    folder.beads.mkdir()
    (tmp_path / "shared").write_text("*.db\n")
    (folder.beads / ".gitignore").symlink_to(tmp_path / "shared")

    folder.write("x-1", create=NewTask(title="t"))

    assert (folder.beads / ".gitignore").is_symlink()
    assert (tmp_path / "shared").read_text() == "*.db\n"


def test_reading_makes_nothing(folder):
    folder.tracker.tasks()
    folder.tracker.prefix()
    folder.tracker.write([])

    assert not folder.beads.exists()


def test_a_new_record_holds_the_keys_of_beads_in_their_order_and_no_empty_ones(folder):
    new = NewTask(
        title="t <&> ü", acceptance="a", labels=frozenset({"b", "a"}), parent=TaskId("x"), blockers=(TaskId("y"),)
    )
    folder.write("x.1", create=new, status="closed", close_reason="done", note="n", assignee="us")

    (line,) = folder.lines()
    made = json.loads(line)

    assert " ".join(made) == (
        "id title acceptance_criteria notes status priority issue_type assignee created_at created_by updated_at "
        "closed_at close_reason labels dependencies"
    )
    assert (made["created_by"], made["labels"]) == ("reconcile", ["a", "b"])
    assert [list(e.values())[:3] for e in made["dependencies"]] == [
        ["x.1", "x", "parent-child"],
        ["x.1", "y", "blocks"],
    ]
    assert all(e["created_by"] == "reconcile" and e["created_at"] == made["created_at"] for e in made["dependencies"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["created_at"])
    assert line == json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def test_records_stand_by_id_behind_the_lines_of_others(folder):
    header, memory = '{"_schema":"beads-jsonl/1"}', '{"_type": "memory",  "value": "\\u003c"}'
    folder.put(header, record("x-3"), memory, record("x-1"))

    folder.write("x-2", create=NewTask(title="t"))

    assert folder.lines()[:2] == [header, memory]
    assert [json.loads(line)["id"] for line in folder.lines()[2:]] == ["x-1", "x-2", "x-3"]


def test_unchanged_records_keep_every_byte(folder):
    strange = b'{ "title":"\\u003cb\\u003e \\ud83d\\ude00",  "x":1.10, "id":"x-2" }\r'
    folder.put(record(), strange + b"\n", record("x-3"))

    folder.write("x-1", priority=0)

    assert folder.path.read_bytes().split(b"\n")[1:] == [strange, record("x-3").encode(), b""]


def test_a_changed_record_keeps_what_we_do_not_know_and_its_order(folder):
    extra = {"z_last": {"deep": [1, "ü", None]}, "comments": [{"id": "uuid", "text": "hi"}], "estimated_minutes": None}
    folder.put(json.dumps({"x_first": 12345678901234567890, **json.loads(record(labels=["b", "a", "b"], **extra))}))

    folder.write("x-1", assignee="us", add_labels=frozenset("hgfedc"), remove_labels=frozenset({"b"}))

    changed = json.loads(folder.lines()[0])
    assert " ".join(changed) == (
        "x_first id title status priority assignee created_at updated_at labels z_last comments estimated_minutes"
    )
    assert {key: changed[key] for key in extra} == extra
    assert (changed["x_first"], changed["labels"]) == (12345678901234567890, list("acdefgh"))


def test_an_edge_of_another_kind_becomes_the_one_that_blocks_and_keeps_its_rest(folder):
    folder.put(record(dependencies=[{**edge("x-1", "x-2", "related"), "thread_id": "t"}, edge("x-1", "x-3", "tracks")]))

    folder.write("x-1", add_blockers=frozenset({TaskId("x-2")}))

    edges = json.loads(folder.lines()[0])["dependencies"]
    assert edges == [{**edge("x-1", "x-2", "blocks"), "thread_id": "t"}, edge("x-1", "x-3", "tracks")]


def test_removing_a_blocker_leaves_other_edges_to_it(folder):
    both = [edge("x-1", "x-2", "blocks"), edge("x-1", "x-2", "parent-child"), edge("x-1", "x-3", "conditional-blocks")]
    folder.put(record(dependencies=both))

    folder.write("x-1", remove_blockers=frozenset({TaskId("x-2"), TaskId("x-3")}))

    assert json.loads(folder.lines()[0])["dependencies"] == [both[1]]


def test_nothing_is_touched_when_nothing_changes(folder):
    folder.put(record("x-2", labels=["b", "a"]), record("x-1", description=""))
    folder.write("x-2", priority=1)
    before = folder.look()

    folder.write("x-2", priority=1, status="open", title="x-2", add_labels=frozenset({"a"}), note="")
    folder.write("x-1", description="", create=NewTask(title="again"))
    folder.tracker.write([Change(task=TaskId("x-404"), status="closed")])

    assert folder.look() == before


def test_what_git_sees_is_the_store_and_its_settings_alone(folder):
    def git(*args):
        return subprocess.run(
            ["git", *args], cwd=folder.beads.parent, capture_output=True, text=True, check=True
        ).stdout

    folder.write("x-1", create=NewTask(title="t"))
    git("init", "-q")
    git("add", ".")
    assert git("diff", "--cached", "--name-only").split() == [
        ".beads/.gitignore",
        ".beads/config.yaml",
        ".beads/issues.jsonl",
    ]

    folder.write("x-1", title="t")
    assert git("status", "--porcelain").count("AM") == 0
    folder.write("x-1", title="u")
    assert git("diff", "--name-only").split() == [".beads/issues.jsonl"]


def test_the_file_keeps_its_mode(folder):
    folder.put(record())
    folder.path.chmod(0o640)

    folder.write("x-1", priority=0)

    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o640


def test_a_file_that_is_a_link_is_read_but_never_written(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text(record() + "\n")
    folder.beads.mkdir()
    folder.path.symlink_to(elsewhere)

    assert set(folder.tracker.tasks()) == {"x-1"}
    with pytest.raises(PermanentError, match="is a link"):
        folder.write("x-1", priority=0)
    assert folder.path.is_symlink()
    assert elsewhere.read_text() == record() + "\n"


def test_a_folder_that_is_a_link_is_followed(folder, tmp_path):
    (tmp_path / "store").mkdir()
    folder.beads.symlink_to(tmp_path / "store")

    folder.write("x-1", create=NewTask(title="t"))

    assert (tmp_path / "store" / "issues.jsonl").is_file()
    assert folder.beads.is_symlink()


def test_what_a_killed_writer_left_is_in_nobody_s_way(folder, tmp_path):
    folder.put(record())
    (folder.beads / _files.TEMPORARY).symlink_to(tmp_path / "precious")

    folder.write("x-1", priority=0)

    assert folder.tracker.tasks()["x-1"].priority == 0
    assert not (tmp_path / "precious").exists()
    assert not (folder.beads / _files.TEMPORARY).is_symlink()


def test_what_is_nested_is_kept_as_it_is(folder):
    deep: list = []
    for _ in range(90):
        deep = [deep]
    folder.put(record(metadata=deep, description="[{" * 500))

    folder.write("x-1", priority=0)

    assert folder.tracker.record(TaskId("x-1"))["metadata"] == deep


# --- with others -----------------------------------------------------------------------------------------------


def test_a_write_builds_on_what_others_wrote_meanwhile(folder):
    folder.put(record(), record("x-2"))
    folder.tracker.tasks()
    folder.put(record(title="by hand"), record("x-2"))

    folder.write("x-2", priority=0)

    assert folder.tracker.tasks()["x-1"].title == "by hand"


def test_a_file_that_changes_under_the_write_is_read_again(folder, monkeypatch):
    folder.put(record(), record("x-2"))
    sync = os.fsync

    def an_editor_saves_meanwhile(fd):
        monkeypatch.setattr(os, "fsync", sync)
        folder.put(record(title="by hand"), record("x-2"))
        sync(fd)

    folder.write("x-2", priority=1)  # so that the folder's own files are there
    monkeypatch.setattr(os, "fsync", an_editor_saves_meanwhile)
    folder.write("x-2", priority=0)

    tasks = folder.tracker.tasks()
    assert (tasks["x-1"].title, tasks["x-2"].priority) == ("by hand", 0)


def test_a_writer_waits_for_another_but_not_for_ever(folder, monkeypatch):
    folder.put(record())
    monkeypatch.setattr(_files, "PATIENCE_S", 0.1)
    with _files.locked(folder.beads), pytest.raises(TemporaryError):
        folder.write("x-1", priority=0)
    assert folder.tracker.tasks()["x-1"].priority == 2

    monkeypatch.setattr(_files, "PATIENCE_S", 10.0)
    with _files.locked(folder.beads):
        waiting = threading.Thread(target=folder.write, args=("x-1",), kwargs={"priority": 0})
        waiting.start()
        time.sleep(0.05)
        assert folder.path.read_text() == record() + "\n"
    waiting.join()
    assert folder.tracker.tasks()["x-1"].priority == 0


def test_a_lock_file_that_was_cleaned_away_excludes_nobody(folder):
    folder.put(record())
    with _files.locked(folder.beads):
        (folder.beads / _files.LOCK).unlink()
        folder.write("x-1", priority=0)

    with _files.locked(folder.beads):
        assert (folder.beads / _files.LOCK).exists()


def test_a_lock_on_a_file_that_is_gone_is_no_lock(folder, monkeypatch):
    folder.beads.mkdir()
    flock = fcntl.flock

    def cleaned_away_meanwhile(fd, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        (folder.beads / _files.LOCK).unlink()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", cleaned_away_meanwhile)
    monkeypatch.setattr(_files, "PATIENCE_S", 0.1)
    with _files.locked(folder.beads), pytest.raises(TemporaryError), _files.locked(folder.beads):
        pass


WRITER = """
import sys
from pathlib import Path
from reconciler.model.ports import Change, NewTask
from reconciler.trackers.jsonl import JsonlTracker

tracker, me = JsonlTracker(Path(sys.argv[1])), sys.argv[2]
for n in range(int(sys.argv[3]), int(sys.argv[4])):
    note = f"{me}:{n}"
    for error in tracker.write([Change(task="x-1", note=note), Change(task=f"x-{me}{n}", create=NewTask(title="t"))]):
        if error:
            raise error
    sys.stdout.write(note + "\\n")
    sys.stdout.flush()
"""


def writer(folder, name, first, last):
    argv = [sys.executable, "-c", WRITER, str(folder.beads), name, str(first), str(last)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)


def test_two_programs_that_write_at_once_lose_nothing(folder):
    folder.put(record())

    writers = [writer(folder, name, 0, 200) for name in "ab"]
    for each in writers:
        each.communicate()

    assert [each.returncode for each in writers] == [0, 0]
    tasks = folder.tracker.tasks()
    assert set(tasks) == {"x-1", *(f"x-{name}{n}" for name in "ab" for n in range(200))}
    notes = tasks["x-1"].notes.splitlines()
    assert [n for n in notes if n[0] == "a"] == [f"a:{n}" for n in range(200)]
    assert [n for n in notes if n[0] == "b"] == [f"b:{n}" for n in range(200)]


def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new_one(folder):
    folder.put(record())
    first, deadline = 0, time.monotonic() + 2.5
    while time.monotonic() < deadline:
        victim = writer(folder, "k", first, first + 1_000_000)
        answered = [victim.stdout.readline().strip()]  # it is at it now
        time.sleep((time.monotonic_ns() % 50) / 1000)
        victim.send_signal(signal.SIGKILL)
        answered += victim.stdout.read().split()
        victim.wait()
        victim.stdout.close()

        tasks = JsonlTracker(folder.beads).tasks()
        notes = tasks["x-1"].notes.splitlines()
        assert notes == [f"k:{n}" for n in range(len(notes))], "each once, in order"
        assert set(tasks) == {"x-1", *(f"x-k{n}" for n in range(len(notes)))}, "a batch is written as a whole"
        assert len(notes) - 1 in (first + len(answered) - 1, first + len(answered)), "nothing that was answered is lost"
        first = len(notes)


def test_five_thousand_tasks_are_written_and_changed(folder):
    many = [Change(task=TaskId(f"x-{n}"), create=NewTask(title="t", description="d" * 500)) for n in range(5000)]
    assert set(folder.tracker.write(many)) == {None}

    folder.tracker.write([Change(task=TaskId(f"x-{n}"), status="closed") for n in range(0, 5000, 2)])

    assert sum(task.closed for task in JsonlTracker(folder.beads).tasks().values()) == 2500


# --- ids -------------------------------------------------------------------------------------------------------


def test_the_prefix_is_what_the_settings_say(folder):
    folder.beads.mkdir()
    for text, prefix in [
        ('issue-prefix: "abc"', "abc"),
        ("issue_prefix: abc-", "abc"),
        ("no-db: true", "my-demo"),
        ("issue-prefix:", "my-demo"),
        ("", "my-demo"),
        ("issue-prefix: 7", "7"),
    ]:
        (folder.beads / "config.yaml").write_text(text)
        assert folder.tracker.prefix() == prefix, text


@pytest.mark.parametrize(
    "text",
    [
        "issue-prefix: [",
        "- a",
        "issue-prefix: ../x",
        "issue-prefix: a..b",
        "issue-prefix: -f",
        "issue-prefix: 'a b'",
        "a: !!python/name:x",
        "\0",
    ],
)
def test_settings_that_make_no_sense_are_named(folder, text):
    folder.beads.mkdir()
    (folder.beads / "config.yaml").write_text(text)

    with pytest.raises(PermanentError, match=r"config\.yaml"):
        folder.tracker.prefix()


_CONFIGS = st.lists(
    st.sampled_from(
        [
            b'issue-prefix: "ab"\n',
            b'issue-prefix: "1.0"\n',
            b'issue-prefix: ""\n',
            b'issue-prefix: "a\\n"\n',
            b"# issue-prefix: no\n",
            "# größer\n".encode(),
            b"# \x07\n",
            b"#\t\n",
            b"#\r\n",
            b"\n",
            b" \n",
            b"---\n",
            b"...\n",
            b"%YAML 1.1\n",
            b"no-db: true\n",
            b" x\n",
            b"#",
        ]
    ),
    max_size=4,
).map(b"".join)


@given(text=_CONFIGS)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_settings_that_are_read_without_yaml_are_what_yaml_makes_of_them(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_bytes(text)
    try:
        expected = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        expected = None

    try:
        found = _settings._settings(path)
    except PermanentError:
        found = None

    assert found == (expected if isinstance(expected, dict) else None)


@pytest.mark.parametrize(
    "text", [b"", b"# a\n\n#\n", b'issue-prefix: "my-demo"\n', b'# a\n\nissue-prefix: "ab.c"\n# b\n']
)
def test_settings_as_beads_and_we_write_them_need_no_yaml(tmp_path, monkeypatch, text):
    monkeypatch.setattr(_settings, "late", pytest.fail)
    path = tmp_path / "config.yaml"
    path.write_bytes(text)

    assert _settings._settings(path) == (yaml.safe_load(text) or {})


@pytest.mark.parametrize(
    ("name", "prefix"), [("Größe 2", "gr-e-2"), ("42", "task"), ("9lives", "lives"), ("x" * 99, "x" * 40)]
)
def test_without_settings_the_prefix_is_the_folder_s_name(tmp_path, name, prefix):
    assert JsonlTracker(tmp_path / name / ".beads").prefix() == prefix


def test_a_new_id_ends_in_a_part_with_a_digit(folder):
    ids = {folder.tracker.new_id() for _ in range(200)}

    assert len(ids) > 190
    assert all(re.fullmatch(r"my-demo-[a-z0-9]{3,5}[0-9]", id) for id in ids)


def test_a_child_gets_the_number_after_the_last_that_ever_was(folder):
    assert folder.tracker.create(NewTask(title="e", type="epic")).startswith("my-demo-")
    folder.put(
        record("x"),
        record("x.1", status="closed"),
        record("x.2", status="tombstone"),
        record("x.10.4"),
        record("x.y"),
        record("x.13.1"),
        record("y", dependencies=[edge("y", "x.12", "blocks")]),
        record("xx.40"),
    )

    assert folder.tracker.new_id(TaskId("x")) == "x.14"
    assert folder.tracker.new_id(TaskId("x.10.4")) == "x.10.4.1"
    with pytest.raises(PermanentError, match="no task z"):
        folder.tracker.new_id(TaskId("z"))


def test_children_made_at_once_get_ids_of_their_own(folder):
    folder.put(record("x"))

    def make():
        tracker = JsonlTracker(folder.beads)
        for _ in range(5):
            tracker.create(NewTask(title="t", parent=TaskId("x")))

    makers = [threading.Thread(target=make) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()

    assert set(folder.tracker.tasks()) == {"x", *(f"x.{n}" for n in range(1, 21))}


def test_records_are_handed_out_as_they_stand_in_the_file(folder):
    folder.put('{"_schema":1}', record("x-2", mine=[1]), record("x-1", status="closed"))

    assert folder.tracker.record(TaskId("x-2")) == json.loads(record("x-2", mine=[1]))
    assert [found["id"] for found in folder.tracker.records()] == ["x-1", "x-2"]
    folder.tracker.records()[1]["mine"].append(2)
    folder.tracker.record(TaskId("x-2"))["mine"].append(3)
    assert folder.tracker.record(TaskId("x-2"))["mine"] == [1]
    with pytest.raises(PermanentError, match="no task x-3"):
        folder.tracker.record(TaskId("x-3"))


# --- real Beads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "there",
    [
        {"beads.db": b""},
        {"other.db": b"SQLite format 3"},
        {"beads.sqlite3": b""},
        {"redirect": b"../elsewhere/.beads"},
        {"dolt/": None},
        {"embeddeddolt/": None},
        {"embeddeddolt/": None, "config.yaml": b"no-db: true"},
        {"metadata.json": b'{"backend":"dolt","dolt_mode":"server"}'},
        {"metadata.json": b'{"database":"dolt"}'},
        {"metadata.json": b'{"backend":"something-new"}'},
        {"metadata.json": b'{"backend":7}'},
        {"metadata.json": b"{"},
        {"metadata.json": b"[]"},
        {"beads.db": b"", "config.yaml": b"no-db: false"},
        {"beads.db": b"", "config.yaml": b"no-db: 'true'"},
    ],
    ids=str,
)
def test_nothing_is_read_or_written_beside_a_real_database(folder, there):
    folder.put(record())
    for name, data in there.items():
        if data is None:
            (folder.beads / name).mkdir()
        else:
            (folder.beads / name).write_bytes(data)
    before = sorted(os.listdir(folder.beads))

    assert holds_database(folder.beads)
    for attempt in (
        folder.tracker.tasks,
        lambda: folder.write("x-1", priority=0),
        lambda: folder.tracker.create(NewTask(title="t")),
    ):
        with pytest.raises(PermanentError, match="real Beads") as told:
            attempt()
        assert told.value.hint
    assert folder.lines() == [record()]
    assert sorted(os.listdir(folder.beads)) == before


@pytest.mark.parametrize(
    "there",
    [
        {},
        {"metadata.json": b'{"database":"beads.db","jsonl_export":"issues.jsonl"}'},
        {"metadata.json": b'{"backend":"sqlite"}'},
        {"beads.db": b"", "config.yaml": b"no-db: true\n"},
        {"interactions.jsonl": b"", "README.md": b"", ".local_version": b"0.49.6"},
    ],
    ids=str,
)
def test_a_folder_without_a_database_in_use_is_ours(folder, there):
    folder.put(record())
    for name, data in there.items():
        (folder.beads / name).write_bytes(data)

    assert holds_database(folder.beads) is None
    folder.write("x-1", priority=0)
    assert folder.tracker.tasks()["x-1"].priority == 0


def test_no_folder_holds_no_database(tmp_path):
    assert holds_database(tmp_path / ".beads") is None
