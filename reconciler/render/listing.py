"""Tables of what there is, one row a thing: made from the arrays that `get -o json` prints, under headings.

What has no value is a dash, so that every row has as many words as its heading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from reconciler.model.observed.runs import ALIVE
from reconciler.planning.machine_room import words
from reconciler.render.pulls import tested
from reconciler.render.safe import line
from reconciler.render.spend import tokens
from reconciler.render.table import Row, Rows
from reconciler.render.task import ending, event_text
from reconciler.render.words import run_name, span, stamped, wall

Document = dict[str, Any]

SHA_MAX = 12
NOTE_MIN = 12
PATH_MIN = 40  # the path of a file is not to be broken for the sake of one row


def tasks(rows: Sequence[Document]) -> RenderableType:
    """Each task with where it stands and what it waits for."""
    return columns(("TASK", "MANIFEST", "STATE", "RUN", "PR", "NEXT", "TITLE"), rows, _task, yields=6)


def runs(rows: Sequence[Document], now: datetime) -> RenderableType:
    """Each run with its process, its age, and how it ended; with where it is, once one is on another machine."""
    where = ("WHERE",) if any(row.get("where") for row in rows) else ()
    headings = ("TASK", "RUN", "STATE", *where, "PID", "STARTED", "TOOK", "COST", "ENDED")
    return columns(headings, rows, lambda row: _run(row, now, elsewhere=bool(where)), yields=0)


def worktrees(rows: Sequence[Document]) -> RenderableType:
    """Each worktree with what stands in it and in no commit, and who works there."""
    return columns(("TASK", "HEAD", "STATE", "SIZE", "RUN", "WORKTREE"), rows, _worktree, yields=0)


def pull_requests(rows: Sequence[Document]) -> RenderableType:
    """Each pull request with what is known about it."""
    return columns(("PR", "TASK", "STATE", "HEAD", "CHECKS", "REVIEW", "TITLE"), rows, _pull_request, yields=6)


def events(rows: Sequence[Document]) -> RenderableType:
    """What happened, newest last."""
    return columns(("AT", "EVENT", "TASK", "WHAT"), rows, _event, yields=2)


def event_line(row: Document) -> str:
    """One event on a line of its own, as it happens."""
    return "  ".join(filter(None, _event(row)))


def manifests(rows: Sequence[Document]) -> RenderableType:
    """Each manifest with its conditions. GENERATION: the one that was acted on, of the one that is recorded."""
    headings = ("NAME", "BASE", "EPIC", "GENERATION", "CONVERGED", "DEGRADED", "SOURCE")
    return columns(headings, rows, _manifest, yields=4, note_least=PATH_MIN)


def columns(
    headings: Sequence[str],
    rows: Sequence[Document],
    cells: Callable[[Document], Sequence[str]],
    *,
    yields: int,
    note_least: int = NOTE_MIN,
) -> RenderableType:
    """Rows under their headings. The last cell wraps; where it is the one that gives way, it is cut instead."""
    wraps = yields < len(headings) - 1
    found = [_row(headings, wraps, "bold"), *(_row([line(cell) or "-" for cell in cells(row)], wraps) for row in rows)]
    return Rows(rows=found, yields=yields, indent=0, note_least=note_least)


def _row(cells: Sequence[str], wraps: bool, style: str = "") -> Row:
    texts = [Text(cell, style) for cell in cells]
    return Row(cells=tuple(texts[:-1]), note=texts[-1]) if wraps else Row(cells=tuple(texts))


def _task(row: Document) -> Sequence[str]:
    run, pull, word, action = row["run"], row["pullRequest"], row["waiting"], row.get("next")
    return (
        row["id"],
        row["manifest"] or "",
        row["group"],
        run_name(run) if run else "",
        f"#{pull['number']}" if pull else "",
        action["action"] if action else word["reason"] if word else "",
        row["title"] or "",
    )


def _run(row: Document, now: datetime, *, elsewhere: bool) -> Sequence[str]:
    started, ended = (stamped(row[name]) if row[name] else None for name in ("startedAt", "endedAt"))
    return (
        row["task"],
        run_name(row),
        row["state"],
        *([row.get("where", "")] if elsewhere else ()),
        str(row["pid"] or ""),
        f"{span((now - started).total_seconds())} ago" if started else "never",
        span(((ended or now) - started).total_seconds()) if started and (ended or row["state"] in ALIVE) else "",
        _cost(row["report"]),
        ending(row["exit"], row["report"]) or line(row.get("said") or ""),
    )


def _cost(report: Document | None) -> str:
    if report is None:
        return ""
    return f"${report['usd']:.2f}" if report["usd"] is not None else f"{tokens(report['tokens'] or 0)} tokens"


def _worktree(row: Document) -> Sequence[str]:
    head = (row["head"] or "")[:SHA_MAX]
    size = "" if row["bytes"] is None else words(row["bytes"])
    return (row["task"] or "", head, _stands(row), size, run_name(row["run"]) if row["run"] else "", row["worktree"])


def _stands(row: Document) -> str:
    """What is wrong with a worktree, or what stands in it and in no commit."""
    if row["fault"] or row["kind"] != "work":
        return row["fault"] or ""
    if row["changed"] is None:
        return "unknown"
    return f"{row['changed']} changed" if row["changed"] else "clean"


def _pull_request(row: Document) -> Sequence[str]:
    number, head = f"#{row['number']}", row["head"][:SHA_MAX]
    return (number, row["task"], row["state"], head, tested(row), row["review"], row["title"])


def _event(row: Document) -> Sequence[str]:
    at = wall(str(row.get("at", "")))
    return (at, str(row.get("event", "")), str(row.get("task") or ""), event_text(row))


def _manifest(row: Document) -> Sequence[str]:
    by_type = {each["type"]: each for each in row["conditions"]}
    return (
        row["name"],
        row["base"],
        row["epic"] or "",
        f"{row['observedGeneration']}/{row['generation']}",
        *(_condition(by_type[name]) for name in ("Converged", "Degraded")),
        row["source"],
    )


def _condition(condition: Document) -> str:
    status, reason = condition["status"], condition["reason"]
    telling = status != ("True" if condition["type"] == "Converged" else "False")
    return f"{status} ({reason})" if telling else str(status)
