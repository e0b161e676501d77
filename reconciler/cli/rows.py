"""What the commands that list things share: the entries of all manifests, and an answer that hides no silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field
from rich.console import RenderableType

from reconciler.cli import EXIT_NEEDS_PERSON
from reconciler.cli.defaults import Asked, for_show
from reconciler.cli.output import Output
from reconciler.loop.asking import ask
from reconciler.loop.loop import Tick
from reconciler.manifest.findings import did_you_mean
from reconciler.model.errors import ReconcileError, UsageError
from reconciler.model.observed import Run, Unknown
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.plan import EpicPlan
from reconciler.planning.unmanaged import unmanaged as begun
from reconciler.render import document
from reconciler.render.reviews import Diffs
from reconciler.wiring import Site

Row = dict[str, Any]


class Listing(Struct, frozen=True, kw_only=True):
    """Rows of a kind of thing, how they look to people, and the sources that did not answer, and why."""

    what: str
    rows: Sequence[Row]
    table: Callable[[Sequence[Row]], RenderableType]
    silent: Mapping[str, str] = field(default_factory=dict)
    all_by: str = ""  # the command that lists those, too, that are not looked for here

    def answer(self, out: Output) -> int:
        """Print it; the exit code. A silent source is named: what it would have shown may well be there."""
        said_silent(out, self.silent)
        if self.rows or not out.for_people:
            out.answer(list(self.rows), lambda: self.table(self.rows))
        elif not self.silent:
            out.chat(f"no {self.what} of a manifest; '{self.all_by}' lists all" if self.all_by else f"no {self.what}")
        return EXIT_NEEDS_PERSON if self.silent else 0

    def answer_for(self, out: Output, name: str | None, mine: Sequence[Row]) -> int:
        """Print those rows that `name` names. Raises UsageError where there is none, and all sources have spoken."""
        if name and not mine and not self.silent:
            known = {str(row[key]) for row in self.rows for key in ("id", "task", "name") if row.get(key)}
            raise UsageError(f"no {self.what} of {name}", hint=did_you_mean(name, known))
        return replace(self, rows=mine).answer(out)


def said_silent(out: Output, silent: Mapping[str, str]) -> None:
    """Name the sources that did not answer, on standard error."""
    for source, why in silent.items():
        out.chat(f"{source}: no answer: {why}")


def silence(tick: Tick) -> dict[str, str]:
    """Every source that did not answer, and why not."""
    return {source: why for epic in tick.plan.epics for source, why in epic.unknown}


def entries(tick: Tick, unmanaged: EpicPlan | None = None) -> dict[str, Row]:
    """The entry that `status` gives each task, with its manifest; a task of several as its owner sees it.

    `unmanaged`: what was begun for tasks of none.
    """
    found: dict[str, Row] = {}
    shown = document.status(tick.plan, tick.observed, unmanaged=unmanaged)
    for epic in shown["epics"]:
        for entry in epic["tasks"]:
            if entry["id"] not in found or _disowned(found[entry["id"]]):
                found[entry["id"]] = {"manifest": epic["name"], **entry}
    for entry in shown["unmanaged"] or ():
        found.setdefault(entry["id"], {"manifest": None, **entry})
    return found


def unmanaged(site: Site, tick: Tick, out: Output | None = None) -> EpicPlan | None:
    """The tasks of no manifest for which something was begun; None where there are none, or where their settings are damaged:
    `out` shows that."""
    if not tick.plan.unmanaged:
        return None
    recorded = tuple(epic.spec for epic in tick.plan.epics)
    try:
        spec = for_show(site, Asked(environ=site.environ), recorded)
    except ReconcileError as error:
        if out:
            out.chat(f"tasks of no manifest are not shown: {error}")
        return None
    return begun(spec, tick.observed, tick.plan.unmanaged)


def read_by(site: Site, runs: Iterable[Run]) -> Diffs:
    """The changes that reviews with comments have read; without those of which commits are gone."""
    asked = (
        (run.id, ask(partial(site.forge.changes.diff, run.base_tip, run.baseline)))
        for run in runs
        if run.verdict and run.verdict.comments and run.base_tip and run.baseline
    )
    return {id: diff for id, diff in asked if not isinstance(diff, Unknown)}


def _disowned(entry: Row) -> bool:
    return (entry["waiting"] or {}).get("reason") == Reason.OWNED_BY
