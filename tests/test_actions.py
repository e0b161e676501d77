"""What every action has to say of itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

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


def written() -> Iterator[type[Action]]:
    """Every action that a file of the folder holds, whoever knows of it."""
    for module in pkgutil.iter_modules(actions.__path__):
        for kind in vars(importlib.import_module(f"{actions.__name__}.{module.name}")).values():
            if isinstance(kind, type) and issubclass(kind, Action) and kind.__module__.endswith(f".{module.name}"):
                yield kind


def test_an_action_that_is_written_is_listed_and_somebody_decides_on_it() -> None:
    tables = (*actions.LIFECYCLE, *actions.AFTERLIFE)
    folder = Path(actions.__path__[0])
    for kind in filter(lambda kind: kind is not Action, written()):
        assert kind in EVERY, f"{kind.__name__} is not in the list of names of reconciler.planning.actions"
        own = folder / f"{kind.__module__.rpartition('.')[2]}.py"
        others = [path for path in folder.parent.glob("**/*.py") if path not in (own, folder / "__init__.py")]
        known = getattr(kind, "due", None) in tables or any(kind.__name__ in path.read_text() for path in others)
        assert known, f"{kind.__name__} has no line in LIFECYCLE, AFTERLIFE or a table of reconciler.planning.epic_wide"


def test_merge_starts_no_agent_and_hands_nothing_to_a_person():
    assert {kind.__name__ for kind in EVERY if kind is not Action and kind.by_merge} == BY_MERGE


def test_an_action_that_does_not_say_whether_merge_does_it_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^HalfDone does not say whether 'reconcile merge' does it"):
        type("HalfDone", (Action,), {})
