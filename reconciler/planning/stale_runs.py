"""Checks and reviews that go on although nothing asks about them any more, and what those that ended left standing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from reconciler.model.desired import EpicSpec
from reconciler.model.observed import Run, StopWhy, Unknown
from reconciler.model.reasons import Reason
from reconciler.planning import messages, staging
from reconciler.planning.actions import Action, RemoveWorktree, StopAgent, guards
from reconciler.planning.actions.stop_agent import ends, left_alone, out_of_time, overspent
from reconciler.planning.check_state import CheckState
from reconciler.planning.epic_tasks import EpicTasks
from reconciler.planning.epic_view import EpicView
from reconciler.planning.job import Job


def checks(view: EpicView) -> Iterator[Action]:
    """End checks of trees that nothing wants any more, and remove the worktrees of those that have ended."""
    observed, mine, spec, name = view.observed, view.begun, view.spec, view.spec.name
    sources = (observed.pull_requests, *(job.candidate for job in mine))
    if isinstance(observed.checks, Unknown) or any(isinstance(source, Unknown) for source in sources):
        return
    wanted = _wanted(view)
    for subject in sorted({run.id.subject for run in observed.live.checks if run.manifest == name}):
        last = observed.checks[subject][-1]
        if last.manifest != name or not last.alive or last.exit is not None or last.commit or ends(last, observed.at):
            continue
        if subject not in wanted and last.id not in view.tested:
            message, why = "what it tested is no longer what would be merged", StopWhy.PERSON
        elif out_of_time(last, spec.merge.timeout_s, observed.at):
            message, why = "its time is over and its supervisor does not end it", StopWhy.TIMED_OUT
        else:
            continue
        yield StopAgent(
            manifest=name,
            task=last.task,
            reason=Reason.STALE if why is StopWhy.PERSON else Reason.TIMED_OUT,
            message=f"stop {last.id}: {message}",
            run=last.id,
            why=why,
        )
    for subject, path in sorted(observed.check_worktrees.items()):
        runs = observed.checks.get(subject, ())
        # A check that starts again makes its worktree again: taken away from under it, it would turn red.
        if (
            "@" in subject
            or subject in view.checks_starting
            or any(run.alive for run in runs)
            or _keeper(runs, path, view.every) != name
        ):
            continue
        yield _removal(spec, subject, path, runs, Reason.CHECK_ENDED)


def staged(view: EpicView) -> Iterator[Action]:
    """Delete the staging branches of what the forge has tested, and of what nothing wants any more."""
    observed, names = view.observed, {other.spec.name for other in view.every}
    if isinstance(observed.checks, Unknown) or isinstance(observed.pull_requests, Unknown) or not observed.staged:
        return
    wanted = _wanted(view) | view.checks_starting
    unsure = any(isinstance(job.candidate, Unknown) for job in view.begun)
    for each in observed.staged.values():
        left = view.is_first() and each.run.manifest not in names  # by a manifest that is no more
        needed = each.run.id in view.tested or each.run.id.subject in wanted or unsure
        if each.run.manifest == view.spec.name or left:
            yield from staging.cleared(each, observed, needed=needed and not left)


def reviews(view: EpicView) -> Iterator[Action]:
    """End reviews of what nothing asks about any more, and throw away the worktrees of those that have ended."""
    observed, spec, name = view.observed, view.spec, view.spec.name
    sources = (observed.pull_requests, *(job.diff for job in view.begun), *(job.brief for job in view.jobs[:1]))
    if isinstance(observed.reviews, Unknown) or any(isinstance(source, Unknown) for source in sources):
        return
    wanted = {run.id for job in view.begun if _for_review(job) for run in job.offer.reviewing.wanted}
    every = [run for runs in observed.reviews.values() for run in runs]
    by_task = {job.task.id: job for job in view.jobs} if every else {}
    for run in sorted(every, key=lambda run: run.id):
        if run.manifest != name or not run.alive or ends(run, observed.at):
            continue
        if run.exit is not None and not left_alone(run, observed.at):
            continue
        if why := _why_ended(run, spec, by_task.get(run.task), observed.at, asked=run.id in wanted):
            yield StopAgent(
                manifest=name, task=run.task, reason=why[1], message=f"stop {run.id}: {why[2]}", run=run.id, why=why[0]
            )
    for subject, path in sorted(observed.check_worktrees.items()):
        runs = tuple(run for run in every if run.id.subject == subject)
        busy = subject in view.reviews_starting or any(run.alive for run in runs)
        if "@" not in subject or busy or _keeper(runs, path, view.every) != name:
            continue
        yield _removal(spec, subject, path, runs, Reason.REVIEW_ENDED)


def _removal(spec: EpicSpec, subject: str, path: str, runs: tuple[Run, ...], why: Reason) -> RemoveWorktree:
    task = runs[-1].task if runs else None
    kind = "check" if why is Reason.CHECK_ENDED else "review"
    return RemoveWorktree(
        manifest=spec.name,
        task=task,
        reason=why,
        message=f"clean up {kind} worktree {messages.relative(path, spec.repository)}",
        subject=task,
        at=spec.checks_venue,
        check=subject,
    )


def _for_review(job: Job) -> bool:
    """True while a review of a task may still matter: it is offered, ours to go on with, and nobody works on it."""
    if not job.open_pull or job.done or job.attempts.live:  # as most are not offered
        return False
    aside = (
        guards.not_for_us(job) or guards.somebody_elses(job) or guards.for_a_person(job) or guards.deferred_by_user(job)
    )
    return not aside and not job.offer.approved


def _why_ended(
    run: Run, spec: EpicSpec, job: Job | None, now: datetime, *, asked: bool
) -> tuple[StopWhy, Reason, str] | None:
    reviewer = spec.reviewing
    if run.exit is not None:
        return run.exit.stop or StopWhy.PERSON, Reason.LEFTOVERS, "it ended, but processes of it still live"
    if not asked:
        return StopWhy.PERSON, Reason.STALE, "what it judges is not what is to be judged any more"
    if run.done_at and now - run.done_at >= guards.GRACE:
        return StopWhy.DONE, Reason.AGENT_DONE, "it printed its final result and still runs"
    if words := job and overspent(run, job):
        return StopWhy.BUDGET, Reason.BUDGET_SPENT, words
    if out_of_time(run, reviewer.timeout_s, now):
        return StopWhy.TIMED_OUT, Reason.TIMED_OUT, "its time is over and its supervisor does not end it"
    return None


def _wanted(view: EpicView) -> set[str | None]:
    """The subjects of the checks that may still decide something."""
    offered = [job for job in view.begun if job.open_pull and not job.done and not job.offer.outdated]
    return {job.offer.subject for job in offered} | {run.id.subject for job in offered for run in _on_the_base(job)}


def _on_the_base(job: Job) -> tuple[Run, ...]:
    """The checks of the base as it is that tell whose fault a job's failed checks are."""
    asked = job.offer.check_state is CheckState.FAILED
    return job.base_checks if asked and not isinstance(job.base_checks, Unknown) else ()


def _keeper(runs: tuple[Run, ...], path: str, found: tuple[EpicTasks, ...]) -> str | None:
    """The manifest that clears a check's worktree away: the one that started it, else the first with that root."""
    made = runs[-1].manifest if runs else None
    names = [epic_tasks.spec.name for epic_tasks in found if path.startswith(f"{epic_tasks.spec.worktrees.root}/")]
    return made if made in names else next(iter(names), None)
