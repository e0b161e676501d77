"""What is known of chains: of the trees that changes of one line make, one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from reconciler.model.checks import Check
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Base, Candidate, Conflict, Fold, MergeStep, Observed, Run, Unknown
from reconciler.planning import staging
from reconciler.planning.asked import asked_of, limited
from reconciler.planning.check_state import CheckState, state_of
from reconciler.planning.job import Job
from reconciler.planning.merge_queue import CHAIN_MAX, Chain, Proof
from reconciler.planning.proofs import checks_on
from reconciler.planning.queue_places import Lines

_PROOFS = {
    CheckState.NONE: Proof.UNTESTED,
    CheckState.RUNNING: Proof.RUNNING,
    CheckState.PASSED: Proof.PASSED,
    CheckState.FAILED: Proof.FAILED,
}


class ChainProofs(Struct):
    """Chains of `jobs` on one base. What is not known yet is noted in `lines`, for who is to find out."""

    base: Base
    jobs: Mapping[TaskId, Job]
    observed: Observed
    lines: Lines

    def proof(self, chain: Chain, more: Sequence[TaskId] = ()) -> Proof:
        """What is known of the tree that a chain makes. `more`: who may come behind it, to be merged along with it."""
        found = self._proof(chain, more)
        if found is not Proof.UNTESTED or len(chain) > 1:
            return found  # in longer chains there is nothing that a person has yet to see
        made, job = self.expected(chain), self.jobs[chain[0]]
        return Proof.UNSEEN if staging.unread(job, made, self.asked(chain), self.observed) else found

    def asked(self, chain: Chain) -> tuple[Check, ...]:
        """The checks that a chain must pass: those that any of its members must."""
        spec = self.jobs[chain[-1]].spec
        if not limited(spec):
            return spec.merge.tests
        made = [self.expected(chain[:n]) for n in range(1, len(chain) + 1)]
        if not all(isinstance(each, Candidate) for each in made):
            return spec.merge.tests
        return asked_of(spec, frozenset().union(*(each.changed for each in made if isinstance(each, Candidate))))

    def expected(self, chain: Chain) -> Candidate | Conflict | Unknown | None:
        """What a chain makes: of one alone, what was seen of it where that is of this base."""
        job = self.jobs[chain[-1]]
        return job.candidate if len(chain) == 1 and not job.offer.outdated else self.made(chain)

    def made(self, chain: Chain) -> Candidate | Conflict | Unknown | None:
        """What landing its heads on the base gives, as folded; None where nobody has done that yet."""
        return self.observed.folds.get(self._merges(chain))

    def tree(self, chain: Chain) -> Sha | None:
        """The tree that it makes, where there is one."""
        job, made = self.jobs[chain[-1]], self.made(chain)
        if len(chain) == 1 and isinstance(job.candidate, Candidate) and not job.offer.outdated:
            return job.candidate.tree
        return made.tree if isinstance(made, Candidate) else None

    def tested(self, proof: Proof) -> Iterator[tuple[Chain, Run | None]]:
        """The chains of this line whose checks are under way, or have passed; and the check of each."""
        heads = {job.open_pull.head: job.task.id for job in self.jobs.values() if job.open_pull}
        for job in self.jobs.values():
            if not job.offer.outdated and _PROOFS.get(job.offer.checked_here) is proof:
                yield (job.task.id,), job.offer.checks_last
        for head in heads:
            for run in self.observed.checks_of.get(head, ()):
                together = len(run.heads) > 1 and run.alive is (proof is Proof.RUNNING)
                if not together or (run.exit and not run.exit.well):
                    continue
                chain = tuple(heads[each] for each in run.heads if each in heads)
                if self.proof(chain) is proof and self.tree(chain) == run.tree:
                    self.lines.tested.add(run.id)
                    yield chain, run

    def _proof(self, chain: Chain, more: Sequence[TaskId]) -> Proof:
        job = self.jobs[chain[-1]]
        if len(chain) == 1 and not job.offer.outdated:
            return Proof.UNTESTED if job.offer.asked_again else _PROOFS.get(job.offer.checked_here, Proof.UNSEEN)
        made = self.made(chain)
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
        runs = checks_on(self.observed, job.spec, made.tree, self.asked(chain))
        if isinstance(runs, Unknown):
            return Proof.UNSEEN
        return _PROOFS.get(state_of(runs, job.offer.asked_since, job.now), Proof.UNSEEN)

    def _merges(self, chain: Sequence[TaskId]) -> Fold:
        return self.base.head, tuple(self._step(self.jobs[task]) for task in chain)

    def _step(self, job: Job) -> MergeStep:
        return MergeStep(job.open_pull.head if job.open_pull else Sha(""), job.spec.merge.method)
