"""`merge`: what is offered is checked and lands by a person's word: here, or by the reconciler that runs already."""

from __future__ import annotations

from collections.abc import Iterable

import click

from reconciler import wiring
from reconciler.cli import EXIT_NEEDS_PERSON, merge_word
from reconciler.cli.defaults import Asked, spawned_alone, undecided
from reconciler.cli.drive import Ended, drive
from reconciler.cli.output import Output, common, here, looking, verbose
from reconciler.cli.session import LoopSession
from reconciler.loop.loop import Tick
from reconciler.model.desired import Desired, EpicSpec, MergeMode
from reconciler.model.errors import LockedError, UsageError
from reconciler.model.names import RunKind, TaskId
from reconciler.model.observed import PullRequest, PullState, known_or
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.actions import Action, BlockTask, RestartAgent, StopAgent, next_step
from reconciler.planning.job import Job
from reconciler.planning.plan import Plan
from reconciler.render import document, text
from reconciler.system import lock
from reconciler.wiring import Site


@click.command("merge")
@click.option("--dry-run", is_flag=True, help="Only show what would be done")
@click.option("--no-wait", is_flag=True, help="Do not wait for the checks it starts, or for the watch")
@common
@verbose
@looking
def merge_command(dry_run: bool, no_wait: bool, out: Output) -> int:
    """Run checks on every open pull request and merge those that pass, also where the manifest says 'mode: manual'.

    Beside a running watch it asks the watch to merge what is waiting for that. A commit pushed later has to be asked
    for again; 'reconcile reject' takes it back. Exit status 3: a pull request is open and was not merged.
    """
    if not dry_run:
        wiring.refuse_agents(wiring.environ(), "merge")
    site = here()
    spawned = spawned_alone(site)
    rest = _rest(site, out) if spawned else ()
    session = LoopSession(
        site=site,
        out=out,
        load=lambda: _by_word(site, rest),
        wanted=lambda action: _by_merge(action) and (action.task in spawned or not _by_nobody(action, rest)),
    )
    if dry_run:
        looked = session.look()
        decided = looked.plan
        out.answer(document.plan(decided), lambda: text.plan(decided, "reconcile merge"))
        _say_uncovered(out, _offered(looked, decided.unmanaged))
        return 1 if decided.actions else 0
    while True:
        try:
            with lock.reconciling(site.state, "merge", site.surroundings):
                for spec in rest:
                    site.forge.catch_up(spec.base)
                merge_word.put_back(session)
                return drive(session, lambda decided: no_wait or not _checking(decided), _merged)
        except LockedError:
            other = LoopSession(site=site, out=out, done=session.done, drawn=True)
            by_people = any(spec.merge.mode is MergeMode.MANUAL for spec in site.desired().epics)
            if not by_people and not merge_word.taken_out(other.look().plan):
                raise
            if (code := _beside(other, spawned, wait=not no_wait)) is not None:
                return code


def _merged(session: LoopSession, ended: Ended) -> int:
    """Conclude with what is still open, and why."""
    out, tick = session.out, ended.tick
    left = merge_word.offered(tick.plan.epics)
    uncovered = _offered(tick, tick.plan.unmanaged)
    out.answer(session.answer(tick), lambda: text.unmerged(len(left) + len(uncovered)))
    _say_why(out, tick.plan, left)
    _say_uncovered(out, uncovered)
    return EXIT_NEEDS_PERSON if left or uncovered else 1 if tick.errors else 0


def _beside(session: LoopSession, spawned: frozenset[TaskId], *, wait: bool) -> int | None:
    """Have the reconciler that runs here merge what waits for a person; the exit code, None when that one has ended."""
    heads, tick = merge_word.say(session)
    if heads and wait:
        seen = merge_word.outcome(session, heads)
        if seen is None:
            return None
        tick = seen
    offered = _left_to_people(tick.plan)
    session.out.answer(session.answer(tick), lambda: text.unmerged(len(offered)))
    left = [job for job in offered if wait or job.task.id not in heads]
    _say_why(session.out, tick.plan, left)
    if unseen := [f"{source}: {why}" for epic in tick.plan.epics for source, why in epic.unknown]:
        session.out.chat(f"what is left is not known: {unseen[0]}")
        return 1
    # What the reconciler beside us knows nothing of.
    alone = _offered(tick, spawned - {job.task.id for epic in tick.plan.epics for job in epic.jobs})
    for pull in alone:
        session.out.chat(
            f"{pull.task}: #{pull.number} is not merged: not covered by any manifest; stop the watch, then merge"
        )
    return EXIT_NEEDS_PERSON if left or alone else 0


def _offered(tick: Tick, tasks: Iterable[TaskId]) -> list[PullRequest]:
    """The open pull requests of tasks."""
    pulls = tick.observed.pull_requests
    found = known_or(pulls, {})
    return [found[id] for id in sorted(tasks) if id in found and found[id].state is PullState.OPEN]


def _say_uncovered(out: Output, pulls: Iterable[PullRequest]) -> None:
    for pull in pulls:
        why = "no manifest covers it; apply its manifest, or 'reconcile run', to go on"
        out.chat(f"{pull.task}: #{pull.number} is not merged: {why}")


def _left_to_people(decided: Plan) -> list[Job]:
    return merge_word.offered(epic for epic in decided.epics if epic.spec.merge.mode is MergeMode.MANUAL)


def _say_why(out: Output, decided: Plan, left: list[Job]) -> None:
    for job in left:
        out.chat(f"{job.task.id}: #{job.number} is not merged: {_why(decided, job)}")


def _why(decided: Plan, job: Job) -> str:
    """Why a pull request is still open."""
    waiting = next((e.waiting.get(job.task.id) for e in decided.epics if e.name == job.spec.name), None)
    if waiting:
        return waiting.message
    message = job.verdict.message if job.verdict else "its agent can't do more"
    match next_step(job):
        case BlockTask():
            return f"{message}; needs attention"
        case RestartAgent():
            return f"{message}; 'reconcile watch' has it fixed"
        case _:
            return "it may be merged at the next try"


def _rest(site: Site, out: Output) -> tuple[EpicSpec, ...]:
    """What goes for tasks of no manifest, whose agents 'spawn' started."""
    recorded = site.desired().epics
    if any(spec.epic is None and not spec.tasks for spec in recorded):
        return ()  # there are none
    try:
        return (undecided(site, Asked(environ=wiring.environ()), recorded),)
    except UsageError as error:
        out.chat(f"spawned tasks without a manifest are left alone: {error}")
        return ()


def _by_nobody(action: Action, rest: tuple[EpicSpec, ...]) -> bool:
    return action.manifest in {spec.name for spec in rest}


def _by_word(site: Site, rest: tuple[EpicSpec, ...]) -> Desired:
    """The recorded manifests and the one for the rest, with a person's word that they may merge now."""
    desired = site.desired()
    epics = (*desired.epics, *rest)
    return replace(desired, epics=tuple(replace(e, merge=replace(e.merge, mode=MergeMode.AUTO)) for e in epics))


def _by_merge(action: Action) -> bool:
    return action.by_merge or (isinstance(action, StopAgent) and action.run.kind is not RunKind.WORK)


def _checking(decided: Plan) -> bool:
    words = [word for epic in decided.epics for word in epic.waiting.values()]
    # Those of a forge elsewhere are awaited for as long as they may end by themselves.
    runs = (Reason.CHECKS_RUNNING, Reason.REVIEW_RUNNING)
    return any(w.reason in runs or (w.reason is Reason.CHECKS_PENDING and w.until) for w in words)
