"""The jobs in the line of a base: who is tested or lands together with whom, as the merge queue has it. Pure.

Every job has said by itself that it would be tested or land. Here that becomes a line (one for each set of checks), and what
its turn gives becomes what is done: for a whole chain it is the decision of its last member, and all others wait for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from reconciler.model.names import RunId, Sha, TaskId, check_subject
from reconciler.model.observed import Base, Candidate, Conflict, MergeStep, Observed, Run, Unknown
from reconciler.model.observed import Chain as Merges
from reconciler.model.ports import LandOrder
from reconciler.model.reasons import Reason
from reconciler.planning import merge_queue
from reconciler.planning.actions import Decision, Land, StartCheck, Waiting
from reconciler.planning.actions.land import asks_a_person, hindrance, order_of
from reconciler.planning.check_state import CheckState, state_of
from reconciler.planning.job import Job
from reconciler.planning.labels import SOLO
from reconciler.planning.merge_queue import CHAIN_MAX, Bounds, Chain, Contender, Proof, Turn

Key = tuple[str, TaskId]
Decided = MutableMapping[Key, tuple[Job, Decision]]

_PROOFS = {
    CheckState.NONE: Proof.UNTESTED,
    CheckState.RUNNING: Proof.RUNNING,
    CheckState.PASSED: Proof.PASSED,
    CheckState.FAILED: Proof.FAILED,
}


@dataclass(slots=True)
class Lines:
    """What the lines of all bases ask for, beside what they decide."""

    unmerged: set[Merges] = field(default_factory=set)  # chains of which it is not known yet what they make
    tested: set[RunId] = field(default_factory=set)  # the checks under way that still prove something


def in_line(base: Base, jobs: Sequence[Job], decided: Decided, observed: Observed, busy: int, lines: Lines) -> None:
    """Let those of `jobs` that would be tested or land do so when it is their turn, together or alone."""
    slots = max((job.spec.merge.parallel for job in jobs), default=1)
    bad = sum(run.why == Reason.CHECKS_FAILED for job in jobs for run in _runs(job))
    rate = observed.landed.get(base.name, 0), bad
    waiting = (job for job in jobs if _stands_in_line(decided[job.spec.name, job.task.id][1]))
    kinds = sorted(waiting, key=lambda job: (_kind(job), rank(job)))
    found = [_Lane(base, list(mine), decided, observed, lines, *rate) for _, mine in groupby(kinds, key=_kind)]
    landing: Land | None = None
    for line in sorted(found, key=lambda line: min(map(rank, line.jobs))):
        now = Turn(line=tuple(line.by_task)) if landing else line.turn(slots, busy)
        busy += len(now.check)
        landing = line.decide(now, landing)


def _stands_in_line(decision: Decision) -> bool:
    match decision:
        case StartCheck() | Land() | Waiting(Reason.CHECKS_RUNNING):
            return True
        case _:
            return False


def _runs(job: Job) -> tuple[Run, ...]:
    return () if isinstance(job.runs, Unknown) else job.runs


def _kind(job: Job) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """What must be the same for those that are tested together: the commands, and what they are given."""
    return job.spec.merge.checks, tuple(sorted(job.spec.agent.env.items()))


def rank(job: Job) -> tuple[bool, int, int]:
    """What may land before what a person has yet to see, then by priority, then by number."""
    return not job.offer.approved, job.task.priority, job.number or 0


@dataclass
class _Lane:
    """Those of one base that are tested by the same checks."""

    base: Base
    jobs: list[Job]
    decided: Decided
    observed: Observed
    lines: Lines
    good: int  # so many have landed, and so many attempts were sent back for their checks
    bad: int

    def __post_init__(self) -> None:
        self.by_task = {job.task.id: job for job in self.jobs}
        self.unfit: set[TaskId] = set()  # what a person has to see, as it would land now

    def turn(self, slots: int, busy: int) -> Turn:
        contenders = [self._contender(job) for job in self.jobs]
        suspects = sum(bool(each.reds) for each in contenders)
        bounds = Bounds(
            slots=slots,
            rate=merge_queue.failure_rate(self.good, self.bad + suspects),
            running=tuple(self._tested(Proof.RUNNING)),
            passed=tuple(self._tested(Proof.PASSED)),
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
        if now.land:
            landing = self._land(now.land)
        starting = {task: chain for chain in now.check for task in reversed(chain)} if not landing else {}
        running = {task: chain for chain in self._tested(Proof.RUNNING) for task in chain}
        for job in self.jobs:
            task = job.task.id
            if landing and task == landing.task:
                word: Decision = landing
            elif landing:
                word = self._queued(job, landing, now.land)
            elif task in now.apart or (job.offer.check_state is CheckState.FAILED and not job.offer.asked_again):
                continue  # what comes of it by itself is known, or will be once what it makes of this base is looked at
            elif (chain := starting.get(task)) and (start := next((c for c in now.check if c[-1] == task), None)):
                word = self._check(job, start)
            elif chain:
                word = Waiting(
                    Reason.CHECKS_RUNNING, f"its checks start, together with those of {_others(chain, task)}"
                )
            elif task in running:
                word = self._under_test(task, running[task])
            elif task in now.held:
                message = f"does not merge after {now.held[task]}, which is before it in the line of {self.base.name}"
                word = Waiting(Reason.LANDING_QUEUED, message)
            else:
                word = self._turned_away(job, running)
            self.decided[job.spec.name, task] = job, word
        return landing

    # --- what is known of a chain

    def proof_of(self, chain: Chain, more: Sequence[TaskId] = ()) -> Proof:
        """What is known of the tree that a chain makes. `more`: who may come behind it, to be merged along with it."""
        job = self.by_task[chain[-1]]
        if len(chain) == 1 and not job.offer.outdated:
            return Proof.UNTESTED if job.offer.asked_again else _PROOFS.get(job.offer.check_state, Proof.UNSEEN)
        made = self._made(chain)
        if made is None:
            self.lines.unmerged.add(self._merges((*chain, *more)[:CHAIN_MAX]))
        if isinstance(made, Conflict):
            return Proof.CONFLICT
        if not isinstance(made, Candidate):
            return Proof.UNSEEN
        if made.own_changes and not made.changed:
            return Proof.CONFLICT  # those before it did the same
        if not job.spec.merge.checks:
            return Proof.PASSED
        runs = self._checks(job, made.tree)
        if isinstance(runs, Unknown):
            return Proof.UNSEEN
        since = job.since.at if job.since else None
        return _PROOFS.get(state_of(runs, since, job.now), Proof.UNSEEN)

    def _made(self, chain: Chain) -> Candidate | Conflict | Unknown | None:
        return self.observed.folds.get(self._merges(chain))

    def _merges(self, chain: Sequence[TaskId]) -> Merges:
        return self.base.head, tuple(self._step(self.by_task[task]) for task in chain)

    def _step(self, job: Job) -> MergeStep:
        return MergeStep(job.open_pull.head if job.open_pull else Sha(""), job.spec.merge.method)

    def _checks(self, job: Job, tree: Sha) -> tuple[Run, ...] | Unknown:
        if isinstance(self.observed.checks, Unknown):
            return self.observed.checks
        found = self.observed.checks.get(check_subject(tree, job.spec.merge.checks), ())
        return tuple(run for run in found if run.tree == tree or not run.started)

    def _tested(self, proof: Proof) -> Iterator[Chain]:
        """The chains of this line whose checks are under way, or have passed."""
        heads = {job.open_pull.head: job.task.id for job in self.jobs if job.open_pull}
        for job in self.jobs:
            if not job.offer.outdated and _PROOFS.get(job.offer.check_state) is proof:
                yield (job.task.id,)
        for head in heads:
            for run in self.observed.checks_of.get(head, ()):
                together = len(run.heads) > 1 and run.alive is (proof is Proof.RUNNING)
                if not together or (run.exit and not run.exit.well):
                    continue
                chain = tuple(heads[each] for each in run.heads if each in heads)
                if self.proof_of(chain) is proof and self._tree(chain) == run.tree:
                    self.lines.tested.add(run.id)
                    yield chain

    def _tree(self, chain: Chain) -> Sha | None:
        job, made = self.by_task[chain[-1]], self._made(chain)
        if len(chain) == 1 and isinstance(job.candidate, Candidate) and not job.offer.outdated:
            return job.candidate.tree
        return made.tree if isinstance(made, Candidate) else None

    # --- who is in it

    def _contender(self, job: Job) -> Contender:
        ready = isinstance(job.candidate, Candidate) and not asks_a_person(job) and not hindrance(job, job.candidate)
        return Contender(
            task=job.task.id,
            rank=rank(job),
            lands=ready,
            reds=len(job.offer.reds),
            solo=SOLO in job.task.labels,
        )

    def _fits(self, now: Turn, task: TaskId) -> bool:
        """True where what a member changes, as it would land now, is nothing that a person has yet to see."""
        chain = next(chain for chain in (now.land, *now.check) if task in chain)
        made = self._made(chain[: chain.index(task) + 1])
        return isinstance(made, Candidate) and self.by_task[task].offer.approved_as(made)

    # --- what becomes of it

    def _order(self, chain: Chain) -> LandOrder:
        orders: list[LandOrder] = []
        for n, task in enumerate(chain, 1):
            job, made = self.by_task[task], self._made(chain[:n])
            exact = job.candidate if n == 1 and not job.offer.outdated else None
            candidate = exact or made
            assert job.open_pull and isinstance(candidate, Candidate), task
            orders.append(order_of(job, job.open_pull, candidate))
        return replace(orders[-1], beneath=tuple(orders[:-1]))

    def _land(self, chain: Chain) -> Land:
        return Land.of(self.by_task[chain[-1]], self._order(chain))

    def _check(self, job: Job, chain: Chain) -> Decision:
        order = self._order(chain)
        below = self._tree(chain[:-1]) if len(chain) > 1 else None
        before = self._checks(job, order.expected.tree)
        return StartCheck.together(job, order, below, before)

    def _queued(self, job: Job, landing: Land, chain: Chain) -> Decision:
        if job.task.id in chain:
            return Waiting(Reason.LANDING_QUEUED, f"merges together with {landing.task}, which was tested on top of it")
        return self._behind(job, landing.task)

    def _behind(self, job: Job, whom: TaskId | None) -> Decision:
        said = self.decided[job.spec.name, job.task.id][1]
        if not isinstance(said, StartCheck | Land):
            return said
        what = (
            f"{whom} is before it in the line of {self.base.name}"
            if whom
            else f"every check slot of {self.base.name} is in use"
        )
        return Waiting(Reason.LANDING_QUEUED, what)

    def _under_test(self, task: TaskId, chain: Chain) -> Decision:
        tree = self._tree(chain) or ""
        beside = f", together with {_others(chain, task)}" if len(chain) > 1 else ""
        return Waiting(Reason.CHECKS_RUNNING, f"checks running on the merged tree {tree[:12]}{beside}")

    def _turned_away(self, job: Job, running: Mapping[TaskId, Chain]) -> Decision:
        first = min(running, key=lambda task: rank(self.by_task[task]), default=None)
        return self._behind(job, first)


def _others(chain: Chain, task: TaskId) -> str:
    names = [each for each in chain if each != task]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
