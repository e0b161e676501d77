"""What it takes to land many changes that are ready: with a check that takes its time, and with one that does nothing."""

from __future__ import annotations

import socket
import sys

from reconciler.model.names import RunKind
from tests.bench.figures import Figure, spending
from tests.bench.scenes import Scene, scene

CHANGES, QUICK = 100, 12
BURNS_S = 2.0  # of one core's time
FASTER = 0.165  # six times as fast as one check after the other
BESIDE_RAW = 1.5
BURN = f'{sys.executable} -I -S -c "import time\nend = time.process_time() + {BURNS_S}\nwhile time.process_time() < end: pass"'


def landing(*, quick: bool) -> list[Figure]:
    """100 changes, ready at once, two checks at a time on two cores."""
    changes = QUICK if quick else CHANGES
    with scene("ready") as there:
        took, runs, _ = _landed(there, changes, BURN)
    with scene("raw") as plain, scene("ready") as there:
        before = _raw(plain, changes // 2, 0)
        at_once, checks, cpu_s = _landed(there, changes, ":")
        raw = before + _raw(plain, changes - changes // 2, changes // 2)
    return [
        Figure(
            what=f"{changes} ready changes land, a check takes {BURNS_S:g} s of one core",
            value=took,
            unit="s",
            beside="their checks, one after the other",
            other=changes * BURNS_S,
            limit=FASTER,
            times=True,
            note=f"{runs} check runs",
        ),
        Figure(
            what=f"{changes} ready changes land, a check does nothing",
            value=at_once,
            unit="s",
            beside="their raw commands, serially",
            other=raw,
            limit=BESIDE_RAW,
            times=True,
            note=f"{checks} check runs; CPU {cpu_s:.1f} s",
        ),
    ]


def _landed(there: Scene, changes: int, check: str) -> tuple[float, int, float]:
    """Seconds, check runs and processor time until so many changes have landed."""
    ids = [f"a-{n}" for n in range(changes)]
    ours = {"status": "in_progress", "assignee": f"reconcile@{socket.gethostname()}"}
    there.tasks(dict.fromkeys(ids, ours))
    for id in ids:
        there.offered(id)
    manifest = there.manifest(maxAgents=1, mergePolicy={"checks": [check], "queue": {"parallel": 2}})
    with spending() as spent:
        took = there.ran("watch", "-f", str(manifest), "--until-done", most_s=3600)
    landed = int(there.repo.git("rev-list", "--count", "--grep=^Reconcile-Head: ", "main"))
    if landed != changes:
        raise RuntimeError(f"{landed} of {changes} landed")
    return took, sum(run.kind is RunKind.CHECK for run in there.site.runner.runs()), spent.cpu_s


def _raw(plain: Scene, changes: int, first: int) -> float:
    """Seconds that the least takes that lands as many, each checked and landed by itself.

    For each: the merge, its commit, a worktree of it, one interpreter, which supervises, the check, the worktree removed; the base moved
    and its checkout brought along; the branch removed.
    """
    for n in range(first, first + changes):
        plain.repo.branch(f"agent/a-{n}", {f"offered/a-{n}": "work\n"})
    with spending() as spent:
        for n in range(first, first + changes):
            _raw_one(plain, f"a-{n}")
    return spent.wall_s


def _raw_one(plain: Scene, id: str) -> None:
    git, tree = plain.repo.git, plain.folder / "check"
    old = git("rev-parse", "main")
    merged = git("merge-tree", "--write-tree", "main", f"agent/{id}")
    new = git("commit-tree", "-p", old, "-m", f"Do {id}", merged)
    git("worktree", "add", "--quiet", "--detach", str(tree), new)
    plain.run(sys.executable, "-I", "-S", "-c", "pass")
    plain.run("/bin/sh", "-c", ":", cwd=tree)
    git("worktree", "remove", str(tree))
    git("update-ref", "refs/heads/main", new, old)
    git("read-tree", "-m", "-u", old, new)
    git("branch", "--quiet", "-D", f"agent/{id}")
