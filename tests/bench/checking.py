"""What tasks cost with a check, and in a tree of many files: the processor time of everything, beside bare commands or a small tree."""

from __future__ import annotations

import sys

from tests.bench.figures import Figure, Spent, spending
from tests.bench.scenes import COMMITS, scene
from tests.bench.working import Serial

CHECKED, PROCESSES, AS_SMALL_A_TREE, AS_RAW = 3.0, 20.0, 1.5, 2.0
FILES, HUGE = 400, 50_000


def checked(*, quick: bool) -> list[Figure]:
    """Trivial tasks from nothing to landed with the check `true`, beside what `_Checked` does for each of as many."""
    tasks = 10 if quick else 100
    with scene("serial") as plain:
        serial = _Checked(plain)
        with spending() as raw:
            for n in range(tasks):
                serial.task(f"a-{n}")
    spent = _landed(tasks, checks=["true"])
    return [
        Figure(
            what=f"{tasks} trivial tasks with a check end to end: CPU",
            value=spent.cpu_s,
            unit="s",
            beside="their raw commands and checks",
            other=raw.cpu_s,
            limit=CHECKED,
            times=True,
            note=f"wall: {spent.wall_s:.1f} s, beside {raw.wall_s:.1f} s one after the other",
        ),
        Figure(
            what="processes of a task with a check, all of them counted",
            value=spent.forked / tasks,
            unit="",
            beside="its raw commands",
            other=raw.forked / tasks,
            limit=PROCESSES,
        ),
    ]


def tree(*, quick: bool) -> list[Figure]:
    """The same without a check in a tree of 400 files, beside one of a single file; in a huge one, beside its raw commands."""
    tasks, few, huge = (10, 2, 5_000) if quick else (60, 10, HUGE)
    many, one = _landed(tasks, files=FILES), _landed(tasks, files=1)
    with scene("serial", huge) as plain:
        serial = Serial(plain)
        with spending() as raw:
            for n in range(few):
                serial.task(f"a-{n}")
    ours = _landed(few, files=huge)
    return [
        Figure(
            what=f"{tasks} trivial tasks in a tree of {FILES} files: CPU",
            value=many.cpu_s,
            unit="s",
            beside="in a tree of one file",
            other=one.cpu_s,
            limit=AS_SMALL_A_TREE,
            times=True,
        ),
        Figure(
            what=f"{few} trivial tasks in a tree of {huge:,} files: CPU",
            value=ours.cpu_s,
            unit="s",
            beside="their raw commands",
            other=raw.cpu_s,
            limit=AS_RAW,
            times=True,
        ),
    ]


def _landed(tasks: int, *, files: int = 200, checks: list[str] | None = None) -> Spent:
    with scene("checked", files) as there:
        there.tasks({f"a-{n}": {} for n in range(tasks)})
        policy = {"mergePolicy": {"checks": checks, "noChecks": "block"}} if checks else {}
        manifest = there.manifest(maxAgents=8, agent={"argv": ["sh", "-c", COMMITS]}, **policy)
        with spending() as spent:
            there.ran("watch", "-f", str(manifest), "--until-done", most_s=3600)
        landed = int(there.repo.git("rev-list", "--count", "--grep=^Reconcile-Head: ", "main"))
    if landed != tasks:
        raise RuntimeError(f"{landed} of {tasks} landed")
    return spent


class _Checked(Serial):
    """With a check before the merge: its worktree, one interpreter that supervises it, its shell and `true`."""

    def task(self, id: str) -> None:
        self._run("git", "worktree", "add", "--quiet", "--detach", str(self._trees / f"{id}.check"), "main")
        self._run(sys.executable, "-I", "-S", "-c", "pass")
        self._run("sh", "-c", "true", cwd=self._trees / f"{id}.check")
        self._git("worktree", "remove", str(self._trees / f"{id}.check"))
        super().task(id)
