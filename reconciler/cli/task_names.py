"""Which task a person means: by its id, by the key that a manifest declares it under, or by the beginning of its id."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import click

from reconciler import wiring
from reconciler.cli.output import Output, here
from reconciler.loop.asking import ask
from reconciler.manifest.findings import did_you_mean
from reconciler.model.errors import UsageError
from reconciler.model.names import RunKind, TaskId, split_key, task_for_key, usable
from reconciler.model.observed import Task, Unknown, known_or
from reconciler.planning.graph import Index
from reconciler.wiring import Site

PREFIX_MIN = 4  # letters after the last dash

Keys = Mapping[str, Collection[TaskId]]
"""The tasks that are declared under a key, by `key` and by `name/key`."""


def on_a_task(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command TASK, of which only people decide: it gets the task's `id`, and the `site`. For below `common`."""

    @click.argument("task")
    @functools.wraps(command)
    def wrapped(*args: Any, task: str, out: Output, **kwargs: Any) -> Any:
        wiring.refuse_agents(wiring.environ(), str(click.get_current_context().info_name))
        site = here()
        return command(*args, site=site, id=task_named(site, task, out.chat), out=out, **kwargs)

    return wrapped


def task_named(site: Site, text: str, say: Callable[[str], None]) -> TaskId:
    """The task that a person means; `say` gets what it was taken for, where that is not what they wrote.

    Inside a run only ids are taken: an agent names exactly what it means. Raises UsageError for what can't be a name, and
    for what means several tasks. What nothing is called like is given back as it is: who asks for it knows more.
    """
    if wiring.environ().get(wiring.RUN_MARKER):
        return _as_id(text)
    return task_known(site, text, say) or _as_id(text)


def task_known(site: Site, text: str, say: Callable[[str], None]) -> TaskId | None:
    """The same, None for what nothing is called like."""
    ids, keys = _known(site)
    found = meant(text, ids, keys) or _by_number(site, text)
    if len(found) > 1:
        raise UsageError(f"{text} means {len(found)} tasks: {', '.join(found)}", hint="name one of them by its id")
    if found and found[0] != text:
        say(f"{text} is {found[0]}")
    return found[0] if found else None


def pull_number(text: str) -> int | None:
    """The number that a pull request is named by; None where the text is none.

    >>> pull_number("#7"), pull_number("7"), pull_number("x-7")
    (7, 7, None)
    """
    found = re.fullmatch(r"#?([0-9]{1,18})", text)
    return int(found[1]) if found else None


def _by_number(site: Site, text: str) -> tuple[TaskId, ...]:
    """The task of a pull request that is named by its number: 7, '#7'."""
    if (number := pull_number(text)) is None:
        return ()
    pulls = ask(site.forge.pull_requests)
    found = known_or(pulls, {})
    return tuple(task for task, pull in found.items() if pull.number == number)


def found_task(site: Site, task: TaskId) -> Task:
    """A task as the tracker has it. Raises UsageError where there is none."""
    found = site.tracker.tasks().get(task)
    if found is None:
        raise missing(site, task)
    return found


def known_in(site: Site, task: TaskId) -> None:
    """Raise UsageError where the tracker answers, and has no such task."""
    tasks = ask(site.tracker.tasks)
    if not isinstance(tasks, Unknown) and task not in tasks:
        raise missing(site, task)


def found_work(site: Site, task: TaskId) -> Task:
    """The same, for what an agent can work on. Raises UsageError for an epic too."""
    tasks = site.tracker.tasks()
    if task not in tasks:
        raise missing(site, task)
    if Index(tasks).is_epic(task):
        raise UsageError(
            f"{task} is an epic; name one of its tasks", hint=f"for all of them: reconcile run --epic {task}"
        )
    return tasks[task]


def missing(site: Site, task: TaskId) -> UsageError:
    """That there is no such task, with what is called nearly so."""
    ids, keys = _known(site)
    near = did_you_mean(task, {*ids, *keys})
    return UsageError(f"no task {task}", hint=near or "'reconcile task list --all' shows them")


def meant(text: str, ids: Collection[TaskId], keys: Keys) -> tuple[TaskId, ...]:
    """The tasks that a name may mean, sorted: an id or a key names what it names, the beginning of an id the rest.

    >>> ids = [TaskId("x-1"), TaskId("x-12ab9"), TaskId("x-12ab9.3")]
    >>> meant("x-1", ids, {}), meant("x-12ab", ids, {}), meant("x-12", ids, {})
    (('x-1',), ('x-12ab9', 'x-12ab9.3'), ())
    """
    exact = {id for id in ids if id == text} | set(keys.get(text, ()))
    _, dash, letters = text.rpartition("-")
    if exact or not dash or len(letters) < PREFIX_MIN:
        return tuple(sorted(exact))
    return tuple(sorted(id for id in ids if id.startswith(text)))


def _known(site: Site) -> tuple[set[TaskId], dict[str, set[TaskId]]]:
    """Every task that something is known of: also where the tracker is silent, or a task is gone from it."""
    tasks = ask(site.tracker.tasks)
    declared: dict[TaskId, tuple[str, str | None] | None]
    if not isinstance(tasks, Unknown):
        declared = {id: split_key(task.description)[1] for id, task in tasks.items()}
    else:
        declared = dict(_recorded_keys(site))
    runs = ask(site.runner.runs)
    ran = set() if isinstance(runs, Unknown) else {TaskId(id.subject) for id in runs if id.kind is RunKind.WORK}
    keys: dict[str, set[TaskId]] = {}
    for id, named in declared.items():
        if named and named[1]:
            for key in (named[1], f"{named[0]}/{named[1]}"):
                keys.setdefault(key, set()).add(id)
    return {*declared, *ran}, keys


def _recorded_keys(site: Site) -> Iterator[tuple[TaskId, tuple[str, str | None]]]:
    prefix, recorded = ask(site.tracker.prefix), ask(site.recorded.load)
    if isinstance(prefix, Unknown) or isinstance(recorded, Unknown):
        return
    for spec in recorded.epics:
        for each in spec.tasks:
            yield task_for_key(prefix, spec.name, each.key), (spec.name, each.key)


def _as_id(text: str) -> TaskId:
    if not usable(text):
        raise UsageError(f"{text!r} is not a task's id", hint="'reconcile status' lists them")
    return TaskId(text)
