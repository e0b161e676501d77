"""Branches that began on the branch of another task, and how they come onto the base once that has landed.

`refs/reconcile/upon/<task>/<parent>` is the commit of the parent's branch on which a branch begins: written before the branch is
made, so that a kill in between leaves none of which nobody knows what in it is whose. What it names is not the task's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.git import objects, refs, update_ref
from reconciler.git.commands import Git
from reconciler.git.identity import identity
from reconciler.git.objects import Commit
from reconciler.git.refs import HEADS
from reconciler.git.update_ref import Move
from reconciler.landing import commits
from reconciler.landing.candidates import Candidates
from reconciler.landing.landing import LandingLine
from reconciler.landing.merge_tree import MergeTree
from reconciler.model.errors import ChangedError, UnfitError
from reconciler.model.names import Sha, TaskId, branch_of, usable
from reconciler.model.observed import Upon
from reconciler.model.values import replace

REFS = "refs/reconcile/upon/"
_NAMED = re.compile(re.escape(REFS) + r"([^/]+)/([^/]+)")


class Stacks:
    """The stacked branches of one repository. Safe to share between threads."""

    def __init__(self, git: Git, candidates: Candidates, line: LandingLine) -> None:
        self._git, self._candidates, self._line = git, candidates, line

    def all(self) -> Mapping[TaskId, Upon]:
        """What each task's branch began on, if on another's."""
        found = ((_NAMED.fullmatch(ref), sha) for ref, (sha, _) in refs.plain(self._git, REFS).items())
        named = ((TaskId(name[1]), TaskId(name[2]), sha) for name, sha in found if name)
        return {task: Upon(parent, sha) for task, parent, sha in named if usable(task) and usable(parent)}

    def begin(self, task: TaskId, upon: Upon) -> None:
        """Note that the branch of a task, which is not there yet, begins on that of another. Raises ChangedError."""
        with self._git.writing() as lock:
            if refs.head_of(self._git, HEADS + branch_of(task)):
                raise ChangedError(f"{branch_of(task)} is there already", hint="it is judged again")
            if refs.head_of(self._git, HEADS + branch_of(upon.parent)) != upon.fork:
                raise ChangedError(f"{branch_of(upon.parent)} has moved on", hint="it is judged again")
            self._forget(task, lock, but=upon.parent)
            ref = f"{REFS}{task}/{upon.parent}"
            before = refs.head_of(self._git, ref)
            if before != upon.fork:
                update_ref.move(self._git, (Move(ref, before, upon.fork),), f"on {branch_of(upon.parent)}", lock)

    def forget(self, task: TaskId) -> None:
        """It is a branch like any other from now on."""
        with self._git.writing() as lock:
            self._forget(task, lock)

    def onto(self, task: TaskId, head: Sha, upon: Upon, base: Sha) -> Sha:
        """Bring a branch whose head still is `head`, and its worktree, onto the base, with its own commits alone; where it
        then is. Raises UnfitError where they do not fit there one by one, TemporaryError for files in the way."""
        with commits.concerning(task):
            new = self._made(task, head, upon, base)
        self._line.bring(branch_of(task), head, new)
        return new

    def _made(self, task: TaskId, head: Sha, upon: Upon, base: Sha) -> Sha:
        (tip,) = objects.commits(self._git, base)
        with self._candidates.benches.at(base, quarantined=False) as bench:
            listed = bench.run("rev-list", "--reverse", "--topo-order", head, f"^{upon.fork}", f"^{base}").text.split()
            for original in objects.commits(self._git, *map(Sha, listed)):
                tip = self._put(task, bench, original, tip, upon)
        return tip.sha

    def _put(self, task: TaskId, bench: MergeTree, original: Commit, tip: Commit, upon: Upon) -> Commit:
        how = f"'git rebase --onto BASE {upon.fork}' by hand puts your own commits there"
        if len(original.parents) != 1:
            raise UnfitError(
                f"{task}: it began on {branch_of(upon.parent)}, and {original.sha[:12]} is a merge, which can't be put onto "
                f"the base by itself; {how}"
            )
        # Commits that part at the original's parent: `merge-tree --merge-base` is missing before git 2.40.
        parted = bench.commit(bench.tree(original.parents[0]))
        merged = bench.merge(bench.commit(tip.tree, parted), bench.commit(original.tree, parted))
        if merged.conflicts:
            paths = ", ".join(merged.conflicts[:5])
            raise UnfitError(
                f"{task}: it began on {branch_of(upon.parent)}, and {original.sha[:12]} is in conflict with the base "
                f"in {paths}; {how}"
            )
        if merged.tree == tip.tree:
            return tip  # what it does is there already
        made = replace(original, tree=merged.tree, parents=(tip.sha,))
        committer = commits.dated(identity(self._git), tip, original)
        (found,) = objects.commits(self._git, commits.write(bench, made, committer))
        return found

    def _forget(self, task: TaskId, lock: int, but: TaskId | None = None) -> None:
        for ref in refs.plain(self._git, f"{REFS}{task}"):
            if ref != f"{REFS}{task}/{but}":
                self._git.refs("update-ref", "-d", ref, ok=(0, 128), lock=lock)


class Stacking:
    """What every forge reports of stacked branches, and does for them: they stand here, wherever the pull requests are."""

    _stacks: Stacks

    def stacks(self) -> Mapping[TaskId, Upon]:
        """What the branches of tasks began on that began on another task's."""
        return self._stacks.all()

    def begin_on(self, task: TaskId, upon: Upon) -> None:
        """Note that the branch of a task begins on another task's."""
        self._stacks.begin(task, upon)

    def unstack(self, task: TaskId, head: Sha, upon: Upon, base: Sha) -> Sha:
        """Bring a branch, and its worktree, onto the base without what is not its own."""
        return self._stacks.onto(task, head, upon, base)

    def forget_stack(self, task: TaskId) -> None:
        """The branch of a task is gone, and with it what it began on."""
        self._stacks.forget(task)
