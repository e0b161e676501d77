"""kill -9 before and after every effect of a whole life of a task: spawn, open, check, land, prune; on real git."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from strangers import Place, merged
from waiting import run

KILLED = Path(__file__).with_name("killed.py")
EFFECTS_MOST = 24


def _until_killed(place: Place, manifest: Path, at: int, how: str) -> subprocess.CompletedProcess[str]:
    return run((sys.executable, str(KILLED), str(manifest), str(at), how), cwd=place.root, env=place.env)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("at", range(1, EFFECTS_MOST + 1))
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
    assert len(done) <= EFFECTS_MOST
