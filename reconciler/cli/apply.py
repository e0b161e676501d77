"""`apply` and `diff`: the same first tick, once done and once shown."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct

from reconciler import wiring
from reconciler.cli import EXIT_NEEDS_PERSON, EXIT_TIMEOUT, live
from reconciler.cli.output import Output, common, here, looking, verbose
from reconciler.cli.session import LoopSession, interrupted, say_interrupted
from reconciler.loop.loop import POLL_S, Tick
from reconciler.manifest import duration, form
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import LockedError, PermanentError, TemporaryError, UsageError
from reconciler.model.values import replace
from reconciler.planning.forecast import forecast
from reconciler.planning.plan import Plan
from reconciler.render import document, text
from reconciler.render.withheld import change
from reconciler.system import lock
from reconciler.system.wakes import Wakes, spots
from reconciler.wiring import Site

PATIENCE_S = 10.0
LOOK_S = 0.5
_LISTENERS = "'reconcile doctor' says how many listeners there are; an editor or another watch may use them up"
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
        raise UsageError("apply needs a manifest", hint="reconcile apply -f FILE")
    if timeout is not None and not wait:
        raise UsageError("--timeout is for --wait: without it apply does not wait", hint="add --wait, or leave it out")
    if dry_run:
        return _diff(sources, out)
    wiring.refuse_agents(wiring.environ(), "apply")
    site, specs = read(sources)
    for line in loosened(site, specs):
        out.chat(line)
    for spec in specs:
        site.recorded.record(spec)
    site.recorded.trust([spec.name for spec in specs], site.quiet)
    names = frozenset(spec.name for spec in specs)
    out.chat(f"applied {', '.join(sorted(f'{spec.name} (base {spec.base})' for spec in specs))}")
    session = LoopSession(site=site, out=out, names=names)
    try:
        with lock.reconciling(site.state, "apply"):
            return turn(session, wait=wait, timeout=timeout)
    except LockedError as busy:
        out.chat(f"{busy}; it will apply what you recorded")
        return follow(session, timeout) if wait else 0


@click.command("diff")
@FILE
@common
@looking
def diff_command(sources: tuple[str, ...], out: Output) -> int:
    """Show what apply would do, and why. Changes nothing.

    Exit status: 0 nothing to do, 1 changes, 2 bad manifest, 3 a source did not answer.
    """
    return _diff(sources, out)


def loosened(site: Site, specs: Sequence[EpicSpec]) -> Iterator[str]:
    """One line for each field in which these manifests allow more than what is recorded of them."""
    before = {spec.name: spec for spec in site.recorded.load().epics}
    for spec in specs:
        if spec.name in before:
            yield from (f"{spec.name} loosens {change(each)}" for each in form.loosened(before[spec.name], spec))


def read(sources: tuple[str, ...], *, to_act: bool = True) -> tuple[Site, tuple[EpicSpec, ...]]:
    """The manifests that a command was given, and the one repository that they are for."""
    stdin = sys.stdin.read() if "-" in sources else ""
    specs = wiring.read(sources, stdin, wiring.environ(), to_act=to_act)
    places = {spec.repository for spec in specs}
    if len(places) > 1:
        raise UsageError(f"these manifests are for several repositories: {', '.join(sorted(places))}")
    if not places:
        return here(), specs
    return wiring.open_site(Path(places.pop()), wiring.environ(), given=specs), specs


def turn(session: LoopSession, *, wait: bool, timeout: float | None) -> int:
    """Turn the wheel until it is quiet, or with `wait` until nothing more comes by itself; the exit code."""
    for left in session.site.catch_up():
        session.out.chat(left)
    with interrupted() as (wake, stop, got):
        loop = session.loop()
        if not wait:
            tick = loop.until_quiet(stop)
        else:
            places = spots(session.site.state, session.site.repository.common, session.site.store, [])
            with Wakes(places, wake) as wakes, _deadline(timeout, stop, wake), live.view(session):
                over = NothingLeft(about=session.mine)
                tick = loop.forever(wake, stop, deaf=hearing(wakes, session.out), enough=lambda tick: over(tick.plan))
    _answer(session, tick, ended=wait and not got)
    if got:
        say_interrupted(session.out)
        return 128 + got[0]
    if wait:
        return ending(session.mine(tick.plan), timed_out=stop.is_set())
    if tick.errors or tick.observed.failures:
        return 1
    return EXIT_NEEDS_PERSON if all_held(session.mine(tick.plan)) else 0


def all_held(decided: Plan) -> bool:
    """True where nothing can be done for any of the manifests before a person has done something."""
    return bool(decided.epics) and all(epic.held for epic in decided.epics)


def hearing(wakes: Wakes, out: Output) -> Callable[[], object]:
    """What tells the loop that no event wakes it, and says so once."""
    warned: list[str] = []

    def deaf() -> str | None:
        why = wakes.deaf
        if why and not warned:
            warned.append(why)
            out.chat(f"no file events ({why}): polling every {POLL_S:g} s instead\n  hint: {_LISTENERS}")
        return why

    return deaf


@contextmanager
def _deadline(timeout: float | None, *flags: threading.Event) -> Iterator[None]:
    """Set the flags once the block has run for `timeout` seconds."""

    def ring() -> None:
        for flag in flags:
            flag.set()

    timer = threading.Timer(timeout or 0.0, ring)
    timer.daemon = True
    if timeout is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def follow(session: LoopSession, timeout: float | None) -> int:
    """Wait for another reconciler to finish what was recorded, and take over when it ends; the exit code."""
    end = time.monotonic() + timeout if timeout else None
    while True:
        tick = look_on(session, NothingLeft(about=session.mine), end)
        if tick is not None:
            _answer(session, tick)
            return ending(session.mine(tick.plan), timed_out=end is not None and time.monotonic() >= end)
        left = max(end - time.monotonic(), 0.0) if end else None
        try:
            with lock.reconciling(session.site.state, "apply"):
                return turn(session, wait=True, timeout=left)
        except LockedError:
            continue  # yet another one came first


def look_on(session: LoopSession, over: NothingLeft, end: float | None = None) -> Tick | None:
    """Look on while another reconciler acts: the last tick when it is over or time is up, None when that one ended."""
    loop = session.loop()
    with live.view(session):
        while not _free(session.site):
            tick = loop.look()
            session.show(tick)
            if over(tick.plan) or (end is not None and time.monotonic() >= end):
                return tick
            time.sleep(LOOK_S)
    return None


def _free(site: Site) -> bool:
    """True when no reconciler works in this repository."""
    try:
        with lock.reconciling(site.state, "apply"):
            return True
    except LockedError:
        return False


class NothingLeft(Struct):
    """Whether there is nothing left to wait for: all is done, or nothing goes on without a person.

    A source that is silent for a moment, or an editor that is just leaving a worktree, needs no person yet.
    """

    about: Callable[[Plan], Plan] = lambda decided: decided  # what of a plan is waited for
    since: float | None = None  # since when nothing moves, by the monotonic clock

    def __call__(self, decided: Plan) -> bool:
        decided = self.about(decided)
        if decided.moves and not decided.converged:
            self.since = None
            return False
        if decided.converged or not decided.unsettled:
            return True
        self.since = self.since or time.monotonic()
        return time.monotonic() - self.since >= PATIENCE_S


def ending(decided: Plan, *, timed_out: bool) -> int:
    """The exit code of a command that waited."""
    if decided.converged:
        return 0
    return EXIT_TIMEOUT if timed_out and decided.moves else EXIT_NEEDS_PERSON


def _answer(session: LoopSession, tick: Tick, *, ended: bool = True) -> None:
    """Print how it stands; where it has `ended` by itself, with what needs a person now."""
    decided = session.mine(tick.plan)
    if session.out.for_people:
        session.conclude(decided, ended=ended)
    else:
        session.out.answer(session.answer(tick), lambda: "")


def _diff(sources: tuple[str, ...], out: Output) -> int:
    try:
        return _shown(sources, out)
    except (PermanentError, TemporaryError) as error:
        out.chat(text.error(error))
        return EXIT_NEEDS_PERSON


def _shown(sources: tuple[str, ...], out: Output) -> int:
    site, specs = read(sources) if sources else (here(), ())
    recorded = site.desired()
    if not specs and not recorded.epics:
        raise UsageError("no manifest is applied here", hint="reconcile diff -f FILE")
    for line in loosened(site, specs):
        out.chat(f"when applied, {line}")
    given = {spec.name: site.recorded.beside(spec) for spec in specs}
    epics = {**{spec.name: spec for spec in recorded.epics}, **given}
    wanted = Desired(epics=tuple(epics[name] for name in sorted(epics)))
    session = LoopSession(site=site, out=out, names=frozenset(given) if given else None, load=lambda: wanted)
    files = "".join(f" -f {shlex.quote(source)}" for source in sources)
    return preview(session, wanted, f"reconcile apply{files}" if files else "reconcile watch")


def preview(session: LoopSession, wanted: Desired, by: str) -> int:
    """Show the first tick, and what follows from it; the exit code of `diff`. `by`: the command that does it."""
    tick = session.loop().look()
    decided = session.mine(tick.plan)
    then = forecast(replace(wanted, acting=session.names), tick.observed, decided)
    session.out.answer(document.plan(decided, then), lambda: text.plan(decided, by, then))
    session.report_orphans(tick)
    if decided.actions:
        return 1
    return EXIT_NEEDS_PERSON if any(epic.unknown for epic in decided.epics) or all_held(decided) else 0
