"""Somebody at work in the checkout of the base, who cares for no lock: what they do between two effects of the program."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Mapping
from pathlib import Path

MINE = "mine"
COMMIT = ("commit", "--quiet", "--all")
HABITS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "commits": ((*COMMIT, "--message=mine"),),
    "amends": ((*COMMIT, "--amend", "--no-edit"),),
    "stashes": (("stash", "--quiet"), ("stash", "pop", "--quiet")),
    "switches": (("switch", "--quiet", "--force-create=theirs"), ("switch", "--quiet", "main")),
    "stages": (("add", MINE),),
}
ALL = "all"  # one habit after the other


class Somebody:
    """Each time they write a line more into a file of theirs, remove whatever lock is there, and do what they do."""

    def __init__(self, root: Path, env: Mapping[str, str], habit: str) -> None:
        self.root, self.env = root, env
        self._habits = itertools.cycle(HABITS if habit == ALL else (habit,))

    @property
    def written(self) -> list[str]:
        """The lines of their file."""
        return (self.root / MINE).read_text().splitlines()

    def act(self) -> None:
        with (self.root / MINE).open("a") as file:
            file.write(f"line {len(self.written)}\n")
        for words in HABITS[next(self._habits)]:
            (self.root / ".git/index.lock").unlink(missing_ok=True)
            # It may fail, as it does for people: a git of the program's is at the index just then.
            subprocess.run(("git", *words), cwd=self.root, env=dict(self.env), capture_output=True)
