"""Which commands bring a task from what it is to what it is to be. Pure.

As few as can be: whatever changes at once goes into one command, and tasks that change alike share it. A close comes
before the labels that go with it: `phase:merged` on an open task would read as a task that a person opened again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from reconciler.model.names import TaskId
from reconciler.model.observed import Task
from reconciler.model.values import replace
from reconciler.trackers.beads.versions import Can

MERGED = "phase:merged"  # written together with a close, by the one who saw the work on the base
# What Linux passes on as one argument, with room for the option's name.
ARGUMENT_MAX = 120_000


class Command(Struct, frozen=True):
    """One command for some tasks. `alone`: for no more than one of them."""

    verb: tuple[str, ...]
    tasks: tuple[TaskId, ...]
    options: tuple[str, ...] = ()
    alone: bool = False

    @property
    def argv(self) -> tuple[str, ...]:
        ids = () if self.verb == ("create",) else self.tasks
        return (*self.verb, *ids, *self.options, "--json")


class Step(Struct, frozen=True, kw_only=True):
    """One task on its way. `now` is None while it is not made; `guarded`: only while it is what it is `now`; `claims`: it
    is to be assigned to who runs the command."""

    now: Task | None
    wanted: Task
    guarded: bool = False
    claims: bool = False


def commands(steps: Iterable[Step], can: Callable[[Can], bool], *, together: bool = True) -> list[Command]:
    """The commands for these steps, in the order in which they are to be run.

    Tasks are made in the order of the steps, but none before what it names. With `together`, equal changes share one.
    """
    found = [_commands(step, can) for step in _parents_first(list(steps))]
    stages = (("create",), ("close",), ("update",), ("dep", "add"), ("dep", "remove"))
    ordered = [c for stage in stages for each in found for c in each if c.verb == stage]
    return _shared(ordered) if together else ordered


def differing(now: Task | None, wanted: Task) -> frozenset[str]:
    """The names of the fields that are not as they are to be. Blanks at the ends of a text are no difference."""
    if now is None:
        return frozenset({"id"})
    names = {name for name in TEXTS if getattr(now, name).strip() != getattr(wanted, name).strip()}
    names |= {name for name in VALUES if getattr(now, name) != getattr(wanted, name)}
    # The reason of a close is written with it and never again: it is that of the first who closed it.
    return frozenset(names | {name for name in SETS if set(getattr(now, name)) != set(getattr(wanted, name))})


def added_note(before: str, after: str) -> str:
    """What was added to notes; all of them where it was not added at the end."""
    return after.removeprefix(f"{before.rstrip()}\n")


TEXTS = ("title", "description", "acceptance", "notes")
VALUES = ("status", "priority", "assignee")
SETS = ("labels", "parents", "blockers")


def _commands(step: Step, can: Callable[[Can], bool]) -> list[Command]:
    now, wanted, made = step.now, step.wanted, list[Command]()
    if now is None:
        made.append(_create(wanted, can))
        # What can't be set of a task while it is made is changed afterwards.
        now = replace(wanted, status="open", assignee="", notes="", close_reason="", closed_at=None)
    names = differing(now, wanted)
    closing = "status" in names and wanted.status == "closed"
    if closing:
        made.append(_close(now, wanted, can))
    claim = _claims(step, names, can)
    options = ["--claim"] if claim else []
    options += _update(now, wanted, names - {"status"} if closing else names - claim, can)
    if options:
        made.append(Command(("update",), (wanted.id,), (*options, *_guards(step, options, can, closing))))
    for parent in sorted(set(wanted.parents) - set(now.parents)):
        made.append(Command(("dep", "add"), (wanted.id,), (parent, "--type=parent-child"), alone=True))
    for blocker in sorted(set(wanted.blockers) - set(now.blockers)):
        made.append(Command(("dep", "add"), (wanted.id,), (blocker, "--type=blocks"), alone=True))
    for blocker in sorted(set(now.blockers) - set(wanted.blockers)):
        made.append(Command(("dep", "remove"), (wanted.id,), (blocker,), alone=True))
    return made


def _claims(step: Step, names: frozenset[str], can: Callable[[Can], bool]) -> frozenset[str]:
    """The fields that a claim sets, where it is to be one: it fails where somebody else was first, if nothing else does.

    With guards it is not needed; and what is claimed there is taken back from the one who does not renew it. Nor is it where
    the task has our name already: nobody else's claim is taken then, and before 1.0 ours is not either.
    """
    if not (step.claims and step.guarded and step.now and step.wanted.status == "in_progress") or can(Can.GUARDS):
        return frozenset()
    if step.now.status not in ("open", "in_progress") or step.now.assignee:
        return frozenset()
    return frozenset({"status", "assignee"}) if names & {"status", "assignee"} else frozenset()


def _create(wanted: Task, can: Callable[[Can], bool]) -> Command:
    edges = [*(f"parent-child:{parent}" for parent in wanted.parents), *wanted.blockers]
    options = [
        f"--id={wanted.id}",
        f"--title={wanted.title}",
        f"--type={wanted.type}",
        f"--priority={wanted.priority}",
        f"--description={wanted.description}",
        f"--acceptance={wanted.acceptance}",
    ]
    if wanted.labels:
        options.append(f"--labels={_listed(sorted(wanted.labels))}")
    if edges:
        options.append(f"--deps={','.join(edges)}")
    if can(Can.OWN_LABELS):
        options.append("--no-inherit-labels")
    return Command(("create",), (wanted.id,), tuple(options), alone=True)


def _close(now: Task, wanted: Task, can: Callable[[Can], bool]) -> Command:
    options = [f"--reason={wanted.close_reason or 'done'}"]
    if wanted.closed_by_session and can(Can.SESSION):
        options.append(f"--session={wanted.closed_by_session}")
    if MERGED in wanted.labels - now.labels and can(Can.FORCE_CLOSE):
        options.append("--force")  # its work is on the base, whatever it once waited for
    return Command(("close",), (wanted.id,), tuple(options))


def _update(now: Task, wanted: Task, names: frozenset[str], can: Callable[[Can], bool]) -> Iterator[str]:
    for name in ("status", "assignee", "title", "description", "acceptance", "priority"):
        if name in names:
            yield f"--{name}={getattr(wanted, name)}"
    if "notes" in names:
        added = added_note(now.notes, wanted.notes)
        appended = can(Can.APPEND_NOTES) and now.notes.strip() and added != wanted.notes
        yield f"--append-notes={added}" if appended else f"--notes={wanted.notes}"
    for label in sorted(wanted.labels - now.labels):
        yield f"--add-label={_listed([label])}"
    for label in sorted(now.labels - wanted.labels):
        yield f"--remove-label={_listed([label])}"


def _guards(step: Step, options: list[str], can: Callable[[Can], bool], closing: bool) -> tuple[str, ...]:
    # Labels alone can't be guarded.
    fields = any(not option.startswith(("--add-label", "--remove-label")) for option in options)
    if not fields or not step.guarded or step.now is None or not can(Can.GUARDS):
        return ()
    status = step.wanted.status if closing else step.now.status
    return (f"--if-status={status}", f"--if-assignee={step.now.assignee}")


def _listed(labels: list[str]) -> str:
    """Labels as one value: such an option is read as a line of a table."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(labels)
    return line.getvalue()


def _shared(ordered: Iterable[Command]) -> list[Command]:
    found: dict[object, Command] = {}
    for number, command in enumerate(ordered):
        key = number if command.alone else (command.verb, command.options)
        before = found.get(key)
        found[key] = replace(before, tasks=(*before.tasks, *command.tasks)) if before else command
    return list(found.values())


def _parents_first(steps: list[Step]) -> list[Step]:
    """The steps, each after those that make what it names; where they name each other in a ring, as they came."""
    making = {step.wanted.id: step for step in steps if step.now is None}
    placed: dict[TaskId, Step] = {}
    pending = list(reversed(steps))
    opened = set[TaskId]()
    while pending:
        step = pending.pop()
        id = step.wanted.id
        if id in placed:
            continue
        named = (*step.wanted.parents, *step.wanted.blockers) if step.now is None and id not in opened else ()
        first = [making[other] for other in named if other in making and other not in placed and other not in opened]
        if first:
            opened.add(id)
            pending += [step, *reversed(first)]
        else:
            placed[id] = step
    return list(placed.values())
