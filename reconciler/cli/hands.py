"""`take`, `release`, `stop`: who works on a task, a person or an agent or nobody. They work beside a running watch."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from reconciler import wiring
from reconciler.cli.output import Output, act, common, here
from reconciler.cli.people import over, write
from reconciler.cli.task_names import found_task, found_work, on_a_task, task_named
from reconciler.git import worktrees
from reconciler.model.errors import PermanentError, ReconcileError, TemporaryError, UsageError
from reconciler.model.names import RunKind, TaskId, branch_of
from reconciler.model.observed import Run, StopWhy
from reconciler.model.ports import Change
from reconciler.planning.labels import STOPPED, TAKEN
from reconciler.wiring import Site

STOP_MOST_S = 15.0


@click.command("take")
@common
@on_a_task
def take_command(site: Site, id: TaskId, out: Output) -> int:
    """Take over a TASK: its agent is stopped, and nothing is started, merged or removed until 'release'.

    Its branch and worktree stay as they are, for you to go on with. Refused inside a run.
    """
    _work(site, id)
    write(site, lambda: Change(task=found_task(site, id).id, add_labels=frozenset({TAKEN})))
    ended, unreached = _end(site, id, lambda run: None)
    code = out.acted(
        site,
        "Take",
        id,
        f"yours{_where(site, id)}{_brought(site, id)}"
        + (f"; its agent {'is to end' if unreached else 'was stopped'}" if ended else "")
        + f"; 'reconcile release {id}' gives it back",
    )
    _say(unreached, out)
    return 1 if _left(site, id, out) else code


def _where(site: Site, task: TaskId) -> str:
    """Where its worktree is; nothing where it has none yet."""
    return next((f", in {entry.path}" for entry in worktrees.read(site.git).holding(branch_of(task))), "")


def saved_from_elsewhere(site: Site, task: TaskId) -> tuple[bool, str]:
    """Save here what a task has uncommitted on other machines, where it stays for its next run: whether there was any, and what
    can't be seen of that."""
    saved, unseen = False, ""
    for at in site.desired().elsewhere:
        try:
            if task in site.workspaces.worktrees(at, [task]) and site.workspaces.salvage(task, at):
                saved = True
        except TemporaryError as error:
            unseen = f"what it may have on {at.remote} can't be seen: {error}"
    return saved, unseen


def _brought(site: Site, task: TaskId) -> str:
    """What was not committed on another machine, brought here; nothing where nothing was."""
    saved, unseen = saved_from_elsewhere(site, task)
    if saved:
        return f", on {branch_of(task)}; what was not committed is saved: 'reconcile restore {task}'"
    return f"; {unseen}" if unseen else ""


@click.command("release")
@common
@on_a_task
def release_command(site: Site, id: TaskId, out: Output) -> int:
    """Give back a TASK that you took over: an agent continues from its branch. Refused inside a run."""
    _work(site, id)
    if TAKEN not in found_task(site, id).labels:
        return out.acted(site, "Release", id, "was not taken")
    write(site, lambda: Change(task=found_task(site, id).id, remove_labels=frozenset({TAKEN})))
    return out.acted(site, "Release", id, "given back")


@click.command("stop")
@click.argument("task", required=False)
@click.option("--all", "everything", is_flag=True, help="Every agent and every check of this repository")
@click.option(
    "--give-up", "give_up", is_flag=True, help="Wait no longer for an agent or a check on a node that is silent"
)
@common
def stop_command(task: str | None, everything: bool, give_up: bool, out: Output) -> int:
    """Stop the agent of a TASK, or all of them. No work is lost; 'reconcile retry' starts it again. Refused inside a run."""
    wiring.refuse_agents(wiring.environ(), "stop")
    if (task is None) != everything:
        raise UsageError("stop needs a task, or --all")
    site = here()
    named = None if task is None else task_named(site, task, out.chat)
    if give_up:
        return _give_up(site, named, out)
    if named is not None:
        _stoppable(site, named)
    stopped, unlabelled, unreached = _stop(site, named)
    words = {task: "is to end" if task in unreached else "stopped" for task in stopped}
    done = [act("StopAgent", each, text, "Stopped") for each, text in words.items()]
    if named is None or named in unlabelled or stopped:
        message = "\n".join(f"{each}  {text}" for each, text in words.items()) or "nothing runs"
    else:
        message = f"{named}  nothing ran; it is not started until 'reconcile retry {named}'"
    held = [act("StopAgent", named, "not started until 'reconcile retry'")] if named and named not in unlabelled else []
    out.noted(site, done or held)
    out.answer_acts(done, message)
    _say(unreached, out)
    for each, error in unlabelled.items():
        out.chat(f"{each}: stopped, but it may be started again: {error}")
    return 1 if _left(site, named, out) or unlabelled else 0


def _give_up(site: Site, task: TaskId | None, out: Output) -> int:
    """Take the right to write away from what runs on other machines; the next attempt may start at once."""
    if task is None:
        raise UsageError("--give-up needs a task")
    runs = [run for run in site.runner.runs().values() if run.alive and run.where and run.task == task]
    if not runs:
        raise PermanentError(f"{task} has no agent, and no check, on another machine", hint=f"reconcile stop {task}")
    for run in runs:
        site.runner.give_up(run.id)
    done = [act("StopAgent", task, "given up", "Stopped")]
    out.noted(site, done)
    works = any(run.id.kind is RunKind.WORK for run in runs)
    left = "what it has becomes saved work once its node is back" if works else "it is run again, on whatever node"
    message = (
        f"{task}  given up; on {runs[0].where} it may live and cost until it hears of that or its lease is over. "
        f"It can't write any more: {left}"
    )
    out.answer_acts(done, message)
    return 0


def _stoppable(site: Site, task: TaskId) -> None:
    """Refuse it where nothing runs and nothing could be started. A silent tracker keeps nobody from stopping."""
    if any(run.alive and run.task == task for run in site.runner.runs().values()):
        return
    try:
        found = found_work(site, task)
    except (TemporaryError, PermanentError):
        return
    if found.closed:
        raise over(found)


def _stop(
    site: Site, task: TaskId | None
) -> tuple[list[TaskId], dict[TaskId, ReconcileError], dict[TaskId, TemporaryError]]:
    """End what runs, whatever the tracker says; what was stopped, which tasks could not be asked to, and whose runs not."""
    unlabelled: dict[TaskId, ReconcileError] = {}
    if task is not None:
        _label_stopped(site, task, unlabelled)  # first, or a watch would start it again

    def tell(run: Run) -> None:
        if run.id.kind is not RunKind.CHECK and task is None:
            _label_stopped(site, run.task, unlabelled)

    ended, unreached = _end(site, task, tell)
    return ended, unlabelled, unreached


def _end(
    site: Site, task: TaskId | None, tell: Callable[[Run], None]
) -> tuple[list[TaskId], dict[TaskId, TemporaryError]]:
    """End every run of a task (None: of all), telling of each once; the tasks whose runs were ended, and why those of some
    of them, which are elsewhere, can't be heard of. That they are to end is recorded all the same."""
    ended: list[TaskId] = []
    unreached: dict[TaskId, TemporaryError] = {}
    end = time.monotonic() + STOP_MOST_S
    while alive := [run for run in site.runner.runs().values() if run.alive and task in (None, run.task)]:
        if all(run.task in unreached for run in alive):
            break
        for run in alive:
            try:
                site.runner.stop(run.id, StopWhy.PERSON)
            except TemporaryError as error:
                if not run.where:
                    raise
                unreached[run.task] = error
            if run.task not in ended:
                ended.append(run.task)
                tell(run)
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return ended, unreached


def _say(unreached: dict[TaskId, TemporaryError], out: Output) -> None:
    for error in unreached.values():
        out.chat(str(error))


def _left(site: Site, task: TaskId | None, out: Output) -> bool:
    """True where runs of a task (None: of any) are still ending; a line says which."""
    left = [str(run.id) for run in site.runner.runs().values() if run.alive and task in (None, run.task)]
    if left:
        out.chat(f"still ending: {', '.join(left)}")
    return bool(left)


def _label_stopped(site: Site, task: TaskId, unlabelled: dict[TaskId, ReconcileError]) -> None:
    try:
        write(site, lambda: Change(task=found_task(site, task).id, add_labels=frozenset({STOPPED})))
    except ReconcileError as error:
        unlabelled[task] = error


def _work(site: Site, task: TaskId) -> None:
    """Raise UsageError for what is no work, PermanentError for what is over."""
    if (found := found_work(site, task)).closed:
        raise over(found)
