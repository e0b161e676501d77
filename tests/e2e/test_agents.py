"""The other agents' real programs, talking to a scripted model: to landed work, and what their failures mean."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_places import SECRET, AgentPlace
from scripted import Fault, Script, ScriptedModel, Turn
from waiting import until

pytestmark = pytest.mark.slow

WORK = "echo done > work.txt && git add work.txt && git commit -qm 'Do it'"
SCRIPTS: dict[str, Script] = {
    "commit": (Turn(text="I look around.", shell=WORK), Turn(text="All is done.")),
    "edit": (Turn(text="I write it.\n\nwork.txt\n```\ndone\n```\n"),),  # aider's tools are words
    "slow": (Turn(shell="touch begun; sleep 600"), Turn(text="Never said.")),
    "no-model": (Turn(fault=Fault(status=404, type="not_found_error", message="The model x does not exist")),),
    # In each vendor's own words.
    "no-model-openai": (
        Turn(
            fault=Fault(
                status=404,
                type="invalid_request_error",
                message="The model `x` does not exist or you do not have access to it.",
                details={"code": "model_not_found"},
            )
        ),
    ),
    "no-model-google": (
        Turn(
            fault=Fault(
                status=404,
                type="NOT_FOUND",
                message="models/x is not found for API version v1beta, or is not supported for generateContent.",
            )
        ),
    ),
    "no-credit-openai": (
        Turn(
            fault=Fault(
                status=429,
                type="insufficient_quota",
                message="You exceeded your current quota, please check your plan and billing details.",
                details={"code": "insufficient_quota"},
            )
        ),
    ),
    "no-credit-google": (
        Turn(
            fault=Fault(
                status=429,
                type="RESOURCE_EXHAUSTED",
                message="Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
            )
        ),
    ),
    "no-credit-anthropic": (
        Turn(
            fault=Fault(
                status=400,
                type="invalid_request_error",
                message="Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade "
                "or purchase credits.",
            )
        ),
    ),
    "dead-key": (Turn(fault=Fault(status=401, type="authentication_error", message="invalid x-api-key")),),
}


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(SCRIPTS) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path, model: ScriptedModel, kind: str) -> Iterator[AgentPlace]:
    made = AgentPlace(tmp_path, model, kind)
    yield made
    made.reconcile("stop", "--all", code=None)


@pytest.mark.parametrize(
    ("kind", "script", "costs"),
    [
        ("codex", "commit", False),
        ("gemini", "commit", False),
        ("opencode", "commit", True),
        ("aider", "edit", True),
    ],
)
def test_what_it_commits_lands(place: AgentPlace, script: str, costs: bool) -> None:
    place.reconcile("apply", "-f", str(place.wants(script)), "--wait")

    assert place.subjects() == ["Do a", "Begin"]
    assert place.git("show", "main:work.txt") == "done\n"
    spend = place.task()["spend"]
    assert spend["tokens"] >= 1100
    assert (spend["usd"] > 0) is costs
    assert place.git("for-each-ref", "refs/reconcile/salvage") == ""  # it leaves nothing of its own in the worktree
    kept = b"".join(path.read_bytes() for path in place.root.glob(".git/reconcile/**/*") if path.is_file())
    assert SECRET.encode() not in kept


@pytest.mark.parametrize("kind", ["codex", "gemini", "opencode", "aider"])
def test_a_dead_key_uses_up_no_attempt(place: AgentPlace) -> None:
    quiet = {"backoff": {"initial": "1s", "max": "1h"}}
    place.reconcile("apply", "-f", str(place.wants("dead-key", agent=quiet)))
    assert place.ended()["fault"] == "unavailable"

    place.reconcile("apply", "-f", str(place.wants("dead-key", agent=quiet)))

    assert place.task()["waiting"]["reason"] == "AgentUnavailable"
    assert len(place.json("get", "runs")) == 1


@pytest.mark.parametrize(
    ("kind", "script", "fault", "advice"),
    [
        *((kind, "no-model", "model", "write another 'model'") for kind in ("codex", "gemini", "opencode", "aider")),
        ("codex", "no-model-openai", "model", "write another 'model'"),
        ("gemini", "no-model-google", "model", "write another 'model'"),
        ("codex", "no-credit-openai", "unpaid", "has no credit"),
        ("gemini", "no-credit-google", "unpaid", "has no credit"),
        ("opencode", "no-credit-anthropic", "unpaid", "has no credit"),
        ("aider", "no-credit-anthropic", "unpaid", "has no credit"),
    ],
)
def test_no_model_of_that_name_and_no_credit_use_up_no_attempt_and_say_what_to_do(
    place: AgentPlace, script: str, fault: str, advice: str
) -> None:
    once = {"maxAttempts": 1, "backoff": {"initial": "1s", "max": "1h"}}
    for _ in range(2):
        place.reconcile("apply", "-f", str(place.wants(script, agent=once)))
        assert place.ended()["fault"] == fault

    (epic,) = place.json("status")["epics"]
    degraded = {each["type"]: each for each in epic["conditions"]}["Degraded"]
    assert (degraded["reason"], place.task()["waiting"]["reason"]) == ("AgentUnavailable", "AgentUnavailable")
    assert advice in degraded["message"]
    (found,) = (each for each in place.json("doctor", code=None)["checks"] if each["name"] == "agents")
    assert advice in found["message"] + found["hint"] and "'reconcile retry" not in found["message"]
    assert len(place.json("get", "runs")) == 1


@pytest.mark.parametrize("kind", ["codex", "gemini", "opencode"])
def test_one_that_is_killed_goes_on_with_its_session_or_begins_anew(place: AgentPlace) -> None:
    place.reconcile("apply", "-f", str(place.wants("slow")))
    until(lambda: (place.root.parent / "worktrees" / place.id / "begun").exists())
    os.kill(place.told(1, "run")["child"]["pid"], signal.SIGKILL)
    session = place.ended()["session"]

    place.reconcile("apply", "-f", str(place.wants("commit")), "--wait")

    assert session
    assert any(session in part for part in place.told(2, "spec")["steps"][-1])
    assert place.subjects() == ["Do a", "Begin"]
