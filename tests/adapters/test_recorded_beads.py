"""Four generations of Beads, by what they answered: the same story comes to the same tasks, whichever keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import recorded_beads
from recorded_beads import NAMES, played


@pytest.mark.parametrize("name", NAMES)
def test_the_same_story_comes_to_the_same_tasks_with_every_bd(name: str, tmp_path: Path) -> None:
    told = played(name, tmp_path)

    prefix, empty, *answers, last = told
    assert (prefix, empty) == ("x", {})
    assert [each for each in answers if isinstance(each, list)] == [
        [None], [None, None, None], [None], [None, None], [None, "PermanentError"], [None], [None, None],
    ]  # fmt: skip
    assert {id: (task["status"], task["labels"], task["priority"]) for id, task in last.items()} == {
        "x-1": ("closed", ["a", "b, c", "phase:merged", "pr:7"], 0),
        "x-2": ("open", [], 2),
        "x-3": ("open", [], 4),
        "x-e": ("open", [], 2),
    }
    assert (last["x-1"]["reason"], last["x-1"]["assignee"], last["x-1"]["parents"]) == (
        "merged #7",
        recorded_beads.US,
        ["x-e"],
    )
    assert (last["x-2"]["blockers"], last["x-3"]["notes"]) == (["x-1", "x-3"], "first\nsecond")
    assert last["x-1"]["texts"] == ['Ünïcode; with "quotes"\nand lines', "it works"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_tells_nothing_of_where_it_was_made(name: str) -> None:
    said = json.loads(recorded_beads.recording(name).read_text())

    assert {"argv", "code", "out", "err"} == {key for call in said["calls"] for key in call}
    assert not any(word in json.dumps(said) for word in ("/root", "/home", "/tmp", "@users"))
