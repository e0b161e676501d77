"""A program that does not answer for long is written down by who acts, and by nobody else, until it has."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from waiting import until

from reconciler.model.errors import TemporaryError
from reconciler.system import shell, unanswered


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unanswered, "TELL_S", 0.2)


def slow(ends: Path, what: str = "") -> threading.Thread:
    def run() -> None:
        with unanswered.about(what):
            script = 'while ! [ -e "$1" ]; do sleep 0.05; done'
            shell.run(("sh", "-c", script, "sh", str(ends)), env=dict(os.environ), called="git push", timeout_s=60)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_what_does_not_answer_is_written_down_with_what_it_is_for_until_it_has(tmp_path: Path) -> None:
    with unanswered.recorded(tmp_path):
        threads = [slow(tmp_path / "first", "Land of x-1"), slow(tmp_path / "second")]
        until(lambda: len(unanswered.known(tmp_path, os.getpid())) == 2)
        assert {(c.program, c.about, c.limit_s) for c in unanswered.known(tmp_path, os.getpid())} == {
            ("git push", "Land of x-1", 60),
            ("git push", "", 60),
        }

        (tmp_path / "first").touch()
        threads[0].join()
        assert [call.about for call in unanswered.known(tmp_path, os.getpid())] == [""]
        (tmp_path / "second").touch()
        threads[1].join()

        assert unanswered.known(tmp_path, os.getpid()) == () and not [*(tmp_path / "status").iterdir()]


def test_what_answers_writes_nothing(tmp_path: Path) -> None:
    with unanswered.recorded(tmp_path):
        shell.run(("true",), env=dict(os.environ))

    assert not (tmp_path / "status").exists()


def test_who_only_looks_on_writes_nothing(tmp_path: Path) -> None:
    thread = slow(tmp_path / "ends")
    try:
        until(lambda: unanswered._HERE.calls)
        assert not (tmp_path / "status").exists()
    finally:
        (tmp_path / "ends").touch()
        thread.join()


def test_what_is_given_up_is_written_down_no_more(tmp_path: Path) -> None:
    with unanswered.recorded(tmp_path), pytest.raises(TemporaryError, match="did not end within 1 s"):
        shell.run(("sleep", "60"), env=dict(os.environ), timeout_s=1)
    assert not [*(tmp_path / "status").iterdir()]


def test_what_a_killed_one_left_is_nobodys_and_goes_with_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "status").mkdir()
    left = tmp_path / "status" / "_unanswered.json"
    left.write_text('{"pid": 1, "calls": [{"program": "git push", "begun": 1.0, "limit_s": 120.0}]}')
    assert len(unanswered.known(tmp_path, 1)) == 1 and unanswered.known(tmp_path, os.getpid()) == ()

    with unanswered.recorded(tmp_path):
        assert not left.exists()


@pytest.mark.parametrize("damage", ["", "[", '{"pid": 1}', '{"pid": "1", "calls": 3}'])
def test_what_can_not_be_understood_is_nothing(tmp_path: Path, damage: str) -> None:
    (tmp_path / "status").mkdir()
    (tmp_path / "status" / "_unanswered.json").write_text(damage)
    assert unanswered.known(tmp_path, 1) == ()
