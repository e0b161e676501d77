"""Text in lines that are no wider than there is room for, counted in cells of a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

_ANY = Console(color_system=None)  # wrapping wants one, and asks nothing of it


def wrapped(note: Text, width: int) -> Iterable[Text]:
    """The note in lines of at most `width` cells."""
    return note.wrap(_ANY, width)


def noted(note: Text, width: int, indent: int, most: int | None) -> list[Text]:
    """The note on lines of its own, at most so many."""
    found = [Text(" " * indent).append_text(part) for part in wrapped(note, max(width - indent, 1))]
    return found if most is None or len(found) <= most else [*found[: most - 1], found[most - 1].append(" …")]


def cells(words: Iterable[Text]) -> int:
    """How wide they are side by side."""
    return sum(word.cell_len for word in words)


def cut(shown: Text, width: int) -> Text:
    """The text itself, cut off at `width` cells."""
    shown.truncate(width, overflow="ellipsis")
    return shown
