"""The commands that must pass before something lands, as values."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

STAGING = "reconcile/staging/"  # below it, the branches to which is pushed what a forge's own checks are to test


class Check(Struct, frozen=True):
    """A shell command that must pass. `timeout_s` None: it may take what is left of the time for all of them. `retries`: how
    often it is started again, in the same run, before it counts as failed. `paths`: globs of what it is about; none: everything.

    `staged`: no command of ours, but whatever the forge runs on what is pushed to a staging branch.
    """

    run: str
    timeout_s: float | None = None
    retries: int = 0
    paths: tuple[str, ...] = ()
    staged: bool = False

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
    def of_the_forge(cls, names: Iterable[str]) -> Check:
        """What a forge runs on a staging branch; `names`: those that must be among it. Others ask for another proof."""
        return cls("\n".join((f"{STAGING}**", *names)), staged=True)

    @classmethod
    def each(cls, commands: Iterable[str]) -> tuple[Check, ...]:
        """Commands with no limits of their own."""
        return tuple(map(cls, commands))
