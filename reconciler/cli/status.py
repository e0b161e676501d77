"""`status`, `describe`, `logs`: what is, what comes next, and what was printed. They change nothing."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence, Set
from functools import partial
from typing import Any

import click
from msgspec import Struct

from reconciler import wiring
from reconciler.cli import EXIT_NEEDS_PERSON, rows
from reconciler.cli.defaults import Asked, undecided
from reconciler.cli.logs import LogReader
from reconciler.cli.look import seen_by_another, spending
from reconciler.cli.output import Output, common, here, looking
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import known_in, task_named
from reconciler.git import locks
from reconciler.loop import loop
from reconciler.loop.asking import ask
from reconciler.loop.loop import Tick
from reconciler.manifest.findings import not_applied
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import Desired
from reconciler.model.errors import ReconcileError, UsageError
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run, Unknown
from reconciler.model.values import replace
from reconciler.planning.notices import Told, told_of
from reconciler.planning.planner import plan
from reconciler.render import document, safe, slow_calls, telling, text, words
from reconciler.system import lock
from reconciler.system.late import late
from reconciler.wiring import Site

FOLLOW_PAUSE_S = 0.2


@click.command("status")
@click.argument("name", required=False)
@click.option("--fresh", is_flag=True, help="Look here, and ask every source, also beside a 'reconcile watch'")
@common
@looking
def status_command(name: str | None, fresh: bool, out: Output) -> int:
    """Show every task of the applied manifests (or of the one NAMEd), and what happens next.

    Without any, it shows what 'reconcile run' would work on. Beside a 'reconcile watch' it shows what the watch sees now.
    """
    site = here()
    desired = site.desired()
    applied = [epic.name for epic in desired.epics]
    if name is not None and name not in applied:
        raise not_applied(name, applied)
    # First: what the one who acts waits for may keep us from looking, too.
    calls = site.unanswered
    for call in calls:
        out.chat(slow_calls.words(call, time.time()))
    stands = (None if fresh else _another_saw(site, desired)) or _we_see(site, out, desired, name)
    shown = stands.shown
    if not applied:
        shown["epics"] = [epic for epic in shown["epics"] if epic["counts"]["tasks"] != 0]
        if shown["epics"]:
            out.chat("no manifest is applied; this is what 'reconcile run' would work on")
    if any(epic.notify for epic in desired.epics):
        seen = ask(site.notified.lines)
        record = Told() if isinstance(seen, Unknown) else told_of(seen)
        shown["notify"] = telling.unreached(desired.epics, record)
    if calls:
        shown["unanswered"] = list(map(slow_calls.plain, calls))
    shown["epics"] = [epic for epic in shown["epics"] if name in (None, epic["name"])]
    if name is not None:
        shown["unmanaged"] = None if shown["unmanaged"] is None else []
    # For a pipe, nothing that draws pictures is imported.
    live = late("reconciler.cli.live") if out.interactive else None
    out.answer(shown, lambda: live.once(site, shown, out) if live else text.status(shown))
    _say_beside(site, out, stands)
    return 0


class _Seen(Struct, frozen=True, kw_only=True):
    """The document of `status`, and what stands beside it. `by`: who looked; "": we did."""

    shown: dict[str, Any]
    orphans: Sequence[str]
    bases: Set[str]
    by: str = ""


def _another_saw(site: Site, desired: Desired) -> _Seen | None:
    """What the one who acts here sees, where it acts on all that is applied; nobody else is asked then."""
    look = seen_by_another(site) if desired.epics else None
    wanted = {epic.name: epic.generation for epic in desired.epics}
    if look is None or {name: part["status"]["generation"] for name, part in look.manifests.items()} != wanted:
        return None
    epics = [look.manifests[name]["status"] for name in wanted]
    shown = {"at": look.at, "epics": epics, "unmanaged": look.rest["unmanaged"]}
    if site.chosen.github:
        shown["forge"] = look.rest["forge"]
    bases = {part["spec"]["base"] for part in look.manifests.values()}
    return _Seen(shown=shown, orphans=look.rest["orphans"], bases=bases, by=look.by or "")


def _we_see(site: Site, out: Output, desired: Desired, name: str | None) -> _Seen:
    tick = _looked(site, out, for_people=out.for_people)
    recorded = {epic.name: site.recorded.status(epic.name) for epic in desired.epics}
    beside = rows.unmanaged(site, tick, out) if name is None else None
    shown = document.status(tick.plan, tick.observed, recorded, beside, every=not out.for_people)
    if site.chosen.github:
        shown["forge"] = spending(site.chosen.github)
    orphans = list(map(text.orphan, tick.plan.orphan_worktrees))
    return _Seen(shown=shown, orphans=orphans, bases={epic.spec.base for epic in tick.plan.epics})


def _say_beside(site: Site, out: Output, stands: _Seen) -> None:
    """Who looked, who stands still, what asking has cost, and what is left over."""
    if stands.by and out.for_people:
        age_s = words.seconds_since(stands.shown["at"], loop.now())
        out.chat(f"as the reconciler that acts here saw it {words.span(age_s)} ago: {stands.by}")
    holder = lock.holder(site.state)
    if holder and site.holds(holder) and holder.stopped:
        out.chat(f"the reconciler that acts here is stopped, and does nothing: {holder}\n  hint: {holder.awoken}")
    if "forge" in stands.shown:
        out.chat(text.spending(stands.shown["forge"]))
    for each in telling.lines(stands.shown.get("notify", ())):
        out.chat(each)
    for orphan in stands.orphans:
        out.chat(orphan)
    for stale, age_s in locks.stale(site.repository.common, stands.bases):
        message = f"{stale} is there for {words.span(age_s)}: git refuses to work beside it"
        out.chat(f"{message}\n  hint: if no git runs here: rm {shlex.quote(str(stale))}")


@click.command("describe")
@click.argument("task")
@common
@looking
def describe_command(task: str, out: Output) -> int:
    """Show everything about one TASK: state, runs, history. For an epic: its tasks."""
    site = here()
    tick = _looked(site, out)
    id = task_named(site, task, out.chat)
    beside, reviews = rows.unmanaged(site, tick, out), tick.observed.reviews
    read = {} if isinstance(reviews, Unknown) else rows.read_by(site, reviews.get(id, ()))
    shown = document.describe(id, tick.plan, tick.observed, site.journal.events(id), beside, read)
    if shown is None and (epic := document.describe_epic(id, tick.plan, tick.observed)):
        out.answer(epic, lambda: text.describe_epic(epic))
        return 0
    if shown is None:
        if silent := rows.silence(tick):  # it may be there
            rows.said_silent(out, silent)
            return EXIT_NEEDS_PERSON
        known_in(site, id)
        hint = f"'reconcile task show {id}' shows it, 'reconcile spawn {id}' starts an agent for it"
        raise UsageError(f"no applied manifest has a task {id}, and nothing of it is unfinished", hint=hint)
    out.answer(shown, lambda: text.describe(shown))
    return 0


@click.command("logs")
@click.argument("task", metavar="TASK|RUN")
@click.option("-f", "--follow", is_flag=True, help="Follow the output while the agent runs")
@click.option(
    "--attempt", type=click.IntRange(1), default=None, help="The output of this attempt (default: the newest)"
)
@click.option("--raw", is_flag=True, help="Print the raw output instead of a readable form of it")
@looking
def logs_command(task: str, follow: bool, attempt: int | None, raw: bool) -> int:
    """Show the output of the agent of a TASK, or of a RUN by its id ('describe' lists them, checks too)."""
    site = here()
    run = _by_id(site, task) or _run(site, task_named(site, task, _chat), attempt)
    log = LogReader(read=partial(site.runner.log, run.id), shown=None if raw else site.runner.shown(run.id))
    _print(log)
    if not log.at and not follow:
        _chat(f"{run.id} has printed nothing{' yet' if run.alive else ''}")
    while follow and site.runner.runs()[run.id].alive:
        time.sleep(FOLLOW_PAUSE_S)
        _print(log)
    if follow:
        _print(log)
    return 0


def _chat(text: str) -> None:
    click.echo(safe.block(text), err=True)


def _looked(site: Site, out: Output, *, for_people: bool = False) -> Tick:
    """One look. Where no manifest is applied, at what `run` would see; only people are shown that as a plan."""
    applied = site.desired()
    as_run = None if applied.epics else _as_run(site, out, applied, aloud=for_people)
    tick = LoopSession(site=site, out=out, load=lambda: as_run or applied).look()
    return tick if for_people or not as_run else replace(tick, plan=plan(applied, tick.observed))


def _as_run(site: Site, out: Output, applied: Desired, *, aloud: bool) -> Desired | None:
    """The manifest that a run would make up for every task; None where it could not."""
    try:
        rest = undecided(site, Asked(environ=wiring.environ()), ())
    except ReconcileError as error:
        if aloud:
            out.chat(str(error))
        return None
    # Any program that is there: nothing is started, and what could be is not kept back by what nobody has decided yet.
    agent = AgentSpec(argv=("git",)) if rest.agent == AgentSpec() else rest.agent
    return replace(applied, epics=(replace(rest, agent=agent),))


def _by_id(site: Site, text: str) -> Run | None:
    """The run of that id. Raises UsageError where there is none of it; None for what is no run's id."""
    try:
        id = RunId.parse(text)
    except ValueError:
        return None
    run = site.runner.runs().get(id)
    if run is None:
        raise UsageError(f"there is no run {text}", hint="'reconcile get runs' lists them")
    return run


def _run(site: Site, task: TaskId, attempt: int | None) -> Run:
    mine = [
        run for run in site.runner.runs().values() if run.id.kind is RunKind.WORK and run.task == task and run.started
    ]
    fitting = [run for run in mine if attempt in (None, run.attempt)]
    if not fitting:
        which = f" of attempt {attempt}"
        if not mine:
            known_in(site, task)
            raise UsageError(f"no agent has run for {task}", hint=f"'reconcile spawn {task}' starts one")
        raise UsageError(f"{task} has no run{which}", hint=f"'reconcile get runs {task}' lists them")
    return max(fitting, key=lambda run: run.id.n)


def _print(log: LogReader) -> None:
    found = log.more()
    if sys.stdout.isatty():
        found = safe.block(found.decode("utf-8", "replace")).encode()
    sys.stdout.buffer.write(found)
    sys.stdout.buffer.flush()
