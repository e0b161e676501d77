"""A resolved manifest as plain values, in the shape of its YAML, and back. Both ways follow one table.

The table says of each field, too, which changes of it loosen what holds: `loosened` and `tightened` follow from that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.manifest.kinds import Table, plain_of, values
from reconciler.manifest.tables import EPIC, TASK
from reconciler.model.desired import EpicSpec, InlineTask, Loosening
from reconciler.model.values import replace


def spec_from(name: str, plain: Any) -> EpicSpec:
    """The manifest that `spec_of` wrote. Raises ValueError, which says where it is damaged."""
    return EpicSpec(name=name, **values(EPIC, plain))


def spec_of(spec: EpicSpec) -> dict[str, Any]:
    """What the manifest says, complete; not when, from where and as which generation it was recorded."""
    return plain_of(EPIC, spec)


def value_of(spec: EpicSpec, field: str) -> Any:
    """What a manifest says in one field, in the shape of YAML; `field` as a `Loosening` names it; None for no field."""
    data: Any = spec_of(spec)
    for part in field.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def differing(specs: Sequence[EpicSpec]) -> tuple[str, ...]:
    """The fields in which manifests differ, in the order of the table, as a `Loosening` names them."""
    leaves = [dict(_leaves(EPIC, spec)) for spec in specs]
    return tuple(field for field in leaves[0] if any(each[field] != leaves[0][field] for each in leaves))


def task_from(plain: Any) -> InlineTask:
    """The declared task that `task_of` wrote. Raises ValueError."""
    return InlineTask(**values(TASK, plain))


def task_of(task: InlineTask) -> dict[str, Any]:
    """A declared task as plain values."""
    return plain_of(TASK, task)


def loosened(before: EpicSpec, after: EpicSpec) -> tuple[Loosening, ...]:
    """The fields whose change from `before` to `after` allows more than held before, in the order of the table."""
    return tuple(_loosened(EPIC, before, after))


def tightened(before: EpicSpec, after: EpicSpec) -> EpicSpec:
    """`after`, with the fields of `before` where a change of them loosens."""
    kept: EpicSpec = _tightened(EPIC, before, after)
    return kept


def _leaves(table: Table, value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    for name, (key, _, loosens) in table.items():
        if isinstance(loosens, Mapping):
            yield from _leaves(loosens, getattr(value, name), f"{at}{key}.")
        else:
            yield at + key, getattr(value, name)


def _loosened(table: Table, before: Any, after: Any, at: str = "") -> Iterator[Loosening]:
    for name, (key, kind, loosens) in table.items():
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(loosens, Mapping):
            yield from _loosened(loosens, old, new, f"{at}{key}.")
        elif old != new and loosens(old, new):
            yield Loosening(field=at + key, old=kind.write(old), new=kind.write(new))


def _tightened(table: Table, before: Any, after: Any) -> Any:
    kept = {}
    for name, (_, _, loosens) in table.items():
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(loosens, Mapping):
            kept[name] = _tightened(loosens, old, new)
        elif old != new and loosens(old, new):
            kept[name] = old
    return replace(after, **kept)
