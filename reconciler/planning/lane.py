"""One line of a base: what is tested by the same checks and lands in the same way, as the merge queue's turn has it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from functools import cached_property

from msgspec import Struct, field

from reconciler.model.desired import LandingMode, MergeMethod
from reconciler.model.names import TaskId
from reconciler.model.observed import Base, Candidate, Observed, Run
from reconciler.model.ports import LandOrder
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning import merge_queue, staging
from reconciler.planning.actions import (
    Decision,
    FollowBranch,
    Land,
    RerunChecks,
    StartCheck,
    UpdateBranch,
    Waiting,
)
from reconciler.planning.actions.approval import asks_a_person
from reconciler.planning.actions.hindrances import hindrance
from reconciler.planning.actions.land import order_of
from reconciler.planning.chain_proofs import ChainProofs
from reconciler.planning.check_state import CheckState, seen_again, whereabouts
from reconciler.planning.freeze import paused
from reconciler.planning.job import Job
from reconciler.planning.labels import SOLO
from reconciler.planning.line_rank import rank
from reconciler.planning.merge_queue import Bounds, Chain, Contender, FailureRate, Proof, Turn
from reconciler.planning.proofs import checks_on, step_on
from reconciler.planning.queue_places import Lines, LineState, place

Key = tuple[str, TaskId]
Decided = MutableMapping[Key, tuple[Job, Decision]]


class Lane(Struct, dict=True):
    """Those of one base that are tested by the same checks."""

    base: Base
    mode: LandingMode
    jobs: list[Job]
    decided: Decided
    observed: Observed
    lines: Lines
    good: int  # so many have landed, and so many attempts were sent back for their checks
    bad: int
    paused: bool = False
    rests: Waiting | None = None  # why nothing lands on the base just now, whatever it is
    unfit: set[TaskId] = field(default_factory=set)  # what a person has to see, as it would land now

    @property
    def together(self) -> bool:
        """True where several land in one move of the base."""
        return self.mode is LandingMode.CAS

    @cached_property
    def by_task(self) -> Mapping[TaskId, Job]:
        return {job.task.id: job for job in self.jobs}

    @cached_property
    def chains(self) -> ChainProofs:
        return ChainProofs(self.base, self.by_task, self.observed, self.lines)

    def turn(self, slots: int, busy: int) -> Turn:
        contenders = [self._contender(job) for job in self.jobs]
        suspects = sum(bool(each.reds) for each in contenders)
        bounds = Bounds(
            slots=slots,
            rate=FailureRate(self.good, self.bad + suspects),
            together=self.together,
            every_commit=any(job.spec.merge.every_commit for job in self.jobs),
            running=tuple(chain for chain, _ in self.chains.tested(Proof.RUNNING)),
            passed=tuple(chain for chain, _ in self.chains.tested(Proof.PASSED)),
            busy=busy,
        )
        while True:
            fit = [replace(each, lands=each.lands and each.task not in self.unfit) for each in contenders]
            now = merge_queue.turn(fit, self.chains.proof, bounds)
            together = {task for chain in (now.land, *now.check) if len(chain) > 1 for task in chain}
            unfit = {task for task in together if not self._fits(now, task)} - self.unfit
            if not unfit:
                return now
            self.unfit |= unfit

    def decide(self, now: Turn, landing: Land | None) -> Land | None:
        """Write down what its turn gives. `landing`: what lands on this base from another line."""
        if now.land and not self.rests and not self._waits_for_the_forge(now.land):
            landing = self._land(now.land)
        running = {task: (chain, run) for chain, run in self.chains.tested(Proof.RUNNING) for task in chain}
        starting = {task: chain for chain in now.check for task in reversed(chain)}
        for job in sorted(self.jobs, key=rank):
            task = job.task.id
            word, state, run = self.decided[job.spec.name, task][1], LineState.QUEUED, None
            chain: Chain = ()
            if task in now.land and landing:
                state, chain = LineState.LANDING, now.land
                together = f"merges together with {landing.task}, which was tested on top of it"
                word = landing if task == landing.task else Waiting(Reason.LANDING_QUEUED, together)
            elif task in now.land and self.rests:
                chain, word = now.land, self.rests
            elif landing and (self.together or landing.task not in now.land):
                word = self._behind(word, landing.task)
            elif task in now.land:
                state = LineState.STARTING if isinstance(word, UpdateBranch) else LineState.TESTING
            elif task in now.apart or (job.offer.check_state is CheckState.FAILED and not job.offer.asked_again):
                # What comes of it is known, or will be once what it makes of this base is looked at.
                state = LineState.APART
            elif task in starting:
                state, chain = LineState.STARTING, starting[task]
                word = self._starts(job, now.check, chain)
            elif task in running:
                state, (chain, run) = LineState.TESTING, running[task]
                word = self._under_test(task, chain, run)
            elif task in now.held:
                state = LineState.HELD
                message = f"does not merge after {now.held[task]}, which is before it in the line of {self.base.name}"
                word = Waiting(Reason.LANDING_QUEUED, message)
            elif self.paused:
                state, word = LineState.PAUSED, paused(job.spec.name)
            else:
                first = min(running, key=lambda each: rank(self.by_task[each]), default=None)
                word = self._behind(word, now.land[-1] if now.land else first)
            self.decided[job.spec.name, task] = job, word
            self.lines.places.append(place(job, self.base.name, self.mode, state, chain, run, word=word))
        return landing

    def _waits_for_the_forge(self, chain: Chain) -> bool:
        """True for one whose head is still to get the base, or to be tested with it, by the forge."""
        wish = self.decided[self.by_task[chain[-1]].spec.name, chain[-1]][1]
        return isinstance(wish, UpdateBranch) or tested_by_the_forge(self.by_task[chain[-1]], wish)

    def _contender(self, job: Job) -> Contender:
        ready = isinstance(job.candidate, Candidate) and not asks_a_person(job) and not hindrance(job, job.candidate)
        last, *others = rank(job)
        if self.mode is LandingMode.QUEUE:
            ready = alone = False  # it lands with whatever the forge has before it: a test of it alone is what there is
        elif self.together:
            # Whether all of its commits can be put there one by one is known only once that is done.
            alone = job.spec.merge.method is MergeMethod.REBASE
        else:
            alone = not job.spec.merge.tests  # only its forge tests it, and no chain
            last |= alone and not isinstance(self.decided[job.spec.name, job.task.id][1], Land)
        return Contender(
            task=job.task.id,
            rank=(last, others[0], others[1]),
            lands=ready,
            reds=len(job.offer.reds),
            solo=SOLO in job.task.labels or alone,
            alone=job.offer.base_state is CheckState.FAILED,
        )

    def _fits(self, now: Turn, task: TaskId) -> bool:
        """True where what a member changes, as it would land now, is nothing that a person has yet to see."""
        chain = next(chain for chain in (now.land, *now.check) if task in chain)
        made = self.chains.made(chain[: chain.index(task) + 1])
        return isinstance(made, Candidate) and self.by_task[task].offer.approved_as(made)

    def _order(self, chain: Chain) -> LandOrder:
        orders: list[LandOrder] = []
        for n, task in enumerate(chain, 1):
            job, candidate = self.by_task[task], self.chains.expected(chain[:n])
            assert job.open_pull and isinstance(candidate, Candidate), task
            orders.append(order_of(job, job.open_pull, candidate))
        return replace(orders[-1], beneath=tuple(orders[:-1]))

    def _land(self, chain: Chain) -> Land:
        *beneath, top = (self.by_task[task] for task in chain)
        order = self._order(chain)
        return Land.of(top, replace(order, tested=staging.tested(order, self.observed)), beneath)

    def _starts(self, job: Job, started: Sequence[Chain], chain: Chain) -> Decision:
        """The check that starts for it, or that it is in."""
        own = next((each for each in started if each[-1] == job.task.id), None)
        if own is None:
            beside = self._others(chain, job.task.id)
            return Waiting(Reason.CHECKS_RUNNING, f"its checks start, together with those of {beside}")
        order = self._order(own)
        below = self.chains.tree(own[:-1]) if len(own) > 1 else None
        asked = step_on(self.observed, job.spec, order.expected.tree, self.chains.asked(own))
        before = checks_on(self.observed, job.spec, order.expected.tree, asked)
        return StartCheck.together(job, order, below, asked, before)

    def _behind(self, decided: Decision, whom: TaskId | None) -> Decision:
        if not isinstance(decided, StartCheck | Land):
            return decided
        name = self.base.name
        what = f"{whom} is before it in the line of {name}" if whom else f"every check slot of {name} is in use"
        return Waiting(Reason.LANDING_QUEUED, what)

    def _under_test(self, task: TaskId, chain: Chain, run: Run | None) -> Decision:
        tree = self.chains.tree(chain) or ""
        beside = f", with {self._others(chain, task)}" if len(chain) > 1 else ""
        if run and (staged := self.observed.staged.get(run.id)):
            job = self.by_task[task]
            found = staging.verdict(staged, job.spec, self.base, job.now)
            what = f"checks of the forge on {staged.branch} ({(run.commit or '')[:12]}){beside}: {found.message}"
            return Waiting(Reason.CHECKS_PENDING, what, found.until)
        now = self.by_task[task].now
        until = seen_again(run, self.by_task[task].spec.merge.runner, now)
        return Waiting(
            Reason.CHECKS_RUNNING,
            f"checks running on the merged tree {tree[:12]}{beside}{whereabouts(run, now)}",
            until,
        )

    def _others(self, chain: Chain, task: TaskId) -> str:
        names = [f"#{self.by_task[each].number}" for each in chain if each != task]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def tested_by_the_forge(job: Job, wish: Decision) -> bool:
    """True while the forge tests a head that has all of the base in it, and for as long as the branch here is yet to follow."""
    if isinstance(wish, FollowBranch) and not job.stack and job.offer.passed_as_it_lands:
        return True
    awaited = isinstance(wish, RerunChecks | FollowBranch) or (
        isinstance(wish, Waiting) and wish.reason is Reason.CHECKS_PENDING
    )
    return awaited and not job.stack and job.offer.tested_as_it_lands
