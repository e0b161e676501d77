"""The log of a run, read bit by bit as people read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct


class LogReader(Struct, kw_only=True):
    """A log from `at` on. `shown` makes lines for people of it, where it holds no such lines already.

    A log that was cut short is read from its new beginning. Where it is shown in other words, a line that has no end yet is
    left for the next time.
    """

    read: Callable[[int], tuple[bytes, int]]  # what stands in it from a byte on, and where it ends
    shown: Callable[[str], Iterator[str]] | None = None
    at: int = 0

    def more(self) -> bytes:
        """What was printed since; nothing where there is no log."""
        found, self.at = self.read(self.at)
        if self.shown:
            whole, newline, rest = found.rpartition(b"\n")
            self.at -= len(rest)
            found = "".join(f"{line}\n" for line in self.shown((whole + newline).decode("utf-8", "replace"))).encode()
        return found

    def skip(self, most: int) -> None:
        """Begin with the last `most` bytes, at the beginning of a line."""
        found, end = self.read(0)
        if end > most:
            self.at = found.find(b"\n", end - most) + 1 or end
