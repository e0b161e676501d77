"""`run`: work off an epic, or every task, without a manifest of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click
from msgspec import Struct

from reconciler import wiring
from reconciler.cli.apply import beside, preview
from reconciler.cli.defaults import VARIABLE, Asked, made_up
from reconciler.cli.drive import NothingLeft, drive
from reconciler.cli.output import Output, common, here, looking, verbose
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import missing, task_named
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import UsageError
from reconciler.model.names import TaskId
from reconciler.model.observed import Graph
from reconciler.model.values import replace
from reconciler.planning.epic_tasks import EpicTasks, group_tasks, owners
from reconciler.planning.graph import Index
from reconciler.render.words import counted
from reconciler.system import lock
from reconciler.wiring import Site

AGENT = click.option(
    "--agent",
    metavar="PROFILE|COMMAND",
    default=None,
    help=f"The agent: the name of an AgentProfile, or a command line (also: {VARIABLE})",
)


@click.command("run")
@click.option("--epic", default=None, metavar="ID", help="Only the tasks below this epic (default: every task)")
@click.option("--max-agents", type=click.IntRange(0), default=None, metavar="N", help="Agents at once (default: 4)")
@AGENT
@click.option("--dry-run", is_flag=True, help="Only show what would be done first, as diff does")
@common
@verbose
@looking
def run_command(epic: str | None, max_agents: int | None, agent: str | None, dry_run: bool, out: Output) -> int:
    """Work through all tasks, or those of an epic, until everything is done or needs a person.

    No manifest is needed: settings come from reconcile.yaml at the top of the repository. A manifest that you applied
    for these tasks is used as it is. Killed and called again, it continues where it was. What an earlier 'run' covered
    and this one does not is left as it is.

    Refused inside a run, unless with --dry-run: agents do not start agents.
    """
    environ = wiring.environ()
    if not dry_run:
        wiring.refuse_agents(environ, "run")
    site = here()
    asked = Asked(
        epic=task_named(site, epic, out.chat) if epic else None, max_agents=max_agents, agent=agent, environ=environ
    )
    if dry_run:
        return preview(out, partial(_planned, site, asked))
    with lock.reconciling(site.state, "run", site.surroundings):
        scope = _scope(site, asked)
        _record(site, scope, out)
        load = partial(site.desired, max_agents, scope.names)
        return drive(LoopSession(site=site, out=out, load=load, drawn=True, steady=True), NothingLeft())


class RunScope(Struct, frozen=True, kw_only=True):
    """What a run is about. `names`: the manifests that it acts on (None: all); `made`: the one made up for it, if it
    takes one; `over`: those made up earlier that would take its tasks away."""

    names: frozenset[str] | None
    made: EpicSpec | None
    over: tuple[str, ...]


def _scope(site: Site, asked: Asked) -> RunScope:
    recorded, tasks = site.desired().epics, site.tracker.tasks()
    index = Index(tasks)
    if asked.epic is not None and asked.epic not in tasks:
        raise missing(site, asked.epic)
    wanted = _wanted(tasks, index, asked.epic)
    found = group_tasks(Desired(epics=recorded), site.tracker.prefix(), tasks, index)
    names, covered = _covering([epic_tasks for epic_tasks in found if not epic_tasks.spec.made_up], wanted, asked.epic)
    if covered and asked.agent:
        theirs = sorted(names or {each.spec.name for each in found if not each.spec.made_up})
        whose = f"the manifest {theirs[0]} names" if len(theirs) == 1 else f"the manifests {', '.join(theirs)} name"
        raise UsageError(f"{whose} the agent of these tasks", hint="change it there, and leave --agent out")
    made = None if covered else made_up(site, asked, recorded)
    keep = frozenset({made.name} if made else ())
    earlier = [epic_tasks for epic_tasks in found if epic_tasks.spec.made_up and epic_tasks.spec.name not in keep]
    return RunScope(
        names=None if asked.epic is None else names | keep,
        made=made,
        over=tuple(epic_tasks.spec.name for epic_tasks in earlier if _meet(epic_tasks, wanted, asked.epic)),
    )


def _covering(
    theirs: Sequence[EpicTasks], wanted: frozenset[TaskId], epic: TaskId | None
) -> tuple[frozenset[str], bool]:
    """The manifests of people's own that hold some of the tasks, and whether they hold all that is asked for."""
    named = frozenset(
        epic_tasks.spec.name for epic_tasks in theirs if epic and epic_tasks.epic and epic_tasks.epic.id == epic
    )
    owned = owners(theirs)
    names = named | {owned[task] for task in wanted if task in owned}
    whole = all(task in owned for task in wanted)
    return names, bool(named) or (whole and bool(names if epic else theirs))


def _wanted(tasks: Graph, index: Index, epic: TaskId | None) -> frozenset[TaskId]:
    """The open tasks that a run is about. Raises UsageError where the epic is none."""
    below = tuple(tasks) if epic is None else index.descendants(epic)
    if epic is not None and not below:
        raise UsageError(
            f"{epic} has no tasks below it",
            hint=f"'reconcile task create TITLE --parent {epic}' makes one; "
            f"'reconcile spawn {epic}' gives the task itself an agent",
        )
    return frozenset(id for id in below if not tasks[id].closed and not index.is_epic(id))


def _meet(epic_tasks: EpicTasks, wanted: frozenset[TaskId], epic: TaskId | None) -> bool:
    """True when a manifest speaks of tasks that a run is about."""
    return epic is None or epic_tasks.spec.epic is None or any(task.id in wanted for task in epic_tasks.members)


def _record(site: Site, scope: RunScope, out: Output) -> None:
    # In this order: killed in between, the next run finds both and forgets the older ones.
    if scope.made:
        made = site.recorded.record(scope.made)
        site.recorded.trust([made.name], site.quiet)
        site.noted()
        passing = ", ".join(made.merge.commands) or "none"
        out.chat(
            f"{made.name}: at most {counted(made.max_agents, 'agent')} ({' '.join(made.agent.argv) or made.agent.program}); checks: {passing}"
        )
    for name in scope.over:
        site.recorded.delete(name)
        out.chat(f"deleted manifest {name} of an earlier run; its tasks, branches and agents are kept")


def _planned(site: Site, asked: Asked) -> tuple[Site, Desired, str]:
    scope, recorded = _scope(site, asked), site.desired(asked.max_agents)
    left = tuple(spec for spec in recorded.epics if spec.name not in scope.over)
    wanted = beside(site, replace(recorded, epics=left, acting=scope.names), [scope.made] if scope.made else [])
    return site, wanted, f"reconcile run --epic {asked.epic}" if asked.epic else "reconcile run"
