"""What the commands that list things share: the entries of all manifests, and an answer that hides no silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from rich.console import RenderableType

from reconciler.cli import EXIT_NEEDS_PERSON
from reconciler.cli.output import Output
from reconciler.loop.loop import Tick
from reconciler.manifest.findings import did_you_mean
from reconciler.model.errors import UsageError
from reconciler.model.reasons import Reason
from reconciler.render import document

Row = dict[str, Any]


class Listing(Struct, frozen=True, kw_only=True):
    """Rows of a kind of thing, how they look to people, and the sources that did not answer, and why."""

    what: str
    rows: Sequence[Row]
    table: Callable[[Sequence[Row]], RenderableType]
    silent: Mapping[str, str] = field(default_factory=dict)

    def answer(self, out: Output) -> int:
        """Print it; the exit code. Where a source was silent it is reported: what is missing is not known to be absent."""
        said_silent(out, self.silent)
        if self.rows or not out.for_people:
            out.answer(list(self.rows), lambda: self.table(self.rows))
        elif not self.silent:
            out.chat(f"no {self.what}")
        return EXIT_NEEDS_PERSON if self.silent else 0

    def answer_for(self, out: Output, name: str | None, mine: Sequence[Row]) -> int:
        """Print those rows that `name` names. Raises UsageError where there is none, and all sources have spoken."""
        if name and not mine and not self.silent:
            known = {str(row[key]) for row in self.rows for key in ("id", "task", "name") if row.get(key)}
            raise UsageError(f"no {self.what} of {name}", hint=did_you_mean(name, known))
        return Listing(what=self.what, rows=mine, table=self.table, silent=self.silent).answer(out)


def said_silent(out: Output, silent: Mapping[str, str]) -> None:
    """Name the sources that did not answer, on standard error."""
    for source, why in silent.items():
        out.chat(f"{source}: no answer: {why}")


def silence(tick: Tick) -> dict[str, str]:
    """Every source that did not answer, and why not."""
    return {source: why for epic in tick.plan.epics for source, why in epic.unknown}


def entries(tick: Tick) -> dict[str, Row]:
    """The entry that `status` gives each task, with its manifest; a task of several as its owner sees it."""
    found: dict[str, Row] = {}
    for epic in document.status(tick.plan, tick.observed)["epics"]:
        for entry in epic["tasks"]:
            if entry["id"] not in found or _disowned(found[entry["id"]]):
                found[entry["id"]] = {"manifest": epic["name"], **entry}
    return found


def _disowned(entry: Row) -> bool:
    return (entry["waiting"] or {}).get("reason") == Reason.OWNED_BY
