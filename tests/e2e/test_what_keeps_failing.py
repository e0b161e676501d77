"""What goes wrong at every try of a watch is said in every other terminal: what, since when, why, and what comes next."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from strangers import AGENT, Place
from waiting import until


class Watched(Place):
    """A repository in which something stands in the way, and a watch that runs into it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spec: dict = {"tasks": [{"key": "a", "title": "Do a"}]}

    def task(self) -> dict:
        """The task as `status` shows it; empty where it is not there yet."""
        epics = self.json("status")["epics"]
        return next((task for epic in epics for task in epic["tasks"] if task["key"] == "a"), {})

    def watch(self) -> subprocess.Popen[str]:
        """A watch for which something keeps failing."""
        watch = self.start("watch", "-f", str(self.manifest(**self.spec)))
        until(lambda: self.task().get("failing"), "something to fail", by=watch)
        return watch


def a_branch_in_the_way(place: Watched) -> Callable[[], object]:
    place.git("branch", "agent")
    return lambda: place.git("branch", "-m", "agent", "old")


def a_lock_left_behind(place: Watched) -> Callable[[], object]:
    place.spec["tasks"].append({"key": "b", "title": "Do b"})
    actions = place.json("diff", "-f", str(place.manifest(**place.spec)), code=1)["epics"][0]["actions"]
    made = next(each for each in actions if each["evidence"].get("key") == "a")
    lock = place.root / f".git/refs/heads/agent/{made['task']}.lock"
    lock.parent.mkdir()
    lock.touch()
    return lock.unlink


def a_hook_that_refuses_pushes(place: Watched) -> Callable[[], object]:
    remote = place.root.parent / "remote.git"
    place.git("init", "--quiet", "--bare", str(remote))
    place.git("remote", "add", "origin", str(remote))
    place.git("push", "--quiet", "--set-upstream", "origin", "main")
    hook = remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'the release is frozen: ask ann@example.org' >&2\nexit 1\n")
    hook.chmod(0o755)
    place.spec["mergePolicy"] = {"push": True}
    return hook.unlink


def a_store_that_can_not_be_written(place: Watched) -> Callable[[], object]:
    beads = place.root / ".beads"
    place.reconcile("apply", "-f", str(place.manifest(**place.spec, maxAgents=0)))
    if subprocess.run(("chattr", "+i", beads), capture_output=True).returncode:
        pytest.skip("no folder can be closed to everybody here")
    return lambda: subprocess.run(("chattr", "-i", beads), check=True)


WORLDS = {
    a_branch_in_the_way: ("StartAgent", "a branch called agent"),
    a_lock_left_behind: ("StartAgent", ".lock"),
    a_hook_that_refuses_pushes: ("Land", "the release is frozen: ask ann@example.org"),
}


def test_a_store_that_can_not_be_written_is_said_before_anything_fails_for_it(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    fix = a_store_that_can_not_be_written(place)
    watch = place.start("watch", "-f", str(place.manifest(**place.spec)))
    try:
        until(lambda: place.task().get("waiting", {}).get("reason") == "NotWritable", "it to be said", by=watch)
        for command, code in ((("status",), 0), (("doctor",), 1), (("diff",), 3)):
            assert str(place.root / ".beads") in place.reconcile(*command, code=code), command
        assert not place.task().get("failing") and place.json("get", "runs") == []
    finally:
        fix()

    until(lambda: place.task().get("status") == "closed", "the task to be done", by=watch)
    watch.kill()
    watch.communicate()


def test_a_watched_file_that_can_not_be_read_any_more_is_said_in_every_other_terminal(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}])
    watch = place.start("watch", "-f", str(manifest))
    until(lambda: place.task().get("status") == "closed", "the task to be done", by=watch)
    good = manifest.read_text()

    manifest.write_text("foo: [")
    until(lambda: "ManifestInvalid" in place.reconcile("status"), "status to say so", by=watch)
    assert "held until its file can be read again" in place.reconcile("doctor", code=1)
    manifest.write_text(good)
    until(lambda: "ManifestInvalid" not in place.reconcile("status"), "status to say so no more", by=watch)
    assert "held until" not in place.reconcile("doctor", code=None)
    watch.kill()
    watch.communicate()


# A refused push is tried again half a minute later.
@pytest.mark.parametrize(
    "world",
    [pytest.param(w, marks=[pytest.mark.slow] * (w is a_hook_that_refuses_pushes)) for w in WORLDS],
    ids=lambda world: world.__name__,
)
def test_what_keeps_failing_is_said_in_every_other_terminal_until_it_goes_well(
    tmp_path: Path, world: Callable[[Watched], Callable[[], object]]
) -> None:
    place = Watched(tmp_path)
    action, cause = WORLDS[world]
    fix = world(place)
    try:
        watch = place.watch()
        id, failing = place.task()["id"], place.task()["failing"]

        assert failing["action"] == action and cause in failing["message"]
        assert failing["since"] < failing["nextTry"]
        said = f"{action} has failed for"
        until(lambda: "Degraded" in place.reconcile("status"), "it to fail again", by=watch)
        for command, code in ((("status",), 0), (("describe", id), 0), (("doctor",), 1)):
            shown = place.reconcile(*command, code=code)
            assert said in shown and cause in shown, command
        assert f"reconcile describe {id}" in shown or f"reconcile retry {id}" in shown
        (waits,) = (each for each in place.json("diff", code=None)["epics"][0]["failing"] if each["task"] == id)
        assert cause in waits["message"]
        degraded = next(c for c in place.json("status")["epics"][0]["conditions"] if c["type"] == "Degraded")
        assert (degraded["status"], degraded["reason"]) == ("True", place.task()["waiting"]["reason"])

        watch.kill()
        watch.communicate()
        assert place.task()["failing"]["nextTry"] is None
        for command, code in ((("status",), 0), (("describe", id), 0), (("doctor",), 1), (("diff",), 1)):
            assert "no reconciler is running" in place.reconcile(*command, code=code), command
    finally:
        fix()

    place.reconcile("watch", "--until-done", "-f", str(place.manifest(**place.spec)))
    assert place.task()["failing"] is None
    assert "has failed" not in place.reconcile("doctor", code=None)


def test_a_push_that_is_refused_is_told_at_once_and_not_only_when_it_was_refused_again(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    a_hook_that_refuses_pushes(place)
    watch = place.watch()

    (epic,) = place.json("status")["epics"]
    degraded = next(each for each in epic["conditions"] if each["type"] == "Degraded")
    failures = [each for each in place.json("get", "events") if each["event"] == "ActionFailed"]

    assert (degraded["status"], degraded["reason"]) == ("True", place.task()["waiting"]["reason"])
    assert "the release is frozen: ask ann@example.org" in degraded["message"]
    assert "the release is frozen" in place.task()["waiting"]["message"]
    assert len(failures) == 1
    watch.kill()
    watch.communicate()


def test_a_wait_ends_where_what_failed_fails_until_a_person_mends_it(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    fix = a_branch_in_the_way(place)

    said = place.reconcile("watch", "--until-done", "-f", str(place.manifest(**place.spec)), code=3)

    assert "a branch called agent" in said and "1 task needs attention" in said and "carries on" not in said
    assert "Needs attention (1)" in place.reconcile("status")
    fix()
    place.reconcile("watch", "--until-done")


def test_a_push_that_hangs_is_said_in_every_other_terminal_long_before_it_is_given_up(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    a_hook_that_refuses_pushes(place)
    hook, goes_on = tmp_path / "remote.git/hooks/pre-receive", tmp_path / "goes-on"
    hook.write_text(f"#!/bin/sh\nwhile ! [ -e {goes_on} ]; do sleep 0.1; done\n")
    watch = place.start("watch", "-f", str(place.manifest(**place.spec)))
    noted = place.root / ".git/reconcile/status/_unanswered.json"
    until(noted.exists, "the push to be noted", by=watch)

    process = place.start("status")
    _, said = process.communicate()
    looked = place.reconcile("doctor", code=None)
    (call,) = place.json("status")["unanswered"]

    for text in (said, looked):
        assert f"Land of {place.task()['id']}: git push has run for" in text and "without an answer" in text, text
        assert "is given up after 120 s" in text
    assert (call["program"], call["about"]) == ("git push", f"Land of {place.task()['id']}")
    goes_on.touch()
    until(lambda: place.task().get("status") == "closed", "the task to be done", by=watch)
    assert not noted.exists() and "unanswered" not in place.json("status")
    watch.kill()
    watch.communicate()


def test_what_a_person_has_mended_is_tried_again_by_the_watch_that_met_it(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    fix = a_branch_in_the_way(place)
    watch = place.watch()
    assert place.task()["failing"]["permanent"]

    fix()

    until(lambda: place.task().get("status") == "closed", "the task to be done", by=watch)
    watch.kill()
    watch.communicate()


def test_work_whose_task_could_not_be_written_lands_once_it_can_be_and_nobody_is_asked(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    held, store = tmp_path / "held", place.root / ".beads/issues.jsonl"
    wait = f"until test -e {held}; do sleep 0.1; done; {AGENT}"
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", wait]})
    watch = place.start("watch", "-f", str(manifest))
    until(lambda: place.task().get("phase") == "working", "an agent to work", by=watch)
    if subprocess.run(("chattr", "+i", store), capture_output=True).returncode:
        watch.kill()
        watch.communicate()
        pytest.skip("no file can be closed to everybody here")
    try:
        held.touch()
        until(lambda: place.task().get("failing"), "it to fail", by=watch)
        until(lambda: str(store) in place.reconcile("doctor", code=None), "the doctor to say so", by=watch)
        assert str(store) in place.reconcile("status") and not place.task()["failing"]["permanent"]
    finally:
        subprocess.run(("chattr", "-i", store), check=True)

    until(lambda: place.task().get("status") == "closed", "the task to be done", by=watch)
    assert "BlockTask" not in place.reconcile("get", "events")
    watch.kill()
    watch.communicate()


def test_where_only_the_refs_are_packed_what_is_in_the_way_is_seen_to_go(tmp_path: Path) -> None:
    place = Watched(tmp_path)
    fix = a_branch_in_the_way(place)
    place.git("pack-refs", "--all")
    watch = place.watch()

    fix()

    until(lambda: place.task().get("status") == "closed", "the task to be done", by=watch)
    watch.kill()
    watch.communicate()
