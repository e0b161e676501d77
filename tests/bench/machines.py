"""What runs on other machines cost here: a start, a quiet look at many, a new controller's first look; beside raw git and raw Slurm."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from reconciler.git.run_reports import Reported
from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.ports import RunSpec
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners import supervisor
from reconciler.runners._slurm import Slurm
from tests.bench.figures import Figure, spending

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it: the nodes of the tests stand there

STARTS, PROCESSES, LOOKS = 16, 3, 9


def machines(*, quick: bool) -> list[Figure]:
    """One pretend node, 500 runs that wait. A look asks the remote once and each host once, whatever the number of runs."""
    from nodes import Nodes  # noqa: PLC0415 - found on the path that is set above

    number = 50 if quick else 500
    with tempfile.TemporaryDirectory(prefix="reconcile-bench-") as folder:
        nodes = Nodes(Path(folder), Venue(kind=VenueKind.HERE, hosts=("n1",), per_host=1000, scratch=f"{folder}/s"))
        try:
            with spending() as begun:
                nodes.start("first", steps=(("sleep", "600"),), slot=None)
            runs = [_waiting(nodes, n) for n in range(number)]
            nodes.repo.git("push", "-q", str(nodes.remote), "refs/reconcile/run/*:refs/reconcile/run/*")
            nodes.born()
            with spending() as first:
                nodes.runner.runs()
            with spending() as quiet:
                nodes.runner.runs()
            raw = ["git", "ls-remote", str(nodes.remote), "refs/reconcile/run/*"]
            with spending() as listed:
                subprocess.run(raw, check=True, capture_output=True, env=nodes.environ)
        finally:
            nodes.clear()
    where, ms = f"{len(runs)} runs elsewhere", 1000.0
    return [
        Figure(
            what="elsewhere: processes of a start",
            value=len(begun.started),
            unit="",
            beside=f"{begun.wall_s * ms:.0f} ms; a push",
            other=1,
            limit=STARTS,
        ),
        Figure(
            what=f"elsewhere: processes of a quiet look ({where})",
            value=len(quiet.started),
            unit="",
            beside="git ls-remote, and a word to the host",
            other=2,
            limit=PROCESSES,
        ),
        Figure(
            what=f"elsewhere: a quiet look ({where})",
            value=quiet.wall_s * ms,
            unit="ms",
            beside="git ls-remote alone",
            other=listed.wall_s * ms,
            limit=25,
            times=True,
        ),
        Figure(
            what=f"elsewhere: a new controller's first look ({where})",
            value=first.wall_s * ms,
            unit="ms",
            beside="a quiet one",
            other=quiet.wall_s * ms,
            limit=25,
            times=True,
        ),
        *_slurm(number),
    ]


def _slurm(number: int) -> list[Figure]:
    """A Slurm of one node in a folder, with jobs that nobody lets begin; nothing where it is not installed."""
    from slurm_cluster import Cluster, missing  # noqa: PLC0415 - found on the path that is set above

    if missing():
        return []
    script, ms = "#!/bin/sh\ntrue\n", 1000.0
    with (
        tempfile.TemporaryDirectory(prefix="reconcile-bench-") as folder,
        Cluster(Path(folder) / "slurm", 1) as cluster,
    ):
        engine = Slurm(Venue(kind=VenueKind.SLURM, options=("--hold",)), cluster.environ)
        raw = ("sbatch", "--parsable", "--hold", "--output=/dev/null")
        with spending() as submitted:
            for n in range(number):
                engine.submit(f"rc.bench.{n}", script, {}, -1)
        with spending() as alone:
            for _ in range(10):
                subprocess.run(raw, input=script, text=True, check=True, capture_output=True, env=cluster.environ)
        listed = ("squeue", "--me", "--noheader", "--states=all", "--format=%j|%T|%N|%r")
        looks, raws = [], []
        for _ in range(LOOKS):  # in turn, and the best of each: one takes milliseconds
            with spending() as looked:
                assert len(engine.jobs()) > number
            with spending() as squeue:
                subprocess.run(listed, check=True, capture_output=True, env=cluster.environ)
            looks.append(looked.wall_s)
            raws.append(squeue.wall_s)
    return [
        Figure(
            what="slurm: a job is handed over",
            value=submitted.wall_s / number * ms,
            unit="ms",
            beside="sbatch alone",
            other=alone.wall_s / 10 * ms,
            limit=3,
            times=True,
        ),
        Figure(
            what=f"slurm: a look ({number} jobs, {len(looked.started)} process)",
            value=min(looks) * ms,
            unit="ms",
            beside="squeue alone",
            other=min(raws) * ms,
            limit=3,
            times=True,
        ),
    ]


def _waiting(nodes: object, n: int) -> RunId:
    """A run that is reserved and waits for a node: its ref, made here, and its folder."""
    task, keeper, folders = TaskId(f"w-{n}"), nodes.spaces.elsewhere, nodes.runner._folders  # type: ignore[attr-defined]
    run, head, nonce = RunId(RunKind.WORK, task, 1), nodes.repo.head("main"), f"{n:016x}"  # type: ignore[attr-defined]
    folder = folders.reserve(
        RunSpec(id=run, task=task, manifest="demo", steps=(("true",),), cwd="", at=nodes.venue)  # type: ignore[attr-defined]
    )
    supervisor.write_json(str(folder / "claim.json"), {"nonce": nonce, "reserved": True})
    made = Reported(task=task, at=Sha(""), phase="claimed", n=1, nonce=nonce, by=keeper.us, head=head)
    commit = keeper.refs(nodes.venue.remote).made(made.record, [head])  # type: ignore[attr-defined]
    nodes.repo.git("update-ref", f"refs/reconcile/run/{task}", commit)  # type: ignore[attr-defined]
    return run
