"""`watch --metrics FILE`: how everything stands, for node_exporter's textfile collector."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.loop.loop import Tick
from reconciler.model.errors import UsageError
from reconciler.planning.plan import Plan
from reconciler.render import document, metrics
from reconciler.render import queue as queue_rows
from reconciler.render.words import stamp
from reconciler.system import files
from reconciler.wiring import Site


class MetricsFile(Struct, kw_only=True):
    """A file that is replaced as a whole at each look. Only what changed is computed again."""

    path: Path
    site: Site
    say: Callable[[str], None]
    _plan: Plan | None = None
    _status: dict[str, Any] = field(default_factory=dict)
    _queue: list[dict[str, Any]] = field(default_factory=list)
    _failed: str = ""

    def __call__(self, tick: Tick) -> None:
        """Write how it stands. A file that can't be written is one line, once, and stops nothing."""
        if tick.plan is not self._plan:
            self._plan = tick.plan
            self._status = document.status(tick.plan, tick.observed, self.site.statuses())
            self._queue = queue_rows.document(tick.plan, tick.observed)
        self._status["at"] = stamp(tick.observed.at)
        try:
            files.replace(self.path, metrics.exposition(self._status, self._queue), mode=0o644)
            failed = ""
        except OSError as error:
            failed = f"the metrics can't be written: {error}"
        if failed and failed != self._failed:
            self.say(failed)
        self._failed = failed


def metrics_path(text: str) -> Path:
    """Where metrics are kept, from where the command was called. Raises UsageError for what nothing would read."""
    path = Path(os.path.abspath(text))
    if path.suffix != ".prom":
        raise UsageError(f"{path} has another suffix than .prom: node_exporter would not read it")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")
    return path
