"""The queue's example, by real git and real processes: thirty changes, two of which break the build together."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from strangers import EXAMPLES, Place
from waiting import ended, until

CHANGES = 30


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    shutil.copytree(EXAMPLES / "queue", made.root, dirs_exist_ok=True)
    check = made.root / "check.py"
    luck = tmp_path / "luck"  # strikes the first large group, and nobody after that
    luck.touch()
    unlucky = (
        f"len(list(Path('numbers').iterdir())) >= 8 and os.path.exists({str(luck)!r}) and not os.remove({str(luck)!r})"
    )
    shown = check.read_text().replace("time.sleep(1)", "time.sleep(0.1)").replace("import random", "import os")
    assert "random.random() < 1 / 30" in shown
    check.write_text(shown.replace("random.random() < 1 / 30", unlucky))
    made.git("add", ".")
    made.git("commit", "--quiet", "--message=The example")
    return made


def tips(place: Place) -> list[str]:
    return place.git("reflog", "show", "--format=%H", "main").split()


def landed(place: Place) -> list[int]:
    titles = place.git("log", "--format=%s", "main").splitlines()
    return [int(found[1]) for title in titles if (found := re.search(r"Add the number (\d+)", title))]


def assert_green_and_whole(place: Place) -> None:
    for tip in tips(place):
        files = set(place.git("ls-tree", "--name-only", tip).split())
        assert not {"left", "right"} <= files, tip
    assert Counter(landed(place)) == Counter(range(1, CHANGES + 1))
    assert len(place.git("ls-tree", "--name-only", "main:numbers").split()) == CHANGES
    assert all(task["status"] == "closed" for task in place.tasks().values())


def test_all_of_the_example_lands_in_far_fewer_checks_than_changes(place: Place) -> None:
    lines = place.reconcile("apply", "-f", "epic.yaml", "--wait").splitlines()
    assert_green_and_whole(place)
    done = Counter(line.split("  ")[1] for line in lines if line.count("  ") > 1)
    assert done["StartCheck"] < CHANGES + 5, lines
    assert len(tips(place)) < CHANGES
    pulls = place.json("get", "prs")
    assert {pull["checks"] for pull in pulls} == {"passed"} and any(pull["checkedWith"] for pull in pulls)
    assert done["RestartAgent"] == 1, lines  # one of the two that break the build together; nobody for bad luck


@pytest.mark.parametrize("every", [True, False])
def test_each_commit_was_tested_where_it_landed_only_where_every_commit_is_to_be_green(
    tmp_path: Path, every: bool
) -> None:
    place, go, tested = Place(tmp_path), tmp_path / "go", tmp_path / "tested"
    check = f"git rev-parse HEAD^{{tree}} >> {tested}; until test -e {go}; do sleep 0.05; done"
    queue = {"parallel": 1, "everyCommit": every}
    tasks = [{"key": key, "title": f"Do {key}"} for key in "abcde"]
    file = place.manifest(tasks=tasks, maxAgents=5, mergePolicy={"checks": [check], "queue": queue})
    place.reconcile("apply", "-f", str(file))
    watch = place.start("watch", "--until-done")
    until(lambda: len(place.json("get", "prs")) == len(tasks), "all of them to be offered", by=watch)
    go.touch()
    assert ended(watch) and watch.returncode == 0

    commits = place.git("log", "--format=%T %s", "main").splitlines()
    assert len(commits) == 1 + len(tasks)
    untested = [commit for commit in commits[:-1] if commit.split()[0] not in tested.read_text().split()]
    assert bool(untested) is not every


@pytest.mark.slow
def test_killed_every_three_seconds_only_green_trees_are_on_the_base_and_each_change_once(place: Place) -> None:
    place.reconcile("apply", "-f", "epic.yaml")
    for _ in range(100):
        watch = place.start("watch", "--until-done")
        try:
            watch.wait(timeout=3)
        except Exception:  # noqa: BLE001 - it runs still: now it is killed
            watch.kill()
        ended(watch)
        if watch.returncode == 0:
            break
        time.sleep(0.2)
    assert watch.returncode == 0
    assert_green_and_whole(place)
