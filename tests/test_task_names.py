"""A task is named by its id, by its key or by the beginning of its id; what may mean two is asked for again."""

from __future__ import annotations

import pytest
from strangers import Place

from reconciler.cli.task_names import meant
from reconciler.model.names import TaskId

A, B, C = TaskId("shop-a1b2c"), TaskId("shop-a1b29"), TaskId("shop-zz")
IDS = (A, B, C, TaskId("shop-a1b2c.1"))
KEYS = {"parser": {A}, "one/lexer": {B}, "two/lexer": {C}, "lexer": {B, C}, "shop-zz": {A}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shop-a1b2c", [A]),  # although another one begins like it
        ("shop-a1b29", [B]),
        ("parser", [A]),
        ("one/lexer", [B]),
        ("lexer", [B, C]),
        ("shop-zz", [A, C]),  # the id of one, the key of another
        ("shop-a1b2", [B, A, TaskId("shop-a1b2c.1")]),
        ("shop-a1b2c.", [TaskId("shop-a1b2c.1")]),
        ("shop-a1b", []),  # too short to be meant
        ("shop", []),
        ("a1b2c", []),
        ("", []),
    ],
)
def test_a_name_means_what_is_called_so_exactly_or_else_what_begins_so(text: str, found: list[TaskId]) -> None:
    assert list(meant(text, IDS, KEYS)) == sorted(found)


def test_every_command_takes_a_key_and_says_whom_it_took_for_it(tmp_path) -> None:
    place = Place(tmp_path)
    place.reconcile("apply", "--wait", "-f", str(place.manifest(tasks=[{"key": "parser", "title": "Parse"}])))
    (task,) = [id for id, title in ids(place).items() if title == "Parse"]
    for name in ("parser", "work/parser", task[:-1]):
        for command in (("describe",), ("logs",), ("task", "show"), ("get", "events"), ("pr", "show")):
            process = place.start(*command, name)
            out, err = process.communicate()
            assert process.returncode == 0 and f"{name} is {task}" in err, (command, name, out, err)
    said = place.reconcile("describe", f"{task}x", code=2)
    assert f"did you mean '{task}'?" in said
    assert "did you mean 'apply'?" in place.reconcile("aply", code=2)


def test_a_key_that_two_manifests_have_is_asked_for_again(tmp_path) -> None:
    place = Place(tmp_path)
    for name in ("one", "two"):
        manifest = place.manifest(tasks=[{"key": "parser", "title": f"Parse {name}"}])
        manifest.write_text(manifest.read_text().replace("name: work", f"name: {name}"))
        place.reconcile("apply", "-f", str(manifest))
    first, second = sorted(id for id, title in ids(place).items() if title.startswith("Parse"))

    said = place.reconcile("stop", "parser", code=2)

    assert f"parser means 2 tasks: {first}, {second}" in said
    assert first in place.reconcile("describe", "one/parser") + place.reconcile("describe", "two/parser")


def test_inside_a_run_only_ids_are_taken(tmp_path) -> None:
    place = Place(tmp_path)
    place.reconcile("apply", "-f", str(place.manifest(tasks=[{"key": "parser", "title": "Parse"}])))
    place.env["RECONCILE_RUN"] = "work/x-1/1"
    assert "no task parser" in place.reconcile("task", "show", "parser", code=2)


def ids(place: Place) -> dict[str, str]:
    return {task["id"]: task["title"] for task in place.json("task", "list", "--all")}
