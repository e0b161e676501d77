"""`get events -w`: what there is and what happens, a line each, until interrupted."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

from strangers import Place
from waiting import ended, until


def test_events_are_followed_as_json_lines_from_the_first_to_what_happens_now(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.reconcile("apply", "-f", str(place.manifest()))
    follower = place.start("get", "events", "-w", "-o", "json")
    got: list[dict[str, object]] = []
    assert follower.stdout
    stream = follower.stdout
    reader = threading.Thread(target=lambda: got.extend(map(json.loads, stream)), daemon=True)
    reader.start()
    until(lambda: got, by=follower)
    place.reconcile("suspend", "work")
    until(lambda: got[-1].get("action") == "SuspendManifest", by=follower)

    follower.send_signal(signal.SIGINT)
    reader.join()
    ended(follower)
    assert follower.returncode == 130
    kept = (place.root / ".beads/orchestrator/events.jsonl").read_text()
    assert got == place.json("get", "events"), (got[-2:], kept)


def test_what_is_no_longer_kept_is_named_with_its_span(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.reconcile("apply", "-f", str(place.manifest()))
    folder = place.root / ".beads/orchestrator"
    (folder / "events.dropped.json").write_text('{"first": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z"}')

    process = place.start("get", "events")
    _, err = ended(process)
    assert "from 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z is no longer kept" in err
    follower = place.start("get", "events", "-w", "-o", "json")
    assert follower.stdout
    first = json.loads(follower.stdout.readline())
    follower.terminate()
    ended(follower)
    assert (first["event"], first["from"], first["to"]) == (
        "HistoryDropped",
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    )
