"""A manifest as a tree: each task with its attempts and checks, its pull request and its landing; and who waits for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import htpy as h

from reconciler.render import safe
from reconciler.render.board import COLUMNS, column_of
from reconciler.render.page import task
from reconciler.render.page.graph import graph
from reconciler.render.page.layout import Block, View, html
from reconciler.render.page.pieces import ago, cost, pull, tag, task_link, to, why
from reconciler.render.status import Entry

TASKS_MAX = 500
GRAPH_MAX = 120


def view(
    name: str,
    part: Mapping[str, Any] | None,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    landed: Mapping[str, str],
    wanted: str,
) -> View:
    """`runs` by task, as `get runs` gives them; `landed`: when each task's work landed."""
    if part is None:
        words = h.p["No manifest of this name is applied here."]
        return View(title=name, blocks=[Block(id="b-tree", head=[h.h1[safe.line(name)], words])], kind="one")
    entries = [
        e for e in part["status"]["tasks"] if not wanted or wanted.casefold() in f"{e['id']} {e['title']}".casefold()
    ]
    open_first = sorted(entries, key=lambda e: e["group"] == "closed")
    titles = {e["id"]: e["title"] for e in part["status"]["tasks"]}
    items = {
        f"n-{e['id']}": html(_node(e, runs.get(e["id"], ()), _named(part["blockers"], e["id"], titles), landed))
        for e in open_first[:TASKS_MAX]
    }
    more = len(entries) - TASKS_MAX
    blocks = [
        Block(
            id="b-tree-head",
            head=[
                h.p(".crumbs")[h.a(href=to("/"))["Overview"], " / ", name],
                h.h1[name],
                h.p(".run")[
                    tag(f"base {part['spec']['base']}"),
                    tag("suspended", "warn") if part["spec"]["suspended"] else None,
                    " ",
                    cost(part["status"]["spend"]),
                ],
            ],
        ),
        Block(id="b-graph", kind="wide", head=_graph(entries, part["blockers"])),
        Block(
            id="b-tree",
            kind="tree wide",
            head=[h.h2["Tasks"], h.p(".more")[f"{more} more: search for them"] if more > 0 else None],
            items=items,
        ),
    ]
    return View(title=name, blocks=blocks, kind="one")


def _graph(entries: Sequence[Entry], blockers: Mapping[str, Sequence[str]]) -> h.Node:
    bound = {id for id, before in blockers.items()} | {each for before in blockers.values() for each in before}
    shown = [e for e in entries if e["id"] in bound]
    if not shown:
        return None
    if len(shown) > GRAPH_MAX:
        return [
            h.h2["Dependencies"],
            h.p(".empty")[f"{len(shown)} tasks depend on each other: search for some of them to see them drawn."],
        ]
    return [h.h2["Dependencies"], graph([(e["id"], e["title"] or e["id"], column_of(e)) for e in shown], blockers)]


def _named(
    blockers: Mapping[str, Sequence[str]], id: str, titles: Mapping[str, str | None]
) -> Sequence[tuple[str, str | None]]:
    return [(each, titles.get(each)) for each in blockers.get(id, ())]


def _node(
    entry: Entry,
    runs: Sequence[Mapping[str, Any]],
    blockers: Sequence[tuple[str, str | None]],
    landed: Mapping[str, str],
) -> h.Element:
    column, offered = column_of(entry), entry["pullRequest"]
    by_people = offered and "person" in offered.get("approvedBy", ())
    steps = [
        h.li[tag("after"), " ", [[task_link(*each), " "] for each in blockers]] if blockers else None,
        [_run(run, entry["id"]) for run in runs],
        h.li[tag("pull request"), " ", pull(entry)] if offered else None,
        h.li[tag("review"), " ", tag("approved", "good"), " by a person"] if by_people else None,
        h.li[tag("landed", "good"), " ", ago(landed.get(entry["id"]))] if entry["phase"] == "merged" else None,
        None if column == "done" and not entry["waiting"] else h.li(".edge")[why(entry)],
    ]
    return h.article(class_=["node", column], id=f"n-{entry['id']}")[
        h.h3[
            tag(COLUMNS[column][0], column),
            " ",
            task_link(entry["id"], entry["title"] or entry["id"]),
            h.span(".mono.n")[entry["id"]],
        ],
        h.ul[steps],
    ]


def _run(run: Mapping[str, Any], id: str) -> h.Element:
    word, kind = task.verdict_of(run) if "verdict" in run else task.ending(run)
    return h.li[
        h.a(class_=["tag", "run" if kind == "busy" else ""], href=task.log_of(id, run), title="its log")[
            task.name_of(run)
        ],
        " ",
        tag(word, kind),
        " ",
        "began ",
        ago(run["startedAt"]),
        f", because {run['why']}" if run["why"] != "Ready" else None,
    ]
