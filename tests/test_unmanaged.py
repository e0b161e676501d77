"""Tasks that no manifest covers are shown for as long as something of them is unfinished, and no longer."""

from __future__ import annotations

from typing import Any

import pytest
import worlds
from worlds import a_branch, a_pull, a_run, a_task, a_worktree

from reconciler.model.names import TaskId
from reconciler.model.observed import PullState, Unknown, WorktreeFault
from reconciler.planning.labels import TAKEN
from reconciler.planning.planner import plan
from reconciler.planning.unmanaged import unmanaged
from reconciler.render import text

X1 = TaskId("x-1")
EPIC = a_task("x-9", type="epic")
THEIRS = worlds.an_epic(name="theirs", epic=TaskId("x-9"))


def said(*tasks: Any, **seen: Any) -> dict[str, str]:
    """What is said of the tasks of no manifest."""
    observed = worlds.seen(EPIC, *tasks, **seen)
    found = unmanaged(worlds.an_epic(name="run-all"), observed, plan(worlds.wanted(THEIRS), observed).unmanaged)
    return {task: word.message for task, word in found.waiting.items()} if found else {}


OURS = a_task(status="in_progress", assignee=worlds.US)
SPAWNED = {"runs": {X1: (a_run(manifest="run-all"),)}}


@pytest.mark.parametrize(
    ("task", "seen", "message"),
    [
        (OURS, {"runs": {X1: (a_run(state="running"),)}}, "attempt 1 is"),
        (a_task(status="closed"), {"runs": {X1: (a_run(state="running"),)}}, "attempt 1 is"),
        (OURS, {"pull_requests": {X1: a_pull()}}, "#7 is open; apply its manifest, or 'reconcile run'"),
        (OURS, {**SPAWNED, "pull_requests": {X1: a_pull()}}, "#7 is open; 'reconcile merge'"),
        (a_task(status="closed"), {"pull_requests": {X1: a_pull()}}, "#7 is open"),
        (OURS, {"branches": {X1: a_branch()}}, "agent/x-1 has commits that are in no pull request; apply its manifest"),
        (a_task(), {"worktrees": {X1: a_worktree()}}, "its worktree is left; 'reconcile spawn x-1'"),
        (
            a_task(status="closed"),
            {"worktrees": {X1: a_worktree()}, "branches": {X1: a_branch()}},
            "it is closed, and agent/x-1 holds commits that main lacks; 'reconcile retry x-1 --reopen'",
        ),
        (a_task(labels=[TAKEN]), {}, "taken over by a person; 'reconcile release x-1'"),
        (a_task(labels=[TAKEN]), {"worktrees": {X1: a_worktree()}}, "taken over by a person"),
        (OURS, {}, "in progress in our name, but nothing runs"),
    ],
)
def test_what_was_begun_is_said_with_what_goes_on_with_it(task: Any, seen: Any, message: str) -> None:
    [(id, words)] = said(task, **seen).items()

    assert plan(worlds.wanted(THEIRS), worlds.seen(EPIC, task, **seen)).orphan_worktrees == ()
    assert id == "x-1" and words.startswith(message) and words.endswith("no manifest covers it")


@pytest.mark.parametrize(
    ("task", "seen"),
    [
        (a_task(), {}),
        (a_task(status="in_progress", assignee="ada"), {}),
        (a_task(status="closed", labels=[TAKEN]), {}),
        (a_task(status="closed"), {"worktrees": {X1: a_worktree()}}),  # an orphan, and said as such
        (a_task(), {"worktrees": {X1: a_worktree(fault=WorktreeFault.TAKEN)}}),
        (a_task(), {"branches": {X1: a_branch(ahead=0)}}),
        (a_task(), {"pull_requests": {X1: a_pull(state=PullState.CLOSED)}}),
        (a_task(type="epic"), {"worktrees": {X1: a_worktree()}}),
        (a_task(parents=(TaskId("x-9"),)), {"worktrees": {X1: a_worktree()}}),
    ],
)
def test_of_what_was_never_begun_or_is_over_or_covered_nothing_is_said(task: Any, seen: Any) -> None:
    assert said(task, **seen) == {}


def test_an_agent_whose_task_was_deleted_is_shown() -> None:
    assert said(runs={X1: (a_run(state="running"),)}) == {"x-1": "attempt 1 is running; no manifest covers it"}


def test_a_task_that_got_children_under_its_agent_is_shown() -> None:
    begun_, child = a_task(labels=["phase:working"]), a_task("x-2", parents=(X1,))

    assert list(said(begun_, child, runs={X1: (a_run(state="running"),)})) == ["x-1"]


@pytest.mark.parametrize(
    ("tree", "occupants", "way_out"),
    [
        ({"nested": "lib"}, {}, "git worktree remove --force"),
        ({}, {X1: worlds.Occupant(pid=7, command="vim")}, "process 7 (vim) has its working directory there"),
    ],
)
def test_prune_is_not_advised_for_a_worktree_that_it_keeps(tree: Any, occupants: Any, way_out: str) -> None:
    seen = {"worktrees": {X1: a_worktree(**tree)}, "occupants": occupants}

    [words] = said(a_task(), **seen).values()
    [orphan] = plan(worlds.wanted(THEIRS), worlds.seen(EPIC, a_task(status="closed"), **seen)).orphan_worktrees

    assert way_out in words and "reconcile prune" not in words
    assert way_out in text.orphan(orphan) and "reconcile prune" not in text.orphan(orphan)


def test_while_the_tracker_is_silent_no_task_is_called_uncovered() -> None:
    observed = worlds.seen(tasks=Unknown("locked"), runs={X1: (a_run(state="running"),)})

    assert plan(worlds.wanted(THEIRS), observed).unmanaged == frozenset()


def test_of_a_deleted_task_whose_agent_an_applied_manifest_runs_that_manifest_tells() -> None:
    observed = worlds.seen(EPIC, runs={X1: (a_run(state="running", manifest="theirs"),)})
    planned = plan(worlds.wanted(THEIRS), observed)

    assert planned.unmanaged == frozenset() and X1 in planned.epics[0].waiting
