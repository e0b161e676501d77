"""The queue's example against a GitHub of our own, with a watch that is killed every three seconds."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

import pytest
import yaml
from strangers import EXAMPLES
from waiting import ended

from tests.e2e.test_on_github import NAME, Place, cloned

pytestmark = [pytest.mark.xdist_group("github"), pytest.mark.slow, pytest.mark.timeout(1200)]
RUNS_MAX = 150
CHANGES = 30


def tips(place: Place) -> list[str]:
    return place.git("reflog", "show", "--format=%H", "main").split()


@pytest.mark.parametrize("method", ["merge", "squash"])  # pushed by us in groups; merged by GitHub one at a time
def test_killed_every_three_seconds_the_base_only_holds_what_passed_and_each_change_once(method: str) -> None:
    with cloned() as place:
        place.hub.commit(NAME, "main", {path.name: path.read_text() for path in (EXAMPLES / "queue").iterdir()})
        place.git("fetch", "--quiet", "origin")
        place.git("reset", "--quiet", "--hard", "origin/main")
        before = {*tips(place), *place.git("rev-list", "main").split()}
        passed = place.root.parent / "passed"
        document = yaml.safe_load((EXAMPLES / "queue" / "epic.yaml").read_text())
        document["spec"]["repository"] = "project"
        checks = [f"python3 check.py && git rev-parse HEAD^{{tree}} >> {passed}"]
        document["spec"]["mergePolicy"] |= {"method": method, "checks": checks, "requiredChecks": ["ci"]}
        manifest = place.root.parent / "epic.yaml"
        manifest.write_text(yaml.safe_dump(document))
        place.reconcile("apply", "-f", str(manifest))

        for n in range(RUNS_MAX):
            watch = place.start("watch", "--until-done")
            try:
                watch.wait(timeout=3 + n // 20)  # a machine that is busy with all else hardly starts in three seconds
            except subprocess.TimeoutExpired:
                watch.kill()
            ended(watch)
            if watch.returncode == 0:
                break

        assert watch.returncode == 0
        trees = set(passed.read_text().split())
        moved = (line.split(" ") for line in (place.app.bare.path / "pushed").read_text().splitlines())
        ours = {new for _, new, ref, *_ in moved if ref == "refs/heads/main"}
        made = {*ours, *tips(place)} - before
        assert made and {place.git("rev-parse", f"{tip}^{{tree}}").strip() for tip in made} <= trees
        titles = place.app.bare.git("log", "--first-parent", "--format=%s", "main").splitlines()
        found = (re.search(r"Add the number (\d+)", title) for title in titles)
        assert Counter(int(each[1]) for each in found if each) == Counter(range(1, CHANGES + 1))
        assert all(task["status"] == "closed" for task in place.tasks().values())
        assert len(place.app.orders) == (0 if method == "merge" else CHANGES)
