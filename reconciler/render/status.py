"""How things stand, for people: each manifest's progress, then its tasks by what they are waiting for.

Made from the document that `status -o json` prints, so both say the same.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.model.observed.runs import ALIVE
from reconciler.model.reasons import Awaits, Reason, Scope
from reconciler.planning.actions import BlockTask, OpenPullRequest
from reconciler.render import failing, spend
from reconciler.render.safe import line
from reconciler.render.table import Row, Rows, facts
from reconciler.render.words import run_name, seconds_since, span, stamped

Entry = dict[str, Any]

NOTHING_RECORDED = "No manifest is applied; run 'reconcile apply -f FILE'"
BAR = 20
QUIET_S = 120
OLD_S = 60  # from then on it is shown for how long somebody is needed
TITLE_MAX = 72
SECTIONS = {
    "person": ("Needs attention", "bold red"),
    "progress": ("In progress", "bold cyan"),
    "pulls": ("Pull requests", "bold magenta"),
    "ready": ("Ready", "bold green"),
    "blocked": ("Blocked", "bold yellow"),
    "left": ("Closed, not cleaned up yet", "bold"),
    "unmanaged": ("Not covered by any manifest", "bold yellow"),
}
_SECTION_OF = {"working": "progress", "merging": "pulls", "review": "pulls", "ready": "ready", "blocked": "blocked"}
_COLOURS = {"Converged": "green", "Degraded": "red", "Progressing": "cyan"}


def status(document: dict[str, Any]) -> RenderableType:
    """How every manifest of the document stands."""
    now = stamped(document["at"])
    epics = [part for epic in document["epics"] for part in _epic(epic, now)]
    uncovered = list(unmanaged(document, now))
    # Below a manifest there is an empty line already.
    return Group(*epics, *uncovered[1:]) if epics else Group(Text(NOTHING_RECORDED), *uncovered)


def unmanaged(document: dict[str, Any], now: datetime) -> Iterator[RenderableType]:
    """The tasks of no manifest for which something was begun."""
    if tasks := document["unmanaged"]:
        yield from _section("unmanaged", tasks, now)


def why(entry: Entry, now: datetime, *, in_a_word: bool = True) -> Text:
    """Why the task waits, or what is done for it next; with the word that programs know it by."""
    word, failed = entry["waiting"], entry["failing"]
    if "next" in entry:
        shown = Text.assemble(("next: ", "green"), step(entry, in_a_word=in_a_word))
        return shown.append(f"; {line(failing.words(failed, now))}", "red") if failed else shown
    if not word:
        return Text(line(failing.words(failed, now)) if failed else "", "red")
    if failed and word.get("until") == failed["nextTry"]:
        open_task = entry["id"] if entry["status"] != "closed" else ""
        shown = Text(line(failing.words(failed, now, open_task)), "red")
        return shown.append(f"  ({word['reason']})", "dim") if in_a_word else shown
    shown = Text(line(word["message"]))
    if still := quiet(entry, now):
        shown.append(f"; quiet for {still}", "yellow")
    if "since" in word and (age_s := seconds_since(word["since"], now)) >= OLD_S:
        shown.append(f" (for {span(age_s)})")
    if "until" in word:
        shown.append(f" (in {span((stamped(word['until']) - now).total_seconds())})")
    return shown.append(f"  ({word['reason']})", "dim") if in_a_word else shown


def step(entry: Entry, *, in_a_word: bool = True) -> Text:
    """What is done for the task next, as `why` says it."""
    short = f"  ({entry['next']['action']})" if in_a_word else ""
    return Text.assemble(line(entry["next"]["message"]), (short, "dim"))


def pull_request(pull: dict[str, Any], *, short: bool = False) -> str:
    """A pull request with what is known about it, as short as can be.

    >>> pull_request({"number": 7, "checks": "passed", "review": "approved"})
    '#7 checks passed, approved'
    >>> pull_request({"number": 7, "checks": "passed", "review": "none"}, short=True)
    '#7 passed'
    """
    known = (
        f"{'' if short else 'checks '}{pull['checks']}" if pull["checks"] != "none" else "",
        pull["review"] if pull["review"] in ("approved", "rejected") else "",
    )
    return f"#{pull['number']} {', '.join(filter(None, known))}".rstrip()


def alive(entry: Entry) -> bool:
    """True when a run of the task is alive."""
    return entry["run"] is not None and entry["run"]["state"] in ALIVE


def bar(counts: dict[str, int], cells: int) -> Text:
    """How much of a manifest is done, in so many cells."""
    done = cells * counts["closed"] // counts["tasks"] if counts["tasks"] else 0
    return Text.assemble(("━" * done, "green"), ("─" * (cells - done), "dim"))


def telling(found: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The conditions that say something: what is wrong, what goes on, and otherwise why it is not done."""
    by_type = {condition["type"]: condition for condition in found}
    telling_ = [by_type[name] for name in ("Degraded", "BudgetLow", "Progressing") if _true(by_type.get(name))]
    if by_type["Converged"]["reason"] not in [condition["reason"] for condition in telling_]:
        telling_.append(by_type["Converged"])
    return telling_


def _true(condition: dict[str, str] | None) -> bool:
    return condition is not None and condition["status"] == "True"


def trees(epic: dict[str, Any]) -> list[Row]:
    """Where the manifest's tasks are worked on, a row per folder."""
    paths = sorted(each["worktree"] for each in epic["tasks"] if each["worktree"])
    folders = [(folder, list(map(posixpath.basename, found))) for folder, found in groupby(paths, posixpath.dirname)]
    return [
        Row(
            cells=(Text.assemble(("Worktrees", "bold"), f" ({len(names)} in {line(folder)})"),),
            note=Text(", ".join(map(line, names))),
        )
        for folder, names in folders
    ]


def section_of(entry: Entry) -> str | None:
    """The section that a task is listed in; None for a closed one of which nothing is left."""
    waiting = entry["waiting"]
    if entry["group"] == "working":
        return "progress"
    failed_for_good = entry["failing"] is not None and entry["failing"]["permanent"]
    handed_over = "next" in entry and entry["next"]["action"] == BlockTask.__name__
    if entry["group"] == "needsHuman" or failed_for_good or handed_over or (waiting and _needs_a_person(waiting)):
        return "person"
    if entry["group"] == "closed":
        return "left" if waiting or "next" in entry else None
    return "pulls" if _about_to_be_offered(entry) else _SECTION_OF[entry["group"]]


def _about_to_be_offered(entry: Entry) -> bool:
    # Nobody is to start on it: it is done, and its pull request is opened next, or when that is tried again.
    due = entry.get("next") or entry["failing"] or {}
    return bool(due.get("action") == OpenPullRequest.__name__)


def _needs_a_person(waiting: dict[str, Any]) -> bool:
    # What time alone may change needs nobody yet.
    return Reason.of(waiting["reason"]).awaits is Awaits.PERSON and "until" not in waiting and not of_the_whole(waiting)


def of_the_whole(waiting: dict[str, Any]) -> bool:
    """True for what is shown once, above the tasks: a person fixes the manifest, the agent or the tracker, and not each."""
    return Reason.of(waiting["reason"]).row.scope is Scope.EPIC


def quiet(entry: Entry, now: datetime) -> str:
    """How long its agent has shown no progress, where that is worth a look."""
    if not alive(entry) or not entry["run"]["lastProgressAt"]:
        return ""
    seconds = seconds_since(entry["run"]["lastProgressAt"], now)
    return span(seconds) if seconds >= QUIET_S else ""


def _epic(epic: dict[str, Any], now: datetime) -> Iterator[RenderableType]:
    yield _heading(epic)
    yield _conditions(epic["conditions"], now)
    if green := base_words(epic["base"]):
        yield facts([("base", line(green))])
    yield from withheld_rows(epic["withheld"])
    above = frozenset(condition["message"] for condition in telling(epic["conditions"]))
    for name, tasks in _sections(epic["tasks"]).items():
        yield from _section(name, tasks, now, above)
    if found := trees(epic):
        yield Text()
        yield from (Rows(rows=[row], yields=0, indent=0) for row in found)
    yield Text()


def _heading(epic: dict[str, Any]) -> Text:
    counts = epic["counts"]
    found = Text.assemble((line(epic["name"]), "bold"))
    if epic["epic"]:
        found.append(f"  {line(epic['epic'])}", "dim")
    if counts["tasks"] is None:
        found.append("  tasks unknown", "yellow")
    else:
        found.append("  ").append_text(bar(counts, BAR)).append(f"  {counts['closed']}/{counts['tasks']} closed")
    used = spend.words(epic["spend"])
    return found.append(f"  {used}" if used else "")


def base_words(base: dict[str, Any] | None) -> str:
    """At which commit a base is green, in a line; empty where nothing is known of it yet.

    >>> commits = [{"sha": "9" * 40, "state": "unknown"}, {"sha": "1" * 40, "state": "green"}]
    >>> base_words({"name": "main", "green": "1" * 40, "commits": commits})
    'main is green at 111111111111, one commit before its tip 999999999999, which is not known'
    """
    if base is None or all(commit["state"] == "unknown" for commit in base["commits"]):
        return ""
    name, tip = base["name"], base["commits"][0]
    if tip["state"] == "green":
        return f"{name} is green at its tip {tip['sha'][:12]}"
    known = "red" if tip["state"] == "red" else "not known"
    if base["green"] is None:
        return f"{name} is {known} at its tip {tip['sha'][:12]}, and not known to be green before"
    behind = [commit["sha"] for commit in base["commits"]].index(base["green"])
    before = "one commit" if behind == 1 else f"{behind} commits"
    return f"{name} is green at {base['green'][:12]}, {before} before its tip {tip['sha'][:12]}, which is {known}"


def withheld_rows(changes: Sequence[str]) -> Iterator[Rows]:
    """What a manifest's file asks for and nobody applied, whole: it is to be read before it is taken."""
    if changes:
        yield facts((("withheld", each) for each in changes), "yellow")


def _conditions(found: Sequence[dict[str, str]], now: datetime) -> Rows:
    return Rows(rows=[_condition(condition, now) for condition in telling(found)], yields=0)


def _condition(condition: dict[str, str], now: datetime) -> Row:
    name, reason = condition["type"], condition["reason"]
    if condition["status"] != "True":
        name = reason  # not converged: only why is news
    message = name if reason == name else f"{name} ({reason})"
    age_s = seconds_since(condition["lastTransitionTime"], now)
    since = f" (for {span(age_s)})" if name == "Degraded" and age_s >= OLD_S else ""
    return Row(cells=(Text(message, _COLOURS.get(name, "yellow")),), note=Text(line(condition["message"]) + since))


def _sections(tasks: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The tasks by the section they are listed in; without closed ones of which nothing is left."""
    found: dict[str, list[Entry]] = {name: [] for name in SECTIONS}
    for entry in tasks:
        if name := section_of(entry):
            found[name].append(entry)
    return {name: listed for name, listed in found.items() if listed}


def _section(name: str, tasks: Sequence[Entry], now: datetime, above: Collection[str] = ()) -> Iterator[RenderableType]:
    title, style = SECTIONS[name]
    rows = [Row(cells=tuple(map(Text, _cells(entry, now))), note=_note(entry, now, above)) for entry in tasks]
    yield Text()
    yield Text.assemble((title, style), f" ({len(tasks)})")
    yield Rows(rows=rows, yields=1)


def _note(entry: Entry, now: datetime, above: Collection[str]) -> Text:
    """Why it waits; in a few words where all of it stands above the tasks already."""
    word = entry["waiting"]
    if not word or "next" in entry or entry["failing"] or word["message"] not in above:
        return why(entry, now)
    return Text.assemble(Reason.of(word["reason"]).row.meaning, (f"  ({word['reason']})", "dim"))


def _cells(entry: Entry, now: datetime) -> tuple[str, ...]:
    """Task, title, phase, attempt, age of what runs, pull request."""
    run, pull = entry["run"], entry["pullRequest"]
    started = run["startedAt"] if run and alive(entry) else None
    return (
        line(entry["id"]),
        line(entry["title"] or "", TITLE_MAX),
        entry["phase"] or "",
        run_name(run) if run else "",
        span(seconds_since(started, now)) if started else "",
        pull_request(pull) if pull and pull["state"] == "open" else "",
    )
