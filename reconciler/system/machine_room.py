"""What is free on this machine, as its kernel says: memory, disk, processes. What it does not say is None."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.system.late import late

_CGROUPS = Path("/sys/fs/cgroup")
_PLENTY = 1000
_ANY_NUMBER = 1 << 21 | 1 << 24  # CAP_SYS_ADMIN, CAP_SYS_RESOURCE
# The limit of a cgroup, what is used, and what of that is kept of files: in the unified hierarchy, and in an older one.
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_memory(proc: Path = Path("/proc"), cgroups: Path = _CGROUPS) -> int | None:
    """Bytes that programs can still get, by the machine and by every cgroup that we are in."""
    found = [_available(proc)]
    for group in _groups(proc, cgroups, "memory"):
        for most_in, used_in, files in _MEMORY:
            most, used = _number(group / most_in), _number(group / used_in)
            if most is not None and used is not None:
                # What is kept of files is given up for programs.
                found.append(max(most - used + (_stated(group / "memory.stat", files) or 0), 0))
    known = [each for each in found if each is not None]
    return min(known, default=None)


def free_processes(proc: Path = Path("/proc"), cgroups: Path = _CGROUPS) -> int | None:
    """How many processes may still start, by every cgroup that we are in; None where none limits them."""
    groups = _groups(proc, cgroups, "pids")
    limits = ((_number(group / "pids.max"), _number(group / "pids.current")) for group in groups)
    return min((max(most - now, 0) for most, now in limits if most is not None and now is not None), default=None)


def user_limit() -> int | None:
    """How many processes and threads this user may have; None for any number, as root may."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    unlimited = soft == resource.RLIM_INFINITY or os.getuid() == 0 or _is_privileged()
    return None if unlimited else soft


def left_to_user(proc: Path = Path("/proc"), limit: int | None = None) -> int | None:
    """How many more this user may start of such a limit: at least so many, where far more are left; None where there is none, or
    nobody can tell."""
    fields = _text(proc / "loadavg").split()
    every = fields[3].partition("/")[2] if len(fields) > 3 else ""
    if limit is None or not every.isdecimal():
        return None
    if limit - int(every) >= _PLENTY:
        return limit - int(every)
    return max(limit - sum(_threads(folder) for folder in proc.iterdir() if folder.name.isdecimal()), 0)


def _threads(process: Path) -> int:
    """The threads of a process of this user; 0 for one of another's."""
    stated = _text(process / "status")
    found = dict(line.split(":", 1) for line in stated.splitlines() if line.startswith(("Uid:", "Threads:")))
    own = found.get("Uid", "").split()[:1] == [str(os.getuid())]
    return int(found.get("Threads", "1")) if own else 0


def _is_privileged() -> bool:
    """True where the limit on processes does not hold for us, by a capability."""
    stated = re.search(r"^CapEff:\s*([0-9a-f]+)$", _text(Path("/proc/self/status")), re.MULTILINE)
    return stated is not None and bool(int(stated[1], 16) & _ANY_NUMBER)


def processors() -> int:
    """Those that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS has none
        return os.cpu_count() or 1


def load() -> int | None:
    """How many processors were in use, or wanted, in the last minute; None where nobody can tell."""
    try:
        return round(os.getloadavg()[0])
    except (AttributeError, OSError):
        return None


def free_disk(folders: Iterable[str]) -> dict[str, int]:
    """Bytes that are free at each of these folders, or where it will be made. One that can't be asked is left out."""
    found = {}
    for folder in folders:
        with suppress(OSError):
            there = os.statvfs(next(path for path in (Path(folder), *Path(folder).parents) if path.exists()))
            found[folder] = there.f_bavail * there.f_frsize
    return found


def taken(folder: str, most_s: float, clock: Iterator[float]) -> int | None:
    """Bytes of disk that a folder takes; None where it can't be read, or is not counted before the clock is at `most_s`.

    A file of several names in it is counted once. Links are not followed.
    """
    total, seen, folders = 0, set[tuple[int, int]](), [folder]
    try:
        while folders:
            for entry in os.scandir(folders.pop()):
                found = entry.stat(follow_symlinks=False)
                if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
            if next(clock) > most_s:
                return None
    except OSError:
        return None
    return total


def _available(proc: Path) -> int | None:
    if not proc.is_dir():
        return int(late("psutil").virtual_memory().available)
    kib = _stated(proc / "meminfo", "MemAvailable:")
    return None if kib is None else kib * 1024


def _groups(proc: Path, cgroups: Path, controller: str) -> Iterator[Path]:
    """The cgroups that we are in and those around them: in the unified hierarchy, and in an older one of this controller."""
    for line in _text(proc / "self/cgroup").splitlines():
        _, _, place = line.partition(":")
        names, _, path = place.partition(":")
        if path.startswith("/") and (not names or controller in names.split(",")):
            top = cgroups / names
            here = top / path.removeprefix("/")
            yield from (group for group in (here, *here.parents) if group.is_relative_to(top))


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _stated(path: Path, name: str) -> int | None:
    words = next((line.split() for line in _text(path).splitlines() if line.startswith(f"{name} ")), [])
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
