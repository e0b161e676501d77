"""What the last query cost, and what GitHub says was used and is left."""

from __future__ import annotations

import threading

from msgspec import Struct


class Spent(Struct, frozen=True, kw_only=True):
    """Points of GitHub's GraphQL limit, as it reported last; None before it did.

    `used`: by everything that uses the login, since the hour began that ends at `reset_at`. `cost`: of the last query.
    """

    cost: int = 1
    used: int | None = None
    left: int | None = None
    limit: int | None = None
    reset_at: str | None = None


class Spending:
    """Keeps the books. Safe to share between threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._spent = Spent()
        self.total = 0  # points of all queries since this program began

    def spent(self, answer: object) -> None:
        """Note what an answer says that it cost: the `rateLimit` of a query."""
        if not isinstance(answer, dict):
            return
        fields = {name: value for name, value in answer.items() if isinstance(value, int)}
        reset_at = answer.get("resetAt")
        with self._turn:
            self.total += fields.get("cost", 1)
            self._spent = Spent(
                cost=fields.get("cost", 1),
                used=fields.get("used"),
                left=fields.get("remaining"),
                limit=fields.get("limit"),
                reset_at=reset_at if isinstance(reset_at, str) else None,
            )

    def now(self) -> Spent:
        """The books as they stand."""
        with self._turn:
            return self._spent
