"""`get`: tables of what there is, and arrays of it for programs. A source that did not answer is an error, never an empty table."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

import click

from reconciler.cli.apply import Duration
from reconciler.cli.events import Wanted, followed, missing
from reconciler.cli.output import Output, common, here, looking
from reconciler.cli.pr import listed, meant
from reconciler.cli.prune import venues
from reconciler.cli.rows import Listing, Row, entries, silence, unmanaged
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import task_known, task_named
from reconciler.git import worktrees as worktree_list
from reconciler.loop import loop
from reconciler.loop.asking import ask
from reconciler.manifest.findings import did_you_mean
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import UsageError
from reconciler.model.names import RunKind, Sha, TaskId, branch_of, usable
from reconciler.model.observed import Run, Unknown, Worktree
from reconciler.model.values import replace
from reconciler.render import document, listing
from reconciler.render import queue as queue_rows
from reconciler.render.entry import run_record
from reconciler.system.machine_room import taken
from reconciler.wiring import Site

SIZES_S = 10.0  # for all of them


class _Kinds(click.Group):
    """Takes the singular too, as `kubectl get` does."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, name) or super().get_command(ctx, f"{name}s")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = did_you_mean(args[0], self.commands)
            ctx.fail(f"there is no kind {args[0]!r}; {near or 'known: ' + ', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


@click.group("get", cls=_Kinds)
def get_command() -> None:
    """List resources of a kind, or one of them by name."""


@get_command.command("tasks", short_help="List the tasks of every applied manifest.")
@click.argument("task", required=False)
@common
@looking
def tasks(task: str | None, out: Output) -> int:
    """List the tasks of every applied manifest, and those of none that were begun; 'reconcile task list' has all."""
    site = here()
    tick = LoopSession(site=site, out=out).look()
    rows = list(entries(tick, unmanaged(site, tick, out)).values())
    found = Listing(what="tasks", rows=rows, table=listing.tasks, silent=silence(tick), all_by="reconcile task list")
    return found.answer_for(out, task, _of(site, task, found.rows, out))


@get_command.command("runs", short_help="List the runs of agents, reviews and checks.")
@click.argument("task", required=False, metavar="[TASK|RUN]")
@common
@looking
def runs(task: str | None, out: Output) -> int:
    """List the runs of agents, reviews and checks, oldest first: all, those of a TASK, or the one with that id (work/x-1/2)."""
    site = here()
    now, seen, silent = loop.now(), *_runs(site)
    rows = [_run(run) for run in sorted(seen, key=lambda run: (run.started_at or now, run.id))]
    found = Listing(what="runs", rows=rows, table=partial(listing.runs, now=now), silent=silent)
    return found.answer_for(out, task, _of(site, task, rows, out))


@get_command.command("worktrees", short_help="List the worktrees of tasks, reviews and checks.")
@click.argument("task", required=False)
@common
@looking
def worktrees(task: str | None, out: Output) -> int:
    """List the worktrees of tasks, reviews and checks: how many files in each are in no commit, and how much disk they take.

    What takes longer than a few seconds to count has no size.
    """
    site = here()
    seen, silent = _runs(site)
    tasks = ask(site.tracker.tasks)
    if isinstance(tasks, Unknown):
        silent, tasks = {**silent, "tracker": tasks.why}, {}
    ids = [task.id for task in tasks.values() if not task.closed and usable(task.id)]
    begun = time.monotonic()
    clock = iter(lambda: time.monotonic() - begun, None)
    away: dict[str, str] = {}
    trees = partial(_worktrees, site, ids, seen, away)
    rows = ask(lambda: [{**row, "bytes": taken(row["path"], SIZES_S, clock)} for row in trees()])
    silent |= away
    if isinstance(rows, Unknown):
        silent, rows = {**silent, "worktrees": rows.why}, []
    found = Listing(what="worktrees", rows=rows, table=listing.worktrees, silent=silent)
    return found.answer_for(out, task, _of(site, task, rows, out))


@get_command.command("prs")
@click.argument("pr", required=False, metavar="[TASK|NUMBER]")
@common
@looking
def prs(pr: str | None, out: Output) -> int:
    """List every pull request, merged and closed ones too."""
    site = here()
    found = listed(site, LoopSession(site=site, out=out).look())
    mine = found.rows if pr is None else meant(pr, found.rows)
    return found.answer_for(out, pr, mine or _of(site, pr, found.rows, out))


@get_command.command("queue", short_help="List what is in line to be merged, and why it waits.")
@click.argument("task", required=False)
@common
@looking
def queue(task: str | None, out: Output) -> int:
    """List what is in line to be merged: what it is tested or merged with, when that is expected to be over, and why it waits."""
    site = here()
    tick = LoopSession(site=site, out=out).look()
    rows = queue_rows.document(tick.plan, tick.observed)
    found = Listing(what="tasks in line", rows=rows, table=queue_rows.table, silent=silence(tick))
    mine = _of(site, task, rows, out)
    nothing = task and not mine and task_known(site, task, lambda _: None)  # a task as others are, and not in line
    return found.answer_for(out, None if nothing else task, mine)


@get_command.command("events")
@click.argument("task", required=False)
@click.option("--task", "of", default=None, metavar="TASK", help="Only of this task; the same as to name it")
@click.option("--since", type=Duration(), default=None, help="Only of so long ago or less, such as 90s, 15m or 2h")
@click.option("-n", "most", type=click.IntRange(0), default=None, help="Only the newest so many")
@click.option("-w", "--watch", "follow", is_flag=True, help="Go on with what happens, until interrupted")
@common
@looking
def events(task: str | None, of: str | None, since: float | None, most: int | None, follow: bool, out: Output) -> int:
    """List what happened, newest last: all that is kept. What was removed is shown as a span.

    With '-w -o json' each event is a line, and so is the span that is missing ('event': 'HistoryDropped').
    """
    if task and of and task != of:
        raise UsageError("events of one task can be asked for, not of two")
    named = task or of
    site = here()
    id = task_named(site, named, out.chat) if named else None
    wanted = Wanted(after=None if since is None else loop.now() - timedelta(seconds=since), most=most)
    if follow:
        return followed(site, out, replace(wanted, task=id))
    seen = ask(partial(site.journal.events, id))
    if since is None and most is None and (gone := site.journal.history.dropped()):
        out.chat(missing(gone))
    silent = {"history": seen.why} if isinstance(seen, Unknown) else {}
    rows = [] if isinstance(seen, Unknown) else wanted.newest([each for each in seen if wanted.fits(each)])
    return Listing(what="events", rows=rows, table=listing.events, silent=silent).answer(out)


@get_command.command("manifests")
@click.argument("name", required=False)
@common
@looking
def manifests(name: str | None, out: Output) -> int:
    """List the applied manifests, and how they stand."""
    site = here()
    read = site.recorded.load()
    tick = LoopSession(site=site, out=out, load=lambda: Desired(epics=read.epics)).look()
    known = {spec.name: site.recorded.status(spec.name) for spec in read.epics}
    shown = {epic["name"]: epic for epic in document.status(tick.plan, tick.observed, known)["epics"]}
    rows = [_manifest(spec, shown[spec.name]) for spec in read.epics]
    silent = {**silence(tick), **{f"manifest {each}": why for each, why in sorted(read.problems.items())}}
    found = Listing(what="manifests", rows=rows, table=listing.manifests, silent=silent)
    return found.answer_for(out, name, [row for row in rows if name in (None, row["name"])])


def _of(site: Site, text: str | None, rows: Sequence[Row], out: Output) -> Sequence[Row]:
    """Those rows that a person means by a task, or by the id of a run; all where nothing is named."""
    if text is None:
        return rows
    if found := [row for row in rows if text in (row.get("id"), row.get("task"))]:
        return found
    task = task_known(site, text, out.chat)
    return [row for row in rows if task and task == row.get("task", row.get("id"))]


# --- runs ----------------------------------------------------------------------------------------------------


def _runs(site: Site) -> tuple[Sequence[Run], dict[str, str]]:
    """Every run, and why there may be others."""
    seen = ask(site.runner.runs)
    return ((), {"runs": seen.why}) if isinstance(seen, Unknown) else (list(seen.values()), {})


def _run(run: Run) -> Row:
    known = {"kind": str(run.id.kind), "task": run.task, "manifest": run.manifest, "n": run.id.n}
    return {**run_record(run), **known, "pid": run.pid if run.alive else None}


# --- worktrees -----------------------------------------------------------------------------------------------


def _worktrees(site: Site, tasks: Sequence[TaskId], runs: Sequence[Run], away: dict[str, str]) -> Iterator[Row]:
    """Those of tasks, then those of checks and reviews, under every folder that a manifest or git speaks of.

    Where a remote does not answer, that goes into `away`, and the others are listed.
    """
    known = worktree_list.read(site.git)
    heads = {str(entry.path): entry.head for entry in known.entries}
    for at in venues(site, known):
        trees = ask(partial(site.workspaces.worktrees, at, tasks))
        if isinstance(trees, Unknown):
            away[f"worktrees of {at.remote or at.root}"] = trees.why
            continue
        for task, tree in trees.items():
            mine = [run for run in runs if run.id.kind is RunKind.WORK and run.task == task]
            place = {"worktree": tree.path, "path": tree.path} if tree.elsewhere else _place(site, tree.path)
            yield {**_work(site, task, tree), **place, "run": _live(mine)}
        for subject, path in site.workspaces.check_worktrees(at).items() if at.local else ():
            mine = [run for run in runs if run.id.kind is not RunKind.WORK and run.id.subject == subject]
            yield {**_check(subject, heads.get(path), mine), **_place(site, path), "run": _live(mine)}


def _work(site: Site, task: TaskId, tree: Worktree) -> Row:
    unasked = tree.fault or tree.head is None or tree.elsewhere
    changed = None if unasked or tree.head is None else ask(partial(site.forge.uncommitted, tree.path, tree.head))
    return {
        "kind": str(RunKind.WORK),
        "task": task,
        "branch": branch_of(task),
        "head": tree.head,
        "changed": len(changed) if isinstance(changed, frozenset) else None,
        "fault": str(tree.fault) if tree.fault else None,
        "detail": tree.detail or None,
        "nested": tree.nested,
    }


def _check(subject: str, head: Sha | None, runs: Sequence[Run]) -> Row:
    newest = max(runs, key=lambda run: run.id.n, default=None)
    nothing = dict.fromkeys(("branch", "changed", "fault", "detail", "nested"))
    kind = RunKind.REVIEW if "@" in subject else RunKind.CHECK
    return {"kind": str(kind), "task": newest.task if newest else None, "head": head, **nothing}


def _place(site: Site, path: str) -> Row:
    return {"worktree": os.path.relpath(path, site.repository.main), "path": path}


def _live(runs: Sequence[Run]) -> Row | None:
    return next((_run(run) for run in runs if run.alive), None)


# --- the rest ------------------------------------------------------------------------------------------------


def _manifest(spec: EpicSpec, shown: Row) -> Row:
    return {
        **{key: shown[key] for key in ("name", "epic", "generation", "observedGeneration")},
        "suspended": spec.suspend,
        "source": spec.source or "-",
        "base": spec.base,
        "maxAgents": spec.max_agents,
        "conditions": shown["conditions"],
    }
