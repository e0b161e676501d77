"""Each check has a folder of its own for what is temporary, and nothing of it is left when that is over."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine
from waiting import until

from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run, StopWhy
from reconciler.runners import _archiving, _folders, _past

CHECK = RunId(RunKind.CHECK, "0123456789ab-0123abcd", 1)
LEAVES = """cd "$TMPDIR" && echo "$TMPDIR" > {0}/where && mkdir -p deep/closed && echo x > deep/closed/file && chmod 0 deep/closed
ln -s {0}/kept link && ln -s {0} folder && chmod 500 deep"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    (tmp_path / "temporary").mkdir()
    made.environ |= {"TMPDIR": str(tmp_path / "temporary")}
    made.runner = made.another()
    yield made
    made.clear()


def checked(machine: Machine, script: str) -> Run:
    return machine.finished(script, id=CHECK, task=TaskId(""))


def left(machine: Machine) -> list[str]:
    return os.listdir(machine.environ["TMPDIR"])


def test_what_a_check_leaves_in_its_temporary_folder_is_gone_with_it_and_nothing_else(machine: Machine) -> None:
    (machine.cwd / "kept").write_text("kept")
    machine.cwd.chmod(0o751)

    checked(machine, LEAVES.format(machine.cwd))

    where = Path((machine.cwd / "where").read_text().strip())
    assert where.parent == Path(machine.environ["TMPDIR"]) and not where.exists()
    assert left(machine) == [] and (machine.cwd / "kept").read_text() == "kept"
    assert stat.S_IMODE(machine.cwd.stat().st_mode) == 0o751


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", "exec /nowhere/at/all"])
def test_however_a_check_ends(machine: Machine, script: str) -> None:
    checked(machine, f'touch "$TMPDIR/left"; {script}')

    assert left(machine) == []


def test_one_that_is_stopped_leaves_none(machine: Machine) -> None:
    machine.start('echo $$ > "$TMPDIR/left"; echo $$ > up; exec sleep 600', id=CHECK, task=TaskId(""))
    machine.told("up")
    assert len(left(machine)) == 1

    machine.runner.stop(CHECK, StopWhy.PERSON)
    until(lambda: machine.is_over(CHECK))

    assert left(machine) == []


def test_an_agent_has_what_the_machine_has(machine: Machine) -> None:
    machine.finished('echo "$TMPDIR" > where')

    assert (machine.cwd / "where").read_text().strip() == machine.environ["TMPDIR"]


def test_where_none_can_be_made_the_check_says_so_and_runs(machine: Machine) -> None:
    Path(machine.environ["TMPDIR"]).rmdir()

    run = checked(machine, 'echo "$TMPDIR" > where')

    assert run.exit and run.exit.well and (machine.cwd / "where").read_text().strip() == machine.environ["TMPDIR"]
    assert "there is no temporary folder of its own: No such file or directory" in machine.log(CHECK)


@pytest.mark.parametrize("forged", [False, True])
def test_what_a_killed_supervisor_has_left_goes_as_its_run_is_archived(
    machine: Machine, forged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_folders, _past):
        monkeypatch.setattr(module, "SETTLES_NS", -(10**18))
    monkeypatch.setattr(_archiving, "QUIET_S", -1.0)
    machine.start('echo $$ > "$TMPDIR/left"; echo $$ > up; exec sleep 600', id=CHECK, task=TaskId(""))
    machine.told("up")
    machine.kill_shim(CHECK)
    machine.runner.stop(CHECK, StopWhy.PERSON)
    until(lambda: machine.is_over(CHECK))
    assert len(left(machine)) == 1
    record = machine.runner.folder(CHECK) / "spec.json"
    if forged:  # by what it tested: what is not named as ours is left alone
        record.write_text(json.dumps({**json.loads(record.read_text()), "temporary": str(machine.cwd)}))

    runner = machine.another()
    until(lambda: (runner.runs(), runner.archive(()), not record.exists())[-1])

    assert machine.cwd.exists() and len(left(machine)) == (1 if forged else 0)
