"""What runs printed last."""

from __future__ import annotations

import time

from reconciler.model.errors import ReconcileError
from reconciler.model.names import RunId
from reconciler.model.ports import Runner
from reconciler.render import safe
from reconciler.render.tails import last_line

TAIL_MAX = 2_000
AGE_S = 0.9  # a picture that is drawn once a second finds them old enough


class Tails:
    """The last lines of these runs, by task, each read at most once a second and only when it is asked for."""

    def __init__(self, runner: Runner, runs: dict[str, RunId] | None = None) -> None:
        self._runner = runner
        self._runs = runs or {}
        self._read: dict[RunId, tuple[float, str]] = {}

    def follow(self, runs: dict[str, RunId]) -> None:
        self._runs = runs
        self._read = {run: found for run, found in self._read.items() if run in runs.values()}

    def last_line(self, task: str) -> str:
        run, now = self._runs.get(task), time.monotonic()
        if run is None:
            return ""
        at, before = self._read.get(run, (0.0, ""))
        if not at or now - at >= AGE_S:
            self._read[run] = (now, self._look(run) or before)
        return self._read[run][1]

    def _look(self, run: RunId) -> str:
        try:
            return last_line(self._runner.log_tail(run, TAIL_MAX))
        except ReconcileError as error:
            return safe.line(str(error))
