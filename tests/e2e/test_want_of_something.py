"""A machine that has no listener, no thread or no lock left: what can go on does and says so, and nothing is a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from strangers import Place, merged
from waiting import run

TASKS = [{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"}]
CALL = "from reconciler.cli import main; main()"
NO_LISTENER = """
import watchdog.observers.inotify_c as c
def refuse(*_): raise OSError(24, "inotify instance limit reached")
c.InotifyFD.__init__ = refuse
"""
NO_THREAD = """
import threading
def refuse(self): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
"""
NO_LOCK = """
import fcntl
def refuse(fd, how): raise OSError(37, "No locks available")
fcntl.flock = refuse
"""
LOCK_THAT_LOCKS_NOBODY_OUT = """
import fcntl
fcntl.flock = lambda fd, how: None
"""


def without(place: Place, what: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A command where the machine refuses something."""
    return run((sys.executable, "-c", f"{what}\n{CALL}", *args), cwd=place.root, env=place.env)


@pytest.mark.parametrize("what", [NO_LISTENER, NO_THREAD], ids=["listeners", "threads"])
def test_a_watch_without_listeners_or_threads_looks_more_often_and_says_so(tmp_path: Path, what: str) -> None:
    place = Place(tmp_path)

    done = without(place, what, "watch", "--until-done", "-f", str(place.manifest(tasks=TASKS)))

    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "no file events (" in done.stderr and "every 5 s" in done.stderr
    merged(place, "Do a", "Do b")


def test_where_the_kernel_gives_no_listener_a_watch_works_all_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path)
    none_left = "echo 0 > /proc/sys/user/max_inotify_instances"
    if not shutil.which("unshare") or subprocess.run(("unshare", "-Ur", "sh", "-c", none_left)).returncode:
        pytest.skip("no user namespace can be made here")
    watch = ("watch", "--until-done", "-f", str(place.manifest(tasks=TASKS)))
    script = f'{none_left}; exec "$0" -m reconciler "$@"'

    done = run(("unshare", "-Ur", "sh", "-c", script, sys.executable, *watch), cwd=place.root, env=place.env)

    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "inotify" in done.stderr
    merged(place, "Do a", "Do b")


@pytest.mark.parametrize("what", [NO_LOCK, LOCK_THAT_LOCKS_NOBODY_OUT], ids=["none", "for nobody"])
def test_where_locks_do_not_lock_no_agent_is_started(tmp_path: Path, what: str) -> None:
    place = Place(tmp_path)

    done = without(place, what, "watch", "--until-done", "-f", str(place.manifest(tasks=TASKS)))

    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "locks" in done.stderr
    assert not (place.root / ".git/reconcile/runs").exists() or not os.listdir(place.root / ".git/reconcile/runs")


def test_a_burst_before_the_end_is_cut_like_any_other_output(tmp_path: Path) -> None:
    place = Place(tmp_path)
    burst = {"argv": ["sh", "-c", "yes x | head -c 100000000; exit 1"], "maxAttempts": 1}

    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS[:1], agent=burst)), "--wait", code=3)

    (log,) = (place.root / ".git/reconcile/runs/work").glob("*/*/log")
    assert log.stat().st_size < 32 << 20 and "bytes left out here" in log.read_text()
