"""What doctor found, for people: a row each, and what to do below it. The worst stands last, where the eye is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.render.safe import line
from reconciler.render.table import Row, Rows
from reconciler.render.words import counted

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> RenderableType:
    """Every check, and how many of them want something."""
    worst_last = sorted(document["checks"], key=lambda check: list(_COLOURS).index(check["state"]))
    rows = Rows(rows=[_row(check) for check in worst_last], yields=1, indent=0, note_least=36)
    return Group(rows, Text(), _summary([str(check["state"]) for check in worst_last]))


def _row(check: Mapping[str, Any]) -> Row:
    colour = _COLOURS[check["state"]]
    note = Text(": ".join(line(str(check[key])) for key in ("found", "message") if check[key]))
    if check["hint"]:
        note.append(f"\n→ {line(str(check['hint']))}", "bold")
    return Row(cells=(Text(check["state"], colour), Text(line(str(check["name"])))), note=note)


def _summary(states: Sequence[str]) -> Text:
    problems, warnings = states.count("problem"), states.count("warning")
    if not problems and not warnings:
        return Text("All is well", "bold green")
    parts = [counted(n, what) for n, what in ((problems, "problem"), (warnings, "warning")) if n]
    return Text(", ".join(parts), "bold red" if problems else "bold yellow")
