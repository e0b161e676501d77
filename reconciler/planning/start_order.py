"""In which order those that are ready ask for a slot, where some of them would meet the work in hand. Pure.

Only among equally urgent tasks that nobody has begun, and only as far as there is a choice: the first one that keeps apart goes
first, and where none does, the first one. So nobody waits for longer than others are there to go before it; and where there
always are, until as many have begun before it as may.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from itertools import groupby

from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, Task, known_or
from reconciler.model.reasons import Reason
from reconciler.planning import messages
from reconciler.planning.actions import Decision, RestartAgent, StartAgent, Waiting
from reconciler.planning.graph import order
from reconciler.planning.job import Job
from reconciler.planning.overlap import Footprint, Guesses, first_apart
from reconciler.planning.queue_places import Lines

Key = tuple[str, TaskId]
Place = tuple[int, datetime, TaskId]
SCANNED_MAX = 200  # of those that ask: who is far behind has no say in who is first


class StartOrder:
    """Who of one look goes before whom. What it would have to know and nobody has looked at is noted in `lines`."""

    def __init__(self, decisions: Mapping[Key, tuple[Job, Decision]], observed: Observed, lines: Lines) -> None:
        self._decisions, self._observed, self._lines = decisions, observed, lines
        self._guesses = Guesses(observed)
        self._overtaken: dict[Key, int] = {}
        self.passed: dict[
            Key, tuple[TaskId, str]
        ] = {}  # who stands behind others: behind whom, and where they would meet

    def sorted(self, queue: Sequence[Job], free: int) -> list[Job]:
        """The wishes of one manifest, whose most urgent stand first, as they are to be served; `free`: slots for them."""
        if len(queue) < 2 or len(queue) <= free or not self._matters(queue[:SCANNED_MAX], free):
            return list(queue)
        found: list[Job] = []
        scopes = queue[0].spec.merge.scopes
        hand: list[tuple[TaskId, Footprint]] | None = None
        for (begins, _), tier in groupby(queue, key=self._tier):
            rest = list(tier)
            while begins and rest and len(found) < max(free, 1):
                hand = self._in_hand(queue[0].spec) if hand is None else hand
                feet = [self._guesses.of(job.task).within(scopes) for job in rest[:SCANNED_MAX]]
                at = first_apart(feet, [each for _, each in hand], partial(self._passed_by, rest))
                for job, foot in zip(rest[:at], feet, strict=False):
                    self.passed.setdefault(_key(job), _whom(foot, hand))
                hand.append((rest[at].task.id, feet[at]))
                found.append(rest.pop(at))
            found += rest
        return found

    def why(self, job: Job) -> Waiting | None:
        """Why a job that got no slot stands behind others; None where it does not."""
        if (met := self.passed.get(_key(job))) is None:
            return None
        where = " ".join(messages.clean(met[1]).split())
        return Waiting(
            Reason.OVERLAPS, f"others start first: it is likely to change {where}, and so is {met[0]}, which is in hand"
        )

    def _tier(self, job: Job) -> tuple[bool, int]:
        decision = self._decisions[_key(job)][1]
        begins = isinstance(decision, StartAgent) and decision.reason is Reason.READY
        return begins, job.task.priority if begins else 0

    def _passed_by(self, rest: Sequence[Job], at: int) -> int:
        """How many that stand behind one of these jobs have begun since that was ready, or given back by a person."""
        job, tasks = rest[at], self._tasks
        key, task, given_back = _key(job), job.task, job.attempts.facts.since
        if key not in self._overtaken:
            gone = [tasks[id].closed_at for id in task.blockers if id in tasks]
            times = [task.defer_until, given_back.at if given_back else None, *gone]
            ready = max([task.created_at, *(at for at in times if at)])
            mine = (job.spec.name, task.priority)
            self._overtaken[key] = sum(
                began > ready and place > order(task) for began, place in self._begun.get(mine, ())
            )
        return self._overtaken[key]

    @cached_property
    def _tasks(self) -> Mapping[TaskId, Task]:
        return known_or(self._observed.tasks, {})

    @cached_property
    def _begun(self) -> Mapping[tuple[str, int], Sequence[tuple[datetime, Place]]]:
        """When each task was begun and where it stands in the order of all, by its manifest and its priority."""
        found: dict[tuple[str, int], list[tuple[datetime, Place]]] = defaultdict(list)
        runs = known_or(self._observed.runs, {})
        for id, mine in runs.items():
            first = next((run for run in mine if run.started_at), None)
            if first and first.started_at and id in self._tasks:
                task = self._tasks[id]
                found[first.manifest, task.priority].append((first.started_at, order(task)))
        return found

    def _matters(self, queue: Sequence[Job], free: int) -> bool:
        """False where nothing is known of any of them; notes what has to be looked at where something could be."""
        ready = [job for job in queue if self._tier(job)[0]]
        for job in ready:
            self._lines.past |= self._guesses.unread(job.task)
        if not any(self._guesses.of(job.task) for job in ready):
            return False
        known, base = self._observed.touched, queue[0].spec.base
        for job, _ in self._decisions.values():
            if not job.attempts.live or job.spec.base != base or job.base_head is None:
                continue
            if job.task.id not in known or (free > 0 and not known[job.task.id].now):
                self._lines.touched[job.task.id] = job.base_head
        return True

    def _in_hand(self, spec: EpicSpec) -> list[tuple[TaskId, Footprint]]:
        """The work on the base of a manifest that was begun and has not landed."""
        begun = (
            job
            for job, decision in self._decisions.values()
            if job.spec.base == spec.base and not job.done
            if job.attempts.live or job.open_pull or isinstance(decision, RestartAgent)
        )
        return [(job.task.id, self._guesses.in_hand(job).within(spec.merge.scopes)) for job in begun]


def _whom(foot: Footprint, hand: Sequence[tuple[TaskId, Footprint]]) -> tuple[TaskId, str]:
    return next((task, at) for task, each in hand if (at := foot.meets(each)))


def _key(job: Job) -> Key:
    return job.spec.name, job.task.id
