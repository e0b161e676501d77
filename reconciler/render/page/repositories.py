"""Every repository of this machine in which something is recorded: which of them needs me."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import htpy as h
from msgspec import Struct, field

from reconciler.render import safe
from reconciler.render.board import COLUMNS, board, degraded
from reconciler.render.page.layout import Block, View, html
from reconciler.render.page.pieces import cost, tag

ADDRESS = "/r/"


class RepositoryRow(Struct, frozen=True, kw_only=True):
    """A repository: `key` in its address, and what was seen last; `trouble`: why nothing can be."""

    key: str
    path: str
    manifests: Mapping[str, Any] = field(default_factory=dict)
    unmanaged: Sequence[dict[str, Any]] = ()
    at: str = ""  # of the look
    trouble: str = ""


def view(rows: Sequence[RepositoryRow]) -> View:
    """A card for each, those that need a person first."""
    counted = {row.key: _counts(row) for row in rows}
    asks = {row.key: counted[row.key]["needs"] + len(degraded(row.manifests)) for row in rows}
    needs = sum(asks.values())
    ordered = sorted(rows, key=lambda row: (not asks[row.key], row.path.rpartition("/")[2], row.path))
    head = (
        h.h1["Repositories"]
        if rows
        else h.div(".hello")[
            h.h1["Nothing is recorded on this machine"], h.p["'reconcile apply' in a repository adds it."]
        ]
    )
    items = {f"r-{row.key}": html(_card(row, counted[row.key])) for row in ordered}
    return View(
        title=f"({needs}) need you" if needs else "repositories",
        blocks=[Block(id="b-repositories", kind="manifests", head=head, items=items)],
        kind="board",
    )


def _counts(row: RepositoryRow) -> dict[str, int]:
    return {name: len(listed) for name, listed in board(row.manifests, row.unmanaged).items()}


def _card(row: RepositoryRow, counts: Mapping[str, int]) -> h.Node:
    address = f"{ADDRESS}{row.key}/"
    wrong = degraded(row.manifests)
    used = cost(_sum([part["status"]["spend"] for part in row.manifests.values()])) if row.manifests else ""
    return h.article(".manifest.card", id=f"r-{row.key}", tabindex="0")[
        h.h2[h.a(href=address)[safe.line(row.path.rpartition("/")[2] or row.path)]],
        h.p(".id.mono")[safe.line(row.path)],
        h.p(".condition.bad")[safe.line(row.trouble)] if row.trouble else None,
        h.p(".empty")["looking…"] if not row.at and not row.trouble else None,
        h.div(".chips")[
            h.a(".chip.needs", href=f"{address}#m-{wrong[0]}")[h.b[str(len(wrong))], " Degraded"] if wrong else None,
            [
                h.a(class_=["chip", name, "" if counts[name] else "none"], href=f"{address}?column={name}")[
                    h.b[str(counts[name])], f" {title}"
                ]
                for name, (title, _) in COLUMNS.items()
            ],
        ]
        if row.at
        else None,
        h.p[[[tag(name), " "] for name in row.manifests], used] if row.manifests else None,
    ]


def _sum(spent: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: sum(each[name] or 0 for each in spent) for name in spent[0]}
