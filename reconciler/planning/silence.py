"""Nodes that nobody has heard for a while: what there is to say, and to do, about a run on one. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.model.observed import Run


def no_word(run: Run, now: datetime) -> str:
    """That nothing is heard of a live run, when it is given up, and by what at once; empty where its node speaks."""
    if not run.gives_up_at or not run.heard_at:
        return ""
    silent, left = rough(now - run.heard_at), rough(run.gives_up_at - now)
    node = run.node or "its node"
    return f"no word from {node} for {silent}; given up in {left}; 'reconcile stop {run.task} --give-up' does it now"


def rough(span: timedelta) -> str:
    """A span of time in one unit.

    >>> rough(timedelta(seconds=40)), rough(timedelta(minutes=4, seconds=5)), rough(timedelta(hours=30))
    ('40 s', '4 min', '30 h')
    """
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"
