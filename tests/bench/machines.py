"""What runs on other machines cost here: a start, a quiet look at many, a new controller's first look; beside raw git."""

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
from tests.bench.figures import Figure, spending

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it: the nodes of the tests stand there

STARTS, PROCESSES = 16, 3


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
