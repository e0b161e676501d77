"""Programs of others: what they print is read whole or not at all, and they are ended in time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from waiting import until

from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.system import shell

ENV = {"PATH": os.environ["PATH"]}


def test_a_program_that_does_not_stop_printing_is_ended_and_what_it_said_is_no_answer() -> None:
    begun = time.monotonic()

    with pytest.raises(PermanentError, match="yes prints more than 64 MiB"):
        shell.run(("yes",), env=ENV, timeout_s=60)

    assert time.monotonic() - begun < 30


def test_long_input_and_long_output_go_side_by_side() -> None:
    said = os.urandom(5_000_000)

    finished = shell.run(("sh", "-c", "tee /dev/stderr"), env=ENV, stdin=said)

    assert (finished.code, finished.out, finished.err) == (0, said, said)


@pytest.mark.parametrize("stdin", [None, b"", b"x" * 1_000_000])
def test_input_that_nobody_reads_is_no_error(stdin: bytes | None) -> None:
    assert shell.run(("sh", "-c", "exec <&-; echo done; exit 3"), env=ENV, stdin=stdin) == shell.Finished(
        3, b"done\n", b""
    )


@pytest.mark.parametrize("command", ["sleep 60", "exec >&- 2>&-; sleep 60", "while :; do echo x; sleep 0.01; done"])
def test_a_program_that_does_not_end_is_ended(command: str) -> None:
    with pytest.raises(TemporaryError, match="sh did not end within"):
        shell.run(("sh", "-c", command), env=ENV, timeout_s=0.3)


def test_one_that_is_called_something_is_called_that() -> None:
    with pytest.raises(TemporaryError, match="git push did not end within") as told:
        shell.run(("sleep", "60"), env=ENV, timeout_s=0.1, called="git push")

    assert told.value.hint == "does git push end when you run it yourself?"


@pytest.mark.parametrize(("grace_s", "left"), [(5.0, "in order\n"), (0.0, "")])
def test_a_program_that_is_given_time_puts_things_in_order_before_it_is_ended(
    tmp_path: Path, grace_s: float, left: str
) -> None:
    script = "trap 'sleep 0.2; echo \"in order\" > left; exit' TERM; : > left; while :; do sleep 0.05; done"

    with pytest.raises(TemporaryError, match="did not end within"):
        shell.run(("sh", "-c", script), env=ENV, cwd=tmp_path, timeout_s=0.5, grace_s=grace_s)

    assert (tmp_path / "left").read_text() == left


def test_a_program_that_does_not_hear_is_ended_after_its_time_of_grace() -> None:
    begun = time.monotonic()

    with pytest.raises(TemporaryError, match="did not end within"):
        shell.run(("sh", "-c", "trap '' TERM; sleep 60"), env=ENV, timeout_s=0.2, grace_s=0.5)

    assert 0.6 < time.monotonic() - begun < 20


def test_what_another_thread_starts_while_ended_programs_are_collected_is_collected_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*argv: str) -> int:
        return shell.start_detached(argv, env=ENV, cwd="/", pass_fds=())

    monkeypatch.setattr(shell, "_DETACHED", type(shell._DETACHED)())
    first = start("sleep", "0.2")
    poll, started = subprocess.Popen.poll, list[int]()

    def polled(process: subprocess.Popen[bytes]) -> int | None:
        if process.pid == first and not started:
            started.append(0)
            thread = threading.Thread(target=lambda: started.append(start("true")))
            thread.start()
            thread.join()
        return poll(process)

    monkeypatch.setattr(subprocess.Popen, "poll", polled)
    shell.reap()
    until(lambda: (shell.reap(), not shell._DETACHED)[1])

    assert len(started) == 2
    with pytest.raises(ChildProcessError):  # nothing is left to wait for
        os.waitpid(started[1], os.WNOHANG)


def test_the_time_in_which_we_were_stopped_ourselves_is_not_counted_against_a_program() -> None:
    ask = "import os; from reconciler.system import shell; print(shell.run(('sleep', '1'), env=dict(os.environ), timeout_s=2).code)"
    with subprocess.Popen((sys.executable, "-c", ask), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        us = psutil.Process(process.pid)
        until(us.children)
        both = [us, *us.children()]
        [each.suspend() for each in both]
        time.sleep(3.5)
        [(each.resume(), time.sleep(0.2)) for each in both]
        out, err = process.communicate(timeout=30)

    assert out == b"0\n", err.decode()


def test_a_folder_that_is_gone_is_not_taken_for_a_program_that_is_not_installed(tmp_path: Path) -> None:
    gone = tmp_path / "gone"

    with pytest.raises(TemporaryError, match=f"cannot start true in {gone}: No such file") as caught:
        shell.run(("true",), env={"PATH": os.environ["PATH"]}, cwd=gone)
    assert caught.value.hint is None
    with pytest.raises(PermanentError) as caught:
        shell.run(("no-such-program",), env={"PATH": os.environ["PATH"]}, cwd=tmp_path)
    assert caught.value.hint == "is no-such-program installed?"
