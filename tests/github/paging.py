"""Connections: a page of a sorted list, with cursors that survive what comes and goes before them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Key = tuple[float, ...]


@dataclass(frozen=True)
class PageInfo:
    """What there is beside a page."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True)
class Edge:
    """An item with its cursor."""

    node: Any
    cursor: str


class Connection:
    """One page of `items`. `key` sorts them ascending; without one their order is kept and cursors are places."""

    def __init__(
        self,
        items: Sequence[Any],
        *,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        key: Callable[[Any], Key] | None = None,
    ) -> None:
        keyed = [(key(item) if key else (float(place),), item) for place, item in enumerate(items)]
        if key:
            keyed.sort(key=lambda pair: pair[0])
        window = [
            pair for pair in keyed if (not after or pair[0] > _key(after)) and (not before or pair[0] < _key(before))
        ]
        page = window[:first] if first is not None else window[len(window) - last :] if last is not None else window
        self.total_count = self.issue_count = len(keyed)
        self.edges = [Edge(item, _cursor(at)) for at, item in page]
        self.nodes = [item for _, item in page]
        ends = (_cursor(page[0][0]), _cursor(page[-1][0])) if page else (None, None)
        self.page_info = PageInfo(
            has_next_page=bool(page) and page[-1][0] < keyed[-1][0],
            has_previous_page=bool(page) and page[0][0] > keyed[0][0],
            start_cursor=ends[0],
            end_cursor=ends[1],
        )


class Contexts(Connection):
    """A page of checks, with their counts by state."""

    def __init__(self, items: Sequence[Any], **page: Any) -> None:
        super().__init__(items, **page)
        self._all = items

    @cached_property
    def check_run_counts_by_state(self) -> list[dict[str, Any]]:
        """How many check runs there are in each state."""
        return _counted([item.conclusion or item.status for item in self._all if hasattr(item, "check_suite")])

    @cached_property
    def status_context_counts_by_state(self) -> list[dict[str, Any]]:
        """How many commit statuses there are in each state."""
        return _counted([item.state for item in self._all if not hasattr(item, "check_suite")])

    @property
    def check_run_count(self) -> int:
        """How many check runs there are."""
        return sum(each["count"] for each in self.check_run_counts_by_state)

    @property
    def status_context_count(self) -> int:
        """How many commit statuses there are."""
        return len(self._all) - self.check_run_count


def _counted(states: list[str]) -> list[dict[str, Any]]:
    return [{"state": state, "count": states.count(state)} for state in sorted(set(states))]


def _cursor(key: Key) -> str:
    return base64.b64encode(b"cursor:v2:" + json.dumps(key).encode()).decode()


def _key(cursor: str) -> Key:
    return tuple(json.loads(base64.b64decode(cursor).removeprefix(b"cursor:v2:")))
