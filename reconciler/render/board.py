"""The columns that screens sort tasks into: what needs a person first, what is done last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.model.reasons import Awaits, Reason
from reconciler.render.status import Entry, alive, of_the_whole, section_of

COLUMNS = {
    "needs": ("Needs you", "Nothing needs you."),
    "working": ("Working", "No agent runs."),
    "checking": ("Checking", "No check runs."),
    "landing": ("Landing", "Nothing is about to land."),
    "waiting": ("Waiting", "Nothing waits."),
    "done": ("Done", "Nothing is done yet."),
}
CARDS_MAX, DONE_MAX = 150, 30  # of a column among others, the rest is only counted
Board = Mapping[str, Sequence[tuple[str, Entry]]]


def board(
    manifests: Mapping[str, Any], unmanaged: Sequence[Entry] = (), wanted: str = "", only: str | None = None
) -> Board:
    """The tasks of a look by column, each with its manifest ("" for those of none). `wanted`: words that must occur;
    `only`: one manifest, without what belongs to none."""
    columns: dict[str, list[tuple[str, Entry]]] = {name: [] for name in COLUMNS}
    shown = {name: part for name, part in manifests.items() if only in (None, name)}
    listed = [(name, entry) for name, part in shown.items() for entry in part["status"]["tasks"]]
    words = wanted.casefold().split()
    for name, entry in (*listed, *(("", entry) for entry in (unmanaged if only is None else ()))):
        if not words or _matches(entry, name, words):
            columns[column_of(entry)].append((name, entry))
    closed = {id: at for part in shown.values() for id, at in part["closedAt"].items()}
    columns["done"].sort(key=lambda each: -closed.get(each[1]["id"], 0))
    return columns


def column_of(entry: Entry) -> str:
    """The column that a task stands in."""
    section = section_of(entry)
    if section == "person":
        return "needs"
    if entry["group"] == "closed":
        return "done"
    if section == "progress":
        return "working"
    if section == "pulls":
        if "next" not in entry and _held(entry):
            return "waiting"
        passed = entry["pullRequest"] and entry["pullRequest"]["checks"] == "passed"
        return "landing" if passed and not alive(entry) else "checking"  # what runs now is a check or a review
    return "waiting"


def degraded(manifests: Mapping[str, Any]) -> list[str]:
    """The manifests of which something is wrong as a whole: that needs a person, though no task of theirs may."""
    found = ((name, part["status"]["conditions"]) for name, part in manifests.items())
    return [name for name, each in found if any(c["type"] == "Degraded" and c["status"] == "True" for c in each)]


def _held(entry: Entry) -> bool:
    """True where a person keeps all of its manifest from going on: nothing is about to land."""
    word = entry["waiting"]
    return bool(word) and not alive(entry) and Reason.of(word["reason"]).awaits is Awaits.PERSON and of_the_whole(word)


def _matches(entry: Entry, manifest: str, wanted: Sequence[str]) -> bool:
    words = (
        entry["id"],
        entry["key"],
        entry["title"],
        manifest,
        (entry["waiting"] or {}).get("reason"),
        entry["branch"],
    )
    text = " ".join(filter(None, words)).casefold()
    return all(word in text for word in wanted)
