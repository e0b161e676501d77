"""Every story is also a test of what a loop keeps: the plan that it did not make anew is the one that it would make."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from reconciler.loop import loop
from reconciler.loop.loop import _Decided
from reconciler.model.desired import Desired
from reconciler.model.observed import Observed
from reconciler.planning.actions import Decision
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.planning.recall import Recall


@pytest.fixture(autouse=True)
def kept_plans_are_those_that_would_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    holds = _Decided.holds

    def checked(self: _Decided, desired: Desired, observed: Observed) -> bool:
        held = holds(self, desired, observed)
        assert not held or _said(plan(desired, observed)) == _said(self.plan)
        return held

    monkeypatch.setattr(_Decided, "holds", checked)


@pytest.fixture(autouse=True)
def what_is_recalled_is_what_would_be_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    def checked(desired: Desired, observed: Observed, recall: Recall[Decision] | None = None) -> Plan:
        decided = plan(desired, observed, recall)
        assert _said(plan(desired, observed)) == _said(decided)
        return decided

    monkeypatch.setattr(loop, "plan", checked)


def _said(decided: Plan) -> list[Mapping[str, object]]:
    return [
        {
            "actions": [(type(action).__name__, action.task, action.reason) for action in epic.actions],
            # After a clock was set back, a timer from before it counts from the look, whenever that is.
            "waiting": {task: (word.reason, word.until is None) for task, word in epic.waiting.items()},
            "held": epic.held,
            "unknown": epic.unknown,
        }
        for epic in decided.epics
    ]
