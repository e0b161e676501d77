"""What screens show of one task beside how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field


class Details(Struct, frozen=True, kw_only=True):
    """What is read of a task while somebody looks at it. `diff`: of its branch against its base; None: there is none."""

    text: Mapping[str, str] = field(default_factory=dict)
    prompt: str = ""
    runs: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    diff: str | None = None
    log: str | None = None  # the run whose log is shown
    silent: str = ""  # what can't be read, and why
