"""What a field allows, in words: from its JSON Schema, so that messages and `explain` follow from the model."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

PATTERNS = {
    "name": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "key": r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$",
    "id": r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$",
    "line": r"^[^\s\t\n]([^\t\n]*[^\s\t\n])?$",
    "command": r"\S",
    "model": r"^[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]*$",
    "variable": r"^[A-Za-z_][A-Za-z0-9_]*$",
    "span": r"^[1-9][0-9]{0,6}[smh]$",
    "span or zero": r"^(0|[1-9][0-9]{0,6})[smh]$",
}
_WORDS = {
    "name": "a name of a-z, 0-9 and dashes, not at an end, at most 63 characters",
    "key": "a-z, 0-9 and dashes, not at an end, at most 40 characters",
    "id": "a task's id: letters, digits and . _ -, at most 100 characters",
    "line": "one line of text",
    "command": "text that is not empty",
    "model": "the name of a model: letters, digits and . _ : / @ [ ] -",
    "variable": "the name of a variable: letters, digits and _",
    "span": "a duration such as 90s, 15m or 2h",
    "span or zero": "a duration such as 0s, 90s, 15m or 2h",
}
_MEANING = {pattern: _WORDS[name] for name, pattern in PATTERNS.items()}


def node_at(schema: Schema, path: tuple[str | int, ...]) -> Schema | None:
    """The schema of the field at `path`, `$ref`s followed; None where there is no such field."""
    node: Schema | None = resolved(schema, schema)
    for part in path:
        if node is None:
            return None
        node = _child(schema, node, part)
    return node


def resolved(schema: Schema, node: Schema) -> Schema:
    """A node with its reference followed; what is said beside the reference stays."""
    if "$ref" not in node:
        return node
    target: Schema = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return {**resolved(schema, target), **{key: value for key, value in node.items() if key != "$ref"}}


def alternatives(schema: Schema, node: Schema) -> list[Schema]:
    """The forms that a value may have."""
    return [resolved(schema, form) for form in node.get("oneOf", [node])]


def allowed(schema: Schema, node: Schema) -> str:
    """What a value may be, in words.

    >>> allowed({}, {"type": "integer", "minimum": 0, "maximum": 4}), allowed({}, {"enum": ["auto", "manual"]})
    ('a whole number from 0 to 4', 'auto, manual')
    """
    return ", or ".join(_allowed(schema, form) for form in alternatives(schema, node))


def _allowed(schema: Schema, node: Schema) -> str:
    match node:
        case {"const": value}:
            return str(value)
        case {"enum": values}:
            return ", ".join(map(str, values))
        case {"type": "integer", "minimum": low, "maximum": high}:
            return f"a whole number from {low} to {high}"
        case {"type": "integer", "minimum": low}:
            return f"a whole number, at least {low}"
        case {"type": "number", "exclusiveMinimum": low, "maximum": high}:
            return f"a number above {low}, at most {high}"
        case {"type": "number", "minimum": low}:
            return f"a number, at least {low}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "array", "items": items}:
            words = allowed(schema, resolved(schema, items))
            return f"a list of at least {node['minItems']} of: {words}" if "minItems" in node else f"a list of: {words}"
        case {"type": "object", "properties": fields}:
            return f"a mapping with {', '.join(fields)}"
        case {"type": "object"}:
            return "a mapping of names to text"
        case {"pattern": pattern, "maxLength": most}:
            return f"{_MEANING[pattern]}, at most {most} characters"
        case {"pattern": pattern}:
            return _MEANING[pattern]
        case _:
            return "text"


def _child(schema: Schema, node: Schema, part: str | int) -> Schema | None:
    for form in alternatives(schema, node):
        match form:
            case {"properties": fields} if part in fields:
                return resolved(schema, fields[part])
            case {"items": items} if isinstance(part, int):
                return resolved(schema, items)
            case {"additionalProperties": dict(values)}:
                return resolved(schema, values)
            case {"patternProperties": dict(values)}:
                return resolved(schema, next(iter(values.values())))
    return None
