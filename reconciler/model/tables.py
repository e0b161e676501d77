"""Words that are rows of a table: the value stands in manifests and JSON, the row says what there is to know about it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self


class Table(StrEnum):
    """A member is written `NAME = "word", Row(…)`; the subclass says of which type its `row` is."""

    row: Any

    def __new__(cls, value: str, row: Any = None) -> Self:
        if row is None:
            raise TypeError(f"{value!r} of {cls.__name__} has no row")
        made = str.__new__(cls, value)
        made._value_ = value
        made.row = row
        return made

    @classmethod
    def of(cls, word: str) -> Self:
        """The member with this word. Raises ValueError."""
        return cls(word)  # looked up by its value: nothing is made
