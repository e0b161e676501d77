"""The branches of our tasks on both sides: how the one here stands to the one on GitHub, and how each follows the other.

What we pushed last is kept in `refs/reconcile/pushed/<task>`, and what we were about to push in `…/pushing/<task>`: a push
may arrive although we were killed during it. An agent may rewrite its own branch; what is on GitHub is
taken back for that only where it is what we put there. Whatever else stands there is a person's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from reconciler.git import objects, refs, update_ref
from reconciler.git.commands import Git
from reconciler.git.identity import identity
from reconciler.git.refs import HEADS
from reconciler.git.update_ref import Move
from reconciler.landing.history import History
from reconciler.landing.landing import LandingLine
from reconciler.landing.remotes import Remotes
from reconciler.landing.signature import Signature
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import (
    BRANCH_PREFIX,
    DROPPED_REFS,
    SALVAGE_REFS,
    Sha,
    TaskId,
    branch_of,
    salvage_ref,
    task_of,
)
from reconciler.model.observed import Standing

PUSHED = "refs/reconcile/pushed/"
PUSHING = "refs/reconcile/pushing/"


class TaskBranches:
    """The `agent/<task>` branches of one repository and its remote. Safe to share between threads."""

    def __init__(self, git: Git, remotes: Remotes, history: History, line: LandingLine) -> None:
        self._git, self._remotes, self._history, self._line = git, remotes, history, line

    def tasks(self) -> Iterable[TaskId]:
        """The tasks that have a branch here."""
        found = refs.plain(self._git, HEADS + BRANCH_PREFIX.rstrip("/"))
        return [task for ref in found if (task := task_of(ref.removeprefix(HEADS)))]

    def head(self, task: TaskId) -> Sha | None:
        """Where the branch here stands; None where there is none."""
        return refs.head_of(self._git, HEADS + branch_of(task))

    def standing(self, task: TaskId, there: Sha) -> Standing:
        """How the branch here stands to its head on GitHub, whose objects are here."""
        here = self.head(task)
        if here == there:
            return Standing.SAME
        if here is None or self._history.contains(there, here):
            return Standing.BEHIND
        ours = self._history.contains(here, there) or self._from_here(task, there)
        return Standing.AHEAD if ours else Standing.BEHIND

    def bring(self, base: str, task: TaskId, head: Sha) -> None:
        """Have the objects of a head on GitHub here."""
        near = self.head(task) or self._line.local(base)
        self._remotes.bring(base, branch_of(task), head, near=near)

    def push(self, base: str, task: TaskId, here: Sha, head: Sha) -> Sha:
        """Bring the branch on GitHub to `head`, made of the one `here`; where it then stands, which is further where a
        person was there before.

        Raises ChangedError when the branch here is elsewhere, PermanentError where it holds work that is not here.
        """
        if self.head(task) != here:
            raise ChangedError(f"{task}: the head of {branch_of(task)} is not {here[:12]}", hint="look at it again")
        there = self.there(base, task)
        if there == head:
            self._remember(task, head)
            return head
        if there and self._from_here(task, there):
            self._remember(task, there)
        elif there:
            self.bring(base, task, there)
            if self._history.contains(there, here):
                return there
            if not self._history.contains(head, there):
                raise PermanentError(
                    f"{branch_of(task)} on GitHub is at {there[:12]}, which is not from here: it is not overwritten",
                    hint=f"delete it there, or take it over: git fetch origin {branch_of(task)}",
                )
        self._remember(task, head, PUSHING)
        with self._git.writing("github-push") as lock:  # not the writer's lock: a push takes its time
            self._remotes.push_branch(base, branch_of(task), there, head, lock)
        self._remember(task, head)
        return head

    def follow(self, task: TaskId, head: Sha) -> None:
        """Bring the branch here, with its worktree, to a head that was pushed to GitHub."""
        here = self.head(task)
        if here == head:
            return
        if here is None:
            with self._git.writing() as lock:
                update_ref.move(self._git, (Move(HEADS + branch_of(task), None, head),), "pushed elsewhere", lock)
            return
        if not self._history.contains(head, here):
            self._keep(task, here)
        self._line.bring(branch_of(task), here, head)

    def there(self, base: str, task: TaskId) -> Sha | None:
        """Where the branch on GitHub stands now."""
        return self._remotes.branch(base, branch_of(task))

    def delete(self, base: str, task: TaskId, head: Sha) -> None:
        """Delete the branch on GitHub where it still is at `head`; gone already is gone."""
        with self._git.writing("github-push") as lock:
            self._remotes.delete_branch(base, branch_of(task), head, lock)
        for kept in (PUSHED, PUSHING):
            self._git.refs("update-ref", "-d", kept + task, ok=(0, 128))

    def _from_here(self, task: TaskId, there: Sha) -> bool:
        return there in (refs.head_of(self._git, PUSHED + task), refs.head_of(self._git, PUSHING + task))

    def _remember(self, task: TaskId, head: Sha, where: str = PUSHED) -> None:
        self._git.refs("update-ref", "--no-deref", "-m", "reconcile: push", "--", where + task, head)

    def _keep(self, task: TaskId, head: Sha) -> None:
        """Save commits that only the branch here has, before it goes where somebody else has taken it."""
        with self._git.writing() as lock:
            saved = refs.plain(self._git, f"{SALVAGE_REFS}{task}")
            kept = objects.commits(self._git, *(sha for sha, _ in saved.values()))
            if any(head in commit.parents for commit in kept):
                return
            gone = refs.plain(self._git, f"{DROPPED_REFS}{task}")
            numbers = [int(name) for ref in (*saved, *gone) if (name := ref.rpartition("/")[2]).isdecimal()]
            ref = salvage_ref(task, max(numbers, default=0) + 1)
            update_ref.move(
                self._git, (Move(ref, None, self._wrapped(task, head)),), f"save what {branch_of(task)} was", lock
            )

    def _wrapped(self, task: TaskId, head: Sha) -> Sha:
        """A commit of now on top of what is saved: what is kept for a month is kept from its saving on."""
        by = Signature(*identity(self._git), f"@{int(time.time())} +0000").line
        (saved,) = objects.commits(self._git, head)
        text = f"salvage {task}: commits that {branch_of(task)} on GitHub does not have\n\nReconcile-Task: {task}\n"
        return objects.write_commit(self._git, saved.tree, (head,), author=by, committer=by, text=text)
