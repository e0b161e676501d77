"""A live run elsewhere as it is watched from here: what is known of it beside its record."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.model.names import Sha
from reconciler.model.observed import Run
from reconciler.model.values import replace


class Note(Struct, frozen=True, kw_only=True):
    """What is shown of a live run beside its record."""

    node: str = ""
    remark: str = ""
    silent_s: float = 0.0
    gives_up_in_s: float = 0.0

    def on(self, run: Run, now: datetime) -> Run:
        """A run with this note."""
        kind = run.where.partition(":")[0]
        silent = self.gives_up_in_s > 0
        return replace(
            run,
            where=f"{kind}:{self.node}" if self.node else run.where,
            remark=self.remark,
            heard_at=now - timedelta(seconds=self.silent_s) if silent else None,
            gives_up_at=now + timedelta(seconds=self.gives_up_in_s) if silent else None,
        )


class WatchedRun(Struct, kw_only=True):
    """What the one who looks remembers of a live run from one look to the next."""

    note: Note | None = None
    filled: Sha | None = None  # the commit of its ref that its folder holds
    silent_s: float = 0.0  # seconds of silence that we could have heard something in
    unborn: float | None = None  # since when its reservation has no job, by our clock
    asked: tuple[float, float] | None = None  # when it was asked to end: first, last
    cancelled: bool = False  # its engine was, as nothing was heard from it
