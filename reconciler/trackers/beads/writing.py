"""Changes written through `bd`, each a compare-and-swap as far as that version allows, and all of them read back.

Neither an exit status nor an echo says that something is stored: a lost claim ended with 0 for years, labels got lost. So
the tasks are read, changed in mind, the commands are run that make the difference, and the tasks are read again; what is
still missing of what was asked for is tried again. What others wrote meanwhile is theirs, and stays. Labels alone are read back
by the next look, and by it they are written again where they are not there: the second time they are read back at once.

Where `update` takes no guards, another's claim is safe by `--claim`; a close or another status that somebody writes
between the read and the command right after it is overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct, field

from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import TaskId, usable
from reconciler.model.observed import Task
from reconciler.model.ports import Change
from reconciler.model.values import replace
from reconciler.system.shell import Finished
from reconciler.trackers import _edits as edits
from reconciler.trackers._edits import WRITER
from reconciler.trackers._records import Record, task_of
from reconciler.trackers.beads import decoding
from reconciler.trackers.beads.commands import (
    ARGUMENT_MAX,
    SETS,
    TEXTS,
    VALUES,
    Command,
    Step,
    added_note,
    commands,
    differing,
)
from reconciler.trackers.beads.last_look import LastLook
from reconciler.trackers.beads.program import Bd
from reconciler.trackers.beads.versions import Can

ROUNDS = 3
PAUSE_S = 0.3
_BY_VALUE = frozenset({*TEXTS, *VALUES} - {"notes"})
_MISMATCH = 13  # the exit status where a guard did not hold


def write(bd: Bd, changes: Sequence[Change], last: LastLook) -> list[ReconcileError | None]:
    """Write all changes; for each, None or why it was not written. Only under the lock.

    Raises TemporaryError where not even reading is possible.
    """
    answers: list[ReconcileError | None] = [None] * len(changes)
    named = {id for change in changes for id in _named(change) if usable(id)}
    labels = all(_only_labels(change) for change in changes) and last.trusts(named)
    found = dict(last.before(named, exact=not labels))
    before = decoding.graph_of(record for id, record in found.items() if id in named)
    batch = _Batch(bd, last, before, read_back=not labels)
    for number, change in enumerate(changes):
        try:
            batch.add(change, found)
        except ReconcileError as error:
            answers[number] = error
    batch.write()
    return [error or batch.errors.get(change.task) for error, change in zip(answers, changes, strict=True)]


def _only_labels(change: Change) -> bool:
    """True where nothing but labels is to be written, whatever became of the task."""
    return change == Change(task=change.task, add_labels=change.add_labels, remove_labels=change.remove_labels)


def _named(change: Change) -> tuple[TaskId, ...]:
    new = change.create
    made_with = ((new.parent,) if new and new.parent else ()) + (new.blockers if new else ())
    return (change.task, *made_with, *change.add_blockers)


class _Batch(Struct):
    """Tasks as they were, and as they are to be."""

    bd: Bd
    last: LastLook
    before: Mapping[TaskId, Task]
    read_back: bool
    wanted: dict[TaskId, Task] = field(default_factory=dict)
    aims: dict[TaskId, Task] = field(default_factory=dict)  # the same, over what others have written since
    made: dict[TaskId, Record] = field(default_factory=dict)  # what the wanted ones are read from
    fresh: dict[TaskId, Task] = field(default_factory=dict)  # those that are to be made, as they are made
    guarded: set[TaskId] = field(default_factory=set)
    errors: dict[TaskId, ReconcileError] = field(default_factory=dict)

    def add(self, change: Change, found: dict[str, Record]) -> None:
        """Make one more change in mind. Raises what the answer to it is, where it can't be made."""
        now = datetime.now(UTC)
        id = change.task
        there = found.get(id)
        if not usable(id) or (there is None and change.create is None):
            raise _missing(id)
        record = there if there is not None else edits.made(id, change.create, now) if change.create else {}
        after = edits.changed(record, change, now)
        task = task_of(after)
        if any(len(text.encode()) > ARGUMENT_MAX for text in (task.description, task.acceptance, task.notes)):
            raise PermanentError(f"{id}: a text of it is too long for bd", hint="put what is long into a file")
        found[id] = after
        self.wanted[id], self.made[id] = task, after
        if there is None:
            self.fresh[id] = task_of(record)
        if change.expect_status is not None or change.expect_assignee is not None:
            self.guarded.add(id)

    def write(self) -> None:
        """Bring the store there; what can't be done is in `errors`."""
        now: Mapping[TaskId, Task] = self.before
        self.aims = dict(self.wanted)
        pending = {id for id, task in self.wanted.items() if differing(now.get(id), task)}
        for number in range(ROUNDS):
            if not pending:
                return
            if number:
                time.sleep(PAUSE_S * 3 ** (number - 1))
            self._run(now, pending, together=number == 0)
            if not self.read_back and not self.errors:
                self.last.wrote({id: self.made[id] for id in pending})
                return
            now = decoding.graph_of(r for r in self.last.after(pending) if r["id"] in pending)
            pending = {id for id in pending if self._left(id, now.get(id))}
        for id in pending:
            missing = ", ".join(sorted(differing(now.get(id), self.aims[id])))
            self.errors.setdefault(
                id, TemporaryError(f"{id}: bd reports no error, and yet it has not written: {missing}", delay=30.0)
            )

    def _run(self, now: Mapping[TaskId, Task], pending: set[TaskId], *, together: bool) -> None:
        # In the order of the changes: what is made first is the older one.
        steps = [
            Step(now=now.get(id), wanted=aim, guarded=id in self.guarded, claims=aim.assignee == self.bd.actor)
            for id, aim in self.aims.items()
            if id in pending
        ]
        refused = set[TaskId]()
        for command in commands(steps, self.bd.program().can, together=together):
            if command.verb == ("create",):
                refused |= self._lacking(command.tasks[0], refused)
            tasks = tuple(id for id in command.tasks if id not in refused)
            if tasks:
                refused |= self._do(Command(command.verb, tasks, command.options))

    def _lacking(self, id: TaskId, refused: set[TaskId]) -> set[TaskId]:
        """The task, where something that it names is not there: it would be made all the same, and wait for nothing."""
        there = {*self.before, *self.wanted} - refused
        missing = [target for target in _targets(self.wanted[id]) if target not in there]
        if not missing:
            return set()
        self.errors[id] = (
            TemporaryError(f"{id}: {missing[0]} could not be made, and it names that")
            if missing[0] in self.wanted
            else PermanentError(f"{id} names {missing[0]}, and there is no such task")
        )
        return {id}

    def _do(self, command: Command) -> set[TaskId]:
        """Run one command; the tasks for which it did not do what it should."""
        try:
            finished = self.bd.write(*command.argv, actor="" if self._by_an_agent(command) else WRITER)
        except TemporaryError as error:
            self.errors.update(dict.fromkeys(command.tasks, error))
            return set(command.tasks)
        done = _echoed(finished.out) if command.verb in (("update",), ("close",)) else set(command.tasks)
        refused = set(command.tasks) if finished.code else set(command.tasks) - done
        for id in refused:
            self.errors[id] = _error(id, command, finished)
        return refused

    def _by_an_agent(self, command: Command) -> bool:
        """False for what is to be distinguished from a close by an agent, which has our name, where only names tell who closed it."""
        by_us = command.verb == ("close",) and not any(option.startswith("--session=") for option in command.options)
        return not by_us or self.bd.program().can(Can.TELLS_SESSION)

    def _left(self, id: TaskId, now: Task | None) -> bool:
        """True where something is left to be tried again for a task; notes in `errors` what became of the others."""
        before = self.before.get(id)
        if now is None:
            if before:
                self.errors[id] = ChangedError(f"{id} was deleted meanwhile")
            return before is None and not isinstance(self.errors.get(id), (ChangedError, PermanentError))
        self.aims[id] = aim = _over(before or self.fresh[id], self.wanted[id], now, fresh=before is None)
        names = differing(now, aim)
        if not names:
            self.errors.pop(id, None)
            return False
        if before and any(getattr(now, name) != getattr(before, name) for name in names & _BY_VALUE):
            self.errors[id] = ChangedError(f"{id} has changed meanwhile")
        return not isinstance(self.errors.get(id), (ChangedError, PermanentError))


def _over(before: Task, wanted: Task, now: Task, *, fresh: bool) -> Task:
    """The task as it is now, with the difference between `before` and `wanted` made in it, and nothing else.

    A `fresh` one was made as `before`: of that, what got lost is made up for.
    """
    fields: dict[str, object] = {}
    for name in _BY_VALUE:
        old, new = getattr(before, name), getattr(wanted, name)
        if old != new or (fresh and not getattr(now, name)):
            fields[name] = new
    if wanted.status == "closed":
        fields |= {"close_reason": wanted.close_reason, "closed_by_session": wanted.closed_by_session}
    for name in SETS:
        old, new = set(() if fresh else getattr(before, name)), set(getattr(wanted, name))
        fields[name] = type(getattr(now, name))(sorted((set(getattr(now, name)) | (new - old)) - (old - new)))
    if wanted.notes != before.notes:
        note = added_note(before.notes, wanted.notes)
        there = f"\n{note.strip()}\n" in f"\n{now.notes.strip()}\n"
        fields["notes"] = now.notes if there else f"{now.notes.rstrip()}\n{note}".lstrip("\n")
    return replace(now, **fields)  # type: ignore[arg-type]


def _targets(task: Task) -> tuple[TaskId, ...]:
    return (*task.parents, *task.blockers)


def _error(id: TaskId, command: Command, finished: Finished) -> ReconcileError:
    text = decoding.complaint(finished.code, finished.out, finished.err)
    if finished.code == _MISMATCH:
        return ChangedError(f"{id} has changed meanwhile: {text}")
    what = f"{id}: bd {' '.join(command.verb)}: {text or 'it did nothing, and printed nothing'}"
    # Of several tasks it may have refused one because of another: each is tried by itself.
    return PermanentError(what) if text and len(command.tasks) == 1 else TemporaryError(what)


def _echoed(out: bytes) -> set[TaskId]:
    try:
        return {TaskId(str(record["id"])) for record in decoding.records(out)}
    except decoding.Unreadable:
        return set()


def _missing(task: TaskId) -> PermanentError:
    if not usable(task):
        return PermanentError(f"{task!r} can't be the id of a task", hint="use letters, digits, '-', '_' and '.'")
    return PermanentError(f"no task {task}", hint="'bd list --all' shows every id")
