"""What checks have proved of trees, and of the heads that are offered. Pure."""

from __future__ import annotations

from datetime import datetime

from reconciler.model.checks import Check
from reconciler.model.desired import EPOCH, EpicSpec
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Observed, PullState, Run, Unknown, known_or
from reconciler.planning.asked import apart, by_subject, limited, ran
from reconciler.planning.check_state import CheckState, state_of


def retried_at(spec: EpicSpec, observed: Observed) -> datetime | None:
    """When a task was retried last, whichever, or the line of a manifest was unfrozen."""
    moments = (spec.unfrozen_at, *(since.at for since in observed.since.values()))
    return max((at for at in moments if EPOCH < at <= observed.at), default=None)


def base_checks(spec: EpicSpec, observed: Observed) -> tuple[tuple[Run, ...], ...] | Unknown:
    """The runs of a manifest's checks on its base as it is, by what was run, oldest first."""
    tree = observed.base_tree(spec.base)
    return tree if isinstance(tree, Unknown) else every_on(observed, spec, tree)


def every_on(observed: Observed, spec: EpicSpec, tree: Sha | None) -> tuple[tuple[Run, ...], ...] | Unknown:
    """The runs of a manifest's checks on a tree, whichever of them were left out: by what was run, oldest first."""
    if tree is not None and (limited(spec) or spec.merge.staging):
        return (
            observed.checks
            if isinstance(observed.checks, Unknown)
            else by_subject(spec, observed.checks_at.get(tree, ()))
        )
    found = checks_on(observed, spec, tree, spec.merge.checks)
    return found if isinstance(found, Unknown) else (found,)


def checks_on(
    observed: Observed, spec: EpicSpec, tree: Sha | None, asked: tuple[Check, ...]
) -> tuple[Run, ...] | Unknown:
    """The runs of these checks of a manifest on a tree, oldest first: of those that are next, or were last.

    So they say that it has passed only where all have.
    """
    return runs_of(observed, spec, tree, step_on(observed, spec, tree, asked))


def step_on(observed: Observed, spec: EpicSpec, tree: Sha | None, asked: tuple[Check, ...]) -> tuple[Check, ...]:
    """Those of these checks that are next on a tree, or were last: the forge tests what has passed here."""
    own, staged = apart(asked)
    if not own or not staged:
        return own or staged
    runs = runs_of(observed, spec, tree, own)
    passed = not isinstance(runs, Unknown) and any(run.exit and run.exit.well for run in runs)
    return staged if passed else own


def runs_of(
    observed: Observed, spec: EpicSpec, tree: Sha | None, asked: tuple[Check, ...]
) -> tuple[Run, ...] | Unknown:
    """The runs of just these checks, all of them in one."""
    if tree is None or not asked:
        return ()
    if isinstance(observed.checks, Unknown):
        return observed.checks
    found = observed.checks.get(spec.subject_of(tree, asked), ())
    # Trees whose names begin alike can be made on purpose: only a check of the whole name proves anything.
    return tuple(run for run in found if run.tree == tree or not run.started)


def red_checks(observed: Observed, spec: EpicSpec, task: TaskId) -> tuple[Run, ...]:
    """The checks of a manifest that the offered head of a task has failed: on a base, or on top of what passes without it."""
    pulls = observed.pull_requests
    pull = known_or(pulls, {}).get(task)
    runs = observed.checks_of.get(pull.head, ()) if pull and pull.state is PullState.OPEN else ()
    return tuple(
        run
        for run in runs
        if run.exit and not run.exit.well and ran(spec, run) and not red_beneath(observed, spec, run)
        if run.below is None or passes(observed, spec, run.below, staged=run.commit is not None)
    )


def red_beneath(observed: Observed, spec: EpicSpec, run: Run) -> bool:
    """True where the base that it was tested on is known to have failed by itself: whatever is not its mending fails there."""
    recent = observed.recent.get(spec.base, ())
    trees = {} if isinstance(recent, Unknown) else {each.commit: each.tree for each in recent}
    tree = trees.get(run.base_tip) if run.base_tip else None
    found = every_on(observed, spec, tree)
    return any(state_of(runs, None, observed.at) is CheckState.FAILED for runs in known_or(found, ()))


def passes(observed: Observed, spec: EpicSpec, tree: Sha, *, staged: bool) -> bool:
    """True where a tree has passed the checks of a manifest that run here; `staged`: those that its forge runs."""
    found = known_or(every_on(observed, spec, tree), ())
    groups = (runs for runs in found if runs and bool(runs[0].commit) is staged)
    return any(state_of(runs, None, observed.at) is CheckState.PASSED for runs in groups)


def green(spec: EpicSpec, observed: Observed) -> frozenset[TaskId]:
    """The tasks whose offered head has passed the checks of a manifest, whatever it was merged with."""
    pulls = observed.pull_requests
    if isinstance(pulls, Unknown) or not spec.merge.tests:
        return frozenset()
    offered = {pull.head: task for task, pull in pulls.items() if pull.state is PullState.OPEN}
    return frozenset(
        offered[each]
        for head in offered
        for run in observed.checks_of.get(head, ())
        if run.exit and run.exit.well and ran(spec, run) and bool(run.commit) is spec.merge.staging
        for each in run.heads or (head,)
        if each in offered
    )
