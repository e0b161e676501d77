"""A machine that has no listener, no thread or no lock left: what can go on does and says so, and nothing is a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rights
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


@pytest.mark.parametrize(
    ("what", "hint"),
    [(NO_LISTENER, "'reconcile doctor' says how many listeners"), (NO_THREAD, "end some programs, or raise the limit")],
    ids=["listeners", "threads"],
)
def test_a_watch_without_listeners_or_threads_looks_more_often_and_says_so(
    tmp_path: Path, what: str, hint: str
) -> None:
    place = Place(tmp_path)

    done = without(place, what, "watch", "--until-done", "-f", str(place.manifest(tasks=TASKS)))

    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "no file events (" in done.stderr and "every 5 s" in done.stderr and f"hint: {hint}" in done.stderr
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
    assert "file locks do not work in" in done.stderr and "keep the repository on a local disk" in done.stderr
    looked = without(place, what, "doctor")
    assert looked.returncode == 1 and "All is well" not in looked.stdout
    assert "problem  locks" in looked.stdout and "nobody can tell whether an agent lives" in looked.stdout
    assert not (place.root / ".git/reconcile/runs").exists() or not os.listdir(place.root / ".git/reconcile/runs")


def test_a_burst_before_the_end_is_cut_like_any_other_output(tmp_path: Path) -> None:
    place = Place(tmp_path)
    burst = {"argv": ["sh", "-c", "yes x | head -c 100000000; exit 1"], "maxAttempts": 1}

    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS[:1], agent=burst)), "--wait", code=3)

    (log,) = (place.root / ".git/reconcile/runs/work").glob("*/*/log")
    assert log.stat().st_size < 32 << 20 and "bytes left out here" in log.read_text()


NO_PROCESS = """
import errno, os, subprocess
def refuse(*_, **__): raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
subprocess.Popen._execute_child = refuse
"""
FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
"""


@pytest.mark.parametrize(
    ("what", "cause", "mended"),
    [
        (NO_PROCESS, "cannot start git: no more processes may start: a user may have", "ulimit -u 4096"),
        (FEW_FILES, "cannot start git: too many files are open: a process may have 16 here", "ulimit -n 4096"),
    ],
    ids=["processes", "files"],
)
def test_a_limit_that_keeps_programs_from_starting_is_named_with_how_to_raise_it(
    tmp_path: Path, what: str, cause: str, mended: str
) -> None:
    place = Place(tmp_path)
    watch = ("watch", "--until-done", "-f", str(place.manifest(tasks=TASKS)))

    watched, looked = without(place, what, *watch), without(place, what, "doctor")

    for done in (watched, looked):
        text = done.stdout + done.stderr
        assert done.returncode in (1, 3) and "Traceback" not in text and "installed?" not in text, text
        assert cause in text and mended in text, text


def test_the_doctor_looks_one_after_the_other_where_no_thread_is_left(tmp_path: Path) -> None:
    done = without(Place(tmp_path), NO_THREAD, "doctor")

    assert "Traceback" not in done.stderr and "worktrees" in done.stdout and "file events" in done.stdout


def test_the_doctor_says_that_no_file_events_can_be_had(tmp_path: Path) -> None:
    done = without(Place(tmp_path), NO_LISTENER, "doctor")

    assert "file events can't be had (inotify instance limit reached): 'watch' polls" in done.stdout, done.stdout
    assert "sysctl fs.inotify.max_user_instances" in done.stdout, done.stdout


def test_a_watch_whose_records_an_agent_removed_has_not_ended_well(tmp_path: Path) -> None:
    place = Place(tmp_path)
    removes = f"echo 1 > done; git add .; git commit -qm 'Do it'; rm -rf {place.root}/.git/reconcile"
    path = place.manifest(tasks=TASKS, agent={"argv": ["sh", "-c", removes]})

    said = place.reconcile("watch", "--until-done", "-f", str(path), code=3)

    assert "no manifest covers them" in said and "run 'reconcile apply -f FILE'" in said, said


# --- folders that take nothing ---------------------------------------------------------------------------------

FULL = (
    "mount -t tmpfs -o size=1m none .git/reconcile; cp -a ../kept/. .git/reconcile; cat /dev/zero > .git/reconcile/fill"
)
NOEXEC = "mount -t tmpfs -o noexec none ../worktrees"
READ_ONLY = "mount --bind .git .git; mount -o remount,ro,bind .git"


def elsewhere(place: Place, mounts: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A command that sees these mounts, and nobody else does."""
    way = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-Urm")
    if not shutil.which("unshare") or subprocess.run((*way, "sh", "-c", "mount -t tmpfs none /mnt")).returncode:
        pytest.skip("nothing can be mounted here")
    script = f'{{ {mounts}; }} 2>/dev/null; exec "$0" -m reconciler "$@"'
    return run((*way, "sh", "-c", script, sys.executable, *args), cwd=place.root, env=place.env)


def test_no_agent_starts_where_the_folder_for_temporary_files_is_full(tmp_path: Path) -> None:
    place = Place(tmp_path)
    full = tmp_path / "full"
    full.mkdir()
    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS[:1], suspend=True)))
    manifest = str(place.manifest(tasks=TASKS[:1]))
    mounts = "mount -t tmpfs -o size=64k none ../full; cat /dev/zero > ../full/fill"
    place.env["TMPDIR"] = str(full)

    done = elsewhere(place, mounts, "watch", "--until-done", "-f", manifest)

    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert f"is free at {full}, where programs put" in done.stdout + done.stderr
    assert place.json("get", "runs") == []
    place.reconcile("watch", "--until-done", "-f", manifest)
    assert place.tasks()["Do a"]["status"] == "closed"


def test_a_check_that_may_not_be_executed_where_it_is_run_is_foreseen(tmp_path: Path) -> None:
    place = Place(tmp_path)
    script = place.root / "check.sh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Check")
    (tmp_path / "worktrees").mkdir()
    policy = {"mergePolicy": {"checks": ["./check.sh"]}, "suspend": True}
    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS, **policy)))

    said = {word: elsewhere(place, NOEXEC, word).stdout for word in ("diff", "status", "doctor")}

    for word, text in said.items():
        assert "check.sh can't be executed at" in text and "noexec" in text, (word, text)


def without_rights(place: Place, _: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A command that may write where the modes of the folders say so, as everybody but root."""
    return run((*rights.without_rights(), sys.executable, "-m", "reconciler", *args), cwd=place.root, env=place.env)


@pytest.mark.parametrize(
    ("so", "mounts", "cause"),
    [
        (elsewhere, FULL, "no space is left on the device of {git}/reconcile"),
        (elsewhere, READ_ONLY, "{git}/reconcile is on a file system that is read-only"),
        (without_rights, "", "{git}/reconcile: Permission denied"),
    ],
    ids=["full", "read-only", "no right"],
)
def test_a_folder_that_takes_nothing_is_named_with_the_cause_by_all_who_look(
    tmp_path: Path, so: Callable[..., subprocess.CompletedProcess[str]], mounts: str, cause: str
) -> None:
    place = Place(tmp_path)
    git = place.root / ".git"
    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS, suspend=True)))
    place.reconcile("resume", "work")
    shutil.copytree(git / "reconcile", tmp_path / "kept", ignore=shutil.ignore_patterns("empty"))
    if so is without_rights:
        subprocess.run(("chmod", "-R", "a-w", str(git)), check=True)
    try:
        said = {word: so(place, mounts, word) for word in ("diff", "status", "doctor")}
        acts = [so(place, mounts, *words) for words in (("watch", "--until-done"), ("suspend", "work"))]
    finally:
        subprocess.run(("chmod", "-R", "u+w", str(git)), check=True)

    words = cause.format(git=git)
    for word, done in said.items():
        assert "Traceback" not in done.stderr and "ForgeUnavailable" not in done.stdout and "Errno" not in done.stdout
        assert words in done.stdout, (word, done.stdout)
        assert word == "doctor" or "NotWritable" in done.stdout, (word, done.stdout)
    assert said["doctor"].returncode == 1 and "All is well" not in said["doctor"].stdout
    assert ("bytes are free there" in said["doctor"].stdout) is (mounts == FULL)
    for done in acts:  # a watch that has its lock goes on for a while: room may be made
        assert done.returncode in (1, 3) and "Traceback" not in done.stderr and "Errno" not in done.stderr, done.stderr
        assert str(git) in done.stderr and done.stderr.count("the status can't") <= 1, done.stderr

    place.reconcile("watch", "--until-done")
    merged(place, "Do a", "Do b")
