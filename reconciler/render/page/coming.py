"""What the next tick does, as `diff` prints it, and what the last one did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import htpy as h

from reconciler.render import safe
from reconciler.render.page.layout import Block, View
from reconciler.render.page.pieces import tag, task_link, to, until
from reconciler.render.status import Entry

WAITING_MAX = 300


def view(manifests: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> View:
    blocks = [
        Block(
            id="b-next",
            head=[h.h1["Next tick"], h.p(".empty")["What is done next, and why; what waits, and for what."]],
        )
    ]
    if done:
        blocks.append(
            Block(id="b-done", kind="wide", head=[h.h2["Just done"], h.ol(".plan")[[_action(each) for each in done]]])
        )
    for name, part in manifests.items():
        blocks.append(Block(id=f"p-{name}", kind="wide", head=_plan(name, part["plan"], part["status"]["tasks"])))
    return View(title="Next tick", blocks=blocks, kind="one")


def _plan(name: str, plan: Mapping[str, Any], tasks: Sequence[Entry]) -> h.Node:
    titles = {entry["id"]: entry["title"] for entry in tasks}
    more = len(plan["waiting"]) - WAITING_MAX
    return [
        h.h2[
            h.a(href=to(f"/manifest/{name}"))[name],
            h.span(".n")[f"{len(plan['actions'])} to do, {len(plan['waiting'])} waiting"],
        ],
        [
            h.p(".condition.bad")[tag(plan[each]["reason"], "bad"), " ", safe.line(plan[each]["message"])]
            for each in ("held", "degraded")
            if plan.get(each)
        ],
        [
            h.p(".condition.warn")[tag(each["source"], "warn"), " does not answer: ", safe.line(each["message"])]
            for each in plan["unknown"]
        ],
        h.ol(".plan")[[_action(each) for each in plan["actions"]]]
        if plan["actions"]
        else h.p(".empty")["Nothing is to be done."],
        h.details(open=len(plan["waiting"]) <= 30 or None)[
            h.summary[f"{len(plan['waiting'])} waiting"],
            h.ol(".plan")[[_wait(each, titles) for each in plan["waiting"][:WAITING_MAX]]],
            h.p(".more")[f"{more} more"] if more > 0 else None,
        ]
        if plan["waiting"]
        else None,
    ]


def _action(each: Mapping[str, Any]) -> h.Element:
    failed = each.get("error")
    return h.li[
        tag(each["action"], "bad" if failed else "busy"),
        " ",
        task_link(each["task"]) if each["task"] else None,
        " ",
        safe.line(failed["message"] if failed else each["message"]),
        h.small[f" {each['reason']}"],
    ]


def _wait(each: Mapping[str, Any], titles: Mapping[str, str]) -> h.Element:
    return h.li[
        tag(each["reason"]),
        " ",
        task_link(each["task"], titles.get(each["task"]) or each["task"]),
        " ",
        safe.line(each["message"]),
        [" ", until(each["until"])] if "until" in each else None,
    ]
