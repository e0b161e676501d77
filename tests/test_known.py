"""Which repositories are known on this machine: a courtesy to who looks on, which costs nobody anything."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from reconciler.system import known


def folder(path: Path) -> Path:
    (path / ".git").mkdir(parents=True)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": "/nowhere"}


def test_a_repository_is_noted_once_and_what_is_gone_or_none_any_more_is_left_out_at_the_next(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    a, b, c = (folder(tmp_path / name) for name in "abc")
    for each in (a, b, a):
        known.note(each, environ)
    assert known.listed(environ) == [a, b]

    (b / ".git").rmdir()
    assert known.listed(environ) == [a, b] and [known.alive(each) for each in (a, b)] == [True, False]
    b.rmdir()
    assert known.listed(environ) == [a, b] and not known.alive(b), "who reads skips it"
    known.note(c, environ)
    assert known.listed(environ) == [a, c]
    assert (tmp_path / "state/reconcile/repositories").stat().st_mode & 0o777 == 0o600


def test_those_who_note_at_the_same_time_lose_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    all_of_them = [folder(tmp_path / f"r{n}") for n in range(20)]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(known.note, [(each, environ) for each in all_of_them])

    assert sorted(known.listed(environ)) == sorted(all_of_them)


def test_where_nothing_can_be_noted_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for environ in ({}, {"XDG_STATE_HOME": "relative"}, {"XDG_STATE_HOME": str(tmp_path / "file/below")}):
        known.note(tmp_path, environ)
        assert known.listed(environ) == []


def test_a_path_is_one_line_or_none(tmp_path: Path, environ: dict[str, str]) -> None:
    known.note(folder(tmp_path / "a\nb"), environ)
    assert known.listed(environ) == []
