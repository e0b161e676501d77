"""The table of agent kinds, as `explain agents` shows it."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.text import Text

from reconciler.model.agent_kinds import AgentKind
from reconciler.render.table import Row, Rows


def document() -> list[dict[str, Any]]:
    """Every kind as it stands in JSON."""
    return [
        {
            "kind": str(each),
            "reportsCost": each.row.reports_cost,
            "reportsTokens": each.row.reports_tokens,
            "reportsEnd": each.row.reports_end,
            "keepsLimit": each.row.keeps_limit,
            "tellsCost": each.row.tells_cost,
            "structured": bool(each.row.structured),
            "login": each.row.login.command if each.row.login else "",
            "variables": list(each.row.keys),
        }
        for each in AgentKind
    ]


def table() -> RenderableType:
    """Every kind, a line each."""
    head = Row(
        cells=tuple(Text(name, "bold") for name in ("kind", "cost", "tokens", "end", "limit", "verdict")),
        note=Text("login", "bold"),
    )
    return Rows(rows=[head, *map(_row, AgentKind)], yields=0)


def _row(kind: AgentKind) -> Row:
    row = kind.row
    limit = "by itself" if row.keeps_limit else "by us" if row.tells_cost else "no"
    verdict = "by schema" if row.structured else "by file"
    value = (
        *("yes" if each else "no" for each in (row.reports_cost, row.reports_tokens, row.reports_end)),
        limit,
        verdict,
    )
    login = row.login.advice if row.login else "none that is known: pass it by 'env' or 'passEnv'"
    return Row(cells=(Text(str(kind), "cyan"), *map(Text, value)), note=Text(login))
