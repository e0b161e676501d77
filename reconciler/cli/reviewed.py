"""What reviewers have read: by that it is known at which places of a change their comments are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from reconciler.loop.asking import ask
from reconciler.model.observed import Run, Unknown
from reconciler.render.reviews import Diffs
from reconciler.wiring import Site


def read_by(site: Site, runs: Iterable[Run]) -> Diffs:
    """The changes that reviews with comments have read; without those of which commits are gone."""
    asked = (
        (run.id, ask(partial(site.forge.changes.diff, run.base_tip, run.baseline)))
        for run in runs
        if run.verdict and run.verdict.comments and run.base_tip and run.baseline
    )
    return {id: diff for id, diff in asked if not isinstance(diff, Unknown)}
