"""What GitHub costs: points and requests per look, and the points of an hour in which much, or nothing, happens."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from reconciler.forges.github.look import Look
from reconciler.model.names import TaskId
from tests.bench import scenes
from tests.bench.figures import Figure, spending

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it: the GitHub of the tests stands there

POINTS = 4
BUSY_POINTS, IDLE_POINTS = 1000, 300
TICK_S = 5


def on_github(*, quick: bool) -> list[Figure]:
    """50 open pull requests with checks: a look, a tick between two looks, a busy and an idle hour. Real gh, real git."""
    import on_github as scene  # noqa: PLC0415 - found on the path that is set above

    number = 10 if quick else 50
    with scene.place() as there:
        heads = [there.offered(task=TaskId(f"x-{n}"), check=None)[1] for n in range(number)]
        time.sleep(scenes.SETTLES_S)
        there.pull(TaskId("x-0"))
        there.forge.base("main")
        with spending() as between:
            there.forge.pull_requests()
            there.forge.base("main")
        before = len(there.hub.requests)
        there.forge.look.stale()
        with spending() as looked:
            there.forge.pull_requests()
        asked = there.hub.requests[before:]
        cost = sum(request.points for request in asked)
        for head in heads:
            there.app.check(head, "ci", None)
        busy = _hour(there, quick=quick)
        for head in heads:
            there.app.check(head, "ci", "success")
        idle = _hour(there, quick=quick)
    where = f"{number} open pull requests"
    calm = f"a process of gh ({looked.children_s * 1000:.0f} ms)"
    return [
        Figure(what=f"GitHub: requests of a look ({where})", value=len(asked), unit="", beside="one", other=1, limit=1),
        Figure(what="GitHub: points of a look", value=cost, unit="", beside="a list of them", other=2, limit=POINTS),
        Figure(
            what="GitHub: processes between two looks", value=len(between.started), unit="", beside=calm, other=1, limit=0
        ),
        Figure(what="GitHub: points of a busy hour", value=busy, unit="", beside="an hour", other=5000, limit=BUSY_POINTS),
        Figure(what="GitHub: points of an idle hour", value=idle, unit="", beside="an hour", other=5000, limit=IDLE_POINTS),
    ]  # fmt: skip


def _hour(there: Any, *, quick: bool) -> float:
    """The points of an hour of ticks, by a clock of ours; of a tenth of one, ten times, where it is to be quick."""
    parts = 10 if quick else 1
    now = [0.0]
    forge = there.again()
    look = Look(forge.look._gh, forge.slug, forge.look._bases, forge.look._branches, clock=lambda: now[0])
    look.now()
    # What is open here was opened long ago: that alone is no reason to look again soon.
    look._since = {key: at - timedelta(hours=1) for key, at in look._since.items()}
    before = len(there.hub.requests)
    while now[0] < 3600 / parts:
        now[0] += TICK_S
        look.now()
    return parts * sum(r.points for r in there.hub.requests[before:] if "graphql" in r.label)
