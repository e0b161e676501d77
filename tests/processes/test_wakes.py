"""Who waits is woken by what its runs do, and listens to no more places for having had many."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from machine import Machine
from waiting import until

from reconciler.model.names import PULL_REQUEST_REFS, SALVAGE_REFS, TaskId
from reconciler.model.observed import StopWhy
from reconciler.runners import supervisor
from reconciler.system import wakes
from reconciler.system.wakes import Wakes, rest, spots


@pytest.fixture
def wake(machine: Machine) -> Iterator[threading.Event]:
    flag = threading.Event()
    with Wakes(spots(machine.state, machine.state, None, []), flag) as listening:
        assert not listening.deaf
        yield flag


def test_what_is_listened_to_is_what_runs_write(machine: Machine) -> None:
    (runs,) = (spot for spot in spots(machine.state, machine.state, None, []) if spot.folder.name == "runs")

    assert runs.names == {supervisor.WAKE} and not runs.recursive


def test_the_end_of_a_run_wakes(machine: Machine, wake: threading.Event) -> None:
    run = machine.start("until [ -e go ]; do sleep 0.05; done")
    until(lambda: machine.run(run).state == "running")
    time.sleep(0.3)  # what its beginning announced has arrived
    wake.clear()
    (machine.cwd / "go").touch()

    assert wake.wait(10.0)
    until(lambda: machine.run(run).exit)


def test_a_run_that_is_stopped_wakes(machine: Machine, wake: threading.Event) -> None:
    run = machine.start("exec sleep 600")
    until(lambda: machine.run(run).state == "running")
    time.sleep(0.3)
    wake.clear()
    machine.runner.stop(run, StopWhy.PERSON)

    assert wake.wait(10.0)


def test_a_retry_wakes(machine: Machine, wake: threading.Event) -> None:
    machine.finished("true")
    time.sleep(0.3)
    wake.clear()
    machine.another().mark_since(TaskId("x-1"), None, datetime.now(UTC))

    assert wake.wait(10.0)


def test_what_a_run_prints_wakes_nobody(machine: Machine, wake: threading.Event) -> None:
    run = machine.start("touch began; until [ -e go ]; do echo line; sleep 0.02; done")
    until((machine.cwd / "began").exists)
    time.sleep(0.3)
    wake.clear()

    assert not wake.wait(1.0)
    machine.runner.stop(run, StopWhy.PERSON)


@pytest.mark.parametrize("what", ["a pipe", "a link", "a folder"])
def test_what_an_agent_put_in_the_place_of_the_file_keeps_no_run_from_ending(machine: Machine, what: str) -> None:
    path = machine.state / "runs" / supervisor.WAKE
    path.parent.mkdir(parents=True)
    {
        "a pipe": lambda: os.mkfifo(path),
        "a link": lambda: path.symlink_to(machine.cwd / "mine"),
        "a folder": path.mkdir,
    }[what]()
    machine.finished("true")

    assert not (machine.cwd / "mine").exists()


def test_there_are_no_more_listeners_after_many_runs(machine: Machine, wake: threading.Event) -> None:
    machine.finished("true", subject="first")
    before = _listeners()
    for n in range(5):
        machine.finished("true", subject=f"y-{n}")

    assert _listeners() == before > 0


def test_saved_work_costs_no_listener(machine: Machine, wake: threading.Event) -> None:
    before = _listeners()
    for n in range(5):
        (machine.state / SALVAGE_REFS / f"x-{n}").mkdir(parents=True)
    time.sleep(0.3)

    assert _listeners() == before


def test_a_folder_that_was_deleted_is_made_and_listened_to_again(machine: Machine) -> None:
    flag, folder = threading.Event(), machine.state / PULL_REQUEST_REFS
    with Wakes(spots(machine.state, machine.state, None, []), flag) as listening:
        folder.rmdir()
        until(lambda: listening.deaf is None and folder.exists())
        flag.clear()
        (folder / "1.lock").touch()
        (folder / "1.lock").rename(folder / "1")

        assert flag.wait(10.0) and listening.deaf is None


def test_a_rest_ends_when_it_is_woken_when_its_time_is_up_and_when_something_stirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wakes, "GLANCE_S", 0.01)
    woken, sleeping, answers = threading.Event(), threading.Event(), iter((False, False, True))
    woken.set()

    rest(lambda: False, woken, 60.0)
    rest(lambda: False, sleeping, 0.05)
    rest(lambda: next(answers), sleeping, 60.0)

    assert list(answers) == []


def _listeners() -> int:
    """How many places this process listens to, as the kernel counts them."""
    files = (Path("/proc/self/fdinfo") / name for name in os.listdir("/proc/self/fdinfo"))
    return sum(file.read_text().count("inotify wd:") for file in files if file.exists())
