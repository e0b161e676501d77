"""Finished runs leave their folders for one file. Nobody may be able to tell: only by what is left lying about."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from machine import Machine
from waiting import until

from reconciler.model.errors import ChangedError, TemporaryError
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import RetryPoint, Run
from reconciler.runners import _archive, _archive_rows, _archiving, _folders, _locks, _past, supervisor
from reconciler.runners.local import LocalRunner
from reconciler.system import format

TASKS = ("t-1", "t-2", "t-3")
AT = datetime(2026, 1, 1, tzinfo=UTC)
Seen = dict[str, object]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Some tasks, each with two runs that are over, and an hour ago; one was retried in between."""
    for module in (_folders, _past):
        monkeypatch.setattr(module, "SETTLES_NS", -(10**18))
    monkeypatch.setattr(_archiving, "QUIET_S", -1.0)
    made = Machine(tmp_path)
    for task in TASKS:
        ended(made, task, 1, code=1)
        made.runner.mark_since(TaskId(task), None, AT)
        ended(made, task, 2)
    yield made
    made.clear()


def ended(machine: Machine, task: str, n: int, code: int = 0, kind: RunKind = RunKind.WORK) -> Path:
    spec = machine.spec(id=RunId(kind, task, n), prompt=f"Do {task}")
    folder = machine.runner._folders.reserve(spec)
    began = {"pid": 1, "boot_id": "before", "started_at": supervisor.utc(999_000), "set_up": True}
    (folder / "run.json").write_text(json.dumps(began))
    (folder / "log").write_text(f"{task} says {n}\n")
    record = {"cause": "exited", "code": code, "ended_at": supervisor.utc(1_000_000)}
    (folder / "exit.json").write_text(json.dumps(record))
    for end in ("shim", "agent"):
        path = machine.state / "locks" / f"{kind}-{task}.{end}"
        path.parent.mkdir(exist_ok=True)
        path.touch(0o600)
    return folder


def seen(machine: Machine, runner: LocalRunner | None = None) -> Seen:
    """Everything that can be seen of finished runs, by who begins now."""
    runner = runner or machine.another()
    runs = dict(runner.runs())
    return {
        "runs": runs,
        "since": dict(runner.since()),
        "logs": {run: (runner.log_tail(run), runner.log(run), runner.log(run, 3)) for run in runs},
        "newest": {run: runner._folders.newest(run.kind, run.subject) for run in runs},
        "records": {run: runner._folders.record(run) for run in runs},
    }


def archived(machine: Machine, *open_tasks: str, by: LocalRunner | None = None) -> LocalRunner:
    runner = by or machine.another()
    runner.runs()
    runner.archive([TaskId(task) for task in open_tasks])
    return runner


def left(machine: Machine) -> list[str]:
    """What lies about of runs: folders, files and locks."""
    state = machine.state
    files = [path for path in (state / "runs").rglob("*") if path.parent != state / "runs"]
    gone = list((state / "runs").glob(".gone*"))
    return sorted(str(path.relative_to(state)) for path in (*files, *gone, *(state / "locks").glob("work-*")))


def folder(machine: Machine, task: str = "t-2", n: int = 2) -> Path:
    return machine.runner.folder(RunId(RunKind.WORK, task, n))


def test_of_what_went_to_the_archive_nothing_is_left_and_all_is_known(machine: Machine):
    before = seen(machine)

    by = archived(machine)

    assert left(machine) == []
    assert seen(machine) == before == seen(machine, by)
    assert len(before["runs"]) == 6 and set(before["since"]) == set(TASKS)  # type: ignore[arg-type]


def test_a_verdict_is_of_its_review_alone_and_outlives_its_folder(machine: Machine):
    review = RunId(RunKind.REVIEW, "t-1@3f2c1aa90b7e", 1)
    answer = json.dumps(
        {"verdict": "approve", "summary": "it does", "comments": [{"path": "a", "line": 1, "body": "b"}]}
    )
    there = ended(machine, review.subject, 1, kind=RunKind.REVIEW)
    (there / "verdict.json").write_text(answer)
    ending = json.loads((there / "exit.json").read_text())
    (there / "exit.json").write_text(json.dumps({**ending, "answer": hashlib.sha256(answer.encode()).hexdigest()}))
    (folder(machine) / "verdict.json").write_text(answer)
    before = seen(machine)["runs"]

    archived(machine)

    assert left(machine) == [] and not (machine.state / "runs/review/t-1@3f2c1aa90b7e").exists()
    assert seen(machine)["runs"] == before
    verdicts = {run.id: run.verdict for run in before.values() if run.verdict}  # type: ignore[attr-defined]
    assert list(verdicts) == [review] and verdicts[review].comments[0].line == 1


def test_an_older_program_refuses_before_anything_is_gone(machine: Machine, monkeypatch):
    monkeypatch.setattr(_archive.Archive, "add", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(TemporaryError, match="full"):
        archived(machine)

    assert (machine.state / "format").read_text() == f"{format.FORMAT}\n" and format.FORMAT > 1


def test_the_runs_of_an_open_task_stay(machine: Machine):
    archived(machine, "t-2")

    assert {name.split("/")[2] for name in left(machine) if name.startswith("runs/work/")} == {"t-2"}


def test_what_changed_within_the_hour_stays(machine: Machine, monkeypatch):
    monkeypatch.setattr(_archiving, "QUIET_S", 3600.0)
    before = left(machine)

    archived(machine)

    assert left(machine) == before


def test_of_large_ones_few_go_at_once_and_the_others_in_the_next_turns(machine: Machine, monkeypatch):
    monkeypatch.setattr(_archiving, "AT_ONCE", 1)
    before, by = seen(machine), machine.another()
    by.runs()

    for count in (2, 1, 0):
        by.archive([])
        assert len({name.split("/")[2] for name in left(machine) if name.startswith("runs/work/")}) == count
        assert seen(machine) == before


def test_nobody_is_kept_from_reading_while_what_goes_is_made_small(machine: Machine, monkeypatch):
    archived(machine, "t-2", "t-3")
    compress, onlooker, read = _archive.zlib.compress, machine.another(), []

    def then_somebody_reads(*args: object) -> bytes:
        with closing(sqlite3.connect(machine.state / "runs/archive.sqlite", timeout=0, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
        read.append(len(onlooker.runs()))
        return compress(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(_archive.zlib, "compress", then_somebody_reads)
    archived(machine)

    assert read and set(read) == {6} and left(machine) == []


def test_what_could_not_go_while_somebody_reads_goes_the_next_time(machine: Machine, monkeypatch):
    before, by = seen(machine), archived(machine, "t-2", "t-3")
    monkeypatch.setattr(_archive, "PATIENCE_S", 0.01)
    monkeypatch.setattr(_archiving, "AGAIN_S", 0.0)
    by = machine.another()
    with closing(sqlite3.connect(machine.state / "runs/archive.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN").execute("SELECT count(*) FROM run").fetchall()
        with pytest.raises(TemporaryError, match=r"locked$"):  # it is not damaged: nothing is to be moved away
            archived(machine, by=by)
    assert left(machine)

    archived(machine, by=by)

    assert left(machine) == [] and seen(machine) == before == seen(machine, by)


def test_one_that_cannot_be_read_keeps_no_other_here_and_is_told(machine: Machine, monkeypatch):
    read = _archiving._read

    def refused(path: str) -> _archive_rows.Kept | None:
        if "/t-2/" in path:
            raise PermissionError(f"{path} is not ours")
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(_archiving, "_read", refused)
        with pytest.raises(TemporaryError, match=r"t-2/.* is not ours"):
            archived(machine)

    assert {name.split("/")[2] for name in left(machine) if name.startswith("runs/work/")} == {"t-2"}


def test_one_that_was_stuck_on_its_way_out_goes_the_next_time_with_the_others(machine: Machine, monkeypatch):
    before, by = seen(machine), machine.another()
    monkeypatch.setattr(_archiving, "AGAIN_S", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(_archiving.Archiving, "_delete", lambda *_: (_ for _ in ()).throw(OSError("stale")))
        with pytest.raises(TemporaryError, match="stale"):
            archived(machine, by=by)
    assert len([*(machine.state / "runs").glob(".gone-*")]) == 1 and seen(machine) == before

    archived(machine, by=by)

    assert left(machine) == [] and seen(machine) == before == seen(machine, by)


def test_one_that_is_stuck_for_good_keeps_no_other_here(machine: Machine, monkeypatch):
    delete = _archiving.Archiving._delete

    def refused(self: _archiving.Archiving, key: tuple[RunKind, str], gone: str) -> None:
        if key[1] == "t-1":
            raise OSError("immutable")
        delete(self, key, gone)

    monkeypatch.setattr(_archiving.Archiving, "_delete", refused)
    with pytest.raises(TemporaryError, match="immutable"):
        archived(machine)
    by = machine.another()

    def only_it_is_left() -> bool:
        with suppress(TemporaryError):
            archived(machine, by=by)
        return not any(folder(machine, task).exists() for task in TASKS)

    until(only_it_is_left)


@pytest.mark.parametrize("end", ["shim", "agent"])
def test_what_holds_a_lock_stays(machine: Machine, end: str):
    by = machine.another()
    by.runs()
    with open(machine.state / "locks" / f"work-t-2.{end}") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        archived(machine, by=by)

        assert folder(machine).exists() and not folder(machine, "t-1").exists()


def test_what_somebody_carries_on_without_a_lock_stays(machine: Machine):
    by = machine.another()
    by.runs()
    env = {**os.environ, supervisor.MARKER: str(folder(machine))}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=env) as process:
        try:
            archived(machine, by=by)
            assert folder(machine).exists() and not folder(machine, "t-1").exists()
        finally:
            process.kill()


def _a_folder(inside: Path) -> None:
    (inside / "folder").mkdir()


def _a_link(inside: Path) -> None:
    (inside / "link").symlink_to("log")


def _a_pipe(inside: Path) -> None:
    os.mkfifo(inside / "pipe")


def _beside_the_runs(inside: Path) -> None:
    (inside.parent / "folder").mkdir()


@pytest.mark.parametrize("make", [_a_folder, _a_link, _a_pipe, _beside_the_runs])
def test_what_is_more_than_plain_files_stays(machine: Machine, make: Callable[[Path], None]):
    make(folder(machine))
    before = seen(machine)

    archived(machine)

    assert folder(machine).exists() and not folder(machine, "t-1").exists()
    assert seen(machine) == before


def test_a_file_of_somebody_else_is_kept_with_the_others(machine: Machine):
    (folder(machine) / "notes\udcff").write_bytes(b"\0mine")
    archived(machine)

    kept = machine.another()._folders.archive.files(RunKind.WORK, "t-2", 2)  # type: ignore[union-attr]
    assert kept["notes\udcff"].content == b"\0mine"


def test_what_changes_after_it_was_copied_is_not_deleted(machine: Machine, monkeypatch):
    add = _archive.Archive.add

    def then_somebody_writes(self: _archive.Archive, bundles: object) -> None:
        add(self, bundles)  # type: ignore[arg-type]
        (folder(machine) / "log").write_text("more\n")

    monkeypatch.setattr(_archive.Archive, "add", then_somebody_writes)
    archived(machine)

    assert (folder(machine) / "log").read_text() == "more\n" and not folder(machine, "t-1").exists()


def test_what_changes_while_it_is_deleted_is_not_deleted(machine: Machine, monkeypatch):
    delete = _archiving.Archiving._delete

    def somebody_writes(self: _archiving.Archiving, key: tuple[RunKind, str], gone: str) -> None:
        if key[1] == "t-2":
            Path(gone, "2", "late").write_text("late\n")
        delete(self, key, gone)

    monkeypatch.setattr(_archiving.Archiving, "_delete", somebody_writes)
    archived(machine)

    assert (machine.state / "runs/.gone-work-t-2/2/late").read_text() == "late\n"


def test_a_retry_that_comes_in_between_is_not_forgotten(machine: Machine, monkeypatch):
    go = _archiving.Archiving._holds
    later = datetime(2026, 2, 2, tzinfo=UTC)

    def then_a_person_retries(self: _archiving.Archiving, key: tuple[RunKind, str], at: str) -> bool:
        held = go(self, key, at)
        if key[1] == "t-2":
            machine.runner.mark_since(TaskId("t-2"), None, later)
        return held

    monkeypatch.setattr(_archiving.Archiving, "_holds", then_a_person_retries)
    archived(machine)

    assert machine.another().since()[TaskId("t-2")] == RetryPoint(n=2, base=None, at=later)
    assert left(machine) == []


def test_a_retry_finds_its_folder_gone_and_makes_it_again(machine: Machine, monkeypatch):
    write = supervisor.write_json

    def archived_just_then(path: str, value: object) -> None:
        monkeypatch.setattr(supervisor, "write_json", write)
        archived(machine)
        write(path, value)

    monkeypatch.setattr(supervisor, "write_json", archived_just_then)
    machine.runner.mark_since(TaskId("t-2"), None, AT)

    assert machine.another().since()[TaskId("t-2")].n == 2


def test_a_reopened_task_goes_on_with_its_number_and_its_past(machine: Machine):
    before = seen(machine)
    archived(machine)
    with pytest.raises(ChangedError):
        machine.start(subject="t-2", n=2)

    third = machine.finished("echo again", subject="t-2", n=3)
    machine.runner.mark_since(TaskId("t-2"), None, datetime(2026, 3, 3, tzinfo=UTC))

    now = seen(machine)
    assert now["runs"] == {**before["runs"], third.id: third}  # type: ignore[dict-item]
    assert now["since"][TaskId("t-2")].n == 3  # type: ignore[index]
    archived(machine)
    assert left(machine) == [] and seen(machine) == now


def test_a_task_that_runs_again_and_is_over_again_keeps_its_retry_point(machine: Machine):
    archived(machine)
    machine.finished("true", subject="t-2", n=3)
    before = seen(machine)

    archived(machine)

    assert left(machine) == [] and seen(machine) == before and TaskId("t-2") in before["since"]  # type: ignore[operator]


def test_a_run_that_lives_is_seen_beside_its_archived_past(machine: Machine):
    archived(machine)

    run = machine.start("exec sleep 600", subject="t-2", n=3)

    assert machine.another().runs()[run].alive
    assert not any(each.alive for id, each in machine.another().runs().items() if id != run)
    archived(machine)
    assert machine.another().runs()[run].alive and folder(machine, "t-2", 3).exists()


# --- killed ------------------------------------------------------------------------------------------------------


class KilledError(BaseException):
    pass


def alone(machine: Machine) -> None:
    """Only one task."""
    for task in ("t-1", "t-3"):
        shutil.rmtree(folder(machine, task).parent)
        for end in ("shim", "agent"):
            (machine.state / "locks" / f"work-{task}.{end}").unlink()


class Dying:
    """Kills whoever makes the n-th effect, before it or after it."""

    EFFECTS = (
        (_archiving.os, "rename"),
        (_archiving.os, "unlink"),
        (_archiving.os, "rmdir"),
        (_archiving.os, "link"),
        (_archive.Archive, "add"),
        (_archiving.format, "mark"),
        (_archiving.files, "sync"),
    )

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool) -> None:
        self.made, self.at, self.after = 0, at, after
        for place, name in self.EFFECTS:
            monkeypatch.setattr(place, name, self._mortal(getattr(place, name)))

    def _mortal(self, real: Callable[..., object]) -> Callable[..., object]:
        def effect(*args: object, **more: object) -> object:
            self.made += 1
            dies = self.made == self.at
            if dies and not self.after:
                raise KilledError
            try:
                return real(*args, **more)
            finally:
                if dies:
                    raise KilledError

        return effect


@contextmanager
def dying(at: int, *, after: bool) -> Iterator[Dying]:
    with pytest.MonkeyPatch.context() as patched:
        yield Dying(patched, at, after=after)


@pytest.mark.parametrize("after", [False, True])
def test_killed_before_or_after_any_effect_nothing_is_lost_and_the_next_one_goes_on(machine: Machine, after: bool):
    alone(machine)
    before, kills = seen(machine), 0
    saved = shutil.copytree(machine.state, machine.state.with_name("saved"))
    while True:
        shutil.rmtree(machine.state)
        shutil.copytree(saved, machine.state)
        kills += 1
        with dying(kills, after=after):
            try:
                archived(machine)
                break
            except KilledError:
                pass
        assert seen(machine) == before, f"killed at effect {kills}"
        archived(machine)
        assert (left(machine), seen(machine)) == ([], before), f"gone on after effect {kills}"
    assert kills > 20


def test_killed_at_each_effect_in_turn_it_comes_to_its_end(machine: Machine):
    before, at = seen(machine), 0
    while left(machine):
        at += 1
        with dying(at, after=bool(at % 2)), suppress(KilledError):
            archived(machine)
        assert seen(machine) == before
    assert at > 2


# --- readers -----------------------------------------------------------------------------------------------------


def test_what_goes_to_the_archive_while_it_is_read_is_read_there(machine: Machine, monkeypatch):
    read, reads = _folders.read_json, 0

    def archived_just_then(path: str) -> object:
        nonlocal reads
        reads += 1
        if reads == at:
            with monkeypatch.context() as patched:
                patched.setattr(_folders, "read_json", read)
                archived(machine)
        return read(path)

    alone(machine)
    before = seen(machine)
    saved = shutil.copytree(machine.state, machine.state.with_name("saved"))
    monkeypatch.setattr(_folders, "read_json", archived_just_then)
    for at in range(1, 10):
        shutil.rmtree(machine.state)
        shutil.copytree(saved, machine.state)
        reads, reader = 0, machine.another()
        assert dict(reader.runs()) == before["runs"] == dict(reader.runs()), f"at read {at}"
        assert dict(reader.since()) == before["since"], f"at read {at}"


def test_who_looks_on_sees_what_another_one_archives(machine: Machine):
    onlooker, before = machine.another(), seen(machine)
    onlooker.runs()

    archived(machine)

    assert seen(machine, onlooker) == before


def _a_third_run(machine: Machine) -> None:
    ended(machine, "t-2", 3)
    archived(machine)


def _a_third_run_and_the_clock_set_back(machine: Machine) -> None:
    path = machine.state / "runs/archive.sqlite"
    date = os.stat(path)
    _a_third_run(machine)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))


def _another_file_in_its_place(machine: Machine) -> None:
    path = machine.state / "runs/archive.sqlite"
    date, copy = os.stat(path), machine.state / "copy"
    shutil.copy(path, copy)
    _a_third_run(machine)
    shutil.copy(path, copy)
    os.replace(copy, path)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))


def _no_file(machine: Machine) -> None:
    (machine.state / "runs/archive.sqlite").unlink()


@pytest.mark.parametrize(
    "change", [_a_third_run, _a_third_run_and_the_clock_set_back, _another_file_in_its_place, _no_file]
)
def test_what_changed_in_the_archive_is_seen_by_who_knows_it(machine: Machine, monkeypatch, change):
    archived(machine)
    onlooker = machine.another()
    onlooker.runs()
    monkeypatch.setattr(_archive, "SETTLES_NS", -(10**18))  # that another change may look alike is not what finds it
    onlooker.runs()

    change(machine)

    assert seen(machine, onlooker) == seen(machine)
    assert len(onlooker.runs()) != 6


def test_an_archive_that_did_not_change_is_not_read_again(machine: Machine, monkeypatch):
    by = archived(machine)
    monkeypatch.setattr(_archive, "SETTLES_NS", -(10**18))
    first = by.runs(), by.since()
    monkeypatch.setattr(_archive.Archive, "_sqlite", None)

    assert by.runs() is first[0] and by.since() is first[1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:5000] + b"\0" * 9000),
        lambda path: path.write_bytes(b"no database at all " * 500),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:9000]),
    ],
)
def test_an_archive_that_cannot_be_read_is_not_an_empty_one(machine: Machine, damage: Callable[[Path], object]):
    archived(machine)
    damage(machine.state / "runs/archive.sqlite")

    with pytest.raises(TemporaryError, match=r"archive.*; bring back a copy of it, or move it away: what ended runs"):
        machine.another().runs()
    with pytest.raises((TemporaryError, OSError)):
        machine.another().start(machine.spec(subject="t-2", n=1))


def test_what_another_version_wrote_in_its_form_is_read_from_the_files_and_written_again(machine: Machine, monkeypatch):
    before = seen(machine)
    with monkeypatch.context() as older:
        older.setattr(_archive, "FORM", "0 other fields")
        archived(machine)
    monkeypatch.setattr(_archive, "RENEWED", 4)
    derived: list[RunId] = []
    derive = LocalRunner.__init__

    def counted(runner: LocalRunner, *args: object, **more: object) -> None:
        derive(runner, *args, **more)  # type: ignore[arg-type]
        real = runner._census.derive

        def found(run: RunId) -> Run:
            derived.append(run)
            return real(run)

        runner._census.derive = found  # type: ignore[method-assign]

    monkeypatch.setattr(LocalRunner, "__init__", counted)
    assert seen(machine) == before and derived
    archived(machine, by=archived(machine))
    derived.clear()

    assert seen(machine) == before and not derived


# --- locks -------------------------------------------------------------------------------------------------------


def test_who_gets_a_lock_that_was_deleted_takes_the_one_that_stands_there(tmp_path: Path, monkeypatch):
    path, flock = tmp_path / "work-t-1.shim", fcntl.flock

    def deleted_first(fd: int, how: int) -> None:
        monkeypatch.setattr(_locks.fcntl, "flock", flock)
        path.unlink()
        flock(fd, how)

    monkeypatch.setattr(_locks.fcntl, "flock", deleted_first)
    fd = _locks.take(path, 1.0)

    assert fd is not None and os.path.samestat(os.fstat(fd), os.stat(path))
    assert _locks.take(path, 0.0) is None
