"""Git worktrees, with real git: made, found again, repaired after a kill at any step, and never at the cost of a file."""

import dataclasses
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import gitrepo
import pytest
import rights

from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.observed import WorktreeFault
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces

TASK = TaskId("x-1")
FILES = {
    "README": "hello\n",
    "src/main.c": "int main;\n",
    "src/deep/er/x.c": "x\n",
    "docs/a": "a\n",
    ".gitignore": "*.o\n.env\n",
}


@pytest.fixture
def repo(tmp_path):
    return gitrepo.make(tmp_path, files=FILES)


@pytest.fixture
def spaces(repo):
    return GitWorkspaces(repo.seam())


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "worktrees")


@pytest.fixture
def spec(repo, root):
    return a_spec(repo, root)


def a_spec(repo, root, **worktrees):
    return EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=root, **worktrees))


def files_of(folder):
    """Every file below a folder with its content, `.git` left out."""
    found = (path for path in Path(folder).rglob("*") if path.is_file() or path.is_symlink())
    return {str(path.relative_to(folder)): path.read_text() for path in found if path.name != ".git"}


def the(spaces, root, task=TASK):
    return spaces.worktrees(Venue(root=root), [task]).get(task)


def admin_of(repo, name="x-1"):
    return repo.common / "worktrees" / name


# --- making ---


def test_a_new_worktree_stands_on_its_branch_and_its_own_git_finds_it_clean(repo, spaces, spec, root):
    place = spaces.create(TASK, spec, repo.head())

    where = Path(place.path)
    assert where == Path(root) / "x-1"
    assert repo.git("symbolic-ref", "HEAD", cwd=where) == "refs/heads/agent/x-1"
    assert repo.status(where) == ""
    assert files_of(where) == FILES
    assert place.head == repo.head() == the(spaces, root).head
    assert the(spaces, root).fault is None


def test_the_branch_tracks_nothing(repo, spaces, spec):
    repo.git("config", "branch.autoSetupMerge", "always")

    spaces.create(TASK, spec, repo.head())

    assert repo.git("config", "--get-regexp", r"branch\..*", ok=False) == "branch.autosetupmerge always"


def test_a_branch_that_exists_is_checked_out_as_it_is(repo, spaces, spec):
    head = repo.branch("agent/x-1", {"README": "work\n"})

    place = spaces.create(TASK, spec, repo.head())

    assert place.head == head
    assert (Path(place.path) / "README").read_text() == "work\n"


def test_a_branch_without_a_commit_of_its_own_is_brought_to_the_base_first(repo, spaces, spec):
    repo.git("branch", "agent/x-1")
    newer = repo.commit({"README": "newer\n"})

    place = spaces.create(TASK, spec, newer)

    assert place.head == newer == repo.head("agent/x-1")
    assert (Path(place.path) / "README").read_text() == "newer\n"


def test_a_branch_that_is_ahead_of_an_older_base_stays(repo, spaces, spec):
    older = repo.head()
    newer = repo.commit({"README": "newer\n"})
    repo.git("branch", "agent/x-1")

    assert spaces.create(TASK, spec, older).head == newer


def test_a_worktree_that_is_there_is_found_with_its_changes(repo, spaces, spec):
    place = spaces.create(TASK, spec, repo.head())
    repo.write({"README": "half done\n", "new": "n\n"}, where=Path(place.path))

    again = spaces.create(TASK, spec, repo.head())

    assert again == place
    assert files_of(place.path)["README"] == "half done\n"
    assert repo.refs("refs/reconcile") == {}


def test_set_up_is_over_when_its_marker_was_touched(repo, spaces, spec, root):
    place = spaces.create(TASK, spec, repo.head())
    before = the(spaces, root).set_up, place.set_up

    Path(place.ready_marker).touch()

    assert before == (False, False)
    assert the(spaces, root).set_up and spaces.create(TASK, spec, repo.head()).set_up


def gone_on(repo, spaces, spec, *how):
    """The worktree of a task whose agent left its branch, and committed there; its head."""
    where = Path(spaces.create(TASK, spec, repo.head()).path)
    for command in how:
        repo.git(*command, cwd=where)
    return where, repo.commit({"new": "new\n"}, where=where)


@pytest.mark.parametrize(
    "how",
    [
        [("checkout", "--quiet", "--detach")],
        [("checkout", "--quiet", "-b", "feature")],
        [("branch", "--quiet", "-m", "agent/x-1", "feature")],
    ],
    ids=["detached", "another branch", "renamed"],
)
def test_what_an_agent_committed_off_its_branch_is_taken_onto_it(repo, spaces, spec, root, how):
    where, head = gone_on(repo, spaces, spec, *how)
    (where / "docs/a").write_text("uncommitted\n")
    assert the(spaces, root).went_on

    spaces.take(TASK, Venue(root=root), head)

    assert repo.head("agent/x-1") == head
    assert repo.git("symbolic-ref", "HEAD", cwd=where) == "refs/heads/agent/x-1"
    assert repo.status(where) == " M docs/a"
    assert the(spaces, root).fault is None


@pytest.mark.parametrize(
    "how",
    [
        [("checkout", "--quiet", "-b", "agent/x-2")],
        [("commit", "--quiet", "--allow-empty", "-m", "mine"), ("checkout", "--quiet", "--detach", "HEAD~1")],
        [("checkout", "--quiet", "--orphan", "feature")],
    ],
    ids=["the branch of another task", "without what is on its own", "with nothing in common"],
)
def test_what_is_not_plainly_the_tasks_is_left(repo, spaces, spec, root, how):
    _, head = gone_on(repo, spaces, spec, *how)
    before = repo.refs()

    assert not the(spaces, root).went_on
    with pytest.raises(ChangedError):
        spaces.take(TASK, Venue(root=root), head)
    assert repo.refs() == before


def test_what_an_agent_is_amid_of_is_not_taken(repo, spaces, spec, root):
    _, head = gone_on(repo, spaces, spec, ("checkout", "--quiet", "--detach"))
    (admin_of(repo) / "MERGE_HEAD").write_text(f"{head}\n")

    assert not the(spaces, root).went_on


def test_a_worktree_is_locked_until_its_run_ends_and_again_when_it_is_used_again(repo, spaces, spec, root):
    place = spaces.create(TASK, spec, repo.head())
    assert "locked reconcile x-1" in repo.git("worktree", "list", "--porcelain")

    os.unlink(place.lock_file)
    assert "\nlocked" not in repo.git("worktree", "list", "--porcelain")

    spaces.create(TASK, spec, repo.head())
    assert "locked reconcile x-1" in repo.git("worktree", "list", "--porcelain")

    os.unlink(place.lock_file)
    repo.git("worktree", "remove", place.path)
    assert the(spaces, root) is None


def test_modes_links_and_line_endings_are_as_git_makes_them(repo, spaces, spec, tmp_path):
    repo.git("config", "core.autocrlf", "true")
    repo.write({"run.sh": "#!/bin/sh\n", "unix": "a\nb\n", ".gitattributes": "unix eol=lf\n"})
    (repo.path / "run.sh").chmod(0o755)
    (repo.path / "link").symlink_to("README")
    repo.commit(message="all kinds")

    place = Path(spaces.create(TASK, spec, repo.head()).path)

    assert os.access(place / "run.sh", os.X_OK) and not os.access(place / "README", os.X_OK)
    assert os.readlink(place / "link") == "README"
    assert (place / "README").read_bytes() == b"hello\r\n"
    assert (place / "unix").read_bytes() == b"a\nb\n"
    assert repo.status(place) == ""


def test_a_filter_of_the_users_own_config_is_applied(repo, spaces, spec, root):
    repo.git("config", "--global", "filter.rot.clean", "tr a-z n-za-m")
    repo.git("config", "--global", "filter.rot.smudge", "tr n-za-m a-z")
    repo.commit({".gitattributes": "*.rot filter=rot\n", "plain.rot": "hello\n"})

    place = Path(spaces.create(TASK, spec, repo.head()).path)
    assert (place / "plain.rot").read_text() == "hello\n"
    assert repo.status(place) == ""

    repo.write({"plain.rot": "bye\n"}, where=place)
    saved = spaces.salvage(TASK, Venue(root=root))
    assert repo.files(saved.commit)["plain.rot"] == b"olr\n"


@pytest.mark.parametrize("how", ["garbage", "nothing in it", "cut off", "a byte changed"])
@pytest.mark.parametrize("sparse", [(), ("src/deep",)], ids=["whole", "sparse"])
def test_an_index_that_nobody_can_read_is_made_anew_and_the_files_stay(repo, spaces, root, how, sparse):
    spec = a_spec(repo, root, sparse=sparse)
    path = Path(spaces.create(TASK, spec, repo.head()).path)
    (path / "README").write_text("changed\n")
    (path / "mine").write_text("mine\n")
    index = Path(repo.git("rev-parse", "--git-path", "index", cwd=path))
    whole = index.read_bytes()
    bad = {
        "garbage": b"garbage",
        "nothing in it": b"",
        "cut off": whole[:-9],
        "a byte changed": b"DIRC" + whole[4:-30] + b"x" + whole[-29:],
    }
    index.write_bytes(bad[how])

    spaces.create(TASK, spec, repo.head())

    # In a sparse one, too, what is not wanted on disk is not missing.
    assert repo.status(path).splitlines() == [" M README", "?? mine"]
    assert index.with_name("index.damaged").read_bytes() == bad[how]


@pytest.mark.parametrize("what", ["pipe", "folder", "link to nothing", "half of two"])
def test_whatever_stands_in_the_place_of_an_index_is_put_aside(repo, spaces, spec, what):
    path = Path(spaces.create(TASK, spec, repo.head()).path)
    index = Path(repo.git("rev-parse", "--git-path", "index", cwd=path))
    index.with_name("index.damaged").mkdir()
    match what:
        case "half of two":
            repo.git("-c", "core.splitIndex=true", "update-index", "--split-index", cwd=path)
            shared = Path(repo.git("rev-parse", "--git-path", "x", cwd=path)).parent
            next(iter(shared.glob("sharedindex.*"))).unlink()
        case "pipe":
            index.unlink()
            os.mkfifo(index)
        case "folder":
            index.unlink()
            index.mkdir()
        case "link to nothing":
            index.unlink()
            index.symlink_to("nothing")

    spaces.create(TASK, spec, repo.head())

    assert repo.status(path) == "" and os.path.lexists(index.with_name("index.damaged-1"))


def test_an_index_that_is_whole_is_left_as_it_is(repo, spaces, spec):
    path = Path(spaces.create(TASK, spec, repo.head()).path)
    for config in ("index.skipHash=true", "index.version=4", "core.splitIndex=true"):
        (path / "README").write_text(f"{config}\n")
        repo.git("-c", config, "add", "README", cwd=path)
        spaces.create(TASK, spec, repo.head())
        assert repo.git("status", "--porcelain", cwd=path).splitlines() == ["M  README"], config


def test_a_sparse_worktree_holds_its_folders_and_its_own_git_agrees(repo, spaces, root):
    place = Path(spaces.create(TASK, a_spec(repo, root, sparse=("src/deep",)), repo.head()).path)

    assert set(files_of(place)) == {"README", ".gitignore", "src/main.c", "src/deep/er/x.c"}
    assert repo.status(place) == "" and repo.status() == ""
    assert repo.git("sparse-checkout", "list", cwd=place) == "src/deep"
    repo.git("sparse-checkout", "reapply", cwd=place)
    assert set(files_of(place)) == {"README", ".gitignore", "src/main.c", "src/deep/er/x.c"}
    assert spaces.salvage(TASK, Venue(root=root)) is None


def test_a_whole_worktree_beside_a_sparse_main_checkout_holds_everything(repo, spaces, spec):
    repo.git("sparse-checkout", "set", "docs")

    place = Path(spaces.create(TASK, spec, repo.head()).path)

    assert files_of(place) == FILES
    assert repo.status(place) == ""
    repo.git("read-tree", "-mu", "HEAD", cwd=place)
    assert files_of(place) == FILES


def test_a_whole_worktree_beside_a_main_checkout_that_was_made_sparse_the_old_way_holds_everything(repo, spaces, spec):
    repo.git("config", "core.sparseCheckout", "true")
    repo.write({"info/sparse-checkout": "/docs/\n"}, where=repo.common)
    repo.git("read-tree", "-mu", "HEAD")

    place = Path(spaces.create(TASK, spec, repo.head()).path)

    assert files_of(place) == FILES
    repo.git("read-tree", "-mu", "HEAD", cwd=place)
    assert files_of(place) == FILES and repo.status(place) == ""


def test_settings_of_the_users_own_about_indexes_do_not_reach_ours(repo, spaces, spec, root):
    repo.git("config", "--global", "core.splitIndex", "true")
    repo.git("config", "--global", "splitIndex.sharedIndexExpire", "now")

    place = Path(spaces.create(TASK, spec, repo.head()).path)

    assert repo.status(place) == ""
    assert not list((repo.common / "reconcile").rglob("sharedindex*"))


def test_a_sparse_worktree_of_a_bare_repository_leaves_it_bare(repo, root, tmp_path):
    bare = dataclasses.replace(repo, path=tmp_path / "bare.git")
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(bare.path))
    spaces = GitWorkspaces(bare.seam())

    place = Path(spaces.create(TASK, a_spec(bare, root, sparse=("docs",)), repo.head()).path)

    assert set(files_of(place)) == {"README", ".gitignore", "docs/a"}
    assert repo.status(place) == ""
    assert bare.git("rev-parse", "--is-bare-repository") == "true"
    assert bare.git("config", "--worktree", "core.bare") == "true"
    assert bare.git("rev-parse", "--is-inside-work-tree", cwd=place) == "true"


def test_a_base_name_with_blanks_and_newlines_in_the_root_is_no_trouble(repo, spaces, tmp_path):
    root = str(tmp_path / "work trees\nworktree \tx")

    spaces.create(TASK, a_spec(repo, root), repo.head())

    assert the(spaces, root).fault is None


# --- copied files ---


def test_copied_files_come_with_their_mode_and_leave_git_clean(repo, spaces, root):
    repo.write({".env": "SECRET=1\n", "local.o/a": "a\n", "local.o/b/c": "c\n"})
    (repo.path / ".env").chmod(0o600)

    place = Path(spaces.create(TASK, a_spec(repo, root, copy=(".env", "local.o")), repo.head()).path)

    assert files_of(place) == {**FILES, ".env": "SECRET=1\n", "local.o/a": "a\n", "local.o/b/c": "c\n"}
    assert stat.S_IMODE((place / ".env").stat().st_mode) == 0o600
    assert repo.status(place) == ""


def test_a_tracked_file_wins_over_a_copy(repo, spaces, root):
    head = repo.head()
    repo.write({"README": "changed in the main checkout\n"})

    place = spaces.create(TASK, a_spec(repo, root, copy=("README",)), head)

    assert files_of(place.path)["README"] == "hello\n"


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".git/config", "", "out/secret", "missing"])
def test_a_copy_that_leaves_the_checkout_or_is_missing_is_refused_before_anything_is_made(
    repo, spaces, root, tmp_path, name
):
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("secret")
    (repo.path / "out").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PermanentError, match=r"worktrees\.copy"):
        spaces.create(TASK, a_spec(repo, root, copy=(name,)), repo.head())

    assert not (Path(root) / "x-1").exists()
    assert "refs/heads/agent/x-1" not in repo.refs()


def test_a_link_is_copied_as_a_link(repo, spaces, root, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (repo.path / ".env").symlink_to(tmp_path / "secret")

    place = spaces.create(TASK, a_spec(repo, root, copy=(".env",)), repo.head())

    assert os.readlink(Path(place.path) / ".env") == str(tmp_path / "secret")


def test_a_copy_is_not_written_through_a_link_that_the_branch_holds(repo, spaces, root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (repo.path / "conf").symlink_to(tmp_path / "elsewhere")
    head = repo.commit(message="conf is a link")
    (repo.path / "conf").unlink()
    repo.write({"conf/.env": "SECRET=1\n"})

    with pytest.raises(PermanentError, match="through a link"):
        spaces.create(TASK, a_spec(repo, root, copy=("conf/.env",)), head)

    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- what is in the way ---


def a_plain_folder(repo, place):
    repo.write({"precious": "mine\n"}, where=place)


def a_file(repo, place):
    place.parent.mkdir()
    place.write_text("mine\n")


def a_link_to_a_folder(repo, place):
    a_plain_folder(repo, place.parent.parent / "elsewhere")
    place.parent.mkdir()
    place.symlink_to(place.parent.parent / "elsewhere")


def a_worktree_of_another_repository(repo, place):
    other = gitrepo.make(place.parent.parent, name="other")
    other.git("worktree", "add", "--quiet", "-b", "agent/x-1", str(place))
    repo.write({"precious": "mine\n"}, where=place)


def a_repository(repo, place):
    gitrepo.make(place.parent, name=place.name, files={"precious": "mine\n"})


def a_worktree_that_somebody_made(repo, place):
    repo.git("worktree", "add", "--quiet", "-b", "agent/x-1", str(place))
    repo.write({"precious": "mine\n"}, where=place)


def a_copy_of_another_worktree(repo, place):
    repo.git("worktree", "add", "--quiet", "-b", "theirs", str(place.parent / "theirs"))
    shutil.copytree(place.parent / "theirs", place)


STRANGERS = [
    a_copy_of_another_worktree,
    a_plain_folder,
    a_file,
    a_link_to_a_folder,
    a_worktree_of_another_repository,
    a_repository,
    a_worktree_that_somebody_made,
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_is_not_ours_is_refused_and_left_alone(repo, spaces, spec, root, stranger):
    place = Path(root) / "x-1"
    stranger(repo, place)
    before = snapshot_of(place)

    assert the(spaces, root).fault is WorktreeFault.TAKEN
    with pytest.raises(PermanentError, match="in the way"):
        spaces.create(TASK, spec, repo.head())
    with pytest.raises(PermanentError, match="in the way"):
        spaces.remove(TASK, Venue(root=root))
    assert spaces.salvage(TASK, Venue(root=root)) is None

    assert snapshot_of(place) == before


def snapshot_of(place):
    """Everything at a place, followed to the end, with modes and times."""
    seen = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder, name)
            seen[str(path)] = path.read_bytes(), path.stat().st_mtime_ns
    return place.is_symlink(), place.is_file() and place.read_text(), seen


def test_a_branch_that_is_checked_out_elsewhere_is_said_with_its_place(repo, spaces, spec, tmp_path):
    repo.git("worktree", "add", "--quiet", "-b", "agent/x-1", str(tmp_path / "theirs"))

    with pytest.raises(PermanentError, match=rf"checked out in {tmp_path}/theirs"):
        spaces.create(TASK, spec, repo.head())


@pytest.mark.parametrize("name", ["agent", "agent/x-1/y"])
def test_a_branch_whose_name_is_in_the_way_is_said_and_kept(repo, spaces, spec, root, name):
    repo.git("branch", name)

    with pytest.raises(PermanentError, match=f"a branch called {name} is in the way"):
        spaces.create(TASK, spec, repo.head())

    assert f"refs/heads/{name}" in repo.refs()
    assert not Path(root, "x-1").exists()


def test_a_lock_that_somebody_takes_meanwhile_is_theirs(repo, spaces, spec, root, monkeypatch):
    os.unlink(spaces.create(TASK, spec, repo.head("main")).lock_file)
    link = os.link

    def locked_before(source, target):
        repo.git("worktree", "lock", "--reason", "mine", f"{root}/x-1")
        link(source, target)

    monkeypatch.setattr(os, "link", locked_before)
    with pytest.raises(ChangedError, match="locked by somebody"):
        spaces.remove(TASK, Venue(root=root))
    assert (admin_of(repo) / "locked").read_text() == "mine\n"
    assert not list(admin_of(repo).glob(".locked*")) and Path(root, "x-1", "README").exists()


def test_a_worktree_that_somebody_locked_is_not_removed(repo, spaces, spec, root):
    place = spaces.create(TASK, spec, repo.head())
    repo.git("worktree", "unlock", place.path)
    repo.git("worktree", "lock", "--reason", "mine", place.path)

    with pytest.raises(PermanentError, match="locked by somebody: mine"):
        spaces.remove(TASK, Venue(root=root))
    shutil.rmtree(place.path)
    for attempt in (
        lambda: spaces.create(TASK, spec, place.head),
        lambda: spaces.remove(TASK, Venue(root=root)),
        lambda: spaces.delete_branch(TASK, place.head),
    ):
        with pytest.raises(PermanentError, match="locked by somebody: mine"):
            attempt()


def test_an_unusable_task_never_becomes_a_path(spaces, repo, spec, root):
    for name in ("../x", "--force", "a/b", ".checks"):
        with pytest.raises(PermanentError):
            spaces.create(TaskId(name), spec, repo.head())
        with pytest.raises(PermanentError):
            spaces.remove(TaskId(name), Venue(root=root))
        assert spaces.worktrees(Venue(root=root), [TaskId(name)]) == {}


# --- half-made worktrees ---


def only_the_branch(repo, place):
    repo.git("branch", "agent/x-1")


def an_admin_folder_that_git_cannot_list(repo, place):
    only_the_branch(repo, place)
    repo.write({"locked": "reconcile x-1"}, where=admin_of(repo))


def an_empty_folder(repo, place):
    an_admin_folder_that_git_cannot_list(repo, place)
    place.mkdir(parents=True)


def no_gitfile_yet(repo, place):
    added(repo, place)
    (place / ".git").unlink()


def an_unreadable_head(repo, place):
    added(repo, place)
    (admin_of(repo) / "HEAD").write_text("0" * 40 + "\n")


def no_head(repo, place):
    added(repo, place)
    (admin_of(repo) / "HEAD").unlink()


def no_commondir(repo, place):
    added(repo, place)
    (admin_of(repo) / "commondir").unlink()


def no_files_yet(repo, place):
    added(repo, place)


def no_files_yet_in_an_old_git(repo, place):
    added(repo, place)
    (admin_of(repo) / "locked").write_text("initializing")


def an_index_lock_and_no_files(repo, place):
    added(repo, place)
    (admin_of(repo) / "index.lock").touch()


def some_files(repo, place):
    added(repo, place)
    repo.git("read-tree", "HEAD", cwd=place)
    repo.git("checkout-index", "README", "docs/a", cwd=place)


def some_files_and_no_admin_folder(repo, place):
    some_files(repo, place)
    shutil.rmtree(admin_of(repo))


def every_file_and_no_mark(repo, place):
    added(repo, place)
    repo.git("reset", "--hard", "--quiet", cwd=place)


def no_folder_any_more(repo, place):
    every_file_and_no_mark(repo, place)
    shutil.rmtree(place)


def an_old_lock_on_the_branch(repo, place):
    lock = repo.common / "refs/heads/agent/x-1.lock"
    lock.parent.mkdir()
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)


def added(repo, place):
    repo.git("branch", "agent/x-1")
    repo.git(
        "worktree", "add", "--quiet", "--no-checkout", "--lock", "--reason", "reconcile x-1", str(place), "agent/x-1"
    )


HALF_MADE = [
    only_the_branch,
    an_admin_folder_that_git_cannot_list,
    an_empty_folder,
    no_gitfile_yet,
    an_unreadable_head,
    no_head,
    no_commondir,
    no_files_yet,
    no_files_yet_in_an_old_git,
    an_index_lock_and_no_files,
    some_files,
    some_files_and_no_admin_folder,
    every_file_and_no_mark,
    no_folder_any_more,
    an_old_lock_on_the_branch,
]


@pytest.mark.parametrize("left", HALF_MADE)
def test_a_worktree_whose_making_was_cut_off_is_made_again(repo, spaces, spec, root, left):
    left(repo, Path(root) / "x-1")
    seen = the(spaces, root)
    assert seen is None or seen.fault is WorktreeFault.HALF_MADE

    spaces.create(TASK, spec, repo.head())

    assert_whole(repo, spaces, root)
    assert repo.refs("refs/reconcile") == {}


@pytest.mark.parametrize("left", HALF_MADE)
def test_a_worktree_whose_making_was_cut_off_can_be_removed(repo, spaces, root, left):
    left(repo, Path(root) / "x-1")

    spaces.remove(TASK, Venue(root=root))

    assert not (Path(root) / "x-1").exists()
    assert repo.refs("refs/reconcile") == {}


def test_an_admin_folder_that_is_a_link_is_never_followed(repo, spaces, spec, root, tmp_path):
    outside = tmp_path / "outside"
    repo.write({"gitdir": f"{root}/x-1/.git\n", "locked": "reconcile x-1", "precious": "mine\n"}, where=outside)
    (repo.common / "worktrees").mkdir()
    admin_of(repo).symlink_to(outside)

    with pytest.raises(TemporaryError):
        spaces.create(TASK, spec, repo.head())
    spaces.remove(TASK, Venue(root=root))

    assert (outside / "precious").read_text() == "mine\n"


@pytest.mark.parametrize("left", [some_files, some_files_and_no_admin_folder, no_head, no_gitfile_yet])
def test_a_file_that_only_a_half_made_worktree_holds_is_saved_first(repo, spaces, spec, root, left):
    left(repo, Path(root) / "x-1")
    repo.write({"README": "precious\n", "new": "precious too\n"}, where=Path(root) / "x-1")
    if left is no_gitfile_yet:
        (Path(root) / "x-1" / ".git").unlink(missing_ok=True)

    spaces.create(TASK, spec, repo.head())

    assert_whole(repo, spaces, root)
    saved = repo.files("refs/reconcile/salvage/x-1/1")
    assert saved == {
        **{name: text.encode() for name, text in FILES.items()},
        "README": b"precious\n",
        "new": b"precious too\n",
    }


def test_the_commits_of_a_half_made_worktrees_branch_are_kept(repo, spaces, spec, root):
    head = repo.branch("agent/x-1", {"README": "work\n"})
    repo.git(
        "worktree", "add", "--quiet", "--no-checkout", "--lock", "--reason", "reconcile x-1", root + "/x-1", "agent/x-1"
    )

    assert spaces.create(TASK, spec, repo.head()).head == head


@pytest.mark.parametrize("gone", ["folder", "git worktree remove"])
def test_a_worktree_that_people_removed_is_absent_and_made_again(repo, spaces, spec, root, gone):
    place = spaces.create(TASK, spec, repo.head())
    if gone == "folder":
        shutil.rmtree(place.path)
    else:
        repo.git("worktree", "remove", "--force", "--force", place.path)

    assert the(spaces, root) is None
    spaces.create(TASK, spec, repo.head())

    assert_whole(repo, spaces, root)


def the_index_is_gone(repo, place):
    (admin_of(repo) / "index").unlink()


def the_gitfile_is_gone(repo, place):
    (place / ".git").unlink()


def the_gitfile_leads_elsewhere(repo, place):
    (place / ".git").write_text(f"gitdir: {repo.common}\n")


@pytest.mark.parametrize("damage", [the_index_is_gone, the_gitfile_is_gone, the_gitfile_leads_elsewhere])
def test_a_worktree_that_its_own_git_can_no_longer_use_is_made_again_after_it_was_saved(
    repo, spaces, spec, root, damage
):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    repo.write({"README": "precious\n"}, where=place)
    damage(repo, place)
    assert the(spaces, root).fault is WorktreeFault.HALF_MADE

    spaces.create(TASK, spec, repo.head())

    assert_whole(repo, spaces, root)
    assert repo.files("refs/reconcile/salvage/x-1/1")["README"] == b"precious\n"


def test_a_young_index_lock_is_waited_for_and_an_old_one_is_cleared(repo, spaces, spec):
    place = spaces.create(TASK, spec, repo.head())
    lock = admin_of(repo) / "index.lock"
    lock.touch()

    with pytest.raises(TemporaryError, match="git is running there"):
        spaces.create(TASK, spec, repo.head())
    os.utime(lock, (time.time() - 3600,) * 2)
    with lock.open(), pytest.raises(TemporaryError, match="git is running there"):
        spaces.create(TASK, spec, repo.head())

    assert spaces.create(TASK, spec, repo.head()) == place
    assert not lock.exists()


def assert_whole(repo, spaces, root):
    place = Path(root) / "x-1"
    assert the(spaces, root).fault is None
    assert repo.git("symbolic-ref", "HEAD", cwd=place) == "refs/heads/agent/x-1"
    assert repo.status(place) == ""
    assert [entry.name for entry in (repo.common / "worktrees").iterdir()] == ["x-1"]


# --- a kill at every step ---


WRITES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.chmod",
    "subprocess.Popen",
    "shutil.rmtree",
}


def killed_at(step, work):
    """Do `work` in a process that is killed right before its `step`-th effect; False when it got to its end."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def kill_at_the_step(event, args):
            writing = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax")
            if event in WRITES or writing:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill_at_the_step)
        try:
            work()
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), "it failed instead of being killed"
    return os.WIFSIGNALED(status)


EVERY_STEP = pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])


@EVERY_STEP
def test_a_making_that_is_killed_anywhere_is_completed_by_the_next(repo, spaces, root, every):
    repo.write({".env": "SECRET=1\n"})
    spec = a_spec(repo, root, copy=(".env",))
    head = repo.branch("agent/x-1", {"README": "work\n"})

    step, killed = 0, True
    while killed:
        killed = killed_at(step, lambda: spaces.create(TASK, spec, repo.head()))
        seen = the(spaces, root)
        assert seen is None or seen.fault in (None, WorktreeFault.HALF_MADE), f"step {step}: {seen}"

        place = spaces.create(TASK, spec, repo.head())

        assert place.head == head and files_of(place.path)[".env"] == "SECRET=1\n", f"step {step}"
        assert_whole(repo, spaces, root)
        assert repo.refs("refs/reconcile") == {}, f"step {step}"
        spaces.remove(TASK, Venue(root=root))
        step += every

    assert step > 15


@EVERY_STEP
def test_a_removal_that_is_killed_anywhere_loses_no_byte_and_is_completed_by_the_next(repo, spaces, spec, root, every):
    step, killed = 0, True
    while killed:
        place = Path(spaces.create(TASK, spec, repo.head()).path)
        repo.write({"README": f"precious {step}\n", "new/file": f"precious {step}\n", "x.o": "ignored"}, where=place)
        (place / "docs/a").unlink()

        killed = killed_at(step, lambda: spaces.remove(TASK, Venue(root=root)))
        spaces.remove(TASK, Venue(root=root))

        assert not place.exists()
        assert list((repo.common / "worktrees").iterdir()) == [], f"step {step}"
        saved = repo.refs("refs/reconcile/salvage/x-1/")
        assert len(saved) == 1, f"step {step}: the same content is saved once"
        content = repo.files(next(iter(saved)))
        assert content["README"] == content["new/file"] == f"precious {step}\n".encode()
        assert "docs/a" not in content
        for each in spaces.salvages():
            spaces.drop_salvage(each)
        step += every

    assert step > 20


def test_a_removal_of_what_git_has_forgotten_is_completed_wherever_it_was_killed(repo, spaces, root):
    place = Path(root) / "x-1"
    step, killed = 0, True
    while killed:
        some_files_and_no_admin_folder(repo, place)
        repo.write({"new": "precious\n"}, where=place)

        killed = killed_at(step, lambda: spaces.remove(TASK, Venue(root=root)))
        spaces.remove(TASK, Venue(root=root))

        assert not place.exists(), f"step {step}"
        assert repo.files("refs/reconcile/salvage/x-1/1")["new"] == b"precious\n"
        repo.git("update-ref", "-d", "refs/heads/agent/x-1")
        step += 3

    assert step > 20


def test_a_reconciler_killed_while_its_git_runs_leaves_nothing_that_the_next_cannot_complete(repo, spaces, spec, root):
    for after_ms in (1, 3, 6, 9, 12, 16, 20, 25, 30):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, after_ms / 1000)
            spaces.create(TASK, spec, repo.head())
            os._exit(0)
        os.waitpid(pid, 0)

        spaces.create(TASK, spec, repo.head())

        assert_whole(repo, spaces, root)
        spaces.remove(TASK, Venue(root=root))
        assert repo.refs("refs/reconcile") == {}


# --- off its branch ---


def detached(repo, place):
    repo.git("checkout", "--quiet", "--detach", cwd=place)


def another_branch(repo, place):
    repo.git("checkout", "--quiet", "-b", "mine", cwd=place)


def a_rebase(repo, place):
    repo.commit({"README": "in the worktree\n"}, where=place)
    repo.commit({"README": "on main\n"})
    repo.git("rebase", "main", cwd=place, ok=False)


def a_merge(repo, place):
    repo.commit({"README": "in the worktree\n"}, where=place)
    repo.commit({"README": "on main\n"})
    repo.git("merge", "main", cwd=place, ok=False)


def no_branch_any_more(repo, place):
    repo.git("update-ref", "-d", "refs/heads/agent/x-1")


@pytest.mark.parametrize("left", [detached, another_branch, a_rebase, a_merge, no_branch_any_more])
def test_a_worktree_off_its_branch_is_put_back_after_its_work_was_saved(repo, spaces, spec, root, left):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    left(repo, place)
    if left in (detached, another_branch):
        repo.commit({"docs/b": "committed off the branch\n"}, where=place)
    repo.write({"dirt": "uncommitted\n"}, where=place)
    branch = repo.refs("refs/heads/agent/x-1").get("refs/heads/agent/x-1", repo.head("main"))

    assert the(spaces, root).fault is WorktreeFault.WRONG_BRANCH
    amid = {a_rebase: "a rebase", a_merge: "a merge"}.get(left, "")
    assert the(spaces, root).amid == amid and bool(the(spaces, root).amid_at) is bool(amid)
    assert spaces.create(TASK, spec, repo.head("main")).head == branch

    assert_whole(repo, spaces, root)
    saved = repo.files("refs/reconcile/salvage/x-1/1")
    assert saved["dirt"] == b"uncommitted\n"
    if left in (detached, another_branch):
        assert repo.git("log", "--format=%s", "-1", "refs/reconcile/salvage/x-1/1^") == "work"
        assert saved["docs/b"] == b"committed off the branch\n"
    if left in (a_rebase, a_merge):
        assert b"<<<<<<<" in saved["README"]


def test_commits_of_a_detached_head_whose_folder_vanished_are_saved(repo, spaces, spec, root):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    detached(repo, place)
    head = repo.commit({"docs/b": "b\n"}, where=place)
    shutil.rmtree(place)

    spaces.create(TASK, spec, repo.head())

    assert repo.head("refs/reconcile/salvage/x-1/1^") == head


# --- removing ---


def test_a_clean_worktree_is_removed_without_a_trace_and_its_branch_stays(repo, spaces, spec, root):
    spaces.create(TASK, spec, repo.head())

    spaces.remove(TASK, Venue(root=root))
    spaces.remove(TASK, Venue(root=root))

    assert not (Path(root) / "x-1").exists()
    assert repo.git("worktree", "list", "--porcelain").count("worktree ") == 1
    assert repo.refs("refs/reconcile") == {}
    assert repo.refs()["refs/heads/agent/x-1"] == repo.head()


def test_what_a_worktree_was_looked_at_with_goes_with_it(repo, spaces, spec, root):
    tree = spaces.create(TASK, spec, repo.head())
    (Path(tree.path) / "new.txt").write_text("new")
    spaces.remove(TASK, Venue(root=root))

    assert repo.refs("refs/reconcile/salvage")
    assert list((repo.path / ".git/reconcile/indexes").iterdir()) == []


def test_read_only_folders_do_not_stop_a_removal(repo, spaces, spec, root):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    repo.write({"cache.o/mod/file": "x"}, where=place)
    (place / "cache.o/mod").chmod(0o555)
    (place / "cache.o").chmod(0o555)

    spaces.remove(TASK, Venue(root=root))

    assert not place.exists()


def test_whoever_is_not_root_removes_read_only_folders_too_and_git_last(tmp_path):
    way = rights.without_rights()
    place = tmp_path / "place"
    for name, mode in {"a/b": 0o555, "c": 0o000, "d/e": 0o600}.items():
        (place / name).mkdir(parents=True)
        (place / name / "file").write_text("x")
        (place / name).chmod(mode)
    (place / ".git").write_text("gitdir: ../git\n")
    (place / "a").chmod(0o555)
    program = """
import os, sys
from pathlib import Path
from reconciler.workspaces import folders
root, real, stood = Path(sys.argv[1]), os.unlink, []
os.unlink = lambda name, **how: (stood.append((name, os.path.lexists(root / ".git"))), real(name, **how))
folders.take_away(root)
print(stood[-1], all(there for _, there in stood))
"""

    done = subprocess.run((*way, sys.executable, "-c", program, str(place)), capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("('.git', True) True\n", "")
    assert not place.exists()


def test_a_removal_does_not_follow_links(repo, spaces, spec, root, tmp_path):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    repo.write({"outside/precious": "mine\n"}, where=tmp_path)
    (place / "out").symlink_to(tmp_path / "outside")
    shutil.rmtree(place / "docs")
    (place / "docs").symlink_to(tmp_path / "outside")

    spaces.remove(TASK, Venue(root=root))

    assert not place.exists()
    assert (tmp_path / "outside/precious").read_text() == "mine\n"


def nested(repo, place):
    gitrepo.make(place / "vendor", name="lib")
    return "vendor/lib"


def nested_in_an_ignored_folder(repo, place):
    gitrepo.make(place / "build.o" / "deep", name="lib")
    return "build.o/deep/lib"


def nested_worktree(repo, place):
    repo.git("worktree", "add", "--quiet", "--detach", str(place / "inner"))
    return "inner"


def nested_at_the_top(repo, place):
    (place / ".git").unlink()
    repo.git("init", "--quiet", cwd=place)
    return "."


def nested_in_a_tracked_folder(repo, place):
    repo.git("init", "--quiet", cwd=place / "src")
    return "src"


@pytest.mark.parametrize(
    "nest", [nested, nested_in_an_ignored_folder, nested_worktree, nested_at_the_top, nested_in_a_tracked_folder]
)
def test_a_worktree_with_a_repository_inside_is_never_removed_and_says_so(repo, spaces, spec, root, nest):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    where = nest(repo, place)
    repo.write({"dirt": "uncommitted\n"}, where=place)

    with pytest.raises(PermanentError, match="NestedRepository") as refused:
        spaces.remove(TASK, Venue(root=root))

    assert where in str(refused.value)
    assert the(spaces, root).nested == where
    assert (place / where / ".git").exists() and (place / "dirt").exists()
    assert repo.files("refs/reconcile/salvage/x-1/1")["dirt"] == b"uncommitted\n"


def test_a_nested_repository_that_people_took_away_no_longer_stops_a_removal(repo, spaces, spec, root):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    nested(repo, place)
    spaces.salvage(TASK, Venue(root=root))
    assert the(spaces, root).nested == "vendor/lib"

    shutil.rmtree(place / "vendor")

    assert the(spaces, root).nested is None
    spaces.remove(TASK, Venue(root=root))
    assert not place.exists()


def test_a_submodule_that_was_checked_out_is_a_repository_inside(repo, spaces, spec, root, tmp_path):
    library = gitrepo.make(tmp_path, name="library")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(library.path), "lib")
    repo.commit(message="a submodule")
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    assert repo.status(place) == "" and spaces.salvage(TASK, Venue(root=root)) is None
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", cwd=place)

    assert the(spaces, root).nested == "lib"
    with pytest.raises(PermanentError, match="NestedRepository"):
        spaces.remove(TASK, Venue(root=root))
    shutil.rmtree(place)
    with pytest.raises(PermanentError, match="NestedRepository"):
        spaces.remove(TASK, Venue(root=root))


def test_ignored_files_are_counted(repo, spaces, spec, root):
    place = Path(spaces.create(TASK, spec, repo.head()).path)
    assert spaces.ignored(TASK, Venue(root=root)) == (0, 0)

    repo.write({"a.o": "12345", "deep/b.o": "123", "seen": "1"}, where=place)

    assert spaces.ignored(TASK, Venue(root=root)) == (2, 8)


# --- looking ---


def test_worktrees_of_tasks_that_nobody_asked_for_are_found(repo, spaces, spec, root, tmp_path):
    spaces.create(TaskId("x-2"), spec, repo.head())
    os.unlink(spaces.create(TaskId("x-3"), spec, repo.head()).lock_file)
    repo.git("worktree", "add", "--quiet", "-b", "theirs", root + "/theirs")
    repo.git("worktree", "add", "--quiet", "-b", "elsewhere", str(tmp_path / "elsewhere"))
    spaces.create_check("abc", Venue(root=root), repo.head())

    assert set(spaces.worktrees(Venue(root=root), [])) == {"x-2", "x-3"}


def test_looking_at_a_root_that_does_not_exist_finds_nothing(spaces, root):
    assert spaces.worktrees(Venue(root=root), [TASK]) == {}
    assert spaces.check_worktrees(Venue(root=root)) == {}


def test_a_root_behind_a_link_is_the_same_root(repo, spaces, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")

    spaces.create(TASK, a_spec(repo, str(tmp_path / "linked")), repo.head())

    assert the(spaces, str(tmp_path / "linked")).fault is None
    assert the(spaces, str(tmp_path / "real")).fault is None


def test_making_the_same_worktree_from_two_processes_at_once_makes_one(repo, spaces, spec, root):
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                spaces.create(TASK, spec, repo.head())
            except BaseException:  # noqa: BLE001
                os._exit(1)
            os._exit(0)
        pids.append(pid)

    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0, 0]
    assert_whole(repo, spaces, root)


# --- branches ---


def test_branches_are_measured_against_the_base(repo, spaces):
    repo.git("branch", "agent/at-base")
    head = repo.branch("agent/ahead", {"README": "work\n"})
    repo.git("branch", "theirs")
    repo.git("branch", "agent/not@usable")
    old = repo.head()
    base = repo.commit({"README": "base moved\n"})

    seen = spaces.branches(base)

    assert set(seen) == {"at-base", "ahead"}
    assert (seen["ahead"].head, seen["ahead"].ahead, seen["ahead"].in_base) == (head, 1, False)
    assert (seen["at-base"].head, seen["at-base"].ahead, seen["at-base"].in_base) == (old, 0, True)
    assert spaces.branches(head)["ahead"].in_base


def test_a_branch_that_is_a_link_to_another_is_no_branch_of_a_task(repo, spaces, spec):
    repo.git("symbolic-ref", "refs/heads/agent/x-1", "refs/heads/main")

    assert spaces.branches(repo.head()) == {}
    with pytest.raises(PermanentError, match="link to another branch"):
        spaces.create(TASK, spec, repo.head())
    spaces.delete_branch(TASK, repo.head())

    assert repo.refs()["refs/heads/main"]


def test_a_branch_is_deleted_only_where_it_was_seen(repo, spaces):
    head = repo.branch("agent/x-1", {"README": "work\n"})

    with pytest.raises(ChangedError):
        spaces.delete_branch(TASK, repo.head())
    assert "refs/heads/agent/x-1" in repo.refs()

    spaces.delete_branch(TASK, head)
    spaces.delete_branch(TASK, head)
    assert "refs/heads/agent/x-1" not in repo.refs()


def test_a_branch_that_is_checked_out_is_not_deleted(repo, spaces, spec, root):
    place = spaces.create(TASK, spec, repo.head())

    with pytest.raises(PermanentError, match="checked out in"):
        spaces.delete_branch(TASK, place.head)

    shutil.rmtree(place.path)
    spaces.delete_branch(TASK, place.head)
    assert "refs/heads/agent/x-1" not in repo.refs()


# --- checks ---


def test_a_check_gets_a_clean_detached_worktree_of_its_commit(repo, spaces, root):
    commit = repo.branch("candidate", {"README": "candidate\n"})

    path = spaces.create_check("tree-commands", Venue(root=root), commit)

    assert path == f"{root}/.checks/tree-commands"
    assert repo.head(cwd=Path(path)) == commit and repo.status(Path(path)) == ""
    assert repo.git("symbolic-ref", "-q", "HEAD", cwd=Path(path), ok=False) == ""
    assert spaces.check_worktrees(Venue(root=root)) == {"tree-commands": path}


def test_a_check_worktree_that_is_there_is_made_anew(repo, spaces, root):
    path = Path(spaces.create_check("abc", Venue(root=root), repo.head()))
    repo.write({"README": "changed\n", "left.o": "over", "new": "n"}, where=path)
    gitrepo.make(path, name="inner")

    spaces.create_check("abc", Venue(root=root), repo.head())

    assert files_of(path) == FILES


@pytest.mark.parametrize("lost", ["nothing", "folder", "admin"])
def test_a_check_worktree_is_removed_with_what_the_check_left(repo, spaces, root, lost):
    path = Path(spaces.create_check("abc", Venue(root=root), repo.head()))
    repo.write({"README": "changed\n", "left.o": "over", "new": "n"}, where=path)
    if lost != "nothing":
        shutil.rmtree(path if lost == "folder" else admin_of(repo, "abc"))
    assert set(spaces.check_worktrees(Venue(root=root))) == {"abc"}

    spaces.remove_check("abc", Venue(root=root))
    spaces.remove_check("abc", Venue(root=root))

    assert not path.exists() and spaces.check_worktrees(Venue(root=root)) == {}
    assert repo.refs("refs/reconcile") == {}


def test_a_check_never_reaches_through_a_link(repo, spaces, root, tmp_path):
    repo.write({"abc/precious": "mine\n"}, where=tmp_path / "elsewhere")
    Path(root).mkdir()
    (Path(root) / ".checks").symlink_to(tmp_path / "elsewhere")

    for attempt in (
        lambda: spaces.create_check("abc", Venue(root=root), repo.head()),
        lambda: spaces.remove_check("abc", Venue(root=root)),
    ):
        with pytest.raises(PermanentError, match="link"):
            attempt()

    assert (tmp_path / "elsewhere/abc/precious").exists()


def test_a_making_of_a_check_that_is_killed_anywhere_is_completed_by_the_next(repo, spaces, root):
    step, killed = 0, True
    while killed:
        killed = killed_at(step, lambda: spaces.create_check("abc", Venue(root=root), repo.head()))

        path = Path(spaces.create_check("abc", Venue(root=root), repo.head()))

        assert files_of(path) == FILES and repo.status(path) == ""
        spaces.remove_check("abc", Venue(root=root))
        assert repo.git("worktree", "list", "--porcelain").count("worktree ") == 1
        step += 1

    assert step > 5
