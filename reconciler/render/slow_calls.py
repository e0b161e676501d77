"""Programs that have not answered for long, as `status` and `doctor` show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from reconciler.render.words import span, stamp
from reconciler.system.unanswered import LongCall


def words(call: LongCall, now: float) -> str:
    """What a program is run for, for how long by now, and when it is given up. `now`: seconds since 1970."""
    about = f"{call.about}: " if call.about else ""
    return f"{about}{call.program} has run for {span(now - call.begun)} without an answer, and is given up after {call.limit_s:.0f} s"


def plain(call: LongCall) -> dict[str, Any]:
    """The same for programs."""
    begun, ends = (datetime.fromtimestamp(at, UTC) for at in (call.begun, call.begun + call.limit_s))
    return {"program": call.program, "about": call.about or None, "since": stamp(begun), "givenUpAt": stamp(ends)}
