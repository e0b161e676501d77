"""A resolved manifest as plain values, in the shape of its YAML, and back. Both ways follow one table.

Strict where it reads: a recorded manifest that lost its checks must not be taken for one that asks for none. A field
that is added later needs a value here for manifests that were recorded before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

from reconciler.manifest.durations import duration, written
from reconciler.model.desired import (
    AgentKind,
    AgentSpec,
    Budget,
    EpicSpec,
    ForgeKind,
    InlineTask,
    MergeMethod,
    MergeMode,
    MergePolicy,
    NoChecks,
    OnConflict,
    Override,
    Prune,
    Review,
    TrackerKind,
    WorktreeSpec,
)
from reconciler.model.names import TASK_KEY, TaskId, usable

Plain = Mapping[str, Any]
_T = TypeVar("_T")
_ASKED_FOR = object()


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of value is read, and how it is written. `read` raises ValueError."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = lambda value: value
    earlier: Any = _ASKED_FOR  # what a manifest means that was recorded before there was such a field


def spec_from(name: str, plain: Any) -> EpicSpec:
    """The manifest that `spec_of` wrote. Raises ValueError, which says where it is damaged."""
    return EpicSpec(name=name, **_values(_EPIC, plain))


def spec_of(spec: EpicSpec) -> dict[str, Any]:
    """What the manifest says, complete; not when, from where and as which generation it was recorded."""
    return _plain(_EPIC, spec)


def task_from(plain: Any) -> InlineTask:
    """The declared task that `task_of` wrote. Raises ValueError."""
    return InlineTask(**_values(_TASK, plain))


def task_of(task: InlineTask) -> dict[str, Any]:
    """A declared task as plain values."""
    return _plain(_TASK, task)


def _values(table: Mapping[str, tuple[str, _Kind]], plain: Any) -> dict[str, Any]:
    """Field values by the names they have in code, from `plain`, whose keys may be dotted in the table."""
    flat = _flat(table, plain)
    if unknown := flat.keys() - {written for written, _ in table.values()}:
        raise ValueError(f"{min(unknown)} is unknown")
    found = {}
    for name, (key, kind) in table.items():
        if key not in flat and kind.earlier is not _ASKED_FOR:
            found[name] = kind.earlier
            continue
        if key not in flat:
            raise ValueError(f"{key} is missing")
        try:
            found[name] = kind.read(flat[key])
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    return found


def _plain(table: Mapping[str, tuple[str, _Kind]], value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, (key, kind) in table.items():
        outer, _, inner = key.partition(".")
        said = kind.write(getattr(value, name))
        if inner:
            plain.setdefault(outer, {})[inner] = said
        else:
            plain[outer] = said
    return plain


def _flat(table: Mapping[str, tuple[str, _Kind]], plain: Any) -> dict[str, Any]:
    outer = {key.partition(".")[0] for key, _ in table.values() if "." in key}
    flat: dict[str, Any] = {}
    for key, value in _mapping(plain).items():
        if key in outer:
            flat |= {f"{key}.{inner}": said for inner, said in _mapping(value).items()}
        else:
            flat[key] = value
    return flat


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"is no mapping but {type(value).__name__}")
    return value


def _exactly(kind: type[_T], fits: Callable[[_T], bool] = lambda value: True) -> Callable[[Any], _T]:
    def read(value: Any) -> _T:
        # A switch is a number to Python; it is none in a manifest.
        if type(value) is not kind or not fits(value):
            raise ValueError(f"{value!r} does not belong here")
        return value

    return read


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_TEXT.read(each) for each in _exactly(list)(value))


def _named(value: Any) -> dict[str, str]:
    return {_TEXT.read(name): _TEXT.read(each) for name, each in _mapping(value).items()}


def _one_of(kind: type[StrEnum]) -> _Kind:
    return _Kind(lambda value: kind(_TEXT.read(value)), str)


def _or_none(kind: _Kind) -> _Kind:
    return _Kind(lambda value: None if value is None else kind.read(value), kind.write)


def _nested(kind: type[Any], table: Mapping[str, tuple[str, _Kind]]) -> _Kind:
    return _Kind(lambda value: kind(**_values(table, value)), lambda value: _plain(table, value))


def _added(kind: _Kind, earlier: Any) -> _Kind:
    return replace(kind, earlier=earlier)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} does not belong here")
    return float(value)


_TEXT = _Kind(_exactly(str))
_SWITCH = _Kind(_exactly(bool))
_COUNT = _Kind(_exactly(int, lambda number: number >= 0))
_TEXTS = _Kind(_texts, list)
_NAMED = _Kind(_named, dict)
_NUMBER = _Kind(_number)
_SECONDS = _Kind(lambda value: duration(_TEXT.read(value)), written)
_ABSOLUTE = _Kind(_exactly(str, lambda path: path.startswith("/")))
_TASK_ID = _Kind(lambda value: TaskId(_exactly(str, usable)(value)))
_KEY = _Kind(_exactly(str, lambda key: bool(TASK_KEY.fullmatch(key))))

_TASK = {
    "key": ("key", _KEY),
    "title": ("title", _TEXT),
    "description": ("description", _TEXT),
    "acceptance": ("acceptance", _TEXT),
    "priority": ("priority", _COUNT),
    "labels": ("labels", _TEXTS),
    "depends_on": ("dependsOn", _TEXTS),
}
_OVERRIDE = {"labels": ("match.labels", _TEXTS), "model": ("model", _TEXT)}
_OVERRIDES = _Kind(
    lambda value: tuple(Override(**_values(_OVERRIDE, each)) for each in _exactly(list)(value)),
    lambda overrides: [_plain(_OVERRIDE, each) for each in overrides],
)
_AGENT = {
    "kind": ("kind", _one_of(AgentKind)),
    "argv": ("argv", _TEXTS),
    "model": ("model", _added(_or_none(_TEXT), None)),
    "overrides": ("overrides", _added(_OVERRIDES, ())),
    "prompt": ("prompt", _or_none(_ABSOLUTE)),
    "env": ("env", _NAMED),
    "pass_env": ("passEnv", _TEXTS),
    "timeout_s": ("timeout", _SECONDS),
    "stuck_after_s": ("stuckAfter", _SECONDS),
    "max_attempts": ("maxAttempts", _COUNT),
    "backoff_initial_s": ("backoff.initial", _SECONDS),
    "backoff_max_s": ("backoff.max", _SECONDS),
    "opens_pull_request": ("opensPullRequest", _added(_SWITCH, False)),
}
_WORKTREES = {
    "root": ("root", _ABSOLUTE),
    "copy": ("copy", _TEXTS),
    "setup": ("setup", _TEXTS),
    "sparse": ("sparse", _TEXTS),
}
_MERGE = {
    "mode": ("mode", _one_of(MergeMode)),
    "method": ("method", _one_of(MergeMethod)),
    "checks": ("checks", _TEXTS),
    "required_checks": ("requiredChecks", _added(_TEXTS, ())),
    "timeout_s": ("timeout", _SECONDS),
    "no_checks": ("noChecks", _one_of(NoChecks)),
    "protected_paths": ("protectedPaths", _TEXTS),
    "review": ("review", _one_of(Review)),
    "push": ("push", _SWITCH),
    "parallel": ("queue.parallel", _COUNT),
    "on_conflict": ("onConflict", _one_of(OnConflict)),
    "delete_branch": ("deleteBranch", _SWITCH),
}
_BUDGET = {
    "usd": ("usd", _or_none(_NUMBER)),
    "usd_per_task": ("usdPerTask", _or_none(_NUMBER)),
    "tokens": ("tokens", _or_none(_COUNT)),
    "warn_at": ("warnAt", _NUMBER),
}
_PRUNE = {field.name: (field.name, _SWITCH) for field in fields(Prune)}
# `tasks` is not the last: of a file that was cut off in it whole fields are missing, not only some tasks.
_EPIC = {
    "epic": ("epic", _or_none(_TASK_ID)),
    "repository": ("repository", _ABSOLUTE),
    "base": ("base", _TEXT),
    "suspend": ("suspend", _SWITCH),
    "max_agents": ("maxAgents", _COUNT),
    "tracker": ("tracker", _one_of(TrackerKind)),
    "forge": ("forge", _one_of(ForgeKind)),
    "tasks": (
        "tasks",
        _Kind(lambda value: tuple(map(task_from, _exactly(list)(value))), lambda ts: [*map(task_of, ts)]),
    ),
    "agent": ("agent", _nested(AgentSpec, _AGENT)),
    "worktrees": ("worktrees", _nested(WorktreeSpec, _WORKTREES)),
    "merge": ("mergePolicy", _nested(MergePolicy, _MERGE)),
    "budget": ("budget", _added(_nested(Budget, _BUDGET), Budget())),
    "prune": ("prune", _nested(Prune, _PRUNE)),
}
