"""Which tasks need a person, and since when: as it is remembered for the one who looks on later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from reconciler.planning.plan import EpicPlan
from reconciler.render.words import stamp

REMEMBERED_MAX = 100
MESSAGE_MAX = 400


def remembered(epic: EpicPlan, before: Mapping[str, Any], now: datetime) -> dict[str, dict[str, str]]:
    """By task: `reason`, `message` and `since`. `before`: what was remembered of the manifest last."""
    known = recalled(before)
    found = {}
    for task, word in islice(epic.needy.items(), REMEMBERED_MAX):
        same = task in known and known[task]["reason"] == word.reason
        since = known[task]["since"] if same else stamp(now)
        found[str(task)] = {"reason": str(word.reason), "message": word.message[:MESSAGE_MAX], "since": since}
    return found


def recalled(status: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What `remembered` gave, as far as it can be read."""
    listed = status.get("asking")
    found = {}
    for task, each in listed.items() if isinstance(listed, dict) else ():
        match each:
            case {"reason": str(reason), "message": str(message), "since": str(since)} if _is_time(since):
                found[str(task)] = {"reason": reason, "message": message, "since": since}
    return found


def dated(entry: dict[str, Any], known: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """A task's entry whose `waiting` says `since`, where it is `known` that it needs a person for that; from `recalled`."""
    word, each = entry["waiting"], known.get(entry["id"])
    if not word or not each or each["reason"] != word["reason"]:
        return entry
    return {**entry, "waiting": {**word, "since": each["since"]}}


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
