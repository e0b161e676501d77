"""Copies, moves and mounts of a repository: whose worktree a folder is, and that nobody touches another's."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.errors import PermanentError
from reconciler.model.names import TaskId
from reconciler.model.observed import WorktreeFault
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces

TASK = TaskId("x-1")


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path / "here", files={"a": "a\n"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "here/worktrees"


@pytest.fixture
def work(repo: GitRepo, root: Path) -> Path:
    """The worktree of a task running, with something that is in no commit."""
    spaces(repo).create(TASK, a_spec(repo, root), repo.head())
    (root / "x-1/precious").write_text("mine\n")
    return root / "x-1"


def spaces(repo: GitRepo) -> GitWorkspaces:
    return GitWorkspaces(repo.seam())


def a_spec(repo: GitRepo, root: Path) -> EpicSpec:
    return EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=str(root)))


def at(repo: GitRepo, path: Path) -> GitRepo:
    return replace(repo, path=path)


def copied(repo: GitRepo) -> GitRepo:
    """What `cp -a` makes of a repository, beside it."""
    beside = repo.path.parent / "copy"
    subprocess.run(("cp", "-a", repo.path, beside), check=True)
    return at(repo, beside)


def standing(work: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in work.iterdir() if path.is_file()}


def assert_at_work(repo: GitRepo, work: Path) -> None:
    """The worktree is `repo`'s, whole, with its unsaved file."""
    assert (work / "precious").read_text() == "mine\n"
    assert repo.git("status", "--porcelain", cwd=work) == "?? precious"
    assert repo.git("rev-parse", "--path-format=absolute", "--git-common-dir", cwd=work) == str(repo.common)
    seen = spaces(repo).worktrees(Venue(root=str(work.parent)), [TASK])[TASK]
    assert seen.fault is None, seen


# --- a copy ----------------------------------------------------------------------------------------------------


def test_a_copy_of_a_repository_never_touches_the_originals_worktrees(repo, root, work):
    copy = copied(repo)
    before = standing(work)

    seen = spaces(copy).worktrees(Venue(root=str(root)), [TASK])[TASK]
    assert seen.fault is WorktreeFault.TAKEN and str(repo.common) in seen.detail
    with pytest.raises(PermanentError, match="in the way"):
        spaces(copy).remove(TASK, Venue(root=str(root)))
    with pytest.raises(PermanentError, match="in the way"):
        spaces(copy).create(TASK, a_spec(copy, root), copy.head())
    assert spaces(copy).salvage(TASK, Venue(root=str(root))) is None

    assert standing(work) == before
    assert copy.refs("refs/reconcile/salvage") == {}
    assert_at_work(repo, work)


@pytest.mark.parametrize("damage", ["gone", "garbage"])
def test_a_damaged_link_is_mended_by_who_made_the_folder_and_by_no_copy(repo, root, work, damage):
    copy = copied(repo)
    (work / ".git").unlink()
    if damage == "garbage":
        (work / ".git").write_text("nothing that git knows\n")

    with pytest.raises(PermanentError, match="in the way"):
        spaces(copy).remove(TASK, Venue(root=str(root)))
    assert spaces(repo).worktrees(Venue(root=str(root)), [TASK])[TASK].fault is WorktreeFault.HALF_MADE
    spaces(repo).create(TASK, a_spec(repo, root), repo.head())

    assert repo.git("show", "refs/reconcile/salvage/x-1/1:precious") == "mine"
    assert spaces(repo).worktrees(Venue(root=str(root)), [TASK])[TASK].fault is None


def test_a_copy_with_worktrees_of_its_own_works_on_the_same_task(repo, root, work, tmp_path):
    copy = copied(repo)
    own = tmp_path / "copies"

    spaces(copy).create(TASK, a_spec(copy, own), copy.head())

    assert spaces(copy).worktrees(Venue(root=str(own)), [TASK])[TASK].fault is None
    assert_at_work(repo, work)
    spaces(copy).remove(TASK, Venue(root=str(own)))
    assert_at_work(repo, work)


def test_a_copy_takes_no_check_away_from_the_original(repo, root):
    path = Path(spaces(repo).create_check("t-1", Venue(root=str(root)), repo.head()))
    copy = copied(repo)

    assert spaces(copy).check_worktrees(Venue(root=str(root))) == {}
    for discard in (
        lambda: spaces(copy).remove_check("t-1", Venue(root=str(root))),
        lambda: spaces(copy).create_check("t-1", Venue(root=str(root)), copy.head()),
    ):
        with pytest.raises(PermanentError, match="another repository"):
            discard()

    assert (path / "a").read_text() == "a\n"
    spaces(repo).remove_check("t-1", Venue(root=str(root)))
    assert not path.exists()


def test_what_a_copy_lists_of_the_original_is_the_originals_also_while_it_is_being_made(repo, root):
    repo.git("branch", "agent/x-1")
    how = ("--quiet", "--no-checkout", "--lock", "--reason", "reconcile x-1")
    repo.git("worktree", "add", *how, str(root / "x-1"), "agent/x-1")
    copy = copied(repo)

    assert spaces(copy).worktrees(Venue(root=str(root)), [TASK])[TASK].fault is WorktreeFault.TAKEN
    assert spaces(repo).worktrees(Venue(root=str(root)), [TASK])[TASK].fault is WorktreeFault.HALF_MADE


# --- a move ----------------------------------------------------------------------------------------------------


def test_a_repository_that_was_moved_finds_its_worktrees_again(repo, root, work):
    elsewhere = repo.path.parent / "elsewhere"
    repo.path.rename(elsewhere)
    moved = at(repo, elsewhere)

    assert spaces(moved).worktrees(Venue(root=str(root)), [TASK])[TASK].fault is WorktreeFault.HALF_MADE
    spaces(moved).create(TASK, a_spec(moved, root), moved.head())

    assert_at_work(moved, work)
    assert moved.refs("refs/reconcile/salvage") == {}


def test_a_repository_that_was_moved_together_with_its_worktrees_finds_them_again(repo, root, work, tmp_path):
    (tmp_path / "here").rename(tmp_path / "there")
    moved, where = at(repo, tmp_path / "there" / repo.path.name), tmp_path / "there/worktrees"

    spaces(moved).create(TASK, a_spec(moved, where), moved.head())

    assert_at_work(moved, where / "x-1")


def test_worktrees_that_were_moved_alone_are_found_again(repo, root, work, tmp_path):
    root.rename(tmp_path / "moved")

    spaces(repo).create(TASK, a_spec(repo, tmp_path / "moved"), repo.head())

    assert_at_work(repo, tmp_path / "moved/x-1")


def test_what_a_moved_repository_left_is_saved_before_it_is_removed(repo, root, work):
    elsewhere = repo.path.parent / "elsewhere"
    repo.path.rename(elsewhere)
    moved = at(repo, elsewhere)

    spaces(moved).remove(TASK, Venue(root=str(root)))

    assert not work.exists()
    assert moved.git("show", "refs/reconcile/salvage/x-1/1:precious") == "mine"


def test_a_copy_of_a_worktree_is_nobodys(repo, root, work, tmp_path):
    shutil.copytree(work, tmp_path / "copies/x-1")

    assert spaces(repo).worktrees(Venue(root=str(tmp_path / "copies")), [TASK])[TASK].fault is WorktreeFault.TAKEN
    with pytest.raises(PermanentError, match="in the way"):
        spaces(repo).remove(TASK, Venue(root=str(tmp_path / "copies")))
    assert_at_work(repo, work)


# --- one repository under two names ----------------------------------------------------------------------------


def test_a_repository_under_a_link_is_the_same_repository(repo, root, work, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "here")
    linked = at(repo, tmp_path / "link" / repo.path.name)

    assert spaces(linked).worktrees(Venue(root=str(tmp_path / "link/worktrees")), [TASK])[TASK].fault is None


def test_a_relative_link_is_as_good_as_an_absolute_one(repo, root, work):
    relative = os.path.relpath(repo.common / "worktrees/x-1", work)
    (work / ".git").write_text(f"gitdir: {relative}\n")

    assert_at_work(repo, work)


def test_a_repository_under_a_bind_mount_is_the_same_repository(repo, root, work, tmp_path):
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    bound = subprocess.run(("mount", "--bind", tmp_path / "here", mounted), capture_output=True)
    if bound.returncode:
        pytest.skip(f"nothing can be mounted here: {bound.stderr.decode().strip()}")
    try:
        there = at(repo, mounted / repo.path.name)

        assert spaces(there).worktrees(Venue(root=str(mounted / "worktrees")), [TASK])[TASK].fault is None
        spaces(there).remove(TASK, Venue(root=str(mounted / "worktrees")))
        assert not work.exists()
    finally:
        subprocess.run(("umount", mounted), check=True)
    assert repo.git("show", "refs/reconcile/salvage/x-1/1:precious") == "mine"
