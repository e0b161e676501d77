"""`suspend`, `resume`, `unfreeze`, `delete`: manifests that are recorded. Nothing of these stops or removes anything."""

from __future__ import annotations

from collections.abc import Collection

import click

from reconciler import wiring
from reconciler.cli.apply import FILE, read
from reconciler.cli.output import Output, act, common, here
from reconciler.cli.session import LoopSession
from reconciler.loop import loop
from reconciler.model.errors import UsageError
from reconciler.model.values import replace
from reconciler.planning import freeze
from reconciler.wiring import Site


@click.command("suspend")
@click.argument("name")
@common
def suspend_command(name: str, out: Output) -> int:
    """Pause the manifest NAME until it is resumed. Running agents finish; status still shows all of it.

    The latest word counts: a file that is applied again, by 'apply' or because a 'watch -f' saw it change, decides
    again whether it is suspended. Refused inside a run.
    """
    return _suspend(name, True, out)


@click.command("resume")
@click.argument("name")
@common
def resume_command(name: str, out: Output) -> int:
    """Resume the manifest NAME, even if its file says 'suspend: true': the latest of the two counts.

    Refused inside a run.
    """
    return _suspend(name, False, out)


@click.command("delete")
@click.argument("name", required=False)
@FILE
@common
def delete_command(name: str | None, sources: tuple[str, ...], out: Output) -> int:
    """Delete the manifest NAME, or those in a file. Agents, worktrees, branches and tasks stay as they are."""
    wiring.refuse_agents(wiring.environ(), "delete")
    if bool(name) == bool(sources):
        raise UsageError("delete needs the name of a manifest, or -f FILE")
    site, specs = (here(), ()) if name else read(sources, to_act=False)
    names = [name] if name else [spec.name for spec in specs]
    for each in names:
        site.recorded.delete(str(each))
    _say_alive(site, names, out)
    done = [
        act("DeleteManifest", None, f"deleted manifest {each} (tasks, branches and agents are kept)") for each in names
    ]
    out.noted(site, done)
    out.answer_acts(done, "\n".join(each["message"] for each in done))
    return 0


@click.command("unfreeze")
@click.argument("name", required=False)
@common
def unfreeze_command(name: str | None, out: Output) -> int:
    """Let the merge queue go on that pauses, of the manifest NAME or of all: what failed is tested again.

    It pauses where changes fail their checks one after the other. A base on GitHub on which nothing lands any more, because
    something else landed there than was tested, goes on as well, also for other clones. Refused inside a run.
    """
    wiring.refuse_agents(wiring.environ(), "unfreeze")
    site = here()
    desired = site.desired()
    if name:
        site.recorded.must_be_recorded(name)
    found = freeze.pauses(desired, LoopSession(site=site, out=out).look().observed)
    lines = {spec.name: (spec.base, spec.asked) for spec in desired.epics}
    lifted = [each for each in sorted(found) if name is None or lines[each] == lines.get(name)]
    for each in lifted:
        site.recorded.unfreeze(each, loop.now())
    bases = dict.fromkeys(spec.base for spec in desired.epics if name in (None, spec.name))
    thawed = [base for base in bases if site.forge.unfreeze(base)]
    if thawed:
        site.wake()
    queues = [f"the queue of {', '.join(lifted)} goes on"] if lifted else []
    found_none = f"no queue{f' of {name}' if name else ''} pauses"
    message = "; ".join([*queues, *(f"{base} goes on" for base in thawed)]) or found_none
    return out.acted(site, "Unfreeze", None, message)


def _say_alive(site: Site, names: Collection[str | None], out: Output) -> None:
    alive = sorted({run.task for run in site.runner.runs().values() if run.alive and run.manifest in names})
    for task in alive:
        out.chat(f"{task}: its agent keeps running; 'reconcile stop {task}' stops it, 'reconcile status' shows it")


def _suspend(name: str, suspend: bool, out: Output) -> int:
    what = "suspend" if suspend else "resume"
    wiring.refuse_agents(wiring.environ(), what)
    site = here()
    spec = site.recorded.change(name, lambda spec: replace(spec, suspend=suspend))
    if suspend:
        _say_alive(site, [name], out)
    message = f"{what}{'ed' if suspend else 'd'} {name} (generation {spec.generation})"
    return out.acted(site, f"{what.capitalize()}Manifest", None, message)
