"""`approve`, `reject`, `retry`, `stop`, `take`, `release`: what only people decide. They work beside a running watch."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC

import click
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from reconciler import wiring
from reconciler.cli.defaults import Asked, for_show
from reconciler.cli.output import Output, act, common, here
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import found_task, found_work, known_in, on_a_task, task_named
from reconciler.git import worktrees
from reconciler.loop import loop
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError, UsageError
from reconciler.model.names import RunKind, Sha, TaskId, branch_of
from reconciler.model.observed import PullRequest, PullState, Run, StopWhy, Task, Unknown
from reconciler.model.ports import Change
from reconciler.model.pull_records import Verdict
from reconciler.planning import review_comments
from reconciler.planning.actions.block_task import retrying
from reconciler.planning.graph import Index
from reconciler.planning.jobs import group_tasks, owners
from reconciler.planning.labels import MERGED, STOPPED, TAKEN
from reconciler.wiring import Site

STOP_MOST_S = 15.0


HEAD = click.option(
    "--head", metavar="COMMIT", default=None, help="Only if this still is its head: what you have looked at"
)


@click.command("approve")
@HEAD
@common
@on_a_task
def approve_command(site: Site, id: TaskId, head: str | None, out: Output) -> int:
    """Approve the pull request of a TASK at its current head. New commits need a new approval."""
    pull = _offered(site, id, head)
    site.forge.approve(pull.number, pull.head)
    passed_over = f"; {review_comments.listed(pull.threads)} stays open" if pull.threads else ""
    return out.acted(site, "Approve", id, f"approved #{pull.number} at {pull.head[:12]}{passed_over}")


@click.command("reject")
@click.option("-m", "--message", required=True, help="What to change; the agent gets to read it")
@click.option("--close", is_flag=True, help="Close the pull request: the task is handed to a person")
@HEAD
@common
@on_a_task
def reject_command(site: Site, id: TaskId, message: str, close: bool, head: str | None, out: Output) -> int:
    """Request changes on the pull request of a TASK at its current head."""
    pull = _offered(site, id, head)
    site.forge.reject(pull.number, pull.head, message)
    if close:
        site.forge.close(pull.number, declined=True)
    return out.acted(
        site, "Reject", id, f"rejected #{pull.number} at {pull.head[:12]}" + (", closed it" if close else "")
    )


@click.command("retry")
@click.option("--reopen", is_flag=True, help="Even if its work is merged: it is done, and merged, once more")
@common
@on_a_task
def retry_command(site: Site, id: TaskId, reopen: bool, out: Output) -> int:
    """Start a TASK over: its attempts count from 1 again. Its branch and worktree stay."""
    found_work(site, id)
    read_again = begin_anew(site, id, out, reopen=reopen)
    also = ", and its reviewer is asked again" if read_again else ""
    return out.acted(site, "RetryTask", id, f"reset: attempts start again at 1{also}")


def begin_anew(site: Site, task: TaskId, out: Output, *, reopen: bool = False) -> bool:
    """Count attempts and landings of a task from here on, and open it; True where its reviewer is asked again for that.

    Raises PermanentError where its work has landed and `reopen` was not asked for, also where that happens meanwhile.
    """
    found = found_task(site, task)
    # Before it is known what has landed: what lands from now on is newer than the mark, and counts.
    base = _base_head(site, task)
    read_again = not reopen and _not_landed(site, found, out)
    site.runner.mark_since(task, base, loop.now())
    _write(site, lambda: retrying(found_task(site, task) if reopen else _open_still(site, found)))
    return read_again


def _not_landed(site: Site, task: Task, out: Output) -> bool:
    """True where its reviewer has answered, and is asked again."""
    tick = LoopSession(site=site, out=out).look()
    landings = tick.observed.landings
    if isinstance(landings, Unknown):
        message = f"{task.id}: what has landed can't be seen now: {landings.why}"
        raise TemporaryError(message, hint="try again, or with --reopen if its work is to be done in any case")
    if task.id in landings or (task.closed and MERGED in task.labels):
        raise landed(task.id)
    return any(job.offer.reviewing.retried for epic in tick.plan.epics for job in epic.jobs if job.task.id == task.id)


def _open_still(site: Site, before: Task) -> Task:
    """The task as it is now, where nobody has closed it since it was looked at."""
    now = found_task(site, before.id)
    if now.closed and not before.closed:
        raise over(now)
    return now


def over(task: Task) -> PermanentError:
    """What is reported to the one who would have something done for a closed task."""
    if MERGED in task.labels:
        return landed(task.id)
    hint = f"'reconcile task update {task.id} --status open' begins it again"
    return PermanentError(f"{task.id} is closed", hint=hint)


def landed(task: TaskId) -> PermanentError:
    """The same where its work is on the base already: that it is done again is said in so many words."""
    return PermanentError(
        f"{task} is closed: its work is merged", hint=f"'reconcile retry {task} --reopen' does it again"
    )


@click.command("take")
@common
@on_a_task
def take_command(site: Site, id: TaskId, out: Output) -> int:
    """Take over a TASK: its agent is stopped, and nothing is started, merged or removed until 'release'.

    Its branch and worktree stay as they are, for you to go on with. Refused inside a run.
    """
    _work(site, id)
    _write(site, lambda: Change(task=found_task(site, id).id, add_labels=frozenset({TAKEN})))
    ended = _end(site, id, lambda run: None)
    code = out.acted(
        site,
        "Take",
        id,
        f"yours{_where(site, id)}"
        + ("; its agent was stopped" if ended else "")
        + f"; 'reconcile release {id}' gives it back",
    )
    return 1 if _left(site, id, out) else code


def _where(site: Site, task: TaskId) -> str:
    """Where its worktree is; nothing where it has none yet."""
    return next((f", in {entry.path}" for entry in worktrees.read(site.git).holding(branch_of(task))), "")


@click.command("release")
@common
@on_a_task
def release_command(site: Site, id: TaskId, out: Output) -> int:
    """Give back a TASK that you took over: an agent continues from its branch. Refused inside a run."""
    _work(site, id)
    if TAKEN not in found_task(site, id).labels:
        return out.acted(site, "Release", id, "was not taken")
    _write(site, lambda: Change(task=found_task(site, id).id, remove_labels=frozenset({TAKEN})))
    return out.acted(site, "Release", id, "given back")


@click.command("stop")
@click.argument("task", required=False)
@click.option("--all", "everything", is_flag=True, help="Every agent and every check of this repository")
@click.option("--give-up", "give_up", is_flag=True, help="Wait no longer for an agent on a node that is silent")
@common
def stop_command(task: str | None, everything: bool, give_up: bool, out: Output) -> int:
    """Stop the agent of a TASK, or all of them. No work is lost; 'reconcile retry' starts it again."""
    if (task is None) != everything:
        raise UsageError("stop needs a task, or --all")
    site = here()
    named = None if task is None else task_named(site, task, out.chat)
    if give_up:
        return _give_up(site, named, out)
    if named is not None:
        _stoppable(site, named)
    stopped, unlabelled = _stop(site, named)
    done = [act("StopAgent", each, "stopped", "Stopped") for each in stopped]
    if named is None or named in unlabelled or stopped:
        message = "\n".join(f"{each}  stopped" for each in stopped) or "nothing runs"
    else:
        message = f"{named}  nothing ran; it is not started until 'reconcile retry {named}'"
    held = [act("StopAgent", named, "not started until 'reconcile retry'")] if named and named not in unlabelled else []
    out.noted(site, done or held)
    out.answer({"actions": done, "waiting": [], "unknown": []}, lambda: message)
    for each, error in unlabelled.items():
        out.chat(f"{each}: stopped, but it may be started again: {error}")
    return 1 if _left(site, named, out) or unlabelled else 0


def _give_up(site: Site, task: TaskId | None, out: Output) -> int:
    """Take the right to write away from what runs on other machines; the next attempt may start at once."""
    if task is None:
        raise UsageError("--give-up needs a task")
    runs = [run for run in site.runner.runs().values() if run.alive and run.where and run.task == task]
    if not runs:
        raise PermanentError(f"{task} has no agent on another machine", hint=f"reconcile stop {task}")
    for run in runs:
        site.runner.give_up(run.id)
    done = [act("StopAgent", task, "given up", "Stopped")]
    out.noted(site, done)
    message = (
        f"{task}  given up; on {runs[0].where} it may live and cost until it hears of that or its lease is over. "
        "It can't write any more: what it has becomes saved work once its node is back"
    )
    out.answer({"actions": done, "waiting": [], "unknown": []}, lambda: message)
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


def _stop(site: Site, task: TaskId | None) -> tuple[list[TaskId], dict[TaskId, ReconcileError]]:
    """End what runs, whatever the tracker says; what was stopped, and which tasks could not be asked to."""
    unlabelled: dict[TaskId, ReconcileError] = {}
    if task is not None:
        _told(site, task, unlabelled)  # first, or a watch would start it again

    def tell(run: Run) -> None:
        if run.id.kind is not RunKind.CHECK and task is None:
            _told(site, run.task, unlabelled)

    return _end(site, task, tell), unlabelled


def _end(site: Site, task: TaskId | None, tell: Callable[[Run], None]) -> list[TaskId]:
    """End every run of a task (None: of all), telling of each once; the tasks whose runs were ended."""
    ended: list[TaskId] = []
    end = time.monotonic() + STOP_MOST_S
    while alive := [run for run in site.runner.runs().values() if run.alive and task in (None, run.task)]:
        for run in alive:
            site.runner.stop(run.id, StopWhy.PERSON)
            if run.task not in ended:
                ended.append(run.task)
                tell(run)
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return ended


def _left(site: Site, task: TaskId | None, out: Output) -> bool:
    """True, and said so, where runs of a task (None: of any) are still ending."""
    left = [str(run.id) for run in site.runner.runs().values() if run.alive and task in (None, run.task)]
    if left:
        out.chat(f"still ending: {', '.join(left)}")
    return bool(left)


def _told(site: Site, task: TaskId, unlabelled: dict[TaskId, ReconcileError]) -> None:
    try:
        _write(site, lambda: Change(task=found_task(site, task).id, add_labels=frozenset({STOPPED})))
    except ReconcileError as error:
        unlabelled[task] = error


@retry(retry=retry_if_exception_type(ChangedError), stop=stop_after_attempt(5), reraise=True)
def _write(site: Site, change: Callable[[], Change]) -> None:
    """Write a change, made again while somebody else comes first."""
    if error := site.tracker.write([change()])[0]:
        raise error


def _work(site: Site, task: TaskId) -> None:
    """Raise UsageError for what is no work, PermanentError for what is over."""
    if (found := found_work(site, task)).closed:
        raise over(found)


def _offered(site: Site, task: TaskId, head: str | None) -> PullRequest:
    """Its open pull request. Raises UsageError where there is none, ChangedError where its head is another than `head`."""
    pull = site.forge.pull_requests().get(task)
    if pull is None:
        known_in(site, task)
    if pull is not None and pull.state is not PullState.OPEN:
        raise UsageError(_over_already(site, pull), hint=f"'reconcile pr show {pull.number}' shows what became of it")
    if pull is None:
        raise UsageError(f"{task} has no open pull request", hint="'reconcile pr list' lists those that are open")
    if head is not None and pull.head != head:
        message = f"the head of #{pull.number} is {pull.head[:12]} by now, not {head[:12]}"
        raise ChangedError(message, hint=f"look at it ('reconcile pr diff {pull.number}'), then decide again")
    return pull


def _over_already(site: Site, pull: PullRequest) -> str:
    """What is said of a pull request that is open no more: who asks twice has mostly been heard the first time."""
    kept = next((record for record, _ in site.forge.every_pull_request() if record.number == pull.number), None)
    yes = [each for each in kept.reviews if each.verdict is Verdict.APPROVED] if kept else []
    since = f" (approved {yes[-1].at.astimezone(UTC):%Y-%m-%d %H:%M})" if yes else ""
    return f"#{pull.number} is {pull.state} already{since}"


def _base_head(site: Site, task: TaskId) -> Sha | None:
    """The tip of the base that a task's work is for: that of the manifest that owns it, else what `run` would say."""
    desired, tasks = site.desired(), site.tracker.tasks()
    owner = owners(group_tasks(desired, site.tracker.prefix(), tasks, Index(tasks))).get(task)
    bases = [spec.base for spec in desired.epics if spec.name == owner]
    if not bases:
        try:
            bases = [for_show(site, Asked(environ=wiring.environ()), desired.epics).base]
        except ReconcileError:
            return None
    return site.forge.base(bases[0], look=False).head
