"""What was pushed to staging branches, as runs of checks: so they are proofs like those that run here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from reconciler.model.checks import Check
from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId, Sha
from reconciler.model.observed import (
    Base,
    Candidate,
    Cause,
    CheckResult,
    Conflict,
    Exit,
    Observed,
    Run,
    RunState,
    StagedCheck,
    Unknown,
)
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace
from reconciler.planning.actions import ClearStaging
from reconciler.planning.forge_checks import ForgeVerdict, of_staged
from reconciler.planning.job import Job
from reconciler.planning.proofs import step_on

_ENDED = {CheckResult.PASSED: 0, CheckResult.FAILED: 1}


def as_runs(
    staged: Iterable[StagedCheck],
    specs: Mapping[str, EpicSpec],
    bases: Mapping[str, Base | Unknown],
    now: datetime,
) -> Iterator[tuple[RunId, Run]]:
    """Each as a run: over where the forge's checks of its very commit say so, else under way."""
    for each in staged:
        spec, base = specs.get(each.run.manifest), bases.get(each.base)
        known = isinstance(base, Base) and base.rules is not None
        yield each.run.id, _as_run(each, verdict(each, spec, base, now) if spec and known else None)


def verdict(staged: StagedCheck, spec: EpicSpec, base: Base | Unknown | None, now: datetime) -> ForgeVerdict:
    """What the checks of its commit come to, as the manifest or the rules of its base ask for them."""
    return of_staged(staged, spec.merge, base.rules if isinstance(base, Base) else None, now)


def unread(job: Job, made: Candidate | Conflict | Unknown | None, asked: tuple[Check, ...], observed: Observed) -> bool:
    """True for what a person has yet to see before the forge runs anything of it, and what is next is that it does."""
    if not job.spec.merge.staging or not isinstance(made, Candidate) or job.offer.stageable_as(made):
        return False
    return any(check.staged for check in step_on(observed, job.spec, made.tree, asked))


def cleared(staged: StagedCheck, observed: Observed, *, needed: bool) -> Iterator[ClearStaging]:
    """What is done about a staging branch: nothing while it is `needed` and under test, or once it is gone."""
    if isinstance(observed.checks, Unknown) or (staged.run.exit and not staged.there):
        return
    of_it = (run for run in observed.checks.get(staged.run.id.subject, ()) if run.id == staged.run.id)
    seen = next(of_it, staged.run)
    if seen.exit or not (needed and seen.alive):
        yield ClearStaging.of(staged, seen, observed.at)


def tested(order: LandOrder, observed: Observed) -> Sha | None:
    """The commit on which the forge found this very order green."""
    heads = tuple(each.expected.head for each in order.whole)
    for run in observed.checks_of.get(order.expected.head, ()):
        same = run.tree == order.expected.tree and run.base_tip == order.expected.base and run.heads == heads
        if run.commit and same and run.exit and run.exit.well:
            return run.commit
    return None


def _as_run(staged: StagedCheck, found: ForgeVerdict | None) -> Run:
    run = staged.run
    if run.exit:
        return run
    if not staged.there and not staged.checks:
        # It never got there, or somebody has deleted it before anything ran.
        return replace(run, state=RunState.LOST, started_at=None)
    code = _ENDED.get(found.result) if found else None
    if found is None or code is None:
        return replace(run, state=RunState.RUNNING, remark=found.message if found else "")
    ended = staged.settled_at or run.started_at
    assert ended
    record = Exit(cause=Cause.EXITED, at=ended, code=code)
    return replace(run, state=RunState.ENDED, exit=record, remark=found.message)
