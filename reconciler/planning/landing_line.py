"""The jobs in the line of a base: who is tested or lands together with whom, as the merge queue has it. Pure.

Every job has decided by itself that it would be tested or land. Here that becomes a line (one for each set of checks), and what
its turn gives becomes what is done: for a whole chain it is the decision of its last member, and all others wait for that.

A forge that merges one at a time has the same line. What only it tests, it tests as a head: then one head at a time gets the
base merged into it, and keeps its turn until that is tested.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from reconciler.model.desired import LandingMode
from reconciler.model.observed import Base, Observed, Run, known_or
from reconciler.model.reasons import Reason
from reconciler.planning.actions import (
    Decision,
    Enqueue,
    Land,
    StartCheck,
    UpdateBranch,
    Waiting,
    guards,
)
from reconciler.planning.check_slots import check_slots
from reconciler.planning.check_state import CheckState
from reconciler.planning.job import Job
from reconciler.planning.landing_mode import mode_of
from reconciler.planning.lane import Decided, Lane, tested_by_the_forge
from reconciler.planning.line_rank import rank
from reconciler.planning.merge_queue import Turn
from reconciler.planning.queue_places import Lines, LineState, place


def in_line(
    base: Base,
    jobs: Sequence[Job],
    decided: Decided,
    observed: Observed,
    busy: int,
    paused: Collection[str],
    lines: Lines,
) -> None:
    """Let those of `jobs` that would be tested or land do so when it is their turn, together or alone.

    `paused`: the manifests of which nothing is tested; what has passed lands.
    """
    slots = check_slots((job.spec for job in jobs), observed)
    bad = sum(run.why == Reason.CHECKS_FAILED for job in jobs for run in _runs(job))
    rate = observed.landed.get(base.name, 0), bad
    # What is asked has no order, and needs none: lines are gone through by what stands in them.
    kinds: dict[object, tuple[LandingMode, list[Job]]] = {}
    for job in sorted(jobs, key=rank):
        mode = mode_of(job.spec, base)
        kinds.setdefault((mode, job.spec.asked), (mode, []))[1].append(job)
    lanes = [
        Lane(base, mode, _standing(mine, decided), decided, observed, lines, *rate) for mode, mine in kinds.values()
    ]
    found = [lane for lane in lanes if lane.jobs]
    landing: Land | None = None
    line_rests = _why_it_rests(jobs, "Land")
    for line in sorted(found, key=lambda line: min(map(rank, line.jobs))):
        line.rests, untested = line_rests, _why_it_rests(line.jobs, "StartCheck", "StageChecks")
        line.paused = any(job.spec.name in paused for job in line.jobs)
        now = Turn() if landing else line.turn(slots, slots if line.paused or untested else busy)
        if untested:
            _start_none(line, decided, untested)
        busy += len(now.check)
        landing = line.decide(now, landing)
    _one_head_gets_the_base(base, jobs, decided, landing)
    for job in sorted(jobs, key=rank):
        word = decided[job.spec.name, job.task.id][1]
        if job.open_pull and (job.open_pull.queue or isinstance(word, Enqueue)):
            lines.places.append(place(job, base.name, LandingMode.QUEUE, LineState.ENQUEUED, word=word))
        elif job.open_pull and _is_left_to_people(job, word):
            lines.places.append(place(job, base.name, mode_of(job.spec, base), LineState.READY, word=word))


def _standing(jobs: Sequence[Job], decided: Decided) -> list[Job]:
    """Those of `jobs` that stand in line."""
    wishes = {job.task.id: decided[job.spec.name, job.task.id][1] for job in jobs}
    # Where nothing lands that lacks the base, and nothing is ready: who is getting it is next.
    strict = any(job.open_pull and job.open_pull.lacks_base for job in jobs)
    late = strict and not any(isinstance(wish, Land) for wish in wishes.values())
    return [
        job
        for job in jobs
        if (wish := wishes[job.task.id])
        and (
            isinstance(wish, StartCheck | Land)
            or (isinstance(wish, UpdateBranch) and not job.offer.forge_verdict.inherited)
            or (isinstance(wish, Waiting) and wish.reason is Reason.CHECKS_RUNNING)
            or (late and tested_by_the_forge(job, wish))
        )
    ]


def _one_head_gets_the_base(base: Base, jobs: Sequence[Job], decided: Decided, landing: Land | None) -> None:
    """Who would lack it again as soon as another one has landed waits for that."""
    first = [job for job in jobs if tested_by_the_forge(job, decided[job.spec.name, job.task.id][1])]
    for job in sorted(jobs, key=rank):
        key = job.spec.name, job.task.id
        if not isinstance(decided[key][1], UpdateBranch) or (
            job.offer.forge_verdict.inherited and job.spec.merge.tests
        ):
            continue
        whom = landing.task if landing else min(first, key=rank).task.id if first else None
        if whom:
            message = f"{whom} is before it in the line of {base.name}"
            decided[key] = job, Waiting(Reason.LANDING_QUEUED, message)
        else:
            first = [job]


def _is_left_to_people(job: Job, word: Decision) -> bool:
    """True for what could land as it is, were it not a person's to have it do so."""
    asks = isinstance(word, Waiting) and word.reason in (Reason.AWAITING_MERGE, Reason.AWAITING_APPROVAL)
    return asks and job.offer.check_state is CheckState.PASSED


def _start_none(line: Lane, decided: Decided, why: Waiting) -> None:
    """No check of a line starts, whatever it would be of."""
    for job in line.jobs:
        key = job.spec.name, job.task.id
        wish = decided[key][1]
        if isinstance(wish, StartCheck) and not wish.of_the_base:
            decided[key] = job, why


def _why_it_rests(jobs: Iterable[Job], *actions: str) -> Waiting | None:
    """Why these actions wait in a whole line: what rests for longest of what went wrong."""
    failed = filter(None, (guards.line_rests(job, *actions) for job in jobs))
    last = max(failed, key=lambda failure: failure.until, default=None)
    return guards.why_it_rests(last) if last else None


def _runs(job: Job) -> tuple[Run, ...]:
    return known_or(job.runs, ())
