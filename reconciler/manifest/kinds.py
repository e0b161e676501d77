"""How the values of a manifest are read from plain ones, and written: each kind once, and tables of fields.

Strict where it reads: a recorded manifest that lost its checks must not be taken for one that asks for none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import Struct

from reconciler.manifest import sizes
from reconciler.manifest.durations import duration, written
from reconciler.model.names import TASK_KEY, TaskId, usable
from reconciler.model.values import replace

_T = TypeVar("_T")
Loosens = Callable[[Any, Any], bool]
"""Whether a change of a value, from the old one to the new one, loosens what holds."""
Table = Mapping[str, "tuple[str, Kind, Loosens | Table]"]
"""By the name in code: the key in YAML, how it is read and written, and which changes of it loosen, or the table of what is
nested in it."""
ASKED_FOR = object()


class Kind(Struct, frozen=True):
    """How one kind of value is read, and how it is written. `read` raises ValueError."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = lambda value: value
    earlier: Any = ASKED_FOR  # what a manifest means that was recorded before there was such a field


def values(table: Table, plain: Any) -> dict[str, Any]:
    """Field values by the names they have in code, from `plain`, whose keys may be dotted in the table."""
    flat = _flat(table, plain)
    if unknown := flat.keys() - {written for written, *_ in table.values()}:
        raise ValueError(f"{min(unknown)} is unknown")
    found = {}
    for name, (key, kind, _) in table.items():
        if key not in flat and kind.earlier is not ASKED_FOR:
            found[name] = kind.earlier
            continue
        if key not in flat:
            raise ValueError(f"{key} is missing")
        try:
            found[name] = kind.read(flat[key])
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    return found


def plain_of(table: Table, value: Any) -> dict[str, Any]:
    """A value as plain ones: what `values` reads."""
    plain: dict[str, Any] = {}
    for name, (key, kind, _) in table.items():
        outer, _, inner = key.partition(".")
        found = kind.write(getattr(value, name))
        if inner:
            plain.setdefault(outer, {})[inner] = found
        else:
            plain[outer] = found
    return plain


def _flat(table: Table, plain: Any) -> dict[str, Any]:
    outer = {key.partition(".")[0] for key, *_ in table.values() if "." in key}
    flat: dict[str, Any] = {}
    for key, value in mapping(plain).items():
        if key in outer:
            flat |= {f"{key}.{inner}": each for inner, each in mapping(value).items()}
        else:
            flat[key] = value
    return flat


def mapping(value: Any) -> dict[str, Any]:
    """Raises ValueError for what is none."""
    if not isinstance(value, dict):
        raise ValueError(f"is no mapping but {type(value).__name__}")
    return value


def exactly(kind: type[_T], fits: Callable[[_T], bool] = lambda value: True) -> Callable[[Any], _T]:
    """Reads values of exactly this type that fit."""

    def read(value: Any) -> _T:
        # A switch is a number to Python; it is none in a manifest.
        if type(value) is not kind or not fits(value):
            raise ValueError(f"{value!r} does not belong here")
        return value

    return read


def _named(value: Any) -> dict[str, str]:
    return {TEXT.read(name): TEXT.read(each) for name, each in mapping(value).items()}


def one_of(kind: type[StrEnum]) -> Kind:
    """One of a few words."""
    return Kind(lambda value: kind(TEXT.read(value)), str)


def or_auto(kind: Kind) -> Kind:
    """Such a value, or None, written as `auto`."""
    return Kind(
        lambda value: None if value == sizes.AUTO else kind.read(value),
        lambda value: sizes.AUTO if value is None else value,
    )


def or_none(kind: Kind) -> Kind:
    """Such a value, or None."""
    return Kind(
        lambda value: None if value is None else kind.read(value),
        lambda value: None if value is None else kind.write(value),
    )


def nested(kind: type[Any], table: Table) -> Kind:
    """A value that has a table of its own."""
    return Kind(lambda value: kind(**values(table, value)), lambda value: plain_of(table, value))


def listed(kind: Kind) -> Kind:
    """Any number of such values, as a tuple."""
    return Kind(
        lambda value: tuple(map(kind.read, exactly(list)(value))), lambda value: [kind.write(each) for each in value]
    )


def later(kind: Kind, earlier: Any) -> Kind:
    """Of a field that manifests may lack which were recorded before there was one: they mean `earlier`."""
    return replace(kind, earlier=earlier)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} does not belong here")
    return float(value)


TEXT = Kind(exactly(str))
SWITCH = Kind(exactly(bool))
COUNT = Kind(exactly(int, lambda number: number >= 0))
TEXTS = listed(TEXT)
NAMED = Kind(_named, dict)
NUMBER = Kind(_number)
SECONDS = Kind(lambda value: duration(TEXT.read(value)), written)
SIZE = Kind(lambda value: sizes.size(TEXT.read(value)), sizes.written)
ABSOLUTE = Kind(exactly(str, lambda path: path.startswith("/")))
TASK_ID = Kind(lambda value: TaskId(exactly(str, usable)(value)))
KEY = Kind(exactly(str, lambda key: bool(TASK_KEY.fullmatch(key))))
