"""A record of `issues.jsonl` and the task that it stands for: how one is read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reconciler.model.desired import EPOCH
from reconciler.model.names import TaskId
from reconciler.model.observed import Task

Record = dict[str, Any]
_Targets = tuple[tuple[TaskId, ...], tuple[TaskId, ...], tuple[TaskId, ...]]

BLOCKING = ("blocks", "conditional-blocks")
# Messages, gates and the like are traffic between programs; Beads never offers them as work.
TRAFFIC = {"merge-request", "gate", "molecule", "message", "agent", "role", "rig"}
NO_TARGETS: _Targets = (), (), ()
NO_LABELS = frozenset[str]()  # shared: an empty set is as large as one of four


def task_of(record: Record) -> Task:
    """The task that a record stands for. A value of another type than it should have is read for what it is worth.

    Raises ValueError where guessing could start or close something: the id, the status, the edges, a deferral.
    """
    if not isinstance(record["id"], str):
        raise ValueError("its id is not text")
    edges = edges_of(record)
    named = [(type_of(edge), TaskId(_text(edge["depends_on_id"]))) for edge in edges]
    parents, blockers, waits_for = targets(named) if named else NO_TARGETS
    type = _word(record.get("issue_type")) or "task"
    return Task(
        id=TaskId(_word(record["id"])),
        title=_text(record.get("title")),
        created_at=date(record.get("created_at")) or EPOCH,
        updated_at=date(record.get("updated_at")) or EPOCH,
        description=_text(record.get("description")),
        acceptance=_text(record.get("acceptance_criteria")),
        notes=_text(record.get("notes")),
        status=_status(record),
        type=type,
        priority=_priority(record.get("priority")),
        assignee=_word(record.get("assignee")),
        labels=_labels(record),
        defer_until=_deferral(record),
        closed_at=date(record.get("closed_at")),
        close_reason=_text(record.get("close_reason")),
        closed_by_session=_text(record.get("closed_by_session")),
        held_back=type in TRAFFIC or bool(record.get("pinned") or record.get("ephemeral") or record.get("is_template")),
        parents=parents,
        blockers=blockers,
        waits_for=waits_for,
    )


def _text(value: object) -> str:
    """Text that can go anywhere: NUL would end an argument, half a surrogate pair is refused by every file."""
    if value is None:
        return ""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value  # as it is, not a copy: there are as many of these as there is text in the store
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return "" if isinstance(value, (list, dict)) else str(value)


def _word(value: object) -> str:
    """Text that many records share: kept once."""
    return sys.intern(_text(value))


def _status(record: Record) -> str:
    status = record.get("status")
    if status is None or status == "":
        return "open"
    if not isinstance(status, str):
        raise ValueError(f"{record['id']!r}: its status is not text")
    return _word(status)


def _priority(value: object) -> int:
    if type(value) is int and 0 <= value <= 4:
        return value
    if isinstance(value, str) and value.upper().removeprefix("P") in ("0", "1", "2", "3", "4"):
        return int(value[-1])
    return min(max(int(value), 0), 4) if isinstance(value, (int, float)) and not isinstance(value, bool) else 2


def _labels(record: Record) -> frozenset[str]:
    found = record.get("labels")
    if not found:
        return NO_LABELS
    listed = found if isinstance(found, list) else [found]
    return shared(tuple([label for label in listed if isinstance(label, str)]))


@lru_cache(1024)
def shared(labels: tuple[str, ...]) -> frozenset[str]:
    """The one that was made of the same. Many tasks have the same few, and a set is larger than what is in it."""
    return frozenset([word for label in labels if (word := _word(label))]) or NO_LABELS


def date(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is UTC:
            return found
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _deferral(record: Record) -> datetime | None:
    value = record.get("defer_until")
    found = date(value)
    if value and found is None:
        raise ValueError(f"{record['id']!r}: its defer_until is not a date")
    return found


def edges_of(record: Record) -> list[Record]:
    edges = record.get("dependencies")
    if edges is None:
        return []
    if not isinstance(edges, list) or not all(_is_edge(edge) for edge in edges):
        raise ValueError(f"{record['id']!r}: its dependencies are not a list of edges")
    return edges


def targets(edges: Sequence[tuple[str, TaskId]]) -> _Targets:
    """The parents, the blockers, and what is waited for, of the types of edges and what they lead to."""
    return (
        tuple([target for kind, target in edges if kind == "parent-child"]),
        tuple([target for kind, target in edges if kind in BLOCKING]),
        tuple([target for kind, target in edges if kind == "waits-for"]),
    )


def _is_edge(edge: object) -> bool:
    return (
        isinstance(edge, dict)
        and isinstance(edge.get("depends_on_id"), str)
        and (edge.get("type") is None or isinstance(edge["type"], str))
    )


def type_of(edge: Record) -> str:
    return edge.get("type") or "blocks"
