"""What a finished task leaves for ever: files, memory of a watch, and work for who begins later."""

from __future__ import annotations

import hashlib
import os
import statistics
import time

from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.runners import _archiving, _folders, _past
from tests.bench import scenes
from tests.bench.figures import Figure, resident_mb, spending
from tests.bench.scenes import Scene, scene
from tests.bench.ticks import settled

FILES, KB, AS_NONE = 1.0, 4.0, 1.3
OPEN = 10
TURNS = 1000


def left_behind(*, quick: bool) -> list[Figure]:
    """After tasks landed, each with a run of its agent and one of its checks, and their hour is over."""
    few, many = (20, 200) if quick else (100, 5000)
    memory, cpu, files = {}, {}, 0
    for finished in (few, many):
        with scene(f"left{finished}") as there:
            landed(there, finished)
            there.recorded(maxAgents=0, mergePolicy={"mode": "manual"})
            before = _files(there)
            archived(there)
            files = _files(there)
            memory[finished] = _watch_kb(there)
            cpu[finished] = statistics.median(_status_s(there) for _ in range(3 if quick else 5))
    return [
        Figure(
            what=f"files and folders of runs and locks that a task leaves, after {many:,} landed",
            value=files / many,
            unit="",
            beside="before they go to the archive",
            other=before / many,
            limit=FILES,
        ),
        Figure(
            what="memory of a watch for each task that landed (RSS)",
            value=(memory[many] - memory[few]) / (many - few),
            unit="kB",
            beside=f"all of it after {few} landed",
            other=memory[few],
            limit=KB,
            note=f"{memory[many] / 1024:.0f} MB after {many:,}",
        ),
        Figure(
            what=f"status after {many:,} tasks landed: CPU",
            value=1000 * cpu[many],
            unit="ms",
            beside=f"after {few}",
            other=1000 * cpu[few],
            limit=AS_NONE,
            times=True,
        ),
    ]


def landed(there: Scene, tasks: int) -> None:
    done = [f"a-{n}" for n in range(tasks)]
    there.history(done)
    base = there.repo.head()
    for id in done:
        tree = Sha(hashlib.sha1(id.encode(), usedforsecurity=False).hexdigest())
        there.ended(RunId(RunKind.CHECK, f"{tree[:12]}-0123abcd", 1), TaskId(""), base, tree=tree, heads=(base,))
    there.tasks({**scenes.landed(done), **{f"b-{n}": {} for n in range(OPEN)}})


def archived(there: Scene) -> None:
    """Let everything be archived now, as a watch does over the hours."""
    kept = [(module, name, getattr(module, name)) for module, name in _WAITS]
    try:
        for module, name, value in kept:
            setattr(module, name, -abs(value))
        loop = there.loop()
        for _ in range(TURNS):
            loop.tick()
            if not any(any((there.site.state / "runs" / kind).glob("*")) for kind in RunKind):
                return
        raise RuntimeError(f"{_files(there)} files are left")
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


_WAITS = ((_archiving, "QUIET_S"), (_folders, "SETTLES_NS"), (_past, "SETTLES_NS"))


def _files(there: Scene) -> int:
    folders = (there.site.state / name for name in ("runs", "locks"))
    return sum(len(files) + len(below) for folder in folders for _, below, files in os.walk(folder))


def _watch_kb(there: Scene) -> float:
    settled(there)
    looked = there.site.state / "status" / "all.json"
    looked.unlink(missing_ok=True)
    watch = there.start("watch")
    try:
        scenes.until(looked.exists, "the watch to have looked")
        time.sleep(5.0)
        return 1024 * resident_mb(watch.pid)
    finally:
        watch.terminate()
        watch.wait()


def _status_s(there: Scene) -> float:
    with spending() as spent:
        there.ran("status")
    return spent.children_s
