"""A page as blocks of keyed parts, and what changes from one to the next: an open page gets no more than that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import htpy as h
from msgspec import Struct, field

from reconciler.render import safe
from reconciler.render.page.pieces import ROOT, Raw, Viewer, to

NAV = (("/", "Overview", "o"), ("/timeline", "Timeline", "l"), ("/next", "Next tick", "x"))
KEYS = (
    ("/", "search"),
    ("j k", "next, previous task"),
    ("Enter", "open it"),
    ("a", "approve"),
    ("r", "request changes"),
    ("y", "retry"),
    ("n", "start an agent"),
    ("t", "take it, give it back"),
    ("s", "stop"),
    ("g o", "overview"),
    ("g l", "timeline"),
    ("g x", "next tick"),
    ("?", "these keys"),
)


class Block(Struct, frozen=True, kw_only=True):
    """A part of a page: a head, and below it items in an order, each by its id. Ids are ours, not a task's."""

    id: str
    head: h.Node = None
    items: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""


class View(Struct, frozen=True, kw_only=True):
    """What one address shows. `tails`: the runs whose last lines are on it, by element; `log`: the run that is read there."""

    title: str
    blocks: Sequence[Block]
    kind: str = ""
    tails: Mapping[str, str] = field(default_factory=dict)  # element id: task
    log: str | None = None


class Flat(Struct, frozen=True, kw_only=True):
    """A view as the page holds it."""

    heads: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)


def flat(view: View) -> Flat:
    return Flat(
        heads={f"{block.id}-head": html(block.head) for block in view.blocks},
        lists={f"{block.id}-items": list(block.items) for block in view.blocks},
        items={id: part for block in view.blocks for id, part in block.items.items()},
    )


def html(node: h.Node) -> str:
    return str.__str__(str(h.fragment[node]))  # a plain string, which can be sent


def patch(before: Flat, after: Flat) -> dict[str, Any]:
    """What makes one view of the other; empty where they are the same."""
    known = {id for listed in before.lists.values() for id in listed}
    found = {
        "heads": {id: text for id, text in after.heads.items() if before.heads.get(id) != text},
        "lists": {id: listed for id, listed in after.lists.items() if before.lists.get(id) != listed},
        "items": {id: text for id, text in after.items.items() if id not in known or before.items.get(id) != text},
    }
    return {name: changes for name, changes in found.items() if changes}


def page(
    view: View,
    *,
    where: str,
    query: str,
    csrf: str,
    viewer: Viewer,
    at: str,
    held: str,
    repository: str,
    nav: Sequence[tuple[str, str, str]] = NAV,
) -> str:
    """The whole document. `repository`: whose views these are, which can be searched; "": of several."""
    parts = flat(view)
    return str(
        h.html(lang="en")[
            h.head[
                h.meta(charset="utf-8"),
                h.meta(name="viewport", content="width=device-width, initial-scale=1"),
                h.meta(name="color-scheme", content="light dark"),
                h.title[f"{safe.line(view.title)} · reconcile"],
                h.link(rel="icon", href="/static/icon.svg"),
                h.link(rel="stylesheet", href="/static/page.css"),
                h.script(src="/static/page.js", defer=True),
            ],
            h.body(data_at=at, data_held=held, data_root=ROOT.get() or None)[
                h.a(".skip", href="#main")["Skip to the content"],
                _header(where, query, repository, viewer, nav),
                h.main("#main", class_=view.kind)[[_block(block, parts) for block in view.blocks]],
                h.form("#act", method="post", action=to("/act"))[h.input(type="hidden", name="csrf", value=csrf)],
                h.div("#toasts", role="status", aria_live="polite"),
                h.dialog("#keys", aria_label="Keys")[
                    h.h2["Keys"], h.dl[[[h.dt[h.kbd[key]], h.dd[what]] for key, what in KEYS]]
                ],
            ],
        ]
    )


def plain(title: str, words: h.Node, *, command: str = "") -> str:
    """A page of one sentence: what was refused, or done, with a command to copy where there is one."""
    return str(
        h.html(lang="en")[
            h.head[
                h.meta(charset="utf-8"),
                h.meta(name="viewport", content="width=device-width, initial-scale=1"),
                h.title[f"{title} · reconcile"],
                h.link(rel="icon", href="/static/icon.svg"),
                h.link(rel="stylesheet", href="/static/page.css"),
            ],
            h.body[
                h.main("#main.plain")[
                    h.div("#result")[h.h1[title], h.p[words], h.pre[h.code[command]] if command else None],
                    h.p[h.a(href=to("/"))["Back to the overview"]],
                ]
            ],
        ]
    )


def _header(where: str, query: str, repository: str, viewer: Viewer, nav: Sequence[tuple[str, str, str]]) -> h.Element:
    links = [
        h.a(href=to(path), aria_current="page" if path == where else None, data_go=key)[label]
        for path, label, key in nav
    ]
    return h.header(".top")[
        h.a(".brand", href="/")["reconcile"],
        h.span(".repo", title=repository)[safe.line(repository.rpartition("/")[2] or repository)]
        if repository
        else None,
        h.nav(aria_label="Views")[links],
        h.form("#search", role="search", method="get", action=to(where if where == "/timeline" else "/"))[
            h.input(
                type="search",
                name="q",
                value=query,
                placeholder="Search  /",
                aria_label="Search tasks",
                autocomplete="off",
            )
        ]
        if repository
        else None,
        h.span(".readonly")["read only"] if viewer.read_only else None,
        h.span("#live", title="How old what you see is")["…"],
    ]


def _block(block: Block, parts: Flat) -> h.Element:
    items = [Raw(parts.items[id]) for id in block.items]
    return h.section(id=block.id, class_=["block", block.kind])[
        h.div(".head", id=f"{block.id}-head")[Raw(parts.heads[f"{block.id}-head"])],
        h.div(".items", id=f"{block.id}-items")[items],
    ]
