"""The machine: Python, git, and what the kernel and its file systems allow."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from errno import EDQUOT, ENOSPC
from pathlib import Path

import psutil

from reconciler.doctor.findings import Diagnosis, Probe, State, named
from reconciler.doctor.scene import Scene
from reconciler.git import repository
from reconciler.loop.loop import POLL_S
from reconciler.planning import machine_room
from reconciler.render.words import counted
from reconciler.runners import supervisor
from reconciler.system import file_lock, refused
from reconciler.system.machine_room import free_processes, left_to_user, user_limit
from reconciler.system.wakes import Spot, Wakes

PYTHON = (3, 11)
DISK_SCARCE, DISK_LOW = 100 * 2**20, 2**30
FILES_SCARCE, FILES_LOW = supervisor.FIRST_FD + 56, 1024
INODES_LOW = 10_000
# Counting ends here: of a larger tree doctor says that it is large, not how large.
FOLDERS_MAX = 100_000
# Locks that hold between hosts only if the server is set up for it, or not at all.
SHARED = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "9p")
)


def probes(scene: Scene) -> Iterator[Probe]:
    """What is asked of every machine, and of the file systems that a repository lies on."""
    yield Probe(name="python", look=_python)
    yield Probe(name="git", look=lambda: _git(scene))
    yield Probe(name="locks", look=lambda: _locks(scene))
    yield Probe(name="disk", look=lambda: _disks(scene))
    yield Probe(name="writing", look=lambda: _writing(scene))
    yield Probe(name="file events", look=lambda: _events(scene))
    yield Probe(name="open files", look=_files)
    yield Probe(name="processes", look=_processes)


def _python() -> Iterator[Diagnosis]:
    enough = sys.version_info >= PYTHON
    yield Diagnosis(
        name="python",
        state=State.OK if enough else State.PROBLEM,
        found=f"{platform.python_version()} ({sys.executable})",
        hint="" if enough else "install it with Python 3.11 or newer",
    )


def _git(scene: Scene) -> Iterator[Diagnosis]:
    version = ".".join(map(str, repository.version(scene.environ)))
    yield Diagnosis(name="git", found=f"{version} ({shutil.which('git', path=scene.environ.get('PATH'))})")


# --- file systems --------------------------------------------------------------------------------------------


def _locks(scene: Scene) -> Iterator[Diagnosis]:
    """Whether kernel locks work where ours lie. They are how an agent is known to live."""
    if scene.site is None:
        return
    folder = _standing(scene.site.state / "locks")
    kind = _file_system(folder)
    try:
        why = file_lock.broken(folder)
    except OSError:
        return  # that it takes no file has a line of its own
    if why:
        message = f"{file_lock.message(folder, why)}: nothing is started"
        yield Diagnosis(name="locks", state=State.PROBLEM, found=kind, message=message, hint=file_lock.ADVICE)
        return
    if kind in SHARED:
        message = f"{folder} is on a network: locks may not hold between hosts"
        hint = "let one host work on it, better from a local disk"
        yield Diagnosis(name="locks", state=State.WARNING, found=kind, message=message, hint=hint)
    else:
        yield Diagnosis(name="locks", found=kind)


def _disks(scene: Scene) -> Iterator[Diagnosis]:
    places: dict[int, Path] = {}
    for place in (*scene.folders, Path(tempfile.gettempdir())):
        places.setdefault(_standing(place).stat().st_dev, _standing(place))
    yield from (_disk(place) for place in places.values())


def _disk(place: Path) -> Diagnosis:
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    state = State.PROBLEM if free < DISK_SCARCE else State.WARNING if free < DISK_LOW else State.OK
    message = "" if state is State.OK else "too little for worktrees and what checks build in them"
    # Some file systems count no files, and say zero for all of them.
    if state is State.OK and found.f_files and found.f_favail < INODES_LOW:
        state, message = State.WARNING, f"only {found.f_favail} more files can be made"
    hint = "make room" if message else ""
    left = f"{free / 2**30:.1f} GB" if free >= 2**30 else machine_room.words(free)
    return Diagnosis(name="disk", state=state, found=f"{left} free at {place}", message=message, hint=hint)


def _writing(scene: Scene) -> Iterator[Diagnosis]:
    """Whether the folders that are written to take a file: a right, a quota or a mount may forbid that, however much is free."""
    inside = (*scene.site.written, scene.site.repository.main, *scene.roots) if scene.site else ()
    places = list(dict.fromkeys(map(_standing, (*inside, Path(tempfile.gettempdir())))))
    refusing = {place: why for place in places if (why := refused.tried(place))}
    # What is full or read-only is so for every folder on it: one line.
    alike = {(place.stat().st_dev, why.errno): place for place, why in reversed(refusing.items())}
    for (device, errno), place in reversed(alike.items()):
        same = [each for each, why in refusing.items() if (each.stat().st_dev, why.errno) == (device, errno)]
        message, hint = refused.words(refusing[place], place)
        if errno in (ENOSPC, EDQUOT):
            message = f"{message} ({_free(place):,} bytes are free there)"
        yield Diagnosis(name="writing", state=State.PROBLEM, found=named(map(str, same)), message=message, hint=hint)
    if not refusing:
        yield Diagnosis(name="writing", found=counted(len(places), "folder takes files", "folders take files"))


def _standing(place: Path) -> Path:
    """A folder, or the one in which it will be made."""
    return next(path for path in (place, *place.parents) if path.exists())


def _free(place: Path) -> int:
    found = os.statvfs(place)
    return (found.f_bavail if os.geteuid() else found.f_bfree) * found.f_frsize


def _file_system(place: Path) -> str:
    """The kind of file system that a folder lies on; empty where the kernel does not say."""
    mounted = Path("/proc/self/mountinfo")
    if not mounted.exists():
        return ""
    wanted, found = os.path.realpath(place), ("", "")
    for line in mounted.read_text("utf-8", "surrogateescape").splitlines():
        mount, _, about = line.partition(" - ")
        point = mount.split(" ")[4].replace("\\040", " ")
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):  # of several at one point the last covers the others
            found = point, about.split(" ")[0]
    return found[1]


# --- the kernel ----------------------------------------------------------------------------------------------


def _events(scene: Scene) -> Iterator[Diagnosis]:
    """Whether file events can be had: without them `watch` looks every few seconds."""
    late = f"'watch' polls every {POLL_S:g} s instead"
    with Wakes([Spot(scene.aside)], threading.Event()) as wakes:
        why = wakes.deaf
    if why:
        message = f"file events can't be had ({why}): {late}"
        more = "sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288"
        hint = "end some programs, or raise the limit (ulimit -u, ulimit -v)" if "thread" in why else more
        yield Diagnosis(name="file events", state=State.WARNING, message=message, hint=hint)
        return
    watches = Path("/proc/sys/fs/inotify/max_user_watches")
    if not watches.exists():
        yield Diagnosis(name="file events", found="they come")
        return
    limit = int(watches.read_text())
    wanted, found = _folders_to_watch(scene), f"{limit} folders may be watched"
    if wanted * 2 > limit:
        message = f"{wanted} are watched here, and other programs watch some too: {late}"
        hint = f"sysctl fs.inotify.max_user_watches={max(wanted * 4, 524288)}"
        yield Diagnosis(name="file events", state=State.WARNING, found=found, message=message, hint=hint)
    else:
        yield Diagnosis(name="file events", found=found)


def _folders_to_watch(scene: Scene) -> int:
    if scene.site is None:
        return 0
    repository = scene.site.repository
    trees = (repository.state / "runs", repository.common / "refs" / "heads", repository.common / "refs" / "reconcile")
    walks = (1 for tree in trees for _ in os.walk(tree))
    return sum(one for one, _ in zip(walks, range(FOLDERS_MAX), strict=False))


def _files() -> Iterator[Diagnosis]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = soft == resource.RLIM_INFINITY
    state = State.OK
    if not endless and soft < FILES_LOW:
        state = State.PROBLEM if soft < FILES_SCARCE else State.WARNING
    message = "agents can't be started with so few" if state is State.PROBLEM else "few for many agents"
    most = "unlimited" if hard == resource.RLIM_INFINITY else f"at most {hard}"
    yield Diagnosis(
        name="open files",
        state=state,
        found="unlimited" if endless else str(soft),
        message="" if state is State.OK else message,
        hint="" if state is State.OK else f"ulimit -n 4096 (here: {most})",
    )


def _processes() -> Iterator[Diagnosis]:
    """How many more processes may start, by the cgroups that we are in and by the limit of this user; root has none."""
    free = {"pids.max of its cgroup": free_processes()}
    limit = user_limit()
    free["ulimit -u"] = left_to_user(limit=limit)
    if limit is not None and free["ulimit -u"] is None:  # elsewhere than on Linux
        every = (each.info for each in psutil.process_iter(["uids", "num_threads"]))
        used = sum(each["num_threads"] or 1 for each in every if each["uids"] and each["uids"].real == os.getuid())
        free["ulimit -u"] = max(limit - used, 0)
    known = {what: left for what, left in free.items() if left is not None}
    what, left = min(known.items(), key=lambda each: each[1], default=("", None))
    if left is None or left >= machine_room.PROCESSES_LEAST:
        found = "any number may start" if left is None else f"{left} more may start"
        yield Diagnosis(name="processes", found=found)
        return
    message = f"too few for agents and what they start, by {what}"
    hint = f"end some, or raise {what}"
    yield Diagnosis(name="processes", state=State.PROBLEM, found=f"{left} more may start", message=message, hint=hint)
