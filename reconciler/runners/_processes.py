"""The processes of this machine: who carries a run's marker, who stands in a folder. Nothing here signals.

Linux is read from /proc; elsewhere psutil answers where it can.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from reconciler import shim

COMMAND_MOST = 100


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


def ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """A process, its parent, and so on up to the first of all."""
    seen = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        yield pid
        pid = parents.get(pid, 0)


def command(pid: int) -> str:
    """The command line of a process in one line of plain characters; empty when it is gone."""
    try:
        parts = psutil.Process(pid).cmdline() or [psutil.Process(pid).name()]
    except psutil.Error:
        return ""
    text = " ".join(parts)[:COMMAND_MOST]
    return "".join(char if char.isprintable() else "?" for char in text)


def file_id(path: Path) -> tuple[int, int] | None:
    """What identifies the file at `path`; None when there is none."""
    try:
        return shim.file_id(str(path))
    except FileNotFoundError:
        return None


def _markers() -> Iterator[tuple[int, str]]:
    if shim.PROC:
        for pid in shim.parent_pids():
            if (folder := shim.marker(pid)) is not None:
                yield pid, os.fsdecode(folder)
        return
    for process in psutil.process_iter():
        try:
            if folder_text := process.environ().get(shim.MARKER):
                yield process.pid, folder_text
        except psutil.Error:
            continue


def _working_directories() -> Iterator[tuple[int, str]]:
    if shim.PROC:
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
