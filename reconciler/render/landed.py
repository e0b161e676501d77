"""How what has landed was judged: nobody asks about it any more, so it is read from the event of its landing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def as_it_landed(pull: Mapping[str, Any], task: str, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A pull request's document, with its risk and whose yes it had when it was merged, for as long as that event is kept.

    `events`: those of its task, oldest first.
    """
    if pull["state"] != "merged":
        return dict(pull)
    judged = [(event.get("evidence") or {}).get("judged") or {} for event in events if "error" not in event]
    kept = [found for each in judged if (found := each.get(task)) and found["head"] == pull["head"]]
    if not kept:
        return dict(pull)
    review = "approved" if kept[-1]["approvedBy"] else pull["review"]
    return {**pull, "risk": kept[-1]["risk"], "approvedBy": kept[-1]["approvedBy"], "review": review}
