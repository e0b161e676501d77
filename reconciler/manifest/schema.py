"""The JSON Schema of each kind, and what it says about one field.

Run as a program it writes the schemas into `manifests/`: python -m reconciler.manifest.schema
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from reconciler.errors import UsageError
from reconciler.manifest.findings import did_you_mean
from reconciler.manifest.model import KINDS
from reconciler.manifest.shipped import shipped
from reconciler.manifest.wording import Schema, allowed, alternatives, resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What there is to know about one field. `default` is None where there is none; `fields` are those inside it."""

    path: str
    description: str
    allowed: str
    required: bool
    default: Any
    example: Any
    fields: tuple[Field, ...] = ()


class _Generator(GenerateJsonSchema):
    """Leaves out what YAML can't say here: null is refused, and titles that only repeat a name tell nobody anything."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@functools.cache
def schema(kind: str) -> Schema:
    """The JSON Schema of one kind. Raises UsageError for a kind that there is not."""
    if kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}; known: {', '.join(KINDS)}", hint=did_you_mean(kind, KINDS))
    made = KINDS[kind].model_json_schema(schema_generator=_Generator)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def explain(path: str = "", kind: str = "Epic") -> Field:
    """One field with those inside it: `spec.agent.backoff`; items of a list need no index. Raises UsageError.

    >>> explain("spec.maxAgents").allowed, explain("spec.tasks.key").required
    ('a whole number from 0 to 1000', True)
    """
    found = _tree(schema(kind), resolved(schema(kind), schema(kind)), "", required=True)
    for part in re.findall(r"[^.\[\]]+", re.sub(r"\[\d*\]", "", path)):
        inside = {field.path.rpartition(".")[2]: field for field in found.fields}
        if part not in inside:
            known = ", ".join(inside) or "no fields"
            raise UsageError(
                f"there is no field {part!r} in {found.path or kind}; known: {known}", hint=did_you_mean(part, inside)
            )
        found = inside[part]
    return found


def write(folder: Path) -> None:
    """Write the schema of every kind into a folder."""
    for kind in KINDS:
        (folder / f"{kind.lower()}.schema.json").write_text(text(kind), "utf-8")


def text(kind: str) -> str:
    """The file that holds the schema of a kind."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def _tree(whole: Schema, node: Schema, path: str, *, required: bool) -> Field:
    form = _mapping(whole, node)
    return Field(
        path=path,
        description=node.get("description", ""),
        allowed=allowed(whole, node),
        required=required,
        default=node.get("default"),
        example=next(iter(node.get("examples", [])), None),
        fields=tuple(
            _tree(
                whole, resolved(whole, inner), f"{path}.{name}".lstrip("."), required=name in form.get("required", [])
            )
            for name, inner in form.get("properties", {}).items()
        ),
    )


def _mapping(whole: Schema, node: Schema) -> Schema:
    """The form of a value that holds fields: itself, one of its alternatives, or the items of a list."""
    for form in alternatives(whole, node):
        if "properties" in form:
            return form
        if "items" in form:
            return _mapping(whole, resolved(whole, form["items"]))
    return {}


if __name__ == "__main__":
    write(shipped())
