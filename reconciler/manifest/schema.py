"""The JSON Schema of each kind, and what it says about one field.

Run as a program it writes the schemas into `manifests/`: python -m reconciler.manifest.schema
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from reconciler.manifest.findings import did_you_mean, shown
from reconciler.manifest.model import KINDS
from reconciler.manifest.shipped import shipped
from reconciler.manifest.wording import PATTERNS, Schema, allowed, alternatives, resolved, values_of
from reconciler.model.errors import UsageError

DURATIONS = (PATTERNS["span"], PATTERNS["span or zero"])


class Field(Struct, frozen=True, kw_only=True):
    """What there is to know about one field. `default` is None where there is none; `fields` are those inside it."""

    path: str
    type: str
    description: str
    allowed: str
    required: bool
    default: Any
    examples: tuple[Any, ...]
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
    ('an integer from 0 to 1000', True)
    """
    found = _root(kind)
    for part in re.findall(r"[^.\[\]]+", re.sub(r"\[\d*\]", "", path)):
        inside = {field.path.rpartition(".")[2]: field for field in found.fields}
        if part not in inside:
            known = ", ".join(inside) or "no fields"
            raise UsageError(
                f"there is no field {shown(part)} in {found.path or kind}; known: {known}",
                hint=did_you_mean(part, inside) or _elsewhere(part, kind),
            )
        found = inside[part]
    return found


def look_up(path: str) -> tuple[str, Field]:
    """The kind that a path begins with (an Epic where it names none), and the field that it names. Raises UsageError.

    >>> [(kind, field.path) for kind, field in map(look_up, ("spec.agent.argv", "agentprofile.spec.argv", "MergePolicy"))]
    [('Epic', 'spec.agent.argv'), ('AgentProfile', 'spec.argv'), ('MergePolicy', '')]
    >>> [look_up(path)[1].path for path in ("mergePolicy.comments", "maxAgents", "reviewBots")]
    ['spec.mergePolicy.comments', 'spec.maxAgents', 'spec.mergePolicy.reviewBots']
    """
    first, _, rest = path.partition(".")
    kind = next((kind for kind in KINDS if kind.lower() == first.lower()), None)
    try:
        return (kind, explain(rest, kind)) if kind else ("Epic", explain(path))
    except UsageError:
        # As it stands in a manifest, without what every path begins with; or the last word of one that is like no other.
        meant = {each.path for each in every(explain()) if each.path.endswith(f".{path}")}
        exact = {f"spec.{path}"} & meant or meant
        if len(exact) != 1:
            raise
        return "Epic", explain(exact.pop())


def every(field: Field) -> Iterator[Field]:
    """The fields inside a field, and those inside them, each before its own."""
    for inner in field.fields:
        yield inner
        yield from every(inner)


def write(folder: Path) -> None:
    """Write the schema of every kind into a folder."""
    for kind in KINDS:
        (folder / f"{kind.lower()}.schema.json").write_text(text(kind), "utf-8")


def text(kind: str) -> str:
    """The file that holds the schema of a kind."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


@functools.cache
def _root(kind: str) -> Field:
    return _tree(schema(kind), resolved(schema(kind), schema(kind)), "", required=True)


def _tree(whole: Schema, node: Schema, path: str, *, required: bool) -> Field:
    form = _mapping(whole, node)
    return Field(
        path=path,
        type=_type(whole, node),
        description=node.get("description", ""),
        allowed=allowed(whole, node),
        required=required,
        default=node.get("default"),
        examples=tuple(node.get("examples", ())),
        fields=tuple(
            _tree(
                whole, resolved(whole, inner), f"{path}.{name}".lstrip("."), required=name in form.get("required", [])
            )
            for name, inner in form.get("properties", {}).items()
        ),
    )


def _elsewhere(part: str, kind: str) -> str | None:
    """The hint for a field that there is, but in another place, or in another kind."""
    for name in sorted(KINDS, key=lambda name: name != kind):
        for field in every(explain(kind=name)):
            if field.path.rpartition(".")[2].lower() == part.lower():
                return f"did you mean '{field.path if name == 'Epic' else f'{name}.{field.path}'}'?"
    return did_you_mean(part, KINDS)


def _type(whole: Schema, node: Schema) -> str:
    return " or ".join(dict.fromkeys(_form(whole, form) for form in alternatives(whole, node)))


def _form(whole: Schema, node: Schema) -> str:
    match node:
        case {"const": value}:
            return str(value)
        case {"enum": values}:
            return "|".join(map(str, values))
        case {"type": "array", "items": items}:
            return f"list of {_type(whole, resolved(whole, items))}"
        case {"type": "object", "properties": _}:
            return "mapping"
        case {"type": "object"}:
            return f"mapping to {_form(whole, values_of(node))}"
        case {"type": "integer" | "number" | "boolean" as word}:
            return str(word)
        case {"pattern": pattern} if pattern in DURATIONS:
            return "duration"
        case _:
            return "text"


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
