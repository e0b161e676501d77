"""One task: what it waits for, its prompt, log, diff, runs, history and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import htpy as h

from reconciler.model.observed import StopWhy
from reconciler.model.observed.runs import ALIVE
from reconciler.model.report import Fault
from reconciler.render import acts, safe
from reconciler.render.details import Details
from reconciler.render.page.layout import Block, View, html
from reconciler.render.page.pieces import (
    Viewer,
    ago,
    button,
    cost,
    path_of,
    pull,
    run_line,
    since,
    tag,
    task_link,
    to,
    why,
)
from reconciler.render.pulls import risk
from reconciler.render.reviews import place
from reconciler.render.status import Entry
from reconciler.render.words import span, stamped

DIFF_LINES_MAX, TEXT_MAX, EVENTS_MAX, COMMENTS_MAX = 4000, 20_000, 200, 50
YES = {"person": "a person", "agent": "its reviewer"}
VERDICTS = {
    "approve": ("approved", "good"),
    "request_changes": ("asks for changes", "bad"),
    "person": ("for a person", "warn"),
}
LIMITS = (Fault.USAGE_LIMIT, Fault.BUDGET)
STOPS = {
    StopWhy.PERSON: ("stopped", ""),
    StopWhy.CLOSED: ("stopped", ""),
    StopWhy.DONE: ("ended well", "good"),
    StopWhy.BUDGET: ("budget spent", "limit"),
    StopWhy.ENGINE_LIMIT: ("Slurm's time limit", "bad"),
}


def view(entry: Entry, manifest: str, blockers: Sequence[str], found: Details, viewer: Viewer) -> View:
    title = entry["title"] or entry["id"]
    live = next((run["id"] for run in found.runs if run["id"] == found.log and not run["endedAt"]), None)
    blocks = [
        Block(id="b-task", kind="task", head=_head(entry, manifest, blockers, found)),
        Block(id="b-acts", kind="acts", head=_acts(entry, viewer)),
        Block(
            id="b-reviews",
            kind="reviews wide",
            head=_reviews(found.runs, (entry["pullRequest"] or {}).get("notCounted", {})),
        ),
        Block(id="b-log", kind="log wide", head=_log(found, live is not None), items=_lines(found)),
        Block(id="b-runs", kind="runs", head=[h.h2["Runs"], runs_table(found.runs, entry["id"], found.log)]),
        Block(id="b-text", kind="text", head=_text(found)),
        Block(id="b-diff", kind="diff wide", head=_diff(found.diff, entry)),
        Block(id="b-history", kind="history wide", head=_history(found.events)),
    ]
    return View(title=title, blocks=blocks, kind="one", log=found.log)


def _acts(entry: Entry, viewer: Viewer) -> h.Node:
    due = acts.asked_for(entry)
    return h.div(".acts")[[button(each, viewer, filled=each.name == due) for each in acts.of_task(entry)]]


def missing(id: str) -> View:
    """A task that no look holds."""
    words = "No manifest has this task, and nothing of it is unfinished."
    return View(title=id, blocks=[Block(id="b-task", head=[h.h1[safe.line(id)], h.p[words]])], kind="one")


def runs_table(runs: Iterable[Mapping[str, Any]], task: str, chosen: str | None = None) -> h.Node:
    rows = [_run(run, task, run["id"] == chosen) for run in runs]
    if not rows:
        return h.p(".empty")["Nothing has run yet."]
    heads = ("Run", "Why", "Began", "Took", "Ended", "Cost")
    return h.div(".scroll")[h.table[h.thead[h.tr[[h.th(scope="col")[each] for each in heads]]], h.tbody[rows]]]


def name_of(run: Mapping[str, Any]) -> str:
    """What a run is called on the page: attempt 2, check, review."""
    return f"attempt {run['attempt']}" if run["attempt"] else str(run["id"]).partition("/")[0]


def ending(run: Mapping[str, Any]) -> tuple[str, str]:
    """How a run ended, in a word, and whether that is well; "" where it is neither, as somebody wanted it so."""
    record, report = run["exit"], run["report"]
    if run["state"] in ALIVE:
        return run["state"], "busy"
    if record is None:
        return run["state"], "bad"
    if report and report["fault"]:
        return report["fault"], "limit" if report["fault"] in LIMITS else "bad"
    if record.get("stop") in STOPS:
        return STOPS[record["stop"]]
    if record["cause"] != "exited":
        return record["cause"], "bad"
    if record["code"] == 0:
        return "ended well", "good"
    return f"signal {record['signal']}" if record["signal"] else f"exit status {record['code']}", "bad"


def verdict_of(run: Mapping[str, Any]) -> tuple[str, str]:
    """What a review came to, in a word, and whether that is well."""
    if run["verdict"]:
        return VERDICTS[run["verdict"]["verdict"]]
    return ("no verdict", "warn") if run["endedAt"] else ("reading", "busy")


def log_of(task: str, run: Mapping[str, Any]) -> str:
    """The address at which a run's log is read."""
    return f"{path_of(task)}?{urlencode({'run': run['id']})}"


def _run(run: Mapping[str, Any], task: str, chosen: bool) -> h.Element:
    word, kind = ending(run)
    name = name_of(run)
    used = cost({**(run["report"] or {"usd": 0, "tokens": 0}), "untold": 0}) if run["report"] and _has_cost(run) else ""
    return h.tr(aria_current="true" if chosen else None)[
        h.th(scope="row")[h.a(href=log_of(task, run))[name] if run["startedAt"] else name],
        h.td[safe.line(run["why"])],
        h.td[ago(run["startedAt"])],
        h.td[took(run)],
        h.td[tag(word, kind)],
        h.td[used],
    ]


def took(run: Mapping[str, Any]) -> h.Node:
    if run["startedAt"] and run["endedAt"]:
        return h.span(data_from=run["startedAt"], data_to=run["endedAt"])[_span(run["startedAt"], run["endedAt"])]
    return since(run["startedAt"]) if run["startedAt"] else ""


def _span(since: str, until: str) -> str:
    return span((stamped(until) - stamped(since)).total_seconds())


def _has_cost(run: Mapping[str, Any]) -> bool:
    return run["report"]["usd"] is not None or run["report"]["tokens"] is not None


def _head(entry: Entry, manifest: str, blockers: Sequence[str], found: Details) -> h.Node:
    used, offered = cost(entry["spend"]), entry["pullRequest"] or {}
    facts = {
        "Status": entry["status"] or "unknown",
        "Phase": entry["phase"],
        "Branch": h.code[safe.line(entry["branch"])],
        "Worktree": h.code[safe.line(entry["worktree"])] if entry["worktree"] else None,
        "After": [[task_link(each), " "] for each in blockers] if blockers else None,
        "Cost": used or None,
        "Risk": risk(offered) or None,
        "Approved by": ", ".join(YES[who] for who in offered.get("approvedBy", ())) or None,
    }
    url = offered.get("url")
    if url and url.startswith("https://"):
        facts["Pull request"] = h.a(href=url, rel="noreferrer noopener")[safe.line(url)]
    return [
        h.p(".crumbs")[
            h.a(href=to("/"))["Overview"],
            " / ",
            h.a(href=to(f"/manifest/{manifest}"))[manifest] if manifest else "no manifest",
            " / ",
            h.span(".mono")[entry["id"]],
            f" ({entry['key']})" if entry["key"] else None,
        ],
        h.h1[safe.line(entry["title"] or entry["id"])],
        h.p(".run")[run_line(entry), " ", pull(entry)],
        why(entry),
        h.p(".bad")[safe.line(found.silent)] if found.silent else None,
        h.dl(".facts")[[h.div[h.dt[name], h.dd[value]] for name, value in facts.items() if value]],
    ]


def _reviews(runs: Sequence[Mapping[str, Any]], void: Mapping[str, str]) -> h.Node:
    """What its reviewers answered, the newest first; nothing where nobody was asked. `void`: why some do not count."""
    answers = [_review(run, void.get(run["id"], "")) for run in reversed(runs) if "verdict" in run]
    return [h.h2["Reviews"], answers] if answers else None


def _review(run: Mapping[str, Any], void: str) -> h.Element:
    verdict = run["verdict"] or {}
    ended = run["endedAt"]
    word, kind = verdict_of(run)
    comments = verdict.get("comments", ())
    more = len(comments) - COMMENTS_MAX
    return h.div(".review")[
        h.p[
            tag(word, kind),
            " ",
            h.span(".mono.n")[run["id"]],
            " ",
            ago(ended) if ended else since(run["startedAt"]),
        ],
        h.p(".more")[safe.line(f"does not count: {void}")] if void else None,
        h.div(".prose")[safe.block(verdict["summary"], TEXT_MAX)] if verdict else None,
        h.ul[[_comment(each) for each in comments[:COMMENTS_MAX]]] if comments else None,
        h.p(".more")[f"{more} more: 'reconcile pr show' has them"] if more > 0 else None,
    ]


def _comment(each: Mapping[str, Any]) -> h.Element:
    return h.li[h.code[place(each)], " ", h.span(".prose")[safe.block(each["body"], TEXT_MAX)]]


def _log(found: Details, alive: bool) -> h.Node:
    if not found.log:
        return [h.h2["Log"], h.p(".empty")["No agent has run yet."]]
    return h.h2["Log ", h.span(".mono.n")[found.log], tag("live", "busy") if alive else None]


def _lines(found: Details) -> dict[str, str]:
    """Where the page puts what the run printed: apart from the head, which is replaced when the run ends."""
    if not found.log:
        return {}
    return {"log": html(h.pre("#log", role="log", tabindex="0", aria_label="What the run printed"))}


def _diff(diff: str | None, entry: Entry) -> h.Node:
    if diff is None:
        return [h.h2["Diff"], h.p(".empty")[_no_branch(entry)]]
    lines = safe.block(diff, most=2_000_000).splitlines()
    if not lines:
        return [h.h2["Diff"], h.p(".empty")["Its branch changes nothing."]]
    more = len(lines) - DIFF_LINES_MAX
    files = sum(line.startswith("diff --git ") for line in lines)
    plus = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
    minus = sum(line.startswith("-") and not line.startswith("---") for line in lines)
    count = h.span(".n")[
        f"{files} file{'' if files == 1 else 's'}, ", h.span(".good")[f"+{plus}"], " ", h.span(".bad")[f"-{minus}"]
    ]
    return [
        h.h2["Diff ", count],
        h.pre(".patch", tabindex="0")[[h.span(class_=_kind(line))[line + "\n"] for line in lines[:DIFF_LINES_MAX]]],
        h.p(".more")[f"{more} more lines: 'reconcile pr diff' shows them"] if more > 0 else None,
    ]


def _no_branch(entry: Entry) -> str:
    offered = entry["pullRequest"]
    if offered and offered["state"] != "open":
        how = "merged as" if offered["state"] == "merged" else "closed with"
        return f"Its branch is gone: {how} #{offered['number']}."
    return "There is no branch any more." if entry["status"] == "closed" else "There is no branch yet."


def _kind(line: str) -> str | None:
    if line.startswith(("diff --git", "index ", "+++", "---", "new file", "deleted file", "rename ", "similarity ")):
        return "file"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1])


def _text(found: Details) -> h.Node:
    shown = {name: text for name, text in found.text.items() if text}
    return [
        h.h2["Task"],
        [[h.h3[name], h.div(".prose")[safe.block(text, TEXT_MAX)]] for name, text in shown.items()]
        or h.p(".empty")["It has no text."],
        h.details[h.summary["The prompt of this run"], h.pre[safe.block(found.prompt, TEXT_MAX)]]
        if found.prompt
        else None,
    ]


def _history(events: Sequence[Mapping[str, Any]]) -> h.Node:
    rows = [_event(each) for each in reversed(events[-EVENTS_MAX:])]
    return [
        h.h2["History"],
        h.ol(".events", tabindex="0", aria_label="History")[rows]
        if rows
        else h.p(".empty")["Nothing has happened yet."],
    ]


def _event(each: Mapping[str, Any]) -> h.Element:
    failed = each.get("event") == "ActionFailed"
    name = each.get("action") or each.get("reason") or each.get("event") or ""
    error = (each.get("error") or {}).get("message", "") if isinstance(each.get("error"), dict) else ""
    return h.li[
        ago(str(each.get("at", ""))),
        " ",
        tag(str(name), "bad" if failed else ""),
        " ",
        safe.line(str(error or each.get("message", ""))),
    ]
