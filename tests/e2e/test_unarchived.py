"""Finished runs that can't go to the archive: a watch says so, and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from strangers import Place

from reconciler import wiring
from reconciler.cli.output import Output
from reconciler.cli.session import LoopSession
from reconciler.runners import _archive, _archiving, _folders, _past


def test_why_finished_runs_stay_where_they_are_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path)
    place.reconcile("watch", "--until-done", "-f", str(place.manifest(tasks=[{"key": "a", "title": "Do a"}])))
    for module in (_folders, _past):
        monkeypatch.setattr(module, "SETTLES_NS", -(10**18))
    monkeypatch.setattr(_archiving, "QUIET_S", -1.0)
    monkeypatch.setattr(_archiving, "AGAIN_S", 0.0)
    monkeypatch.setattr(_archive.Archive, "add", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    loop = LoopSession(site=wiring.open_site(place.root, place.env), out=Output(form="text", color=False)).loop()

    ticks = [loop.tick() for _ in range(3)]

    assert all("disk full" in tick.unarchived for tick in ticks)
    told = capsys.readouterr()
    assert (told.out + told.err).count(
        "finished runs can't be archived, and stay where they are for now: disk full"
    ) == 1
    (event,) = (each for each in place.json("get", "events") if each["event"] == "ArchiveFailed")
    assert "disk full" in event["message"] and "ArchiveFailed" in place.reconcile("get", "events")
