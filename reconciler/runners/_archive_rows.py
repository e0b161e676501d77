"""What a row of the archive holds: a run as it was read from its files, and those files, packed."""

from __future__ import annotations

import hashlib
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

_NAMES = " ".join(n for kind in (Run, Exit, Report, ReviewVerdict, LineComment) for n in kind.__struct_fields__)
# Of another form is what a program wrote whose values have other fields. It stands in every row: short, it is read sooner.
FORM = hashlib.sha256(f"2 {_NAMES}".encode()).hexdigest()[:16]
_READY = next(each.default for each in msgspec.structs.fields(Run) if each.name == "why")
_FIELDS = {kind: [(each.name, each.default) for each in msgspec.structs.fields(kind)] for kind in (Run, Exit)}
_RUN, _set = msgspec.json.Decoder(Run), msgspec.structs.force_setattr


class Kept(Struct, frozen=True):
    """A file as it stood in a folder."""

    content: bytes
    modified_ns: int


Files = Mapping[str, Kept]


def encoded(run: Run) -> bytes:
    # Without what is as by default: what is read back shares that with all others.
    return msgspec.json.encode({**_differing(run), **({"exit": _differing(run.exit)} if run.exit else {})})


def _differing(value: Run | Exit) -> dict[str, object]:
    return {name: held for name, default in _FIELDS[type(value)] if (held := getattr(value, name)) != default}


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
