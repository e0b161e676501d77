"""What keeps the commit that a check runs on: it is on no branch, and git clears away what nothing names.

The worktree of a check names it too, until the check does something else there. One ref for each, `refs/reconcile/check/<subject>`: made
before the worktree, deleted after it. What was cut off in between is deleted with the next. The caller is the repository's writer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reconciler.git import refs
from reconciler.git.commands import Git
from reconciler.model.names import CHECK_REFS, Sha


class CheckRefs:
    """The refs of the checks of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def hold(self, subject: str, commit: Sha, standing: Callable[[], Collection[str]], lock: int) -> None:
        """Name the commit that a check runs on. `standing`: the subjects of which there is a worktree."""
        self._change([f"update {CHECK_REFS}{subject}\0{commit}\0\0", *self._left_over({subject}, standing)], lock)

    def release(self, subject: str, lock: int) -> None:
        """Name it no more, once its worktree is gone."""
        if held := refs.head_of(self._git, CHECK_REFS + subject):
            self._change([_delete(CHECK_REFS + subject, held)], lock)

    def sweep(self, standing: Callable[[], Collection[str]], lock: int) -> None:
        """Delete what a check has left that has no worktree."""
        self._change(self._left_over(set(), standing), lock)

    def _left_over(self, but: set[str], standing: Callable[[], Collection[str]]) -> list[str]:
        held = {ref.removeprefix(CHECK_REFS): sha for ref, (sha, _) in refs.plain(self._git, CHECK_REFS).items()}
        left = held.keys() - but
        gone = left - set(standing()) if left else left
        return [_delete(CHECK_REFS + subject, held[subject]) for subject in sorted(gone)]

    def _change(self, commands: list[str], lock: int) -> None:
        if commands:
            self._git.refs("update-ref", "--no-deref", "--stdin", "-z", stdin="".join(commands).encode(), lock=lock)


def _delete(ref: str, held: Sha) -> str:
    return f"delete {ref}\0{held}\0"
