"""`task`: the built-in task store at the command line. Agents use it too, to say where they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unicodedata import category

import click
from rich.text import Text

from reconciler import wiring
from reconciler.cli.output import Output, common, here
from reconciler.cli.task_names import found_task, task_named
from reconciler.loop import loop
from reconciler.model.errors import UsageError
from reconciler.model.names import TaskId, split_key
from reconciler.model.ports import Change, NewTask
from reconciler.planning import graph
from reconciler.planning.labels import PHASES
from reconciler.render import safe
from reconciler.render.table import Row, Rows
from reconciler.wiring import Site


class _Priority(click.IntRange):
    """0 to 4, also as `bd` shows it: P0 to P4."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number: Any = value.removeprefix("P") if isinstance(value, str) else value
        return super().convert(number, param, ctx)


PRIORITY = _Priority(0, 4)


@click.group("task")
def task_command() -> None:
    """Manage the tasks of a repository without Beads, kept in .beads/issues.jsonl, which Beads can import.

    Where Beads is in use, all of this but 'create' goes to its database.
    """


@task_command.command("create")
@click.argument("title")
@click.option("--parent", default=None, help="The epic that it belongs to")
@click.option("-t", "--type", "kind", default="task", show_default=True, help="task, epic, bug, feature or chore")
@click.option("-p", "--priority", type=PRIORITY, default=2, show_default=True, help="0 goes first, 4 last")
@click.option("-d", "--description", default="", help="What is to be done")
@click.option("--acceptance", default="", help="What must be true when it is done")
@click.option("-l", "--label", "--labels", "labels", multiple=True, help="Labels, by commas; can be repeated")
@common
def create(
    title: str, parent: str | None, kind: str, priority: int, description: str, acceptance: str,
    labels: tuple[str, ...], out: Output,
) -> int:  # fmt: skip
    """Create a task."""
    _one_line(title)
    site = here()
    above = _known(site, parent, out) if parent else None
    made = site.tracker.create(
        NewTask(
            title=title,
            type=kind,
            description=description,
            acceptance=acceptance,
            priority=priority,
            labels=frozenset(label for text in labels for each in text.split(",") if (label := each.strip())),
            parent=above,
        )
    )
    return _show(site, made, out, lambda: f"created {made}")


@task_command.command("list")
@click.option("-s", "--status", default=None, help="Only tasks of this status")
@click.option("--all", "everything", is_flag=True, help="Closed ones too")
@common
def list_tasks(status: str | None, everything: bool, out: Output) -> int:
    """List tasks: the open ones, or those of a status."""
    found = [record for record in here().tracker.records() if _listed(record, status, everything)]
    out.answer(found, lambda: _table(found))
    return 0


@task_command.command("ready")
@common
def ready(out: Output) -> int:
    """List the tasks that can be started now, most urgent first."""
    site = here()
    found = [site.tracker.record(task.id) for task in graph.ready(site.tracker.tasks(), loop.now())]
    out.answer(found, lambda: _table(found))
    return 0


@task_command.command("show")
@click.argument("id")
@common
def show(id: str, out: Output) -> int:
    """Show one task."""
    site = here()
    return _show(site, _known(site, id, out), out)


@task_command.command("close")
@click.argument("id")
@click.option("-r", "--reason", default="Closed", show_default=True, help="Why")
@common
def close(id: str, reason: str, out: Output) -> int:
    """Close a task."""
    site = here()
    run = wiring.environ().get(wiring.RUN_MARKER, "")
    task = _known(site, id, out)
    _write(site, Change(task=task, status="closed", close_reason=reason, closed_by_session=run))
    return _show(site, task, out, lambda: f"closed {task}")


@task_command.command("update")
@click.argument("id")
@click.option("-s", "--status", default=None, help="open, in_progress, blocked, deferred or closed")
@click.option("-a", "--assignee", default=None, help="Who it is assigned to; '' for nobody")
@click.option("--title", default=None, help="One line")
@click.option("--add-label", "add", multiple=True, help="A label to add")
@click.option("--remove-label", "remove", multiple=True, help="A label to remove")
@click.option("--notes", default="", help="A line to add to its notes")
@common
def update(
    id: str, status: str | None, assignee: str | None, title: str | None, add: tuple[str, ...],
    remove: tuple[str, ...], notes: str, out: Output,
) -> int:  # fmt: skip
    """Change a task."""
    if title is not None:
        _one_line(title)
    site = here()
    run = wiring.environ().get(wiring.RUN_MARKER, "")
    # Who resets a task by hand names the label they last saw. `phase:merged` stays: it says that this is a reopening.
    reset = [phase for phase in PHASES if phase != "phase:merged"] if status == "open" and not run else []
    task = _known(site, id, out)
    _write(
        site,
        Change(
            task=task,
            status=status,
            assignee=assignee,
            title=title,
            add_labels=frozenset(add),
            remove_labels=frozenset({*remove, *reset} - set(add)),
            note=notes,
            closed_by_session=run if status == "closed" else "",
        ),
    )
    return _show(site, task, out, lambda: f"updated {task}")


@task_command.group("dep")
def dep() -> None:
    """Manage dependencies between tasks."""


@dep.command("add")
@click.argument("id")
@click.argument("on")
@common
def add(id: str, on: str, out: Output) -> int:
    """Make the task ID depend on the task ON."""
    site = here()
    task, blocker = _known(site, id, out), _known(site, on, out)
    if task == blocker or task in _before(site, blocker):
        raise UsageError(f"{blocker} already depends on {task}: that would be a cycle")
    _write(site, Change(task=task, add_blockers=frozenset({blocker})))
    return _show(site, task, out, lambda: f"{task} depends on {blocker}")


@dep.command("remove")
@click.argument("id")
@click.argument("on")
@common
def remove(id: str, on: str, out: Output) -> int:
    """Remove the dependency of the task ID on the task ON."""
    site = here()
    task = _known(site, id, out)
    _write(site, Change(task=task, remove_blockers=frozenset({task_named(site, on, out.chat)})))
    return _show(site, task, out, lambda: f"{task} no longer depends on {on}")


def _one_line(title: str) -> None:
    """Refuse a title that is not one line of text: it becomes the subject of a commit."""
    if not title.strip():
        raise UsageError("a task needs a title")
    if any(category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in title):
        raise UsageError("a title is one line of text", hint="what is longer goes into --description")


def _known(site: Site, text: str, out: Output) -> TaskId:
    return found_task(site, task_named(site, text, out.chat)).id


def _write(site: Site, change: Change) -> None:
    if error := site.tracker.write([change])[0]:
        raise error


def _before(site: Site, task: TaskId) -> set[TaskId]:
    """Every task that `task` waits for, near and far."""
    tasks = site.tracker.tasks()
    found: set[TaskId] = set()
    todo = [task]
    while todo:
        here_ = tasks.get(todo.pop())
        fresh = [] if here_ is None else [each for each in here_.blockers if each not in found]
        found.update(fresh)
        todo += fresh
    return found


def _listed(record: dict[str, Any], status: str | None, everything: bool) -> bool:
    mine = record.get("status", "open")
    return mine == status if status else everything or mine not in ("closed", "tombstone")


def _show(site: Site, task: TaskId, out: Output, shown: Callable[[], str] | None = None) -> int:
    record = site.tracker.record(task)
    out.answer(record, shown or (lambda: _fields(record)))
    return 0


def _table(records: list[dict[str, Any]]) -> Rows | str:
    if not records:
        return "no tasks"
    return Rows(rows=[_row(record) for record in records], yields=4, indent=0)


def _row(record: dict[str, Any]) -> Row:
    cells = (str(record.get(name, "")) for name in ("id", "status", "assignee", "title"))
    id, status, assignee, title = (Text(safe.line(cell)) for cell in cells)
    return Row(cells=(id, Text(f"P{record.get('priority', 2)}"), status, assignee, title))


def _fields(record: dict[str, Any]) -> Rows:
    rows = []
    for name, value in record.items():
        found = split_key(value)[0] if name == "description" else value
        text = ", ".join(map(_plain, found)) if isinstance(found, list) else str(found)
        if text:
            rows.append(Row(cells=(Text(safe.line(name)),), note=Text(safe.block(text))))
    return Rows(rows=rows, yields=0, indent=0)


def _plain(value: object) -> str:
    """A label, or a dependency: what kind, and on what."""
    match value:
        case {"type": kind, "depends_on_id": on}:
            return f"{kind} {on}"
        case _:
            return str(value)
