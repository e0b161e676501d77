"""What a query costs by GitHub's published rule: the requests behind its connections, in hundreds, at least one point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
)
from graphql.utilities import value_from_ast_untyped

NODE_LIMIT = 500_000


@dataclass
class Meter:
    """Walks one operation; `requests` and `nodes` add up on the way."""

    schema: GraphQLSchema
    fragments: dict[str, FragmentDefinitionNode]
    variables: dict[str, Any]
    requests: int = 0
    nodes: int = 0

    def walk(self, selection: SelectionSetNode | None, parent: Any, times: int, path: tuple[str, ...]) -> None:
        """Count what is selected below a field that is answered `times` times. Raises GraphQLError beyond a limit."""
        for node in selection.selections if selection else ():
            if isinstance(node, FragmentSpreadNode):
                fragment = self.fragments[node.name.value]
                self.walk(fragment.selection_set, self.schema.type_map[fragment.type_condition.name.value], times, path)
            elif isinstance(node, InlineFragmentNode):
                on = self.schema.type_map[node.type_condition.name.value] if node.type_condition else parent
                self.walk(node.selection_set, on, times, path)
            elif isinstance(node, FieldNode):
                self._field(node, parent, times, (*path, (node.alias or node.name).value))

    def _field(self, node: FieldNode, parent: Any, times: int, path: tuple[str, ...]) -> None:
        field = getattr(parent, "fields", {}).get(node.name.value)
        if field is None:
            return
        kind: Any = get_named_type(field.type)
        if not is_composite_type(kind):
            return
        if not kind.name.endswith("Connection") or not {"first", "last"} & set(field.args):
            self.walk(node.selection_set, kind, times, path)
            return
        page = self._page(node, path)
        self.requests += times
        self.nodes += times * page
        self.walk(node.selection_set, kind, times * page, path)

    def _page(self, node: FieldNode, path: tuple[str, ...]) -> int:
        given = {arg.name.value: value_from_ast_untyped(arg.value, self.variables) for arg in node.arguments or ()}
        page: int | None = next((given[name] for name in ("first", "last") if isinstance(given.get(name), int)), None)
        name = node.name.value
        if page is None:
            if node.selection_set and not {"nodes", "edges"} & {_name(each) for each in node.selection_set.selections}:
                return 0
            words = f"You must provide a `first` or `last` value to properly paginate the `{name}` connection."
            raise _limit("MISSING_PAGINATION_BOUNDARIES", words, path)
        if not 0 <= page <= 100:
            words = f"Requesting {page} records on the `{name}` connection exceeds the `first` limit of 100 records."
            raise _limit("EXCESSIVE_PAGINATION", words, path)
        return page


def measure(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: dict[str, Any]
) -> tuple[int, int]:
    """Points and nodes. Raises GraphQLError for a query that asks for more than GitHub gives."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    meter = Meter(schema, fragments, variables)
    root = schema.get_root_type(operation.operation)
    meter.walk(operation.selection_set, root, 1, (operation.operation.value,))
    if meter.nodes > NODE_LIMIT:
        words = f"This query requests up to {meter.nodes:,} possible nodes which exceeds the maximum limit of 500,000."
        raise _limit("MAX_NODE_LIMIT_EXCEEDED", words, ())
    return max(1, round(meter.requests / 100)), meter.nodes


def _limit(type: str, words: str, path: tuple[str, ...]) -> GraphQLError:
    return GraphQLError(words, extensions={"type": type, "path": list(path)})


def _name(node: Any) -> str:
    return node.name.value if isinstance(node, FieldNode) else ""
