"""What `bd` printed, as records: every shape that its versions have for the same answer. Pure.

Only what it prints on standard output is an answer. Standard error holds complaints, hints and noise side by side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.model.errors import PermanentError
from reconciler.model.names import TaskId
from reconciler.model.observed import Task
from reconciler.model.values import replace
from reconciler.trackers._records import Record, task_of

_WRAPPERS = ("data", "items", "issues", "closed")
_NOISE = re.compile(r"\A(warning|hint|note|tip)\b|\A[^\w\s{\"'(-]", re.IGNORECASE)
# A connection string: what stands before the @ is nobody's business.
_LOGIN = re.compile(r"[^\s/@:'\"]+:[^\s/@'\"]+@")
_MOST = 300


class Unreadable(Exception):
    """Standard output holds no answer."""


def answer(out: bytes) -> Any:
    """The JSON value that a command printed, without what some versions wrap it in.

    Raises Unreadable where there is none: nothing at all, a tree drawn for people, half an answer.

    >>> answer(b'{"schema_version": 1, "data": [{"id": "x-1"}]}'), answer(b"null")
    ([{'id': 'x-1'}], None)
    """
    text = out.decode("utf-8", "replace").lstrip("\ufeff").strip()
    start = 0 if text.startswith(("[", "{", "null")) else _first_line_of_json(text)
    try:
        value, _ = _JSON.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise Unreadable(_shortened(text) if text else "nothing") from error
    while isinstance(value, dict) and "id" not in value and (key := next((k for k in _WRAPPERS if k in value), None)):
        value = value[key]
    return value


def records(out: bytes) -> list[Record]:
    """The tasks that `list`, `update` or `close` printed. Raises Unreadable."""
    value = answer(out)
    if value is None:
        return []  # how early versions print an empty list
    if isinstance(value, dict):
        if "id" not in value:
            raise Unreadable(_shortened(json.dumps(value)))
        return [value]
    if not isinstance(value, list):
        raise Unreadable(_shortened(json.dumps(value)))
    return [record for record in value if isinstance(record, dict) and _is_a_task(record)]


def exported(out: bytes) -> list[Record]:
    """The tasks that `export` printed, one a line. Raises Unreadable for a line that is not JSON."""
    found = []
    for line in out.decode("utf-8", "replace").splitlines():
        if line.strip():
            try:
                record = _JSON.decode(line)
            except (ValueError, RecursionError) as error:
                raise Unreadable(_shortened(line)) from error
            if isinstance(record, dict) and _is_a_task(record):
                found.append(record)
    return found


def graph_of(found: Iterable[Record]) -> dict[TaskId, Task]:
    """The tasks that records stand for, by id. Raises PermanentError for one that can't be read."""
    tasks = {}
    for record in found:
        try:
            task = task_of(record)
        except ValueError as error:
            raise PermanentError(
                f"bd has a task that can't be read: {error}", hint="until it is fixed no task is known"
            ) from error
        # Some tell the edges in another order each time, and nothing has changed by that.
        tasks[task.id] = replace(
            task,
            parents=tuple(sorted(task.parents)),
            blockers=tuple(sorted(task.blockers)),
            waits_for=tuple(sorted(task.waits_for)),
        )
    return tasks


def complaint(code: int, out: bytes, err: bytes) -> str:
    """Why a command failed, in its own words; empty where it says nothing of that.

    >>> complaint(1, b'{"error": "no issue found"}', b"warning: slow"), complaint(0, b"[]", b"hint: more")
    ('no issue found', '')
    """
    try:
        data = answer(out)
    except Unreadable:
        data = None
    if isinstance(data, dict) and data.get("error"):
        return _shortened(str(data["error"]))
    if code == 0 and isinstance(data, (dict, list)):
        return ""
    return next(_complaints(err), "" if code == 0 else f"exit status {code}")


def _complaints(err: bytes) -> Iterator[str]:
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines()]
    for line in lines:
        if line.startswith("{"):
            try:
                yield _shortened(str(json.loads(line)["error"]))
            except (ValueError, KeyError, TypeError):
                pass  # not the object in which later versions put it
    words = [line for line in lines if line and not _NOISE.search(line)]
    yield from (_shortened(line) for line in sorted(words, key=lambda line: not line.startswith("Error")))


def _first_line_of_json(text: str) -> int:
    found = re.search(r"^[\[{]", text, re.MULTILINE)
    return found.start() if found else 0


def _is_a_task(record: Record) -> bool:
    return "_schema" not in record and record.get("_type") in (None, "issue") and record.get("id") not in (None, "")


def _shortened(text: str) -> str:
    line = _LOGIN.sub("***@", text.strip().partition("\n")[0])
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)
