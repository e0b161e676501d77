"""The real loop on a real repository, killed by its own hand at the n-th effect: `killed.py MANIFEST N before|after`.

Works in the current directory. Prints the name of every effect; ends by itself with 0 when
there are fewer than N.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler import wiring
from reconciler.loop.loop import Loop

EFFECTS = {
    "write", "applied", "create", "create_check", "salvage", "remove", "remove_check", "delete_branch", "start", "stop",
    "mark_since", "open", "close", "land", "candidate_commit", "push_base",
}  # fmt: skip


class Mortal:
    """A port that counts its effects and dies at one of them."""

    left = 0
    how = "before"
    turn = threading.Lock()

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name not in EFFECTS:
            return found

        def effect(*args: Any, **kwargs: Any) -> Any:
            with Mortal.turn:
                Mortal.left -= 1
                mine = Mortal.left == 0
            if mine and Mortal.how == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = found(*args, **kwargs)
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return effect


def main(manifest: str, at: int, how: str) -> None:
    site = wiring.open_site(Path.cwd(), os.environ)
    for spec in wiring.read([manifest], "", os.environ):
        site.recorded.record(spec)
    Mortal.left, Mortal.how = at, how
    site.catch_up()
    ports = replace(site.ports, **{name: Mortal(getattr(site.ports, name)) for name in (
        "tracker", "workspaces", "runner", "forge", "records")})  # fmt: skip
    loop = Loop(load=site.desired, ports=ports, host=site.host, forges=site.forges, trackers=site.trackers)
    loop.forever(threading.Event(), threading.Event(), interval_s=0.05, enough=lambda tick: not tick.plan.moves)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
