"""Runs that an engine has placed and that no node began: a node without python3, without a way to the remote, without room.

Nothing of that is an attempt, or a check that failed. As often as it happens in a row, so much longer rests what is next. The same
holds for checks that were lost with their nodes: a tree that takes them down is not tried in haste, and nobody can tell that it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from reconciler.model.errors import TemporaryError
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.values import replace
from reconciler.runners import _records as records
from reconciler.runners._engines import EngineJob
from reconciler.runners._folders import GIVEN_UP, Folders
from reconciler.runners._records import read_json

REST_S, REST_MOST_S = 30.0, 300.0
_HINT = "'reconcile doctor --nodes' says what a node lacks"


def ended_unbegun(jobs: Sequence[EngineJob]) -> str:
    """What there is to say of a job that ended before its node had claimed the run; at least one is given."""
    job = next((each for each in jobs if each.node), jobs[-1])
    on, remark = f" on {job.node}" if job.node else "", f" ({job.remark})" if job.remark else ""
    return f"its job ended{on} before it began{remark}"


def expect_rested(folders: Folders, run: RunId, task: TaskId) -> None:
    """Raise TemporaryError while a run is not to be placed yet, as no node began, or kept, the last ones of its subject.

    The first time another node gets it at once. Whatever was before the last retry of its task counts for nothing.
    """
    since = folders.since(task)
    times, why, last, began = 0, "", None, False
    for n in range(run.n - 1, 0, -1):
        found = read_json(str(folders.folder(replace(run, n=n)) / GIVEN_UP))
        at = records.moment(found.get("at"))
        lost = run.kind is RunKind.CHECK and found.get("meant") is False
        if not (found.get("unbegun") is True or lost) or at is None or (since and at <= since.at):
            break
        began = began or found.get("unbegun") is not True
        times, why, last = times + 1, why or str(found.get("why", "")), last or at
    if times < 2 or last is None:
        return
    rest = min(REST_S * 2 ** min(times - 2, 8), REST_MOST_S)
    passed = (datetime.now(UTC) - last).total_seconds()
    if 0 <= passed < rest:  # a clock that was set back keeps nobody waiting
        what = "no node brought it to its end" if began else "no node began it"
        raise TemporaryError(f"{times} times {what}: {why}", delay=rest - passed, hint=_HINT)
