"""Which branch work lands on: chosen once, recorded, shown, and changed by nobody but the manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from strangers import Place
from waiting import ended, until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def base(place: Place) -> str:
    return next(row["base"] for row in place.json("get", "manifests") if row["name"] == "work")


@pytest.mark.parametrize("where", [("switch", "--create", "mine"), ("checkout", "--detach")], ids="-".join)
@pytest.mark.parametrize("how", ["apply", "diff"])
def test_a_base_that_the_manifest_does_not_name_stays_whatever_somebody_has_checked_out(place, where, how):
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))
    place.git(*where)

    place.reconcile(how, "-f", str(place.manifest(suspend=True, maxAgents=2)), code=None)

    assert base(place) == "main"


def test_a_watched_manifest_that_is_edited_lands_where_it_did(place):
    file = place.manifest()
    watch = place.start("watch", "-f", str(file), "--until-done", "--interval", "1s")
    until(lambda: len(place.subjects()) >= 1 and (place.root / ".git/reconcile/manifests/work.yaml").exists())
    place.git("switch", "--quiet", "--create", "mine")
    file.write_text(file.read_text().replace("agent:", "maxAgents: 2\n  agent:"))
    out, err = ended(watch)

    assert watch.returncode == 0, out + err
    assert base(place) == "main"
    assert len(place.subjects()) == 3 and place.git("log", "--format=%s", "mine").split() == ["Begin"]


def test_the_manifests_own_word_changes_the_base_and_is_remembered_when_it_goes(place):
    place.git("branch", "next")
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))

    place.reconcile("apply", "-f", str(place.manifest(suspend=True, base="next")))
    assert base(place) == "next"
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))
    assert base(place) == "next"


def test_what_is_recorded_says_where_its_work_lands(place):
    process = place.start("apply", "-f", str(place.manifest(suspend=True)))
    _, err = ended(process)

    assert "applied work (base main, suspended)" in err
    assert "BASE" in place.reconcile("get", "manifests")


def test_a_base_that_is_gone_is_said(place):
    place.git("switch", "--quiet", "--create", "mine")
    place.reconcile("apply", "-f", str(place.manifest(suspend=False, base="main", agent={"argv": ["sleep", "60"]})))
    place.git("branch", "--quiet", "-D", "main")

    held = place.json("diff", code=None)["epics"][0]["held"]
    assert "there is no base branch main" in held["message"]
    assert "there is no base branch main" in place.reconcile("status")
    place.reconcile("stop", "--all")


@pytest.fixture
def behind(place: Place, tmp_path: Path) -> Place:
    """A clone whose base lacks a commit that has been fetched."""
    place.git("clone", "--quiet", "--bare", ".", str(tmp_path / "origin"))
    place.git("remote", "add", "origin", str(tmp_path / "origin"))
    place.git("commit", "--quiet", "--allow-empty", "--message=Somebody else's")
    place.git("push", "--quiet", "origin", "main")
    place.git("reset", "--quiet", "--hard", "HEAD~1")
    return place


@pytest.mark.parametrize("elsewhere", [False, True], ids=["checked out", "not checked out"])
def test_nothing_starts_on_a_base_that_is_behind_what_was_fetched_until_it_is_brought_forward(behind, elsewhere):
    if elsewhere:
        behind.git("switch", "--quiet", "--create", "mine")
    manifest = str(behind.manifest(base="main"))
    assert "!  BaseBehind: main is behind origin/main" in behind.reconcile("diff", "-f", manifest, code=1)
    behind.reconcile("apply", "-f", manifest)
    assert "!  BaseBehind: main is behind origin/main" in behind.reconcile("diff", code=None)
    assert "Degraded (BaseBehind)  main is behind origin/main" in behind.reconcile("status")

    waits = next(task["waiting"] for task in behind.json("status")["epics"][0]["tasks"] if task["title"] == "Do a")
    assert waits["reason"] == "BaseBehind"
    command = "fetch . origin/main:main" if elsewhere else "merge --ff-only origin/main"
    assert f"'git {command}' brings it forward" in waits["message"]
    assert f"git {command}" in behind.reconcile("doctor")
    behind.reconcile("watch", "--until-done", code=3)
    assert behind.git("branch", "--list", "agent/*") == ""

    behind.git(*command.split())
    behind.reconcile("watch", "--until-done")
    assert behind.subjects() == ["Do b", "Do a", "Somebody else's", "Begin"]


def test_a_base_that_has_parted_from_its_remote_is_named_before_anybody_starts(behind: Place) -> None:
    behind.git("commit", "--quiet", "--allow-empty", "--message=Ours")
    manifest = str(behind.manifest(base="main", mergePolicy={"push": True}, suspend=True))

    said = behind.reconcile("diff", "-f", manifest, code=None)
    behind.reconcile("apply", "-f", manifest)

    assert "!  BaseDiverged: " in said and "Degraded (BaseDiverged)" in behind.reconcile("status")


def test_a_base_that_is_ahead_of_its_remote_is_worked_on(place, tmp_path):
    place.git("clone", "--quiet", "--bare", ".", str(tmp_path / "origin"))
    place.git("remote", "add", "origin", str(tmp_path / "origin"))
    place.git("fetch", "--quiet", "origin")

    place.reconcile("apply", "-f", str(place.manifest()), "--wait")

    assert len(place.subjects()) == 3
