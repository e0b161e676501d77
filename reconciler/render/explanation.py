"""The manifest's fields for people: one with all there is to know about it, or all of them in brief.

Made from the document that `explain -o json` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.render.safe import block
from reconciler.render.table import Row, Rows, facts

Field = dict[str, Any]

STEP = "  "
DEFAULT_MAX = 24


def field(kind: str, document: Field) -> RenderableType:
    """Everything about one field, and in brief what is inside it."""
    return Group(*_heading(kind, document), *_facts(document), *_inside(document, deep=not document["path"]))


def tree(kinds: Sequence[Field]) -> RenderableType:
    """Every field of every kind, in brief."""
    found = (part for kind in kinds for part in (*_heading(kind["kind"], kind), *_inside(kind, deep=True), Text()))
    return Group(*found, Text("'reconcile explain FIELD.PATH' says more, as in 'reconcile explain spec.agent.timeout'"))


def _heading(kind: str, document: Field) -> Iterator[RenderableType]:
    name = f"{kind}.{document['path']}" if document["path"] else kind
    required = "  required" if document["required"] and document["path"] else ""
    yield Text.assemble((name, "bold"), f"  {document['type']}" if document["path"] else "", (required, "yellow"))
    yield facts([("", document["description"])])


def _facts(document: Field) -> Iterator[RenderableType]:
    if not document["path"]:
        return
    known = {"allowed": document["allowed"], "default": _value(document["default"])}
    yield Text()
    yield facts((name, found) for name, found in known.items() if found)
    yield Text("\nExamples" if len(document["examples"]) > 1 else "\nExample", "bold")
    name = document["path"].rpartition(".")[2]
    yield facts(("", f"{name}: {_value(example)}") for example in document["examples"])
    if not document["fields"] and document.get("recorded"):
        yield Text("\nApplied here", "bold")
        yield facts(((name, block(_value(value))) for name, value in document["recorded"].items()), "cyan")


def _inside(document: Field, *, deep: bool) -> Iterator[RenderableType]:
    if document["fields"]:
        yield Text("\nFields", "bold")
        yield Rows(rows=list(_rows(document["fields"], 0, deep=deep)), yields=1, note_least=30)


def _rows(fields: Sequence[Field], depth: int, *, deep: bool) -> Iterator[Row]:
    for each in fields:
        name = Text(STEP * depth + each["path"].rpartition(".")[2], "cyan")
        brief = each["description"].partition(". ")[0].rstrip(".")
        yield Row(cells=(name, Text(each["type"]), Text(_brief(each), "dim")), note=Text(brief))
        yield from _rows(each["fields"] if deep else (), depth + 1, deep=deep)


def _brief(document: Field) -> str:
    if document["required"]:
        return "required"
    if document["fields"]:
        return ""  # what is inside says it
    value = _value(document["default"])
    return value if len(value) <= DEFAULT_MAX else f"{value[: DEFAULT_MAX - 1]}…"


def _value(value: Any) -> str:
    """A value on one line, as YAML has it; empty where there is none."""
    if value is None:
        return ""
    found = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return block(found.removesuffix("\n...\n").rstrip())
