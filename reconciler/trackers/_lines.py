"""The lines of `issues.jsonl`: each a record, or something foreign that is kept as it is. No file is touched here.

What is read was written by other programs, merged by git or edited by hand. A line that could lose something when it is
written again is refused as a whole, with the whole file: its tasks are not known, which is not the same as absent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.model.errors import PermanentError
from reconciler.model.observed import Task
from reconciler.trackers._plain_rows import plain_task
from reconciler.trackers._records import Record, task_of

_CONFLICT = re.compile(rb"(<{7}|\|{7}|={7}|>{7})([ \r]|\Z)")
_MOST_DEEP = 100


class Line(Struct, frozen=True, gc=False):
    """A line without its end. One without a task is foreign: a header, a memory, a record without an id."""

    raw: bytes
    task: Task | None = None

    @property
    def record(self) -> Record:
        """What it holds, read again each time: kept for every line, it would take as much memory as all the rest."""
        record = _decoded(self.raw)
        assert isinstance(record, dict)  # `parse` and `line_of` refuse what is none
        return record


def parse(data: bytes, path: str, before: Sequence[Line] = ()) -> tuple[Line, ...]:
    """The lines of a file, without empty ones. Those that stood there `before` are not read again.

    Raises PermanentError, naming `path` and line, for what can't be read.
    """
    # Of thousands of lines nearly all stand where they stood, counted from one of the ends: compared in their place.
    head, begin = _from_the_front(data, before)
    tail, end = _from_the_back(data, before[head:], begin)
    known = {line.raw: line for line in before[head : len(before) - tail]}
    lines = [*before[:head]]
    for number, raw in enumerate(data[begin:end].split(b"\n"), head + 1):
        try:
            if raw.strip():
                lines.append(known.get(raw) or _read(raw))
        except ValueError as error:
            raise PermanentError(
                f"{path}:{number}: {error}",
                hint="fix that line; until then no task is known and nothing is written there",
            ) from error
    return (*lines, *before[len(before) - tail :])


def _from_the_front(data: bytes, before: Sequence[Line]) -> tuple[int, int]:
    """With how many of these lines it begins, and where they end."""
    at = 0
    for n, line in enumerate(before):
        end = at + len(line.raw)
        if data[end : end + 1] != b"\n" or not data.startswith(line.raw, at):
            return n, at
        at = end + 1
    return len(before), at


def _from_the_back(data: bytes, before: Sequence[Line], begin: int) -> tuple[int, int]:
    """With how many of these lines it ends, none of which begins before `begin`, and where they begin."""
    at = len(data)
    for n, line in enumerate(reversed(before)):
        start = at - 1 - len(line.raw)
        whole = start == begin or (start > begin and data[start - 1 : start] == b"\n")
        if not whole or data[at - 1 : at] != b"\n" or not data.startswith(line.raw, start):
            return n, at
        at = start
    return len(before), at


def placed(lines: Iterable[Line]) -> tuple[Line, ...]:
    """These lines in the order of a file: foreign ones first, as they came, then the records by id."""
    return tuple(sorted(lines, key=lambda line: (line.task is not None, line.task.id if line.task else "")))


def joined(lines: Iterable[Line]) -> bytes:
    """The content of a file with these lines."""
    return b"".join(line.raw + b"\n" for line in lines)


def line_of(record: Record) -> Line:
    """The line of a record, read back from what will be written."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half of a surrogate pair is no UTF-8; what `backslashreplace` makes of it is how JSON writes it.
    return _read(text.encode("utf-8", "backslashreplace"))


def _read(raw: bytes) -> Line:
    if task := plain_task(raw):
        return Line(raw, task)
    if _CONFLICT.match(raw):
        raise ValueError("a conflict that git left for you to settle")
    record = _decoded(raw)
    if not isinstance(record, dict):
        raise ValueError(f"a record is an object, not {raw[:40].decode('utf-8', 'replace')}")
    foreign = "_schema" in record or record.get("_type") not in (None, "issue") or record.get("id") in (None, "")
    return Line(raw) if foreign else Line(raw, task_of(record))


def _decoded(raw: bytes) -> object:
    try:
        # It takes nothing that the careful one refuses but for keys that stand twice: what comes out again as it went in has none.
        quick = _QUICK.decode(raw)
        if _ENCODER.encode(quick) == raw and raw.count(b"[") + raw.count(b"{") <= _MOST_DEEP:
            return quick
    except (ValueError, TypeError, RecursionError):
        pass
    return _read_with_care(raw)


def _read_with_care(raw: bytes) -> object:
    try:
        value = _JSON.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 from byte {error.start + 1} on") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    # How deep the decoder gets depends on who called; what one program reads another must be able to write.
    if raw.count(b"[") + raw.count(b"{") > _MOST_DEEP and _depth(value) > _MOST_DEEP:
        raise ValueError("it is nested too deeply")
    return value


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner for v in level for inner in (v.values() if isinstance(v, dict) else v if isinstance(v, list) else ())
        ]
    return depth


def _object(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"two values for {next(key for key in record if keys.count(key) > 1)!r}")
    return record


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_QUICK, _ENCODER = msgspec.json.Decoder(), msgspec.json.Encoder()
_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse, parse_float=_float)
