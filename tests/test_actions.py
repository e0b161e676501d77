"""What every action has to say of itself."""

from __future__ import annotations

import pytest

from reconciler.planning import actions
from reconciler.planning.actions import Action

EVERY = sorted(
    (kind for name in actions.__all__ if isinstance(kind := getattr(actions, name), type) and issubclass(kind, Action)),
    key=lambda kind: kind.__name__,
)
BY_MERGE = {
    "ClearStaging",
    "CloseEpic",
    "ClosePullRequest",
    "CloseTask",
    "DeleteBranch",
    "Enqueue",
    "FollowBase",
    "FollowBranch",
    "Land",
    "OpenPullRequest",
    "StartReview",
    "PostReview",
    "WithdrawReview",
    "PushBase",
    "RemoveWorktree",
    "RerunChecks",
    "SetPhase",
    "StageChecks",
    "StartCheck",
    "UpdateBranch",
    "Unstack",
}


def test_merge_starts_no_agent_and_hands_nothing_to_a_person():
    assert {kind.__name__ for kind in EVERY if kind is not Action and kind.by_merge} == BY_MERGE


def test_an_action_that_does_not_say_whether_merge_does_it_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^HalfDone does not say whether 'reconcile merge' does it"):
        type("HalfDone", (Action,), {})
