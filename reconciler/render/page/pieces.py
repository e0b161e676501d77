"""The small parts that every view is made of: times, words, tags, bars, buttons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import htpy as h
from msgspec import Struct

from reconciler.model.reasons import Awaits, Reason
from reconciler.render import safe, spend
from reconciler.render.acts import ACTS, Click
from reconciler.render.status import Entry, alive
from reconciler.render.words import run_name

TITLE_MAX, WHY_MAX = 200, 400
AWAITED = {
    Awaits.RUN: "a run",
    Awaits.TIMER: "a timer",
    Awaits.TURN: "its turn",
    Awaits.TASK: "another task",
    Awaits.SOURCE: "an answer",
    Awaits.PERSON: "a person",
    Awaits.NOTHING: "nothing",
}


ROOT: ContextVar[str] = ContextVar("ROOT", default="")
"""Below which address the repository of this page is served, where there are several: `/r/shop-1a2b3c`."""


def to(path: str) -> str:
    """The address of a view of the repository that this page is about."""
    return ROOT.get() + path


class Raw(str):
    """HTML that was made here before: it is not escaped again."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


class Viewer(Struct, frozen=True, kw_only=True):
    """Who looks: whether they may act."""

    read_only: bool = False


def ago(at: str | None) -> h.Node:
    """How long ago, which the page keeps counting."""
    return h.time(datetime=at, data_ago=" ago")[at] if at else ""


def since(at: str | None) -> h.Node:
    """For how long, which the page keeps counting."""
    return h.time(datetime=at, data_ago="")[at] if at else ""


def until(at: str | None) -> h.Node:
    """How long it still takes, which the page keeps counting."""
    return h.time(datetime=at, data_until=True)[at] if at else ""


def path_of(task: str) -> str:
    return to(f"/task/{quote(task, safe='')}")


def task_link(id: str, text: str | None = None, **attrs: Any) -> h.Element:
    return h.a(href=path_of(id), **attrs)[safe.line(text or id, TITLE_MAX)]


def tag(text: str, kind: str = "") -> h.Element:
    return h.span(class_=["tag", kind])[safe.line(text)]


def why(entry: Entry) -> h.Node:
    """Why the task waits, or what is done for it next, and who is awaited."""
    failed, word = entry["failing"], entry["waiting"]
    shown: list[h.Node] = []
    if "next" in entry:
        shown.append(h.p(".why.next")["next: ", safe.line(entry["next"]["message"], WHY_MAX)])
    elif word and not (failed and word.get("until") == failed["nextTry"]):
        row = Reason.of(word["reason"])
        timer = [" · ", until(word["until"])] if "until" in word else None
        by_time = timer and row.awaits is Awaits.PERSON  # it is looked at again before anybody has to do something
        awaited = h.span(".awaits")[
            tag(word["reason"]), f" waits for {AWAITED[Awaits.TIMER if by_time else row.awaits]}", timer
        ]
        shown.append(h.p(".why")[safe.line(word["message"], WHY_MAX)])
        shown.append(awaited)
    if failed:
        tried: h.Node = ["tried again ", until(failed["nextTry"])] if failed.get("nextTry") else "not tried again"
        if failed.get("nextTry") and failed["agentIsTold"]:
            tried = "its agent gets it as feedback"
        shown.append(
            h.p(".why.bad")[f"{failed['action']} fails: ", safe.line(failed["message"], WHY_MAX), " · ", tried]
        )
    return shown


def run_line(entry: Entry) -> h.Node:
    """What runs for a task, since when, and how long it has been quiet."""
    run = entry["run"]
    if not run or not alive(entry):
        return None
    quiet = run["lastProgressAt"]
    return [
        tag(run_name(run), "run"),
        " ",
        since(run["startedAt"]),
        h.span(".quiet", data_quiet=quiet)[""] if quiet else None,
    ]


def pull(entry: Entry) -> h.Node:
    found = entry["pullRequest"]
    if not found:
        return None
    kind = {"passed": "good", "failed": "bad", "pending": "busy"}.get(found["checks"], "")
    checks = tag(f"checks {found['checks']}", kind) if found["checks"] != "none" and found["state"] == "open" else None
    review = tag(found["review"], "good" if found["review"] == "approved" else "bad")
    tags = (
        tag(f"#{found['number']}" + (f" {found['state']}" if found["state"] != "open" else ""), "pr"),
        checks,
        review if found["review"] in ("approved", "rejected") else None,
        _risk(found["risk"]) if found["state"] == "open" else None,
    )
    return [[each, " "] for each in tags if each]


def _risk(risk: Mapping[str, Any] | None) -> h.Node:
    """How risky a change is, and why; nothing where nobody asks for it."""
    if not risk:
        return None
    kind = {"high": "bad", "low": "good"}.get(risk["level"], "")
    return h.span(class_=["tag", kind], title=safe.line("; ".join(risk["reasons"])))[f"{risk['level']} risk"]


def cost(used: Mapping[str, Any]) -> str:
    return spend.words(dict(used))


def bar(shares: Iterable[tuple[str, float]], label: str) -> h.Element:
    """Shares of a whole, each of a kind, side by side. SVG: the page allows no inline styles."""
    rects, x = [], 0.0
    for kind, share in shares:
        if share > 0:
            rects.append(h.rect(class_=kind, x=f"{100 * x:.2f}%", width=f"{100 * share:.2f}%", height="100%"))
        x += share
    return h.svg(class_="bar", role="img", aria_label=label)[rects]


def button(ask: Click, viewer: Viewer, *, keyed: bool = True, filled: bool = False) -> h.Node:
    """What does an act; behind a question where it has one, or something has to be written. `filled`: it is
    what is waited for."""
    act = ACTS[ask.name]
    if viewer.read_only:
        return None
    value = str(ask)
    key = act.key if keyed and act.key else None
    title = f"{act.label} (key {key})" if key else act.label
    style = "go" if filled else act.style
    if not (act.asks or act.words):
        return h.button(class_=["act", style], form="act", name="do", value=value, data_key=key, title=title)[act.label]
    sure = str(Click(name=ask.name, subject=ask.subject, head=ask.head, sure=True))
    field = (
        h.textarea(form="act", name=f"message-{ask.subject}", rows="4", aria_label=act.words, placeholder=act.words)
        if act.words
        else h.p[act.asks]
    )
    confirm = h.button(class_=["act", act.style or "go"], form="act", name="do", value=sure)[
        act.label if act.words else f"Yes, {act.label.lower()}"
    ]
    return h.details(".ask")[
        h.summary(class_=["act", style], data_key=key, title=title)[f"{act.label}…"], h.div[field, confirm]
    ]
