"""One task for people: what it is, how it stands, its runs and its history. Made from the `describe -o json` document."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.model.names import split_key
from reconciler.model.observed import StopWhy
from reconciler.render import failing
from reconciler.render.pulls import risk
from reconciler.render.reviews import VERDICTS, because
from reconciler.render.safe import block, line
from reconciler.render.spend import words
from reconciler.render.status import pull_request, step, why
from reconciler.render.table import Row, Rows, facts
from reconciler.render.words import counted, span, stamped, wall

EVENTS_MAX = 30
SAID_MAX = 100
_OF_EVERY_EVENT = ("at", "event", "task", "manifest")


def describe(document: dict[str, Any]) -> RenderableType:
    """Everything about a task, the newest events last."""
    now = stamped(document["at"])
    heading = Text.assemble((line(document["id"]), "bold"), f"  {line(document['title'] or '')}")
    known = facts((name, value) for name, value in _facts(document, now) if value)
    return Group(heading, known, *_texts(document), *_runs(document, now), *_events(document))


def describe_epic(document: dict[str, Any]) -> RenderableType:
    """What an epic is made of: it is no work itself."""
    heading = Text.assemble((line(document["id"]), "bold"), f"  {line(document['title'])}")
    tasks = document["tasks"]
    closed = sum(task["status"] == "closed" for task in tasks)
    message = f"an epic, {line(document['status'])}: {closed} of its {counted(len(tasks), 'task')} closed"
    rows = [
        Row(
            cells=(Text(line(task["id"])), Text(line(task["status"])), Text(line(task["manifest"] or "-"))),
            note=Text(line(task["title"])),
        )
        for task in tasks
    ]
    return Group(
        heading, Text(message if tasks else "an epic without tasks"), *([Rows(rows=rows, yields=0)] if rows else [])
    )


def _facts(document: dict[str, Any], now: datetime) -> Iterator[tuple[str, Text]]:
    pull = document["pullRequest"]
    key = f", declared as {line(document['key'])}" if document["key"] else ""
    yield "manifest", Text(line(document["manifest"] or "none covers it") + key)
    yield (
        "status",
        Text(line(document["status"] or "unknown") + (f", phase {document['phase']}" if document["phase"] else "")),
    )
    yield ("next", step(document)) if "next" in document else ("waits", why(document, now))
    if "next" in document and document["failing"]:
        yield "failing", Text(line(failing.words(document["failing"], now)))
    yield "priority", Text("" if document["priority"] is None else str(document["priority"]))
    yield "assignee", Text(line(document["assignee"] or ""))
    yield "labels", Text(", ".join(map(line, document["labels"])))
    yield "blocked by", Text(", ".join(map(line, document["blockedBy"])))
    yield "worktree", Text(line(document["worktree"] or ""))
    yield "branch", Text(line(document["branch"]))
    if pull:
        yield "pull request", Text(f"{pull_request(pull)}  {pull['state']}, head {line(pull['head'])}")
        yield "risk", Text(risk(pull))
        yield (
            "approved by",
            Text(", ".join({"person": "a person", "agent": "its reviewer"}[who] for who in pull["approvedBy"])),
        )
        yield "address", Text(line(pull["url"] or ""))
    yield "spent", Text(words(document["spend"]))
    yield "closed", Text(line(document["closeReason"] or ""))


def _texts(document: dict[str, Any]) -> Iterator[RenderableType]:
    for name in ("description", "acceptance", "notes"):
        if text := split_key(document[name])[0].strip():
            yield Text(f"\n{name.capitalize()}", "bold")
            yield facts([("", block(text))])


def _runs(document: dict[str, Any], now: datetime) -> Iterator[RenderableType]:
    if document["runs"]:
        yield Text("\nRuns", "bold")
        yield Rows(rows=[_RUN, *(_run(run, now) for run in document["runs"])], yields=4)  # an id is there to be typed


_RUN = Row(
    cells=tuple(Text(name, "dim") for name in ("RUN", "STATE", "TRY", "STARTED", "BECAUSE", "TOOK")),
    note=Text("ENDED", "dim"),
)


def _run(run: dict[str, Any], now: datetime) -> Row:
    started, ended = (stamped(run[name]) if run[name] else None for name in ("startedAt", "endedAt"))
    cells = (
        line(run["id"]),
        run["state"] + (f" on {line(node)}" if (node := run.get("where", "").partition(":")[2]) else ""),
        str(run["attempt"] or ""),
        f"{span((now - started).total_seconds())} ago" if started else "never",
        line(run["why"]),
        span((ended - started).total_seconds()) if started and ended else "",
    )
    note = ending(run["exit"], run["report"]) or line(run.get("said") or "")
    if "verdict" in run:
        note = "; ".join(filter(None, (note, _answer(run))))
    return Row(cells=tuple(map(Text, cells)), note=Text(note))


def _answer(run: dict[str, Any]) -> str:
    """What a review came to, and whether that counts."""
    word = VERDICTS[run["verdict"]["verdict"]] if run["verdict"] else ""
    return "; ".join(filter(None, (word, because(run))))


def ending(record: dict[str, Any] | None, report: dict[str, Any] | None = None) -> str:
    """How a run ended: as it was recorded, with its agent's own word for what went wrong."""
    if record is None:
        return ""
    if report and report["fault"]:
        return f"{ending(record)}, {report['fault']}: {line(report['said'], SAID_MAX)}"
    if record["flaky"]:
        numbers = ", ".join(map(str, record["flaky"]))
        return f"{ending({**record, 'flaky': []})}, flaky: {numbers} passed only when started again"
    if record.get("stop") == StopWhy.ENGINE_LIMIT:
        return "Slurm's time limit"
    if record["cause"] != "exited":
        return str(record["cause"]) + (f" ({record['limitSeconds']:.0f}s)" if record["limitSeconds"] else "")
    return f"signal {record['signal']}" if record["signal"] else f"exit status {record['code']}"


def _events(document: dict[str, Any]) -> Iterator[RenderableType]:
    found = document["events"]
    # Each command that acts notes for itself why a task waits: who reads that twice looks for what changed in between.
    events = [event for before, event in zip([{}, *found], found, strict=False) if not _same_wait(before, event)]
    if not events:
        return
    left_out = f" (the newest {EVENTS_MAX} of {len(events)})" if len(events) > EVENTS_MAX else ""
    yield Text.assemble(("\nEvents", "bold"), left_out)
    yield Rows(rows=[_event(event) for event in events[-EVENTS_MAX:]], yields=1, note_least=32)


def _same_wait(before: dict[str, Any], event: dict[str, Any]) -> bool:
    return event.get("event") == "Waiting" and {**before, "at": event.get("at")} == event


def _event(event: dict[str, Any]) -> Row:
    at = wall(line(str(event.get("at", ""))))
    return Row(cells=(Text(at, "dim"), Text(line(str(event.get("event", ""))))), note=Text(event_text(event)))


def event_text(event: dict[str, Any]) -> str:
    """What an event says, as a sentence where it holds one."""
    if "message" in event:
        error = event.get("error")
        went_wrong = f"; {error.get('message')}" if isinstance(error, dict) else ""
        what = event.get("action") or event.get("reason")
        return line(f"{what}: {event['message']}{went_wrong}" if what else f"{event['message']}{went_wrong}")
    values = ((name, value) for name, value in event.items() if name not in _OF_EVERY_EVENT and value is not None)
    return line("  ".join(f"{name}={value}" for name, value in values))
