"""Runs on this machine: who lives, who may start, and how what lives is ended. Real processes, real locks."""

import errno
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from machine import CLOSED, Machine, lives, states
from waiting import until

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import RunId, RunKind, Sha, TaskId, review_subject
from reconciler.model.observed import Cause, RetryPoint, RunState, StopWhy
from reconciler.model.ports import RunSpec
from reconciler.model.values import replace
from reconciler.runners import _folders, supervisor
from reconciler.runners import _processes as processes

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")

X1 = RunId(RunKind.WORK, "x-1", 1)
# Each keeps one witness at least: a killed shim's agent that hides from all of them is outside the promise.
HIDDEN = {
    "carries the marker only": f"{CLOSED} sh -c 'echo $$ > pid; exec sleep 640'",
    "has the lock open only": "env -i sh -c 'echo $$ > pid; exec sleep 640'",
    "is a grandchild of what has": "setsid sh -c 'echo $$ > pid; exec env -i sleep 640' & sleep 640",
}


# --- what lives --------------------------------------------------------------------------------------------


def test_a_run_is_seen_with_all_it_was_started_with(machine: Machine):
    spec = machine.spec("exec sleep 600", attempt=3, why="Conflict", baseline=Sha("b" * 40), base_tip=Sha("c" * 40))
    before = datetime.now(UTC)
    machine.runner.start(spec)
    until(lambda: machine.run(spec.id).state is RunState.RUNNING)
    run = machine.another().runs()[spec.id]
    assert (run.task, run.manifest, run.attempt, run.why) == ("x-1", "demo", 3, "Conflict")
    assert (run.baseline, run.base_tip, run.exit) == ("b" * 40, "c" * 40, None)
    assert run.started_at and before <= run.started_at <= datetime.now(UTC)
    assert run.last_progress_at and run.pid and lives(run.pid)


def test_a_run_outlives_whoever_started_it(machine: Machine):
    if not (pid := os.fork()):
        machine.runner.start(machine.spec("exec sleep 600"))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert machine.another().runs()[X1].alive


def test_progress_is_what_it_prints(machine: Machine):
    run = machine.start("while ! test -e go; do sleep 0.02; done; echo more; exec sleep 600")
    before = machine.run(run).last_progress_at
    (machine.cwd / "go").touch()
    until(lambda: machine.run(run).last_progress_at != before)


def test_a_number_that_was_reserved_and_never_started_does_not_count(machine: Machine):
    machine.runner._folders.reserve(machine.spec())
    run = machine.run(X1)
    assert (run.state, run.started_at) == (RunState.LOST, None)


def test_a_killed_shim_whose_agent_is_gone_too_is_lost(machine: Machine):
    run = machine.start("echo $$ > pid; exec sleep 600")
    agent = machine.told("pid")
    machine.kill_shim(run)
    os.kill(agent, signal.SIGKILL)
    until(lambda: machine.run(run).state is RunState.LOST)
    assert machine.run(run).started_at


def test_an_agent_at_work_whose_shim_was_killed_goes_on(machine: Machine):
    run = machine.start("exec sleep 600")
    machine.kill_shim(run)
    seen = machine.another().runs()[run]
    assert (seen.state, seen.pid) == (RunState.RUNNING, None)


def test_an_agent_whose_shim_was_killed_keeps_its_time_limit(machine: Machine):
    run = machine.start("exec sleep 600", timeout_s=1.0)
    machine.kill_shim(run)
    until(lambda: machine.run(run).state is RunState.ENDING)


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN.keys())
def test_an_agent_that_outlives_its_shim_is_alive_by_any_witness(machine: Machine, script: str):
    run = machine.start(script, most=1)
    machine.told("pid")
    machine.kill_shim(run)
    assert machine.another().runs()[run].alive


def test_an_agent_that_unlocks_what_it_inherited_is_alive(machine: Machine):
    run = machine.start("flock -u 201; echo $$ > pid; exec sleep 600")
    machine.told("pid")
    assert not machine.runner._locks.held(run.kind, run.subject).agent
    assert machine.run(run).alive
    machine.kill_shim(run)
    assert machine.run(run).alive


def test_a_run_whose_records_were_removed_is_still_alive(machine: Machine):
    run = machine.start("exec sleep 600", n=1)
    until(lambda: machine.run(run).state is RunState.RUNNING)
    shutil.rmtree(machine.state / "runs")
    assert machine.run(run).alive
    assert machine.another().runs()[run].alive


def test_a_run_whose_records_were_removed_is_alive_beside_older_ones(machine: Machine):
    machine.finished("true", n=1)
    run = machine.start("exec sleep 600", n=2)
    until(lambda: machine.run(run).state is RunState.RUNNING)
    shutil.rmtree(machine.runner.folder(run))
    assert machine.run(run).alive
    assert machine.another().runs()[run].alive


def test_a_run_whose_records_were_removed_is_alive_beside_one_that_was_lost(machine: Machine):
    machine.runner._folders.reserve(machine.spec())
    run = machine.start("exec sleep 600", n=2)
    until(lambda: machine.run(run).state is RunState.RUNNING)
    shutil.rmtree(machine.runner.folder(run))
    assert any(seen.alive for seen in machine.runner.runs().values())


def test_a_supervisor_that_has_yet_to_let_go_is_known_without_a_look_at_every_process(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    run = machine.start("exec sleep 600")
    until(lambda: machine.run(run).state is RunState.RUNNING)
    os.kill(machine.run(run).pid, signal.SIGSTOP)
    ended = {"cause": "exited", "code": 0, "ended_at": datetime.now(UTC).isoformat()}
    (machine.runner.folder(run) / "exit.json").write_text(json.dumps(ended))
    monkeypatch.setattr(processes, "carriers", lambda: pytest.fail("every process was asked"))

    assert machine.another().runs()[run].state is RunState.ENDED


def test_a_run_whose_records_were_removed_is_alive_beside_one_that_had_its_pid(machine: Machine):
    first = machine.finished("true", n=1)
    run = machine.start("exec sleep 600", n=2)
    until(lambda: machine.run(run).state is RunState.RUNNING)
    older = machine.runner.folder(first.id) / "run.json"
    older.write_text(json.dumps({**json.loads(older.read_text()), "pid": machine.run(run).pid}))
    shutil.rmtree(machine.runner.folder(run))

    assert machine.another().runs()[run].alive


def test_a_run_whose_records_were_removed_can_be_stopped(machine: Machine):
    run = machine.start("exec sleep 600")
    until(lambda: machine.run(run).state is RunState.RUNNING)
    shutil.rmtree(machine.state / "runs")
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: run not in machine.runner.runs())


def test_records_of_another_boot_are_not_looked_for(machine: Machine):
    run = machine.start(f"{CLOSED} sh -c 'echo $$ > pid; exec sleep 600'")
    machine.told("pid")
    machine.kill_shim(run)
    record = machine.runner.folder(run) / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot_id": "another"}))
    assert machine.another().runs()[run].state is RunState.LOST


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"cause": "new", "ended_at": 1}', "\xff", "[" * 100_000])
def test_a_damaged_ending_is_no_ending(machine: Machine, content: str):
    run = machine.finished("true").id
    (machine.runner.folder(run) / "exit.json").write_text(content, encoding="latin-1")
    assert machine.another().runs()[run].state is RunState.LOST


@pytest.mark.parametrize("name", ["exit.json", "run.json", "stop.json", "spec.json", "log"])
def test_a_fifo_or_a_link_in_place_of_a_record_does_not_hold_us_up(machine: Machine, name: str):
    run = machine.finished("true").id
    path = machine.runner.folder(run) / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert not machine.another().runs()[run].alive
    assert machine.log(run) == ""
    path.unlink()
    path.symlink_to(path)
    assert not machine.another().runs()[run].alive
    assert machine.log(run) == ""


def test_a_quiet_look_is_cheap_and_starts_nothing(machine: Machine, monkeypatch):
    for n in range(1000):
        spec = machine.spec(subject=f"t-{n}")
        folder = machine.runner._folders.reserve(spec)
        ending = {"cause": "exited", "code": 0, "ended_at": supervisor.utc(0)}
        (folder / "exit.json").write_text(json.dumps(ending))
    for path in (machine.state / "runs" / "work").iterdir():
        os.utime(path, (1, 1))
    machine.runner.runs()
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(processes, "carriers", None)
    took = []
    for _ in range(5):
        begun = time.process_time()
        assert len(machine.runner.runs()) == 1000
        took.append(time.process_time() - begun)
    assert min(took) < 0.05


# --- who may start -----------------------------------------------------------------------------------------


def test_a_number_is_used_once(machine: Machine):
    machine.finished("true", n=2)
    for n in (1, 2):
        with pytest.raises(ChangedError):
            machine.start("true", n=n)
    machine.finished("true", n=3)


def test_a_second_run_of_a_task_is_refused_while_one_lives(machine: Machine):
    machine.start("exec sleep 600")
    with pytest.raises(ChangedError):
        machine.another().start(machine.spec("true", n=2))


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_second_run_is_refused_while_anything_of_the_first_lives(machine: Machine, script: str):
    run = machine.start(script, most=2)
    machine.told("pid")
    machine.kill_shim(run)
    with pytest.raises(ChangedError):
        machine.another().start(machine.spec("true", n=2))


def test_what_an_ended_run_left_is_ended_before_the_next_starts(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "SWEEP_GRACE_S", 30.0)
    run = machine.start("(setsid sh -c \"trap '' TERM; echo \\$\\$ > pid; while :; do sleep 0.1; done\" &); exit 0")
    left = machine.told("pid")
    until(lambda: machine.run(run).exit)
    machine.kill_shim(run)
    assert lives(left)
    assert machine.run(run).state is RunState.ENDING
    monkeypatch.setattr(supervisor, "SWEEP_GRACE_S", 0.5)
    machine.finished("true", n=2)
    assert not lives(left)


def test_an_ended_run_is_not_over_while_something_carries_its_marker(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "SWEEP_GRACE_S", 30.0)
    deaf = 'trap \\"\\" TERM; echo \\$\\$ > pid; while :; do sleep 0.1; done'
    run = machine.start(f'(({CLOSED} sh -c "{deaf}") &); sleep 0.5; exit 0')
    left = machine.told("pid")
    until(lambda: machine.run(run).exit)
    machine.kill_shim(run)
    assert not machine.runner._locks.held(run.kind, run.subject).any
    assert lives(left)
    assert machine.another().runs()[run].state is RunState.ENDING


def test_a_start_waits_for_the_sweep_after_an_ending(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "SWEEP_GRACE_S", 2.0)
    run = machine.start("(trap '' TERM; sleep 630; :) & sleep 0.2; exit 3")
    until(lambda: machine.run(run).exit)
    assert machine.run(run).state is RunState.ENDING
    machine.finished("true", n=2)


def test_no_more_run_than_the_bound_allows(machine: Machine):
    machine.start("exec sleep 600", subject="a", most=2)
    machine.start("exec sleep 600", subject="b", most=2)
    with pytest.raises(ChangedError):
        machine.start("exec sleep 600", subject="c", most=2)


def test_the_bound_is_read_from_the_recorded_manifest_at_each_start(machine: Machine):
    machine.most["demo"] = 3
    for subject in "abc":
        machine.start("exec sleep 600", subject=subject, most=1)
    machine.most["demo"] = 1
    machine.runner.stop(RunId(RunKind.WORK, "a", 1), StopWhy.PERSON)
    until(lambda: not machine.run(RunId(RunKind.WORK, "a", 1)).alive)
    with pytest.raises(ChangedError):
        machine.start("true", subject="d", most=9)
    assert not machine.runner.folder(RunId(RunKind.WORK, "d", 1)).exists()


def test_a_slot_is_kept_by_an_agent_whose_shim_was_killed(machine: Machine):
    machine.kill_shim(machine.start("exec sleep 600", subject="a", most=1))
    with pytest.raises(ChangedError):
        machine.start("true", subject="b", most=1)


def test_an_agent_that_closed_its_slot_still_counts(machine: Machine):
    run = machine.start(f"{CLOSED} sh -c 'echo $$ > pid; exec sleep 600'", subject="a", most=1)
    machine.told("pid")
    machine.kill_shim(run)
    with pytest.raises(ChangedError):
        machine.start("true", subject="b", most=1)


def a_hidden_one(machine: Machine, subject: str, most: int) -> int:
    """An agent that closed what it got, and whose shim was then killed; its pid."""
    run = machine.start(f"{CLOSED} sh -c 'echo $$ > {subject}.pid; exec sleep 600'", subject=subject, most=most)
    pid = machine.told(f"{subject}.pid")
    machine.kill_shim(run)
    return pid


def test_what_lost_its_slot_since_a_start_looked_through_all_processes_counts(machine: Machine):
    machine.start("exec sleep 600", subject="a", most=3)
    a_hidden_one(machine, "b", 3)
    machine.start("exec sleep 600", subject="c", most=3)  # in the slot that b lost

    with pytest.raises(ChangedError):
        machine.start("true", subject="d", most=3)


def test_what_lost_its_slot_to_a_start_of_somebody_else_counts(machine: Machine):
    machine.start("exec sleep 600", subject="a", most=3)
    a_hidden_one(machine, "b", 3)
    machine.another().start(machine.spec("exec sleep 600", subject="c", most=3))

    with pytest.raises(ChangedError):
        machine.start("true", subject="d", most=3)


def test_what_lived_without_a_slot_and_has_ended_keeps_nobody_from_starting(machine: Machine):
    left = a_hidden_one(machine, "a", 2)
    machine.start("exec sleep 600", subject="b", most=2)
    os.kill(left, signal.SIGKILL)
    until(lambda: not lives(left))

    machine.start("exec sleep 600", subject="c", most=2)


def test_a_slot_of_which_nobody_could_be_told_stays_free(machine: Machine, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched, pytest.raises(TemporaryError):
        patched.setattr(os, "pwrite", full)
        machine.start("true", subject="a", most=1)

    machine.finished("true", subject="b", most=1)


def test_a_pipe_in_the_place_of_the_gate_lets_no_more_run_than_may(machine: Machine):
    machine.start("exec sleep 600", subject="a", most=2)
    gate = machine.state / "locks/slots/demo/gate"
    gate.unlink()
    os.mkfifo(gate)
    machine.start("exec sleep 600", subject="b", most=2)

    with pytest.raises(ChangedError):
        machine.start("true", subject="c", most=2)


def test_of_several_starts_in_a_row_the_first_looks_through_all_processes(machine: Machine, monkeypatch):
    looks: list[object] = []
    carriers = processes.carriers
    monkeypatch.setattr(processes, "carriers", lambda: looks.append(1) or carriers())
    for subject in "abcd":
        machine.start("exec sleep 600", subject=subject, most=4)

    assert len(looks) == 1


@pytest.mark.parametrize("before", ["a retry", "a start that was killed", "a run", "nothing"])
def test_a_run_that_somebody_else_starts_for_an_open_task_is_seen_at_the_next_look(
    machine: Machine, before, monkeypatch
):
    monkeypatch.setattr(_folders, "SETTLES_NS", -(10**9))  # as after an hour
    task = TaskId("x-1")
    {
        "a retry": lambda: machine.another().mark_since(task, None, datetime.now(UTC)),
        "a start that was killed": lambda: (machine.state / "runs/work/x-1").mkdir(parents=True),
        "a run": lambda: machine.finished("true"),
        "nothing": lambda: None,
    }[before]()
    open_tasks = [task]
    for _ in range(3):
        machine.runner.runs(open_tasks)
    spec = machine.spec("exec sleep 600", n=2 if before == "a run" else 1)

    machine.another().start(spec)

    seen = machine.runner.runs(open_tasks)[spec.id]
    assert seen.alive and seen.manifest == "demo"


def test_a_slot_is_free_again_after_a_run(machine: Machine):
    for n in range(1, 4):
        machine.finished("true", n=n, most=1)


def test_manifests_have_slots_of_their_own(machine: Machine):
    machine.start("exec sleep 600", subject="a", most=1)
    spec = machine.spec("true", subject="b", most=1)
    assert spec.slot
    machine.runner.start(replace(spec, manifest="other", slot=replace(spec.slot, manifest="other")))


def test_checks_take_no_slot_of_an_agent(machine: Machine):
    machine.start("exec sleep 600", subject="a", most=1)
    machine.start("exec sleep 600", subject="b", id=RunId(RunKind.CHECK, "a", 1))
    assert set(states(machine)) == {"work/a/1", "check/a/1"}


def test_many_starts_at_once_keep_the_bound_and_make_no_second_run(machine: Machine):
    outcomes: list[str] = []

    def try_to_start(subject: str) -> None:
        try:
            machine.another().start(machine.spec("exec sleep 600", subject=subject, most=3))
            outcomes.append(subject)
        except ChangedError:
            pass

    threads = [threading.Thread(target=try_to_start, args=(subject,)) for subject in "aabbccddeeff"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(outcomes) == len(set(outcomes)) == 3
    assert sum(run.alive for run in machine.runner.runs().values()) == 3


def test_a_run_that_cant_begin_is_said_at_once(machine: Machine, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(TemporaryError, match="died before it could begin"):
        machine.start("true")
    assert machine.run(X1).started_at is None


def test_a_full_disk_is_a_temporary_error(machine: Machine):
    machine.state.mkdir()
    (machine.state / "runs").write_text("in the way")
    with pytest.raises(TemporaryError):
        machine.start("true")


def test_what_no_program_can_be_given_is_refused(machine: Machine):
    with pytest.raises(PermanentError):
        machine.start("true", env={"A": "nul\0byte"})


def test_a_number_once_seen_as_over_is_looked_at_again_when_it_is_the_newest(machine: Machine):
    machine.finished("true", n=1)
    run = machine.start("exec sleep 600", n=2)
    until(lambda: machine.run(run).state is RunState.RUNNING)
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.is_over(run))
    assert machine.run(run).exit


# --- what a run gets ---------------------------------------------------------------------------------------


def test_an_agent_gets_its_run_its_prompt_and_our_program(machine: Machine):
    run = machine.start('env; cat "$RECONCILE_PROMPT"', prompt="Do it.\n", env={"RECONCILE_TASK": "x-1"})
    until(lambda: machine.is_over(run))
    lines = machine.log(run).splitlines()
    assert {"RECONCILE_RUN=work/x-1/1", "RECONCILE_TASK=x-1", f"PWD={machine.cwd}", "Do it."} <= set(lines)
    assert f"PATH={machine.environ['PATH']}:/opt/reconcile/bin" in lines


def test_secrets_reach_only_an_agent_that_is_to_have_them_and_no_disk(machine: Machine):
    environ = {**machine.environ, "A_TOKEN": "hush-a", "B_TOKEN": "hush-b"}
    machine.another(environ).start(machine.spec("echo $A_TOKEN$B_TOKEN | tr a-z A-Z", pass_env=("A_TOKEN",)))
    until(lambda: machine.is_over(X1))
    assert machine.log(X1).strip() == "HUSH-A"
    written = [path.read_bytes() for path in machine.state.rglob("*") if path.is_file()]
    assert not any(b"hush" in content for content in written)


@pytest.mark.parametrize(("kind", "hooks"), [(RunKind.WORK, False), (RunKind.CHECK, False), (RunKind.REVIEW, True)])
def test_who_judges_a_change_sees_with_git_what_was_committed(machine, kind, hooks):
    given = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "my.own", "GIT_CONFIG_VALUE_0": "1"}
    run = RunId(kind, review_subject(TaskId("x-1"), Sha("a" * 40)) if kind is RunKind.REVIEW else "x-1", 1)

    said = "env | grep ^GIT_; git config my.own; git config core.fsmonitor; git config core.hooksPath; true"
    machine.finished(said, id=run, env=given)

    lines = machine.log(run).splitlines()
    assert "1" in lines and ("/dev/null" in lines) is hooks
    assert ("GIT_NO_REPLACE_OBJECTS=1" in lines) is ("false" in lines) is (kind is not RunKind.WORK)


def test_the_end_of_a_log_is_read_in_whole_characters(machine: Machine):
    run = machine.finished("printf 'aäöüß'").id
    assert machine.runner.log_tail(run, 3) == "öüß"


# --- how it is ended ---------------------------------------------------------------------------------------


def test_a_run_that_was_told_to_stop_is_ending(machine: Machine):
    run = machine.start("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")
    machine.told("pid")
    machine.runner.stop(run, StopWhy.PERSON)
    assert machine.run(run).state is RunState.ENDING


def test_the_first_reason_for_a_stop_stands(machine: Machine):
    run = machine.start("exec sleep 600")
    machine.runner.stop(run, StopWhy.DONE)
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.is_over(run))
    machine.runner.stop(run, StopWhy.CLOSED)
    ended = machine.another().runs()[run].exit
    assert ended and ended.stop is StopWhy.DONE


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN.keys())
def test_what_outlived_its_shim_is_ended_directly(machine: Machine, script: str):
    run = machine.start(script, most=1)
    pid = machine.told("pid")
    machine.kill_shim(run)
    machine.another().stop(run, StopWhy.PERSON)
    until(lambda: not lives(pid))
    until(lambda: not machine.run(run).alive)


def test_what_outlived_its_shim_and_ignores_term_is_killed_later(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "STOP_GRACE_S", 3600.0)
    run = machine.start("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")
    pid = machine.told("pid")
    machine.kill_shim(run)
    machine.runner.stop(run, StopWhy.PERSON)
    time.sleep(0.1)
    machine.runner.stop(run, StopWhy.PERSON)
    assert lives(pid)
    monkeypatch.setattr(supervisor, "STOP_GRACE_S", 0.05)
    machine.another().stop(run, StopWhy.PERSON)
    until(lambda: not lives(pid))


def test_a_stop_whose_shim_was_killed_is_still_a_stop(machine: Machine):
    run = machine.start("exec sleep 600")
    until(lambda: machine.run(run).state is RunState.RUNNING)
    machine.kill_shim(run)
    machine.runner.stop(run, StopWhy.CLOSED)
    until(lambda: not machine.run(run).alive)
    seen = machine.another().runs()[run]
    assert seen.state is RunState.ENDED
    assert seen.exit and (seen.exit.cause, seen.exit.stop) == (Cause.STOPPED, StopWhy.CLOSED)


def test_ending_what_is_ending_anyway_adds_no_reason(machine: Machine):
    run = machine.start(f"{CLOSED} sh -c 'echo $$ > pid; exec sleep 600'")
    machine.told("pid")
    machine.kill_shim(run)
    assert machine.run(run).state is RunState.ENDING
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.run(run).state is RunState.LOST)
    assert machine.run(run).exit is None


def test_a_stopped_shim_is_woken_to_end_its_run(machine: Machine):
    run = machine.start("exec sleep 600")
    os.kill(machine.shim_of(run), signal.SIGSTOP)
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.is_over(run))


def test_a_pid_in_a_record_is_not_believed(machine: Machine):
    bystander = subprocess.Popen(["sleep", "600"])
    run = machine.start("exec sleep 600")
    machine.shim_of(run)
    record = machine.runner.folder(run) / "run.json"
    until(lambda: json.loads(record.read_text())["child"])
    record.write_text(json.dumps({**json.loads(record.read_text()), "pid": bystander.pid}))
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.is_over(run))
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_run_of_the_same_name_in_another_repository_is_left_alone(machine: Machine, tmp_path: Path):
    other = Machine(tmp_path / "other")
    try:
        theirs = other.start("exec sleep 600")
        ours = machine.start("exec sleep 600")
        machine.kill_shim(ours)
        machine.runner.stop(ours, StopWhy.PERSON)
        until(lambda: not machine.run(ours).alive)
        assert other.run(theirs).state is RunState.RUNNING
    finally:
        other.clear()


def test_stopping_an_older_run_does_not_touch_the_one_that_lives(machine: Machine):
    machine.finished("true", n=1)
    run = machine.start("exec env -i sleep 600", n=2)
    until(lambda: machine.run(run).state is RunState.RUNNING)
    machine.runner.stop(X1, StopWhy.PERSON)
    machine.kill_shim(run)
    machine.runner.stop(X1, StopWhy.PERSON)
    time.sleep(0.1)
    assert machine.run(run).alive
    assert machine.runner._stopping.tree(run).members()
    assert not machine.runner._stopping.tree(X1).members()


def test_a_process_known_only_by_its_folder_is_never_signalled(machine: Machine):
    bystander = subprocess.Popen(["sleep", "600"], cwd=machine.cwd)
    run = machine.start("exec sleep 600")
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.is_over(run))
    machine.kill_shim(machine.start("exec sleep 600", n=2))
    machine.runner.stop(RunId(RunKind.WORK, "x-1", 2), StopWhy.PERSON)
    until(lambda: not machine.run(RunId(RunKind.WORK, "x-1", 2)).alive)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


# --- who else is there -------------------------------------------------------------------------------------


def test_whoever_only_looks_at_a_lock_is_not_signalled(machine: Machine):
    run = machine.start("exec sleep 600")
    machine.kill_shim(run)
    with open(machine.runner._locks.agent(run.kind, run.subject)) as lock:
        bystander = subprocess.Popen(["sleep", "600"], stdin=lock)
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: not machine.run(run).alive)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_bystander_in_a_worktree_is_named(machine: Machine):
    inner = machine.cwd / "a"
    inner.mkdir()
    bystander = subprocess.Popen(["sleep", "600"], cwd=inner)
    found = machine.runner.occupants([str(machine.cwd), str(machine.state)])
    assert {path: (who.pid, who.command) for path, who in found.items()} == {
        str(machine.cwd): (bystander.pid, "sleep 600")
    }
    bystander.kill()
    bystander.wait()


@pytest.mark.parametrize(
    "script", ["exec sleep 640", f"({CLOSED} env -i sleep 640)", *(f"({script})" for script in HIDDEN.values())]
)
def test_processes_of_a_live_run_are_no_occupants(machine: Machine, script: str):
    run = machine.start(f"{script} & touch up; wait", most=1)
    until(lambda: (machine.cwd / "up").exists())
    time.sleep(0.1)
    assert machine.runner.occupants([str(machine.cwd)]) == {}
    assert machine.run(run).alive


def test_what_a_swept_run_left_is_an_occupant_until_it_is_gone(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "SWEEP_GRACE_S", 2.0)
    run = machine.start("(trap '' TERM; sleep 630; :) & sleep 0.2; exit 0")
    until(lambda: machine.run(run).exit)
    assert machine.run(run).state is RunState.ENDED
    assert machine.runner.occupants([str(machine.cwd)])
    until(lambda: not machine.runner.occupants([str(machine.cwd)]))


def test_an_agent_in_the_worktree_of_another_task_is_an_occupant_there(machine: Machine, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = machine.start(f"cd {elsewhere}; echo $$ > {machine.cwd}/pid; exec sleep 600")
    pid = machine.told("pid")
    until(lambda: machine.run(run).state is RunState.RUNNING)
    assert machine.runner.occupants([str(elsewhere)])[str(elsewhere)].pid == pid


# --- the rest of the port ----------------------------------------------------------------------------------


def test_since_counts_from_the_newest_run(machine: Machine):
    at = datetime(2026, 1, 2, tzinfo=UTC)
    machine.finished("true", n=1)
    machine.runner.mark_since(TaskId("x-1"), Sha("d" * 40), at)
    machine.runner.mark_since(TaskId("x-2"), None, at)
    expected = {"x-1": RetryPoint(n=1, base=Sha("d" * 40), at=at), "x-2": RetryPoint(n=0, base=None, at=at)}
    assert machine.runner.since() == machine.another().since() == expected
    later = at + timedelta(hours=1)
    machine.runner.mark_since(TaskId("x-1"), None, later)
    assert machine.runner.since()[TaskId("x-1")].at == later


def test_a_run_that_is_at_work_is_the_first_that_counts(machine: Machine):
    machine.finished("true", n=1)
    machine.start("sleep 600", n=2)

    machine.runner.mark_since(TaskId("x-1"), None, datetime(2026, 1, 2, tzinfo=UTC))

    assert machine.runner.since()[TaskId("x-1")].n == 1


def test_a_run_that_is_being_stopped_does_not_count(machine: Machine):
    run = machine.start("trap '' TERM; echo $$ > up; while :; do sleep 0.1; done", n=1)
    machine.told("up")
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.run(run).state is RunState.ENDING)

    machine.runner.mark_since(TaskId("x-1"), None, datetime(2026, 1, 2, tzinfo=UTC))

    assert machine.runner.since()[TaskId("x-1")].n == 1


def test_a_missing_agent_program_is_said_in_words(machine: Machine):
    assert _missing(machine, "sh") is None
    assert _missing(machine, "/bin/sh") is None
    assert _missing(machine, "{worktree}/agent") is None
    assert "no-such-agent" in (_missing(machine, "no-such-agent") or "")
    assert "bin/agent" in (_missing(machine, "bin/agent") or "")


def test_a_relative_agent_program_is_looked_for_in_the_repository(machine: Machine):
    (machine.cwd / "bin").mkdir()
    program = machine.cwd / "bin" / "agent"
    program.write_text("#!/bin/sh\n")
    assert _missing(machine, "bin/agent")
    program.chmod(0o755)
    assert _missing(machine, "bin/agent") is None


def test_an_agent_program_is_looked_for_on_the_path_that_the_agent_gets(machine: Machine, tmp_path: Path):
    folder = tmp_path / "tools"
    folder.mkdir()
    shutil.copy("/bin/true", folder / "my-agent")
    assert _missing(machine, "my-agent")
    assert _missing(machine, "my-agent", env={"PATH": str(folder)}) is None


def _missing(machine: Machine, program: str, **more: object) -> str | None:
    agent = AgentSpec(argv=(program,), **more)  # type: ignore[arg-type]
    return machine.runner.missing(EpicSpec(name="demo", repository=str(machine.cwd), agent=agent))


def test_a_run_spec_is_kept_as_it_was_given(machine: Machine):
    spec: RunSpec = machine.spec("true", stuck_after_s=5.0)
    machine.runner.start(spec)
    told = json.loads((machine.runner.folder(spec.id) / "spec.json").read_text())
    assert (told["steps"], told["cwd"], told["stuck_after_s"]) == ([["sh", "-c", "true"]], str(machine.cwd), 5.0)
