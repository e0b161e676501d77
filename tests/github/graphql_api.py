"""`POST /graphql`: GitHub's schema, executed over the views, with its errors and its points."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import OverlappingFieldsCanBeMergedRule, VariablesInAllowedPositionRule

from github import points
from github.records import Problem

# gh declares variables as `String` where the schema wants `String!`, and asks fields of one name but unlike types (`name`
# of a user and of a team) side by side. GitHub lets it.
RELAXED = (VariablesInAllowedPositionRule, OverlappingFieldsCanBeMergedRule)
RULES = tuple(rule for rule in specified_rules if rule not in RELAXED)


@cache
def schema() -> GraphQLSchema:
    """The schema, without resolvers: fields are found by name."""
    return build_schema(Path(__file__).with_name("schema.graphql").read_text())


def snake(name: str) -> str:
    """`headRefOid` is `head_ref_oid`; `projectsV2` is `projects_v2`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True)
class Request:
    """What a client asked: the document, and what of it is to be done."""

    query: str
    variables: Mapping[str, Any]
    operation: str | None

    def label(self) -> str:
        """The operation's name and kind, and the top fields: `query PullRequestList repository`."""
        try:
            node = get_operation_ast(parse(self.query), self.operation)
        except GraphQLError:
            node = None
        if node is None:
            return "unreadable"
        fields = [each.name.value for each in node.selection_set.selections if hasattr(each, "name")]
        return " ".join([node.operation.value, *([node.name.value] if node.name else []), *fields])


@dataclass(kw_only=True)
class Budget:
    """The points that an account has left in this hour."""

    limit: int = 5000
    used: int = 0
    reset_at: datetime

    @property
    def remaining(self) -> int:
        """What is left of them."""
        return max(0, self.limit - self.used)


def answer(request: Request, root: Any, budget: Budget) -> tuple[dict[str, Any], int]:
    """The JSON to answer with, and the points it cost. `root` holds the top fields of queries and mutations."""
    try:
        document = parse(request.query)
    except GraphQLError as error:
        return {"errors": [_told(error)]}, 1
    if errors := validate(schema(), document, RULES):
        return {"errors": [_in_githubs_words(_told(error)) for error in errors]}, 1
    operation = get_operation_ast(document, request.operation)
    if operation is None:
        return {"errors": [{"message": "A query attribute must be specified and must be a string."}]}, 1
    try:
        cost, nodes = points.measure(schema(), document, operation, _variables(operation, request.variables))
    except GraphQLError as error:
        return {"errors": [_told(error)]}, 1
    if budget.remaining < cost:
        return {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."}]}, 0
    budget.used += cost
    root.cost, root.node_count = cost, nodes
    result = execute_sync(
        schema(), document, root, variable_values=dict(request.variables), operation_name=request.operation,
        field_resolver=_resolve, type_resolver=_type_of,
    )  # fmt: skip
    return _body(result), cost


def _variables(operation: OperationDefinitionNode, given: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {
        each.variable.name.value: getattr(each.default_value, "value", None)
        for each in operation.variable_definitions or ()
        if each.default_value is not None
    }
    numbers = {name: int(value) for name, value in defaults.items() if isinstance(value, str) and value.isdigit()}
    return {**defaults, **numbers, **given}


def _resolve(source: Any, info: Any, **arguments: Any) -> Any:
    value = source[info.field_name] if isinstance(source, dict) else getattr(source, snake(info.field_name))
    if not callable(value):
        return value
    try:
        return value(**{snake(name): given for name, given in arguments.items()})
    except Problem as problem:
        raise GraphQLError(problem.message, extensions={"type": problem.type}) from problem


def _type_of(value: Any, *_: Any) -> str:
    return str(value["__typename"] if isinstance(value, dict) else value.graphql_type)


def _body(result: ExecutionResult) -> dict[str, Any]:
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        for error in result.errors:
            if error.original_error is not None and not isinstance(error.original_error, GraphQLError | Problem):
                raise error.original_error  # a mistake of this server, not an answer
        body["errors"] = [_told(error) for error in result.errors]
    return body


def _told(error: GraphQLError) -> dict[str, Any]:
    """An error as GitHub writes it: the type stands beside the message."""
    told: dict[str, Any] = dict(error.extensions or {})
    if error.path:
        told["path"] = error.path
    if error.locations:
        told["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return {**told, "message": error.message}


def _in_githubs_words(told: dict[str, Any]) -> dict[str, Any]:
    """A field that is not in the schema, as GitHub complains of it; everything else as it is."""
    found = re.match(r"Cannot query field '(\w+)' on type '(\w+)'", told["message"])
    if found is None:
        return told
    extensions = {"code": "undefinedField", "typeName": found[2], "fieldName": found[1]}
    return {**told, "extensions": extensions, "message": f"Field '{found[1]}' doesn't exist on type '{found[2]}'"}
