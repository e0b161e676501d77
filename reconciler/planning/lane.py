"""One line of a base: what is tested by the same checks and lands in the same way, as the merge queue's turn has it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property

from msgspec import Struct, field

from reconciler.model.checks import Check
from reconciler.model.desired import LandingMode, MergeMethod
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Base, Candidate, Conflict, MergeStep, Observed, Run, Unknown
from reconciler.model.observed import Chain as Merges
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
from reconciler.planning.asked import asked_of, limited
from reconciler.planning.check_state import CheckState, seen_again, state_of, whereabouts
from reconciler.planning.freeze import paused
from reconciler.planning.job import Job
from reconciler.planning.labels import SOLO
from reconciler.planning.line_rank import rank
from reconciler.planning.merge_queue import CHAIN_MAX, Bounds, Chain, Contender, Proof, Turn
from reconciler.planning.proofs import checks_on, step_on
from reconciler.planning.queue_places import Lines, LineState, place

Key = tuple[str, TaskId]
Decided = MutableMapping[Key, tuple[Job, Decision]]

_PROOFS = {
    CheckState.NONE: Proof.UNTESTED,
    CheckState.RUNNING: Proof.RUNNING,
    CheckState.PASSED: Proof.PASSED,
    CheckState.FAILED: Proof.FAILED,
}


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

    def turn(self, slots: int, busy: int) -> Turn:
        contenders = [self._contender(job) for job in self.jobs]
        suspects = sum(bool(each.reds) for each in contenders)
        bounds = Bounds(
            slots=slots,
            rate=merge_queue.failure_rate(self.good, self.bad + suspects),
            together=self.together,
            every_commit=any(job.spec.merge.every_commit for job in self.jobs),
            running=tuple(chain for chain, _ in self._tested(Proof.RUNNING)),
            passed=tuple(chain for chain, _ in self._tested(Proof.PASSED)),
            busy=busy,
        )
        while True:
            fit = [replace(each, lands=each.lands and each.task not in self.unfit) for each in contenders]
            now = merge_queue.turn(fit, self.proof_of, bounds)
            together = {task for chain in (now.land, *now.check) if len(chain) > 1 for task in chain}
            unfit = {task for task in together if not self._fits(now, task)} - self.unfit
            if not unfit:
                return now
            self.unfit |= unfit

    def decide(self, now: Turn, landing: Land | None) -> Land | None:
        """Write down what its turn gives. `landing`: what lands on this base from another line."""
        if now.land and not self.rests and not self._waits_for_the_forge(now.land):
            landing = self._land(now.land)
        running = {task: (chain, run) for chain, run in self._tested(Proof.RUNNING) for task in chain}
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

    # --- what is known of a chain

    def proof_of(self, chain: Chain, more: Sequence[TaskId] = ()) -> Proof:
        """What is known of the tree that a chain makes. `more`: who may come behind it, to be merged along with it."""
        found = self._proof_of(chain, more)
        if found is not Proof.UNTESTED or len(chain) > 1:
            return found  # in longer chains there is nothing that a person has yet to see
        made, job = self._expected(chain), self.by_task[chain[0]]
        return Proof.UNSEEN if staging.unread(job, made, self._asked(chain), self.observed) else found

    def _proof_of(self, chain: Chain, more: Sequence[TaskId]) -> Proof:
        job = self.by_task[chain[-1]]
        if len(chain) == 1 and not job.offer.outdated:
            return Proof.UNTESTED if job.offer.asked_again else _PROOFS.get(job.offer.checked_here, Proof.UNSEEN)
        made = self._made(chain)
        if made is None:
            self.lines.unmerged.add(self._merges((*chain, *more)[:CHAIN_MAX]))
        if isinstance(made, Conflict):
            return Proof.CONFLICT
        if not isinstance(made, Candidate):
            return Proof.UNSEEN
        if made.own_changes and not made.changed:
            return Proof.CONFLICT  # those before it did the same
        if not job.spec.merge.tests:
            return Proof.PASSED
        runs = checks_on(self.observed, job.spec, made.tree, self._asked(chain))
        if isinstance(runs, Unknown):
            return Proof.UNSEEN
        return _PROOFS.get(state_of(runs, job.offer.asked_since, job.now), Proof.UNSEEN)

    def _asked(self, chain: Chain) -> tuple[Check, ...]:
        """The checks that a chain must pass: those that any of its members must."""
        spec = self.by_task[chain[-1]].spec
        if not limited(spec):
            return spec.merge.tests
        made = [self._expected(chain[:n]) for n in range(1, len(chain) + 1)]
        if not all(isinstance(each, Candidate) for each in made):
            return spec.merge.tests
        return asked_of(spec, frozenset().union(*(each.changed for each in made if isinstance(each, Candidate))))

    def _expected(self, chain: Chain) -> Candidate | Conflict | Unknown | None:
        """What a chain makes: of one alone, what was seen of it where that is of this base."""
        job = self.by_task[chain[-1]]
        return job.candidate if len(chain) == 1 and not job.offer.outdated else self._made(chain)

    def _made(self, chain: Chain) -> Candidate | Conflict | Unknown | None:
        return self.observed.folds.get(self._merges(chain))

    def _merges(self, chain: Sequence[TaskId]) -> Merges:
        return self.base.head, tuple(self._step(self.by_task[task]) for task in chain)

    def _step(self, job: Job) -> MergeStep:
        return MergeStep(job.open_pull.head if job.open_pull else Sha(""), job.spec.merge.method)

    def _tested(self, proof: Proof) -> Iterator[tuple[Chain, Run | None]]:
        """The chains of this line whose checks are under way, or have passed; and the check of each."""
        heads = {job.open_pull.head: job.task.id for job in self.jobs if job.open_pull}
        for job in self.jobs:
            if not job.offer.outdated and _PROOFS.get(job.offer.checked_here) is proof:
                yield (job.task.id,), job.offer.checks_last
        for head in heads:
            for run in self.observed.checks_of.get(head, ()):
                together = len(run.heads) > 1 and run.alive is (proof is Proof.RUNNING)
                if not together or (run.exit and not run.exit.well):
                    continue
                chain = tuple(heads[each] for each in run.heads if each in heads)
                if self.proof_of(chain) is proof and self._tree(chain) == run.tree:
                    self.lines.tested.add(run.id)
                    yield chain, run

    def _tree(self, chain: Chain) -> Sha | None:
        job, made = self.by_task[chain[-1]], self._made(chain)
        if len(chain) == 1 and isinstance(job.candidate, Candidate) and not job.offer.outdated:
            return job.candidate.tree
        return made.tree if isinstance(made, Candidate) else None

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
        made = self._made(chain[: chain.index(task) + 1])
        return isinstance(made, Candidate) and self.by_task[task].offer.approved_as(made)

    def _order(self, chain: Chain) -> LandOrder:
        orders: list[LandOrder] = []
        for n, task in enumerate(chain, 1):
            job, candidate = self.by_task[task], self._expected(chain[:n])
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
        below = self._tree(own[:-1]) if len(own) > 1 else None
        asked = step_on(self.observed, job.spec, order.expected.tree, self._asked(own))
        before = checks_on(self.observed, job.spec, order.expected.tree, asked)
        return StartCheck.together(job, order, below, asked, before)

    def _behind(self, decided: Decision, whom: TaskId | None) -> Decision:
        if not isinstance(decided, StartCheck | Land):
            return decided
        name = self.base.name
        what = f"{whom} is before it in the line of {name}" if whom else f"every check slot of {name} is in use"
        return Waiting(Reason.LANDING_QUEUED, what)

    def _under_test(self, task: TaskId, chain: Chain, run: Run | None) -> Decision:
        tree = self._tree(chain) or ""
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
