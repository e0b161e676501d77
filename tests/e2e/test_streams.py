"""Where what is printed goes: a full disk, a pipe that nobody reads, no stream at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from strangers import Place
from waiting import run, until

COMMANDS = pytest.mark.parametrize(
    "words", [("status",), ("status", "--json"), ("schema", "Epic"), ("--help",)], ids=" ".join
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("streams"))
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))
    return place


def typed(place: Place, line: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `"$@"` is the program."""
    argv = ("bash", "-c", line, "bash", sys.executable, "-m", "reconciler", *words)
    return run(argv, cwd=place.root, env=place.env)


@COMMANDS
def test_what_can_not_be_printed_is_one_line_and_an_error(place: Place, words: tuple[str, ...]) -> None:
    ended = typed(place, '"$@" > /dev/full', *words)

    assert (ended.returncode, ended.stderr) == (1, "standard output can't be written: No space left on device\n")


@COMMANDS
@pytest.mark.parametrize("pipe", ["|", "|&"])
def test_a_pipe_that_nobody_reads_any_more_ends_a_command_quietly(
    place: Place, words: tuple[str, ...], pipe: str
) -> None:
    ended = typed(place, f'(sleep 0.2; "$@"; echo $? > ended) {pipe} true; cat ended', *words)

    assert (ended.stdout, ended.stderr) == ("0\n", "")


def test_a_watch_ends_when_nobody_reads_it_any_more(place: Place) -> None:
    place.reconcile("resume", "work")
    ended = typed(place, '"$@" 2>&1 | head -n 1', "watch")

    assert ended.returncode == 0 and ended.stdout.count("\n") == 1


@pytest.mark.parametrize("told", [False, True])
def test_housekeeping_is_told_where_it_is_asked_for_and_always_in_the_history(tmp_path: Path, told: bool) -> None:
    place = Place(tmp_path)
    store = place.root / ".beads/issues.jsonl"
    labelled = f"until grep -q phase:working {store}; do sleep 0.1; done"  # else it may be over before it is labelled
    agent = {"argv": ["sh", "-c", f"{labelled}; echo 1 > a; git add a; git commit -qm a"]}
    manifest = str(place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent))

    said = place.reconcile("apply", "--wait", "-f", manifest, *(["-v"] if told else []))

    for tidy in ("clean up check worktree", "label phase:"):
        assert (tidy in said) is told
        assert tidy in place.reconcile("get", "events")
    assert "run checks for #1" in said and "merge #1" in said


def test_diff_counts_housekeeping_and_lists_it_where_it_is_asked_for(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = str(place.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"review": "human"}))
    place.reconcile("apply", "--wait", "-f", manifest, code=3)
    place.reconcile("task", "update", "a", "--remove-label", "phase:pr_created")

    said, listed = place.reconcile("diff", code=1), place.reconcile("diff", "-v", code=1)

    assert "SetPhase" not in said and "1 action (1 of housekeeping, -v lists it), 1 waiting; run" in said
    assert "SetPhase" in listed and "1 action, 1 waiting; run" in listed
    assert [each["action"] for each in place.json("diff", code=1)["epics"][0]["actions"]] == ["SetPhase"]


def test_a_watch_in_a_pipe_begins_every_line_of_what_happens_with_the_time(tmp_path: Path) -> None:
    place = Place(tmp_path)
    watched = place.reconcile("watch", "--until-done", "-f", str(place.manifest(maxAgents=1)))

    *happened, summary = watched.splitlines()
    assert happened and all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  \S", line) for line in happened)
    assert sum("  Land  " in line for line in happened) == 2
    assert summary == "Up to date: everything matches the manifest."


def test_a_watch_says_once_that_a_task_has_come_to_need_a_person(tmp_path: Path) -> None:
    place = Place(tmp_path)
    agent = {"argv": ["sh", "-c", "echo theirs > new.txt && git add . && git commit -qm work"]}
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent)
    (place.root / "new.txt").write_text("mine\n")
    place.reconcile("apply", "-f", str(manifest))
    log = tmp_path / "log"
    with log.open("w") as told:
        argv = (sys.executable, "-m", "reconciler", "watch", "--interval", "1s")
        watch = subprocess.Popen(argv, cwd=place.root, env=place.env, stdout=told, stderr=told)
    until(lambda: "CheckoutInTheWay" in log.read_text(), by=watch)
    time.sleep(3)  # looks at which nothing is new
    watch.terminate()
    watch.wait()

    lines = [line for line in log.read_text().splitlines() if "CheckoutInTheWay" in line]
    assert len(lines) == 1 and "new.txt" in lines[0] and "commit them, stash them or move them away" in lines[0]


def test_a_watch_says_once_that_its_repository_is_gone_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.reconcile("apply", "--wait", "-f", str(place.manifest(tasks=[{"key": "a", "title": "Do a"}])))
    log, away = tmp_path / "log", tmp_path / "away"
    with log.open("w") as errors:
        argv = (sys.executable, "-m", "reconciler", "watch", "--interval", "1s")
        watch = subprocess.Popen(argv, cwd=place.root, env=place.env, stdout=subprocess.DEVNULL, stderr=errors)
    until(lambda: "is running here" in place.reconcile("doctor", code=None), by=watch)
    place.root.rename(away)
    until(lambda: "held: " in log.read_text(), by=watch)
    time.sleep(3)  # looks that find the same
    away.rename(place.root)
    until(lambda: "no longer held" in log.read_text(), by=watch)
    watch.terminate()
    watch.wait()

    (held,) = [line for line in log.read_text().splitlines() if "  held: " in line]
    assert held.endswith(f"{place.root}/.git is gone; it goes on once that is back")


def test_a_watch_for_programs_prints_each_event_as_it_happens_and_at_the_end_what_waits(tmp_path: Path) -> None:
    place = Place(tmp_path)
    watched = place.reconcile("watch", "--until-done", "-f", str(place.manifest(maxAgents=1)), "-o", "json")

    *events, last = map(json.loads, watched.splitlines())
    assert events == place.json("get", "events")
    assert {"StartAgent", "Land"} <= {event.get("action") for event in events}
    assert (last["event"], last["waiting"], last["unknown"]) == ("WatchEnded", [], [])


def test_a_watch_for_programs_is_read_while_it_runs(place: Place) -> None:
    place.reconcile("resume", "work")
    ended = typed(place, '"$@" | head -n 1', "watch", "-o", "json")

    assert (ended.returncode, json.loads(ended.stdout)["event"]) == (0, "ActionDone")


def test_without_a_standard_output_a_command_does_its_work(place: Place) -> None:
    ended = typed(place, '"$@" >&-', "status")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_complaints_that_nobody_can_read_keep_nobody_from_working(place: Place) -> None:
    ended = typed(place, '"$@" 2> /dev/full', "task", "show", "x-404")

    assert (ended.returncode, ended.stderr) == (2, "")


def test_a_term_that_comes_while_logging_holds_its_lock_ends_the_program_all_the_same() -> None:
    """What is raised in a function that Python calls around a fork is dropped."""
    amid = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nfor _ in range(9): pass"
    script = (
        "import signal, time; from reconciler.cli import _end; signal.signal(signal.SIGTERM, _end)\n"
        f"try: exec({amid!r}, {{'__name__': 'logging'}})\nexcept SystemExit: print('dropped')\ntime.sleep(600)"
    )

    ended = run((sys.executable, "-c", script))

    assert (ended.returncode, ended.stdout) == (143, "")
