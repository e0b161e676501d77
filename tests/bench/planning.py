"""What deciding costs: `plan()` beside the reading of the very tasks that it decides about."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from reconciler.model.names import TaskId
from reconciler.model.observed import Observed
from reconciler.planning.planner import plan
from reconciler.trackers.jsonl import JsonlTracker
from tests import worlds
from tests.bench import scenes
from tests.bench.figures import Figure

AGAINST_PARSING = 2.0
PER_TASK = 1.5  # linear, with the caches of the processor left behind on the way


def planning(*, quick: bool) -> list[Figure]:
    """`plan()` on 10,000 tasks beside their reading; per task on 100,000 beside that."""
    few, many = (2_000, 20_000) if quick else (10_000, 100_000)
    with tempfile.TemporaryDirectory(prefix="reconcile-bench-plan-") as folder:
        store, larger = _store(Path(folder, "few"), few), _store(Path(folder, "many"), many)
        lines = store.read_bytes().splitlines()
        seen = _seen(store)
        pairs = [
            (
                _took(lambda: plan(worlds.wanted(), seen)),
                _took(JsonlTracker(store.parent).tasks),
                _took(_plainly(lines)),
            )
            for _ in range(3 if quick else 7)
        ]
        planned, read, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
        more = _seen(larger)
        longer = statistics.median(_took(lambda: plan(worlds.wanted(), more)) for _ in range(1 if quick else 3))
    return [
        Figure(
            what=f"plan() on {few:,} tasks: CPU",
            value=1000 * planned,
            unit="ms",
            beside="reading their JSONL (the tracker)",
            other=1000 * read,
            limit=AGAINST_PARSING,
            times=True,
            note=f"{planned / plain:.2f} x bare json.loads ({1000 * plain:.0f} ms)",
        ),
        Figure(
            what=f"plan() on {many:,} tasks: CPU per task",
            value=1e6 * longer / many,
            unit="µs",
            beside=f"per task on {few:,}",
            other=1e6 * planned / few,
            limit=PER_TASK,
            times=True,
        ),
    ]


def _store(beads: Path, tasks: int) -> Path:
    """Epics of twenty tasks; a third is closed, every other task waits for the one before it."""
    beads.mkdir()
    path = beads / "issues.jsonl"
    with path.open("w") as file:
        for n in range(tasks):
            file.write(json.dumps(scenes.a_record(f"x-{n}", **_fields(n))) + "\n")
    return path


def _fields(n: int) -> dict[str, object]:
    epic = n - n % 20
    if n == epic:
        return {"issue_type": "epic"}
    edges = [{"issue_id": f"x-{n}", "depends_on_id": f"x-{epic}", "type": "parent-child"}]
    if n % 2 and n - 1 != epic:
        edges.append({"issue_id": f"x-{n}", "depends_on_id": f"x-{n - 1}", "type": "blocks"})
    closed = {"status": "closed", "labels": ["phase:merged"]} if n % 3 == 0 else {}
    return {"dependencies": edges, "priority": n % 5, **closed}


def _seen(store: Path) -> Observed:
    """The tasks of a store with one in twenty running, and one in twenty offered."""
    tasks = JsonlTracker(store.parent).tasks()
    ours = [TaskId(f"x-{n}") for n in range(len(tasks)) if n % 3 and n % 20]
    alive, offered = ours[::20], ours[1::20]
    return Observed(
        at=worlds.NOW,
        prefix="x",
        tasks=tasks,
        runs={id: (worlds.a_run(id, state="running"),) for id in alive} | {id: (worlds.a_run(id),) for id in offered},
        worktrees={id: worlds.a_worktree(id) for id in (*alive, *offered)},
        branches={id: worlds.a_branch(id) for id in (*alive, *offered)},
        pull_requests={id: worlds.a_pull(id, n) for n, id in enumerate(offered, 1)},
        candidates={id: worlds.a_candidate() for id in offered},
        bases=worlds.seen().bases,
    )


def _plainly(lines: list[bytes]) -> Callable[[], object]:
    return lambda: [json.loads(line) for line in lines]


def _took(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
