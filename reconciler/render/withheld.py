"""What a watched file asks for and nobody applied, in words."""

from __future__ import annotations

import json
import shlex
from typing import Any

from reconciler.model.desired import STRANGER, EpicSpec, Loosening
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting
from reconciler.render.safe import line
from reconciler.render.words import counted

_SECRET = ("agent.env",)
_FIRST = ("mergePolicy.", "base", "worktrees.", "agent.passEnv")
FIELDS_MAX = 6
VALUE_MAX = 4_000


def withheld(spec: EpicSpec) -> Waiting | None:
    """Why the manifest is not as its files say; None where it is. `changes` says what exactly is withheld."""
    fields = [each.field for each in _ordered(spec) if not each.field.startswith(STRANGER)]
    parts = [
        f"{each.new} holds the manifest {each.field.removeprefix(STRANGER)}, which nobody applied: "
        f"{apply(each.new)} records it"
        for each in spec.withheld
        if each.field.startswith(STRANGER)
    ]
    if fields:
        more = f" and {len(fields) - FIELDS_MAX} more" if len(fields) > FIELDS_MAX else ""
        what = ", ".join(fields[:FIELDS_MAX]) + more
        also = dict.fromkeys(path for each in spec.withheld for path in each.also)
        parts.insert(
            0, f"its file allows more than what was applied, in {what}: {apply(spec.source, *also)} takes that"
        )
    if not parts:
        return None
    return Waiting(Reason.LOOSENING_WITHHELD, f"{'; '.join(parts)}; an agent may have written it")


def changes(spec: EpicSpec) -> list[str]:
    """Every field that is withheld with its old value and its new one, what decides over landing first."""
    return [change(each) for each in _ordered(spec) if not each.field.startswith(STRANGER)]


def change(each: Loosening) -> str:
    """One field, its old value and its new one.

    >>> change(Loosening(field="mergePolicy.checks", old=["just check"], new=["true"]))
    'mergePolicy.checks: ["just check"] -> ["true"]'
    """
    if each.field in _SECRET:
        return f"{each.field}: {_names(each.old)} -> {_names(each.new)}, or other values"
    return f"{each.field}: {_value(each.old)} -> {_value(each.new)}"


def _ordered(spec: EpicSpec) -> list[Loosening]:
    return sorted(spec.withheld, key=lambda each: not each.field.startswith(_FIRST))


def apply(*files: str) -> str:
    """The command by which a person takes what stands in these files.

    >>> apply("/a/epic.yaml", "/a/of all.yaml")
    "'reconcile apply -f /a/epic.yaml -f '/a/of all.yaml''"
    """
    return f"'reconcile apply {' '.join(f'-f {shlex.quote(each)}' for each in files)}'"


def _names(variables: Any) -> str:
    names = sorted(variables) if isinstance(variables, dict) else []
    return line(", ".join(names), VALUE_MAX) or counted(0, "variable")


def _value(value: Any) -> str:
    return line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_MAX)
