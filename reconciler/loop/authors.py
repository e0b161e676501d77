"""The last words of the authors of a change, where somebody waits for their answer: a person who decides hears both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from reconciler.loop.asking import ask
from reconciler.loop.memo import Memo
from reconciler.model.names import TaskId
from reconciler.model.observed import LastWords, PullRequest, PullState, Run, Unknown, known_or
from reconciler.model.ports import Ports
from reconciler.model.verdicts import ReviewWord

PRINTED_MAX = 400
_ByTask = Mapping[TaskId, tuple[Run, ...]] | Unknown


def words(
    ports: Ports,
    work: _ByTask,
    reviews: _ByTask,
    pulls: Mapping[TaskId, PullRequest] | Unknown,
    memo: Memo,
) -> Mapping[TaskId, LastWords]:
    """By task: what its newest attempt has left of itself, where its agent reports nothing, and a reviewer wants changes or
    people began conversations that it was given."""
    return {
        pull.task: memo.of(f"said by {run.id}", (run,), partial(_left, ports, run, pull), equal=pull.head)
        for pull, run in memo.of("at odds", (work, reviews, pulls), lambda: list(_at_odds(work, reviews, pulls)))
    }


def _at_odds(
    work: _ByTask, reviews: _ByTask, pulls: Mapping[TaskId, PullRequest] | Unknown
) -> Iterator[tuple[PullRequest, Run]]:
    if isinstance(work, Unknown) or isinstance(reviews, Unknown) or isinstance(pulls, Unknown):
        return
    for task, runs in work.items():
        pull, last = pulls.get(task), runs[-1]
        if pull is None or pull.state is not PullState.OPEN or last.alive or (last.report and last.report.message):
            continue
        if last.heard or any(map(_against, reviews.get(task, ()))):
            yield pull, last


def _against(review: Run) -> bool:
    return review.verdict is not None and review.verdict.verdict is ReviewWord.REQUEST_CHANGES


def _left(ports: Ports, run: Run, pull: PullRequest) -> LastWords:
    # What an attempt did not commit is nothing that it says.
    commit = "" if pull.head == run.baseline else known_or(ask(partial(ports.forge.changes.message, pull.head)), "")
    return LastWords(commit=commit, printed=known_or(ask(partial(ports.runner.log_tail, run.id, PRINTED_MAX)), ""))
