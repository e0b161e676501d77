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
VALUE_MOST = 48


def withheld(spec: EpicSpec) -> Waiting | None:
    """Why the manifest is not as its file says; None where it is."""
    if not spec.withheld:
        return None
    command = f"reconcile apply -f {shlex.quote(spec.source)}"
    return Waiting(
        Reason.LOOSENING_WITHHELD,
        f"its file allows more than what was applied, and an agent may have written that; '{command}' takes it: "
        + "; ".join(map(change, spec.withheld)),
    )


def change(each: Loosening) -> str:
    """One field, its old value and its new one.

    >>> change(Loosening(field="mergePolicy.checks", old=["just check"], new=["true"]))
    'mergePolicy.checks: ["just check"] -> ["true"]'
    """
    if each.field in _SECRET:
        return f"{each.field}: {_names(each.old)} -> {_names(each.new)}, or other values"
    return f"{each.field}: {_value(each.old)} -> {_value(each.new)}"


def _names(variables: Any) -> str:
    names = sorted(variables) if isinstance(variables, dict) else []
    return line(", ".join(names), VALUE_MOST) or counted(0, "variable")


def _value(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return line(said, VALUE_MOST)
