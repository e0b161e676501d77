"""What it is worth to start those later that would meet the work in hand: simulated nights, ordered by the planner's own rule.

A night has a backlog as people write it: tasks about one area stand together, and each changes a few files of its area, now and then
one of another. Agents take their time, what is done lands at once, and what has met something that landed since it began is in
conflict: its agent is sent back, for a part of the time that it took. Of some tasks it is known beforehand which files they change;
of those that run, it is seen by and by.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from reconciler.planning.overlap import Footprint, first_apart
from tests.bench.figures import Figure

TASKS, AGENTS = 60, 6
AREAS, FILES = 10, 6  # files of an area
ELSEWHERE = 0.1
CLASH = 0.7  # two that change one file are in conflict so often: it may be at its two ends
REPAIR = 0.4  # of the time that a task took
NIGHTS, QUICK = 300, 40
WANTED = {0.3: 0.9, 0.6: 0.7, 1.0: 0.25}  # of the conflicts without it, by how much is known


@dataclass(frozen=True)
class Night:
    """What nights come to on average: conflicts, hours of agents spent on repairs, hours until all has landed."""

    conflicts: float
    repairs: float
    hours: float


@dataclass
class _Work:
    """A task at work, since when and until when it is."""

    task: int
    began: float
    ends: float
    since: int  # how much had landed when it began
    takes: float


def nights(*, knows: float, many: int) -> Night:
    """So many nights in which it is known of this share of the tasks which files they change; of none: as if nobody asked."""
    lived = [_night(seed, knows) for seed in range(many)]
    return Night(*(fmean(values) for values in zip(*lived, strict=True)))


def overlapping(*, quick: bool) -> list[Figure]:
    """Conflicts, repairs and the length of a night with and without, by how much is known beforehand."""
    many = QUICK if quick else NIGHTS
    plain = nights(knows=0.0, many=many)
    found = []
    for knows, wanted in WANTED.items():
        apart = nights(knows=knows, many=many)
        where = f"{TASKS} tasks, {AGENTS} agents, {knows:.0%} known"
        rows = (
            ("conflicts a night", apart.conflicts, plain.conflicts, "", wanted),
            ("hours of repairs a night", apart.repairs, plain.repairs, "h", wanted),
            ("hours until all has landed", apart.hours, plain.hours, "h", 1.02),
        )
        found += [
            Figure(
                what=f"{what}, {where}",
                value=value,
                unit=unit,
                beside="in the order of the tasks",
                other=other,
                limit=limit,
                times=True,
            )
            for what, value, other, unit, limit in rows
        ]
    return found


def _night(seed: int, knows: float) -> tuple[float, float, float]:
    dice = random.Random(seed)
    files = [_changed(task * AREAS // TASKS, dice) for task in range(TASKS)]
    takes = [dice.uniform(0.2, 1.0) for _ in range(TASKS)]
    feet = [Footprint(each) if dice.random() < knows else Footprint() for each in files]
    clash = random.Random(seed + 1)
    ready, at_work, landed = list(range(TASKS)), list[tuple[float, int, _Work]](), list[int]()
    conflicts, repairs, clock = 0, 0.0, 0.0
    passed = Counter[int]()

    def hand() -> list[Footprint]:
        """What is known of those at work: what is declared, and of what they change as much as they have come to by now."""
        if not knows:
            return []
        return [
            Footprint(_so_far(files[w.task], (clock - w.began) / w.takes) | feet[w.task].paths) for _, _, w in at_work
        ]

    while ready or at_work:
        while ready and len(at_work) < AGENTS:
            at = first_apart([feet[n] for n in ready], hand(), lambda n: passed[ready[n]])
            passed.update(ready[:at])
            task = ready.pop(at)
            work = _Work(task, clock, clock + takes[task], len(landed), takes[task])
            heapq.heappush(at_work, (work.ends, task, work))
        clock, task, work = heapq.heappop(at_work)
        met = any(files[task] & files[other] and clash.random() < CLASH for other in landed[work.since :])
        if met:
            conflicts += 1
            more = REPAIR * takes[task]
            repairs += more
            again = _Work(task, clock, clock + more, len(landed), more)
            heapq.heappush(at_work, (again.ends, task, again))
        else:
            landed.append(task)
    return float(conflicts), repairs, clock


def _changed(area: int, dice: random.Random) -> frozenset[str]:
    areas = (dice.randrange(AREAS) if dice.random() < ELSEWHERE else area for _ in range(dice.randint(1, 3)))
    return frozenset(f"src/{each}/{dice.randrange(FILES)}.py" for each in areas)


def _so_far(files: frozenset[str], share: float) -> frozenset[str]:
    return frozenset(sorted(files)[: int(len(files) * min(share, 1.0) + 0.5)])
