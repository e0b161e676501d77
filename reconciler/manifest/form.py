"""A resolved manifest as plain values, in the shape of its YAML, and back. Both ways follow one table.

Strict where it reads: a recorded manifest that lost its checks must not be taken for one that asks for none. A field
that is added later needs a value here for manifests that were recorded before it.

The table says of each field, too, which changes of it loosen what holds: `loosened` and `tightened` follow from that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import Struct

from reconciler.manifest import sizes
from reconciler.manifest.durations import duration, written
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.checks import Check
from reconciler.model.desired import (
    AgentSpec,
    Budget,
    Comments,
    EpicSpec,
    ForgeKind,
    InlineTask,
    LandingMode,
    Loosening,
    MergeMethod,
    MergeMode,
    MergePolicy,
    NoChecks,
    Notify,
    OnConflict,
    Override,
    Prune,
    Review,
    ReviewByRisk,
    RiskLevel,
    SquashMessage,
    Telling,
    TrackerKind,
    WorktreeSpec,
)
from reconciler.model.names import TASK_KEY, TaskId, usable
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind

Plain = Mapping[str, Any]
_T = TypeVar("_T")
_Loosens = Callable[[Any, Any], bool]
# By the name in code: the key in YAML, how it is read and written, and which changes of it loosen: of the old value and
# the new one, or by the table of what is nested in it.
_Table = Mapping[str, "tuple[str, _Kind, _Loosens | _Table]"]
_ASKED_FOR = object()


AUTO = "auto"


class _Kind(Struct, frozen=True):
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


def value_of(spec: EpicSpec, field: str) -> Any:
    """What a manifest says in one field, in the shape of YAML; `field` as a `Loosening` names it; None for no field."""
    data: Any = spec_of(spec)
    for part in field.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def differing(specs: Sequence[EpicSpec]) -> tuple[str, ...]:
    """The fields in which manifests differ, in the order of the table, as a `Loosening` names them."""
    leaves = [dict(_leaves(_EPIC, spec)) for spec in specs]
    return tuple(field for field in leaves[0] if any(each[field] != leaves[0][field] for each in leaves))


def task_from(plain: Any) -> InlineTask:
    """The declared task that `task_of` wrote. Raises ValueError."""
    return InlineTask(**_values(_TASK, plain))


def task_of(task: InlineTask) -> dict[str, Any]:
    """A declared task as plain values."""
    return _plain(_TASK, task)


def loosened(before: EpicSpec, after: EpicSpec) -> tuple[Loosening, ...]:
    """The fields whose change from `before` to `after` allows more than held before, in the order of the table."""
    return tuple(_loosened(_EPIC, before, after))


def tightened(before: EpicSpec, after: EpicSpec) -> EpicSpec:
    """`after`, with the fields of `before` where a change of them loosens."""
    kept: EpicSpec = _tightened(_EPIC, before, after)
    return kept


def _leaves(table: _Table, value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    for name, (key, _, loosens) in table.items():
        if isinstance(loosens, Mapping):
            yield from _leaves(loosens, getattr(value, name), f"{at}{key}.")
        else:
            yield at + key, getattr(value, name)


def _loosened(table: _Table, before: Any, after: Any, at: str = "") -> Iterator[Loosening]:
    for name, (key, kind, loosens) in table.items():
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(loosens, Mapping):
            yield from _loosened(loosens, old, new, f"{at}{key}.")
        elif old != new and loosens(old, new):
            yield Loosening(field=at + key, old=kind.write(old), new=kind.write(new))


def _tightened(table: _Table, before: Any, after: Any) -> Any:
    kept = {}
    for name, (_, _, loosens) in table.items():
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(loosens, Mapping):
            kept[name] = _tightened(loosens, old, new)
        elif old != new and loosens(old, new):
            kept[name] = old
    return replace(after, **kept)


def _values(table: _Table, plain: Any) -> dict[str, Any]:
    """Field values by the names they have in code, from `plain`, whose keys may be dotted in the table."""
    flat = _flat(table, plain)
    if unknown := flat.keys() - {written for written, *_ in table.values()}:
        raise ValueError(f"{min(unknown)} is unknown")
    found = {}
    for name, (key, kind, _) in table.items():
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


def _plain(table: _Table, value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, (key, kind, _) in table.items():
        outer, _, inner = key.partition(".")
        found = kind.write(getattr(value, name))
        if inner:
            plain.setdefault(outer, {})[inner] = found
        else:
            plain[outer] = found
    return plain


def _flat(table: _Table, plain: Any) -> dict[str, Any]:
    outer = {key.partition(".")[0] for key, *_ in table.values() if "." in key}
    flat: dict[str, Any] = {}
    for key, value in _mapping(plain).items():
        if key in outer:
            flat |= {f"{key}.{inner}": each for inner, each in _mapping(value).items()}
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


def _or_auto(kind: _Kind) -> _Kind:
    return _Kind(
        lambda value: None if value == AUTO else kind.read(value), lambda value: AUTO if value is None else value
    )


def _or_none(kind: _Kind) -> _Kind:
    return _Kind(
        lambda value: None if value is None else kind.read(value),
        lambda value: None if value is None else kind.write(value),
    )


def _nested(kind: type[Any], table: _Table) -> _Kind:
    return _Kind(lambda value: kind(**_values(table, value)), lambda value: _plain(table, value))


def _later(kind: _Kind, earlier: Any) -> _Kind:
    return replace(kind, earlier=earlier)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} does not belong here")
    return float(value)


def _never(_old: Any, _new: Any) -> bool:
    return False


def _always(_old: Any, _new: Any) -> bool:
    return True


def _more(old: float | None, new: float | None) -> bool:
    """None: as much as is wanted."""
    return old is not None and (new is None or new > old)


def _asks_less(old: int | None, new: int | None) -> bool:
    """None: nobody knows how much that is."""
    return old is None or new is None or new < old


def _longer(old: float, new: float) -> bool:
    """Zero: for ever."""
    return old != 0 and (new == 0 or new > old)


def _dropped(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    return not set(old) <= set(new)


def _added(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    return not set(new) <= set(old)


def _not_continued(old: tuple[Check, ...], new: tuple[Check, ...]) -> bool:
    """Of commands that are run in turn: what comes before one of the old ones could bend what that finds."""
    return len(new) < len(old) or any(map(_weaker, old, new))


def _weaker(old: Check, new: Check) -> bool:
    """True where another check may pass what this one does not. A limit of time only makes it fail sooner, or later."""
    elsewhere = bool(new.paths) and (not old.paths or _dropped(old.paths, new.paths))
    return new.run != old.run or new.retries > old.retries or elsewhere


def _check(value: Any) -> Check:
    """A command, or one with its limits."""
    return Check(value) if isinstance(value, str) else Check(**_values(_CHECK, value))


def _check_written(check: Check) -> str | dict[str, Any]:
    """Only what is said of it: what is recorded can be applied again."""
    said = {key: value for key, value in _plain(_CHECK, check).items() if value}
    return check.run if list(said) == ["run"] else said


def _narrower(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Of names of which none means all that there are."""
    return not old or not set(old) <= set(new)


def _turned_on(_old: bool, new: bool) -> bool:
    return new


def _turned_off(old: bool, _new: bool) -> bool:
    return old


def _towards(*strictest_first: StrEnum) -> _Loosens:
    return lambda old, new: strictest_first.index(new) > strictest_first.index(old)


def _without_none(plain: dict[str, Any]) -> dict[str, Any]:
    """Without what it does not say: what is recorded can be applied again."""
    return {key: value for key, value in plain.items() if value not in (None, {"options": None})}


def _venue_written(at: Venue) -> dict[str, Any]:
    left_out = {"hosts", "perHost"} if at.kind is VenueKind.SLURM else set()
    return {key: value for key, value in _plain(_RUNNER, at).items() if key not in left_out}


def _review(value: Any) -> ReviewByRisk:
    """One word for every change, or one for each risk."""
    if isinstance(value, str):
        return ReviewByRisk.always(Review(value))
    return ReviewByRisk(**{level: Review(_TEXT.read(review)) for level, review in _all_of(_LEVELS, value).items()})


def _review_written(review: ReviewByRisk) -> str | dict[str, str]:
    one, *others = set(review.each)
    return dict(zip(_LEVELS, map(str, review.each), strict=True)) if others else str(one)


def _all_of(names: tuple[str, ...], value: Any) -> dict[str, Any]:
    found = _mapping(value)
    if tuple(sorted(found)) != tuple(sorted(names)):
        raise ValueError(f"{', '.join(found) or 'nothing'} does not belong here")
    return found


def _milder(old: ReviewByRisk, new: ReviewByRisk) -> bool:
    return any(after.rank < before.rank for before, after in zip(old.each, new.each, strict=True))


_LEVELS = tuple(map(str, RiskLevel))
_TEXT = _Kind(_exactly(str))
_SWITCH = _Kind(_exactly(bool))
_COUNT = _Kind(_exactly(int, lambda number: number >= 0))
_TEXTS = _Kind(_texts, list)
_NAMED = _Kind(_named, dict)
_NUMBER = _Kind(_number)
_SECONDS = _Kind(lambda value: duration(_TEXT.read(value)), written)
_SIZE = _Kind(lambda value: sizes.size(_TEXT.read(value)), sizes.written)
_ABSOLUTE = _Kind(_exactly(str, lambda path: path.startswith("/")))
_TASK_ID = _Kind(lambda value: TaskId(_exactly(str, usable)(value)))
_KEY = _Kind(_exactly(str, lambda key: bool(TASK_KEY.fullmatch(key))))

_CHECK: _Table = {
    "run": ("run", _TEXT, _never),
    "timeout_s": ("timeout", _later(_or_none(_SECONDS), None), _never),
    "retries": ("retries", _later(_COUNT, 0), _never),
    "paths": ("paths", _later(_TEXTS, ()), _never),
}
_CHECKS = _Kind(lambda value: tuple(map(_check, _exactly(list)(value))), lambda checks: [*map(_check_written, checks)])
_TASK: _Table = {
    "key": ("key", _KEY, _never),
    "title": ("title", _TEXT, _never),
    "description": ("description", _TEXT, _never),
    "acceptance": ("acceptance", _TEXT, _never),
    "priority": ("priority", _COUNT, _never),
    "labels": ("labels", _TEXTS, _never),
    "depends_on": ("dependsOn", _TEXTS, _never),
}
_OVERRIDE: _Table = {
    "labels": ("match.labels", _TEXTS, _never),
    "model": ("model", _later(_or_none(_TEXT), None), _never),
    "options": ("runner.options", _later(_or_none(_TEXTS), None), _never),
}
_OVERRIDES = _Kind(
    lambda value: tuple(Override(**_values(_OVERRIDE, each)) for each in _exactly(list)(value)),
    lambda overrides: [_without_none(_plain(_OVERRIDE, each)) for each in overrides],
)
_AGENT: _Table = {
    "kind": ("kind", _one_of(AgentKind), _always),
    "argv": ("argv", _TEXTS, _always),
    "model": ("model", _later(_or_none(_TEXT), None), _always),
    "overrides": ("overrides", _later(_OVERRIDES, ()), _always),
    "prompt": ("prompt", _or_none(_ABSOLUTE), _always),
    "env": ("env", _NAMED, _always),
    "pass_env": ("passEnv", _TEXTS, _added),
    "timeout_s": ("timeout", _SECONDS, _longer),
    "stuck_after_s": ("stuckAfter", _SECONDS, _longer),
    "max_attempts": ("maxAttempts", _COUNT, _more),
    "backoff_initial_s": ("backoff.initial", _SECONDS, _never),
    "backoff_max_s": ("backoff.max", _SECONDS, _never),
    "opens_pull_request": ("opensPullRequest", _later(_SWITCH, False), _turned_on),
    "memory": ("resources.memory", _later(_SIZE, None), _asks_less),
    "disk": ("resources.disk", _later(_SIZE, None), _asks_less),
}
_WORKTREES: _Table = {
    "root": ("root", _ABSOLUTE, _always),
    "copy": ("copy", _TEXTS, _added),
    "setup": ("setup", _TEXTS, _always),
    "sparse": ("sparse", _TEXTS, _never),
}
_RUNNER: _Table = {
    "kind": ("kind", _one_of(VenueKind), _always),
    "remote": ("remote", _TEXT, _always),
    "scratch": ("scratch", _TEXT, _always),
    "sync_s": ("sync", _SECONDS, _always),
    "lease_s": ("lease", _SECONDS, _always),
    "options": ("options", _TEXTS, _always),
    "hosts": ("hosts", _later(_TEXTS, ()), _always),
    "per_host": ("perHost", _later(_COUNT, 4), _always),
}
_WHERE = _Kind(
    lambda value: Venue() if value == VenueKind.LOCAL else Venue(**_values(_RUNNER, value)),
    # Without what its kind does not know: what is recorded can be applied again.
    lambda at: str(at.kind) if at.local else _venue_written(at),
)
_MERGE: _Table = {
    "mode": ("mode", _one_of(MergeMode), _towards(MergeMode.MANUAL, MergeMode.AUTO)),
    "method": ("method", _one_of(MergeMethod), _never),
    # Whichever it is, the rules of the base are kept by whoever has the base.
    "landing": ("landing", _later(_one_of(LandingMode), LandingMode.AUTO), _never),
    "message": ("message", _later(_one_of(SquashMessage), SquashMessage.BOTH), _never),
    "comments": (
        "comments",
        _later(_one_of(Comments), Comments.AGENT),
        _towards(Comments.WAIT, Comments.AGENT, Comments.IGNORE),
    ),
    "review_bots": ("reviewBots", _later(_TEXTS, ()), _always),
    "checks": ("checks", _CHECKS, _not_continued),
    "required_checks": ("requiredChecks", _later(_TEXTS, ()), _narrower),
    "timeout_s": ("timeout", _SECONDS, _never),
    "no_checks": ("noChecks", _one_of(NoChecks), _towards(NoChecks.BLOCK, NoChecks.AUTO, NoChecks.ALLOW)),
    "protected_paths": ("protectedPaths", _TEXTS, _dropped),
    "review": ("review", _Kind(_review, _review_written), _milder),
    "review_rounds": ("reviewRounds", _later(_COUNT, 3), _more),
    "risk_high": ("risk.high", _later(_TEXTS, ()), _dropped),
    "risk_low": ("risk.low", _later(_TEXTS, ()), _added),
    "push": ("push", _SWITCH, _turned_on),
    "parallel": ("queue.parallel", _or_auto(_COUNT), _never),
    "retries": ("queue.retries", _later(_COUNT, 1), _more),
    "on_conflict": ("onConflict", _one_of(OnConflict), _towards(OnConflict.BLOCK, OnConflict.AGENT)),
    "delete_branch": ("deleteBranch", _SWITCH, _never),
}
_BUDGET: _Table = {
    "usd": ("usd", _or_none(_NUMBER), _more),
    "usd_per_task": ("usdPerTask", _or_none(_NUMBER), _more),
    "usd_per_run": ("usdPerRun", _later(_or_none(_NUMBER), None), _more),
    "tokens": ("tokens", _or_none(_COUNT), _more),
    "warn_at": ("warnAt", _NUMBER, _never),
}
_PRUNE: _Table = {
    "worktrees": ("worktrees", _SWITCH, _never),
    "branches": ("branches", _SWITCH, _never),
    "orphans": ("orphans", _SWITCH, _turned_on),
}
_NOTIFY: _Table = {
    "on": (
        "on",
        _Kind(lambda value: tuple(map(_one_of(Telling).read, _exactly(list)(value))), lambda on: [*map(str, on)]),
        _never,
    ),
    "run": ("run", _later(_TEXTS, ()), _never),
    "url": ("url", _later(_or_none(_TEXT), None), _never),
    "every_s": ("every", _SECONDS, _never),
    "quiet": ("quiet", _later(_or_none(_TEXT), None), _never),
}
_NOTIFIES = _Kind(
    lambda value: tuple(Notify(**_values(_NOTIFY, each)) for each in _exactly(list)(value)),
    # Without what it does not use: what is recorded can be applied again.
    lambda rules: [{k: v for k, v in _plain(_NOTIFY, rule).items() if v not in (None, [])} for rule in rules],
)
# `tasks` is not the last: of a file that was cut off in it whole fields are missing, not only some tasks.
_EPIC: _Table = {
    "epic": ("epic", _or_none(_TASK_ID), _never),
    "repository": ("repository", _ABSOLUTE, _always),
    "base": ("base", _TEXT, _always),
    "suspend": ("suspend", _SWITCH, _turned_off),
    "max_agents": ("maxAgents", _COUNT, _more),
    "stack": ("stack", _later(_SWITCH, False), _never),
    "tracker": ("tracker", _one_of(TrackerKind), _always),
    "forge": ("forge", _one_of(ForgeKind), _always),
    "tasks": (
        "tasks",
        _Kind(lambda value: tuple(map(task_from, _exactly(list)(value))), lambda ts: [*map(task_of, ts)]),
        _never,
    ),
    "agent": ("agent", _nested(AgentSpec, _AGENT), _AGENT),
    "reviewer": ("reviewer", _later(_or_none(_nested(AgentSpec, _AGENT)), None), _always),
    "worktrees": ("worktrees", _nested(WorktreeSpec, _WORKTREES), _WORKTREES),
    # Whatever of it changes: other programs place agents, or their work goes to other machines.
    "runner": ("runner", _later(_WHERE, Venue()), _always),
    "merge": ("mergePolicy", _nested(MergePolicy, _MERGE), _MERGE),
    "budget": ("budget", _later(_nested(Budget, _BUDGET), Budget()), _BUDGET),
    "prune": ("prune", _nested(Prune, _PRUNE), _PRUNE),
    # A command is started, or somebody is no longer told: either way an agent may have written it.
    "notify": ("notify", _later(_NOTIFIES, ()), _always),
}
