"""Thousands of tasks are finished: a picture for people describes none of them only to leave it out."""

from __future__ import annotations

import pytest
from test_render_text import printed
from worlds import TaskId, a_branch, a_check, a_pull, a_run, a_task, a_worktree, ago, seen, wanted

from reconciler.model.observed import Failure, Observed, PullState
from reconciler.planning.planner import plan
from reconciler.render import document, live, tails, text

X1 = TaskId("x-1")
FAILING = Failure(action="RemoveWorktree", message="no", since=ago(90), until=ago(-90), at=ago(60), permanent=True)


def _closed(*labels: str, **facts: object) -> Observed:
    return seen(a_task("x-1", status="closed", labels=labels), a_task("x-2"), **facts)


FINISHED = {
    "nothing": _closed(),
    "merged": _closed(
        "phase:merged",
        runs={X1: (a_run(),)},
        checks=(a_check("passed"),),
        pull_requests={X1: a_pull(state=PullState.MERGED, closed_at=ago(9))},
    ),
}
LEFT = {
    "a label that is ours to take away": _closed("needs-human"),
    "an agent lives": _closed(runs={X1: (a_run(state="running"),)}),
    "a check lives": _closed(checks=(a_check("running"),)),
    "a worktree": _closed(worktrees={X1: a_worktree()}),
    "an open pull request": _closed(branches={X1: a_branch()}, pull_requests={X1: a_pull()}),
    "something fails": _closed(worktrees={X1: a_worktree()}, failures={X1: FAILING}),
}  # fmt: skip


@pytest.mark.parametrize("what", [*FINISHED, *LEFT])
def test_a_picture_without_what_is_finished_is_the_same_picture(what: str):
    observed = {**FINISHED, **LEFT}[what]
    decided = plan(wanted(), observed)
    whole, few = (document.status(decided, observed, every=each) for each in (True, False))

    listed = [[task["id"] for task in each["epics"][0]["tasks"]] for each in (whole, few)]
    assert listed == [["x-1", "x-2"], ["x-2"] if what in FINISHED else ["x-1", "x-2"]]
    assert printed(text.status(few)) == printed(text.status(whole))
    assert _drawn(few) == _drawn(whole)
    alive = [run for runs in (observed.runs, observed.checks) for found in runs.values() for run in found if run.alive]
    assert tails.runs_of(few, alive) == tails.runs_of(whole, alive)
    assert [_beside_the_tasks(few)] == [_beside_the_tasks(whole)]


def _drawn(shown: document.Document) -> object:
    return live.restless(shown, ago(0)), [str(line) for line in live.picture(shown, live.Size(width=100), ago(0))]


def _beside_the_tasks(shown: document.Document) -> object:
    return [{name: part for name, part in epic.items() if name != "tasks"} for epic in shown["epics"]]
