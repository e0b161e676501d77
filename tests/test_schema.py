"""What ships beside the program: schemas that follow the model, and profiles and policies that work."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reconciler.manifest import Located, load, schema, shipped
from reconciler.manifest.model import KINDS
from reconciler.model.agent_spec import AgentSpec, Override
from reconciler.model.desired import Budget, EpicSpec, InlineTask, MergePolicy, Prune, WorktreeSpec
from reconciler.model.errors import UsageError

ROOT = Path(__file__).parent.parent
REGENERATE = "python -m reconciler.manifest.schema"


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_that_ships_is_that_of_the_model(kind):
    path = ROOT / "manifests" / f"{kind.lower()}.schema.json"

    assert path.read_text("utf-8") == schema.text(kind), f"{path.name} is stale; run: {REGENERATE}"


def test_the_command_writes_every_schema(tmp_path):
    shutil.copytree(ROOT / "reconciler", tmp_path / "reconciler", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "manifests").mkdir()

    subprocess.run([sys.executable, *REGENERATE.split()[1:]], cwd=tmp_path, check=True)

    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "manifests").iterdir()}
    assert written == {f"{kind.lower()}.schema.json": schema.text(kind) for kind in KINDS}


def test_shipped_files_are_found_in_a_checkout_and_in_an_installed_package(tmp_path):
    package = tmp_path / "reconciler"
    shutil.copytree(ROOT / "reconciler", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "manifests", package / "shipped" / "manifests")
    (tmp_path / "manifests").mkdir()
    program = "from reconciler.manifest import shipped; import sys; sys.stdout.write(str(shipped()))"

    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert found.stdout == str(package / "shipped" / "manifests")
    assert shipped() == ROOT / "manifests"


def documents():
    return [d for file in sorted(shipped().glob("*.yaml")) for d in yaml.safe_load_all(file.read_text("utf-8"))]


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["metadata"]["name"])
def test_every_shipped_profile_and_policy_can_be_named_in_a_manifest(document, tmp_path):
    field = {"AgentProfile": "agent", "MergePolicy": "mergePolicy"}[document["kind"]]
    spec = {"agent": {"argv": ["a"]}, field: document["metadata"]["name"]}
    text = json.dumps({"apiVersion": "reconcile/v1", "kind": "Epic", "metadata": {"name": "x"}, "spec": spec})

    assert load(["-"], stdin=text, cwd=tmp_path, locate=lambda path: Located(main=path, default_base="main"))


def test_a_careful_policy_asks_a_person():
    (careful,) = [document for document in documents() if document["metadata"]["name"] == "careful"]

    assert careful["spec"]["review"] == "human"


# --- what is said about each field ---------------------------------------------------------------------------


def every(field):
    return [inner for each in field.fields for inner in (each, *every(each))]


FIELDS = [(kind, field) for kind in KINDS for field in every(schema.explain(kind=kind))]


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=lambda value: getattr(value, "path", value))
def test_every_field_has_a_meaning_an_example_and_a_default_or_is_required(kind, field):
    assert field.description.endswith(".")
    assert field.examples[0] is not None
    assert field.allowed
    assert (
        field.required
        or field.default is not None
        or "efault" in field.description
        or "Without it" in field.description
    )


def models(model):
    inner = [part for field in model.model_fields.values() for part in parts(field.annotation)]
    return {model, *(found for part in inner if hasattr(part, "model_fields") for found in models(part))}


def parts(annotation):
    return [annotation, *(part for inner in getattr(annotation, "__args__", ()) for part in parts(inner))]


EVERY_MODEL = sorted({model for kind in KINDS.values() for model in models(kind)}, key=lambda model: model.__name__)


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda model: model.__name__)
def test_every_example_is_one_that_is_taken(model):
    assert len(EVERY_MODEL) > 10
    for name, field in model.model_fields.items():
        for example in field.examples:
            assert taken(model, field.alias, example), f"{model.__name__}.{name}: {example!r}"


def taken(model, alias, example):
    """True when the field itself has nothing against the value; what else is missing does not matter."""
    try:
        model.model_validate({alias: example})
    except ValueError as error:
        return not [said for said in error.errors() if said["loc"][:1] == (alias,)]
    return True


def test_a_field_is_explained_by_its_path():
    found = schema.explain("spec.tasks[0].key")

    assert (found.path, found.required, found.examples[0]) == ("spec.tasks.key", True, "parser")
    assert [field.path for field in schema.explain("spec.prune").fields] == [
        "spec.prune.worktrees",
        "spec.prune.branches",
        "spec.prune.orphans",
    ]
    assert schema.explain("spec.agent.backoff.max").default == "10m"


def test_a_field_that_is_not_there_is_answered_with_the_near_one():
    with pytest.raises(UsageError, match="no field 'maxAgnets' in spec; known: epic, tasks") as caught:
        schema.explain("spec.maxAgnets")

    assert caught.value.hint == "did you mean 'maxAgents'?"


def test_null_is_in_no_schema_because_it_is_no_value():
    assert '"null"' not in "".join(schema.text(kind) for kind in KINDS)


def test_every_field_of_a_manifest_is_read_by_something_that_acts_on_it() -> None:
    """A field that is only read in and written out again is a promise that nobody keeps."""
    package = ROOT / "reconciler"
    acting = [file for file in sorted(package.rglob("*.py")) if "manifest" not in file.relative_to(package).parts]
    read = {
        node.attr
        for file in acting
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
    }
    said = (EpicSpec, AgentSpec, WorktreeSpec, MergePolicy, Budget, Prune, Override, InlineTask)

    assert {f"{each.__name__}.{name}" for each in said for name in each.__struct_fields__ if name not in read} == set()
