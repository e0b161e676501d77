"""One look for many screens: beside a watch they read what it publishes, without one they look themselves."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from strangers import Place
from waiting import until

from reconciler import wiring
from reconciler.cli.look import Looks
from reconciler.cli.output import Output
from reconciler.cli.session import LoopSession
from reconciler.cli.top.lines import heading

WAITS = "sleep 600"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.reconcile("stop", "--all", code=None)


def looks_of(place: Place) -> Looks:
    site = wiring.open_site(place.root, place.env)
    return Looks(site=site, loop=LoopSession(site=site, out=Output(form="json", color=False)).loop())


def of(looks: Looks, group: str) -> list[str]:
    look = looks.newest()
    tasks = look.manifests["work"]["status"]["tasks"] if look and "work" in look.manifests else []
    return [task["title"] for task in tasks if task["group"] == group]


def test_beside_a_watch_what_it_publishes_is_read_and_nobody_else_is_asked(place: Place) -> None:
    watch = place.start("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    looks = looks_of(place)
    looks.loop.load = lambda: pytest.fail("we looked ourselves")
    try:
        until(lambda: looks.site.acting, "the watch to act", by=watch)
        looks.begin()
        until(lambda: of(looks, "working") == ["Do a"], "the look of the watch", by=watch)
        before = looks.newest()
        assert before and before.by and f"pid {watch.pid} " in before.by

        place.reconcile("stop", "a")
        until(lambda: not of(looks, "working"), "the change", by=watch)
        after = looks.newest()
        assert after and after.number > before.number
    finally:
        looks.end()
        watch.terminate()
        watch.communicate()


def test_while_nobody_reads_nothing_is_published(place: Place) -> None:
    place.reconcile("apply", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))

    assert not (place.root / ".git/reconcile/status/look").exists()


def test_without_a_watch_we_look_ourselves(place: Place) -> None:
    place.reconcile("apply", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    looks = looks_of(place)
    looks.begin()
    try:
        look = looks.newest()
        assert look and look.by is None
        assert of(looks, "working") == ["Do a"]
        assert looks.newest() is look, "as long as it is new enough"
    finally:
        looks.end()


def test_a_look_outlives_the_watch_that_made_it(place: Place) -> None:
    watch = place.start("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    looks = looks_of(place)
    looks.begin()
    try:
        until(lambda: of(looks, "working") == ["Do a"], "the look of the watch", by=watch)
        watch.kill()
        watch.communicate()
        until(lambda: (look := looks.newest()) is not None and look.by is None, "our own look")
        assert of(looks, "working") == ["Do a"]
    finally:
        looks.end()


def test_where_a_watch_has_shown_nothing_yet_we_look_ourselves_and_say_that_there_is_one(place: Place) -> None:
    watch = place.start("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    looks = looks_of(place)
    try:
        until(lambda: looks.site.acting, "the watch to act", by=watch)
        watch.send_signal(signal.SIGSTOP)  # before it hears that somebody reads
        looks.begin()
        until(lambda: looks.newest() is not None, "our own look")
        look = looks.newest()
        assert look and look.by is None and look.amid and f"pid {watch.pid} " in look.amid
        head = heading(
            "project", ["work"], {"needs": 0, "working": 0, "done": 0}, look, "", "", datetime.now(UTC)
        ).plain
        assert head.endswith("a watch is amid its first look") and "  work degraded  0 need you" in head

        watch.kill()
        watch.communicate()
        until(lambda: (look := looks.newest()) is not None and look.amid is None, "that nobody acts any more")
    finally:
        looks.end()
        watch.kill()
        watch.communicate()


def asked(place: Place) -> list[str]:
    """Where `status` has looked itself: what it says of who saw it."""
    process = place.start("status")
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return [line for line in err.splitlines() if "saw it" in line]


def test_status_beside_a_watch_shows_what_the_watch_sees_and_whatever_was_just_done(place: Place) -> None:
    watch = place.start("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    try:
        until(lambda: place.json("status", code=None).get("epics"), "the manifest", by=watch)
        until(lambda: asked(place), "a watch that answers in time", by=watch)
        [said] = asked(place)
        assert f"pid {watch.pid} " in said

        for n in range(3):
            place.reconcile("task", "create", f"More {n}", "--parent", str(place.tasks()["work"]["id"]))
            [epic] = place.json("status")["epics"]
            assert f"More {n}" in [task["title"] for task in epic["tasks"]]
        assert place.json("status") | {"at": ""} == place.json("status", "--fresh") | {"at": ""}
    finally:
        watch.terminate()
        watch.communicate()


def test_status_looks_itself_beside_a_watch_that_stands_still_or_was_killed(place: Place) -> None:
    watch = place.start("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    try:
        until(lambda: asked(place), "a watch that answers in time", by=watch)
        watch.send_signal(signal.SIGSTOP)
        place.reconcile("task", "create", "Meanwhile", "--parent", str(place.tasks()["work"]["id"]))
        [epic] = place.json("status")["epics"]
        assert "Meanwhile" in [task["title"] for task in epic["tasks"]]
        assert not asked(place)
    finally:
        watch.kill()
        watch.communicate()
    assert not asked(place)
    assert place.json("status")["epics"]


def test_a_look_of_before_the_clock_was_set_back_is_no_answer_to_who_asks_after_it(place: Place) -> None:
    watch = place.start("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    index = place.root / ".git/reconcile/status/look/_index.json"
    try:
        until(lambda: asked(place), "a watch that answers in time", by=watch)
        seen = json.loads(index.read_bytes())
        index.write_text(json.dumps(seen | {"begun": seen["begun"] + 86400}))  # what it began at is in the future now

        place.reconcile("task", "create", "Meanwhile", "--parent", str(place.tasks()["work"]["id"]))
        [epic] = place.json("status")["epics"]

        assert "Meanwhile" in [task["title"] for task in epic["tasks"]]
    finally:
        watch.terminate()
        watch.communicate()


def test_what_the_watch_does_not_act_on_is_no_reason_to_hide_it(place: Place) -> None:
    """An apply that waits acts on its own manifest; status shows all of them."""
    place.reconcile("apply", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    other = place.manifest("other.yaml", agent={"argv": ["sh", "-c", WAITS]}, tasks=[{"key": "z", "title": "Do z"}])
    other.write_text(other.read_text().replace("name: work", "name: other"))
    waits = place.start("apply", "-f", str(other), "--wait")
    try:
        until(lambda: wiring.open_site(place.root, place.env).acting, "its lock", by=waits)
        until(lambda: len(place.json("status")["epics"]) == 2, "both", by=waits)
        assert [epic["name"] for epic in place.json("status")["epics"]] == ["other", "work"]
    finally:
        waits.terminate()
        waits.communicate()
