"""The history on disk: whole since the oldest segment, however it is written, cut and followed."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.system import history
from reconciler.system.history import EventGap, EventLog, Follower


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SEGMENT_BYTES", 400)


def line(n: int) -> dict[str, Any]:
    return {"at": f"2026-01-01T00:00:{n // 60:02}.{n % 60:06}Z", "event": "E", "n": n}


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [each["n"] for each in found]


def everything(kept: EventLog) -> list[int]:
    with kept.opened() as segments:
        return numbers([each for file in segments for each in history.parsed(file.read())])


def test_what_is_full_is_kept_as_a_segment_and_nothing_is_missing_between_them(tmp_path: Path) -> None:
    kept = EventLog(tmp_path)
    for n in range(20):
        kept.append([line(n)])

    assert everything(kept) == list(range(20))
    assert len(list(tmp_path.glob("events.[0-9].jsonl"))) > 1
    assert kept.dropped() is None


def test_what_is_dropped_is_named_by_its_span(tmp_path: Path) -> None:
    kept = EventLog(tmp_path)
    for n in range(100):
        kept.append([line(n)])

    left = everything(kept)
    assert left == list(range(left[0], 100)) and left[0] > 0
    assert kept.dropped() == EventGap(line(0)["at"], line(left[0] - 1)["at"])


@pytest.mark.parametrize("at", range(1, 7))
def test_killed_while_segments_change_their_names_nothing_is_lost_or_out_of_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    class KilledError(Exception):
        pass

    kept = EventLog(tmp_path)
    for n in range(45):
        kept.append([line(n)])
    before, calls = everything(kept), []

    def dies(*args: Any) -> None:
        calls.append(args)
        if len(calls) == at:
            raise KilledError
        replace(*args)

    replace = history.os.replace
    monkeypatch.setattr(history.os, "replace", dies)
    n = 45
    while n < 80:
        try:
            kept.append([line(n)])
        except KilledError:
            continue
        n += 1
    left = everything(EventLog(tmp_path))

    assert left == list(range(left[0], 80)) and before


def test_a_follower_reads_each_line_once_while_segments_become_full(tmp_path: Path) -> None:
    follower, kept = Follower(EventLog(tmp_path)), EventLog(tmp_path)
    got: list[int] = []
    for n in range(60):
        kept.append([line(n)])
        if n % 3 == 0:
            gap, found = follower.next()
            got += numbers(found)
            assert gap is None or not got
    got += numbers(follower.next()[1])

    assert got == list(range(60))


def test_a_follower_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    follower, text = Follower(EventLog(tmp_path)), json.dumps(line(1)) + "\n"
    file = tmp_path / "events.jsonl"
    file.write_text(text[:10])
    assert follower.next() == (None, [])
    file.write_text(text)

    assert numbers(follower.next()[1]) == [1]


def test_a_follower_that_was_asleep_says_what_it_missed(tmp_path: Path) -> None:
    follower, kept = Follower(EventLog(tmp_path)), EventLog(tmp_path)
    kept.append([line(0)])
    follower.next()
    for n in range(1, 100):
        kept.append([line(n)])

    gap, found = follower.next()
    again, nothing = follower.next()

    assert gap == EventGap(line(0)["at"], line(numbers(found)[0] - 1)["at"])
    assert (again, nothing) == (None, [])


def test_several_writers_lose_nothing_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SEGMENT_BYTES", 4000)
    writers = [
        threading.Thread(target=lambda k=k: [EventLog(tmp_path).append([line(100 * k + n)]) for n in range(50)])
        for k in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert sorted(everything(EventLog(tmp_path))) == [100 * k + n for k in range(3) for n in range(50)]


def test_who_only_reads_leaves_nothing_and_reads_what_an_older_version_left(tmp_path: Path) -> None:
    (tmp_path / "events.1.jsonl").write_text(json.dumps(line(1)) + "\n")
    (tmp_path / "events.jsonl").write_text(json.dumps(line(2)) + "\n{\n")

    assert everything(EventLog(tmp_path)) == [1, 2]
    assert len(list(tmp_path.iterdir())) == 2
