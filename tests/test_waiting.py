"""Whoever waits in vain is told of it at once where that can be known, and always with what was printed by then."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import waiting
from waiting import ended, run, until


def started(script: str) -> subprocess.Popen[str]:
    """A shell whose streams can be read."""
    return subprocess.Popen(("sh", "-c", script), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def notes(cut: pytest.ExceptionInfo[BaseException]) -> str:
    return "\n".join(cut.value.__notes__)


def test_a_wait_ends_with_the_process_that_it_waits_for() -> None:
    with pytest.raises(AssertionError, match="it ended before the moon") as cut:
        until(lambda: False, "the moon", by=started("echo out; echo err >&2; exit 3"))

    assert "had ended with 3" in notes(cut) and "out\nerr" in notes(cut)


def test_what_a_process_does_last_is_what_was_waited_for(tmp_path: Path) -> None:
    process = started(f"touch {tmp_path}/done")
    process.wait()

    until((tmp_path / "done").exists, by=process)

    assert ended(process) == ("", "")


def test_what_cuts_a_wait_off_carries_what_was_waited_for_and_printed(tmp_path: Path) -> None:
    process = started(f"echo out; touch {tmp_path}/said; exec sleep 600")

    def limit_struck() -> bool:
        return (tmp_path / "said").exists() and pytest.fail("Timeout")

    with pytest.raises(pytest.fail.Exception, match="Timeout") as cut:
        until(limit_struck, "the moon", by=process)

    assert "waited for: the moon" in notes(cut) and "still ran; it printed:\nout" in notes(cut)
    assert process.poll() is not None


def test_a_program_that_does_not_end_is_killed_and_what_it_printed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_S", 1.0)

    with pytest.raises(subprocess.TimeoutExpired) as cut:
        run(("sh", "-c", "echo out; exec sleep 600"))

    assert "still ran; it printed:\nout" in notes(cut)


def test_a_program_that_ends_is_told_as_it_ended() -> None:
    done = run(("sh", "-c", "echo out; echo err >&2; exit 3"))

    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
