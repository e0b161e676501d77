"""The overview: does anything need me, what happens next, what does it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import htpy as h
from msgspec import Struct, field

from reconciler.render import acts, safe
from reconciler.render.board import CARDS_MAX, COLUMNS, DONE_MAX, board, column_of, degraded
from reconciler.render.page.layout import Block, View, html
from reconciler.render.page.pieces import (
    TITLE_MAX,
    Viewer,
    bar,
    button,
    cost,
    pull,
    run_line,
    tag,
    task_link,
    to,
    until,
    why,
)
from reconciler.render.status import Entry, alive, telling

ALONE_MAX = 3000
QUEUE_MAX = 40


class Overview(Struct):
    """Makes the overview of looks. What did not change since the last one is not made again."""

    viewer: Viewer
    _cards: dict[str, tuple[Entry, str, str]] = field(default_factory=dict)

    def view(self, manifests: Mapping[str, Any], rest: Mapping[str, Any], query: Mapping[str, str]) -> View:
        chosen, wanted = query.get("manifest", ""), query.get("q", "")
        shown = {name: part for name, part in manifests.items() if chosen in ("", name)}
        columns = board(manifests, rest["unmanaged"] or (), wanted, chosen or None)
        alone, wrong = query.get("column", ""), degraded(shown)
        blocks = [
            Block(id="b-sum", kind="sum", head=_summary(columns, wrong, query, rest["forge"])),
            Block(
                id="b-manifests", kind="manifests", head=_nothing(manifests), items=self._manifests(shown, rest, query)
            ),
            *([Block(id="b-queue", kind="queue", head=_queue(rest["queue"]))] if rest["queue"] else []),
            *(self._column(name, columns[name], query) for name in COLUMNS if alone in ("", name)),
        ]
        tails = {f"t-{e['id']}": e["id"] for _, e in columns["working"] if alone in ("", "working")}
        return View(title=_title(columns, wrong), blocks=blocks, kind="board alone" if alone else "board", tails=tails)

    def _manifests(self, shown: Mapping[str, Any], rest: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, str]:
        return {f"m-{name}": html(_manifest(name, part, rest, query, self.viewer)) for name, part in shown.items()}

    def _column(self, name: str, listed: Sequence[tuple[str, Entry]], query: Mapping[str, str]) -> Block:
        title, empty = COLUMNS[name]
        most = ALONE_MAX if query.get("column") else DONE_MAX if name == "done" else CARDS_MAX
        more = len(listed) - most
        head = [
            h.h2[
                h.a(href=_to(query, column="" if query.get("column") else name))[title], h.span(".n")[str(len(listed))]
            ],
            h.p(".empty")[empty] if not listed else None,
            h.p(".more")[h.a(href=_to(query, column=name))[f"{more} more"]] if more > 0 else None,
        ]
        cards = {f"c-{e['id']}": self._card(name, manifest, e) for manifest, e in listed[:most]}
        return Block(id=f"col-{name}", kind=f"column {name}{'' if listed else ' none'}", head=head, items=cards)

    def _card(self, column: str, manifest: str, entry: Entry) -> str:
        known = self._cards.get(entry["id"])
        if known and known[1] == column and known[0] == entry:
            return known[2]
        made = html(_card(column, manifest, entry, self.viewer))
        self._cards[entry["id"]] = entry, column, made
        return made


def _to(query: Mapping[str, str], **changes: str) -> str:
    kept = {
        name: value for name, value in {**query, **changes}.items() if value and name in ("q", "manifest", "column")
    }
    return to(f"/?{urlencode(kept)}" if kept else "/")


def _title(columns: Mapping[str, Sequence[object]], wrong: Sequence[str]) -> str:
    needs = len(columns["needs"]) + len(wrong)
    return f"({needs}) need you" if needs else f"{len(columns['working'])} working"


def _summary(
    columns: Mapping[str, Sequence[object]],
    wrong: Sequence[str],
    query: Mapping[str, str],
    forge: Mapping[str, Any] | None,
) -> h.Node:
    broken = h.a(".chip.needs", href=f"#m-{wrong[0]}")[h.b[str(len(wrong))], " Degraded"] if wrong else None
    chips = [
        h.a(class_=["chip", name, "" if listed else "none"], href=f"#col-{name}")[
            h.b[str(len(listed))], f" {COLUMNS[name][0]}"
        ]
        for name, listed in columns.items()
    ]
    filters = [
        h.a(".filter", href=_to(query, **{name: ""}))[
            f"{words}{query[name]} ", h.span(aria_hidden="true")["✕"], h.span(".unseen")["(leave this out)"]
        ]
        for name, words in (("q", ""), ("manifest", "manifest: "), ("column", "column: "))
        if query.get(name)
    ]
    known = forge and forge["pointsLeft"] is not None
    points = (
        h.span(".points.n")[f"GitHub: {forge['pointsLeft']} of {forge['pointsPerHour']} points left"]
        if forge and known
        else None
    )
    return [
        h.h1(".unseen")["Overview"],
        h.div(".chips")[broken, chips, points],
        h.div(".filters")[filters] if filters else None,
    ]


def _nothing(manifests: Mapping[str, Any]) -> h.Node:
    if manifests:
        return None
    return h.div(".hello")[
        h.h2["No manifest is applied here"],
        h.p["Write one, and record it; what it asks for shows up on this page."],
        h.pre[h.code["reconcile init\nreconcile apply -f reconcile.yaml\nreconcile watch"]],
    ]


def _manifest(
    name: str, part: Mapping[str, Any], rest: Mapping[str, Any], query: Mapping[str, str], viewer: Viewer
) -> h.Node:
    stands, spec = part["status"], part["spec"]
    counts, tasks = stands["counts"], stands["tasks"]
    total = counts["tasks"]
    agents = sum(1 for e in tasks if alive(e) and e["run"]["kind"] != "check")
    ask = acts.of_manifest(name, tasks, suspended=spec["suspended"], manual=spec["mode"] == "manual")
    done = f"{counts['closed']} of {total} done" if total is not None else "tasks unknown"
    stand = [column_of(entry) for entry in tasks]
    shares = [(name, stand.count(name) / total) for name in _BAR] if total else []
    return h.article(".manifest", id=f"m-{name}")[
        h.h2[
            h.a(href=to(f"/manifest/{name}"))[name],
            h.a(".only", href=_to(query, manifest="" if query.get("manifest") else name), title="Only this manifest")[
                "filter"
            ],
            h.span(".acts")[[button(each, viewer, keyed=False, filled=bool(each.act.asks)) for each in ask]],
        ],
        bar(shares, done),
        h.dl(".facts")[
            _fact("Tasks", done),
            _fact("Agents", f"{agents} of {spec['maxAgents']}"),
            _fact("Cost", _money(stands["spend"], spec["budget"])),
            _fact("Base", _base(spec["base"], rest["bases"].get(spec["base"]))),
        ],
        [_condition(each) for each in telling(stands["conditions"])],
        [h.p(".condition.bad")["withheld until applied by hand: ", safe.line(each)] for each in stands["withheld"]],
    ]


_BAR = ("done", "landing", "checking", "working", "needs")


def _fact(name: str, value: h.Node) -> h.Node:
    return h.div[h.dt[name], h.dd[value]]


def _condition(each: Mapping[str, str]) -> h.Node:
    name = each["type"] if each["status"] == "True" else each["reason"]
    kind = {"Converged": "good", "Degraded": "bad", "Progressing": "busy"}.get(name, "warn")
    return h.p(class_=["condition", kind])[tag(name, kind), " ", safe.line(each["message"])]


def _money(used: Mapping[str, Any], budget: Mapping[str, Any]) -> h.Node:
    words = cost(used) or "none reported"  # many agents never say what they cost
    if not budget["usd"]:
        return words
    share = min(used["usd"] / budget["usd"], 1.0)
    kind = "over" if share >= 1 else "warn" if share >= budget["warnAt"] else "spent"
    dollars = cost({**used, "tokens": 0}) or "none reported"
    more = cost({**used, "usd": 0.0, "untold": 0})
    return [
        f"{dollars} of ${budget['usd']:.2f}{', ' if more else ''}{more}",
        bar([(kind, share)], f"{share:.0%} of the budget"),
    ]


def _base(name: str, base: Mapping[str, Any] | None) -> h.Node:
    if not base or not base["head"]:
        return safe.line(name)
    kind, word = {True: ("good", "green"), False: ("bad", "not green"), None: ("", "not checked")}[base["green"]]
    return [
        safe.line(name),
        " ",
        h.code[base["head"][:10]],
        " ",
        h.span(class_=["tag", kind], title=base["message"])[word],
    ]


def _queue(rows: Sequence[Mapping[str, Any]]) -> h.Node:
    by_base: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_base.setdefault(row["base"], []).append(row)
    return [h.h2["Merge queue"], [_lane(base, line) for base, line in by_base.items()]]


def _lane(base: str, line: Sequence[Mapping[str, Any]]) -> h.Node:
    more = len(line) - QUEUE_MAX
    return h.div(".lane")[
        h.span(".base")[safe.line(base), " ←"],
        h.ol[[_place(row) for row in line[:QUEUE_MAX]], h.li(".more")[f"and {more} more"] if more > 0 else None],
    ]


def _place(row: Mapping[str, Any]) -> h.Node:
    with_ = f" with {', '.join(row['with'])}" if row["with"] else ""
    title = safe.line(f"{row['task']}: {row['state']}{with_}. {row['message']}", TITLE_MAX)
    return h.li(class_=row["state"], title=title)[
        task_link(row["task"], f"#{row['number']}" if row["number"] else row["task"]),
        h.small[row["state"], [" · ", until(row["expectedAt"])] if row["expectedAt"] else None],
    ]


def _card(column: str, manifest: str, entry: Entry, viewer: Viewer) -> h.Node:
    ask = list(acts.of_task(entry)) if column != "done" else []
    shown = [each for each in ask if each.name in _OFFERED[column]]
    hidden, due = [each for each in ask if each not in shown], acts.asked_for(entry)
    used = cost(entry["spend"])
    return h.article(".card", id=f"c-{entry['id']}", tabindex="0", data_task=entry["id"])[
        h.h3[task_link(entry["id"], entry["title"] or entry["id"])],
        h.p(".id")[
            h.span(".mono")[entry["id"]],
            f" {manifest}" if manifest else tag("no manifest"),
            f"/{entry['key']}" if entry["key"] else None,
            f" · {used}" if used else None,
        ],
        list(_state(column, entry)),
        h.p(".tail", id=f"t-{entry['id']}") if column == "working" else None,
        h.div(".acts")[
            [button(each, viewer, filled=each.name == due) for each in shown],
            h.span(".more-acts")[[button(each, viewer) for each in hidden]] if hidden else None,
        ]
        if ask
        else None,
    ]


_OFFERED = {
    "needs": ("approve", "reject", "retry", "release"),
    "working": (),
    "checking": (),
    "landing": ("approve",),
    "waiting": ("release",),
}


def _state(column: str, entry: Entry) -> Iterator[h.Node]:
    if column == "done":
        yield h.p(".run")[tag("merged", "good") if entry["phase"] == "merged" else tag(entry["status"]), pull(entry)]
        if entry["waiting"] or "next" in entry:
            yield why(entry)
        return
    if entry["run"] or entry["pullRequest"]:
        yield h.p(".run")[run_line(entry), " ", pull(entry)]
    if column != "working" or entry["failing"] or "next" in entry:
        yield why(entry)
