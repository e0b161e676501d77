"""What all parts of a manifest have in common: how a field is spelled, and how two forms of it are told apart."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

INLINE, NAMED = "=inline", "=named"  # no YAML key looks like these: they only stand in the places of pydantic's errors


def form(value: Any) -> str:
    return NAMED if isinstance(value, str) else INLINE


class Fields(BaseModel):
    """A mapping of a manifest: its keys are those that it names, in camelCase, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel, validate_default=True)
