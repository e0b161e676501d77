"""Who waits for whom, drawn: what is first stands left, an arrow leads to what waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import htpy as h

from reconciler.render import safe
from reconciler.render.page.pieces import path_of

WIDE, HIGH, GAP_X, GAP_Y, LETTERS = 190, 38, 56, 14, 24


def graph(nodes: Sequence[tuple[str, str, str]], blockers: Mapping[str, Sequence[str]]) -> h.Element:
    """`nodes`: id, title and kind of each."""
    ids = [id for id, _, _ in nodes]
    depth = depths(ids, blockers)
    rows: dict[int, int] = {}
    at: dict[str, tuple[int, int]] = {}
    for id in ids:
        row = rows[depth[id]] = rows.get(depth[id], -1) + 1
        at[id] = depth[id] * (WIDE + GAP_X) + 4, row * (HIGH + GAP_Y) + 4
    width = (max(depth.values(), default=0) + 1) * (WIDE + GAP_X) - GAP_X + 8
    height = (max(rows.values(), default=0) + 1) * (HIGH + GAP_Y) + 4
    edges = [_edge(at[before], at[id]) for id in ids for before in blockers.get(id, ()) if before in at]
    return h.div(".scroll")[
        h.svg(
            class_="graph",
            width=str(width),
            height=str(height),
            viewBox=f"0 0 {width} {height}",
            role="group",
            aria_label="Dependencies",
        )[edges, [_node(id, title, kind, at[id]) for id, title, kind in nodes]]
    ]


def depths(ids: Sequence[str], blockers: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many stand before each, one after the other. A ring ends where it began.

    >>> depths(["a", "b", "c"], {"b": ["a"], "c": ["b", "x"]})
    {'a': 0, 'b': 1, 'c': 2}
    >>> depths(["a", "b"], {"a": ["b"], "b": ["a"]})
    {'a': 1, 'b': 1}
    """
    known, found = set(ids), dict.fromkeys(ids, 0)
    for _ in ids:
        deeper = {
            id: max((found[b] + 1 for b in blockers.get(id, ()) if b in known and b != id), default=0) for id in ids
        }
        deeper = {id: min(depth, len(ids) - 1) for id, depth in deeper.items()}
        if deeper == found:
            break
        found = deeper
    return found


def _edge(start: tuple[int, int], end: tuple[int, int]) -> h.Element:
    x, y = start[0] + WIDE, start[1] + HIGH / 2
    to_x, to_y = end[0], end[1] + HIGH / 2
    bend = max((to_x - x) / 2, 24)
    return h.path(".edge", d=f"M{x} {y} C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}")


def _node(id: str, title: str, kind: str, at: tuple[int, int]) -> h.Element:
    x, y = at
    shown = safe.line(title, LETTERS)
    return h.a(href=path_of(id))[
        h.g(class_=["box", kind])[
            h.title[safe.line(title)],
            h.rect(x=str(x), y=str(y), width=str(WIDE), height=str(HIGH), rx="7"),
            h.text(x=str(x + 12), y=str(y + HIGH / 2 + 4))[shown],
        ]
    ]
