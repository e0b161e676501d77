"""Each run in a cgroup of its own: tried in cgroups of the test, with a stand-in for `systemd-run --scope`.

What the kernel does is real, and so are watch, runs and kills; a real systemd is in `test_real_systemd.py`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import Place
from waiting import ended, until

from reconciler.model.errors import TemporaryError
from reconciler.system.scopes import Scopes

ROOTS = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
SYSTEMD_RUN = """\
#!/bin/sh
while [ "$1" != -- ]; do case "$1" in --property=*) test -z "$OLD_SYSTEMD" || exit 1;; esac; shift; done; shift
mkdir "$SCOPES/run-$$.scope" && echo $$ > "$SCOPES/run-$$.scope/cgroup.procs" || exit 1
exec "$@"
"""
BUSY = ["sh", "-c", "touch ../../started-$RECONCILE_TASK; while :; do sleep 0.2; done"]


def _root() -> Path | None:
    for root in ROOTS:
        probe = root / f"reconcile-probe-{os.getpid()}"
        try:
            probe.mkdir()
            kills = (probe / "cgroup.kill").exists()
            probe.rmdir()
        except OSError:
            continue
        if kills:
            return root
    return None


ROOT = _root()
needs_cgroups = pytest.mark.skipif(ROOT is None, reason="no cgroup can be made here, or none can be killed")


@pytest.fixture
def cgroup() -> Iterator[Path]:
    assert ROOT
    top = ROOT / f"reconcile-test-{os.getpid()}"
    top.mkdir()
    (top / "service").mkdir()
    yield top
    (top / "cgroup.kill").write_text("1")
    for folder in (*top.glob("*/"), top):
        until(lambda folder=folder: not (folder / "cgroup.procs").read_text())
        until(lambda folder=folder: _gone(folder))


def _gone(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def with_systemd(place: Place, folder: Path, cgroup: Path) -> None:
    """Have a systemd that makes scopes under this cgroup."""
    (folder / "bin").mkdir()
    (folder / "bin/systemd-run").write_text(SYSTEMD_RUN)
    (folder / "bin/systemd-run").chmod(0o755)
    (folder / "runtime/systemd").mkdir(parents=True)
    (folder / "runtime/systemd/private").touch()
    place.env |= {
        "PATH": f"{folder / 'bin'}:{place.env['PATH']}",
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "SCOPES": str(cgroup),
    }


@needs_cgroups
@pytest.mark.parametrize("scopes", [True, False], ids=["with scopes", "without"])
def test_what_ends_the_cgroup_of_the_watch_ends_no_agent_that_has_a_scope(
    tmp_path: Path, cgroup: Path, scopes: bool
) -> None:
    place = Place(tmp_path)
    if scopes:
        with_systemd(place, tmp_path, cgroup)
    tasks = [{"key": key, "title": f"Do {key}"} for key in "ab"]
    place.reconcile("apply", "-f", str(place.manifest(tasks=tasks, suspend=True, agent={"argv": BUSY})))
    place.reconcile("resume", "work")
    watch = place.start("watch")
    (cgroup / "service/cgroup.procs").write_text(str(watch.pid))
    until(lambda: len(list(tmp_path.glob("started-*"))) == 2, by=watch)
    before = pids(place)

    (cgroup / "service/cgroup.kill").write_text("1")
    ended(watch)
    time.sleep(0.5)

    assert all(map(alive, before)) is scopes
    assert (pids(place) == before) is scopes
    if scopes:  # and one of them is killed, as for memory: its supervisor says so, and the other one lives
        one, other = before
        until(lambda: children(one))
        os.kill(children(one)[0], signal.SIGKILL)
        until(lambda: not alive(one))
        assert alive(other)
    place.reconcile("stop", "--all", code=None)


def pids(place: Place) -> list[int]:
    return sorted(run["pid"] for run in place.json("get", "runs") if run["pid"])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and bool(Path(f"/proc/{pid}/cmdline").read_bytes())


@needs_cgroups
@pytest.mark.parametrize("old", ["", "1"])
def test_a_scope_is_asked_for_in_words_that_this_systemd_knows(tmp_path: Path, cgroup: Path, old: str) -> None:
    place = Place(tmp_path)
    with_systemd(place, tmp_path, cgroup)
    begin, why = Scopes({**place.env, "OLD_SYSTEMD": old}).found()

    assert begin and why == "" and ("--property=OOMPolicy=continue" in begin) is (old == "")


def test_a_scope_that_is_none_is_not_taken_for_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with_systemd(place, tmp_path, tmp_path)
    (tmp_path / "bin/systemd-run").write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')

    assert Scopes(place.env).found() == (None, "what is started in one stays in our own cgroup")


def test_where_scopes_are_relied_on_and_missing_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="no systemd of this user runs"):
        Scopes({"RECONCILE_SCOPES": "always"}).around("/x", "x")
    assert Scopes({"RECONCILE_SCOPES": "never"}).around("/x", "x") == Scopes({}).around("/x", "x") == ()
