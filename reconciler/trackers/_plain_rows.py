"""The short way from a line of `issues.jsonl` to its task, for lines as Beads and this program write them.

What is made of a line is written again: only where that is the very line, nothing of it was guessed, lost or there twice. All other
lines, and those whose values mean more than they say, are read with care.
"""

from __future__ import annotations

import sys

import msgspec
from msgspec import Struct

from reconciler.model.desired import EPOCH
from reconciler.model.names import TaskId
from reconciler.model.observed import Task
from reconciler.trackers import _records as records


class _PlainEdge(Struct, omit_defaults=True, gc=False):
    issue_id: str
    depends_on_id: str
    type: str
    created_at: str | None = None
    created_by: str | None = None
    metadata: str | None = None
    thread_id: str | None = None


class _PlainRow(Struct, omit_defaults=True):
    """In the order in which Beads writes them; a key that is not here is not plain."""

    id: str
    content_hash: str | None = None
    title: str = ""
    description: str | None = None
    design: str | None = None
    acceptance_criteria: str | None = None
    notes: str | None = None
    spec_id: str | None = None
    status: str | None = None
    priority: int | None = None
    issue_type: str | None = None
    assignee: str | None = None
    owner: str | None = None
    estimated_minutes: int | None = None
    created_at: str | None = None
    created_by: str | None = None
    updated_at: str | None = None
    started_at: str | None = None
    closed_at: str | None = None
    close_reason: str | None = None
    closed_by_session: str | None = None
    external_ref: str | None = None
    source_repo: str | None = None
    compaction_level: int | None = None
    original_size: int | None = None
    labels: list[str] | None = None
    dependencies: list[_PlainEdge] | None = None
    dependency_count: int | None = None
    dependent_count: int | None = None
    comment_count: int | None = None


_DECODER, _ENCODER = msgspec.json.Decoder(_PlainRow), msgspec.json.Encoder()


def plain_task(raw: bytes) -> Task | None:
    """The task of a line; None where only care can tell."""
    try:
        row = _DECODER.decode(raw)
    except (ValueError, RecursionError):
        return None
    priority, edges = row.priority, row.dependencies
    if not row.id or priority is None or not 0 <= priority <= 4 or _ENCODER.encode(row) != raw:
        return None
    if b"\\" in raw and b"\\u0000" in raw:  # one byte is found at once, six are looked for
        return None
    type = sys.intern(row.issue_type or "task")
    named = [(edge.type or "blocks", TaskId(edge.depends_on_id)) for edge in edges] if edges else ()
    parents, blockers, waits_for = records.targets(named) if named else records.NO_TARGETS
    return Task(
        id=TaskId(sys.intern(row.id)),
        title=row.title,
        created_at=records.date(row.created_at) or EPOCH,
        updated_at=records.date(row.updated_at) or EPOCH,
        description=row.description or "",
        acceptance=row.acceptance_criteria or "",
        notes=row.notes or "",
        status=sys.intern(row.status or "open"),
        type=type,
        priority=priority,
        assignee=sys.intern(row.assignee or ""),
        labels=records.shared(tuple(row.labels)) if row.labels else records.NO_LABELS,
        closed_at=records.date(row.closed_at),
        close_reason=row.close_reason or "",
        closed_by_session=row.closed_by_session or "",
        held_back=type in records.TRAFFIC,
        parents=parents,
        blockers=blockers,
        waits_for=waits_for,
    )
