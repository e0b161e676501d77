"""The real loop on a real repository, struck at its n-th effect: `killed.py MANIFEST N before|after|unanswered [HABIT]`.

`before` and `after` kill it by its own hand; `unanswered` does the effect and says that it may not have been done. With a
habit somebody does something in the checkout before the effect, and before its neighbours: not before all of them, as
nothing lands on a base that moves all the time. Works in the current directory. Prints the name of every effect; ends by
itself with 0 when there are fewer than N, or when it was not killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from somebody import Somebody

from reconciler import wiring
from reconciler.loop.loop import Loop
from reconciler.model.errors import TemporaryError
from reconciler.model.values import replace

EFFECTS = {
    "write", "applied", "create", "create_check", "salvage", "remove", "remove_check", "delete_branch", "start", "stop",
    "mark_since", "open", "close", "land", "candidate_commit", "push_base",
}  # fmt: skip
NEIGHBOURS = 2


class Mortal:
    """A port that counts its effects and is struck at one of them."""

    left = 0
    how = "before"
    somebody: Somebody | None = None
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
                if Mortal.somebody and abs(Mortal.left) <= NEIGHBOURS:
                    Mortal.somebody.act()
            if mine and Mortal.how == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = found(*args, **kwargs)
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
            if mine and Mortal.how == "unanswered":
                raise TemporaryError(f"{name}: no answer", delay=0.1)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return effect


def main(manifest: str, at: int, how: str, habit: str = "") -> None:
    site = wiring.open_site(Path.cwd(), os.environ)
    for spec in wiring.read([manifest], "", os.environ):
        site.recorded.record(spec)
    Mortal.left, Mortal.how = at, how
    Mortal.somebody = Somebody(Path.cwd(), os.environ, habit) if habit else None
    site.catch_up()
    ports = replace(site.ports, **{name: Mortal(getattr(site.ports, name)) for name in (
        "tracker", "workspaces", "runner", "forge", "records")})  # fmt: skip
    loop = Loop(load=site.desired, ports=ports, host=site.host, forges=site.chosen.refused, trackers=site.trackers)
    loop.forever(threading.Event(), threading.Event(), interval_s=0.05, enough=lambda tick: not tick.plan.moves)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
