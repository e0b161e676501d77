"""The landing line: what may be tested and what may land now, one base at a time. Pure.

Every check is a proof about exactly one tree, and a tree is made for exactly one tip of the base. So whatever is proven
may land at once, one per tick; what is not proven waits its turn for a check, because every landing makes the trees of
all others again. A forge's proof is about a head: there one head at a time gets the base merged into it, and keeps its turn
until that is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from reconciler.model.names import TaskId


class Stage(StrEnum):
    """Where a member of the line stands."""

    UNPROVEN = "unproven"
    CHECKING = "checking"
    PROVEN = "proven"
    NEEDS_BASE = "apart"  # green by itself, without all of the base in it
    CHECKING_ON_FORGE = "awaited"  # with the base in it, and under the checks of its forge


class Member(Struct, frozen=True, kw_only=True):
    """A pull request that nothing but its turn keeps from landing, or from being shown to a person as green.

    Smaller `rank` goes first: what may land before what a person has yet to see, then priority, then number.
    """

    task: TaskId
    stage: Stage
    rank: tuple[bool, int, int]


def ahead(line: Sequence[Member], *, checks_alive: int, parallel: int) -> dict[TaskId, TaskId | None]:
    """For every member that must wait its turn: whom it waits for (None: for a check slot).

    `checks_alive` counts the check runs of this base, also those whose tree has gone stale. Members that are not in the
    answer may go on: the first proven one lands, unproven ones are checked.
    """
    waiting: dict[TaskId, TaskId | None] = {}
    ordered = sorted(line, key=lambda member: member.rank)
    landing = next((member.task for member in ordered if member.stage is Stage.PROVEN), None)
    first = next((member.task for member in ordered if member.stage is Stage.CHECKING), None)
    awaited = next((member.task for member in ordered if member.stage is Stage.CHECKING_ON_FORGE), None)
    apart = next((member.task for member in ordered if member.stage is Stage.NEEDS_BASE), None)
    free = parallel - checks_alive
    for member in ordered:
        match member.stage:
            case Stage.CHECKING | Stage.CHECKING_ON_FORGE:
                continue
            case Stage.PROVEN if member.task == landing:
                continue
            case Stage.PROVEN:
                waiting[member.task] = landing
            case Stage.NEEDS_BASE if landing or awaited or member.task != apart:
                waiting[member.task] = landing or awaited or apart
            case Stage.NEEDS_BASE:
                continue
            case Stage.UNPROVEN if landing is not None:
                waiting[member.task] = landing
            case Stage.UNPROVEN if free < 1:
                waiting[member.task] = first
            case Stage.UNPROVEN:
                free -= 1
                first = first or member.task
    return waiting
