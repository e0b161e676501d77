"""Makes `schema.graphql` from the schema that GitHub publishes: what `fields.txt` names, and nothing of our own.

    npm pack @octokit/graphql-schema@15.26.1 && tar -xzf octokit-graphql-schema-15.26.1.tgz
    python tests/github/prune.py package/schema.graphql 15.26.1

To answer one more field, name it in `fields.txt`, run this, and give it to its class in `views.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from graphql import language as ast

HERE = Path(__file__).resolve().parent
LICENCE = """\
# A part of GitHub's public GraphQL schema, as @octokit/graphql-schema {version} publishes it: what `fields.txt` names.
# Copyright (c) GitHub 2025, MIT licence. Made by `prune.py`; not edited by hand.
# `assignedActors` and what it needs are not published, yet gh asks for them: `prune.py` adds them.

"""
# `gh pr edit` asks for these; the published schema lacks them.
UNPUBLISHED = """
extend type PullRequest { assignedActors(after: String, first: Int): AssigneeConnection! }
type AssigneeConnection { nodes: [Assignee] pageInfo: PageInfo! totalCount: Int! }
"""

Wanted = dict[str, set[str]]
Definition = ast.TypeDefinitionNode
HasFields = ast.ObjectTypeDefinitionNode | ast.InterfaceTypeDefinitionNode
_Named = TypeVar("_Named", ast.NamedTypeNode, ast.FieldDefinitionNode)


def wanted_fields(text: str) -> Wanted:
    """`Type: field field`, continued on indented lines."""
    wanted: Wanted = {}
    name = ""
    for line in (line for line in text.splitlines() if line.strip() and not line.startswith("#")):
        if not line.startswith(" "):
            name, _, line = line.partition(":")
        wanted.setdefault(name, set()).update(line.split())
    return wanted


def prune(schema: str, wanted: Wanted) -> ast.DocumentNode:
    """The definitions that are wanted, with the enums, inputs and scalars that they need. Raises KeyError for a field
    or type that is not published."""
    published = _definitions(schema)
    kept: dict[str, Definition] = {}
    todo = list(wanted)
    while todo:
        name = todo.pop()
        if name in kept or name in ("Int", "Float", "String", "Boolean", "ID"):
            continue
        kept[name] = _cut(published[name], wanted)
        todo += sorted(set(_mentioned(kept[name])))
    return ast.DocumentNode(definitions=tuple(_bare(kept[name]) for name in sorted(kept)))


def _definitions(schema: str) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    extended: list[ast.ObjectTypeExtensionNode] = []
    for node in ast.parse(schema + UNPUBLISHED, no_location=True).definitions:
        if isinstance(node, ast.TypeDefinitionNode):
            found[node.name.value] = node
        elif isinstance(node, ast.ObjectTypeExtensionNode):
            extended.append(node)
    for node in extended:
        whole = found[node.name.value]
        assert isinstance(whole, ast.ObjectTypeDefinitionNode)
        found[node.name.value] = replace(whole, fields=(*(whole.fields or ()), *(node.fields or ())))
    return found


def _cut(node: Definition, wanted: Wanted) -> Definition:
    if isinstance(node, ast.UnionTypeDefinitionNode):
        return replace(node, types=_named(node.types or (), set(wanted)))
    if not isinstance(node, HasFields):
        return node
    names = wanted.get(node.name.value)
    if names is None:
        raise KeyError(f"{node.name.value} is needed, but fields.txt does not name it")
    fields = _named(node.fields or (), names)
    if missing := names - {field.name.value for field in fields}:
        raise KeyError(f"{node.name.value} has no {', '.join(sorted(missing))}")
    return replace(node, fields=fields, interfaces=_named(node.interfaces or (), set(wanted)))


def _named(nodes: Iterable[_Named], names: set[str]) -> tuple[_Named, ...]:
    return tuple(node for node in nodes if node.name.value in names)


def _mentioned(node: Definition) -> Iterator[str]:
    """The types that a definition needs to be there: of fields and arguments, and the members of a union."""
    if isinstance(node, ast.UnionTypeDefinitionNode):
        yield from (member.name.value for member in node.types or ())
    elif isinstance(node, ast.InputObjectTypeDefinitionNode):
        yield from (_type_name(field.type) for field in node.fields or ())
    elif isinstance(node, HasFields):
        for field in node.fields or ():
            yield _type_name(field.type)
            yield from (_type_name(argument.type) for argument in field.arguments or ())


def _type_name(node: ast.TypeNode) -> str:
    while not isinstance(node, ast.NamedTypeNode):
        assert isinstance(node, ast.ListTypeNode | ast.NonNullTypeNode)
        node = node.type
    return node.name.value


def _bare(node: Any) -> Any:
    """The same without descriptions and directives."""
    if isinstance(node, tuple):
        return tuple(_bare(each) for each in node)
    if not isinstance(node, ast.Node):
        return node
    parts = {name: _bare(getattr(node, name)) for name in node.keys}
    for name, nothing in (("description", None), ("directives", ())):
        if name in parts:
            parts[name] = nothing
    return replace(node, **parts)


def main(source: str, version: str) -> None:
    """Write `schema.graphql`."""
    pruned = prune(Path(source).read_text(), wanted_fields((HERE / "fields.txt").read_text()))
    (HERE / "schema.graphql").write_text(LICENCE.format(version=version) + ast.print_ast(pruned) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
