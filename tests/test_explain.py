"""Every field of a manifest can be asked about, and the answer says what it means and how it is written."""

from __future__ import annotations

import json
import typing

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from reconciler.cli.explain import explain_command
from reconciler.manifest import schema
from reconciler.manifest.model import KINDS
from reconciler.model.errors import UsageError


def forms(annotation):
    """The models that a value may have the form of, or hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in forms(inner)]


def paths(model, above=""):
    """Every field of a model and of the models in it: read from pydantic, not from the schema that is under test."""
    for name, field in model.model_fields.items():
        path = f"{above}{field.alias or name}"
        yield path, field
        for inner in forms(field.annotation):
            yield from paths(inner, f"{path}.")


EVERY = [(f"{kind}.{path}", field) for kind, model in KINDS.items() for path, field in paths(model)]


@pytest.mark.parametrize(("path", "field"), EVERY, ids=[path for path, _ in EVERY])
def test_every_field_of_the_model_is_explained_with_a_meaning_and_an_example(path, field):
    kind, found = schema.look_up(path)

    assert f"{kind}.{found.path}" == path
    assert found.description == field.description and found.description.endswith(".")
    assert list(found.examples) == field.examples and found.examples
    assert found.type and found.allowed
    assert found.required == field.is_required()


def test_no_field_is_left_out_of_the_whole_tree():
    shown = {f"{kind}.{field.path}" for kind in KINDS for field in schema.every(schema.explain(kind=kind))}

    assert shown == {path for path, _ in EVERY}
    assert len(shown) > 80


@pytest.mark.parametrize(
    ("asked", "kind", "path"),
    [
        ("spec.agent.argv", "Epic", "spec.agent.argv"),
        ("Epic.spec.agent.argv", "Epic", "spec.agent.argv"),
        ("agentprofile.spec.argv", "AgentProfile", "spec.argv"),
        ("MERGEPOLICY", "MergePolicy", ""),
        ("spec.tasks[0].dependsOn[]", "Epic", "spec.tasks.dependsOn"),
        ("maxAgents", "Epic", "spec.maxAgents"),
        ("mergePolicy.comments", "Epic", "spec.mergePolicy.comments"),
        ("reviewBots", "Epic", "spec.mergePolicy.reviewBots"),
    ],
)
def test_a_path_may_begin_with_its_kind_in_any_case_or_at_what_stands_under_spec(asked, kind, path):
    found_kind, found = schema.look_up(asked)

    assert (found_kind, found.path) == (kind, path)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("spec.maxAgnets", "maxAgents"),
        ("maxagents", "spec.maxAgents"),
        ("agentprofle.spec", "AgentProfile"),
        ("AgentProfile.argv", "AgentProfile.spec.argv"),
        ("spec.checks", "spec.mergePolicy.checks"),
    ],
)
def test_a_path_that_leads_nowhere_is_answered_with_the_one_that_was_meant(asked, meant):
    with pytest.raises(UsageError, match="there is no field") as caught:
        schema.look_up(asked)

    assert caught.value.hint == f"did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("spec.maxAgents", "integer"),
        ("spec.suspend", "boolean"),
        ("spec.agent", "mapping or text"),
        ("spec.agent.argv", "list of text"),
        ("spec.agent.env", "mapping to text"),
        ("spec.mergePolicy.queue.scopes", "mapping to list of text"),
        ("spec.agent.timeout", "duration"),
        ("spec.agent.stuckAfter", "duration"),
        ("spec.mergePolicy.method", "squash|merge|rebase"),
        ("spec.tasks", "list of mapping"),
        ("kind", "Epic"),
    ],
)
def test_a_type_is_said_as_people_say_it(path, type_):
    assert schema.explain(path).type == type_


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("mergePolicy.reveiw", "mergePolicy.review"),
        ("agent.timeot", "agent.timeout"),
        ("spec.maxAgnets", "spec.maxAgents"),
        ("resons", "reasons"),
        ("Bloked", "Blocked"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_nearest_of_all_that_can_be_explained(asked, meant):
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(explain_command, [asked], standalone_mode=False, catch_exceptions=False)

    assert caught.value.hint == f"did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("asked", "key", "meant"),
    [
        ("SPEC.MAXAGENTS", "path", "spec.maxAgents"),
        ("agent.stuckafter", "path", "spec.agent.stuckAfter"),
        ("awaitingapproval", "reason", "AwaitingApproval"),
    ],
)
def test_case_makes_no_difference(monkeypatch, tmp_path, asked, key, meant):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(explain_command, [asked, "-o", "json"], standalone_mode=False, catch_exceptions=False)

    assert json.loads(ended.output)[key] == meant


def test_a_list_is_named_in_any_case(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(explain_command, ["Reasons", "-o", "json"], standalone_mode=False)

    assert len(json.loads(ended.output)) > 10


def test_a_reason_is_explained_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(explain_command, ["Backoff", "-o", "json"], standalone_mode=False)

    assert json.loads(ended.output)["meaning"] == "something failed, and is tried again later"
