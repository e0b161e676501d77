"""Saved work: what no ref holds, made into a commit under `refs/reconcile/salvage/<task>/<n>` before anything destroys it."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime

from msgspec import Struct, field

from reconciler.git import objects, refs
from reconciler.git.commands import Git
from reconciler.git.identity import OUR_VARIABLES
from reconciler.git.ref_cache import RefCache
from reconciler.git.refs import HEADS
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import (
    CHECK_REFS,
    DROPPED_REFS,
    SALVAGE_REFS,
    BranchName,
    Sha,
    TaskId,
    branch_of,
    dropped_ref,
    salvage_ref,
    usable,
)
from reconciler.model.observed import Salvage
from reconciler.model.values import replace
from reconciler.workspaces import copies, folders, snapshot
from reconciler.workspaces.ages import Ages
from reconciler.workspaces.folders import Contents
from reconciler.workspaces.snapshot import Sight, Snapshot, Work

_SETTLES_NS = 50_000_000
_CLEAN_S = 60.0  # what counts also depends on ignore files that may be anywhere
_SECONDS = re.compile(r" (\d{1,11}) [+-]\d{4}\Z")


class Saved(Struct, frozen=True, kw_only=True):
    """What saving found, and the ref under which it is kept; no ref when there was nothing to save."""

    salvage: Salvage | None
    work: Work
    standing: Contents  # what stood there when it was looked at first
    sight: Sight | None = None  # None where nothing had changed since it was looked at before
    kept_copies: copies.Digests = field(default_factory=dict)  # as they were: a sight is without them


class _Kept(Struct, frozen=True, kw_only=True):
    salvage: Salvage
    tree: Sha
    parents: tuple[Sha, ...]


class Salvages:
    """The saved work of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._stored = RefCache(git, _kept)
        self._ages = Ages(git.repository.state / "salvage-ages.json")
        # Where nothing was to be saved: how it looked then, and until when that is believed.
        self._clean: dict[TaskId, tuple[tuple[object, ...], float]] = {}

    def all(self) -> tuple[Salvage, ...]:
        """Everything that was saved, oldest first."""
        found = (self._aged(kept.salvage) for prefix in (SALVAGE_REFS, DROPPED_REFS) for kept in self._kept(prefix))
        return tuple(sorted(found, key=lambda salvage: (salvage.at, salvage.task, salvage.n)))

    def time_passes(self, now: datetime) -> None:
        """Let everything that is kept be older by the time since this was called last."""
        found = (kept.salvage for prefix in (SALVAGE_REFS, DROPPED_REFS) for kept in self._kept(prefix))
        self._ages.time_passes(now, {_ref(salvage): salvage.commit for salvage in found})

    def _aged(self, salvage: Salvage) -> Salvage:
        return replace(salvage, age=self._ages.of(_ref(salvage), salvage.commit))

    def save(self, work: Work, lock: int) -> Saved:
        """Save what no ref holds, verify it, and say what was seen. Raises ChangedError when it changes meanwhile.

        Where nothing was to be saved before, and not one file has changed since, nothing is read again.
        """
        standing = folders.contents(work.place) if os.path.lexists(work.place) else Contents(files={})
        seen = Saved(salvage=None, work=work, standing=standing)
        looks = (standing.digest, work, snapshot.own_index(work), self._git.excludes)
        before, until = self._clean.pop(work.task, ((), 0.0))
        if before == looks and time.monotonic() < until and not self._lost(work):
            return seen
        # Of a file that is being written this very moment, another change could leave the same date.
        old_enough = time.time_ns() - standing.newest_ns > _SETTLES_NS
        taken = snapshot.take(self._git, work, lock, standing)
        changes = copies.changed(work.place, work.recipe.copies)
        copies.keep(work.place, changes, self._git.repository.state / "copies" / work.task)
        seen = replace(seen, sight=taken.sight, kept_copies=changes)
        kept = self._kept(f"{SALVAGE_REFS}{work.task}/")
        lost = self._lost(work)
        if not lost and not self._dirty(work, taken, kept):
            if old_enough:
                self._clean[work.task] = looks, time.monotonic() + _CLEAN_S
            return seen
        parents = tuple(dict.fromkeys([*([work.start] if work.start else []), *lost]))
        same = (each.salvage for each in kept if (each.tree, each.parents) == (taken.tree, parents))
        salvage = next(same, None) or self._keep(work, taken, parents, kept)
        self._verify(work, taken, salvage, lock)
        return replace(seen, salvage=salvage)

    def keep(self, task: TaskId, commit: Sha) -> Salvage:
        """Keep a commit that was made elsewhere as saved work; the same content is kept once."""
        (stored,) = objects.commits(self._git, commit)
        with self._git.writing() as lock:
            kept = self._kept(f"{SALVAGE_REFS}{task}/")
            same = (k.salvage for k in kept if (k.tree, k.parents) == (stored.tree, stored.parents))
            if salvage := next(same, None):
                return salvage
            dropped = self._kept(f"{DROPPED_REFS}{task}/")
            n = max((each.salvage.n for each in (*kept, *dropped)), default=0) + 1
            self._git.refs("update-ref", "--no-deref", salvage_ref(task, n), commit, "", lock=lock)
        if self._at(salvage_ref(task, n)) != commit:
            raise ChangedError(f"{task}: its saved work was moved while it was being saved")
        return Salvage(task=task, n=n, commit=commit, at=datetime.now(UTC))

    def drop(self, salvage: Salvage) -> None:
        """Drop saved work, or forget what was dropped. Raises ChangedError when the ref holds something else by now."""
        ref = _ref(salvage)
        with self._git.writing() as lock:
            now = self._at(ref)
            if now is None:
                return
            if now != salvage.commit:
                raise ChangedError(f"{ref} moved to {now[:12]}")
            if not salvage.dropped:
                self._git.refs("update-ref", "--no-deref", dropped_ref(salvage.task, salvage.n), now, lock=lock)
            self._git.refs("update-ref", "--no-deref", "-d", ref, salvage.commit, lock=lock)

    def restore(self, task: TaskId) -> BranchName:
        """Make a branch of the newest saved work: the task's own, or `restored/<task>-<n>` where that is taken."""
        saved = (kept.salvage for prefix in (SALVAGE_REFS, DROPPED_REFS) for kept in self._kept(f"{prefix}{task}/"))
        newest = max(saved, key=lambda s: s.n, default=None)
        if newest is None:
            there = self._at(HEADS + branch_of(task))
            hint = f"what was committed is on its branch: git log {branch_of(task)}"
            if not there:
                hint = f"it has no branch either; 'reconcile describe {task}' shows how it stands"
            raise PermanentError(f"{task}: nothing was saved", hint=hint)
        for branch in (branch_of(task), BranchName(f"restored/{task}-{newest.n}")):
            if self._branch(branch, newest.commit):
                return branch
        raise PermanentError(f"{task}: restored/{task}-{newest.n} exists and is something else", hint="rename it first")

    def _branch(self, branch: BranchName, commit: Sha) -> bool:
        """True when the branch was made, or stands on this commit already."""
        ref = HEADS + branch
        with self._git.writing() as lock:
            if now := self._at(ref):
                return now == commit
            self._git.refs("update-ref", "--no-deref", ref, commit, "", lock=lock)
        return True

    def _dirty(self, work: Work, taken: Snapshot, kept: list[_Kept]) -> bool:
        if taken.tree == taken.start:
            return False
        if work.whole:
            return True
        # A removal that was cut off leaves a part of what was saved before; that is no new work.
        known = self._entries(taken.start).union(*(self._entries(each.tree) for each in kept))
        return not self._entries(taken.tree) <= known

    def _entries(self, tree: Sha) -> frozenset[str]:
        listed = self._git.objects("ls-tree", "-r", "-z", "--full-tree", tree).out
        return frozenset(os.fsdecode(listed).split("\0"))

    def _lost(self, work: Work) -> tuple[Sha, ...]:
        """The heads that no other ref holds. Saved work of the same task does not count, so that it is found again."""
        # Of a worktree that is on its branch there is nothing to ask.
        own_branch = refs.in_its_own_file(self._git, HEADS + branch_of(work.task))
        excluded = (f"--exclude={work.branch}",) if work.branch else ()
        # What a check runs on is named for as long as that takes, and for no one's work.
        own = (f"--exclude={SALVAGE_REFS}{work.task}/*", f"--exclude={DROPPED_REFS}*", f"--exclude={CHECK_REFS}*")
        held = (*excluded, "--glob=refs/heads", "--tags", "--remotes", *own, "--glob=refs/reconcile")
        return tuple(
            head
            for head in dict.fromkeys(work.heads)
            if head != own_branch and self._git.refs("rev-list", "--max-count=1", head, "--not", *held).out
        )

    def _keep(self, work: Work, taken: Snapshot, parents: tuple[Sha, ...], kept: list[_Kept]) -> Salvage:
        at = datetime.now(UTC).replace(microsecond=0)
        dates = {f"GIT_{role}_DATE": f"{int(at.timestamp())} +0000" for role in ("AUTHOR", "COMMITTER")}
        onto = [part for parent in parents for part in ("-p", parent)]
        message = _message(work, taken, at).encode("utf-8", "surrogateescape")
        with self._git.writing() as lock:
            made = self._git.objects(
                *("commit-tree", taken.tree, *onto),
                stdin=message,
                config=("core.fsync=all", "commit.gpgSign=false"),
                env={**OUR_VARIABLES, **dates},
                lock=lock,
            )
            dropped = self._kept(f"{DROPPED_REFS}{work.task}/")
            n = max((each.salvage.n for each in (*kept, *dropped)), default=0) + 1
            salvage = Salvage(task=work.task, n=n, commit=Sha(made.text.strip()), at=at)
            self._git.refs("update-ref", "--no-deref", salvage_ref(work.task, n), salvage.commit, "", lock=lock)
        return salvage

    def _verify(self, work: Work, taken: Snapshot, salvage: Salvage, lock: int) -> None:
        self._git.objects("cat-file", "-e", f"{salvage.commit}^{{commit}}")
        if self._at(salvage_ref(salvage.task, salvage.n)) != salvage.commit:
            raise ChangedError(f"{work.task}: its saved work was moved while it was being saved")
        if snapshot.take(self._git, work, lock) != taken:
            raise ChangedError(f"{work.task}: {work.place} changed while it was being saved")

    def _at(self, ref: str) -> Sha | None:
        return refs.head_of(self._git, ref)

    def _kept(self, prefix: str) -> list[_Kept]:
        rows = refs.plain(self._git, prefix).items()
        # What can't be read keeps nobody from saving more; `restore` of its task says so.
        found, _ = self._stored.by((ref, commit) for ref, (commit, _) in rows)
        return [kept for kept in found.values() if kept]


def _kept(ref: str, name: Sha, stored: objects.GitObject) -> _Kept | None:
    """Saved work; None for a ref that is none of ours."""
    dropped = ref.startswith(DROPPED_REFS)
    named = re.fullmatch(r"([^/]+)/([1-9][0-9]{0,9})", ref.removeprefix(DROPPED_REFS if dropped else SALVAGE_REFS))
    if not named or not usable(named[1]) or stored.kind != "commit":
        return None
    commit = objects.commit(name, stored)
    at = _SECONDS.search(commit.committer)
    when = datetime.fromtimestamp(int(at[1]) if at else 0, UTC)
    salvage = Salvage(task=TaskId(named[1]), n=int(named[2]), commit=name, at=when, dropped=dropped)
    return _Kept(salvage=salvage, tree=commit.tree, parents=commit.parents)


def _ref(salvage: Salvage) -> str:
    return (dropped_ref if salvage.dropped else salvage_ref)(salvage.task, salvage.n)


def _message(work: Work, taken: Snapshot, at: datetime) -> str:
    changed = "uncommitted work" if taken.tree != taken.start else "commits off its branch"
    where = work.branch or branch_of(work.task)
    return (
        f"salvage {work.task}: {changed}\n\n"
        f"Saved at {at.isoformat()} from {work.place}\n"
        f"Started from {work.start or 'nothing'} ({where})\n\n"
        f"Reconcile-Task: {work.task}\n"
    )
