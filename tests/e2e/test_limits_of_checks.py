"""Checks with limits of their own: what takes too long is named, what passes when it is started again is said to be flaky."""

from __future__ import annotations

from pathlib import Path

from strangers import Place, merged

TASK = [{"key": "a", "title": "Do a"}]


def test_a_check_that_takes_longer_than_its_own_limit_is_named_with_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    slow = {"run": "test ! -e work.txt || exec sleep 60", "timeout": "1s"}
    agent = {"argv": ["sh", "-c", "echo work > work.txt; git add -A; git commit -qm Work"], "maxAttempts": 1}
    policy = {"checks": ["true", slow], "queue": {"retries": 0}, "protectedPaths": []}
    manifest = str(place.manifest(tasks=TASK, agent=agent, mergePolicy=policy))

    place.reconcile("apply", "-f", manifest, "--wait", code=3)

    (task,) = place.json("status")["epics"][0]["tasks"]
    assert "check 2 of 2 failed on the merged tree (took longer than its 1 s)" in task["waiting"]["message"]
    assert "timeout (1s)" in place.reconcile("describe", task["id"])


def test_a_check_that_passes_only_when_it_is_started_again_lands_and_is_said_to_be_flaky(tmp_path: Path) -> None:
    place = Place(tmp_path)
    seen = tmp_path / "seen"
    unsteady = {"run": f"test -e {seen} || {{ touch {seen}; exit 1; }}", "retries": 1}
    manifest = str(place.manifest(tasks=TASK, mergePolicy={"checks": ["true", unsteady], "queue": {"retries": 0}}))

    place.reconcile("apply", "-f", manifest, "--wait")

    merged(place, "Do a")
    (task,) = place.json("status")["epics"][0]["tasks"]
    assert "flaky: 2 passed only when started again" in place.reconcile("describe", task["id"])
    assert len(place.json("describe", task["id"])["runs"]) == 2, "one attempt and one check"
    (found,) = [each for each in place.json("doctor")["checks"] if each["name"] == "flaky checks"]
    assert found["state"] == "warning" and "test -e" in found["found"]
    assert "in 1 of 1 run" in found["message"]


def test_a_check_of_other_paths_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    place = Place(tmp_path)
    agent = {"argv": ["sh", "-c", "mkdir -p $DIR; echo x > $DIR/$RECONCILE_TASK; git add -A; git commit -qm Work"]}
    web = {"run": f"echo x >> {tmp_path}/web", "paths": ["web/**"]}
    policy = {"checks": [f"echo x >> {tmp_path}/all", web]}
    manifest = place.manifest(tasks=TASK, agent={**agent, "env": {"DIR": "lib"}}, mergePolicy=policy)
    place.reconcile("apply", "-f", str(manifest), "--wait")
    merged(place, "Do a")
    assert not (tmp_path / "web").exists()
    (task,) = place.json("status")["epics"][0]["tasks"]
    assert [run["leftOut"] for run in place.json("describe", task["id"])["runs"] if "leftOut" in run] == [[2]]

    tasks = [*TASK, {"key": "b", "title": "Do b"}]
    manifest = place.manifest(tasks=tasks, agent={**agent, "env": {"DIR": "web"}}, mergePolicy=policy)
    place.reconcile("apply", "-f", str(manifest), "--wait")
    merged(place, "Do a", "Do b")
    assert (tmp_path / "web").read_text() == "x\n" and (tmp_path / "all").read_text() == "x\nx\n"
