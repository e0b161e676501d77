"""What a quiet tick costs where a real Beads keeps the tasks: one process of it, however many there are."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests import outside
from tests.bench import scenes
from tests.bench.figures import Figure, spending
from tests.bench.scenes import Scene, scene

TASKS = 1000
# A database of another generation is as real; the one that is built in a minute is there more often.
KINDS = ("bd", "bd-sqlite")
_QUIET = {"BEADS_NO_DAEMON": "1", "BD_NON_INTERACTIVE": "1", "BD_METRICS_DISABLED": "true"}


def real_beads(*, quick: bool) -> list[Figure]:
    """1,000 tasks in a Beads database, none of which may be started: a tick in which nothing changed."""
    found = [(kind, path) for kind in KINDS if (path := outside.find(kind))]
    if not found:
        print(f"beads: left out, no bd is installed: python tests/outside.py {KINDS[-1]}", file=sys.stderr)
    return [figure for kind, path in found for figure in _quiet(kind, path, 100 if quick else TASKS)]


def _quiet(kind: str, path: Path, tasks: int) -> list[Figure]:
    with scene("beads") as there:
        there.environ |= {**_QUIET, "PATH": f"{path.parent}:{os.environ['PATH']}"}
        _filled(there, kind, tasks)
        there.recorded()
        loop = there.loop()
        scenes.until(lambda: not loop.tick().plan.actions, "a plan without actions")
        time.sleep(scenes.SETTLES_S)
        loop.tick()
        spent = []
        for _ in range(3):
            with spending() as one:
                loop.tick()
            spent.append(one)
        begun = time.monotonic()
        _bd(there, "list", "--json", "--all", "--limit=0")
        alone_s = time.monotonic() - begun
    started = [name for one in spent for name in one.started]
    if set(started) != {"bd"}:
        raise RuntimeError(f"a quiet tick started {started}")
    version = outside.PROGRAMS[kind].version
    return [
        Figure(
            what=f"quiet tick, bd {version} with {tasks:,} tasks: processes",
            value=len(started) / len(spent),
            unit="",
            beside="at rest",
            other=0.0,
            limit=1.0,
            note=f"{statistics.median(one.wall_s for one in spent):.2f} s, of which our own CPU "
            f"{1000 * statistics.median(one.own_s for one in spent):.0f} ms; its list alone: {alone_s:.2f} s",
        )
    ]


def _filled(there: Scene, kind: str, tasks: int) -> None:
    """A database of tasks that somebody else has, so that none of them is started."""
    _bd(there, "init", "--quiet", "--prefix", "x")
    theirs = {"status": "in_progress", "assignee": "somebody"}
    lines = (json.dumps(scenes.a_record(f"x-{n}a{n % 10}", **theirs)) + "\n" for n in range(tasks))
    file = there.folder / "tasks.jsonl"
    file.write_text("".join(lines))
    _bd(there, "import", *(["-i"] if kind == "bd-sqlite" else []), str(file))


def _bd(there: Scene, *args: str) -> None:
    done = subprocess.run(
        ("bd", *args), cwd=there.root, env=there.environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"bd {args[0]} ended with {done.returncode}: {done.stderr[-2000:]!r}")
