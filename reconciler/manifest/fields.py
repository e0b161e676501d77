"""What all parts of a manifest have in common: how a field is spelled, and how two forms of it are distinguished."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

INLINE, NAMED = "=inline", "=named"  # no YAML key looks like these: they only stand in the places of pydantic's errors


def form(value: Any) -> str:
    return NAMED if isinstance(value, str) else INLINE


class WrongBelowError(ValueError):
    """What is wrong with a value of a mapping, that shows only beside the others. `below`: its path from there."""

    def __init__(self, what: str, *below: str | int) -> None:
        super().__init__(what)
        self.below = below


class Fields(BaseModel):
    """A mapping of a manifest: its keys are those that it names, in camelCase, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel, validate_default=True)
