"""`watch`: tick for ever over every recorded manifest, and over files that are read again when they change."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path

import click
from msgspec import Struct, field

from reconciler.cli.apply import FILE, RESUMED, Duration, a_manifest, read
from reconciler.cli.drive import NothingLeft, drive
from reconciler.cli.metrics_file import MetricsFile, metrics_path
from reconciler.cli.output import Output, common, here, verbose
from reconciler.cli.session import LoopSession
from reconciler.loop.loop import RESYNC_S
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import ManifestError, ReconcileError, UsageError
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.plan import Plan
from reconciler.render import planned, text
from reconciler.render.withheld import apply
from reconciler.system import lock
from reconciler.system.files import Stamp, stamp_of
from reconciler.system.service_notice import ServiceNotice
from reconciler.wiring import Site


@click.command("watch")
@FILE
@click.option("--until-done", is_flag=True, help="End when everything is done, or needs a person")
@click.option(
    "--interval",
    type=Duration(),
    default=f"{RESYNC_S:g}s",
    metavar="30s",
    help="Check everything at least this often",
)
@click.option(
    "--max-agents", type=click.IntRange(0), default=None, help="At most this many agents for all manifests together"
)
@click.option(
    "--metrics", type=click.Path(dir_okay=False), metavar="FILE.prom", help="Keep metrics for Prometheus in this file"
)
@common
@verbose
def watch_command(
    sources: tuple[str, ...],
    until_done: bool,
    interval: float,
    max_agents: int | None,
    metrics: str | None,
    out: Output,
) -> int:
    """Continuously reconcile all applied manifests, until interrupted.

    Manifests given with -f are applied, and again whenever their files change. Agents keep running when it ends. In a
    pipe every line starts with the time; '-o json' prints one event a line as it happens, as in 'reconcile get events',
    and at the end what is left.
    """
    out = replace(out, timed=not sys.stdout.isatty())
    site, watched = _watched(sources, max_agents, out)
    session = LoopSession(
        site=site, out=out, load=watched.desired, drawn=True, steady=True, bit_by_bit=True, teller=site.teller
    )
    if metrics:
        session.onlookers += (MetricsFile(path=metrics_path(metrics), site=site, say=out.chat),)
    notice = ServiceNotice.of(site.environ, os.getpid())
    session.alive = lambda tick: notice.alive(planned.in_short(tick.plan) if tick and notice.address else "")
    if notice.watchdog_s:
        interval = min(interval, notice.watchdog_s / 3)
    done = NothingLeft() if until_done else lambda decided: False
    # A manager starts us again, as the program that is there now; nobody else would.
    enough = (lambda decided: done(decided) or _is_replaced(decided)) if notice.address else done
    with lock.reconciling(site.state, "watch", site.surroundings):
        try:
            return drive(session, enough, interval_s=interval, listens=watched.paths)
        finally:
            notice.ending()


def _is_replaced(decided: Plan) -> bool:
    return any(epic.degraded and epic.degraded.reason is Reason.PROGRAM_REPLACED for epic in decided.epics)


class Watched(Struct):
    """What is wanted: the recorded manifests, kept in step with the files that are watched."""

    site: Site
    sources: tuple[str, ...]
    most: int | None
    out: Output
    stamps: dict[Path, Stamp | None] = field(default_factory=dict)
    problem: str | None = None

    @property
    def paths(self) -> list[Path]:
        return _paths(self.sources)

    def desired(self) -> Desired:
        """The wanted state now. A file that became invalid holds what was recorded from it; agents run on."""
        self._follow()
        recorded = self.site.desired(self.most)
        if self.problem is None:
            return recorded
        return replace(
            recorded,
            epics=tuple(replace(e, invalid=self.problem) if self._watches(e.source) else e for e in recorded.epics),
        )

    def _follow(self) -> None:
        stamps = _stamps(self.sources)
        if stamps == self.stamps:
            return
        self.stamps = stamps
        try:
            specs = read(tuple(source for source in self.sources if source != "-"))[1]
            record(self.site, specs, self.out)
            self.problem = None
        except (ManifestError, UsageError) as error:
            self.problem = str(error)
            self.out.chat(f"{text.error(error)}\n  what was recorded from it is held until it is fixed; agents run on")
        except ReconcileError as error:
            self.stamps = {}  # no fault of the file: it is read again at the next tick
            if self.problem != str(error):
                self.out.chat(text.error(error))
            self.problem = str(error)

    def _watches(self, source: str) -> bool:
        # A link on the way to a file must not make it another one.
        found = Path(os.path.realpath(source)) if source else None
        return found is not None and any(found == path or path in found.parents for path in self.paths)


def _watched(sources: tuple[str, ...], most: int | None, out: Output) -> tuple[Site, Watched]:
    if not sources:
        site = here()
        if not site.desired().epics:
            raise UsageError("no manifest is applied here", hint=f"reconcile watch -f {a_manifest()}")
        return site, Watched(site, (), most, out)
    stamps = _stamps(sources)  # first: a change while they are read is read once more
    site, specs = read(sources)
    record(site, specs, out, named=[str(path) for path in _paths(sources)])
    return site, Watched(site, sources, most, out, stamps=stamps)


def record(site: Site, specs: tuple[EpicSpec, ...], out: Output, named: Collection[str] | None = None) -> None:
    """Record what watched files say, but for what a person has to apply. `named`: what one has just named."""
    suspended = {spec.name: spec.suspend for spec in site.recorded.load().epics}
    refused = site.recorded.follow(specs, site.quiet, named)
    for spec in site.recorded.load().epics:
        if spec.suspend != suspended.get(spec.name, False):
            out.chat(f"{spec.name} is {'suspended' if spec.suspend else RESUMED}")
    for spec in specs:
        if why := refused.get(spec.name):
            out.chat(f"{why}: not recorded; {apply(spec.source, *spec.also)} records it")


def _paths(sources: tuple[str, ...]) -> list[Path]:
    return [Path(os.path.realpath(source)) for source in sources if source != "-"]


def _stamps(sources: tuple[str, ...]) -> dict[Path, Stamp | None]:
    return {file: _stamp(file) for path in _paths(sources) for file in _files(path)}


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    return [path]


def _stamp(file: Path) -> Stamp | None:
    try:
        return stamp_of(file.stat())
    except OSError:  # the next to read it says what is wrong
        return None
