"""What a watched file asks for and nobody applied, in words."""

from __future__ import annotations

import json
import shlex
from typing import Any

from reconciler.model.desired import EpicSpec, Loosening
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting
from reconciler.render.safe import line
from reconciler.render.words import counted

_SECRET = ("agent.env",)
_FIRST = ("mergePolicy.", "manifest ", "base", "worktrees.", "agent.passEnv")
VALUE_MOST = 48
SAID_MOST = 3


def withheld(spec: EpicSpec) -> Waiting | None:
    """Why the manifest is not as its file says; None where it is. `changes` names all of it."""
    if not spec.withheld:
        return None
    command = f"reconcile apply -f {shlex.quote(spec.source)}"
    said = "; ".join(changes(spec)[:SAID_MOST])
    more = f"; and {counted(len(spec.withheld) - SAID_MOST, 'other field')}" if len(spec.withheld) > SAID_MOST else ""
    return Waiting(
        Reason.LOOSENING_WITHHELD,
        "its file allows more than what was applied, and an agent may have written that; "
        f"'{command}' takes it: {said}{more}",
    )


def changes(spec: EpicSpec) -> list[str]:
    """Every field that is withheld, what decides over landing first."""
    return [change(each) for each in sorted(spec.withheld, key=lambda each: not each.field.startswith(_FIRST))]


def change(each: Loosening) -> str:
    """One field, its old value and its new one; of a long list only the difference.

    >>> change(Loosening(field="mergePolicy.checks", old=["just check"], new=["true"]))
    'mergePolicy.checks: ["just check"] -> ["true"]'
    >>> change(Loosening(field="mergePolicy.protectedPaths", old=[f"folder-{n}/**" for n in range(9)], new=["folder-1/**"]))[:58]
    'mergePolicy.protectedPaths: without "folder-0/**", "folder'
    """
    if each.field in _SECRET:
        return f"{each.field}: {_names(each.old)} -> {_names(each.new)}, or other values"
    if isinstance(each.old, list) and isinstance(each.new, list) and len(_json(each.old)) > VALUE_MOST:
        parts = (("without", each.old, each.new), ("with", each.new, each.old))
        said = [f"{word} {', '.join(map(_json, left))}" for word, one, other in parts if (left := _missing(one, other))]
        return f"{each.field}: {line(' and '.join(said) or 'in another order', 4 * VALUE_MOST)}"
    return f"{each.field}: {_value(each.old)} -> {_value(each.new)}"


def _missing(one: list[Any], other: list[Any]) -> list[Any]:
    return [value for value in one if value not in other]


def _names(variables: Any) -> str:
    names = sorted(variables) if isinstance(variables, dict) else []
    return line(", ".join(names), VALUE_MOST) or counted(0, "variable")


def _json(value: Any) -> str:
    return value if isinstance(value, str) and not value else json.dumps(value, ensure_ascii=False)


def _value(value: Any) -> str:
    return line(value if isinstance(value, str) else _json(value), VALUE_MOST)
