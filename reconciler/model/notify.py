"""Whom to notify of what. Times are seconds."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Telling(StrEnum):
    """What people can be notified of."""

    NEEDS_HUMAN = "NeedsHuman"
    EPIC_COMPLETE = "EpicComplete"
    DEGRADED = "Degraded"
    BUDGET_LOW = "BudgetLow"


class Notify(Struct, frozen=True, kw_only=True):
    """Whom to notify of what. Either `run`, a command, or `url`, a service; `${NAME}` in them is a variable of the watch."""

    on: tuple[Telling, ...]
    run: tuple[str, ...] = ()
    url: str | None = None
    every_s: float = 60.0  # what comes sooner after the last message waits for the next one
    quiet: str | None = None  # "22:00-07:00": nothing is sent then, by the local time of the watch

    @property
    def target(self) -> tuple[str, ...]:
        """Where it goes: two rules with the same target are one recipient."""
        return self.run or (self.url or "",)

    @property
    def shown(self) -> str:
        """Where it goes, for people: without what may be a secret."""
        return self.run[0] if self.run else (self.url or "").partition("://")[0]
