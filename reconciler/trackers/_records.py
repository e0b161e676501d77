"""A record of `issues.jsonl` and the task that it stands for: how one is read, made and changed.

A change touches the keys that it is about and leaves everything else as it was, in its order: other programs keep things
there that mean nothing to us. Records are values; a changed one is a new one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reconciler.model.desired import EPOCH
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import TaskId, usable
from reconciler.model.observed import Task
from reconciler.model.ports import Change, NewTask

Record = dict[str, Any]
_Targets = tuple[tuple[TaskId, ...], tuple[TaskId, ...], tuple[TaskId, ...]]

STATUSES = ("open", "in_progress", "blocked", "deferred", "closed")
BLOCKING = ("blocks", "conditional-blocks")
TITLE_MAX = 500  # every Beads refuses longer ones
WRITER = "reconcile"
# Messages, gates and the like are traffic between programs; Beads never offers them as work.
TRAFFIC = {"merge-request", "gate", "molecule", "message", "agent", "role", "rig"}
NO_TARGETS: _Targets = (), (), ()
NO_LABELS = frozenset[str]()  # shared: an empty set is as large as one of four
# The order in which Beads writes the keys: a new one goes where it would stand.
_ORDER = (
    *("id", "title", "description", "design", "acceptance_criteria", "notes", "spec_id", "status", "priority"),
    *("issue_type", "assignee", "owner", "estimated_minutes", "created_at", "created_by", "updated_at", "started_at"),
    *("closed_at", "close_reason", "closed_by_session", "due_at", "defer_until", "external_ref", "source_system"),
    *("metadata", "labels", "dependencies", "comments"),
)


# --- reading -------------------------------------------------------------------------------------------------


def task_of(record: Record) -> Task:
    """The task that a record stands for. A value of another type than it should have is read for what it is worth.

    Raises ValueError where guessing could start or close something: the id, the status, the edges, a deferral.
    """
    if not isinstance(record["id"], str):
        raise ValueError("its id is not text")
    edges = _edges(record)
    named = [(_type_of(edge), TaskId(_text(edge["depends_on_id"]))) for edge in edges]
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


def _edges(record: Record) -> list[Record]:
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


def _type_of(edge: Record) -> str:
    return edge.get("type") or "blocks"


# --- writing -------------------------------------------------------------------------------------------------


def made(task: TaskId, new: NewTask, now: datetime) -> Record:
    """The record of a new task. Raises PermanentError for what other programs would not read."""
    if not usable(task):
        raise PermanentError(f"{task!r} can't be the id of a task", hint="use letters, digits, '-', '_' and '.'")
    at = _stamp(now)
    record: Record = {
        "id": task,
        "title": new.title,
        "description": new.description,
        "acceptance_criteria": new.acceptance,
        "status": "open",
        "priority": new.priority,
        "issue_type": new.type,
        "created_at": at,
        "created_by": WRITER,
        "updated_at": at,
        "labels": sorted(new.labels - {""}),
        "dependencies": [_edge(task, new.parent, "parent-child", now)] if new.parent else [],
    }
    _check(task, new.title, new.priority)
    record["dependencies"] = _rewired(record, Change(task=task, add_blockers=frozenset(new.blockers)), now)
    return {key: value for key, value in record.items() if not _empty(value)}


def changed(record: Record, change: Change, now: datetime) -> Record:
    """A record after a change: the very same one when the change changes nothing.

    Raises ChangedError when it is not as the change expects it, PermanentError for what can't be written.
    """
    task = task_of(record)
    _expect(task, change)
    after = record
    for key, value in _values(record, task, change, now):
        after = _with(after, key, value)
    if after is record:
        return record
    if task.status == "tombstone":
        raise PermanentError(f"{task.id} was deleted", hint="make a new task")
    _check(task.id, change.title or None, change.priority)
    return _with(after, "updated_at", _stamp(now))


def _expect(task: Task, change: Change) -> None:
    if change.expect_status is not None and task.status not in change.expect_status:
        raise ChangedError(f"{task.id} is {task.status} now")
    if change.expect_assignee is not None and task.assignee not in change.expect_assignee:
        raise ChangedError(f"{task.id} is assigned to {task.assignee or 'nobody'} now")


def _values(record: Record, task: Task, change: Change, now: datetime) -> Iterator[tuple[str, object]]:
    """The keys that a change is about, each with the value that it is to have."""
    wanted = {
        "title": change.title or None,
        "description": change.description,
        "acceptance_criteria": change.acceptance,
        "priority": change.priority,
        "assignee": change.assignee,
    }
    yield from ((key, value) for key, value in wanted.items() if value is not None)
    if not _ends_with(task.notes, change.note):
        yield "notes", f"{task.notes.rstrip()}\n{change.note.strip()}".lstrip("\n")
    if change.status:
        yield from _at_status(record, task, change, now)
    labels = (task.labels - change.remove_labels) | (change.add_labels - {""})
    if labels != task.labels:
        yield "labels", sorted(labels)
    if change.add_blockers or change.remove_blockers:
        yield "dependencies", _rewired(record, change, now)


def _at_status(record: Record, task: Task, change: Change, now: datetime) -> Iterator[tuple[str, object]]:
    """The status, and what is set exactly while a task is closed: Beads refuses a line with one and not the other."""
    if change.status not in (*STATUSES, task.status):
        raise PermanentError(f"{task.id}: unknown status {change.status!r}", hint=f"known: {', '.join(STATUSES)}")
    yield "status", change.status
    if change.status != "closed":
        yield from ((key, None) for key in ("closed_at", "close_reason", "closed_by_session"))
        return
    was = record if task.closed else {}
    yield "closed_at", was.get("closed_at") or _stamp(now)
    yield "close_reason", change.close_reason or was.get("close_reason")
    yield "closed_by_session", change.closed_by_session or was.get("closed_by_session")


def _ends_with(notes: str, note: str) -> bool:
    return not note.strip() or f"\n{notes.rstrip()}".endswith(f"\n{note.strip()}")


def _rewired(record: Record, change: Change, now: datetime) -> list[Record]:
    """The edges after a change. No second one is added to the same task: some generations of Beads keep only one."""
    gone = change.remove_blockers
    edges = [e for e in _edges(record) if not (_type_of(e) in BLOCKING and e["depends_on_id"] in gone)]
    places = {edge["depends_on_id"]: n for n, edge in enumerate(edges)}
    for target in sorted(change.add_blockers - gone):
        there = edges[places[target]] if target in places else None
        if target == change.task or (there and _type_of(there) in ("parent-child", "waits-for")):
            what = f"has a {_type_of(there)} edge to {target}" if there else "would wait for itself"
            raise PermanentError(f"{change.task} can't wait for {target}: it {what}", hint="take that edge away first")
        if there is None:
            edges.append(_edge(change.task, target, "blocks", now))
        elif _type_of(there) not in BLOCKING:
            edges[places[target]] = {**there, "type": "blocks"}
    return edges


def _edge(task: TaskId, target: TaskId, type: str, now: datetime) -> Record:
    return {
        "issue_id": task,
        "depends_on_id": target,
        "type": type,
        "created_at": _stamp(now),
        "created_by": WRITER,
    }


def _check(task: TaskId, title: str | None, priority: int | None) -> None:
    if title is not None and not 1 <= len(title) <= TITLE_MAX:
        raise PermanentError(f"{task}: its title has {len(title)} characters", hint=f"use 1 to {TITLE_MAX}")
    if priority is not None and not 0 <= priority <= 4:
        raise PermanentError(f"{task}: {priority} is no priority", hint="use 0 (first) to 4")


def _with(record: Record, key: str, value: object) -> Record:
    """A record with one key set, or left out where there is nothing to say; the same one where that changes nothing."""
    if record.get(key) == value or (_empty(value) and _empty(record.get(key))):
        return record
    if _empty(value):
        return {name: kept for name, kept in record.items() if name != key}
    if key in record:
        return {**record, key: value}
    later = _ORDER[_ORDER.index(key) + 1 :]
    at = next((n for n, name in enumerate(record) if name in later), len(record))
    items = list(record.items())
    return dict([*items[:at], (key, value), *items[at:]])


def _empty(value: object) -> bool:
    return value is None or value == "" or value == []


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
