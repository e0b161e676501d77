"""One run under its shim: limits, endings, records, and that nothing of it is left. Real processes."""

import json
import os
import random
import select
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import CLOSED, Machine, lives
from waiting import until

from reconciler.model.names import RunId
from reconciler.model.observed import Cause, RunState, StopWhy
from reconciler.model.ports import StepLimit
from reconciler.runners import supervisor

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")


def test_an_exit_status_is_recorded(machine: Machine):
    ended = machine.finished("exit 7").exit
    assert ended and (ended.cause, ended.code, ended.signal) == (Cause.EXITED, 7, None)


def test_how_much_memory_its_largest_process_had_is_recorded(machine: Machine):
    takes = f"{sys.executable} -c 'x = bytearray(60 << 20); x[::4096] = bytes(len(x[::4096]))' & wait"
    little, much = machine.finished("true").exit, machine.finished(takes, n=2).exit
    assert little and much and little.memory and much.memory
    assert little.memory < 50 << 20 < much.memory < 200 << 20


def test_a_good_ending_is_recorded(machine: Machine):
    ended = machine.finished("exit 0").exit
    assert ended and ended.well


def test_a_fatal_signal_is_recorded(machine: Machine):
    ended = machine.finished("kill -SEGV $$").exit
    assert ended and (ended.cause, ended.code, ended.signal) == (Cause.EXITED, None, signal.SIGSEGV)


def test_steps_run_in_order_up_to_the_first_failure(machine: Machine):
    steps = tuple(("sh", "-c", script) for script in ("echo one", "echo two; exit 3", "echo three"))
    run = machine.finished(steps=steps)
    assert run.exit and run.exit.code == 3
    assert machine.log(run.id).split() == ["one", "two"]


def test_a_missing_program_is_no_failure_of_the_agent(machine: Machine):
    run = machine.finished(steps=(("no-such-program",),))
    assert run.exit and run.exit.cause is Cause.UNAVAILABLE
    assert "'no-such-program': No such file" in machine.log(run.id)


def test_a_program_that_is_not_executable_is_no_failure_of_the_agent(machine: Machine):
    (machine.cwd / "agent").write_text("#!/bin/sh\n")
    run = machine.finished(steps=(("./agent",),))
    assert run.exit and run.exit.cause is Cause.UNAVAILABLE


def test_a_worktree_that_vanished_is_a_failed_set_up(machine: Machine):
    run = machine.finished(cwd=str(machine.cwd / "gone"))
    assert run.exit and run.exit.cause is Cause.SETUP


def test_a_failing_set_up_ends_the_run_before_the_agent(machine: Machine):
    marker = machine.cwd / "ready"
    steps = (("sh", "-c", "exit 5"), ("sh", "-c", "echo agent"))
    run = machine.finished(steps=steps, setup_steps=1, ready_marker=str(marker))
    assert run.exit and (run.exit.cause, run.exit.code) == (Cause.SETUP, 5)
    assert not marker.exists()
    assert machine.log(run.id) == ""


def test_set_up_is_told_from_work(machine: Machine):
    marker = machine.cwd / "ready"
    steps = (("sh", "-c", "while ! test -e go; do sleep 0.02; done"), ("sleep", "600"))
    run = machine.start(steps=steps, setup_steps=1, ready_marker=str(marker))
    assert machine.run(run).state is RunState.STARTING
    assert not marker.exists()
    (machine.cwd / "go").touch()
    until(lambda: machine.run(run).state is RunState.RUNNING)
    assert marker.exists()


def test_standard_input_is_closed_and_both_outputs_are_logged(machine: Machine):
    run = machine.finished("cat; echo out; echo err >&2")
    assert sorted(machine.log(run.id).split()) == ["err", "out"]


def test_a_step_gets_ordinary_signals_and_its_own_session(machine: Machine):
    run = machine.finished("ps -o sid= -p $$; echo $$; grep SigIgn /proc/self/status; grep SigBlk /proc/self/status")
    session, pid, _, ignored, _, blocked = machine.log(run.id).split()
    assert session == pid
    assert (int(ignored, 16), int(blocked, 16)) == (0, 0)


def test_the_agent_has_its_locks_at_high_descriptors_and_not_the_shims(machine: Machine):
    run = machine.finished("ls -l /proc/self/fd", most=1)
    opened = [line.split(" -> ") for line in machine.log(run.id).splitlines() if "/locks/" in line]
    assert sorted(os.path.basename(path) for _, path in opened) == ["0", "work-x-1.agent"]
    assert all(int(left.split()[-1]) >= 200 for left, _ in opened)


def test_silence_without_newer_files_is_stuck(machine: Machine):
    run = machine.finished("echo hello; exec sleep 600", stuck_after_s=1.0)
    assert run.exit and run.exit.cause is Cause.STUCK


def test_an_agent_that_only_prints_is_not_stuck(machine: Machine):
    run = machine.finished("for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done", stuck_after_s=1.2)
    assert run.exit and run.exit.well


def test_an_agent_that_only_writes_files_is_not_stuck(machine: Machine):
    run = machine.finished("mkdir -p a/b; for i in 1 2 3 4 5 6; do echo $i > a/b/f; sleep 0.5; done", stuck_after_s=1.2)
    assert run.exit and run.exit.well


def test_a_commit_is_a_sign_of_work(machine: Machine):
    git, common = machine.cwd / "admin", machine.cwd / "common"
    (common / "refs/heads/agent").mkdir(parents=True)
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/agent/x-1\n")
    (git / "commondir").write_text("../common\n")
    work = machine.cwd / "work"
    work.mkdir()
    (work / ".git").write_text(f"gitdir: {git}\n")
    before = supervisor.newest_change(str(work))
    time.sleep(0.02)
    (common / "refs/heads/agent/x-1").write_text("0" * 40)
    assert supervisor.newest_change(str(work)) > before


def test_the_time_limit_ends_the_whole_tree(machine: Machine):
    run = machine.finished("(setsid sleep 610 & echo $! > child); exec sleep 600", timeout_s=0.5)
    assert run.exit and run.exit.cause is Cause.TIMEOUT
    assert not lives(machine.told("child"))


def test_who_started_a_process_is_signalled_before_it(monkeypatch):
    # Numbers start over where the last one is reached: a child may have the lower one.
    monkeypatch.setattr(supervisor, "parent_pids", lambda: {4194303: 300, 300: 1, 301: 4194303, 302: 300, 4194000: 301})
    monkeypatch.setattr(supervisor, "marker", lambda pid: b"/runs/1" if pid in (301, 4194303) else None)
    monkeypatch.setattr(supervisor, "pin", lambda pid: -1)
    sent = []
    monkeypatch.setattr(supervisor, "send", lambda pid, handle, *signals: sent.append(pid))

    assert supervisor.Tree("/runs/1", None, None).send(signal.SIGTERM)

    assert sent == [4194303, 301, 4194000]


def test_an_agent_that_ignores_term_is_killed(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "STOP_GRACE_S", 0.6)
    run = machine.start("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")
    pid = machine.told("pid")
    asked = time.monotonic()
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.is_over(run))
    assert not lives(pid)
    assert time.monotonic() - asked >= supervisor.STOP_GRACE_S


def test_a_stopped_agent_is_continued_so_that_it_can_end(machine: Machine):
    run = machine.start("trap 'echo bye; exit 0' TERM; echo $$ > pid; while :; do sleep 0.1; done")
    os.kill(machine.told("pid"), signal.SIGSTOP)
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.is_over(run))
    assert "bye" in machine.log(run)


def test_a_stop_is_recorded_with_its_reason(machine: Machine):
    run = machine.start("exec sleep 600")
    machine.runner.stop(run, StopWhy.CLOSED)
    until(lambda: machine.is_over(run))
    ended = machine.run(run).exit
    assert ended and (ended.cause, ended.stop) == (Cause.STOPPED, StopWhy.CLOSED)


def test_an_agent_that_said_it_was_done_ended_well(machine: Machine):
    run = machine.start("exec sleep 600")
    machine.runner.stop(run, StopWhy.DONE)
    until(lambda: machine.is_over(run))
    ended = machine.run(run).exit
    assert ended and ended.well


def test_a_persons_kill_is_a_failure_of_the_agent(machine: Machine):
    run = machine.start("exec sleep 600")
    os.kill(machine.shim_of(run), signal.SIGTERM)
    until(lambda: machine.is_over(run))
    ended = machine.run(run).exit
    assert ended and (ended.cause, ended.signal, ended.stop) == (Cause.EXITED, signal.SIGTERM, None)


@pytest.mark.parametrize(
    "escape",
    [
        "sleep {s} &",
        "setsid sleep {s} &",
        "(setsid sleep {s} &) &",
        "env -i /usr/bin/setsid /bin/sleep {s} &",
        "(cd / && env -i setsid sh -c 'trap \"\" TERM HUP; /bin/sleep {s}; :' &) &",
        f"(({CLOSED} env -i setsid sleep {{s}}) &) &",
    ],
)
def test_nothing_escapes_a_shim_that_lives(machine: Machine, escape: str):
    mine = f"620.{random.randrange(10**12)}"
    script = f"{escape.format(s=mine)} sleep 0.5; exit 0"
    run = machine.start(script)
    until(lambda: [pid for pid in supervisor.parent_pids() if _words(pid) == ["sleep", mine]], "the escape")
    until(lambda: machine.is_over(run))
    assert not [pid for pid in supervisor.parent_pids() if mine in _words(pid)]


def test_what_is_to_be_removed_at_the_end_is_removed_when_nothing_is_left(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "SWEEP_GRACE_S", 2.0)
    locked = machine.cwd / "locked"
    locked.touch()
    run = machine.start("(trap '' TERM; sleep 630; :) & sleep 0.2; exit 0", unlock=str(locked))
    until(lambda: machine.run(run).exit)
    assert locked.exists()
    until(lambda: machine.is_over(run))
    assert not locked.exists()


def test_a_good_ending_is_recorded_before_the_sweep(machine: Machine, monkeypatch):
    monkeypatch.setattr(supervisor, "SWEEP_GRACE_S", 2.0)
    run = machine.start("(trap '' TERM; echo $$ > child; sleep 630; :) & sleep 0.2; exit 0")
    until(lambda: machine.run(run).exit is not None)
    assert machine.runner._locks.held(run.kind, run.subject).shim
    assert machine.run(run).state is RunState.ENDED
    until(lambda: machine.is_over(run))


def test_a_long_log_keeps_its_head_and_its_tail(machine: Machine):
    mib = "head -c 1048576 /dev/zero | tr '\\0' ."
    run = machine.finished(
        f"echo first; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do {mib}; done; sleep 1.3; echo last"
    )
    path = machine.runner.folder(run.id) / "log"
    assert path.stat().st_size < 8 << 20
    text = path.read_text()
    assert text.startswith("first\n") and text.endswith("last\n")
    assert "bytes left out here]" in text


def test_a_stop_that_comes_before_the_first_step_is_heeded(machine: Machine):
    spec = machine.spec("echo never")
    machine.runner._folders.reserve(spec)
    machine.runner._folders.write_stop(spec.id, StopWhy.PERSON)
    _shim(machine, spec.id)
    assert machine.log(spec.id) == ""
    ended = machine.run(spec.id).exit
    assert ended and ended.stop is StopWhy.PERSON


def test_nothing_starts_where_its_record_cant_be_written(machine: Machine):
    spec = machine.spec("echo never")
    folder = machine.runner._folders.reserve(spec)
    (folder / "run.json").mkdir()
    _shim(machine, spec.id)
    assert "never" not in machine.log(spec.id).splitlines()
    assert machine.run(spec.id).state is RunState.LOST


def test_records_are_for_the_owner_only(machine: Machine):
    run = machine.finished("echo hello", prompt="secret plans").id
    for name in ("spec.json", "prompt", "run.json", "exit.json", "log"):
        assert stat.S_IMODE((machine.runner.folder(run) / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.runner.folder(run).stat().st_mode) == 0o700


def test_a_shim_is_small(machine: Machine):
    run = machine.start("exec sleep 600")
    status = Path(f"/proc/{machine.shim_of(run)}/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0])
    assert resident < 20_000, f"{resident} kB"


def test_a_shim_stands_outside_the_worktree(machine: Machine):
    run = machine.start("exec sleep 600")
    assert os.readlink(f"/proc/{machine.shim_of(run)}/cwd") == str(machine.runner.folder(run))


def test_a_record_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    supervisor.write_json(str(path), {"a": 1})
    supervisor.write_json(str(path), {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_time_is_written_as_it_is_read():
    assert supervisor.utc(0.25) == "1970-01-01T00:00:00.250000+00:00"


def _shim(machine: Machine, run: RunId) -> None:
    locks = machine.runner._locks
    fds = [locks.take(run.kind, run.subject), locks.take_agent(run.kind, run.subject)]
    argv = [sys.executable, "-I", "-S", supervisor.__file__, str(machine.runner.folder(run)), *map(str, fds), "-1"]
    if not (pid := os.fork()):
        for fd in fds:
            os.set_inheritable(fd, True)
        os.chdir(machine.runner.folder(run))
        os.execv(argv[0], argv)
    for fd in fds:
        os.close(fd)
    os.waitpid(pid, 0)


def _words(pid: int) -> list[str]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []
    return [os.path.basename(words[0]), *words[1:-1]]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("parts", [supervisor._C, None], ids=["parts", "module"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
def test_a_record_is_read_and_written_as_json_does(
    parts: object, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_C", parts)
    monkeypatch.setattr(supervisor, "json", json, raising=False)
    path = tmp_path / "record.json"
    supervisor.write_json(str(path), value)

    assert json.loads(path.read_text()) == value == supervisor.read_json(str(path))


@pytest.mark.parametrize("parts", [supervisor._C, None], ids=["parts", "module"])
@pytest.mark.parametrize("text", ["", "{", '{"a": 1} x', '{"a" 1}', "nul", '"a', "[1,]", "\ufeff{}"])
def test_what_is_no_json_is_refused(parts: object, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_C", parts)
    monkeypatch.setattr(supervisor, "json", json, raising=False)
    (tmp_path / "record.json").write_text(text)

    with pytest.raises(ValueError):
        supervisor.read_json(str(tmp_path / "record.json"))


def test_where_another_python_reads_json_in_another_way_the_module_is_used(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"a": 1}')
    run = f"""
import json, sys, types, _json
def scanner(context): return context.what_a_later_version_asks_for
sys.modules["_json"] = types.SimpleNamespace(make_scanner=scanner, encode_basestring_ascii=_json.encode_basestring_ascii)
there = {{"__name__": "shim"}}
exec(open({supervisor.__file__!r}).read(), there)
there["write_json"]({str(tmp_path / "written.json")!r}, {{"b": [1, None]}})
there["become_subreaper"]()
print(there["_C"], there["read_json"]({str(tmp_path / "record.json")!r}), there["signal"].__name__)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", run], capture_output=True, text=True, check=True)

    assert done.stdout == "None {'a': 1} signal\n"
    assert json.loads((tmp_path / "written.json").read_text()) == {"b": [1, None]}


def test_it_starts_without_what_takes_longer_to_load_than_the_interpreter() -> None:
    run = f"import sys; exec(open({supervisor.__file__!r}).read(), {{'__name__': 'shim'}}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", run], capture_output=True, text=True, check=True).stdout

    assert not {"re", "enum", "json", "ctypes", "signal", "typing", "collections"} & set(loaded.split())


def test_a_log_that_is_silent_is_looked_at_less_often_and_one_that_is_written_fast_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(supervisor.fcntl, "F_NOTIFY")  # as where the kernel does not tell of writes
    log = supervisor.Log(str(tmp_path / "log"))
    log.grown()
    silent = [log.pause for _ in range(30) if log.grown() is False]
    assert silent == sorted(silent) and silent[-1] == supervisor.LOOK_MOST_S

    os.write(log.fd, b"line\n")
    assert log.grown() and log.pause == supervisor.LOOK_S
    os.write(log.fd, b"x" * (supervisor.LOG_HEAD + 1))
    assert log.grown() and log.pause == 0.1


@pytest.mark.parametrize("most_s", [0.3, 2.0, 60.0])
def test_an_agent_is_not_looked_at_later_than_it_is_stuck(most_s: float, tmp_path: Path) -> None:
    silence = supervisor.Silence(str(tmp_path), most_s)

    assert 0 < silence.left() <= most_s
    assert supervisor.Silence(str(tmp_path), 0).left() == supervisor.SILENT_S


def test_a_log_that_is_silent_is_looked_at_again_when_it_is_written(tmp_path: Path) -> None:
    heard, tells = os.pipe()
    os.set_blocking(tells, False)
    before, handler = signal.set_wakeup_fd(tells), signal.signal(signal.SIGIO, lambda *_: None)
    try:
        log = supervisor.Log(str(tmp_path / "log"))
        until(lambda: not log.grown() and log.pause == supervisor.SILENT_S, "a silence")
        assert not select.select([heard], [], [], 0)[0]

        subprocess.run(["sh", "-c", 'echo line >> "$1"', "sh", log.path], check=True)
        assert select.select([heard], [], [], 5)[0]
        assert log.grown() and log.pause == supervisor.LOOK_S
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGIO, handler)


@pytest.mark.parametrize("where", ["log.moved", "../moved"])
def test_a_log_that_was_moved_away_is_looked_at_as_where_the_kernel_does_not_tell(where: str, tmp_path: Path) -> None:
    heard, tells = os.pipe()
    os.set_blocking(tells, False)
    before, handler = signal.set_wakeup_fd(tells), signal.signal(signal.SIGIO, lambda *_: None)
    try:
        (tmp_path / "run").mkdir()
        log = supervisor.Log(str(tmp_path / "run" / "log"))
        until(lambda: not log.grown() and log.pause == supervisor.SILENT_S, "a silence")
        os.rename(log.path, tmp_path / "run" / where)
        assert select.select([heard], [], [], 5)[0]
        assert not log.grown() and log.pause <= supervisor.LOOK_MOST_S
        Path(log.path).write_text("another\n")
        assert not log.grown() and log.pause <= supervisor.LOOK_MOST_S
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGIO, handler)


def test_what_is_written_while_the_kernel_is_asked_to_tell_is_seen_at_that_look(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGIO, lambda *_: None)
    try:
        log = supervisor.Log(str(tmp_path / "log"))
        log.grown()
        asks = log._wake_at_next_write
        log._wake_at_next_write = lambda: asks() and bool(os.write(log.fd, b"line\n"))  # type: ignore[method-assign]
        assert log.grown() and log.pause == supervisor.LOOK_S
    finally:
        signal.signal(signal.SIGIO, before)


@pytest.mark.slow
def test_an_agent_that_writes_without_end_after_a_long_silence_fills_no_disk(machine: Machine) -> None:
    run = machine.start("sleep 5; yes | head -c 2G; touch wrote; sleep 600")
    log = machine.runner.folder(run) / "log"
    sizes = []
    until(lambda: sizes.append(log.stat().st_blocks * 512) or (machine.cwd / "wrote").exists(), "all to be written")
    until(lambda: log.stat().st_size <= supervisor.LOG_MAX, "the log to be cut")
    assert max(sizes) < 1 << 30


# --- steps with limits of their own --------------------------------------------------------------------------


def limits(machine: Machine, *steps: str, each: tuple[StepLimit, ...]):
    """A run of these steps with these limits, once it is over."""
    return machine.finished(steps=tuple(("sh", "-c", step) for step in steps), limits=each).exit


def test_a_step_that_takes_longer_than_its_own_limit_ends_the_run_with_all_that_it_started(machine: Machine):
    record = limits(
        machine,
        "true",
        "(setsid sleep 611 & echo $! > child); exec sleep 600",
        each=(StepLimit(), StepLimit(timeout_s=0.5)),
    )
    assert (record.cause, record.step, record.limit_s) == (Cause.TIMEOUT, 1, 0.5)
    assert not lives(machine.told("child"))


def test_a_steps_own_limit_counts_from_when_that_step_begins(machine: Machine):
    record = limits(machine, "sleep 0.6", "sleep 0.6", each=(StepLimit(timeout_s=5),) * 2)
    assert record.well and record.limit_s is None


def test_a_step_that_passes_when_it_is_started_again_is_flaky(machine: Machine):
    record = limits(
        machine, "true", "test -e seen || { touch seen; exit 3; }", each=(StepLimit(), StepLimit(retries=2))
    )
    assert record.well and record.flaky == (1,)


def test_a_step_that_stays_red_is_started_again_as_often_as_it_may_be(machine: Machine):
    record = limits(machine, "echo x >> tries; exit 3", "true", each=(StepLimit(retries=2), StepLimit()))
    assert (record.code, record.step, record.flaky) == (3, 0, ())
    assert (machine.cwd / "tries").read_text() == "x\n" * 3


def test_a_step_that_took_too_long_is_started_again_without_what_it_had_left(machine: Machine):
    script = "test -e seen && exit 0; touch seen; (setsid sleep 612 & echo $! > child); exec sleep 600"
    record = limits(machine, script, each=(StepLimit(timeout_s=1.0, retries=1),))
    assert record.well and record.flaky == (0,)
    assert not lives(machine.told("child"))


def test_a_run_that_is_stopped_starts_no_step_again(machine: Machine):
    run = machine.start("", steps=(("sh", "-c", "echo x >> tries; exec sleep 600"),), limits=(StepLimit(retries=5),))
    until((machine.cwd / "tries").exists)
    machine.runner.stop(run, StopWhy.PERSON)
    until(lambda: machine.run(run).exit)
    assert machine.run(run).exit.stop is StopWhy.PERSON
    assert (machine.cwd / "tries").read_text() == "x\n"
