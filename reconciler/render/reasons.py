"""The table of reasons for people: on the screen, and as `docs/reasons.md` (`python -m reconciler.render.reasons` writes it)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.model.reasons import Awaits, Reason
from reconciler.render.table import Rows, facts

DOCS = Path(__file__).parents[2] / "docs" / "reasons.md"
_HEAD = """\
# Reasons

Why a task waits, why something is done, how a manifest stands: one word in `reason` of every JSON document; the list is closed,
and words keep their meaning. `reconcile explain reasons` prints this table, `reconcile explain WORD` one of them. *Awaits* is what ends the wait: a run, a timer, a turn,
another task, a source that is silent, or a person; nothing, where it says why something is done or how it ended.

| reason | awaits | about | meaning |
|---|---|---|---|
"""


def document() -> list[dict[str, Any]]:
    """Every reason as it stands in JSON."""
    return [
        {"reason": str(each), "awaits": str(each.awaits), "scope": str(each.row.scope), "meaning": each.row.meaning}
        for each in Reason
    ]


def table() -> RenderableType:
    """Every reason, those that wait for the same together."""
    return Group(*(part for awaits in Awaits for part in (Text(_title(awaits), "bold"), _rows(awaits), Text())))


def one(row: dict[str, Any]) -> RenderableType:
    """One reason."""
    return Group(Text(row["reason"], "bold"), facts((name, row[name]) for name in ("meaning", "awaits", "scope")))


def markdown() -> str:
    """The page for the docs."""
    return _HEAD + "".join(
        f"| `{each['reason']}` | {each['awaits']} | {each['scope']} | {each['meaning']} |\n" for each in document()
    )


def _title(awaits: Awaits) -> str:
    return "Reasons to act, and how a manifest stands" if awaits is Awaits.NOTHING else f"Waits for a {awaits}"


def _rows(awaits: Awaits) -> Rows:
    return facts(((str(each), each.row.meaning) for each in Reason if each.awaits is awaits), "cyan")


if __name__ == "__main__":
    DOCS.parent.mkdir(exist_ok=True)
    DOCS.write_text(markdown())
