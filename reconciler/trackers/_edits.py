"""A record of `issues.jsonl` as it is made, and as a change leaves it.

A change touches the keys that it is about and leaves everything else as it was, in its order: other programs keep things
there that mean nothing to us. Records are values; a changed one is a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import TaskId, usable
from reconciler.model.observed import Task
from reconciler.model.ports import Change, NewTask
from reconciler.trackers._records import BLOCKING, Record, edges_of, task_of, type_of

STATUSES = ("open", "in_progress", "blocked", "deferred", "closed")
TITLE_MAX = 500  # every Beads refuses longer ones
WRITER = "reconcile"
# The order in which Beads writes the keys: a new one goes where it would stand.
_ORDER = (
    *("id", "title", "description", "design", "acceptance_criteria", "notes", "spec_id", "status", "priority"),
    *("issue_type", "assignee", "owner", "estimated_minutes", "created_at", "created_by", "updated_at", "started_at"),
    *("closed_at", "close_reason", "closed_by_session", "due_at", "defer_until", "external_ref", "source_system"),
    *("metadata", "labels", "dependencies", "comments"),
)


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
    edges = [e for e in edges_of(record) if not (type_of(e) in BLOCKING and e["depends_on_id"] in gone)]
    places = {edge["depends_on_id"]: n for n, edge in enumerate(edges)}
    for target in sorted(change.add_blockers - gone):
        there = edges[places[target]] if target in places else None
        if target == change.task or (there and type_of(there) in ("parent-child", "waits-for")):
            what = f"has a {type_of(there)} edge to {target}" if there else "would wait for itself"
            raise PermanentError(f"{change.task} can't wait for {target}: it {what}", hint="take that edge away first")
        if there is None:
            edges.append(_edge(change.task, target, "blocks", now))
        elif type_of(there) not in BLOCKING:
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
