"""What the one who acts publishes for who looks on: only while somebody reads, whole, and no more than has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from reconciler.system.published import REST, Published

AT = "2026-01-01T12:00:00Z"
HOLDS = """
import sys, time
from pathlib import Path
from reconciler.system.published import Published
with Published(Path(sys.argv[1])).reading():
    print("reads", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Published:
    return Published(tmp_path)


def test_nobody_reads_before_somebody_does(writer: Published, tmp_path: Path) -> None:
    assert not writer.read
    with Published(tmp_path).reading():
        assert writer.read
    assert not writer.read


def test_a_reader_that_is_killed_reads_no_more(writer: Published, tmp_path: Path) -> None:
    reader = subprocess.Popen((sys.executable, "-c", HOLDS, str(tmp_path)), stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout and reader.stdout.readline() == "reads\n"
        assert writer.read
    finally:
        reader.kill()
        reader.communicate()
    assert not writer.read


def test_only_what_has_changed_is_written_and_has_the_new_number(writer: Published, tmp_path: Path) -> None:
    with Published(tmp_path).reading():
        writer.write(AT, {"a": {"n": 1}, "b": {"n": 1}, REST: {}})
        first = os.stat(tmp_path / "status/look/a.json").st_ino
        writer.write(AT, {"a": {"n": 1}, "b": {"n": 2}, REST: {}})

    index = Published(tmp_path).index()
    assert index and index.parts == {"a": 1, "b": 2, REST: 1}
    assert os.stat(tmp_path / "status/look/a.json").st_ino == first
    assert Published(tmp_path).part("b") == {"n": 2}


def test_a_manifest_that_is_gone_leaves_no_part_behind(writer: Published, tmp_path: Path) -> None:
    with Published(tmp_path).reading():
        writer.write(AT, {"a": {}, REST: {}})
        writer.write(AT, {REST: {}})

    index = Published(tmp_path).index()
    assert index and index.parts == {REST: 1} and not (tmp_path / "status/look/a.json").exists()


def test_the_next_one_who_acts_counts_on(writer: Published, tmp_path: Path) -> None:
    with Published(tmp_path).reading():
        writer.write(AT, {REST: {}})
        Published(tmp_path).write(AT, {REST: {}})
        writer.write(AT, {REST: {}})

    index = Published(tmp_path).index()
    assert index and index.number == 3


def test_what_was_removed_beneath_is_published_again(writer: Published, tmp_path: Path) -> None:
    with Published(tmp_path).reading():
        writer.write(AT, {"a": {"n": 1}, REST: {}})
        for path in (tmp_path / "status/look").iterdir():
            path.unlink()
        writer.write(AT, {"a": {"n": 1}, REST: {}})

    assert Published(tmp_path).part("a") == {"n": 1}


def test_a_name_that_is_no_unicode_costs_a_letter_and_not_the_look(writer: Published, tmp_path: Path) -> None:
    with Published(tmp_path).reading():
        writer.write(AT, {REST: {"path": "a\udc80b"}})

    assert Published(tmp_path).part(REST) == {"path": "a?b"}


def test_a_damaged_index_is_none(writer: Published, tmp_path: Path) -> None:
    with Published(tmp_path).reading():
        (tmp_path / "status/look/_index.json").write_text('{"number": "')
        assert writer.index() is None
        writer.write(AT, {REST: {}})

    until(lambda: Published(tmp_path).index() is not None, "a new index")
