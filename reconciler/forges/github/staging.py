"""Staging branches: what would land is pushed there, for the workflows of the repository to test exactly that commit.

Their names are fixed, `reconcile/staging/1` and so on. Each push is written down first, so a branch is known by its commit: one
that stands anywhere else is somebody's, and is left alone. After a kill the same commit is made again, or found there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from reconciler.forges.github.look import Look
from reconciler.forges.github.staging_records import StagingRecord, StagingRecords, plain, plain_end
from reconciler.forges.github.workflows import Workflows
from reconciler.git import objects
from reconciler.git.commands import Git
from reconciler.git.identity import identity
from reconciler.landing import signature
from reconciler.landing.remotes import Remotes
from reconciler.landing.signature import Signature
from reconciler.model.checks import STAGING
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import RunId, Sha
from reconciler.model.observed import Exit, Run, StagedCheck
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

NAMES_MAX = 64
SHOWS_WITHIN = timedelta(minutes=1)  # after a push that went well, for GitHub's answers to show it


class Staging:
    """The staging branches of one repository. Safe to share between threads and processes."""

    def __init__(self, git: Git, look: Look, remotes: Remotes, made: Callable[[LandOrder], Sha]) -> None:
        self._git, self._look, self._remotes, self._made = git, look, remotes, made
        self._records = StagingRecords(git.repository.state / "github" / "staging")

    # --- looking -------------------------------------------------------------------------------------------

    def awaited(self) -> dict[Sha, str]:
        """The commits whose checks are to be asked for, and their branches; none while nobody can say which."""
        try:
            return {record.commit: record.branch for record in self._records.every() if not record.gone}
        except PermanentError:
            return {}  # `seen` says it

    def seen(self) -> Sequence[StagedCheck]:
        """All that was pushed, as far as it is written down, with what GitHub shows of what is not over. Raises where that is
        silent."""
        records, now = self._records.every(), datetime.now(UTC)
        if not all(record.gone for record in records):
            self._look.now()
        return [self._seen(record, now) for record in records]

    def strange(self, base: str) -> list[str]:
        """Branches of these names that were not made here: they are left alone."""
        ours = {(record.branch, record.commit) for record in self._records.every()}
        there = self._remotes.branches(base, STAGING)
        return sorted(branch for branch, commit in there.items() if (branch, commit) not in ours)

    def _seen(self, record: StagingRecord, now: datetime) -> StagedCheck:
        shown = self._look.last.staged.get(record.commit)
        fresh = record.pushed and timedelta() <= now - datetime.fromisoformat(record.at) < SHOWS_WITHIN
        # What is over is there until it is known that it is not: that is still to be seen to.
        there = not record.gone and bool(record.end or fresh or (shown and shown.at == record.commit))
        return StagedCheck(
            run=record.as_run,
            base=record.base,
            branch=record.branch,
            there=there,
            checks=shown.checks if shown else (),
            settled_at=shown.settled_at if shown else None,
            unseen=shown.unseen if shown else "",
        )

    # --- changing ------------------------------------------------------------------------------------------

    def push(self, order: LandOrder, run: Run) -> None:
        """Push what would land to a staging branch; what was pushed for this run is there already, or is pushed again."""
        base = order.base
        with self._git.writing("github-staging") as lock:
            record, there = self._records.find(run.id), self._remotes.branches(base, STAGING)
            made = self._commit(order, run)
            if record and (record.end or record.commit != made or there.get(record.branch, made) != made):
                raise ChangedError(f"{run.id} was something else, or is over")
            if record is None:
                at = datetime.now(UTC).isoformat()
                branch = self._free(there)
                record = StagingRecord(base=base, branch=branch, commit=made, at=at, run=plain(run))
                self._records.write(record)
            self._remotes.push_branch(base, record.branch, there.get(record.branch), made, lock)
            self._records.write(replace(record, pushed=True, at=datetime.now(UTC).isoformat()))
            self._look.pushed(made)

    def clear(self, run: RunId, end: Exit, remark: str) -> None:
        """Write down what came of it, then delete its branch where that still stands at its commit."""
        with self._git.writing("github-staging") as lock:
            record = self._records.find(run)
            if record is None or record.gone:
                return
            if record.end is None:
                record = replace(record, end=plain_end(end), remark=remark)
                self._records.write(record)
            try:
                self._remotes.delete_branch(record.base, record.branch, record.commit, lock)
            except ChangedError:
                pass  # somebody has moved it: it is theirs now
            self._records.write(replace(record, gone=True))

    def _commit(self, order: LandOrder, run: Run) -> Sha:
        """The commit for a run on what would land: the very one that would, the first time.

        What is pushed again is another commit with the same tree: what GitHub found of the first must not count twice. So it is
        for the base itself, and for commits that have been in a pull request, with checks of their own.
        """
        others = {record.commit for record in self._records.every() if record.id != run.id}
        made = self._made(order) if run.heads else order.expected.base
        apart = not run.heads or order.method is MergeMethod.REBASE
        every = (self._on_top(order, made, run, n) if apart else self._anew(made, n) for n in count(run.id.n))
        return next(commit for commit in every if commit not in others)

    def _on_top(self, order: LandOrder, made: Sha, run: Run, n: int) -> Sha:
        (below,) = objects.commits(self._git, made)
        by = self._signed(signature.parse(below.committer), n)
        text = f"Check {order.task} on {order.base}\n" if run.heads else f"Check {order.base} as it is\n"
        return objects.write_commit(self._git, below.tree, (made,), author=by, committer=by, text=text)

    def _anew(self, made: Sha, n: int) -> Sha:
        if n == 1:
            return made
        (first,) = objects.commits(self._git, made)
        by = signature.parse(first.committer)
        later = Signature(by.name, by.email, _later(by, n)).line
        return objects.write_commit(
            self._git,
            first.tree,
            first.parents,
            author=signature.parse(first.author).line,
            committer=later,
            text=first.text,
        )

    def _signed(self, like: Signature, n: int) -> str:
        return Signature(*identity(self._git), _later(like, n)).line

    def _free(self, there: Mapping[str, Sha]) -> str:
        """A name that nothing of ours stands at, and nothing of anybody else's."""
        records = self._records.every()
        ours = {(record.branch, record.commit) for record in records}
        taken = {record.branch for record in records if not record.gone}
        strange = []
        for branch in (f"{STAGING}{k}" for k in range(1, NAMES_MAX + 1)):
            if branch in taken:
                continue
            if branch not in there or (branch, there[branch]) in ours:
                return branch
            strange.append(branch)
        raise TemporaryError(
            f"no staging branch is free: {_listed(strange) or 'all are in use'}",
            delay=60.0,
            hint="delete those that nobody needs" if strange else None,
        )


class OnStagingBranches:
    """What `ports.Forge` asks of staging branches."""

    _staging: Staging
    _workflows: Workflows

    def stage(self, order: LandOrder, run: Run) -> None:
        """Push what would land to a staging branch: the very commit that is pushed to the base later, where we do that."""
        self._staging.push(order, run)

    def staged(self) -> Sequence[StagedCheck]:
        """What was pushed to staging branches, and what GitHub shows of it."""
        return self._staging.seen()

    def strange_staging(self, base: str) -> Sequence[str]:
        """Branches at the places of staging branches that were not made here."""
        return self._staging.strange(base)

    def runs_when_staged(self, base: Sha) -> bool:
        """True where a workflow names these branches."""
        return self._workflows.name(base, STAGING)

    def clear_staging(self, run: RunId, end: Exit, remark: str) -> None:
        """Write down what a staged check came to, and delete its branch."""
        self._staging.clear(run, end, remark)


def _later(by: Signature, n: int) -> str:
    zone = by.date.rpartition(" ")[2]
    return f"@{by.seconds + n - 1} {zone}"


def _listed(strange: Sequence[str]) -> str:
    return f"{', '.join(strange[:3])}{' …' if len(strange) > 3 else ''} were not made here" if strange else ""
