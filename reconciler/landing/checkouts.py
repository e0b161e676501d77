"""The checkouts of a base branch: which there are, and what in them a landing must not touch. Looking changes nothing."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from reconciler.git import large_files, worktrees
from reconciler.git.commands import Git
from reconciler.git.refs import HEADS
from reconciler.landing.opened import BaseCheckout, CheckoutStep, opened
from reconciler.model.errors import BlockedError, ContentRefusedError, TemporaryError
from reconciler.model.names import Sha

_BUSY = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_START": "bisection",
}
# While one of these goes on, HEAD is detached; the file names the branch that it is about.
_BRANCH_FILES = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
_IN_THE_WAY_S = 30.0
_NAMED_MAX = 5
_AT_WORK_S = 5.0  # longer than any landing locks an index
_UNREADABLE = r"failed to (unpack|read) |unable to read (tree|sha1 file|[0-9a-f]{40})|(bad|missing) object"
# What our lock of an index holds; a git that finds it says only that there is one.
LOCK_SAYS = (
    "reconcile brings this checkout forward and removes this file by itself; killed, at its next start ({nonce})\n"
)


def of_base(git: Git, base: str) -> tuple[BaseCheckout, ...]:
    """Every checkout of a base branch; one where a rebase or a bisection of it goes on is one of them."""
    repository = git.repository
    found = []
    for entry in worktrees.read(git).entries:
        admin = entry.admin or (repository.common if entry.path == repository.main and not repository.bare else None)
        if admin is None or (entry.branch or _detached_from(admin)) != HEADS + base:
            continue
        if entry.path.is_dir():
            found.append(BaseCheckout(entry.path, admin, _amid(admin)))
        elif entry.locked is not None:
            raise TemporaryError(
                f"{base} is checked out in {entry.path}, which is not there now",
                delay=_IN_THE_WAY_S,
                hint=f"bring it back, or run 'git worktree unlock {entry.path}' and 'git worktree prune'",
            ).due_to(entry.path, admin / "locked")
    return tuple(found)


def uncommitted(git: Git, path: Path, head: Sha) -> frozenset[str]:
    """The same as `dirty` of the worktree at `path`, which is on `head`. Raises TemporaryError where git lists none."""
    for entry in worktrees.read(git).entries:
        if entry.path == path and entry.admin:
            return dirty(git, BaseCheckout(path, entry.admin), head)
    raise TemporaryError(f"git lists no worktree at {path}")


def dirty(git: Git, checkout: BaseCheckout, head: Sha) -> frozenset[str]:
    """Staged, changed and untracked paths of a checkout of `head`, without `.beads/`."""
    with opened(git, checkout, head) as looking:
        return looking.dirty()


def step(git: Git, old: Sha, new: Sha, changed: frozenset[str] | None = None) -> CheckoutStep:
    """What changes between two commits; git is asked where it is not known."""
    if changed is None:
        listed = git.objects("diff-tree", "-r", "--name-only", "--no-renames", "-z", old, new).text
        changed = frozenset(path for path in listed.split("\0") if path)
    return CheckoutStep(old, new, changed)


def make_sure_it_can_follow(git: Git, checkout: BaseCheckout, way: CheckoutStep) -> None:
    """Raise TemporaryError, naming the paths, where following the base would touch somebody's work."""
    if checkout.busy:
        raise blocked(checkout, f"a {checkout.busy} goes on there", "finish it, or abort it")
    _expect_unlocked(checkout)
    with opened(git, checkout, way.old) as looking:
        hit = sorted(looking.dirty() & way.changed) or looking.in_the_way_of(way.changed)
        if hit:
            there = (checkout.path / path for path in hit[:_NAMED_MAX])
            why = f"uncommitted or untracked there: {', '.join(hit[:_NAMED_MAX])}"
            raise blocked(checkout, why, "commit or move them").due_to(*there)
        tried = looking.follow(way, really=False)
        if tried.code:
            looking.refresh()
            tried = looking.follow(way, really=False)
    if tried.code:
        expect_its_files(tried.complaint)
        raise blocked(checkout, tried.complaint, "commit or move what is in the way")


def _detached_from(admin: Path) -> str | None:
    """The branch that a rebase or a bisection was begun on."""
    for name in _BRANCH_FILES:
        try:
            text = os.fsdecode((admin / name).read_bytes()[:4096]).strip()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return text if text.startswith(HEADS) else HEADS + text
    return None


def _amid(admin: Path) -> str | None:
    return next((what for name, what in _BUSY.items() if os.path.lexists(admin / name)), None)


def locked_by_us(admin: Path) -> bool:
    """True while a landing of ours, or what a killed one left, locks the index in this part of the git dir."""
    try:
        return (admin / "index.lock").read_bytes()[:200].startswith(LOCK_SAYS.partition("{")[0].encode())
    except OSError:
        return False


def left_locked(checkout: BaseCheckout) -> bool:
    """True where a landing of ours that is not running any more has locked the index."""
    try:
        age_s = time.time() - (checkout.admin / "index.lock").stat().st_mtime
    except OSError:
        return False
    return age_s > _AT_WORK_S and locked_by_us(checkout.admin)


def _expect_unlocked(checkout: BaseCheckout) -> None:
    lock = checkout.index.with_name("index.lock")
    if os.path.lexists(lock) and not locked_by_us(checkout.admin):
        raise blocked(checkout, f"its index is locked ({lock})", "wait for the git that runs there, or remove the file")


def expect_its_files(complaint: str) -> None:
    """Raise where it is no checkout that is in the way, but what the commit lacks: ContentRefusedError for a large file,
    TemporaryError for objects of git's, which a 'git gc --prune=now' of that moment has taken away."""
    if re.search(_UNREADABLE, complaint):
        raise TemporaryError(
            f"what is to be merged can't be read: {complaint}",
            delay=_IN_THE_WAY_S,
            hint="end what prunes objects here ('git gc --prune=now'); 'git fsck' says more; it is tried again",
        )
    if lacking := large_files.lacking(complaint):
        raise ContentRefusedError(f"the commit can't be checked out: {lacking}", hint=large_files.ADVICE)


def blocked(checkout: BaseCheckout, why: str, what_to_do: str) -> BlockedError:
    """The error where a checkout keeps its branch from moving."""
    error = BlockedError(
        f"{checkout.path} is in the way: {why}", delay=_IN_THE_WAY_S, hint=f"{what_to_do}; it is tried again"
    )
    # Whoever clears it away has git write one of these.
    return error.due_to(*(checkout.admin / name for name in ("index", "index.lock", "HEAD", *_BUSY)))
