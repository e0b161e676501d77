"""Which subjects have runs: of what is open seen at the next look whoever writes there, and at no cost for what is over."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import RetryPoint
from reconciler.model.ports import RunSpec
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners import _folders
from reconciler.runners._folders import Folders, Subject

SINCE = RetryPoint(n=1, base=None, at=datetime(2026, 1, 1, tzinfo=UTC))
X, Y = TaskId("x-1"), TaskId("x-2")
OPEN = {(RunKind.WORK, str(X))}


def reserved(folders: Folders, task: TaskId, n: int = 1) -> None:
    run = RunId(RunKind.WORK, task, n)
    folders.reserve(RunSpec(id=run, task=task, manifest="demo", steps=(("true",),), cwd="/"))


def test_a_run_is_where_it_was_started_and_one_that_does_not_say_is_on_this_machine(tmp_path: Path):
    at = Venue(kind=VenueKind.SLURM, remote="ssh://ctl/a.git", scratch="/var/tmp/r", options=("--mem=4G",))
    folders, runs = Folders(tmp_path), [RunId(RunKind.WORK, X, 1), RunId(RunKind.WORK, Y, 1)]
    reserved(folders, X)
    folders.reserve(RunSpec(id=runs[1], task=Y, manifest="demo", steps=(("true",),), cwd="/", at=at))
    assert [Folders(tmp_path).record(run).start.at for run in runs] == [Venue(), at]


def settle(root: Path) -> None:
    """Make all that is there as old as an hour."""
    for folder, _, files in os.walk(root):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.utime(path, ns=(0, os.lstat(path).st_mtime_ns - 3600 * 10**9))


CHANGES: dict[str, Callable[[Folders], object]] = {
    "a first run of another": lambda other: reserved(other, Y),
    "a second run": lambda other: reserved(other, X, 2),
    "a retry": lambda other: other.write_since(X, SINCE),
    "a folder that is gone": lambda other: shutil.rmtree(other.root / "work" / X),
    "all of them gone": lambda other: shutil.rmtree(other.root),
    "two changes": lambda other: (reserved(other, Y), other.write_since(X, SINCE)),
}


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_another_program_of_ours_does_is_seen_at_the_next_look(
    tmp_path: Path, change: Callable[[Folders], object], settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Changes of the inode can't be made old: what counts as settled is moved instead.
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9) if settled else 10**9)
    reserved(Folders(tmp_path / "runs"), X)
    settle(tmp_path)
    folders = Folders(tmp_path / "runs")
    before = folders.subjects(OPEN)
    assert folders.subjects(OPEN) is before

    change(Folders(tmp_path / "runs"))

    after = dict(folders.subjects(OPEN))
    assert after != before and _same(after, dict(Folders(tmp_path / "runs").subjects()))
    assert folders.subjects(OPEN) == after


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_we_do_ourselves_is_seen_at_the_next_look_also_where_all_is_over(
    tmp_path: Path, change: Callable[[Folders], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    reserved(Folders(tmp_path / "runs"), X)
    folders = Folders(tmp_path / "runs")
    before = dict(folders.subjects(()))

    change(folders)

    after = dict(folders.subjects(()))
    assert after != before and _same(after, dict(Folders(tmp_path / "runs").subjects()))


def test_what_we_do_ourselves_is_seen_once_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    folders = Folders(tmp_path / "runs")
    reserved(folders, X)
    folders.subjects(())
    reserved(folders, X, 2)
    reserved(Folders(tmp_path / "runs"), Y)  # the folder of all is listed as well

    def refused(*_: object) -> list[str]:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr(os, "listdir", refused)
        folders.subjects(())

    assert [run.n for run in folders.subjects(())[RunKind.WORK, X].runs] == [1, 2]


def test_a_run_that_is_reserved_amid_a_look_is_seen_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    folders = Folders(tmp_path / "runs")
    reserved(folders, X)
    folders.subjects(())
    mkdir = Path.mkdir

    def amid(path: Path, *args: Any, **more: Any) -> None:
        if path.name == "2":
            folders.subjects(())  # as another thread may
        mkdir(path, *args, **more)

    monkeypatch.setattr(Path, "mkdir", amid)
    reserved(folders, X, 2)

    assert [run.n for run in folders.subjects(())[RunKind.WORK, X].runs] == [1, 2]


def test_a_first_run_in_a_folder_that_is_there_already_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    (tmp_path / "runs/work" / X).mkdir(parents=True)  # a start that was killed, or a retry of what never ran
    folders = Folders(tmp_path / "runs")
    assert folders.subjects(())[RunKind.WORK, X].runs == ()

    reserved(Folders(tmp_path / "runs"), X)

    assert [run.n for run in folders.subjects(OPEN)[RunKind.WORK, X].runs] == [1]


def _same(one: dict[Subject, _folders.SubjectFolder], other: dict[Subject, _folders.SubjectFolder]) -> bool:
    return {key: (each.runs, each.since) for key, each in one.items()} == {
        key: (each.runs, each.since) for key, each in other.items()
    }


def test_what_people_change_in_the_folder_of_one_that_is_over_is_seen_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    folders = Folders(tmp_path / "runs")
    reserved(folders, X)
    folders.subjects(())
    (tmp_path / "runs/work" / X / "7").mkdir()
    now = time.monotonic()

    monkeypatch.setattr(time, "monotonic", lambda: now + _folders.LOOK_S + 1)

    assert [run.n for run in folders.subjects(())[RunKind.WORK, X].runs] == [1, 7]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_that_could_not_be_read_is_seen_once_it_can(
    tmp_path: Path, change: Callable[[Folders], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    folders = Folders(tmp_path / "runs")
    reserved(folders, X)
    before = dict(folders.subjects(()))
    change(Folders(tmp_path / "runs"))

    def refused(*_: object) -> list[str]:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr(os, "listdir", refused)
        folders.subjects(OPEN)

    after = dict(folders.subjects(OPEN))
    assert after != before and _same(after, dict(Folders(tmp_path / "runs").subjects()))


def test_what_may_move_is_looked_at_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    folders = Folders(tmp_path / "runs")
    reserved(folders, X)
    folders.subjects(())
    (tmp_path / "runs/work" / X / "7").mkdir()

    assert [run.n for run in folders.subjects({(RunKind.WORK, X)})[RunKind.WORK, X].runs] == [1, 7]


def test_what_is_over_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))
    folders, looked = Folders(tmp_path / "runs"), []
    for n in range(50):
        reserved(folders, TaskId(f"x-{n}"))
    folders.subjects(())
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: looked.append(path) or lstat(path))

    folders.subjects({(RunKind.WORK, "x-7")})

    assert len(looked) == 1 + len(RunKind)  # the kinds, and the one
