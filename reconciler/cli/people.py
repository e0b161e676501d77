"""`approve`, `reject`, `retry`: what only people decide. They work beside a running watch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

import click
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from reconciler import wiring
from reconciler.cli.defaults import Asked, for_show
from reconciler.cli.output import Output, common
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import found_task, found_work, known_in, on_a_task
from reconciler.loop import loop
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError, UsageError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import PullRequest, PullState, Task, Unknown
from reconciler.model.ports import Change
from reconciler.model.pull_records import Verdict
from reconciler.planning import review_comments
from reconciler.planning.actions.block_task import retrying
from reconciler.planning.epic_tasks import group_tasks, owners
from reconciler.planning.graph import Index
from reconciler.planning.labels import MERGED
from reconciler.wiring import Site

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
    site.forge.review(pull.number, pull.head, Verdict.APPROVED)
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
    site.forge.review(pull.number, pull.head, Verdict.REJECTED, message)
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
    write(site, lambda: retrying(found_task(site, task) if reopen else _open_still(site, found)))
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
    """The error for a command about a task that is closed."""
    if MERGED in task.labels:
        return landed(task.id)
    hint = f"'reconcile task update {task.id} --status open' begins it again"
    return PermanentError(f"{task.id} is closed", hint=hint)


def landed(task: TaskId) -> PermanentError:
    """The same where its work is on the base already: that it is done again stands in so many words."""
    return PermanentError(
        f"{task} is closed: its work is merged", hint=f"'reconcile retry {task} --reopen' does it again"
    )


@retry(retry=retry_if_exception_type(ChangedError), stop=stop_after_attempt(5), reraise=True)
def write(site: Site, change: Callable[[], Change]) -> None:
    """Write a change, made again while somebody else comes first."""
    if error := site.tracker.write([change()])[0]:
        raise error


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
    """The words for a pull request that is open no more: who asks twice has mostly been heard the first time."""
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
