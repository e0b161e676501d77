"""Branches of tasks deleted on GitHub: only where nobody goes on with them, and what is built on them has another base."""

from __future__ import annotations

from reconciler.forges.github.branches import TaskBranches
from reconciler.forges.github.gh import Gh, quoted
from reconciler.forges.github.look import Look
from reconciler.model.errors import ChangedError
from reconciler.model.names import PrNumber, Sha, TaskId, branch_of
from reconciler.model.values import replace

ROUNDS = 3  # somebody may be opening new ones


class BranchRemoval:
    """The end of the branches of one repository."""

    def __init__(self, gh: Gh, look: Look, branches: TaskBranches) -> None:
        self._gh, self._look, self._branches = gh, look, branches

    def drop(self, task: TaskId, head: Sha, base: str) -> None:
        """Delete the branch of `task` where it still is at `head`; what was to be merged into it is sent on to `base` before that.

        Raises ChangedError where it stays.
        """
        there = self._branches.there(base, task)
        if there == head:
            try:
                self._let_go(task)
                self._send_on(task, base)
            except ChangedError as error:
                self._stands(task, None)
                raise ChangedError(f"{branch_of(task)} stays on GitHub: {error}") from error
            self._branches.delete(base, task, head)
            there = None
        self._stands(task, there)
        if there:
            raise ChangedError(f"{branch_of(task)} stays on GitHub: it went on to {there[:12]}")

    def _let_go(self, task: TaskId) -> None:
        """Raise ChangedError where somebody has opened another pull request of this branch: it would be closed with it."""
        if left := [f"#{pull.number}" for pull in self._look.of_branch(task) if pull.open]:
            raise ChangedError(f"{', '.join(left)} is open")

    def _send_on(self, task: TaskId, base: str) -> None:
        """Send the open pull requests that are to be merged into this branch to `base`, where it landed.

        GitHub does that where it deletes a branch by itself; with one that we delete it would close them. Raises
        ChangedError where one stays.
        """
        for _ in range(ROUNDS):
            above = self._built_on(task)
            if not above:
                return
            for number in above:
                answer = self._gh.change("PATCH", f"{self._look.slug.path}/pulls/{number}", {"base": base})
                if not answer.ok:
                    raise ChangedError(f"#{number} can't be sent on to {base}: {answer.message or answer.status}")
            self._look.stale()
        raise ChangedError(f"more pull requests than can be sent on are to be merged into {branch_of(task)}")

    def _built_on(self, task: TaskId) -> tuple[PrNumber, ...]:
        listed = (
            self._gh.get(f"{self._look.slug.path}/pulls?state=open&per_page=100&base={quoted(branch_of(task))}") or ()
        )
        return tuple(PrNumber(pull["number"]) for pull in listed if isinstance(pull, dict))

    def _stands(self, task: TaskId, head: Sha | None) -> None:
        """Note where the branch of what landed is now; None: it is gone, or not to be taken away."""
        for pull in self._look.last.pulls.values():
            if pull.task == task and not pull.open:
                self._look.note(replace(pull, left=head))
