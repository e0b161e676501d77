"""The count of all runs, alive or not, cheap to repeat: what is over never changes and is not looked at again."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run, RunState
from reconciler.runners import _processes as processes
from reconciler.runners import supervisor
from reconciler.runners._folders import Folders, Subject, SubjectFolder
from reconciler.runners._locks import Held, Locks
from reconciler.runners._past import Past, PastSubject, folders, settled
from reconciler.runners._records import Record
from reconciler.runners._reports import Reports
from reconciler.runners._states import NOTHING, RunVerdict, Witnesses, as_run, judge


class Census:
    """What was found out about the runs of one repository. To be used by one thread at a time."""

    def __init__(self, locks: Locks, folders: Folders, reports: Reports, past: Past | None = None) -> None:
        self._locks, self._folders, self._reports, self._past = locks, folders, reports, past
        self._recalled = False
        self._over: dict[RunId, Run] = {}
        self._counted: dict[Subject, _Counted] = {}
        self._subjects: Mapping[Subject, SubjectFolder] = {}
        self._locked: frozenset[Subject] = frozenset()
        self.bare: tuple[Subject, ...] = ()  # those that have locks, and no run folder
        self._finished: dict[Subject, None] = {}  # that were found to be over since somebody asked
        self._runs: dict[RunId, Run] = {}
        self.elsewhere: frozenset[RunId] = frozenset()  # the runs that are alive and not on this machine
        self._whole: tuple[Mapping[RunId, Run], Mapping[RunId, Run], Mapping[RunId, Run]] = ({}, {}, {})
        # What is open, the subjects at that look, and which of them are of what is open.
        self._open: tuple[Collection[TaskId], Mapping[Subject, SubjectFolder], frozenset[Subject]] = (
            (),
            {},
            frozenset(),
        )
        # The subjects of which not every run is over: only in these something happens by itself.
        self._moving: frozenset[Subject] = frozenset()

    def take(self, open_tasks: Collection[TaskId] | None = None) -> Mapping[RunId, Run]:
        """Every run that left a folder or is alive; the same mapping while nothing changed.

        Its cost is one of what is alive or open (`open_tasks`; None: all), and of what changed.
        """
        look = _Scan()
        if self._past and not self._recalled:
            self._recall(self._past)
        subjects = self.subjects(open_tasks)
        locked = self._locks.subjects()
        if subjects is not self._subjects or locked is not self._locked:
            self.bare = tuple(key for key in locked if key not in subjects or not subjects[key].runs)
        self._recount(subjects, look)
        self._subjects, self._locked = subjects, locked
        if self._past:
            self._past.write(self.again)
        found = self._with_the_archive()
        alone = [key for key in self.bare if self._locks.held(*key).any]
        runs = (self._unrecorded(*key, look) or RunId(*key, self._folders.newest(*key) + 1) for key in alone)
        return {**found, **{run: _without_record(run) for run in runs}} if alone else found

    def finished(self) -> Collection[Subject]:
        """The subjects that were found to be over since this was asked last."""
        found, self._finished = self._finished, {}
        return found

    def forget(self, gone: Collection[Subject]) -> None:
        """These went to the archive."""
        if self._past:
            self._past.forget(gone)
        runs = [run for key in gone if key in self._counted for run in self._counted[key].runs]
        for run in runs:
            self._over.pop(run, None)
        self._folders.forget(runs)
        self._reports.forget(runs)

    def _with_the_archive(self) -> Mapping[RunId, Run]:
        # Only now, as folders were looked at before: what left them in between is found here.
        kept = self._folders.archive.runs() if self._folders.archive else {}
        if self._whole[0] is not kept or self._whole[1] is not self._runs:
            self._whole = kept, self._runs, {**kept, **self._runs} if kept and self._runs else kept or self._runs
        return self._whole[2]

    def subjects(self, open_tasks: Collection[TaskId] | None) -> Mapping[Subject, SubjectFolder]:
        """Every subject that has a folder, those of open tasks as they are now."""
        if open_tasks is None:
            return self._folders.subjects()
        if open_tasks is not self._open[0] or self._subjects is not self._open[1]:
            mine = ((RunKind.WORK, str(task)) for task in open_tasks)
            self._open = open_tasks, self._subjects, frozenset(key for key in mine if key in self._subjects)
        return self._folders.subjects(self._moving | self._open[2])

    def _recount(self, subjects: Mapping[Subject, SubjectFolder], look: _Scan) -> None:
        due = set(self._moving)
        if subjects is not self._subjects:
            due |= {key for key, subject in subjects.items() if subject is not self._subjects.get(key)}
            due |= self._subjects.keys() - subjects.keys()
        counted = {key: self._count(subjects[key], self._counted.get(key), look) for key in due if key in subjects}
        new = {id: run for each in counted.values() for id, run in each.runs.items()}
        before = {id for key in due if key in self._counted for id in self._counted[key].runs}
        # Only now: had one not been readable, the next look would have to count them all.
        self._counted.update(counted)
        for key in due - counted.keys():
            self._counted.pop(key, None)
        if gone := before - new.keys():
            self._runs = {id: run for id, run in {**self._runs, **new}.items() if id not in gone}
        elif any(run != self._runs.get(id) for id, run in new.items()):
            self._runs = {**self._runs, **new}
        self._moving = frozenset(key for key, each in counted.items() if not each.over)
        self.elsewhere = frozenset(
            id for each in counted.values() if not each.over for id, run in each.runs.items() if run.where and run.alive
        )
        over = [key for key in due if key in counted and counted[key].over and counted[key].runs]
        self._finished |= dict.fromkeys(over)
        if self._past:
            self._past.note(over=over, moving=self._moving)

    def judge(self, record: Record, locks: Held) -> RunVerdict:
        """The state of one run. `locks` must have been probed before the record was read."""
        return self._judge(record, locks, _Scan())

    def _recall(self, past: Past) -> None:
        """Take what was over when somebody looked before, as if we had looked then."""
        for each in past.load():
            ids, changed = tuple(run.id for run in each.runs), each.stamps[0].modified_ns
            subject = SubjectFolder(each.kind, each.name, ids, since=each.since, changed=changed)
            self._counted[each.key] = _Counted(subject, dict(zip(ids, each.runs, strict=True)), over=True)
        self._subjects = self._folders.adopt({key: each.subject for key, each in self._counted.items()})
        self._runs = {id: run for each in self._counted.values() for id, run in each.runs.items()}
        self._over, self._recalled = dict(self._runs), True
        self._finished |= dict.fromkeys(self._counted)

    def derive(self, run: RunId) -> Run:
        """A run that is over, as its records in the archive show it."""
        record = self._folders.record(run)
        judged = judge(record, Witnesses(NOTHING, lambda: False, "", datetime.now(UTC)))
        report = self._reports.again(record) if record.start.agent else None
        return as_run(record, judged, NOTHING, report, verdict=self._reports.verdict(record))

    def again(self, key: Subject) -> PastSubject | None:
        """A subject that is over, with its records read again; None where they say something else than before."""
        counted, fresh = self._counted.get(key), Folders(self._folders.root)
        if counted is None:
            return None
        runs = tuple(counted.runs.values())
        paths = folders(str(fresh.root), *key, runs)
        stamps = tuple(stamp for path in paths if (stamp := settled(path)))
        subject = fresh.subject(key)
        if len(stamps) < len(paths) or subject != counted.subject or tuple(counted.runs) != subject.runs:
            return None
        for run in runs:
            record = fresh.record(run.id)
            if record.start.agent and not self._reports.can_read(record):
                return None
            report = self._reports.again(record) if record.start.agent else None
            verdict = self._reports.verdict(record)
            if as_run(record, RunVerdict(run.state, over=True), NOTHING, report, verdict=verdict) != run:
                return None
        found = PastSubject(*key, since=subject.since, runs=runs, stamps=stamps)
        return found if found.stands(str(fresh.root)) else None

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
            unsure = locks.any and seen.exit and not (locks.shim and self._lets_go(run))
            other = self._unrecorded(run.kind, run.subject, look) if unsure else None
            if other and other.n > run.n:
                yield _without_record(other)

    def _see(self, run: RunId, locks: Held, look: _Scan) -> Run:
        record = self._folders.record(run)
        judged = self._judge(record, locks, look)
        report = self._reports.of(record) if record.start.agent and (record.exit or judged.over) else None
        running = judged.state is RunState.RUNNING
        done_at, usd = (self._reports.end_said(record), self._reports.cost(record)) if running else (None, None)
        watched = locks.shim and record.exit is None
        halted = watched and record.pid is not None and supervisor.halted(record.pid)
        verdict = self._reports.verdict(record) if record.exit or judged.over else ""
        seen = as_run(record, judged, locks, report, done_at, usd=usd, verdict=verdict, halted=halted)
        if judged.over:
            self._over[run] = seen
        return seen

    def _judge(self, record: Record, locks: Held, look: _Scan) -> RunVerdict:
        folder = str(self._folders.folder(record.id))
        return judge(record, Witnesses(locks, lambda: folder in look.carriers, look.boot_id, look.now))

    def _lets_go(self, run: RunId) -> bool:
        """True where its own supervisor still holds the lock of its subject, as each does for a moment after the end: beside it there
        is no other run, and not every process has to be asked."""
        record = self._folders.record(run)
        mine = record.pid and supervisor.marker(record.pid) == os.fsencode(self._folders.folder(run))
        return bool(mine) and processes.has_open(record.pid or 0, self._locks.shim(run.kind, run.subject))

    def _unrecorded(self, kind: RunKind, subject: str, look: _Scan) -> RunId | None:
        """The run of a subject that lives although its folder is gone, found by its processes."""
        for folder in look.carriers:
            run = self._folders.run_of(folder)
            if run and (run.kind, run.subject) == (kind, subject) and not Path(folder).exists():
                return run
        return None


class _Counted(Struct, frozen=True):
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
    task = TaskId("" if run.kind is RunKind.CHECK else run.subject.partition("@")[0])
    return Run(id=run, task=task, manifest="", state=RunState.RUNNING)
