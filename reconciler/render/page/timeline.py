"""The runs of some hours as bars, task by task: restarts, limits and landings are seen at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import htpy as h

from reconciler.render import safe
from reconciler.render.page import task
from reconciler.render.page.layout import Block, View, html
from reconciler.render.page.pieces import path_of, task_link, to
from reconciler.render.words import counted, span, stamped

SPANS = {"0.25": "15 minutes", "1": "1 hour", "6": "6 hours", "12": "12 hours", "24": "a day", "72": "3 days"}
ROWS_MAX = 200
TICKS_MAX = 6
STEPS = tuple(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440))
EDGE = 0.07  # of the width, where the first and the last word stand


def view(
    runs: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    landed: Mapping[str, str],
    hours: str,
    wanted: str,
    now: datetime,
) -> View:
    """`runs` as `get runs` gives them; `landed`: when each task's work landed."""
    oldest = min((stamped(run["startedAt"]) for run in runs if run["startedAt"]), default=now)
    fitting = (each for each in SPANS if now - oldest <= timedelta(hours=float(each)))
    hours = hours if hours in SPANS else next(fitting, "12")
    since = now - timedelta(hours=float(hours))
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        if run["startedAt"] and (run["endedAt"] is None or stamped(run["endedAt"]) >= since):
            name = titles.get(run["task"], run["task"])
            if not wanted or wanted.casefold() in f"{run['task']} {name}".casefold():
                by_task.setdefault(run["task"], []).append(run)
    order = sorted(by_task, key=lambda id: min(run["startedAt"] for run in by_task[id]), reverse=True)
    rows = {
        f"r-{id}": html(_row(id, titles.get(id, id), by_task[id], landed.get(id), since, now))
        for id in order[:ROWS_MAX]
    }
    links = [
        h.a(href=to(f"/timeline?hours={each}"), aria_current="page" if each == hours else None)[words]
        for each, words in SPANS.items()
    ]
    kinds = (
        ("work", "agent"),
        ("check", "check"),
        ("review", "review"),
        ("bad", "ended badly"),
        ("limit", "limit"),
        ("landed", "landed"),
    )
    head = [
        h.h1["Timeline"],
        h.nav(".spans", aria_label="How far back")[links],
        h.p(".legend")[[h.span(class_=["key", kind])[words] for kind, words in kinds]],
        h.div(".row.scale")[h.span, _scale(since, now)] if rows else h.p(".empty")["Nothing ran in this time."],
    ]
    return View(title="Timeline", blocks=[Block(id="b-time", kind="timeline wide", head=head, items=rows)], kind="one")


def ticks(since: datetime, now: datetime) -> list[datetime]:
    """Round times between the two, on the clock of `now`: a few, to read the others off."""
    fitting = (each for each in STEPS if (now - since) / each <= TICKS_MAX)
    step = next(fitting, STEPS[-1])
    midnight = since.astimezone(now.tzinfo).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + step * ((since - midnight) // step + 1)
    return [first + n * step for n in range(int((now - first) / step) + 1)]


def _scale(since: datetime, now: datetime) -> h.Element:
    shape = "%a %H:%M" if now - since > timedelta(days=1) else "%H:%M"
    marks = [
        h.text(x=f"{100 * at:.2f}%", y="12", text_anchor="middle")[format(tick, shape)]
        for tick in ticks(since, now)
        if EDGE < (at := (tick - since) / (now - since)) < 1 - EDGE
    ]
    return h.svg(class_="bars", height="16", role="img", aria_label=f"Time, {now:%Z}")[
        h.text(x="0", y="12")[f"{now:%Z}"], marks, h.text(x="100%", y="12", text_anchor="end")["now"]
    ]


def _row(
    id: str, title: str, runs: Sequence[Mapping[str, Any]], landed: str | None, since: datetime, now: datetime
) -> h.Element:
    whole = (now - since).total_seconds()

    def place(at: datetime) -> float:
        return min(max((at - since).total_seconds() / whole, 0.0), 1.0)

    grid = [h.line(x1=x, x2=x, y1="0", y2="20") for x in (f"{100 * place(at):.2f}%" for at in ticks(since, now))]
    bars = []
    for run in runs:
        begin, end = stamped(run["startedAt"]), stamped(run["endedAt"]) if run["endedAt"] else now
        word, _ = task.ending(run)
        name = task.name_of(run)
        about = f"{name}: {word}, {span((end - begin).total_seconds())}, because {run['why']}"
        left, wide = place(begin), max(place(end) - place(begin), 0.003)
        bar = h.rect(class_=_kind(run), x=f"{100 * left:.2f}%", width=f"{100 * wide:.2f}%", y="3", height="14", rx="3")[
            h.title[safe.line(about)]
        ]
        bars.append(h.a(href=f"{path_of(id)}?run={run['id']}", aria_label=safe.line(about))[bar])
    mark = (
        h.circle(".landed", cx=f"{100 * place(stamped(landed)):.2f}%", cy="10", r="5")[h.title[f"landed {landed}"]]
        if landed and stamped(landed) >= since
        else None
    )
    return h.div(".row", id=f"r-{id}")[
        task_link(id, title),
        h.svg(class_="bars", height="20", role="group", aria_label=counted(len(runs), "run"))[grid, bars, mark],
    ]


def _kind(run: Mapping[str, Any]) -> str:
    _, kind = task.ending(run)
    if kind == "limit":
        return kind
    base = "work" if run["attempt"] else str(run["id"]).partition("/")[0]
    return f"{base} {kind}".rstrip()
