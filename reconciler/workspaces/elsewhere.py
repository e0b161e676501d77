"""Checkouts on other machines: the ref of a task on the remote stands for the worktree.

It is there from the first start to the removal, says where the head is, and holds what is not committed. Nothing but us moves
the branch `agent/<task>`, which is in our repository and on no node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from reconciler.git import identity, refs, update_ref
from reconciler.git.ancestry import contains
from reconciler.git.commands import Git
from reconciler.git.refs import HEADS
from reconciler.git.run_reports import Reported
from reconciler.git.task_refs import TaskRefs, identity_of
from reconciler.git.update_ref import Move
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError
from reconciler.model.names import (
    RUN_REFS,
    UNDELIVERED_REFS,
    RunId,
    RunKind,
    Sha,
    TaskId,
    branch_of,
    remote_key,
    usable,
)
from reconciler.model.observed import Salvage, Worktree
from reconciler.model.ports import Place
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces
from reconciler.workspaces.branches import Branches
from reconciler.workspaces.salvage import Salvages


class Elsewhere:
    """What the remotes of a repository hold of its tasks. Safe to share between threads as far as git is."""

    def __init__(self, git: Git, branches: Branches, salvages: Salvages) -> None:
        self._git, self._branches, self._salvages = git, branches, salvages
        self._remotes: dict[str, TaskRefs] = {}
        self._us = ""

    @property
    def us(self) -> str:
        """By what runs are known to be ours."""
        self._us = self._us or identity_of(self._git.repository.state)
        return self._us

    def refs(self, url: str) -> TaskRefs:
        """The refs of one remote; what was seen of them is remembered."""
        return self._remotes.setdefault(url, TaskRefs(self._git, url))

    def tree_path(self, at: Venue, task: TaskId, n: int) -> str:
        """Where the checkout of a run is, on whatever node."""
        return f"{at.scratch}/{self.us}/work/{task}.{n}"

    def run_folder(self, at: Venue, task: TaskId, n: int) -> str:
        """Where its files are there."""
        return f"{at.scratch}/{self.us}/runs/work/{task}/{n}"

    # --- as worktrees are asked for -------------------------------------------------------------------------

    def worktrees(self, at: Venue, tasks: Iterable[TaskId]) -> Mapping[TaskId, Worktree]:
        """The tasks that have a ref there: these, and those that we reserved."""
        seen, asked = self.refs(at.remote).look(fresh=False), frozenset(tasks)
        return {
            task: Worktree(path=self.tree_path(at, task, each.n), head=each.head, branch=branch_of(task), elsewhere=at)
            for task, each in seen.items()
            if usable(task) and (task in asked or each.by == self.us)
        }

    def create(self, task: TaskId, spec: EpicSpec, base: Sha, n: int) -> Place:
        """Make the branch of a task; its checkout is made by the node that gets its run."""
        with self._git.writing() as lock:
            self._branches.start(task, base, lock)
        head = self._branches.head(task)
        if head is None:
            raise ChangedError(f"{branch_of(task)} vanished while it was being made")
        folder = self.run_folder(spec.venue, task, n)
        return Place(path=self.tree_path(spec.venue, task, n), head=head, ready_marker=f"{folder}/ready")

    def salvage(self, task: TaskId, at: Venue) -> Salvage | None:
        """Save what its last run left uncommitted."""
        seen = self.refs(at.remote).one(task)
        return self._saved(seen, at) if seen else None

    def remove(self, task: TaskId, at: Venue) -> Salvage | None:
        """Take the ref away, once what it holds is saved. Raises ChangedError where it is somebody else's, or in use."""
        remote = self.refs(at.remote)
        seen = remote.one(task)
        if seen is None:
            return None
        if not seen.over:
            raise ChangedError(f"{task} is at work on {seen.node or 'a node'}")
        if seen.by != self.us:
            raise ChangedError(f"{task} was worked on by another reconciler, which uses the same remote")
        saved = self._saved(seen, at)
        remote.swap(RUN_REFS + task, seen.at, None)
        return saved

    def _saved(self, seen: Reported, at: Venue) -> Salvage | None:
        remote, ref = self.refs(at.remote), RUN_REFS + seen.task
        kept = None
        if seen.wip:
            remote.bring(ref, seen.at)
            kept = self._salvages.keep(seen.task, seen.wip)
        if not self._held(seen.task, seen.head):
            remote.bring(ref, seen.at)
            kept = self._salvages.keep(seen.task, seen.head)
        return kept

    def _held(self, task: TaskId, head: Sha) -> bool:
        """True where a branch, a tag or the like holds a commit: then nothing of it can be lost."""
        own = self._branches.head(task)
        if own == head:
            return True
        if self._git.refs("cat-file", "-e", f"{head}^{{commit}}", ok=(0, 1, 128)).code:
            return False
        held = ("--glob=refs/heads", "--tags", "--remotes", "--glob=refs/reconcile")
        return not self._git.refs("rev-list", "--max-count=1", head, "--not", *held).out

    # --- what runs leave ------------------------------------------------------------------------------------

    def identity(self) -> Mapping[str, str]:
        """The variables by which agents commit as they do here: a node does not have our settings."""
        return identity.variables(self._git)

    def base(self, name: str) -> Sha | None:
        """Where a branch stands; None where there is none."""
        return refs.head_of(self._git, HEADS + name)

    def keep(self, task: TaskId, commit: Sha) -> Salvage:
        """Keep a commit that is here as saved work of a task."""
        return self._salvages.keep(task, commit)

    def adopt(self, seen: Reported, at: Venue) -> bool:
        """Bring the branch of a task to where its run has brought the work; False where it is kept as saved work instead.

        The branch is moved only from where it stood when the run was reserved, or onwards: who moved it meanwhile keeps it.
        """
        self.refs(at.remote).bring(RUN_REFS + seen.task, seen.at)
        ref = HEADS + branch_of(seen.task)
        with self._git.writing() as lock:
            now = refs.head_of(self._git, ref)
            if now == seen.head or (now and contains(self._git, now, seen.head)):
                return True
            if now is None or now == seen.branch_at or contains(self._git, seen.head, now):
                update_ref.move(self._git, (Move(ref, now, seen.head),), "a run elsewhere", lock)
                return True
        self._salvages.keep(seen.task, seen.head)
        return False

    def collect(self) -> tuple[Salvage, ...]:
        """Make saved work of what nodes delivered late, on the remotes that were looked at; then it is taken away there."""
        made = []
        for remote in list(self._remotes.values()):
            for ref, commit in list(remote.undelivered.items()):
                by, _, rest = ref.removeprefix(UNDELIVERED_REFS).partition("/")
                task = TaskId(rest.partition("/")[0])
                if by != self.us or not usable(task):
                    continue
                remote.bring(ref, commit)
                made.append(self._salvages.keep(task, commit))
                remote.swap(ref, commit, None)
        return tuple(made)


class AnyWorkspaces(GitWorkspaces):
    """The worktrees of one repository, on this machine and elsewhere."""

    def __init__(self, git: Git) -> None:
        super().__init__(git)
        self.elsewhere = Elsewhere(git, self._branches, self._salvages)

    def worktrees(self, at: Venue, tasks: Iterable[TaskId]) -> Mapping[TaskId, Worktree]:
        return super().worktrees(at, tasks) if at.local else self.elsewhere.worktrees(at, tasks)

    def create(self, task: TaskId, spec: EpicSpec, base: Sha, n: int = 1) -> Place:
        if spec.venue.local:
            return super().create(task, spec, base)
        # It was worked on here before: a branch that is checked out here can't follow what is done elsewhere.
        if task in super().worktrees(spec.checks_venue, [task]):
            super().remove(task, spec.checks_venue)
        return self.elsewhere.create(task, spec, base, n)

    def create_check(self, subject: str, at: Venue, commit: Sha, *, n: int = 1, apart: bool = False) -> str:
        if at.local:
            return super().create_check(subject, at, commit, n=n, apart=apart)
        # Its checkout is made by the node that gets it, out of what is pushed with its reservation.
        return self.elsewhere.tree_path(at, remote_key(RunId(RunKind.CHECK, subject, n), self.elsewhere.us), n)

    def fix(self, at: Venue) -> None:
        if at.local:
            super().fix(at)

    def ignored(self, task: TaskId, at: Venue) -> tuple[int, int]:
        return super().ignored(task, at) if at.local else (0, 0)

    def salvage(self, task: TaskId, at: Venue) -> Salvage | None:
        return super().salvage(task, at) if at.local else self.elsewhere.salvage(task, at)

    def remove(self, task: TaskId, at: Venue) -> Salvage | None:
        return super().remove(task, at) if at.local else self.elsewhere.remove(task, at)

    def expect_removable(self, task: TaskId, at: Venue) -> None:
        if at.local:  # else what is there is copied before it goes, and nothing else lies beside it
            super().expect_removable(task, at)

    def take(self, task: TaskId, at: Venue, head: Sha) -> None:
        if not at.local:
            raise PermanentError(f"{task} is worked on elsewhere: its branch follows by itself")
        super().take(task, at, head)

    def time_passes(self, now: datetime) -> None:
        super().time_passes(now)
        try:
            self.elsewhere.collect()
        except ReconcileError:
            return  # a remote that does not answer, or moves: it is seen again
