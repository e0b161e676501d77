"""The count of all runs, alive or not, cheap to repeat: what is over never changes and is not looked at again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run, RunState
from reconciler.runners import _processes as processes
from reconciler.runners import supervisor
from reconciler.runners._folders import Folders, Record, SubjectFolder
from reconciler.runners._locks import Held, Locks
from reconciler.runners._reports import Reports
from reconciler.runners._states import NOTHING, RunVerdict, Witnesses, as_run, judge


class Census:
    """What was found out about the runs of one repository. To be used by one thread at a time."""

    def __init__(self, locks: Locks, folders: Folders, reports: Reports) -> None:
        self._locks, self._folders, self._reports = locks, folders, reports
        self._over: dict[RunId, Run] = {}
        self._counted: dict[tuple[RunKind, str], _Counted] = {}

    def take(self) -> dict[RunId, Run]:
        """Every run that left a folder or is alive."""
        look = _Scan()
        found: dict[RunId, Run] = {}
        subjects = self._folders.subjects()
        for key, subject in subjects.items():
            known = self._counted.get(key)
            if known is None or known.subject is not subject or not known.over:
                known = self._counted[key] = self._count(subject, known, look)
            found.update(known.runs)
        for kind, name in self._locks.subjects():
            known_subject = subjects.get((kind, name))
            if (known_subject is None or not known_subject.runs) and self._locks.held(kind, name).any:
                run = self._unrecorded(kind, name, look) or RunId(kind, name, 1)
                found[run] = _without_record(run)
        return found

    def judge(self, record: Record, locks: Held) -> RunVerdict:
        """The state of one run. `locks` must have been probed before the record was read."""
        return self._judge(record, locks, _Scan())

    def _count(self, subject: SubjectFolder, before: _Counted | None, look: _Scan) -> _Counted:
        if before is None or before.subject.runs != subject.runs:
            # Where a folder was removed, the run before it is the newest now, and the locks may be held again.
            for newest in subject.runs[-1:]:
                self._over.pop(newest, None)
        runs = {run.id: run for run in self._of_subject(subject, look)}
        return _Counted(subject, runs, all(run in self._over for run in runs))

    def _of_subject(self, subject: SubjectFolder, look: _Scan) -> Iterator[Run]:
        for run in subject.runs[:-1]:
            # Over for certain: the next one could not have started otherwise.
            yield self._over.get(run) or self._see(run, NOTHING, look)
        for run in subject.runs[-1:]:
            locks = self._locks.held(run.kind, run.subject)
            seen = self._over.get(run) or self._see(run, locks, look)
            yield seen
            other = self._unrecorded(run.kind, run.subject, look) if locks.any and seen.exit else None
            if other and other.n > run.n:
                yield _without_record(other)

    def _see(self, run: RunId, locks: Held, look: _Scan) -> Run:
        record = self._folders.record(run)
        judged = self._judge(record, locks, look)
        report = self._reports.of(record) if record.start.agent and (record.exit or judged.over) else None
        done_at = self._reports.end_said(record) if judged.state is RunState.RUNNING else None
        watched = locks.shim and judged.state in (RunState.STARTING, RunState.RUNNING)
        halted = watched and record.pid is not None and supervisor.halted(record.pid)
        seen = as_run(record, judged, locks, report, done_at, halted=halted)
        if judged.over:
            self._over[run] = seen
        return seen

    def _judge(self, record: Record, locks: Held, look: _Scan) -> RunVerdict:
        folder = str(self._folders.folder(record.id))
        return judge(record, Witnesses(locks, lambda: folder in look.carriers, look.boot_id, look.now))

    def _unrecorded(self, kind: RunKind, subject: str, look: _Scan) -> RunId | None:
        """The run of a subject that lives although its folder is gone, found by its processes."""
        for folder in look.carriers:
            run = self._folders.run_of(folder)
            if run and (run.kind, run.subject) == (kind, subject) and not Path(folder).exists():
                return run
        return None


@dataclass(frozen=True, slots=True)
class _Counted:
    """The runs of a subject as they were counted; `over`: until its folder changes there is nothing to count again."""

    subject: SubjectFolder
    runs: Mapping[RunId, Run]
    over: bool


class _Scan:
    """One look at the machine: what is asked for several times is read once, and only if it is asked for."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    @cached_property
    def carriers(self) -> Mapping[str, set[int]]:
        return processes.carriers()

    @cached_property
    def boot_id(self) -> str:
        return supervisor.boot_id()


def _without_record(run: RunId) -> Run:
    task = TaskId(run.subject if run.kind is RunKind.WORK else "")
    return Run(id=run, task=task, manifest="", state=RunState.RUNNING)
