"""`retry` beside a landing: what is on the base already is not done a second time, unless somebody says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from strangers import Place

from reconciler import wiring
from reconciler.cli.output import Output
from reconciler.cli.people import begin_anew
from reconciler.model.errors import PermanentError
from reconciler.model.names import TaskId
from reconciler.model.ports import Change
from reconciler.planning.labels import MERGED
from reconciler.runners.local import LocalRunner

OUT = Output(form="text", color=False)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    script = 'date +%N > "$RECONCILE_TASK.txt"; git add . && git commit -qm "Do it"'
    place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", script]})
    place.reconcile("apply", "-f", "../epic.yaml", "--wait")
    return place


def the(place: Place) -> dict:
    return place.tasks()["Do a"]


def in_the_store(place: Place, **fields: object) -> None:
    """Make the task so, as if the program had been killed before it wrote the rest."""
    store = place.root / ".beads/issues.jsonl"
    tasks = [json.loads(line) for line in store.read_text().splitlines()]
    made = [task | fields if task["title"] == "Do a" else task for task in tasks]
    store.write_text("".join(json.dumps(task) + "\n" for task in made))


def marks(place: Place) -> list[Path]:
    return list((place.root / ".git/reconcile/runs").rglob("since.json"))


def test_what_has_landed_is_not_done_again_by_a_plain_retry(place):
    before = the(place)

    said = place.reconcile("retry", before["id"], code=1)

    assert "is closed: its work is merged" in said and f"retry {before['id']} --reopen" in said
    assert the(place) == before and marks(place) == []


def test_what_has_landed_is_done_again_where_somebody_says_so(place):
    place.reconcile("retry", the(place)["id"], "--reopen")
    place.reconcile("task", "update", place.tasks()["work"]["id"], "--status", "open")
    place.reconcile("watch", "--until-done")

    assert place.subjects().count("Do a") == 2 and the(place)["status"] == "closed"


def test_a_landing_whose_task_is_not_closed_yet_is_a_landing(place):
    in_the_store(place, status="in_progress", labels=["phase:pr_created", "pr:1"], closed_at=None, close_reason=None)
    in_the_store(place, assignee=f"reconcile@{wiring.open_site(place.root, place.env).host}")

    assert "its work is merged" in place.reconcile("retry", the(place)["id"], code=1)
    assert marks(place) == []
    place.reconcile("watch", "--until-done")
    assert place.subjects().count("Do a") == 1
    assert the(place)["status"] == "closed" and MERGED in the(place)["labels"]


def test_what_an_agent_does_that_was_at_work_when_retry_was_typed_lands(tmp_path):
    place, go = Place(tmp_path), tmp_path / "go"
    script = f'until [ -e {go} ]; do sleep 0.1; done; date +%N > a.txt; git add . && git commit -qm "Do it"'
    place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", script]})
    place.reconcile("apply", "-f", "../epic.yaml")

    place.reconcile("retry", the(place)["id"])
    go.touch()
    place.reconcile("watch", "--until-done")

    assert place.subjects().count("Do a") == 1 and the(place)["status"] == "closed"
    runs = json.loads(place.reconcile("get", "runs", "-o", "json"))
    assert [run["attempt"] for run in runs if run["kind"] == "work"] == [1]


@pytest.mark.parametrize(("labels", "says"), [({MERGED}, "its work is merged"), (set(), "is closed")])
def test_a_task_that_is_closed_while_retry_is_typed_stays_closed(place, monkeypatch, labels, says):
    place.reconcile("task", "create", "By hand")
    task = TaskId(place.tasks()["By hand"]["id"])
    site = wiring.open_site(place.root, place.env)
    mark = LocalRunner.mark_since

    def closed_first(self: LocalRunner, *what: object) -> None:
        site.tracker.write([Change(task=task, status="closed", add_labels=frozenset(labels))])
        mark(self, *what)

    monkeypatch.setattr(LocalRunner, "mark_since", closed_first)
    with pytest.raises(PermanentError, match=says):
        begin_anew(site, task, OUT)

    assert place.tasks()["By hand"]["status"] == "closed"
