"""Somebody running in the checkout of the base, who cares for no lock: what they do between two effects of the program."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

COMMIT = ("commit", "--quiet", "--all")
HABITS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "commits": ((*COMMIT, "--message=mine"),),
    "amends": ((*COMMIT, "--amend", "--no-edit"),),
    "stashes": (("stash", "--quiet"), ("stash", "pop", "--quiet", "--index")),
    "switches": (("switch", "--quiet", "--force-create=theirs"), ("switch", "--quiet", "main")),
    "stages": (("add", "--update"),),
}
ALL = "all"  # one habit after the other


class Somebody:
    """Each time they write a new file, stage it, remove whatever lock is there, and do what they do.

    How often they did it is kept beside the repository: they are the same person in two processes.
    """

    def __init__(self, root: Path, env: Mapping[str, str], habit: str) -> None:
        self.root, self.env = root, dict(env)
        self._habits = list(HABITS) if habit == ALL else [habit]
        self._count = root.parent / "acts"

    @property
    def files(self) -> list[str]:
        """The names of everything that they wrote."""
        acts = int(self._count.read_text()) if self._count.exists() else 0
        return [f"mine-{n}" for n in range(acts)]

    def act(self) -> None:
        n = len(self.files)
        self._count.write_text(str(n + 1))
        (self.root / f"mine-{n}").write_text(f"{n}\n")
        for words in (("add", f"mine-{n}"), *HABITS[self._habits[n % len(self._habits)]]):
            self._git(*words)

    def leave(self) -> None:
        """Go back to the base, and take out again what a lock kept in the stash."""
        self._git("switch", "--quiet", "main")
        while self._git("rev-parse", "--verify", "--quiet", "refs/stash") and self._git("stash", "pop", "--quiet"):
            pass

    def missing(self) -> list[str]:
        """What is neither in the checkout nor in a commit of theirs."""
        kept = [ref for ref in ("main", "theirs") if self._git("rev-parse", "--verify", "--quiet", ref)]
        return [
            name
            for n, name in enumerate(self.files)
            if not any(self._git("cat-file", "-e", f"{ref}:{name}") for ref in kept)
            and (not (self.root / name).exists() or (self.root / name).read_text() != f"{n}\n")
        ]

    def _git(self, *words: str) -> bool:
        """It may fail, as it does for people: a git of the program's may be at the index just then."""
        (self.root / ".git/index.lock").unlink(missing_ok=True)
        return subprocess.run(("git", *words), cwd=self.root, env=self.env, capture_output=True).returncode == 0
