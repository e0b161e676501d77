"""`apply` and `diff`: the same first tick, once done and once shown."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from reconciler import wiring
from reconciler.cli import EXIT_NEEDS_PERSON
from reconciler.cli.drive import Ended, NothingLeft, drive, look_on, waited
from reconciler.cli.output import Output, common, here, looking, verbose
from reconciler.cli.session import LoopSession
from reconciler.loop.asking import ask
from reconciler.loop.loop import Tick
from reconciler.loop.teller import hindrances
from reconciler.manifest import duration, form
from reconciler.model.desired import Desired, EpicSpec, Loosening
from reconciler.model.errors import LockedError, PermanentError, TemporaryError, UsageError
from reconciler.model.observed import Unknown
from reconciler.model.values import replace
from reconciler.planning import budget, check_programs
from reconciler.planning.epic_clashes import clashes
from reconciler.planning.forecast import forecast
from reconciler.planning.graph import Index
from reconciler.planning.plan import Plan
from reconciler.render import document, text
from reconciler.render.withheld import change
from reconciler.system import lock
from reconciler.system.late import late
from reconciler.wiring import Site

RESUMED = "resumed, because its file does not say 'suspend: true'"

FILE = click.option(
    "-f", "--file", "sources", multiple=True, metavar="FILE|DIR|-", help="Manifest; several, or a folder"
)


class Duration(click.ParamType[float]):
    """`90s`, `15m`, `2h`, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("apply")
@FILE
@click.option("--wait", is_flag=True, help="Keep going until everything is done, or needs a person")
@click.option("--timeout", type=Duration(), default=None, help="With --wait: give up after this long (90s, 15m, 2h)")
@click.option("--dry-run", is_flag=True, help="Only show what would be done, as diff does")
@common
@verbose
@looking
def apply_command(sources: tuple[str, ...], wait: bool, timeout: float | None, dry_run: bool, out: Output) -> int:
    """Record a manifest and do everything that can be done now.

    The agents it starts keep running in the background; 'reconcile watch' takes it from there.
    """
    if not sources:
        raise UsageError("apply needs a manifest", hint=f"reconcile apply -f {a_manifest()}")
    if timeout is not None and not wait:
        raise UsageError("--timeout is for --wait: without it apply does not wait", hint="add --wait, or leave it out")
    if dry_run:
        return preview(out, partial(_planned, sources, out))
    wiring.refuse_agents(wiring.environ(), "apply")
    site, specs = read(sources)
    for line in loosened(site, specs):
        out.chat(line)
    for spec in specs:
        site.recorded.record(spec)
    for line in (*unkept(specs), *proves_nothing(site, specs)):
        out.chat(line)
    site.recorded.trust([spec.name for spec in specs], site.quiet)
    site.noted()
    names = frozenset(spec.name for spec in specs)
    out.chat(f"applied {', '.join(sorted(map(_with_base, specs)))}")
    session = LoopSession(site=site, out=out, load=lambda: site.desired(acting=names), drawn=wait)
    try:
        with lock.reconciling(site.state, "apply", site.surroundings):
            if not wait:
                return drive(session, lambda decided: True, _now, listens=None)
            return drive(session, NothingLeft(), timeout_s=timeout)
    except LockedError as busy:
        out.chat(f"{busy}; it will apply what you recorded")
        return _follow(session, timeout) if wait else 0


def _with_base(spec: EpicSpec) -> str:
    return f"{spec.name} (base {spec.base}{', suspended' if spec.suspend else ''})"


@click.command("diff")
@FILE
@common
@verbose
@looking
def diff_command(sources: tuple[str, ...], out: Output) -> int:
    """Show what apply would do, and why. Changes nothing. Housekeeping is only counted, unless with -v.

    Exit status: 0 nothing to do, 1 changes, 2 bad manifest, 3 a source did not answer.
    """
    return preview(out, partial(_planned, sources, out))


def a_manifest() -> str:
    """The one file of this folder that looks like a manifest; FILE where that is none, or more than one."""
    found = [path.name for path in Path().glob("*.yaml") if _has_a_manifest(path)]
    return shlex.quote(found[0]) if len(found) == 1 else "FILE"


def _has_a_manifest(path: Path) -> bool:
    try:
        return "apiVersion: reconcile/" in path.read_text("utf-8", "replace")
    except OSError:
        return False


def loosened(site: Site, specs: Sequence[EpicSpec]) -> Iterator[str]:
    """One line for each field in which these manifests allow more than what is recorded of them."""
    before = {spec.name: spec for spec in site.recorded.load().epics}
    for spec in specs:
        if spec.name in before:
            yield from (_loosens(spec.name, each) for each in form.loosened(before[spec.name], spec))


def unkept(specs: Sequence[EpicSpec]) -> Iterator[str]:
    """One line for each limit of these manifests that nobody keeps."""
    for spec in specs:
        yield from (f"warning: {spec.name}: {what}; {advice}" for what, advice in budget.unkept(spec))


def proves_nothing(site: Site, specs: Sequence[EpicSpec]) -> Iterator[str]:
    """One line for each check that passes whatever there is, by its words, or where there is nothing.

    Of a new one the latter is found out where a person looks on: it is run for that, once.
    """
    placed = site.placed(Desired(epics=tuple(specs))).epics
    for spec in placed:
        for command in filter(check_programs.always_green, spec.merge.commands):
            yield f"warning: {spec.name}: the check {' '.join(command.split())!r} always passes: it proves nothing"
    if not sys.stderr.isatty():
        return
    for spec, command in late("reconciler.doctor.nothing").green(placed, site.environ, site.state):
        what = f"the check {' '.join(command.split())!r} passes where there is nothing"
        yield f"warning: {spec.name}: {what}: it proves nothing"


def _loosens(name: str, each: Loosening) -> str:
    return f"{name} is {RESUMED}" if each.field == "suspend" else f"{name} loosens {change(each)}"


def read(sources: tuple[str, ...], *, to_act: bool = True) -> tuple[Site, tuple[EpicSpec, ...]]:
    """The manifests that a command was given, and the one repository that they are for."""
    stdin = sys.stdin.read() if "-" in sources else ""
    specs = wiring.read(sources, stdin, wiring.environ(), to_act=to_act)
    places = {spec.repository for spec in specs}
    if len(places) > 1:
        raise UsageError(f"these manifests are for several repositories: {', '.join(sorted(places))}")
    if not places:
        return here(), specs
    site = wiring.open_site(Path(places.pop()), wiring.environ(), given=specs)
    if to_act:
        _refuse_clashes(site, specs)
    return site, specs


def _refuse_clashes(site: Site, specs: Sequence[EpicSpec]) -> None:
    """Raise UsageError where these manifests, or others beside them, would name as their epic what is work of another one. What
    is recorded like that already is held, and keeps nobody from applying something else; so is what a silent tracker hides."""
    graph, prefix = ask(site.tracker.tasks), ask(site.tracker.prefix)
    if isinstance(graph, Unknown) or isinstance(prefix, Unknown):
        return
    recorded, index = site.recorded.load().epics, Index(graph)
    before = set(clashes(recorded, prefix, index).values())
    wanted = {spec.name: spec for spec in (*recorded, *specs)}
    for clash in clashes(wanted.values(), prefix, index).values():
        if clash not in before:
            message = f"{clash.manifest}: spec.epic: {clash.what}"
            raise UsageError(message, hint=clash.hint)


def _now(session: LoopSession, ended: Ended) -> int:
    """Conclude where nothing is waited for."""
    session.conclude(ended.tick, by_itself=False)
    if ended.tick.errors or ended.tick.observed.failures:
        return 1
    return EXIT_NEEDS_PERSON if _all_held(ended.tick.plan) else 0


def _all_held(decided: Plan) -> bool:
    """True where nothing can be done for any of the manifests before a person has done something."""
    return bool(decided.epics) and all(epic.held for epic in decided.epics)


def _follow(session: LoopSession, timeout_s: float | None) -> int:
    """Wait for another reconciler to finish what was recorded, and take over when it ends; the exit code."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        if tick := look_on(session, NothingLeft(), end):
            timed_out = end is not None and time.monotonic() >= end
            return waited(session, Ended(tick=tick, interrupted=False, timed_out=timed_out))
        left_s = None if end is None else max(end - time.monotonic(), 0.0)
        with (
            suppress(LockedError),
            lock.reconciling(session.site.state, "apply", session.site.surroundings),
        ):  # yet another one may come first
            return drive(session, NothingLeft(), timeout_s=left_s)


def preview(out: Output, planned: Callable[[], tuple[Site, Desired, str]]) -> int:
    """Show the first tick, and what follows from it; the exit code of `diff`.

    `planned` gives where, what is wanted there, and the command that does it.
    """
    try:
        site, wanted, by = planned()
        session = LoopSession(site=site, out=out, load=lambda: wanted)
        tick = session.look()
        then = forecast(wanted, tick.observed, tick.plan)
        out.answer(document.plan(tick.plan, then), lambda: text.plan(tick.plan, by, then, housekeeping=out.verbose))
        session.report_orphans(tick)
        for words in _foreseen(tick, site.environ):
            out.chat(words)
    except (PermanentError, TemporaryError) as error:
        out.chat(text.error(error))
        return EXIT_NEEDS_PERSON
    if tick.plan.actions:
        return 1
    return EXIT_NEEDS_PERSON if any(epic.unknown for epic in tick.plan.epics) or _all_held(tick.plan) else 0


def _foreseen(tick: Tick, environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each thing that nothing waits for yet, and that will be missing."""
    for name, why in tick.observed.reviewers_missing.items():
        yield f"{name}: its reviewer could not start: {why}"
    for to, why in hindrances((epic.spec for epic in tick.plan.epics), environ).items():
        yield f"{to} could not be notified from here: {why}"


def beside(site: Site, recorded: Desired, given: Iterable[EpicSpec]) -> Desired:
    """What is wanted once these manifests are recorded too."""
    epics = {spec.name: spec for spec in (*recorded.epics, *map(site.recorded.beside, given))}
    return replace(recorded, epics=tuple(epics[name] for name in sorted(epics)))


def _planned(sources: tuple[str, ...], out: Output) -> tuple[Site, Desired, str]:
    site, specs = read(sources) if sources else (here(), ())
    recorded = site.desired(acting=frozenset(spec.name for spec in specs) or None)
    if not specs and not recorded.epics:
        raise UsageError("no manifest is applied here", hint=f"reconcile diff -f {a_manifest()}")
    for line in loosened(site, specs):
        out.chat(f"when applied, {line}")
    for line in unkept(specs):
        out.chat(line)
    files = "".join(f" -f {shlex.quote(source)}" for source in sources)
    return site, beside(site, recorded, specs), f"reconcile apply{files}" if files else "reconcile watch"
