"""Which of a manifest's checks a change must pass: those whose paths it touches. Pure.

Which ones ran is part of what a run of them proves: its subject is made of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reconciler.model.checks import Check
from reconciler.model.desired import EpicSpec
from reconciler.model.globs import fits
from reconciler.model.observed import Run


def limited(spec: EpicSpec) -> bool:
    """True where some check is only about some paths."""
    return any(check.paths for check in spec.merge.checks)


def apart(asked: Iterable[Check]) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    """These checks in the order in which they are gone through: those that run here, then those that the forge runs."""
    every = tuple(asked)
    return tuple(c for c in every if not c.staged), tuple(c for c in every if c.staged)


def asked_of(spec: EpicSpec, changed: Collection[str]) -> tuple[Check, ...]:
    """The checks that a change of these paths must pass, or several changes together.

    All of them where it touches the paths of none: what nothing was run on is not green. The forge's own are always asked.
    """
    checks = spec.merge.checks
    found = tuple(check for check in checks if not check.paths or any(fits(path, check.paths) for path in changed))
    return (*(found or checks), *spec.merge.staged)


def left_out(spec: EpicSpec, asked: Collection[Check]) -> tuple[int, ...]:
    """Which of a manifest's checks, from 0, are not among these; none of what the forge runs."""
    if any(check.staged for check in asked):
        return ()
    return tuple(n for n, check in enumerate(spec.merge.checks) if check not in asked)


def commands(spec: EpicSpec, run: Run) -> tuple[str, ...]:
    """What a run of a manifest's checks ran, in turn."""
    if run.commit:
        return ()
    return tuple(check.run for n, check in enumerate(spec.merge.checks) if n not in run.left_out)


def ran(spec: EpicSpec, run: Run) -> bool:
    """True for a run of a manifest's checks: of all of them, or of those that it does not say were left out."""
    own = tuple(check for n, check in enumerate(spec.merge.checks) if n not in run.left_out)
    asked = spec.merge.staged if run.commit else own
    return run.tree is not None and bool(asked) and run.id.subject == spec.subject_of(run.tree, asked)


def by_subject(spec: EpicSpec, runs: Iterable[Run]) -> tuple[tuple[Run, ...], ...]:
    """The runs of a manifest's checks among those on a tree, by what was run, oldest first."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if ran(spec, run):
            found.setdefault(run.id.subject, []).append(run)
    return tuple(tuple(sorted(each, key=lambda run: run.id.n)) for each in found.values())
