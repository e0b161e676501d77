"""What the queries of the last hour cost, and what GitHub says is left."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Points of GitHub's GraphQL limit. `used`: by everything that uses the login, since the last reset."""

    last_hour: int  # by this process
    requests: int
    left: int | None = None
    limit: int | None = None
    reset_at: str = ""


class Spending:
    """Keeps the books. Safe to share between threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._costs: deque[tuple[float, int]] = deque()
        self._said: dict[str, Any] = {}

    def spent(self, said: object) -> None:
        """Note what an answer says that it cost: the `rateLimit` of a query."""
        if not isinstance(said, dict):
            return
        cost = said.get("cost")
        with self._turn:
            self._costs.append((time.monotonic(), cost if isinstance(cost, int) else 1))
            self._said = said

    @property
    def last_cost(self) -> int:
        """What the newest query cost."""
        with self._turn:
            return self._costs[-1][1] if self._costs else 1

    def now(self) -> Spent:
        """The books as they stand."""
        with self._turn:
            while self._costs and self._costs[0][0] < time.monotonic() - HOUR_S:
                self._costs.popleft()
            said = self._said
            return Spent(
                last_hour=sum(cost for _, cost in self._costs),
                requests=len(self._costs),
                left=said.get("remaining") if isinstance(said.get("remaining"), int) else None,
                limit=said.get("limit") if isinstance(said.get("limit"), int) else None,
                reset_at=str(said.get("resetAt") or ""),
            )
