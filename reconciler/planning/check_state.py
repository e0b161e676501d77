"""What the runs of a manifest's checks on one tree come to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from reconciler.model.observed import Cause, Run, RunState
from reconciler.model.venue import Venue
from reconciler.planning.silence import no_word

LOST_CHECKS_MAX = 3
# What a shell says of a program that it can't execute, and of one that it does not find.
_CANT_BE_ASKED = (126, 127)
SWEEP = timedelta(seconds=0.3)
KILLED = (1, 2, 9, 15)  # HUP, INT, KILL, TERM: what a shutdown or a lack of memory sends


class CheckState(StrEnum):
    """What is known about a candidate's tree under the manifest's checks, and about its head under the forge's."""

    NONE = "none"
    PENDING = "pending"  # the forge's are awaited
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


def state_of(checks: Sequence[Run], retried_at: datetime | None, now: datetime) -> CheckState:
    """What these runs on one tree, oldest first, come to. `retried_at`: what failed before is to be asked again."""
    runs = [run for run in checks if (run.started or run.alive) and not _overruled(run, retried_at, now)]
    if not runs:
        return CheckState.NONE
    last = runs[-1]
    if last.alive:
        return CheckState.RUNNING
    if _says_nothing(last) or (last.exit and last.exit.stop is not None):
        lost = sum(_says_nothing(run) and not _went_with_its_node(run) for run in runs)
        return CheckState.FAILED if lost >= LOST_CHECKS_MAX else CheckState.NONE
    return CheckState.PASSED if last.exit and last.exit.well else CheckState.FAILED


def seen_again(run: Run | None, at: Venue, now: datetime) -> datetime | None:
    """When to look again at a live check of whose end nothing tells: it is swept up after, or it is elsewhere, where `at` is."""
    if run and run.where:
        return now + timedelta(seconds=at.looked_every_s)
    return now + SWEEP if run and run.state is RunState.ENDING else None


def could_not_run(run: Run | None) -> bool:
    """True for checks that ended because one of their programs was not there, or could not be executed."""
    return run is not None and run.exit is not None and run.exit.code in _CANT_BE_ASKED


def whereabouts(run: Run | None, now: datetime) -> str:
    """On which node a live check is, that it waits for one, or that its node is silent; empty where it is on this machine."""
    if run is None or not run.where:
        return ""
    if silent := no_word(run, now):
        return f": {silent}"
    remark = f" ({run.remark})" if run.remark else ""
    return f" on {run.node}{remark}" if run.node else f", once there is a node{remark}"


def turned_red(run: Run, retried_at: datetime | None, now: datetime) -> bool:
    """True for a check that ran and failed, since the last retry."""
    if run.exit is None or run.exit.well or run.exit.stop is not None or _says_nothing(run):
        return False
    return not _overruled(run, retried_at, now)


def _overruled(check: Run, retried_at: datetime | None, now: datetime) -> bool:
    """True for a check that a retry has overruled; a tree that passed is as good as ever."""
    ended = check.exit.at if check.exit else check.started_at
    if retried_at is None or ended is None or check.alive or (check.exit and check.exit.well):
        return False
    return ended <= retried_at <= now  # a retry in the future: the clock was set back since


def _went_with_its_node(check: Run) -> bool:
    """True for a check that left no record on another machine: who is to start the next one lets it rest, and blames nobody."""
    return bool(check.where) and check.exit is None


def _says_nothing(check: Run) -> bool:
    """True for a check that left no record, never began, or was killed from outside: no fault of the tree."""
    record = check.exit
    return record is None or record.cause is Cause.UNAVAILABLE or record.signal in KILLED
