"""A closer look at what was seen only in part, because what is decided next hangs on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from reconciler.loop.asking import ask
from reconciler.loop.measured import changes_nothing, repaired
from reconciler.loop.memo import Memo
from reconciler.model.desired import Desired
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import (
    Base,
    Candidate,
    Conflict,
    Fold,
    Imprecise,
    MergeStep,
    Observed,
    Touched,
    Unknown,
    known_or,
)
from reconciler.model.ports import Ports
from reconciler.model.values import replace

PAST_MAX = 500  # landed commits of which it is remembered what they changed


def closer(observed: Observed, desired: Desired, ports: Ports, unsure: Imprecise, memo: Memo | None = None) -> Observed:
    """The same look, with what was seen only in part seen whole: the checkouts of these bases, the merges of these tasks,
    what lands together.

    A base that has moved since is not seen again: what was decided about its older tip is refused where it would land.
    """
    bases = dict(observed.bases)
    for name in unsure.bases:
        seen = ask(partial(ports.forge.base, name, push=desired.pushes(name)))
        before = bases.get(name)
        checkout = seen.checkout if isinstance(seen, Base) else None
        bases[name] = (
            replace(before, checkout=checkout) if isinstance(before, Base) and isinstance(seen, Base) else seen
        )
    candidates = dict(observed.candidates)
    for task, (base, head) in unsure.merges.items():
        candidates[task] = ask(partial(ports.forge.candidate, base, head))
    folds = dict(observed.folds)
    for base, steps in sorted(unsure.folds, key=lambda chain: len(chain[1])):
        folds.update(_folded(base, steps, ask(partial(ports.forge.fold, base, steps))))
    touched = dict(observed.touched) | {
        task: _touched(observed, ports, task, base) for task, base in unsure.touched.items()
    }
    past = dict(list(observed.past.items())[-PAST_MAX:]) | {
        commit: known_or(ask(partial(ports.forge.changes.paths, commit)), frozenset()) for commit in unsure.past
    }
    if memo:
        memo.folds, memo.touched, memo.past = folds, touched, past
    on_the_base = {task for task in unsure.merges if changes_nothing(candidates[task])}
    return replace(
        observed,
        bases=bases,
        candidates=candidates,
        folds=folds,
        touched=touched,
        past=past,
        merged_by_hand=observed.merged_by_hand | on_the_base,
        repaired=repaired(ports, observed.runs, candidates),
    )


def _touched(observed: Observed, ports: Ports, task: TaskId, base: Sha) -> Touched:
    """What a task at work has changed by now, as far as that can be seen: in its commits, and in its worktree."""
    found: frozenset[str] = frozenset()
    branch = known_or(observed.branches, {}).get(task)
    tree = known_or(observed.worktrees, {}).get(task)
    if branch and branch.ahead:
        diff = ask(partial(ports.forge.changes.diff, base, branch.head))
        found |= frozenset() if isinstance(diff, Unknown) else {file.path for file in diff.files}
    if tree and tree.head and not tree.fault and tree.at.local:
        found |= known_or(ask(partial(ports.forge.uncommitted, tree.path, tree.head)), frozenset())
    return Touched(found, now=True)


def _folded(
    base: Sha, steps: tuple[MergeStep, ...], made: Sequence[Candidate | Conflict] | Unknown
) -> Iterator[tuple[Fold, Candidate | Conflict | Unknown]]:
    """What each beginning of a chain makes, without those in it that conflict."""
    clean: tuple[MergeStep, ...] = ()
    for n, step in enumerate(steps):
        here = made if isinstance(made, Unknown) else made[n]
        yield (base, (*clean, step)), here
        if not isinstance(here, Conflict):
            clean = (*clean, step)
