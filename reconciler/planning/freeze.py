"""When a line pauses: so many changes fail their checks one after the other that it will not be the changes. Pure.

All of it is read off the records of checks, so that a restart changes nothing about it. Whatever passes ends it, and so do
`unfreeze` and, of its task, `retry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, log

from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, Run, Unknown
from reconciler.model.reasons import Reason
from reconciler.planning.actions.base import Waiting
from reconciler.planning.asked import ran
from reconciler.planning.check_state import turned_red
from reconciler.planning.merge_queue import FailureRate
from reconciler.planning.proofs import passes, red_beneath

LEAST, MOST = 3, 8
BY_CHANCE = 1 / 1000  # so seldom are as many changes bad in a row: where many are, more of them say something

Pauses = dict[str, str]
"""By manifest: why its line pauses, and what to do about it."""


Streak = tuple[Run, ...]
"""The last check of each change that has failed by itself since anything passed, oldest first."""


def pauses(desired: Desired, observed: Observed) -> Pauses:
    """The lines that pause. Those that share a base and ask the same of a tree are one line."""
    if isinstance(observed.checks, Unknown):
        return {}
    lines: dict[object, list[EpicSpec]] = {}
    for spec in desired.epics:
        if spec.merge.tests:
            lines.setdefault((spec.base, spec.asked), []).append(spec)
    found: Pauses = {}
    for specs in lines.values():
        row = _row(specs, observed)
        streak = _streak(row)
        if len(streak) >= LEAST and len(streak) >= enough(_rate(specs, row, observed)):
            found |= {spec.name: _message(spec, streak) for spec in specs}
    return found


def enough(rate: float) -> int:
    """So many in a row are no chance, where such a part of all changes is bad.

    >>> enough(0.05), enough(0.2), enough(0.5)
    (3, 5, 8)
    """
    return min(max(ceil(log(BY_CHANCE) / log(rate)), LEAST), MOST)


def paused(manifest: str) -> Waiting:
    """Why a task waits whose line pauses: what there is to know and to do stands once, with the manifest."""
    return Waiting(Reason.QUEUE_PAUSED, f"the queue pauses; 'reconcile status {manifest}' says why")


def _streak(row: Sequence[Run]) -> Streak:
    newest: dict[TaskId, Run] = {}
    for run in row:
        newest.setdefault(run.task, run)
    return tuple(reversed(newest.values()))


def _row(specs: Sequence[EpicSpec], observed: Observed) -> list[Run]:
    """Every check since anything passed that a change has failed by itself, the last one first."""
    since = max(spec.unfrozen_at for spec in specs)
    row: list[Run] = []
    for run in sorted(_ended(specs, observed), key=lambda run: run.exit.at if run.exit else observed.at, reverse=True):
        if run.exit is None or run.exit.well or run.exit.at <= since <= observed.at:
            break
        mark = observed.since.get(run.task)
        if turned_red(run, mark.at if mark else None, observed.at) and _by_itself(specs[0], run, observed):
            row.append(run)
    return row


def _ended(specs: Sequence[EpicSpec], observed: Observed) -> Iterator[Run]:
    """The checks of a line that are over, in no order."""
    if isinstance(observed.checks, Unknown):
        return
    names = {spec.name for spec in specs}
    for runs in observed.checks.values():
        if ran(specs[0], runs[0]):
            yield from (run for run in runs if run.exit and run.manifest in names)


def _by_itself(spec: EpicSpec, run: Run, observed: Observed) -> bool:
    """True where it failed on account of its topmost change alone: not of the base, nor of what is below it."""
    if run.baseline is None or run.baseline == run.base_tip or red_beneath(observed, spec, run):
        return False  # of the base as it is, or as it was then
    return len(run.heads) <= 1 or (run.below is not None and passes(observed, spec, run.below, staged=bool(run.commit)))


def _rate(specs: Sequence[EpicSpec], row: Sequence[Run], observed: Observed) -> float:
    """The part of the changes that was bad before these: whom they sent back themselves tells nothing of that."""
    began = min((run.started_at for run in row if run.started_at), default=observed.at)
    runs = () if isinstance(observed.runs, Unknown) else (run for mine in observed.runs.values() for run in mine)
    names = {spec.name for spec in specs}
    bad = sum(
        run.why == Reason.CHECKS_FAILED and run.manifest in names and (run.started_at or observed.at) < began
        for run in runs
    )
    return FailureRate(observed.landed.get(specs[0].base, 0), bad).mean


def _message(spec: EpicSpec, streak: Streak) -> str:
    names = ", ".join(run.task for run in streak[-MOST:]) + (" …" if len(streak) > MOST else "")
    return (
        f"{len(streak)} changes in a row failed the checks on {spec.base} ({names}): this looks like the machine, or what "
        f"the checks need, and not like the changes; no check starts and no agent is sent back until 'reconcile unfreeze "
        f"{spec.name}'; see {_see(streak[-1])}"
    )


def _see(run: Run) -> str:
    return f"what the forge says: {run.remark}" if run.commit else f"'reconcile logs {run.id}'"
