"""The commands that must pass before something lands, as values."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct


class Check(Struct, frozen=True):
    """A shell command that must pass. `timeout_s` None: it may take what is left of the time for all of them. `retries`: how
    often it is started again, in the same run, before it counts as failed. `paths`: globs of what it is about; none: everything."""

    run: str
    timeout_s: float | None = None
    retries: int = 0
    paths: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What it asks of a tree: another one asks for another proof.

        >>> Check("just check").key, Check("just check", timeout_s=60.0).key
        ('just check', 'just check\\n60.0 0')
        """
        return (
            self.run if self.timeout_s is None and not self.retries else f"{self.run}\n{self.timeout_s} {self.retries}"
        )

    @classmethod
    def each(cls, commands: Iterable[str]) -> tuple[Check, ...]:
        """Commands with no limits of their own."""
        return tuple(map(cls, commands))
