"""Who keeps the tasks is what the folder says at this moment, and nobody writes beside a database."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reconciler import wiring
from reconciler.model.desired import Desired, EpicSpec, TrackerKind
from reconciler.model.errors import PermanentError
from reconciler.model.names import TaskId
from reconciler.model.ports import Change, NewTask
from reconciler.system.wakes import spots
from reconciler.wiring import Site

BD = """\
#!/bin/sh
case "$1" in
    version) echo "bd version 1.0.4 (dev)";;
    list) echo '[{"id": "x-9", "title": "t", "status": "open"}]';;
esac
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bd").write_text(BD)
    (tmp_path / "bin" / "bd").chmod(0o755)
    subprocess.run(("git", "init", "-q", tmp_path / "project"), check=True)
    return wiring.open_site(tmp_path / "project", {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})


def with_database(site: Site) -> Site:
    site.beads.mkdir(exist_ok=True)
    (site.beads / "beads.db").touch()
    return site


def test_a_database_that_appears_takes_over(site: Site) -> None:
    site.tracker.write([Change(task=TaskId("x-1"), create=NewTask(title="t"))])
    assert set(site.tracker.tasks()) == {"x-1"}
    before = (site.beads / "issues.jsonl").read_bytes()

    with_database(site)

    assert set(site.tracker.tasks()) == {"x-9"}
    with pytest.raises(PermanentError, match=r"beads\.db") as said:
        site.tracker.create(NewTask(title="t"))
    assert "bd create" in str(said.value.hint)
    assert (site.beads / "issues.jsonl").read_bytes() == before


def test_a_database_is_not_listened_to(site: Site) -> None:
    def listened() -> list[Path]:
        return [spot.folder for spot in spots(site.state, site.repository.common, site.store, [])]

    assert site.beads in listened()

    with_database(site)

    assert site.beads not in listened()


@pytest.mark.parametrize("kind", TrackerKind)
def test_only_a_manifest_that_asks_for_the_other_one_is_held(site: Site, kind: TrackerKind) -> None:
    desired = Desired(epics=(EpicSpec(name="all", tracker=kind),))

    without = set(site.trackers(desired))
    beside = set(site.trackers(desired) if with_database(site) else ())

    assert without == ({"all"} if kind is TrackerKind.BEADS else set())
    assert beside == ({"all"} if kind is TrackerKind.JSONL else set())


def test_a_version_that_hurts_is_named_where_it_keeps_the_tasks(site: Site) -> None:
    assert site.tracker.warnings() == ()

    (warning,) = with_database(site).tracker.warnings()

    assert "1.0.4" in warning
