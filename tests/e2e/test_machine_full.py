"""A machine without room: starts wait and say why, and what stands on the disk is shown with its size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import Place

MUCH = {"resources": {"memory": "0M", "disk": "99999T"}}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.reconcile("stop", "--all", code=None)


def test_starts_wait_for_room_and_say_what_there_is_too_little_of(place: Place) -> None:
    one = [{"key": "a", "title": "Do a"}]
    place.reconcile("apply", "-f", str(place.manifest(tasks=one, agent=MUCH)))

    (epic,) = place.json("status")["epics"]
    (task,) = epic["tasks"]
    degraded = next(each for each in epic["conditions"] if each["type"] == "Degraded")
    assert task["waiting"]["reason"] == degraded["reason"] == "MachineFull"
    assert "an agent takes 99999T of disk" in task["waiting"]["message"]
    assert place.json("get", "runs") == []

    place.reconcile("apply", "-f", str(place.manifest(tasks=one, agent={"resources": "auto"})), "--wait")
    assert place.tasks()["Do a"]["status"] == "closed"


def test_worktrees_are_shown_with_the_disk_that_they_take(place: Place) -> None:
    big = "head -c 3000000 /dev/zero > big; git add .; git commit -qm big; exit 1"
    file = place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", big], "maxAttempts": 1})
    place.reconcile("apply", "-f", str(file), "--wait", code=3)

    (tree,) = place.json("get", "worktrees")
    assert 3_000_000 <= tree["bytes"] < 5_000_000
    assert "SIZE" in place.reconcile("get", "worktrees")
