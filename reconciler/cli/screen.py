"""The lower end of a terminal: lines that are drawn again and again, below lines that scroll away.

One thread writes. The cursor stays on the line below the drawing, and is hidden within a single write only: the one who
kills this process finds a terminal that works. Knows no tasks.
"""

from __future__ import annotations

import os
import termios
from collections.abc import Sequence

from msgspec import Struct, field
from rich.console import Console
from rich.text import Text

# A frame is shown at once by terminals that know how to (2026). What is wider there than we think must not wrap (7).
WRAP, NO_WRAP = "\x1b[?7h", "\x1b[?7l"
BEGIN, END = f"\x1b[?2026h\x1b[?25l{NO_WRAP}", f"{WRAP}\x1b[?25h\x1b[?2026l"
REST_OF_LINE, BELOW, ROW_AND_DOWN = "\x1b[K", "\x1b[J", "\x1b[2K\x1b[B"
FALLBACK = (80, 24)
ROWS_FOR_EVENTS_MAX = 8


class Drawn(Struct, frozen=True):
    """A line as the terminal gets it, and how many cells it takes there."""

    text: str
    cells: int


class Screen(Struct):
    """The terminal behind the descriptors `out` and, where it is one, `keys`."""

    out: int
    keys: int | None = None
    encoding: str = "utf-8"
    _shown: Sequence[Drawn] = ()
    _size: tuple[int, int] = (0, 0)
    _silenced: bool = field(default=False)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows. Asked again each time: COLUMNS does not change when a window does."""
        try:
            columns, rows = os.get_terminal_size(self.out)
        except OSError:
            return FALLBACK
        return (columns or FALLBACK[0], rows or FALLBACK[1])

    @property
    def ours(self) -> bool:
        """True while this process is in the foreground of the terminal: nobody else draws there."""
        try:
            return os.tcgetpgrp(self.out) == os.getpgrp()
        except OSError:
            return False

    def draw(self, lines: Sequence[Drawn], above: Sequence[str] = (), *, fresh: bool = False) -> None:
        """Show these lines in place of those before, and have others scroll away above them. What is on the screen
        already is not written again, unless `fresh`."""
        if not self.ours:
            self._shown = ()  # others have written since: it starts over below them
            self._write("".join(f"{text}\n" for text in above))
            return
        self._silence()
        size, before = self.size, self._shown
        if not above and size == self._size and not fresh:
            self._write(_changed(before, lines))
        else:
            top = _erased(_rows(before, self._size[0], size[0]))
            words = "".join(f"{text}\n" for text in above)
            drawn = "".join(f"{line.text}\n" for line in lines)
            # Lines that scroll away may be longer than the terminal is wide: they wrap.
            self._write(f"{BEGIN}{top}{WRAP}{words}{NO_WRAP}{drawn}{END}")
        self._shown, self._size = tuple(lines), size

    def forget(self) -> None:
        """Begin again at the cursor: what was drawn before stays where it is."""
        self._shown = ()

    def leave(self) -> None:
        """Give the keyboard back. What is shown stays."""
        if self._silenced:
            self._echo(True)

    def _silence(self) -> None:
        # A key that is shown, or a line that is ended, would move what we are about to draw over.
        if self.keys is not None:
            self._echo(False)

    def _echo(self, wanted: bool) -> None:
        assert self.keys is not None
        try:
            found = termios.tcgetattr(self.keys)
            if bool(found[3] & termios.ECHO) != wanted:
                found[3] ^= termios.ECHO
                termios.tcsetattr(self.keys, termios.TCSANOW, found)
                self._silenced = not wanted
        except termios.error:
            self.keys = None  # no keyboard: nothing to keep silent

    def _write(self, text: str) -> None:
        rest = text.encode(self.encoding, "replace")
        while rest:
            rest = rest[os.write(self.out, rest) :]


def rows(height: int) -> int:
    """How tall the picture may be in a terminal of this height: the cursor and the newest events stay in sight."""
    return max(height - 1 - min(height // 4, ROWS_FOR_EVENTS_MAX), 1)


def drawn(console: Console, lines: Sequence[Text]) -> list[Drawn]:
    """The lines with the colours that the terminal knows."""
    with console.capture() as found:
        console.print(*lines, sep="\n", soft_wrap=True, end="")
    texts = found.get().split("\n") if lines else []
    return [Drawn(text, line.cell_len) for text, line in zip(texts, lines, strict=True)]


def _changed(before: Sequence[Drawn], lines: Sequence[Drawn]) -> str:
    """What turns the lines before into these; empty where they are the same."""
    if tuple(before) == tuple(lines):
        return ""
    parts = []
    for n, line in enumerate(lines):
        same = n < len(before) and before[n] == line
        parts.append("\n" if same else f"{line.text}{REST_OF_LINE}\n")
    return f"{BEGIN}\r{_up(len(before))}{''.join(parts)}{BELOW}{END}"


def _rows(lines: Sequence[Drawn], width: int, now: int) -> int:
    """How many rows the lines take up: a terminal that became narrower has broken them."""
    if now >= width:
        return len(lines)
    return sum(max(-(-line.cells // now), 1) for line in lines)


def _erased(rows: int) -> str:
    """What erases so many rows above the cursor, and leaves it on the first of them."""
    # Row by row: tmux keeps in its history whatever is erased at once from the first row on.
    return f"\r{_up(rows)}{ROW_AND_DOWN * rows}{_up(rows)}"


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows else ""
