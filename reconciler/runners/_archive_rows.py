"""What a row of the archive holds: a run as it was read from its files, and those files, packed."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct

from reconciler.model.names import TaskId
from reconciler.model.observed import Exit, Run
from reconciler.model.report import Report
from reconciler.model.verdicts import LineComment, ReviewVerdict

# Of another form is what a program wrote whose values have other fields.
FORM = (
    f"1 {' '.join(name for kind in (Run, Exit, Report, ReviewVerdict, LineComment) for name in kind.__struct_fields__)}"
)
_READY = next(each.default for each in msgspec.structs.fields(Run) if each.name == "why")
_FIELDS = [(each.name, each.default) for each in msgspec.structs.fields(Run)]
_RUN, _set = msgspec.json.Decoder(Run), msgspec.structs.force_setattr


class Kept(Struct, frozen=True):
    """A file as it stood in a folder."""

    content: bytes
    modified_ns: int


Files = Mapping[str, Kept]


def encoded(run: Run) -> bytes:
    # Without what is as by default: what is read back shares that with all others.
    return msgspec.json.encode({n: value for n, default in _FIELDS if (value := getattr(run, n)) != default})


def decoded(value: bytes) -> Run | None:
    """What a program of this version wrote; None for what it did not."""
    try:
        run = _RUN.decode(value)
    except msgspec.DecodeError:
        return None
    # Thousands of them stay in memory: what others say too is there once.
    task = TaskId(sys.intern(run.task))
    if run.id.subject == task:
        _set(run.id, "subject", task)
    _set(run, "task", task)
    _set(run, "manifest", sys.intern(run.manifest))
    if run.why is not _READY:
        _set(run, "why", sys.intern(run.why))
    return run


def packed_files(files: Files) -> Iterator[tuple[bytes, int, bytes]]:
    for name, kept in files.items():
        yield os.fsencode(name), kept.modified_ns, zlib.compress(kept.content, 1)
