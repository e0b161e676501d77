"""A source is asked: what it says, or why it is silent. One that fails becomes Unknown; it never becomes empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reconciler.model.errors import ReconcileError, SilentError
from reconciler.model.observed import Unknown
from reconciler.system import refused

T = TypeVar("T")


def ask(read: Callable[[], T]) -> T | Unknown:
    """What a source says, or why it is silent."""
    try:
        return read()
    except ReconcileError as error:
        again_s = max(error.delay, 1.0) if isinstance(error, SilentError) else None
        return Unknown(error.advised, again_s)
    except OSError as error:
        return Unknown(refused.short(error))
