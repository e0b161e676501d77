"""What a field allows, in words: from its JSON Schema, so that messages and `explain` follow from the model."""

from __future__ import annotations

from collections.abc import Sequence
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
    "url": r"^(?:[A-Za-z][A-Za-z0-9+.-]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})(?::/\S*)?$",
    "size": r"^(auto|(0|[1-9][0-9]{0,5})[KMGT])$",
    "hours": r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$",
    "span": r"^[1-9][0-9]{0,6}[smh]$",
    "span or zero": r"^(0|[1-9][0-9]{0,6})[smh]$",
}
_DNS = "(lowercase letters, digits and '-', with a letter or digit at both ends, at most {} characters)"
# One of them, and a list of them.
_WORDS = {
    "name": (f"a name {_DNS.format(63)}", f"names {_DNS.format(63)}"),
    "key": (f"a key {_DNS.format(40)}", f"keys {_DNS.format(40)}"),
    "id": ("a task id (letters, digits and . _ -, at most 100 characters)", "task keys or ids"),
    "line": ("one line of text", "one-line strings"),
    "command": ("a non-empty string", "non-empty strings"),
    "model": ("a model name (letters, digits and . _ : / @ [ ] -)", "model names"),
    "variable": ("a variable name (letters, digits and '_')", "variable names"),
    "url": ("a URL that apprise knows, such as ntfy://topic or ${MY_URL}", "URLs"),
    "size": ("a size such as 512M or 2G, or auto", "sizes"),
    "hours": ("hours such as 22:00-07:00", "hours"),
    "span": ("a duration such as 90s, 15m or 2h", "durations"),
    "span or zero": ("a duration such as 0s, 90s, 15m or 2h", "durations"),
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
    """A node with its reference followed; what stands beside the reference is kept."""
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
    ('an integer from 0 to 4', 'auto or manual')
    """
    return ", or ".join(_allowed(schema, form) for form in alternatives(schema, node))


def _allowed(schema: Schema, node: Schema) -> str:
    match node:
        case {"const": value}:
            return str(value)
        case {"enum": values}:
            return either(list(map(str, values)))
        case {"type": "integer", "minimum": low, "maximum": high}:
            return f"an integer from {low} to {high}"
        case {"type": "integer", "minimum": low}:
            return f"an integer of at least {low}"
        case {"type": "number", "exclusiveMinimum": low, "maximum": high}:
            return f"a number above {low} and at most {high}"
        case {"type": "number", "exclusiveMinimum": low}:
            return f"a number above {low}"
        case {"type": "number", "minimum": low}:
            return f"a number of at least {low}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "array", "items": items}:
            least = f"at least {node['minItems']} " if "minItems" in node else ""
            return f"a list of {least}{_several(schema, resolved(schema, items))}"
        case {"type": "object", "properties": fields}:
            return f"a mapping with {', '.join(fields)}"
        case {"type": "object"}:
            lists = "lists of " * (values_of(node).get("type") == "array")
            return f"a mapping of names to {lists}strings"
        case {"pattern": pattern, "maxLength": most}:
            return f"{_MEANING[pattern][0]} of at most {most} characters"
        case {"pattern": pattern}:
            return _MEANING[pattern][0]
        case _:
            return "a string"


def _several(schema: Schema, node: Schema) -> str:
    match node:
        case {"pattern": pattern}:
            return _MEANING[pattern][1]
        case {"oneOf": _} | {"type": "object"}:
            return f"items that are each {allowed(schema, node)}"
        case _:
            return "strings"


def either(words: Sequence[str]) -> str:
    """Words of which one is meant.

    >>> either(["a"]), either(["a", "b", "c"])
    ('a', 'a, b or c')
    """
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


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


def values_of(node: Schema) -> Schema:
    """What a mapping by names leads to."""
    (found,) = node.get("patternProperties", {"": {}}).values()
    return dict(found)
