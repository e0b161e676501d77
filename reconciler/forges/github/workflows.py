"""What the workflows of a repository say of themselves, as a commit holds them. They are text: nothing of them is run here."""

from __future__ import annotations

from reconciler.git.commands import Git
from reconciler.model.names import Sha

FOLDER = ".github/workflows"
KNOWN_MAX = 64


class Workflows:
    """The workflows of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._known: dict[tuple[Sha, str], bool] = {}

    def name(self, commit: Sha, text: str) -> bool:
        """True where one of them names this, in whatever sense."""
        if (commit, text) not in self._known:
            asked = ("grep", "--quiet", "--fixed-strings", "-e", text, commit, "--", f":(literal){FOLDER}")
            found = self._git.objects(*asked, ok=(0, 1)).code == 0
            self._known = {**dict([*self._known.items()][1 - KNOWN_MAX :]), (commit, text): found}
        return self._known[commit, text]
