"""What is said of a pause of all agents: who can't work, why, and what a person can do about it."""

from __future__ import annotations

from typing import Any

import pytest
import worlds

from reconciler.model.agent_kinds import AgentKind
from reconciler.model.report import Fault, Report
from reconciler.planning.agent_gate import agent_gate

KNOWN = [kind for kind in AgentKind if kind is not AgentKind.COMMAND]


def held(kind: AgentKind = AgentKind.CLAUDE, fault: Fault | None = None, said: str = "it said no", **run: Any) -> str:
    """What is said where the only run of a manifest ended a moment ago."""
    told = Report(fault=fault, message=said) if fault else None
    ended = worlds.a_run("x-7", agent=kind, report=told, exit={"code": 1, "at": worlds.ago(1), **run})
    spec = worlds.an_epic(agent={"kind": kind})
    hold = agent_gate(spec, worlds.seen(worlds.a_task("x-7"), runs={"x-7": (ended,)}))
    assert hold is not None
    return hold[1]


@pytest.mark.parametrize("kind", KNOWN)
def test_of_an_agent_that_is_not_logged_in_it_is_said_which_and_how_it_is(kind: AgentKind) -> None:
    message = held(kind, Fault.UNAVAILABLE)

    assert message.startswith(f"{kind} can't work: it said no; ")
    assert kind.row.login and kind.row.login.advice in message


@pytest.mark.parametrize(
    "how",
    [{"fault": Fault.UNAVAILABLE}, {"fault": Fault.NETWORK}, {"fault": Fault.USAGE_LIMIT}, {"cause": "unavailable"}],
)
def test_what_ends_a_pause_is_said_with_the_task_it_is_to_be_said_of(how: dict[str, Any]) -> None:
    message = held(**how)

    assert "'reconcile retry x-7'" in message
    assert "claude" in message


def test_what_an_agent_said_as_a_sentence_is_followed_by_what_to_do_in_the_same_one() -> None:
    message = held(fault=Fault.MODEL, said="The model opuss does not exist.")

    assert ": The model opuss does not exist; write another 'model' in the manifest and apply it, or " in message
