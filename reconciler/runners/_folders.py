"""Run folders: `<root>/<kind>/<subject>/<n>/` with what a run was given, what it recorded and what it printed.

Which there are, and which changed. Locks and processes are not looked at here.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.model.errors import ChangedError
from reconciler.model.names import RunId, RunKind, TaskId, usable_subject
from reconciler.model.observed import RetryPoint, StopWhy
from reconciler.model.ports import RunSpec
from reconciler.model.values import replace
from reconciler.runners import _records as records
from reconciler.runners import supervisor
from reconciler.runners._archive import Archive
from reconciler.runners._archive_rows import Files
from reconciler.runners._records import Record, StartRecord, read_json, read_plain

LOOK_S = 60.0
SETTLES_NS = 1_000_000_000
GIVEN_UP, _CLAIM = "given-up.json", "claim.json"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_Stamp = tuple[int, int, int] | None
Subject = tuple[RunKind, str]


class SubjectFolder(Struct, frozen=True):
    """The runs of one subject, oldest first, as its folder was listed at the date `changed` (0: that is not known)."""

    kind: RunKind
    name: str
    runs: tuple[RunId, ...]
    since: bool
    changed: int


class Folders(Struct):
    """The run folders of one repository."""

    root: Path
    archive: Archive | None = None  # where runs go once they are over for good
    _subjects: Mapping[Subject, SubjectFolder] = field(default_factory=dict)
    _stamps: dict[RunKind, _Stamp] = field(default_factory=dict)  # of what says that something changed, as last seen
    _looked_at: float = -LOOK_S - 1  # when each subject's folder was looked at last
    _ours: set[Subject] = field(default_factory=set)  # those that we wrote into since the last look
    _starts: dict[RunId, StartRecord] = field(default_factory=dict)
    _records: dict[RunId, tuple[int, Record]] = field(default_factory=dict)  # of what may live, with its date

    def folder(self, run: RunId) -> Path:
        """Where everything about a run is."""
        return self.root / run.kind / run.subject / str(run.n)

    def run_of(self, folder: str) -> RunId | None:
        """The run whose folder this is; None for any other path."""
        try:
            return RunId.parse(str(Path(folder).relative_to(self.root)))
        except ValueError:
            return None

    def subjects(self, moving: Collection[Subject] | None = None) -> Mapping[Subject, SubjectFolder]:
        """Every subject that has a folder; the same mapping while nothing changed.

        `moving`: those in which something may change at any time (None: all). The others are over: they are looked at
        again where we ourselves wrote into one, and once a minute, for what others do there. What is new is seen at once.
        """
        now, known = time.monotonic(), self._subjects
        stamps = {kind: self._stamp(kind) for kind in RunKind}
        moved = {kind for kind, stamp in stamps.items() if stamp is None or stamp != self._stamps.get(kind)}
        whole = moving is None or now - self._looked_at > LOOK_S
        ours: set[Subject] = set()
        with suppress(KeyError):
            while True:  # one by one: what another thread says from now on is for the next look
                ours.add(self._ours.pop())
        asked = set(known) if whole else {*(moving or ()), *ours}
        try:
            for kind in (kind for kind in RunKind if whole or kind in moved):
                there = {(kind, name) for name in _listed(self.root / kind)}
                asked |= there.difference(known) | {key for key in known if key[0] is kind and key not in there}
            found = {key: self.subject(key) for key in asked}
        except OSError:
            self._ours.update(ours)
            raise
        if any(subject != known.get(key) for key, subject in found.items()):
            self._subjects = {key: subject for key, subject in {**known, **found}.items() if subject}
        # Only now: had anything of it gone wrong, the next look would have to see it.
        self._stamps, self._looked_at = stamps, now if whole else self._looked_at
        return self._subjects

    def adopt(self, subjects: Mapping[Subject, SubjectFolder]) -> Mapping[Subject, SubjectFolder]:
        """Go on from what was known of these folders before; before the first look."""
        self._subjects = subjects
        return subjects

    def _stamp(self, name: str) -> _Stamp:
        """What changes with a file or folder below; None where it changed a moment ago, and another change may look alike."""
        found = _lstat(f"{self.root}/{name}")
        if found is None:
            return 0, 0, 0
        young = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) <= SETTLES_NS
        return None if young else (found.st_ino, found.st_mtime_ns, found.st_ctime_ns)

    def newest(self, kind: RunKind, subject: str) -> int:
        """The number of the newest run of a subject, looked up now; 0 where there is none."""
        newest = max(_numbers(_listed(self.root / kind / subject)), default=0)
        # After it: what went from there to the archive in between is found here.
        return max(newest, self.archive.newest(kind, subject) if self.archive else 0)

    def record(self, run: RunId) -> Record:
        """What is written about a run at this moment."""
        # Plain strings: this is read for every live run at every look, and a Path costs more than the file.
        folder = f"{self.root}/{run.kind}/{run.subject}/{run.n}"
        changed = _settled(folder)
        known = self._records.pop(run, None)
        if known and known[0] == changed:
            record = known[1]
        else:
            record = self._record(run, self._start_record(run), lambda name: read_json(f"{folder}/{name}"))
            archive = None if os.path.isdir(folder) else self.archive
            if archive and (kept := archive.files(run.kind, run.subject, run.n)):
                return self._of_archive(run, kept)
        if changed is not None and record.exit is None:
            self._records[run] = changed, record
        return replace(record, last_progress_at=_changed(f"{folder}/log"))

    def content(self, run: RunId, name: str, most: int, *, from_end: bool = False) -> bytes:
        """At most `most` bytes of a file of a run; empty where there is none. Raises OSError."""
        folder = f"{self.root}/{run.kind}/{run.subject}/{run.n}"
        found = read_plain(f"{folder}/{name}", most, from_end=from_end)
        if found or not self.archive or os.path.isdir(folder):
            return found
        kept = self.archive.file(run, name)
        return b"" if kept is None else kept.content[-most:] if from_end else kept.content[:most]

    def _of_archive(self, run: RunId, kept: Files) -> Record:
        def read(name: str) -> Mapping[str, Any]:
            return records.as_object(kept[name].content) if name in kept else {}

        log = kept.get("log")
        record = self._record(run, records.start_of(run, read("spec.json")), read)
        return replace(record, last_progress_at=_date(log.modified_ns) if log else None)

    def _record(self, run: RunId, start: StartRecord, read: Callable[[str], Mapping[str, Any]]) -> Record:
        began, ending, stop = read("run.json"), read("exit.json"), read("stop.json")
        given_up = {} if start.at.local else read(GIVEN_UP)
        return Record(
            id=run,
            start=start,
            started_at=records.moment(began.get("started_at")),
            pid=records.number(began.get("pid")),
            boot_id=str(began.get("boot_id", "")),
            set_up=began.get("set_up") is True,
            exit=records.exit_of(ending),
            answer=str(ending.get("answer") or ""),
            printed=frozenset(map(str, printed)) if isinstance(printed := ending.get("printed"), list) else frozenset(),
            stop=records.word(StopWhy, stop.get("why")),
            stopped_at=records.moment(stop.get("at")),
            node="" if start.at.local else str(began.get("node", "")),
            given_up=str(given_up.get("why", "")),
            says=None if start.at.local else records.says_of(read("says.json")),
        )

    def forget(self, runs: Iterable[RunId]) -> None:
        """These went to the archive."""
        for run in runs:
            self._starts.pop(run, None)
            self._records.pop(run, None)

    def reserve(self, spec: RunSpec, temporary: str = "") -> Path:
        """Make the folder of a new run, with all that its supervising process needs. Raises ChangedError.

        `temporary`: where it is to have a folder for what is temporary. A number is used once: one that is not above all others
        was chosen on an old picture of the world.
        """
        folder = self.folder(spec.id)
        if self.newest(spec.id.kind, spec.id.subject) >= spec.id.n:
            raise ChangedError(f"{spec.id}: a run of that number, or a later one, exists already")
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
            self._ours.add((spec.id.kind, spec.id.subject))  # after it: a look in between has not seen the folder
        except FileExistsError as error:
            raise ChangedError(f"{spec.id}: a run of that number exists already") from error
        if spec.prompt:
            fd = os.open(folder / "prompt", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8", errors="replace") as file:
                file.write(spec.prompt)
        supervisor.write_json(str(folder / "spec.json"), records.of_spec(spec, temporary))
        return folder

    def write_stop(self, run: RunId, why: StopWhy) -> None:
        """Say why a run is stopped, before it is: so the ending is known from a failure."""
        stop = {"why": str(why), "at": datetime.now(UTC).isoformat()}
        supervisor.write_json(str(self.folder(run) / "stop.json"), stop)

    def claim(self, run: RunId) -> Mapping[str, Any]:
        """What was reserved for a run elsewhere, and whether it was."""
        return read_json(str(self.folder(run) / _CLAIM))

    def write_claim(self, run: RunId, claim: Mapping[str, Any]) -> None:
        """Note it."""
        supervisor.write_json(str(self.folder(run) / _CLAIM), claim)

    def since(self, task: str) -> RetryPoint | None:
        """From where runs and landings of a task count; None: from the first."""
        return records.retry_point(read_json(str(self._since(task))))

    def write_since(self, task: TaskId, since: RetryPoint) -> None:
        """Count runs and landings of a task from here on."""
        path = self._since(task)
        for last in (False, True):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                supervisor.write_json(str(path), {"n": since.n, "base": since.base, "at": since.at.isoformat()})
                break
            except FileNotFoundError:  # its folder went to the archive in between
                if last:
                    raise
        self._ours.add((RunKind.WORK, task))
        supervisor.wake(str(self.root))

    def _since(self, task: str) -> Path:
        return self.root / RunKind.WORK / task / "since.json"

    def subject(self, key: Subject) -> SubjectFolder | None:
        """One subject as its folder is now; None where there is none."""
        (kind, name), seen = key, self._subjects.get(key)
        path = f"{self.root}/{kind}/{name}"
        changed = _lstat(path)
        if changed is None or not stat.S_ISDIR(changed.st_mode) or not (seen or usable_subject(name)):
            return None
        if seen and seen.changed == changed.st_mtime_ns:
            return seen
        try:
            names = os.listdir(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        # Two changes within one tick of the file system's clock leave the same date.
        reliable = time.time_ns() - changed.st_mtime_ns > SETTLES_NS
        return SubjectFolder(
            kind=kind,
            name=name,
            runs=tuple(RunId(kind, name, n) for n in _numbers(names)),
            since="since.json" in names,
            changed=changed.st_mtime_ns if reliable else 0,
        )

    def _start_record(self, run: RunId) -> StartRecord:
        found = self._starts.get(run)
        if found is None:
            spec = read_json(str(self.folder(run) / "spec.json"))
            found = records.start_of(run, spec)
            if spec:
                self._starts[run] = found
        return found


def _numbers(names: Iterable[str]) -> list[int]:
    return sorted(int(name) for name in names if _NUMBER.fullmatch(name))


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _settled(folder: str) -> int | None:
    """The date of a folder; None where it is so young that another change could leave the same one."""
    found = _lstat(folder)
    return found.st_mtime_ns if found and time.time_ns() - found.st_mtime_ns > SETTLES_NS else None


def _date(ns: int) -> datetime:
    # As os.stat computes st_mtime: what an earlier version wrote down is compared with it.
    return datetime.fromtimestamp(ns // 10**9 + 1e-9 * (ns % 10**9), UTC)


def _changed(path: str) -> datetime | None:
    found = _lstat(path)
    return _date(found.st_mtime_ns) if found else None
