"""A kind of agent is a row and a module, and one that is half done is told by name what it lacks."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from outside import PROGRAMS

from reconciler.cli.explain import explain_command
from reconciler.manifest import agent_fields
from reconciler.model.agent_kinds import AgentKind, KindRow, Login
from reconciler.model.ports import Agent
from reconciler.render import agents

KINDS = list(AgentKind)
PROGRAM_KINDS = [kind for kind in KINDS if kind is not AgentKind.COMMAND]
PROFILES = Path(__file__).parent.parent / "manifests" / "profiles.yaml"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_module_of_its_name(kind: AgentKind) -> None:
    agent = importlib.import_module(f"reconciler.agents.{kind}").agent
    promised = [name for name in vars(Agent) if not name.startswith("_")]
    lacking = ", ".join(name for name in promised if not hasattr(agent, name))
    assert not lacking, f"reconciler/agents/{kind}.py has no {lacking}"
    for name in promised:
        if callable(method := getattr(Agent, name)):
            _, *wanted = inspect.signature(method).parameters
            assert list(inspect.signature(getattr(agent, name)).parameters) == wanted, f"{kind}: {name}"
    assert agent.program == (None if kind is AgentKind.COMMAND else kind)


@pytest.mark.parametrize("kind", PROGRAM_KINDS)
def test_a_kind_that_is_a_program_has_a_login_a_profile_and_a_real_program_to_be_tried_with(kind: AgentKind) -> None:
    assert isinstance(kind.row.login, Login) and kind.row.keys, f"{kind} has no login in its row"
    profiles = {each["metadata"]["name"]: each["spec"]["kind"] for each in yaml.safe_load_all(PROFILES.read_text())}
    assert profiles.get(kind) == kind, f"manifests/profiles.yaml has no profile {kind}"
    assert kind in PROGRAMS, f"tests/outside.py does not know {kind}"
    described = agent_fields.AgentFields.model_fields["kind"].description or ""
    assert kind in described or kind in agents_named_by_the_schema(), f"{kind} is not in the schema"


def agents_named_by_the_schema() -> str:
    return (PROFILES.parent / "epic.schema.json").read_text()


def test_a_row_has_no_defaults() -> None:
    for kind in (KindRow, Login):
        with pytest.raises(TypeError, match="Missing required argument"):
            kind()  # type: ignore[call-arg]


def test_explain_shows_what_each_kind_reports() -> None:
    shown = CliRunner().invoke(explain_command, ["agents"]).output
    assert [line.split()[0] for line in shown.splitlines()] == ["kind", *KINDS]
    assert agents.document()[1]["kind"] == "claude" and agents.document()[1]["reportsCost"] is True
