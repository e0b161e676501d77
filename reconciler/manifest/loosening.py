"""Which changes of a value loosen what a manifest holds: each is asked about the old value and the new one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from reconciler.manifest.kinds import Loosens
from reconciler.model.checks import Check
from reconciler.model.review_by_risk import ReviewByRisk


def never(_old: Any, _new: Any) -> bool:
    """No change does."""
    return False


def always(_old: Any, _new: Any) -> bool:
    """Every change does."""
    return True


def more(old: float | None, new: float | None) -> bool:
    """None: as much as is wanted."""
    return old is not None and (new is None or new > old)


def asks_less(old: int | None, new: int | None) -> bool:
    """None: nobody knows how much that is."""
    return old is None or new is None or new < old


def longer(old: float, new: float) -> bool:
    """Zero: for ever."""
    return old != 0 and (new == 0 or new > old)


def dropped(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Some are missing."""
    return not set(old) <= set(new)


def added(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """There are others."""
    return not set(new) <= set(old)


def not_continued(old: tuple[Check, ...], new: tuple[Check, ...]) -> bool:
    """Of commands that are run in turn: what comes before one of the old ones could bend what that finds."""
    return len(new) < len(old) or any(map(_weaker, old, new))


def _weaker(old: Check, new: Check) -> bool:
    """True where another check may pass what this one does not. A limit of time only makes it fail sooner, or later."""
    elsewhere = bool(new.paths) and (not old.paths or dropped(old.paths, new.paths))
    return new.run != old.run or new.retries > old.retries or elsewhere


def narrower(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Of names of which none means all that there are."""
    return not old or not set(old) <= set(new)


def turned_on(_old: bool, new: bool) -> bool:
    """A switch is on."""
    return new


def turned_off(old: bool, _new: bool) -> bool:
    """A switch was on."""
    return old


def towards(*strictest_first: StrEnum) -> Loosens:
    """The new one stands further on."""
    return lambda old, new: strictest_first.index(new) > strictest_first.index(old)


def milder(old: ReviewByRisk, new: ReviewByRisk) -> bool:
    """Of some risk, somebody less is asked."""
    return any(after.rank < before.rank for before, after in zip(old.each, new.each, strict=True))
