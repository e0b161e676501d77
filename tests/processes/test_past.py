"""What is over stands in one file. Nobody may be able to tell whether it was there: only by the time that a look takes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from machine import Machine

from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run
from reconciler.runners import _folders, _past, _records, supervisor
from reconciler.runners.local import LocalRunner
from reconciler.system import derived

FILE = "past.jsonl"
MANY = 40


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Many tasks, each with two runs that are over, and long ago."""
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**18))
    monkeypatch.setattr(_past, "SETTLES_NS", -(10**18))
    made = Machine(tmp_path)
    for task in range(MANY):
        for n in (1, 2):
            folder = made.runner._folders.reserve(made.spec(subject=f"t-{task}", n=n))
            ended(folder, code=2 - n)
    return made


def ended(folder: Path, code: int = 0) -> None:
    record = {"cause": "exited", "code": code, "ended_at": supervisor.utc(1_000_000)}
    (folder / "exit.json").write_text(json.dumps(record))


def truth(machine: Machine) -> dict[RunId, Run]:
    """What who knows no such file sees."""
    runner = LocalRunner(machine.state, machine.environ, Path("/opt"), machine.most.get, keep=False)
    return dict(runner.runs())


def seen(machine: Machine) -> dict[RunId, Run]:
    """What a process sees that begins now."""
    return dict(machine.another().runs())


def folder(machine: Machine, task: str = "t-7", n: int = 2) -> Path:
    return machine.runner.folder(RunId(RunKind.WORK, task, n))


def written(machine: Machine) -> Path:
    machine.another().runs()
    return machine.state / "runs" / FILE


def reads(monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> int:
    """How many records a look reads."""
    found: list[str] = []
    read = _records.read_json
    with monkeypatch.context() as patched:
        patched.setattr(_folders, "read_json", lambda path: found.append(path) or read(path))
        look()
    return len(found)


def test_the_date_of_a_log_is_the_one_that_an_earlier_version_wrote_down(tmp_path: Path):
    """To the microsecond: else what that one wrote would never again be what is read."""
    for n in range(500):
        os.utime(tmp_path, ns=(0, 1_795_975_437_000_000_000 + n * 1_234_567))
        found = os.stat(tmp_path)
        assert _folders._date(found.st_mtime_ns) == datetime.fromtimestamp(found.st_mtime, UTC)


def test_what_is_over_is_not_read_again_by_who_begins_later(machine: Machine, monkeypatch):
    assert reads(monkeypatch, lambda: written(machine)) > MANY

    assert reads(monkeypatch, lambda: seen(machine)) == 0
    assert seen(machine) == truth(machine) and len(truth(machine)) == 2 * MANY


def test_who_is_to_leave_nothing_writes_no_such_file(machine: Machine):
    truth(machine)

    assert not (machine.state / "runs" / FILE).exists()


def test_a_few_are_not_worth_a_file(tmp_path: Path):
    machine = Machine(tmp_path)
    ended(machine.runner._folders.reserve(machine.spec()))

    assert not written(machine).exists()


def test_what_changed_a_moment_ago_is_not_written_down_yet(machine: Machine, monkeypatch):
    """Another change within one tick of the file system's clock would look alike."""
    monkeypatch.setattr(_past, "SETTLES_NS", 3600 * 10**9)
    assert not written(machine).exists()


def test_what_is_alive_is_not_in_it(machine: Machine):
    run = machine.start("exec sleep 600", subject="t-7", n=3)
    try:
        assert b'"t-7"' not in written(machine).read_bytes()
        assert seen(machine)[run].alive
    finally:
        machine.clear()


def _a_new_run(machine: Machine) -> None:
    date = os.stat(folder(machine).parent)
    ended(machine.runner._folders.reserve(machine.spec(subject="t-7", n=3)))
    os.utime(folder(machine).parent, ns=(date.st_atime_ns, date.st_mtime_ns))


def _a_run_is_gone(machine: Machine) -> None:
    shutil.rmtree(folder(machine))


def _a_task_is_gone(machine: Machine) -> None:
    shutil.rmtree(folder(machine).parent)


def _another_ending_of_the_same_size_and_date(machine: Machine) -> None:
    path = folder(machine) / "exit.json"
    dates = {each: os.stat(each) for each in (path, path.parent)}
    new = path.with_name("new")
    new.write_text(path.read_text().replace('"code": 0', '"code": 3'))
    os.replace(new, path)
    for each, date in dates.items():
        os.utime(each, ns=(date.st_atime_ns, date.st_mtime_ns))


def _an_ending_is_gone_and_the_clock_was_set_back(machine: Machine) -> None:
    date = os.stat(folder(machine))
    (folder(machine) / "exit.json").unlink()
    os.utime(folder(machine), ns=(date.st_atime_ns, date.st_mtime_ns))


def _another_folder_in_its_place(machine: Machine) -> None:
    date, copy = os.stat(folder(machine)), machine.state / "copy"
    shutil.copytree(folder(machine), copy)
    (copy / "exit.json").unlink()
    outer = os.stat(folder(machine).parent)
    shutil.rmtree(folder(machine))
    os.rename(copy, folder(machine))
    os.utime(folder(machine), ns=(date.st_atime_ns, date.st_mtime_ns))
    os.utime(folder(machine).parent, ns=(outer.st_atime_ns, outer.st_mtime_ns))


def _a_file_in_place_of_a_folder(machine: Machine) -> None:
    shutil.rmtree(folder(machine).parent)
    folder(machine).parent.write_text("")


CHANGES = [
    _a_new_run,
    _a_run_is_gone,
    _a_task_is_gone,
    _another_ending_of_the_same_size_and_date,
    _an_ending_is_gone_and_the_clock_was_set_back,
    _another_folder_in_its_place,
    _a_file_in_place_of_a_folder,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_is_read(machine: Machine, change: Callable[[Machine], None]):
    written(machine)
    before = truth(machine)

    change(machine)

    assert seen(machine) == truth(machine) != before


def test_what_a_retry_says_of_a_task_is_not_missed(machine: Machine):
    written(machine)
    machine.runner.mark_since(TaskId("t-7"), None, datetime(2026, 1, 1, tzinfo=UTC))

    fresh = machine.another()
    fresh.runs()

    assert fresh.since()["t-7"].n == 2


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _mixed(content: bytes) -> bytes:
    return content.replace(b'"code":0', b'"code":1')


def _older(content: bytes) -> bytes:
    return content.replace(b"1 id task", b"1 task id", 1)


@pytest.mark.parametrize("damage", [_cut, _mixed, _older, lambda _: b"", lambda _: b"\0" * 4096, lambda _: b"[]\n" * 9])
def test_a_damaged_file_is_no_file(machine: Machine, monkeypatch, damage: Callable[[bytes], bytes]):
    file = written(machine)
    assert damage(file.read_bytes()) != file.read_bytes()
    file.write_bytes(damage(file.read_bytes()))

    assert reads(monkeypatch, lambda: seen(machine)) > MANY
    assert seen(machine) == truth(machine)


@pytest.mark.parametrize(
    "make", [Path.unlink, lambda path: (path.unlink(), os.mkfifo(path)), lambda path: (path.unlink(), path.mkdir())]
)
def test_without_a_file_all_is_read(machine: Machine, monkeypatch, make: Callable[[Path], object]):
    make(written(machine))

    assert reads(monkeypatch, lambda: seen(machine)) > MANY
    assert seen(machine) == truth(machine)


@pytest.mark.parametrize("what", ["open", "write", "replace"])
def test_killed_while_it_writes_nothing_is_lost_or_counted_twice(machine: Machine, monkeypatch, what: str):
    """Also where an older file was there already."""
    file, older = written(machine), truth(machine)
    for task in range(MANY):
        ended(machine.runner._folders.reserve(machine.spec(subject=f"u-{task}", n=1)))
    partial = f"{file}.partial"

    class KilledError(BaseException):
        pass

    def dies(*_args: object, **_more: object) -> None:
        if what == "write":
            Path(partial).write_bytes(b"1 half of it")
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(derived, "_head" if what == "write" else "os", dies if what == "write" else _Dies(what, dies))
        seen(machine)

    assert len(older) == 2 * MANY and len(truth(machine)) == 3 * MANY
    assert seen(machine) == truth(machine) == seen(machine)


class _Dies:
    """The module `os`, at one call of which a process is killed."""

    def __init__(self, name: str, dies: Callable[..., None]) -> None:
        self._name, self._dies = name, dies

    def __getattr__(self, name: str) -> object:
        writes = name == self._name and name != "open"
        return self._dies if writes else self._opened if name == "open" else getattr(os, name)

    def _opened(self, path: str, flags: int, *more: int) -> int:
        if self._name == "open" and flags & os.O_CREAT:
            self._dies()
        return os.open(path, flags, *more)


def test_a_run_that_changes_while_it_is_written_down_is_not(machine: Machine, monkeypatch):
    again = _folders.Folders.record

    def changes(folders: _folders.Folders, run: RunId) -> object:
        found = again(folders, run)
        if run.subject == "t-7" and folders is not first._folders:
            (folders.folder(run) / "exit.json").unlink(missing_ok=True)
        return found

    first = machine.another()
    with monkeypatch.context() as patched:
        patched.setattr(_folders.Folders, "record", changes)
        first.runs()

    assert b'"t-7"' not in (machine.state / "runs" / FILE).read_bytes()
    assert seen(machine) == truth(machine)


def test_what_was_seen_before_it_changed_is_not_written_down_as_it_was(machine: Machine, monkeypatch):
    first = machine.another()
    with monkeypatch.context() as patched:
        patched.setattr(_past, "FEWEST", 10**6)
        first.runs()
    _another_ending_of_the_same_size_and_date(machine)
    ended(machine.runner._folders.reserve(machine.spec(subject="u-1", n=1)))

    first.runs()

    assert (machine.state / "runs" / FILE).exists()
    assert seen(machine) == truth(machine)


def test_what_is_gone_leaves_the_file_once_it_is_most_of_it(machine: Machine):
    """Who begins later would read it, and look for its folders, for ever."""
    path = written(machine)
    rows = path.read_bytes().count(b"\n")
    for task in range(MANY - 2):
        shutil.rmtree(folder(machine, f"t-{task}").parent)

    assert seen(machine) == truth(machine)

    assert rows == MANY + 1 and path.read_bytes().count(b"\n") == 2 + 1
    assert seen(machine) == truth(machine) and len(truth(machine)) == 4


def test_a_few_that_are_gone_are_not_worth_writing_it_again(machine: Machine):
    path = written(machine)
    before = path.read_bytes()
    shutil.rmtree(folder(machine).parent)

    assert seen(machine) == truth(machine)
    assert path.read_bytes() == before
