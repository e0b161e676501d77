"""Whose turn it is, where several want what there is only so much of: agents, checks, landings, repairs. Pure.

Each job was decided on its own; here those that must let others go first wait instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter

from reconciler.model.desired import EPOCH, Desired, EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.observed import Base, Observed, Run, Unknown
from reconciler.model.reasons import Reason
from reconciler.planning import base_checks, freeze, landing_line, messages
from reconciler.planning.actions import (
    BlockTask,
    Decision,
    Land,
    RestartAgent,
    StartAgent,
    StartCheck,
    StartReview,
    Waiting,
    hindrances,
)
from reconciler.planning.check_slots import check_slots
from reconciler.planning.job import Job
from reconciler.planning.machine_room import MachineRoom
from reconciler.planning.queue_places import Lines
from reconciler.planning.run_results import TOLD_OF_ITS_WORK
from reconciler.planning.start_order import StartOrder

_TAKES_A_SLOT = (StartAgent, StartReview)
Key = tuple[str, TaskId]
Decisions = dict[Key, tuple[Job, Decision]]
"""What every job says, by manifest and task."""


def admit(
    decisions: Decisions,
    begun: Mapping[str, Sequence[Key]],
    desired: Desired,
    observed: Observed,
    paused: Collection[str] = (),
) -> Lines:
    """Who of those that could go on may: one conflict repair and one landing per base, agents within the bounds.

    Written into `decisions`; what the lines of the bases ask for beside that. `begun`, by base: of the others nothing is to be
    checked, mended or landed. `paused`: the manifests whose lines pause.
    """
    lines = Lines()
    _nothing_new(decisions, observed)
    _nothing_on_a_red_base(decisions, desired, observed)
    _nothing_on_an_old_base(decisions, observed)
    named = {spec.name: spec for spec in desired.epics}
    with_jobs = {name: named[name] for name in dict.fromkeys([name for name, _ in decisions])}
    for base in dict.fromkeys(spec.base for spec in with_jobs.values()):
        found = [decisions[key][0] for key in begun.get(base, ())]
        specs = {name: spec for name, spec in with_jobs.items() if spec.base == base}
        _one_repair(base, found, decisions, desired)
        _in_line(base, found, specs, decisions, desired, observed, paused, lines)
    _nothing_while_paused(decisions, paused)
    _within_slots(decisions, desired, observed, StartOrder(decisions, observed, lines))
    return lines


def _nothing_new(decisions: Decisions, observed: Observed) -> None:
    """Who acts here may start nothing once its own program was replaced: what it would load now is another one."""
    if not observed.replaced:
        return
    for key, (job, decision) in decisions.items():
        if isinstance(decision, StartAgent | StartReview | StartCheck):
            decisions[key] = job, Waiting(Reason.PROGRAM_REPLACED, observed.replaced)


def _nothing_on_a_red_base(decisions: Decisions, desired: Desired, observed: Observed) -> None:
    """No task is begun on a base that fails its checks: all of them would meet that. Work in hand goes on, and may mend it."""
    if desired.alone:
        return  # asked for by name: that may be who mends it
    red = {spec.name: run for spec in desired.epics if (run := base_checks.red_by_itself(spec, observed))}
    if not red:
        return
    for key, (job, decision) in decisions.items():
        if job.spec.name in red and isinstance(decision, StartAgent) and decision.reason is Reason.READY:
            why = base_checks.not_its_fault(job.spec, red[job.spec.name])
            decisions[key] = job, Waiting(Reason.CHECK_BROKEN, why)


def _nothing_while_paused(decisions: Decisions, paused: Collection[str]) -> None:
    """While a line pauses, nothing of it is tested, and nobody is sent back or given up for what failed."""
    if not paused:
        return
    for key, (job, decision) in decisions.items():
        if job.spec.name not in paused or (isinstance(decision, StartCheck) and decision.of_the_base):
            continue
        judged = isinstance(decision, RestartAgent | BlockTask) and decision.reason == Reason.CHECKS_FAILED
        if judged or isinstance(decision, StartCheck):
            decisions[key] = job, freeze.paused(job.spec.name)


def _nothing_on_an_old_base(decisions: Decisions, observed: Observed) -> None:
    """What begins or lands on a base that is known to be old makes two of it: each with commits that the other lacks."""
    if not any(isinstance(base, Base) and base.fetched for base in observed.bases.values()):
        return
    for key, (job, decision) in decisions.items():
        old = hindrances.behind(job.base) if isinstance(job.base, Base) else None
        if old and isinstance(decision, StartAgent | StartCheck | Land):
            decisions[key] = job, old


def _one_repair(base: str, found: list[Job], decisions: Decisions, desired: Desired) -> None:
    """Repairs of one base go one after the other: each landing would put the others in conflict again."""
    # Who asks for an agent by name waits for nobody.
    live = () if desired.alone else found
    busy = next((job.task.id for job in live if _is_repaired(job)), None)
    for job in found:
        key = (job.spec.name, job.task.id)
        decision = decisions[key][1]
        if not isinstance(decision, RestartAgent) or not _would_repair(job, decision):
            continue
        if busy:
            decisions[key] = (
                job,
                Waiting(
                    Reason.LANDING_QUEUED, f"conflicts with {base}; waits until the conflict of {busy} is resolved"
                ),
            )
        elif desired.acts(job.spec.name, job.task.id):
            busy = job.task.id


def _is_repaired(job: Job) -> bool:
    live = job.attempts.live
    return live is not None and (live.why == Reason.CONFLICT or (live.started and job.attempts.repairs))


def _would_repair(job: Job, decision: RestartAgent) -> bool:
    # A repair whose agent failed is started again, for that: it is one still.
    again = decision.reason not in TOLD_OF_ITS_WORK and job.attempts.repairs
    return decision.reason == Reason.CONFLICT or again


def _in_line(
    base: str,
    found: list[Job],
    specs: Mapping[str, EpicSpec],
    decisions: Decisions,
    desired: Desired,
    observed: Observed,
    paused: Collection[str],
    lines: Lines,
) -> None:
    seen = observed.bases.get(base)
    if not isinstance(seen, Base):
        return
    acting = [job for job in found if desired.acts(job.spec.name, job.task.id)]
    busy = _checks_alive(observed, specs)
    slots = check_slots(specs.values(), observed)
    busy += _ask_the_base(base, acting, decisions, slots - busy)
    landing_line.in_line(seen, acting, decisions, observed, busy, paused, lines)


def _ask_the_base(base: str, acting: list[Job], decisions: Decisions, free: int) -> int:
    """Of several that want to know whether the base passes their checks, one asks; how many do."""
    begun: set[str] = set()
    for job in acting:
        key = (job.spec.name, job.task.id)
        start = decisions[key][1]
        if not isinstance(start, StartCheck) or not start.of_the_base:
            continue
        subject = start.run.subject
        if subject in begun:
            message = f"the checks start on {base} alone"
            decisions[key] = job, Waiting(Reason.CHECKS_RUNNING, message)
        elif len(begun) >= free:
            decisions[key] = job, Waiting(Reason.LANDING_QUEUED, f"every check slot of {base} is in use")
        else:
            begun.add(subject)
    return len(begun)


def _checks_alive(observed: Observed, specs: Mapping[str, EpicSpec]) -> int:
    if isinstance(observed.checks, Unknown):
        return sum(check_slots([spec], observed) for spec in specs.values())
    return sum(run.manifest in specs for run in observed.live.checks)


def _within_slots(decisions: Decisions, desired: Desired, observed: Observed, order: StartOrder) -> None:
    alive = Counter(run.manifest for run in _live(observed))
    free = {spec.name: spec.max_agents - alive[spec.name] for spec in desired.epics}
    everywhere = None if desired.max_agents is None else desired.max_agents - alive.total()
    # Jobs come most urgent first, and stay so. What is nearly done comes before what is begun.
    near: dict[str, tuple[list[Job], ...]] = {spec.name: ([], [], []) for spec in desired.epics}
    alone, acted_on = desired.alone, {spec.name for spec in desired.epics if desired.acts(spec.name)}
    for (name, task), (job, decision) in decisions.items():
        if isinstance(decision, _TAKES_A_SLOT) and name in acted_on and alone in (None, task):
            near[name][2 if job.fresh else _nearness(job, decision)].append(job)
    wishes: dict[str, list[Job]] = {}
    for name, queues in near.items():
        room_for = free[name] if everywhere is None else min(free[name], everywhere)
        wishes[name] = order.sorted([*chain(*queues)], room_for)
    full = Waiting(Reason.NO_AGENT_SLOT, "every agent slot is in use")
    mine = {
        spec.name: Waiting(Reason.NO_AGENT_SLOT, messages.no_slot(spec.name, spec.max_agents)) for spec in desired.epics
    }
    room = MachineRoom(desired.epics, observed)
    for job in _in_turn(wishes, observed):
        name, task = job.spec.name, job.task.id
        if free[name] > 0 and (everywhere is None or everywhere > 0):
            spec = job.spec.placed(job.task.labels)
            if lacking := room.lacks(spec):
                decisions[name, task] = job, lacking
                continue
            room.promise(spec)
            free[name] -= 1
            everywhere = None if everywhere is None else everywhere - 1
            continue
        word = mine[name] if free[name] < 1 else full
        decisions[name, task] = job, (order.why(job) or word) if order.passed else word


def _nearness(job: Job, decision: Decision) -> int:
    return 0 if isinstance(decision, StartReview) else 1 if job.attempts.last else 2


def _in_turn(wishes: Mapping[str, list[Job]], observed: Observed) -> list[Job]:
    """Who asks for a slot, each time the manifest with the fewest agents; of equals, the one served longest ago."""
    if len(queues := [queue for queue in wishes.values() if queue]) < 2:
        return queues[0] if queues else []
    alive = Counter(run.manifest for run in _live(observed))
    runs = [] if isinstance(observed.runs, Unknown) else [run for mine in observed.runs.values() for run in mine]
    served: dict[str, datetime] = {}
    for run in runs:
        if run.started_at:
            served[run.manifest] = max(run.started_at, served.get(run.manifest, EPOCH))
    turns = [
        ((alive[name] + turn, served.get(name, EPOCH), name), job)
        for name, queue in wishes.items()
        for turn, job in enumerate(queue)
    ]
    return [job for _, job in sorted(turns, key=itemgetter(0))]


def _live(observed: Observed) -> Iterator[Run]:
    return chain(observed.live.agents, observed.live.reviews)
