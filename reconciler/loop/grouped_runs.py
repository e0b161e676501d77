"""Runs by what is asked of them; of a run that is as it was, nothing is sorted again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from operator import attrgetter

from reconciler.loop.asking import ask
from reconciler.loop.memo import Memo
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.observed import BaseCommit, Run, Unknown, known_or
from reconciler.model.ports import Ports
from reconciler.planning.asked import by_subject as by_their_commands

PRINTED_MAX = 400


def by_task(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[TaskId, tuple[Run, ...]] | Unknown:
    """Runs of agents, by their tasks."""
    if isinstance(runs, Unknown):
        return runs
    return memo.grouped("by task", RunKind.WORK, runs, attrgetter("task"))


def by_subject(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[str, tuple[Run, ...]] | Unknown:
    """Runs of checks, by what they are of."""
    if isinstance(runs, Unknown):
        return runs
    return memo.grouped("by subject", RunKind.CHECK, runs, attrgetter("id.subject"))


def by_head(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[Sha, tuple[Run, ...]]:
    """Runs of checks, by the heads that they were asked for."""
    if isinstance(runs, Unknown):
        return {}
    return memo.grouped("by head", RunKind.CHECK, runs, attrgetter("baseline"))


def by_tree(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[Sha, tuple[Run, ...]]:
    """Runs of checks, by the trees that they ran on."""
    if isinstance(runs, Unknown):
        return {}
    return memo.grouped("by tree", RunKind.CHECK, runs, attrgetter("tree"))


def reviews(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[TaskId, tuple[Run, ...]] | Unknown:
    """Runs of reviewers, by their tasks."""
    if isinstance(runs, Unknown):
        return runs
    return memo.grouped("reviews", RunKind.REVIEW, runs, attrgetter("task"))


def _red(runs: Iterable[Run], spec: EpicSpec) -> Iterator[Run]:
    """The last of these runs of a manifest's checks, where that ended badly: of each set of them that was run."""
    return (last for *_, last in by_their_commands(spec, runs) if last.exit and not last.exit.well)


def printed(
    ports: Ports,
    desired: Desired,
    recent: Mapping[str, tuple[BaseCommit, ...] | Unknown],
    checks: Mapping[Sha, tuple[Run, ...]],
) -> Mapping[RunId, str]:
    """The last words of the checks that are red on a base as it is."""
    lines = ((spec, recent.get(spec.base, ())) for spec in desired.epics)
    trees = ((spec, line[0].tree) for spec, line in lines if not isinstance(line, Unknown) and line)
    red = {run.id for spec, tree in trees for run in _red(checks.get(tree, ()), spec) if not run.commit}
    fields = {run: known_or(ask(partial(ports.runner.log_tail, run, PRINTED_MAX)), "") for run in red}
    return {run: " ".join(text.split()) for run, text in fields.items()}
