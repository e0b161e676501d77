"""kill -9 before and after every effect of a whole life of a task: spawn, open, check, land, prune; on real git."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from somebody import ALL, HABITS, Somebody
from strangers import Place, merged
from waiting import run

KILLED = Path(__file__).with_name("killed.py")
EFFECTS_MAX = 24


def _until_killed(place: Place, manifest: Path, at: int, how: str, habit: str = "") -> subprocess.CompletedProcess[str]:
    words = (sys.executable, str(KILLED), str(manifest), str(at), how, *([habit] if habit else []))
    path = os.pathsep.join((str(KILLED.parents[1]), *filter(None, [place.env.get("PYTHONPATH")])))
    return run(words, cwd=place.root, env=place.env | {"PYTHONPATH": path})


@pytest.mark.parametrize("how", ["before", "after", pytest.param("unanswered", marks=pytest.mark.slow)])
@pytest.mark.parametrize("at", range(1, EFFECTS_MAX + 1))
def test_killed_at_an_effect_it_goes_on_and_does_nothing_twice(tmp_path: Path, at: int, how: str) -> None:
    place = Place(tmp_path)
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}])

    struck = _until_killed(place, manifest, at, how)
    place.reconcile("watch", "-f", str(manifest), "--until-done")

    assert struck.returncode in (0, -9), struck.stderr
    merged(place, "Do a")
    assert len(list((place.root / ".git/reconcile/runs/work").glob("*/*/run.json"))) == 1
    pulls = place.git("for-each-ref", "--format=%(refname)", "refs/reconcile/pr").split()
    assert pulls == ["refs/reconcile/pr/1"]


def test_the_sweep_reaches_the_end_of_a_life(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}])

    lived = _until_killed(place, manifest, 10_000, "before")

    assert lived.returncode == 0, lived.stderr
    done = lived.stdout.split()
    assert {"create", "start", "open", "create_check", "land", "remove", "delete_branch"} <= set(done)
    assert len(done) <= EFFECTS_MAX


HOWS = ("before", "after", "unanswered")
LIVES = [(at, how, habit) for at in range(1, EFFECTS_MAX + 1) for how in HOWS for habit in (*HABITS, ALL)]
SAMPLE = {(at, HOWS[at // 4 % 3], ALL) for at in range(2, EFFECTS_MAX, 4)}


@pytest.mark.parametrize(
    ("at", "how", "habit"),
    [life if life in SAMPLE else pytest.param(*life, marks=pytest.mark.slow) for life in LIVES],
)
def test_whoever_works_in_the_checkout_between_two_effects_loses_nothing_and_undoes_nothing(
    tmp_path: Path, at: int, how: str, habit: str
) -> None:
    """They also do what they do right after a kill, before anybody starts the program again."""
    place = Place(tmp_path)
    place.git("commit", "--quiet", "--allow-empty", "--message=mine")  # what is amended first has nobody built on
    somebody = Somebody(place.root, place.env, habit)
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}])

    struck = _until_killed(place, manifest, at, how, habit)
    somebody.act()
    place.reconcile("watch", "-f", str(manifest), "--until-done")
    somebody.leave()

    assert struck.returncode in (0, -9), struck.stderr
    _landed_once(place)
    assert somebody.files and somebody.missing() == []
    theirs = set(somebody.files)
    assert set(place.git("diff", "--cached", "--name-only").split()) <= theirs
    assert set(place.git("diff", "--name-only").split()) <= theirs
    assert not (place.root / ".git/index.lock").exists()


def _landed_once(place: Place) -> None:
    task = place.tasks()["Do a"]
    assert task["status"] == "closed" and "phase:merged" in task["labels"], task
    named = place.git("log", "--format=%(trailers:key=Reconcile-Task,valueonly)", "main").split()
    assert named == [task["id"]], place.git("log", "--stat", "main")
    file = f"{task['id']}.txt"
    assert place.git("show", f"main:{file}") == (place.root / file).read_text() == f"{task['id']}\n"
    assert place.leftovers() == []
