"""The processes of this machine: who carries a run's marker, who stands in a folder. Nothing here signals.

Linux is read from /proc; elsewhere psutil answers where it can.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from reconciler.runners import supervisor

if not supervisor.PROC:
    import psutil  # only there: every command would wait for its import

COMMAND_MAX = 100


def carriers() -> dict[str, set[int]]:
    """The run folders that live processes carry as their marker, and the pids that do."""
    found: dict[str, set[int]] = {}
    for pid, folder in _markers():
        found.setdefault(folder, set()).add(pid)
    return found


def inside(folders: Iterable[str]) -> list[tuple[str, int]]:
    """(folder, pid) for every process other than ourselves whose working directory is a folder or in it."""
    wanted = {os.path.realpath(folder): folder for folder in folders}
    found = []
    for pid, cwd in _working_directories() if wanted else ():
        holding = next((real for real in wanted if cwd == real or cwd.startswith(real + "/")), None)
        if holding and pid != os.getpid():
            found.append((wanted[holding], pid))
    return found


def has_open(pid: int, path: Path) -> bool:
    """True while a process has a file open for writing; where that can't be seen, while there is such a process."""
    if supervisor.PROC:
        file = file_id(path)
        return pid > 0 and file is not None and supervisor.has_open(pid, file)
    return pid > 0 and psutil.pid_exists(pid)


def holds_none(pids: Iterable[int], files: set[tuple[int, int]]) -> bool:
    """True when none of these processes has one of these files open for writing."""
    return not any(supervisor.opened(pid, files) for pid in pids)


def ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """A process, its parent, and so on up to the first of all."""
    seen = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        yield pid
        pid = parents.get(pid, 0)


def descends_from_a_carrier(variable: str, pid: int | None = None) -> bool:
    """True when a process that we come from, up to the first of all, has this variable in its environment; with `pid`, when
    that process has it, or one that it comes from."""
    if supervisor.PROC:
        # The first is among them: in a container, or a sandbox, it may be an agent.
        first = os.getppid() if pid is None else pid
        return any(_carries(each, variable) for each in {*ancestors(first, supervisor.parent_pids()), 1})
    process = psutil.Process(pid)
    return any(_shows(each, variable) for each in ([] if pid is None else [process]) + process.parents())


def command(pid: int) -> str:
    """The command line of a process in one line of plain characters; empty when it is gone."""
    text = _command_line(pid)[:COMMAND_MAX]
    return "".join(char if char.isprintable() else "?" for char in text)


def file_id(path: Path) -> tuple[int, int] | None:
    """What identifies the file at `path`; None when there is none."""
    try:
        return supervisor.file_id(str(path))
    except FileNotFoundError:
        return None


def _carries(pid: int, variable: str) -> bool:
    try:
        found = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False  # somebody else's process: no agent of ours
    return b"\0" + variable.encode() + b"=" in b"\0" + found


def _shows(process: psutil.Process, variable: str) -> bool:
    try:
        return variable in process.environ()
    except psutil.Error:
        return False  # somebody else's process: no agent of ours


def _command_line(pid: int) -> str:
    """The words that a process was started with, or else its name; empty when it is gone."""
    if supervisor.PROC:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes() or Path(f"/proc/{pid}/comm").read_bytes()
        except OSError:
            return ""
        return os.fsdecode(words.rstrip(b"\0\n").replace(b"\0", b" "))
    try:
        return " ".join(psutil.Process(pid).cmdline() or [psutil.Process(pid).name()])
    except psutil.Error:
        return ""


def _markers() -> Iterator[tuple[int, str]]:
    if supervisor.PROC:
        # Zombies show no environment: whether one lives need not be asked of each.
        for name in os.listdir("/proc"):
            if name.isdecimal() and (folder := supervisor.marker(int(name))) is not None:
                yield int(name), os.fsdecode(folder)
        return
    for process in psutil.process_iter():
        try:
            if folder_text := process.environ().get(supervisor.MARKER):
                yield process.pid, folder_text
        except psutil.Error:
            continue


def _working_directories() -> Iterator[tuple[int, str]]:
    if supervisor.PROC:
        for name in os.listdir("/proc"):
            try:
                if name.isdecimal():
                    yield int(name), os.readlink(f"/proc/{name}/cwd")
            except OSError:
                # Gone, or another user's: whose working directory nobody may see.
                continue
        return
    for process in psutil.process_iter():
        try:
            yield process.pid, process.cwd()
        except psutil.Error:
            continue
