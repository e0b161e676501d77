"""Rows of text under each other: columns as wide as they need be, one that gives way, and a note that wraps.

The note (why a task waits, what is done) is what people read. It stands beside its row where there is room for a
sentence, and below it on a narrow terminal; `rich.table` knows no row that goes on across its columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, field
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

NOTE_MIN = 44
YIELDS_MIN = 16
GAP = 2


class Row(Struct, frozen=True, kw_only=True):
    """Cells, one per column, and a note about them."""

    cells: tuple[Text, ...]
    note: Text = field(default_factory=Text)


class Rows(Struct, frozen=True, kw_only=True):
    """Rows, `indent` from the left. The column `yields` is cut where the others need the room."""

    rows: Sequence[Row]
    yields: int
    indent: int = 2
    note_least: int = NOTE_MIN

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths, beside = self._widths(options.max_width)
        used = [wide for wide in widths if wide]
        # Below its row a note begins where the second column does: the eye can run down the first one.
        start = self.indent + sum(used if beside else used[:1]) + GAP * len(used if beside else used[:1])
        for row in self.rows:
            first = self._line(row, widths)
            notes = _wrapped(row.note, console, max(options.max_width - start, NOTE_MIN // 2))
            if beside and notes:
                first.append_text(notes.pop(0))
            for line in (first, *(Text(" " * start).append_text(note) for note in notes)):
                line.rstrip()
                if line.cell_len <= options.max_width:
                    # What fits is not to be measured word by word: that took half of the printing.
                    yield from line.render(console, end="\n")
                else:
                    yield line

    def _line(self, row: Row, widths: Sequence[int]) -> Text:
        found = Text(" " * self.indent)
        for cell, wide in zip(row.cells, widths, strict=True):
            if wide:
                shown = cell.copy()
                shown.truncate(wide, overflow="ellipsis", pad=True)
                found.append_text(shown).append(" " * GAP)
        return found

    def _widths(self, most: int) -> tuple[list[int], bool]:
        """The width of every column, and whether notes stand beside the rows."""
        widths = [
            max(cell.cell_len for cell in column) for column in zip(*(row.cells for row in self.rows), strict=True)
        ]
        fixed = [wide for i, wide in enumerate(widths) if wide and i != self.yields]
        left = most - self.indent - sum(fixed) - GAP * (len(fixed) + 1)
        note = min(max(row.note.cell_len for row in self.rows), self.note_least)
        beside = left - min(widths[self.yields], YIELDS_MIN) >= note
        widths[self.yields] = min(widths[self.yields], max(left - note if beside else left, YIELDS_MIN // 2))
        return widths, beside


def facts(pairs: Iterable[tuple[str, str | Text]], style: str = "dim") -> Rows:
    """What is known of one thing: a name, and what it is, in each row."""
    rows = [Row(cells=(Text(name, style),), note=Text(fact) if isinstance(fact, str) else fact) for name, fact in pairs]
    return Rows(rows=rows, yields=0)


def _wrapped(note: Text, console: Console, width: int) -> list[Text]:
    if not note:
        return []
    fits = note.cell_len <= width and note.plain.isprintable()  # a line end is not printable
    return [note] if fits else list(note.wrap(console, width))
