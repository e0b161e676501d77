"""What the built-in store wrote is what a real Beads imports: nothing is lost on the way to it."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from databases import PREFIX, database

from reconciler.model.desired import EPOCH
from reconciler.model.names import TaskId
from reconciler.model.observed import Task
from reconciler.model.ports import Change, NewTask
from reconciler.model.values import replace
from reconciler.trackers.jsonl import JsonlTracker

A_SECOND = timedelta(seconds=1)  # some keep whole ones only
IMPORTS = [
    pytest.param("bd-sqlite", ("import", "-i"), id="bd-sqlite"),
    pytest.param("bd", ("import",), id="bd", marks=pytest.mark.slow),
]


def change(task: str, **fields: object) -> Change:
    return Change(task=TaskId(f"{PREFIX}-{task}"), **fields)  # type: ignore[arg-type]


def filled(folder: Path) -> JsonlTracker:
    """A store in which everything has been done once that the program ever does."""
    store = JsonlTracker(folder / ".beads")
    epic = TaskId(f"{PREFIX}-e1")
    answers = store.write(
        [
            change("e1", create=NewTask(title="Epic", type="epic", description="reconcile-key: work")),
            change("a1", create=NewTask(title="Do <a> & “b”", description="d\n\ntwice", acceptance="ok", parent=epic)),
            change(
                "b1",
                create=NewTask(title="B", priority=0, parent=epic, blockers=(TaskId(f"{PREFIX}-a1"),)),
                add_labels=frozenset({"phase:working", "pr:7"}),
                status="in_progress",
                assignee="reconcile@host",
            ),
            change("a1", note="one"),
            change("a1", note="two\nlines", status="blocked", add_labels=frozenset({"needs-human"})),
            change("c1", create=NewTask(title="C"), status="closed", close_reason="merged in #3"),
        ]
    )
    assert not any(answers)
    return store


@pytest.mark.parametrize(("kind", "words"), IMPORTS)
def test_a_store_of_ours_is_the_same_after_its_import(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    (tmp_path / "ours").mkdir()
    before = filled(tmp_path / "ours").tasks()
    db = database(tmp_path / "theirs", kind)
    shutil.copy(tmp_path / "ours" / ".beads" / "issues.jsonl", tmp_path / "ours.jsonl")

    db.bd(*words, str(tmp_path / "ours.jsonl"))

    after = db.tracker().tasks()
    assert {id: _undated(task) for id, task in after.items()} == {id: _undated(task) for id, task in before.items()}
    for id, task in after.items():
        assert abs(task.created_at - before[id].created_at) < A_SECOND
        assert task.closed == bool(task.closed_at)


def _undated(task: Task) -> Task:
    return replace(task, created_at=EPOCH, updated_at=EPOCH, closed_at=None)


@pytest.mark.parametrize("kind", ["bd-sqlite", pytest.param("bd", marks=pytest.mark.slow)])
def test_what_beads_exports_is_a_store_for_us(tmp_path: Path, kind: str) -> None:
    db = database(tmp_path / "theirs", kind)
    epic = db.make("Epic", "--type=epic")
    task = db.make("Do it", f"--parent={epic}", "--labels=a,b")
    ours = tmp_path / "ours" / ".beads"
    ours.mkdir(parents=True)

    (ours / "issues.jsonl").write_text(db.bd("export"))

    tasks = JsonlTracker(ours).tasks()
    assert set(tasks) == {epic, task}
    assert (tasks[TaskId(task)].parents, tasks[TaskId(task)].labels) == ((epic,), {"a", "b"})
    assert all(json.loads(line) for line in (ours / "issues.jsonl").read_text().splitlines())
