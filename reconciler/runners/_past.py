"""What is over, in one file: a process that starts takes finished runs from it, and reads none of their records.

It may be lost, damaged, or old: what it lacks is read where it stands. A subject is taken from it only while its folder and
those of its runs are the ones that were read (the same inodes, and dates that nobody can set back): who adds, removes or
replaces a record changes them. What is written down was read between two looks at these folders. Who writes into a record
that is there is not noticed, as by a process that runs: nobody of us does so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

import msgspec
from msgspec import Struct

from reconciler.model.names import RunKind, usable_subject
from reconciler.model.observed import Exit, Run, Says
from reconciler.model.report import Report
from reconciler.model.verdicts import LineComment, ReviewVerdict
from reconciler.runners._folders import Subject
from reconciler.system import derived

VERSION = 1
FEWEST = 32  # subjects that are over and not written down, before they are
MOST = 1000  # that are written down at once
SETTLES_NS = 1_000_000_000
# A program whose values have other fields reads for itself.
_FORM = f"{VERSION} {' '.join(name for kind in (Run, Exit, Says, Report, ReviewVerdict, LineComment) for name in kind.__struct_fields__)}"


class Stamp(Struct, frozen=True, array_like=True):
    """What changes with a folder. `changed_ns` is the kernel's own: it does not follow who sets a date back."""

    inode: int
    modified_ns: int
    changed_ns: int


class PastSubject(Struct, frozen=True, array_like=True):
    """A subject of which every run is over, oldest first, and the stamps of its folder and theirs as they were read."""

    kind: RunKind
    name: str
    since: bool
    runs: tuple[Run, ...]
    stamps: tuple[Stamp, ...]

    @property
    def key(self) -> Subject:
        return self.kind, self.name

    def stands(self, root: str) -> bool:
        """Whether it is a record of what is there now: its folders are the ones that were read."""
        ids = [(run.id.kind, run.id.subject) for run in self.runs if not run.alive]
        if not usable_subject(self.name) or ids != [self.key] * len(self.runs):
            return False
        paths = folders(root, self.kind, self.name, self.runs)
        return len(paths) == len(self.stamps) and all(
            _stamp(path) == stamp for path, stamp in zip(paths, self.stamps, strict=True)
        )


class Past:
    """The file of the run folders in `root`. For one thread at a time; others may write it too."""

    def __init__(self, root: str) -> None:
        self._root, self._path = root, f"{root}/past.jsonl"
        self._kept: dict[Subject, PastSubject] = {}
        self._fresh: dict[Subject, None] = {}  # what is over and not written down, in the order of becoming so
        self._rows = 0  # of the file as it was read or written

    def load(self) -> Iterable[PastSubject]:
        """What is written down and still stands."""
        rows = _read(self._path)
        self._rows = len(rows)
        self._kept = {each.key: each for each in rows if each.stands(self._root)}
        return self._kept.values()

    def note(self, *, over: Iterable[Subject], moving: Collection[Subject]) -> None:
        """These subjects were counted, and are over; those are not."""
        self._fresh |= dict.fromkeys(over)
        for key in self._fresh.keys() & moving:
            del self._fresh[key]

    def forget(self, gone: Iterable[Subject]) -> None:
        """These subjects are no longer here."""
        for key in gone:
            self._kept.pop(key, None)
            self._fresh.pop(key, None)

    def write(self, again: Callable[[Subject], PastSubject | None]) -> None:
        """Write down what is over, once that is worth it. `again` reads a subject; None where that says something else.

        What went to the archive is left out, once it is most of the file: who begins later would read it, and look for it.
        """
        many, left = len(self._fresh) >= max(FEWEST, len(self._kept) // 16), self._rows - len(self._kept)
        if not many and left < FEWEST + len(self._kept):
            return
        ripe = [key for key in list(self._fresh)[:MOST] if settled(f"{self._root}/{key[0]}/{key[1]}")] if many else []
        for key in ripe:
            del self._fresh[key]
        with suppress(OSError):
            read = {key: each for key in ripe if (each := again(key)) and _is_read_back(each)}
            if not read and many:
                return
            self._kept |= read
            self._rows = len(self._kept)
            body = b"".join(msgspec.json.encode(each) + b"\n" for each in self._kept.values())
            derived.write(self._path, _FORM, body)


def folders(root: str, kind: RunKind, name: str, runs: Iterable[Run]) -> list[str]:
    """The folder of a subject, and those of these runs of it."""
    return [f"{root}/{kind}/{name}", *(f"{root}/{kind}/{name}/{run.id.n}" for run in runs)]


def settled(folder: str) -> Stamp | None:
    """The stamp of a folder; None where there is none, or it is so young that another change could leave the same one."""
    found = _stamp(folder)
    return found if found and time.time_ns() - max(found.modified_ns, found.changed_ns) > SETTLES_NS else None


def _stamp(folder: str) -> Stamp | None:
    try:
        found = os.lstat(folder)
    except OSError:
        return None
    return Stamp(found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


def _read(path: str) -> list[PastSubject]:
    try:
        return msgspec.json.Decoder(PastSubject).decode_lines(derived.read(path, _FORM) or b"")
    except msgspec.DecodeError:
        return []


def _is_read_back(each: PastSubject) -> bool:
    try:
        return msgspec.json.decode(msgspec.json.encode(each), type=PastSubject) == each
    except (ValueError, OverflowError):
        return False
