"""What is measured against a base, each task against its own: branches, landings, what would land."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from reconciler.loop.asking import ask
from reconciler.loop.memo import Memo
from reconciler.model.changes import Diff
from reconciler.model.desired import Desired
from reconciler.model.names import TaskId
from reconciler.model.observed import (
    Base,
    BaseCommit,
    Branch,
    Candidate,
    Conflict,
    Landing,
    PullRequest,
    PullState,
    RetryPoint,
    Run,
    Unknown,
)
from reconciler.model.ports import Ports
from reconciler.model.reasons import Reason

Pulls = Mapping[TaskId, PullRequest] | Unknown
Bases = Mapping[str, Base | Unknown]
Candidates = Mapping[TaskId, Candidate | Conflict | Unknown]


class Measured(Struct, frozen=True):
    """What is measured against a base, each task against its own."""

    ports: Ports
    desired: Desired
    bases: Bases
    name_of: Callable[[TaskId], str]
    memo: Memo

    def base_of(self, task: TaskId) -> Base | Unknown | None:
        return self.bases.get(self.name_of(task))

    def recent(self) -> Mapping[str, tuple[BaseCommit, ...] | Unknown]:
        """Where each base has come from: by what passed there it is known where it is green."""
        known = {name: base.head for name, base in self.bases.items() if isinstance(base, Base)}
        return {name: ask(partial(self.ports.forge.recent, head)) for name, head in known.items()}

    def branches(self) -> Mapping[TaskId, Branch] | Unknown:
        found: dict[TaskId, Branch] = {}
        for name, base in self.bases.items():
            if isinstance(base, Unknown):
                continue
            seen = ask(partial(self.ports.workspaces.branches, base.head))
            if isinstance(seen, Unknown):
                return seen
            found.update({task: branch for task, branch in seen.items() if self.name_of(task) == name})
        return found

    def landed(self) -> Mapping[str, Sequence[Landing]] | Unknown:
        """Every landing, by the base on which it is."""
        known = [name for name, base in self.bases.items() if isinstance(base, Base)]
        return ask(lambda: {name: self.ports.forge.landings(name) for name in known})

    def landings(
        self, since: Mapping[TaskId, RetryPoint] | Unknown, landed: Mapping[str, Sequence[Landing]] | Unknown
    ) -> Mapping[TaskId, Landing] | Unknown:
        """The newest landing of every task that is newer than its last retry."""
        if isinstance(since, Unknown):
            return since
        if isinstance(landed, Unknown):
            return landed
        guessed: list[Landing] = []

        def newest() -> Mapping[TaskId, Landing]:
            found: dict[TaskId, Landing] = {}
            for name, landings in landed.items():
                for landing in landings:
                    after = since.get(landing.task)
                    if not (after and self._before(landing, after, guessed)) and self.name_of(landing.task) == name:
                        found[landing.task] = landing
            return found

        found = self.memo.of("landings", (since, self.name_of, *landed.values()), newest, equal=tuple(landed))
        if guessed:
            self.memo.forget("landings")  # git may tell the next time
        return found

    def _before(self, landing: Landing, since: RetryPoint, guessed: list[Landing]) -> bool:
        if since.base is None:
            return False
        old = ask(partial(self.ports.forge.contains, since.base, landing.commit))
        if isinstance(old, Unknown):
            # The base was rewritten and that commit is gone: when it landed is the best that is left.
            guessed.append(landing)
            return landing.at <= since.at
        return old

    def candidates(self, pulls: Pulls) -> Candidates:
        if isinstance(pulls, Unknown):
            return {}
        offered = self.memo.of("offered", (pulls,), lambda: [t for t, p in pulls.items() if p.state is PullState.OPEN])
        return {
            task: ask(partial(self.ports.forge.candidate, base.head, pulls[task].head, exact=False))
            for task in offered
            if isinstance(base := self.base_of(task), Base)
        }

    def diffs(self, candidates: Candidates) -> Mapping[TaskId, Diff | Unknown]:
        """What is offered brings to its base, under manifests that ask about its risk."""
        asking = {spec.base for spec in self.desired.epics if spec.merge.asks_about_risk}
        return {
            task: ask(partial(self.ports.forge.changes.diff, candidate.base, candidate.head))
            for task, candidate in candidates.items()
            if isinstance(candidate, Candidate) and self.name_of(task) in asking
        }

    def merged_by_hand(
        self, pulls: Pulls, branches: Mapping[TaskId, Branch] | Unknown, candidates: Candidates
    ) -> frozenset[TaskId]:
        """Pull requests that nobody closed in words, and whose work the base holds already."""
        if isinstance(pulls, Unknown) or isinstance(branches, Unknown):
            return frozenset()
        unclosed = self.memo.of("unclosed", (pulls,), lambda: [t for t, p in pulls.items() if p.closed_at is None])
        return frozenset(
            task
            for task in unclosed
            if changes_nothing(candidates.get(task)) or self._contained(task, pulls[task], branches.get(task))
        )

    def came_along(
        self,
        pulls: Pulls,
        branches: Mapping[TaskId, Branch] | Unknown,
        since: Mapping[TaskId, RetryPoint] | Unknown,
        landings: Mapping[TaskId, Landing] | Unknown,
    ) -> frozenset[TaskId]:
        """Pull requests that a person merged into the branch of another task, and that have landed with that since."""
        if isinstance(pulls, Unknown) or isinstance(branches, Unknown):
            return frozenset()
        if isinstance(since, Unknown) or isinstance(landings, Unknown):
            return frozenset()

        def in_what_landed(pull: PullRequest, after: RetryPoint | None, branch: Branch | None) -> bool:
            landing = landings.get(pull.onto) if pull.onto else None
            if landing is None or pull.landed is None or (branch is not None and branch.head != pull.head):
                return False
            if after is not None and (pull.closed_at is None or pull.closed_at <= after.at):
                return False  # that counts no longer
            return ask(partial(self.ports.forge.contains, landing.head, pull.landed)) is True

        def merged_below() -> list[TaskId]:
            return [task for task, pull in pulls.items() if pull.state is PullState.MERGED and pull.onto]

        below = self.memo.of("below", (pulls,), merged_below)
        return frozenset(task for task in below if in_what_landed(pulls[task], since.get(task), branches.get(task)))

    def _contained(self, task: TaskId, pull: PullRequest, branch: Branch | None) -> bool:
        base = self.base_of(task)
        if not isinstance(base, Base) or pull.opened_head is None or (branch is not None and not branch.in_base):
            return False
        return ask(partial(self.ports.forge.contains, base.head, pull.opened_head)) is True


def changes_nothing(candidate: Candidate | Conflict | Unknown | None) -> bool:
    return isinstance(candidate, Candidate) and not candidate.changed and candidate.own_changes


def repaired(
    ports: Ports, work: Mapping[TaskId, tuple[Run, ...]] | Unknown, candidates: Candidates
) -> frozenset[TaskId]:
    """Repairs that still are in conflict, but no longer with the base that they were given."""
    if isinstance(work, Unknown):
        return frozenset()
    return frozenset(
        task
        for task, candidate in candidates.items()
        if isinstance(candidate, Conflict)
        and (last := work[task][-1] if work.get(task) else None)
        and last.why == Reason.CONFLICT
        and last.base_tip not in (None, candidate.base)
        and isinstance(ask(partial(ports.forge.candidate, last.base_tip, candidate.head)), Candidate)
    )
