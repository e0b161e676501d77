"""How things stand, for people: each manifest's progress, then its tasks by what they are waiting for.

Made from the document that `status -o json` prints, so both say the same.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.reasons import NEEDS_A_PERSON, Reason
from reconciler.render.safe import line
from reconciler.render.table import Row, Rows
from reconciler.render.words import span, stamped

Entry = dict[str, Any]

BAR = 20
QUIET_S = 120
TITLE_MOST = 72
SECTIONS = {
    "person": ("Needs a person", "bold red"),
    "progress": ("In progress", "bold cyan"),
    "pulls": ("Pull requests", "bold magenta"),
    "ready": ("Ready", "bold green"),
    "blocked": ("Blocked", "bold yellow"),
    "left": ("Closed, not cleared away yet", "bold"),
}
_SECTION_OF = {"working": "progress", "merging": "pulls", "review": "pulls", "ready": "ready", "blocked": "blocked"}
_MOVING = ("person", "progress", "pulls")
_COLOURS = {"Converged": "green", "Degraded": "red", "Progressing": "cyan"}
# Said once, above the tasks: a person mends the manifest, the agent or the tracker, and not each task.
_OF_THE_WHOLE = frozenset(
    {
        Reason.SUSPENDED,
        Reason.MANIFEST_INVALID,
        Reason.TRACKER_UNAVAILABLE,
        Reason.FORGE_UNAVAILABLE,
        Reason.EPIC_NOT_FOUND,
        Reason.EPIC_EMPTY,
        Reason.AGENT_BROKEN,
        Reason.AGENT_UNAVAILABLE,
    }
)


def status(document: dict[str, Any]) -> RenderableType:
    """How every manifest of the document stands."""
    if not document["epics"]:
        return Text("No manifest is recorded; run 'reconcile apply -f FILE' to record one")
    now = stamped(document["at"])
    return Group(*(part for epic in document["epics"] for part in _epic(epic, now)))


def progress(document: dict[str, Any], most: int = 10) -> RenderableType:
    """What moves now, at most so many tasks of a kind: for a view that is drawn again and again."""
    now = stamped(document["at"])
    return Group(*(part for epic in document["epics"] for part in _moving(epic, now, most)))


def why(entry: Entry, now: datetime) -> Text:
    """Why the task waits, or what is done for it next."""
    word, action = entry["waiting"], entry.get("next")
    if action:
        return Text.assemble(("next: ", "green"), line(action["message"]), (f"  ({action['action']})", "dim"))
    if not word:
        return Text()
    said = Text(line(word["message"]))
    if quiet := _quiet(entry, now):
        said.append(f"; quiet for {quiet}", "yellow")
    if "until" in word:
        said.append(f" (in {span((stamped(word['until']) - now).total_seconds())})")
    return said.append(f"  ({word['reason']})", "dim")


def pull_request(pull: dict[str, Any]) -> str:
    """A pull request with what is known about it, as short as it can be said.

    >>> pull_request({"number": 7, "checks": "passed", "review": "approved"})
    '#7 checks passed, approved'
    """
    known = (
        f"checks {pull['checks']}" if pull["checks"] != "none" else "",
        pull["review"] if pull["review"] in ("approved", "rejected") else "",
    )
    return f"#{pull['number']} {', '.join(filter(None, known))}".rstrip()


def alive(entry: Entry) -> bool:
    """True when a run of the task is alive."""
    return entry["run"] is not None and entry["run"]["state"] in ("starting", "running", "ending")


def _epic(epic: dict[str, Any], now: datetime) -> Iterator[RenderableType]:
    yield _heading(epic)
    yield _conditions(epic["conditions"])
    for name, tasks in _sections(epic["tasks"]).items():
        yield from _section(name, tasks, len(tasks), now)
    if trees := [each["worktree"] for each in epic["tasks"] if each["worktree"]]:
        yield Text()
        yield from (_worktrees(folder, names) for folder, names in _by_folder(trees))
    yield Text()


def _moving(epic: dict[str, Any], now: datetime, most: int) -> Iterator[RenderableType]:
    yield _heading(epic)
    yield _conditions(epic["conditions"])
    sections = _sections(epic["tasks"])
    for name in (name for name in _MOVING if name in sections):
        yield from _section(name, sections[name], most, now)
    rest = [f"{len(tasks)} {SECTIONS[name][0].lower()}" for name, tasks in sections.items() if name not in _MOVING]
    if rest:
        yield Text()
        yield Text(f"  {', '.join(rest)}", "dim")
    yield Text()


def _heading(epic: dict[str, Any]) -> Text:
    counts = epic["counts"]
    done = BAR * counts["closed"] // counts["tasks"] if counts["tasks"] else 0
    found = Text.assemble((line(epic["name"]), "bold"))
    if epic["epic"]:
        found.append(f"  {line(epic['epic'])}", "dim")
    found.append("  ").append("━" * done, "green").append("─" * (BAR - done), "dim")
    return found.append(f"  {counts['closed']}/{counts['tasks']} closed")


def _conditions(found: Sequence[dict[str, str]]) -> Rows:
    """The conditions that say something: what is wrong, what goes on, and otherwise why it is not done."""
    by_type = {condition["type"]: condition for condition in found}
    telling = [by_type[name] for name in ("Degraded", "Progressing") if by_type[name]["status"] == "True"]
    if by_type["Converged"]["reason"] not in [condition["reason"] for condition in telling]:
        telling.append(by_type["Converged"])
    return Rows(rows=[_condition(condition) for condition in telling], yields=0)


def _condition(condition: dict[str, str]) -> Row:
    name, reason = condition["type"], condition["reason"]
    if condition["status"] != "True":
        name = reason  # not converged: only why is news
    said = name if reason == name else f"{name} ({reason})"
    return Row(cells=(Text(said, _COLOURS.get(name, "yellow")),), note=Text(line(condition["message"])))


def _sections(tasks: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The tasks by the section they are listed in; without closed ones of which nothing is left."""
    found: dict[str, list[Entry]] = {name: [] for name in SECTIONS}
    for entry in tasks:
        if name := _section_of(entry):
            found[name].append(entry)
    return {name: listed for name, listed in found.items() if listed}


def _section_of(entry: Entry) -> str | None:
    reason = entry["waiting"]["reason"] if entry["waiting"] else None
    if entry["group"] == "working":
        return "progress"
    if entry["group"] == "needsHuman" or reason in NEEDS_A_PERSON - _OF_THE_WHOLE:
        return "person"
    if entry["group"] == "closed":
        return "left" if reason or "next" in entry else None
    return _SECTION_OF[entry["group"]]


def _section(name: str, tasks: Sequence[Entry], most: int, now: datetime) -> Iterator[RenderableType]:
    title, style = SECTIONS[name]
    rows = [Row(cells=tuple(map(Text, _cells(entry, now))), note=why(entry, now)) for entry in tasks[:most]]
    yield Text()
    yield Text.assemble((title, style), f" ({len(tasks)})")
    yield Rows(rows=rows, yields=1)
    if len(tasks) > most:
        yield Text(f"  … and {len(tasks) - most} more", "dim")


def _cells(entry: Entry, now: datetime) -> tuple[str, ...]:
    """Task, title, phase, attempt, age of what runs, pull request."""
    run, pull = entry["run"], entry["pullRequest"]
    started = run["startedAt"] if run and alive(entry) else None
    return (
        line(entry["id"]),
        line(entry["title"], TITLE_MOST),
        entry["phase"] or "",
        "" if run is None else "check" if run["kind"] == "check" else f"attempt {run['attempt']}",
        span((now - stamped(started)).total_seconds()) if started else "",
        pull_request(pull) if pull and pull["state"] == "open" else "",
    )


def _quiet(entry: Entry, now: datetime) -> str:
    """How long its agent has shown no progress, where that is worth a look."""
    if not alive(entry) or not entry["run"]["lastProgressAt"]:
        return ""
    seconds = (now - stamped(entry["run"]["lastProgressAt"])).total_seconds()
    return span(seconds) if seconds >= QUIET_S else ""


def _by_folder(trees: Sequence[str]) -> list[tuple[str, list[str]]]:
    grouped = groupby(sorted(trees), posixpath.dirname)
    return [(folder, [posixpath.basename(path) for path in paths]) for folder, paths in grouped]


def _worktrees(folder: str, names: Sequence[str]) -> Rows:
    heading = Text.assemble(("Worktrees", "bold"), f" ({len(names)} in {line(folder)})")
    return Rows(rows=[Row(cells=(heading,), note=Text(", ".join(map(line, names))))], yields=0, indent=0)
