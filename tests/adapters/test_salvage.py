"""What is saved before a worktree goes, with real git: everything that no ref holds, once, and nothing that must stay out."""

import json
import os
import socket
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import gitrepo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Salvage
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces, copies, folders, snapshot
from reconciler.workspaces.ages import Ages

TASK = TaskId("x-1")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FILES = {"README": "hello\n", "src/a.c": "a\n", "src/b.c": "b\n", ".gitignore": "*.o\n", ".beads/issues.jsonl": "{}\n"}


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
def work(repo, spaces, root):
    """The folder of a worktree in which nothing was done yet."""
    return made(repo, spaces, root)


def made(repo, spaces, root, **worktrees):
    spec = EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=root, **worktrees))
    return Path(spaces.create(TASK, spec, repo.head("main")).path)


def saved(repo, spaces, root):
    """The files of what is saved now; None when nothing is."""
    salvage = spaces.salvage(TASK, Venue(root=root))
    return {name: text.decode() for name, text in repo.files(salvage.commit).items()} if salvage else None


def test_nothing_is_saved_where_nothing_was_done(repo, spaces, root, work):
    assert spaces.salvage(TASK, Venue(root=root)) is None
    assert repo.refs("refs/reconcile") == {}


def test_a_head_that_its_branch_has_left_behind_is_saved(repo, spaces, root, work):
    head = repo.commit({"README": "work\n"}, where=work)
    repo.git("checkout", "-q", "--detach", cwd=work)
    assert spaces.salvage(TASK, Venue(root=root)) is None

    repo.git("update-ref", "refs/heads/agent/x-1", "main")

    assert repo.head(f"{spaces.salvage(TASK, Venue(root=root)).commit}^") == head


def test_commits_on_the_branch_need_no_saving(repo, spaces, root, work):
    repo.commit({"README": "work\n"}, where=work)

    assert spaces.salvage(TASK, Venue(root=root)) is None


def test_changed_new_and_deleted_files_are_saved_on_top_of_the_head(repo, spaces, root, work):
    head = repo.commit({"src/a.c": "committed\n"}, where=work)
    repo.write({"README": "changed\n", "new/file": "new\n"}, where=work)
    (work / "src/b.c").unlink()
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o755)
    (work / "link").symlink_to("/etc/passwd")

    salvage = spaces.salvage(TASK, Venue(root=root))

    content = repo.files(salvage.commit)
    assert (
        content["README"] == b"changed\n" and content["new/file"] == b"new\n" and content["src/a.c"] == b"committed\n"
    )
    assert "src/b.c" not in content
    assert repo.git("ls-tree", "--format=%(objectmode)", salvage.commit, "run", "link").split() == ["120000", "100755"]
    assert content["link"] == b"/etc/passwd"
    assert repo.head(f"{salvage.commit}^") == head
    assert repo.refs("refs/reconcile") == {"refs/reconcile/salvage/x-1/1": salvage.commit}


def test_saving_changes_nothing_in_the_worktree(repo, spaces, root, work):
    repo.write({"README": "changed\n", "new": "n\n", "staged": "s\n"}, where=work)
    repo.git("add", "staged", cwd=work)
    before = repo.status(work), folders.contents(work)

    spaces.salvage(TASK, Venue(root=root))

    assert (repo.status(work), folders.contents(work)) == before


def test_the_message_says_which_task_when_and_from_where(repo, spaces, root, work):
    repo.write({"new": "n\n"}, where=work)

    salvage = spaces.salvage(TASK, Venue(root=root))

    message = repo.git("log", "-1", "--format=%B", salvage.commit)
    assert message.startswith("salvage x-1: uncommitted work\n")
    assert salvage.at.isoformat() in message and str(work) in message and "agent/x-1" in message


def test_the_same_content_is_saved_once_and_other_content_beside_it(repo, spaces, root, work):
    repo.write({"new": "one\n"}, where=work)
    first = spaces.salvage(TASK, Venue(root=root))
    assert spaces.salvage(TASK, Venue(root=root)) == first

    repo.write({"new": "two\n"}, where=work)
    second = spaces.salvage(TASK, Venue(root=root))

    assert [salvage.n for salvage in spaces.salvages()] == [1, 2]
    assert spaces.salvages() == (first, second)
    repo.write({"new": "one\n"}, where=work)
    assert spaces.salvage(TASK, Venue(root=root)) == first


def test_what_is_saved_survives_a_garbage_collection(repo, spaces, root, work):
    repo.write({"new": "n\n"}, where=work)
    salvage = spaces.salvage(TASK, Venue(root=root))

    repo.git("gc", "--quiet", "--prune=now")

    assert repo.files(salvage.commit)["new"] == b"n\n"


# --- what stays out ---


def test_ignored_files_stay_out_by_every_kind_of_ignore_file(repo, spaces, root, work):
    (repo.home / "global-ignore").write_text("*.global\n")
    repo.git("config", "--global", "core.excludesFile", str(repo.home / "global-ignore"))
    repo.write({"info/exclude": "*.excluded\n"}, where=repo.common)
    repo.write({"a.o": "1", "b.excluded": "2", "c.global": "3", "d.seen": "4"}, where=work)

    assert set(saved(repo, spaces, root)) == {*FILES, "d.seen"}


def test_an_exclude_file_that_changes_later_is_read_again(repo, spaces, root, work):
    repo.write({"a.late": "1"}, where=work)
    assert "a.late" in saved(repo, spaces, root)

    repo.write({"info/exclude": "*.late\n"}, where=repo.common)

    assert spaces.salvage(TASK, Venue(root=root)) is None


def test_a_tracked_file_is_saved_though_it_is_ignored(repo, spaces, root, work):
    repo.write({"forced.o": "1\n"}, where=work)
    repo.git("add", "--force", "forced.o", cwd=work)
    repo.git("commit", "--quiet", "-m", "forced", cwd=work)
    repo.write({"forced.o": "2\n"}, where=work)

    assert saved(repo, spaces, root)["forced.o"] == "2\n"


def test_beads_never_count(repo, spaces, root, work):
    repo.write({".beads/issues.jsonl": "changed\n", ".beads/new": "n\n"}, where=work)
    assert spaces.salvage(TASK, Venue(root=root)) is None

    repo.write({"new": "n\n"}, where=work)

    assert saved(repo, spaces, root) == {**FILES, "new": "n\n"}


def test_pipes_and_sockets_are_left_out(repo, spaces, root, work, monkeypatch):
    os.mkfifo(work / "pipe")
    (work / "src/a.c").unlink()
    os.mkfifo(work / "src/a.c")
    monkeypatch.chdir(work)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        repo.write({"new": "n\n"}, where=work)

        content = saved(repo, spaces, root)

    assert content == {**{name: text for name, text in FILES.items() if name != "src/a.c"}, "new": "n\n"}


# --- what an agent could hide behind ---


def skip_worktree(repo, work):
    repo.git("update-index", "--skip-worktree", "README", cwd=work)


def assume_unchanged(repo, work):
    repo.git("update-index", "--assume-unchanged", "README", cwd=work)


def an_index_lock(repo, work):
    (repo.common / "worktrees/x-1/index.lock").touch()


def an_index_that_is_garbage(repo, work):
    (repo.common / "worktrees/x-1/index").write_text("garbage")


def no_index(repo, work):
    (repo.common / "worktrees/x-1/index").unlink()


def a_faked_stat(repo, work):
    before = (work / "README").stat()
    repo.git("config", "core.trustctime", "false")
    repo.git("config", "core.checkStat", "minimal")
    (work / "README").write_text("wor!\n\n"[:6])
    os.utime(work / "README", ns=(before.st_atime_ns, before.st_mtime_ns))


def a_sparse_checkout(repo, work):
    repo.git("config", "core.sparseCheckout", "true")
    repo.write({"worktrees/x-1/info/sparse-checkout": "/src/\n"}, where=repo.common)


def an_intent_to_add(repo, work):
    repo.git("add", "--intent-to-add", "new", cwd=work)


@pytest.mark.parametrize(
    "hide",
    [
        skip_worktree,
        assume_unchanged,
        an_index_lock,
        an_index_that_is_garbage,
        no_index,
        a_faked_stat,
        a_sparse_checkout,
        an_intent_to_add,
    ],
)
def test_no_trick_with_the_index_hides_a_change(repo, spaces, root, work, hide):
    repo.write({"new": "n\n"}, where=work)
    hide(repo, work)
    if hide is not a_faked_stat:
        repo.write({"README": "changed\n"}, where=work)

    content = saved(repo, spaces, root)

    assert content["README"] == (work / "README").read_text() != "hello\n"
    assert content["new"] == "n\n"


def test_a_file_that_became_a_folder_and_a_folder_that_became_a_link(repo, spaces, root, work, tmp_path):
    repo.write({"a.c": "outside\n", "secret": "s\n"}, where=tmp_path / "outside")
    (work / "README").unlink()
    repo.write({"README/inside": "i\n"}, where=work)
    (work / "src/a.c").unlink()
    (work / "src/b.c").unlink()
    (work / "src").rmdir()
    (work / "src").symlink_to(tmp_path / "outside")

    content = saved(repo, spaces, root)

    assert content["README/inside"] == "i\n" and content["src"] == str(tmp_path / "outside")
    assert not any("outside\n" in text or text == "s\n" for text in content.values())


def test_hostile_file_names_are_saved_as_they_are(repo, spaces, root, work):
    staged = f"H 100644 {'a' * 40} 0\tx"
    names = [
        "--force",
        "new\nline",
        "tab\tname",
        'quo"te',
        " blank ",
        ":(exclude)x",
        "-",
        "? x",
        staged,
        "\udcff\udcfe",
    ]
    for name in names:
        (work / name).write_text("x\n")

    content = saved(repo, spaces, root)

    assert set(names) <= set(content)


def test_files_in_the_folder_of_a_submodule_that_is_not_there_are_saved(repo, spaces, root):
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head()},lib")
    repo.git("commit", "--quiet", "-m", "a submodule")
    work = made(repo, spaces, root)
    assert spaces.salvage(TASK, Venue(root=root)) is None

    repo.write({"lib/file": "f\n"}, where=work)

    assert saved(repo, spaces, root)["lib/file"] == "f\n"


def test_a_submodule_stays_what_it_was_in_what_is_saved(repo, spaces, root):
    head = repo.head()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{head},lib")
    repo.git("commit", "--quiet", "-m", "a submodule")
    work = made(repo, spaces, root)
    repo.write({"new": "n\n"}, where=work)

    salvage = spaces.salvage(TASK, Venue(root=root))

    assert repo.git("ls-tree", salvage.commit, "lib") == f"160000 commit {head}\tlib"


def test_what_a_repository_inside_does_not_hold_is_saved_and_reported(repo, spaces, root, work):
    gitrepo.make(work, name="lib")
    repo.write({"new": "n\n"}, where=work)

    content = saved(repo, spaces, root)

    assert content["new"] == "n\n"
    assert spaces.worktrees(Venue(root=root), [TASK])[TASK].nested == "lib"


# --- commits ---


def test_commits_of_a_detached_head_are_saved(repo, spaces, root, work):
    repo.git("checkout", "--quiet", "--detach", cwd=work)
    head = repo.commit({"README": "off the branch\n"}, where=work)

    salvage = spaces.salvage(TASK, Venue(root=root))

    assert repo.head(f"{salvage.commit}^") == head
    assert spaces.salvage(TASK, Venue(root=root)) == salvage
    assert repo.git("log", "-1", "--format=%s", salvage.commit) == "salvage x-1: commits off its branch"


def test_commits_on_another_branch_that_only_this_worktree_stands_on_are_saved(repo, spaces, root, work):
    repo.git("checkout", "--quiet", "-b", "mine", cwd=work)
    head = repo.commit({"README": "elsewhere\n"}, where=work)

    assert repo.head(f"{spaces.salvage(TASK, Venue(root=root)).commit}^") == head


def test_a_head_that_another_ref_holds_needs_no_saving(repo, spaces, root, work):
    repo.git("checkout", "--quiet", "--detach", cwd=work)
    repo.commit({"README": "tagged\n"}, where=work)
    repo.git("tag", "kept", cwd=work)

    assert spaces.salvage(TASK, Venue(root=root)) is None


def test_what_git_put_aside_for_a_rebase_is_saved(repo, spaces, root, work):
    repo.commit({"README": "ours\n"}, where=work)
    repo.commit({"README": "theirs\n"})
    repo.write({"src/a.c": "put aside\n"}, where=work)
    repo.git("rebase", "--autostash", "main", cwd=work, ok=False)
    assert (work / "src/a.c").read_text() == "a\n"

    salvage = spaces.salvage(TASK, Venue(root=root))

    parents = repo.git("log", "-1", "--format=%P", salvage.commit).split()
    assert any(repo.files(parent)["src/a.c"] == b"put aside\n" for parent in parents)


def test_a_worktree_whose_branch_was_deleted_is_saved_whole(repo, spaces, root, work):
    repo.git("update-ref", "-d", "refs/heads/agent/x-1")

    assert saved(repo, spaces, root) == {name: text for name, text in FILES.items() if not name.startswith(".beads")}


# --- copied files ---


def test_an_unchanged_copy_is_not_saved(repo, spaces, root):
    repo.write({"local.conf": "SECRET=1\n"})
    made(repo, spaces, root, copy=("local.conf",))

    assert spaces.salvage(TASK, Venue(root=root)) is None
    assert not (repo.common / "reconcile/copies").exists()


def test_a_changed_copy_is_kept_private_and_out_of_git(repo, spaces, root):
    repo.write({"local.conf": "SECRET=1\n"})
    work = made(repo, spaces, root, copy=("local.conf",))
    repo.write({"local.conf": "SECRET=2\n", "new": "n\n"}, where=work)
    (work / "local.conf").chmod(0o644)

    assert saved(repo, spaces, root) == {**FILES, "new": "n\n"}
    spaces.remove(TASK, Venue(root=root))

    [kept] = [path for path in (repo.common / "reconcile/copies/x-1").rglob("*") if path.is_file()]
    assert kept.name == "local.conf" and kept.read_text() == "SECRET=2\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert "SECRET=2" not in repo.git("grep", "SECRET", *repo.refs().values(), ok=False)


def test_a_copy_that_the_agent_committed_is_work_like_any_other(repo, spaces, root):
    repo.write({"local.conf": "1\n"})
    work = made(repo, spaces, root, copy=("local.conf",))
    repo.commit({"local.conf": "2\n"}, where=work)
    repo.write({"local.conf": "3\n"}, where=work)

    assert saved(repo, spaces, root)["local.conf"] == "3\n"


def test_a_copy_that_changes_right_before_the_removal_is_kept_as_it_is_then(repo, spaces, root, monkeypatch):
    repo.write({"local.conf": "1\n"})
    work = made(repo, spaces, root, copy=("local.conf",))
    repo.write({"local.conf": "2\n"}, where=work)
    locking, times = spaces._register.lock, iter([True])

    def write_then_lock(*args):
        if next(times, False):
            repo.write({"local.conf": "3\n"}, where=work)
        return locking(*args)

    monkeypatch.setattr(spaces._register, "lock", write_then_lock)

    with pytest.raises(ChangedError):
        spaces.remove(TASK, Venue(root=root))
    spaces.remove(TASK, Venue(root=root))

    kept = {path.read_text() for path in (repo.common / "reconcile/copies/x-1").rglob("*") if path.is_file()}
    assert kept == {"2\n", "3\n"} and not work.exists()


@pytest.mark.parametrize("when", ["before it is listed", "after it was listed"])
@pytest.mark.parametrize("name", ["README", "new", "local.conf"])
def test_what_changes_in_the_last_look_goes_with_no_removal_although_a_log_is_written(
    repo, spaces, root, monkeypatch, name, when
):
    repo.write({"local.conf": "1\n"})
    work = made(repo, spaces, root, copy=("local.conf",))
    repo.write({".gitignore": "log\n", "log": "", "local.conf": "2\n"}, where=work)
    listing, times = snapshot._Index.listing, iter([True])
    locking = spaces._register.lock

    def log_then_lock(*args):
        repo.write({"log": "a line\n"}, where=work)
        return locking(*args)

    def listed(index):
        last = next(times, False)
        if last and when == "before it is listed":
            repo.write({name: "at the worst moment\n"}, where=work)
        found = listing(index)
        if last and when == "after it was listed":
            repo.write({name: "at the worst moment\n"}, where=work)
        return found

    monkeypatch.setattr(spaces._register, "lock", log_then_lock)
    monkeypatch.setattr(snapshot._Index, "listing", listed)

    with pytest.raises(ChangedError):
        spaces.remove(TASK, Venue(root=root))
    monkeypatch.undo()
    saved = spaces.remove(TASK, Venue(root=root))

    assert next(times, None) is None and not work.exists()
    kept = [path.read_text() for path in (repo.common / "reconcile/copies/x-1").rglob("local.conf")]
    if name != "local.conf":
        kept = [repo.git("show", f"{saved.commit}:{name}") + "\n"]
    assert "at the worst moment\n" in kept


def test_a_log_that_is_written_all_the_time_keeps_no_worktree(repo, spaces, root, work, monkeypatch):
    repo.write({".gitignore": "log\n", "log": ""}, where=work)
    locking = spaces._register.lock

    def log_then_lock(*args):
        repo.write({"log": "a line\n"}, where=work)
        return locking(*args)

    monkeypatch.setattr(spaces._register, "lock", log_then_lock)
    spaces.remove(TASK, Venue(root=root))

    assert not work.exists()


@pytest.fixture
def meanwhile(monkeypatch):
    """Have something done right before the first file of a removal goes; it is given the name of that."""

    def arrange(done):
        unlink, times = os.unlink, iter([True])

        def first(name, **how):
            if how and next(times, False):
                done(name)
            unlink(name, **how)

        monkeypatch.setattr(os, "unlink", first)

    return arrange


@pytest.mark.parametrize("changed", [{"zz": "at the worst moment\n"}, {"zz": None, "came": "at the worst moment\n"}])
@pytest.mark.parametrize("kind", ["tracked", "untracked", "copied", "below a folder"])
def test_what_changes_while_a_worktree_is_taken_away_stays_and_is_saved(repo, spaces, root, meanwhile, kind, changed):
    name = "zz/zz/zz" if kind == "below a folder" else "zz"
    (repo.commit if kind == "tracked" else repo.write)({name: "1\n"})
    work = made(repo, spaces, root, copy=(name,) if kind == "copied" else ())
    repo.write({name: "2\n"}, where=work)
    written = {(work / name).with_name(at): text for at, text in changed.items() if text}
    meanwhile(lambda _: [path.write_text(text) for path, text in written.items()])

    with pytest.raises(ChangedError, match="changed while"):
        spaces.remove(TASK, Venue(root=root))
    assert all(path.read_text() == text for path, text in written.items()) and (work / ".git").is_file()
    saved = spaces.remove(TASK, Venue(root=root))

    assert not work.exists()
    [path] = written
    kept = [each.read_text() for each in (repo.common / "reconcile/copies/x-1").rglob(path.name)]
    if not (kind == "copied" and path.name == "zz"):
        kept = [repo.git("show", f"{saved.commit}:{path.relative_to(work)}") + "\n"]
    assert "at the worst moment\n" in kept


@pytest.mark.parametrize("name", ["README", "new"])
def test_what_changes_right_before_a_worktree_goes_of_which_nothing_was_to_be_saved_stays(
    repo, spaces, root, work, monkeypatch, name
):
    assert spaces.salvage(TASK, Venue(root=root)) is None
    time.sleep(0.1)
    assert spaces.salvage(TASK, Venue(root=root)) is None
    locking = spaces._register.lock
    reads, take = [], snapshot.take
    monkeypatch.setattr(snapshot, "take", lambda *args: reads.append(args) or take(*args))

    def write_then_lock(*args):
        if not reads:
            repo.write({name: "at the worst moment\n"}, where=work)
        return locking(*args)

    monkeypatch.setattr(spaces._register, "lock", write_then_lock)

    with pytest.raises(ChangedError):
        spaces.remove(TASK, Venue(root=root))
    assert not reads and (work / name).read_text() == "at the worst moment\n"
    saved = spaces.remove(TASK, Venue(root=root))

    assert repo.git("show", f"{saved.commit}:{name}") == "at the worst moment" and not work.exists()


def test_a_log_that_is_written_while_its_worktree_is_taken_away_goes_with_it(repo, spaces, root, work, meanwhile):
    repo.commit({".gitignore": "zz\n"}, where=work)
    repo.write({"zz": ""}, where=work)
    meanwhile(lambda _: repo.write({"zz": "a line\n"}, where=work))

    assert spaces.remove(TASK, Venue(root=root)) is None

    assert not work.exists()


def test_a_file_of_several_names_is_not_changed_by_the_removal_of_one(repo, spaces, root, work):
    repo.write({"a": "1\n"}, where=work)
    for name in ("b", "c"):
        os.link(work / "a", work / name)

    spaces.remove(TASK, Venue(root=root))

    assert not work.exists()


def test_a_folder_that_becomes_a_link_while_it_is_taken_away_leads_nowhere(repo, meanwhile, tmp_path):
    work, precious = tmp_path / "work", tmp_path / "precious"
    repo.write({"work/one/1": "", "work/two/2": "", "precious/1": "", "precious/2": ""}, where=tmp_path)

    def swap(going):
        other = "two" if going == "1" else "one"
        (work / other).rename(tmp_path / other)
        (work / other).symlink_to(precious)

    meanwhile(swap)

    with pytest.raises(OSError, match=f"{work}/(one|two)"):
        folders.take_away(work)
    folders.take_away(work)

    assert not work.exists() and len(os.listdir(precious)) == 2


def test_a_file_that_differs_by_case_alone_is_another_one_whatever_the_repository_says(repo, spaces, root, work):
    repo.git("config", "core.ignoreCase", "true")
    (work / "README").rename(work / "Readme")
    repo.write({"Readme": "changed\n", "SRC/a.c": "beside\n"}, where=work)

    content = saved(repo, spaces, root)

    assert content["Readme"] == "changed\n" and content["SRC/a.c"] == "beside\n" and "README" not in content


@pytest.mark.parametrize("looked", [False, True])
def test_what_was_staged_although_git_ignores_it_is_saved(repo, spaces, root, work, looked):
    repo.write({"k.o": "precious\n", "other.o": "made\n"}, where=work)
    if looked:  # and it was found that there was nothing to save
        time.sleep(0.1)
        assert saved(repo, spaces, root) is None

    repo.git("add", "--force", "k.o", cwd=work)

    assert saved(repo, spaces, root) == {**FILES, "k.o": "precious\n"}


@pytest.mark.parametrize("name", [".GIT", "git~1", "src/.git "])
def test_a_file_that_git_can_not_keep_keeps_its_worktree(repo, spaces, root, work, name):
    repo.write({name: "precious\n"}, where=work)

    with pytest.raises(PermanentError, match="git keeps no file of that name") as refused:
        spaces.remove(TASK, Venue(root=root))

    assert (work / name).read_text() == "precious\n" and "move it" in refused.value.hint


def test_a_deletion_is_saved_in_a_repository_of_long_names(tmp_path):
    repo = gitrepo.make(tmp_path, files={"a": "a\n", "b": "b\n"}, format="sha256")
    spaces, root = GitWorkspaces(repo.seam()), str(tmp_path / "worktrees")
    (made(repo, spaces, root) / "a").unlink()

    assert saved(repo, spaces, root) == {"b": "b\n"}


def test_what_is_mounted_in_a_worktree_is_left_and_named(repo, spaces, root, work):
    repo.write({".gitignore": "shared\n", "../../outside/precious": "mine\n"}, where=work)
    (work / "shared").mkdir()
    outside = (work / "../../outside").resolve()
    if subprocess.run(("mount", "--bind", outside, work / "shared"), stderr=subprocess.DEVNULL).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(PermanentError, match="mounted") as refused:
            spaces.remove(TASK, Venue(root=root))
        assert refused.value.hint == f"umount {work / 'shared'}" and (outside / "precious").read_text() == "mine\n"
    finally:
        subprocess.run(("umount", work / "shared"), check=True)
    spaces.remove(TASK, Venue(root=root))

    assert not work.exists() and (outside / "precious").exists()


def test_folders_that_are_nested_too_deeply_are_named(repo, spaces, root, work):
    folder = os.open(work, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=folder)
        above, folder = folder, os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(above)
    os.close(folder)

    try:
        with pytest.raises(PermanentError, match="nested too deeply") as refused:
            spaces.remove(TASK, Venue(root=root))
        assert refused.value.hint == f"remove it: rm -rf {work}"
    finally:  # pytest could not remove it either
        subprocess.run(("rm", "-rf", "--", work), check=True)


def test_a_changed_copy_with_the_longest_of_names_is_kept(repo, spaces, root):
    name = "s" * 255
    repo.write({name: "1\n"})
    work = made(repo, spaces, root, copy=(name,))
    repo.write({name: "2\n"}, where=work)

    spaces.remove(TASK, Venue(root=root))

    [kept] = [path for path in (repo.common / "reconcile/copies/x-1").rglob("*") if path.is_file()]
    assert kept.name == name and kept.read_text() == "2\n"


@pytest.mark.parametrize("read", [copies.digest, lambda path: copies._copy(path, path.with_name("to"))])
def test_a_pipe_in_the_place_of_a_copy_holds_nobody(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="it is no plain file"):
        read(tmp_path / "pipe")


def test_a_forged_note_of_what_was_copied_saves_nothing_from_elsewhere(repo, spaces, root, tmp_path):
    (tmp_path / "secret").write_text("secret\n")
    work = made(repo, spaces, root)
    (work / "out").symlink_to(tmp_path)
    note = repo.common / "worktrees/x-1/reconcile-recipe"
    names = ["../../secret", str(tmp_path / "secret"), "out/secret", ".git/config"]
    note.write_text(json.dumps({"copies": dict.fromkeys(names, "x"), "sparse": []}))

    spaces.salvage(TASK, Venue(root=root))

    assert not list((repo.common / "reconcile").glob("copies/**/*secret*"))
    assert (tmp_path / "secret").read_text() == "secret\n"


# --- when it cannot be done ---


def test_a_change_while_it_is_being_saved_is_noticed(repo, spaces, root, work, monkeypatch):
    repo.write({"new": "n\n"}, where=work)
    taking = snapshot.take

    def take_then_write(*args):
        taken = taking(*args)
        repo.write({"new": "changed at the worst moment\n"}, where=work)
        return taken

    monkeypatch.setattr(snapshot, "take", take_then_write)

    with pytest.raises(ChangedError):
        spaces.salvage(TASK, Venue(root=root))
    assert (work / "new").read_text() == "changed at the worst moment\n"


@pytest.mark.parametrize("when", ["before it is read", "after it was read"])
@pytest.mark.parametrize("change", ["tracked", "new", "kept", "gone"])
@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
def test_what_changes_while_a_worktree_is_looked_at_goes_with_no_removal(
    repo, spaces, root, work, monkeypatch, when, change, dirty
):
    (work / "kept").write_text("as it was\n")
    if not dirty:
        repo.commit({"kept": "as it was\n"}, where=work)
    comparing, times = snapshot._Index.compared, iter([True])

    def compare(index):
        def meanwhile():
            if next(times, False):
                name = {"tracked": "README", "gone": "README"}.get(change, change)
                (work / name).unlink() if change == "gone" else (work / name).write_text("at the worst moment\n")

        if when == "before it is read":
            meanwhile()
        found = comparing(index)
        if when == "after it was read":
            meanwhile()
        return found

    monkeypatch.setattr(snapshot._Index, "compared", compare)

    try:
        saved = spaces.remove(TASK, Venue(root=root))
    except (ChangedError, TemporaryError):
        assert work.is_dir()
        assert change == "gone" or "at the worst moment" in "".join(
            path.read_text() for path in work.iterdir() if path.is_file()
        )
        saved = spaces.remove(TASK, Venue(root=root))
    assert not work.exists()
    if change == "gone":
        assert saved and "README" not in repo.git("ls-tree", "--name-only", saved.commit).split()
    else:
        name = {"tracked": "README"}.get(change, change)
        assert saved and repo.git("show", f"{saved.commit}:{name}") == "at the worst moment"


def test_a_change_right_before_the_removal_is_noticed(repo, spaces, root, work, monkeypatch):
    locking = spaces._register.lock

    def write_then_lock(*args):
        repo.write({"README": "changed at the worst moment\n"}, where=work)
        return locking(*args)

    monkeypatch.setattr(spaces._register, "lock", write_then_lock)

    with pytest.raises(ChangedError):
        spaces.remove(TASK, Venue(root=root))
    assert (work / "README").read_text() == "changed at the worst moment\n"
    assert spaces.worktrees(Venue(root=root), [TASK])[TASK].fault is None


def test_what_changes_after_nothing_was_to_be_saved_is_saved_all_the_same(repo, spaces, root, work):
    repo.commit({"src/a.c": "one\n"}, where=work)
    time.sleep(0.1)
    assert spaces.salvage(TASK, Venue(root=root)) is None
    was = os.stat(work / "src/a.c")
    (work / "src/a.c").write_text("two\n")
    os.utime(work / "src/a.c", ns=(was.st_atime_ns, was.st_mtime_ns))  # of the same size and date

    spaces.remove(TASK, Venue(root=root))

    (ref,) = repo.refs("refs/reconcile/salvage")
    assert repo.content(f"{ref}:src/a.c") == b"two\n"


def test_what_an_ignore_file_of_the_repository_gives_free_later_is_saved(repo, spaces, root, work):
    exclude = repo.common / "info" / "exclude"
    exclude.write_text("kept\n")
    (work / "kept").write_text("precious\n")
    time.sleep(0.1)
    assert spaces.salvage(TASK, Venue(root=root)) is None
    exclude.write_text("")

    spaces.remove(TASK, Venue(root=root))

    (ref,) = repo.refs("refs/reconcile/salvage")
    assert repo.content(f"{ref}:kept") == b"precious\n"


def test_what_a_person_gives_free_in_their_own_ignore_file_later_is_saved(repo, spaces, root, work):
    ignore = repo.home / "git" / "ignore"
    ignore.parent.mkdir(exist_ok=True)
    ignore.write_text("*.draft\n")
    (work / "idea.draft").write_text("precious\n")
    time.sleep(0.1)
    assert spaces.salvage(TASK, Venue(root=root)) is None
    ignore.write_text("")

    spaces.remove(TASK, Venue(root=root))

    (ref,) = repo.refs("refs/reconcile/salvage")
    assert repo.content(f"{ref}:idea.draft") == b"precious\n"


def test_where_nothing_changed_since_nothing_was_to_be_saved_no_file_is_read_again(
    repo, spaces, root, work, monkeypatch
):
    time.sleep(0.1)
    assert spaces.salvage(TASK, Venue(root=root)) is None
    monkeypatch.setattr(snapshot, "take", lambda *args: pytest.fail("it was read again"))

    spaces.remove(TASK, Venue(root=root))

    assert not work.exists()


def test_a_commit_right_before_the_removal_is_noticed(repo, spaces, root, work, monkeypatch):
    repo.git("checkout", "--quiet", "--detach", cwd=work)
    keeping = copies.keep

    def commit_then_keep(*args):
        repo.commit({}, where=work)
        return keeping(*args)

    monkeypatch.setattr(copies, "keep", commit_then_keep)

    with pytest.raises(ChangedError):
        spaces.remove(TASK, Venue(root=root))
    assert work.exists()


def test_a_file_that_cannot_be_read_stops_everything(repo, spaces, root, work, monkeypatch):
    # A filter that fails stands for the unreadable file, because for root there is none.
    repo.git("config", "--global", "filter.broken.clean", "false")
    repo.git("config", "--global", "filter.broken.required", "true")
    repo.write({".gitattributes": "bad filter=broken\n", "bad": "precious\n"}, where=work)

    with pytest.raises(TemporaryError):
        spaces.remove(TASK, Venue(root=root))

    assert (work / "bad").read_text() == "precious\n"
    assert spaces.worktrees(Venue(root=root), [TASK])[TASK].fault is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
@pytest.mark.parametrize("name", ["closed", "closed/file"])
def test_what_its_owner_closed_is_not_removed(repo, spaces, root, work, name):
    repo.write({"closed/file": "precious\n"}, where=work)
    (work / name).chmod(0)

    with pytest.raises(TemporaryError):
        spaces.remove(TASK, Venue(root=root))

    (work / name).chmod(0o700)
    assert (work / "closed/file").read_text() == "precious\n"


# --- bringing it back ---


def test_saved_work_comes_back_as_the_tasks_branch_where_that_is_free(repo, spaces, root, work):
    repo.write({"new": "n\n"}, where=work)
    head = repo.head("agent/x-1")
    spaces.remove(TASK, Venue(root=root))
    spaces.delete_branch(TASK, head)

    assert spaces.restore(TASK) == spaces.restore(TASK) == "agent/x-1"

    assert repo.files("agent/x-1")["new"] == b"n\n"


def test_saved_work_comes_back_beside_a_branch_that_exists(repo, spaces, root, work):
    repo.write({"new": "one\n"}, where=work)
    spaces.salvage(TASK, Venue(root=root))
    repo.write({"new": "two\n"}, where=work)
    spaces.salvage(TASK, Venue(root=root))
    head = repo.head("agent/x-1")

    assert spaces.restore(TASK) == spaces.restore(TASK) == "restored/x-1-2"

    assert repo.files("restored/x-1-2")["new"] == b"two\n"
    assert repo.head("agent/x-1") == head


def test_nothing_is_overwritten_to_bring_work_back(repo, spaces, root, work):
    repo.write({"new": "n\n"}, where=work)
    spaces.salvage(TASK, Venue(root=root))
    repo.git("branch", "restored/x-1-1", "main")

    with pytest.raises(PermanentError, match="restored/x-1-1 exists"):
        spaces.restore(TASK)

    assert repo.head("restored/x-1-1") == repo.head("main")


def test_nothing_saved_is_said_with_a_hint_that_works(repo, spaces, work):
    with pytest.raises(PermanentError, match="nothing was saved") as caught:
        spaces.restore(TASK)
    assert caught.value.hint == "what was committed is on its branch: git log agent/x-1"

    repo.git("worktree", "remove", "-f", "-f", str(work))
    repo.git("branch", "-D", "agent/x-1")
    with pytest.raises(PermanentError, match="nothing was saved") as caught:
        spaces.restore(TASK)
    assert caught.value.hint == "it has no branch either; 'reconcile describe x-1' shows how it stands"


def test_saved_work_is_dropped_only_where_it_still_is_that_work(repo, spaces, root, work):
    repo.write({"new": "n\n"}, where=work)
    salvage = spaces.salvage(TASK, Venue(root=root))

    with pytest.raises(ChangedError):
        spaces.drop_salvage(Salvage(task=TASK, n=1, commit=repo.head("main"), at=salvage.at))
    assert spaces.salvages() == (salvage,)

    spaces.drop_salvage(salvage)
    spaces.drop_salvage(salvage)
    dropped = replace(salvage, dropped=True)
    assert spaces.salvages() == (dropped,)

    spaces.drop_salvage(dropped)
    spaces.drop_salvage(dropped)
    assert spaces.salvages() == ()


def test_what_was_dropped_can_be_brought_back_and_its_number_is_not_used_again(repo, spaces, root, work):
    repo.write({"new": "first\n"}, where=work)
    spaces.drop_salvage(spaces.salvage(TASK, Venue(root=root)))
    repo.git("branch", "-D", "agent/x-1", ok=False)

    assert repo.git("show", f"{spaces.restore(TASK)}:new") == "first"
    repo.write({"new": "second\n"}, where=work)
    assert spaces.salvage(TASK, Venue(root=root)).n == 2


def test_commits_that_only_dropped_work_holds_are_saved_again(repo, spaces, root, work):
    repo.git("checkout", "--quiet", "--detach", cwd=work)
    repo.commit({"off": "branch\n"}, where=work)
    first = spaces.salvage(TASK, Venue(root=root))
    spaces.drop_salvage(first)

    again = spaces.salvage(TASK, Venue(root=root))

    assert (again.n, again.dropped) == (2, False)


@pytest.fixture
def kept(repo, spaces, root, work):
    repo.write({"new": "n\n"}, where=work)
    return spaces.salvage(TASK, Venue(root=root))


def ages(repo):
    """What a program that starts now knows of the age of everything that was saved."""
    return [each.age for each in GitWorkspaces(repo.seam()).salvages()]


def test_saved_work_gets_older_by_the_time_between_ticks(repo, spaces, kept):
    for hours in range(0, 72, 2):
        spaces.time_passes(NOON + timedelta(hours=hours))

    assert ages(repo) == [timedelta(hours=70)]


def test_between_two_programs_time_passes_too(repo, kept):
    GitWorkspaces(repo.seam()).time_passes(NOON)
    GitWorkspaces(repo.seam()).time_passes(NOON + timedelta(hours=7))

    assert ages(repo) == [timedelta(hours=7)]


def test_time_that_passes_beside_two_programs_is_counted_once(repo, spaces, kept):
    spaces.time_passes(NOON)
    other = GitWorkspaces(repo.seam())
    other.time_passes(NOON + timedelta(hours=3))

    spaces.time_passes(NOON + timedelta(hours=4))

    assert ages(repo) == [timedelta(hours=4)]


@pytest.mark.parametrize("days", [-20_000, -400, -1, 2, 40, 400, 20_000])
def test_a_clock_that_is_wrong_for_a_tick_makes_nothing_older_by_more_than_a_day(repo, spaces, kept, days):
    spaces.time_passes(NOON)
    spaces.time_passes(NOON + timedelta(days=days))
    spaces.time_passes(NOON + timedelta(hours=3))

    assert timedelta() <= ages(repo)[0] <= timedelta(days=1, hours=3)


@given(st.lists(st.integers(-3_000_000_000, 3_000_000_000), max_size=30))
def test_however_the_clock_jumps_a_tick_counts_for_a_day_at_most_and_never_less_than_nothing(seconds):
    with TemporaryDirectory() as folder:
        counted = Ages(Path(folder) / "ages")
        before = timedelta()
        for each in seconds:
            counted.time_passes(NOON + timedelta(seconds=each), {"ref": Sha("a" * 40)})
            now = counted.of("ref", Sha("a" * 40))
            assert timedelta() <= now - before <= timedelta(days=1)
            before = now


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"ages": 3}', '{"at": "x", "ages": {"r": ["a", "b"]}}', '{"at": "2026-01-01", "ages": {}}'],
)
def test_ages_that_can_not_be_read_are_young(repo, spaces, kept, content):
    spaces.time_passes(NOON)
    spaces.time_passes(NOON + timedelta(hours=9))
    file = repo.common / "reconcile/salvage-ages.json"
    assert file.exists()
    file.write_text(content)

    assert ages(repo) == [timedelta()]
    GitWorkspaces(repo.seam()).time_passes(NOON)
    GitWorkspaces(repo.seam()).time_passes(NOON + timedelta(hours=2))
    assert ages(repo) == [timedelta(hours=2)]


def test_nothing_saved_writes_nothing_and_a_quiet_hour_writes_once(repo, spaces, root, work):
    file = repo.common / "reconcile/salvage-ages.json"
    spaces.time_passes(NOON)
    spaces.time_passes(NOON + timedelta(days=1))
    assert not file.exists()

    repo.write({"new": "n\n"}, where=work)
    spaces.salvage(TASK, Venue(root=root))
    spaces.time_passes(NOON + timedelta(days=1))
    written = file.stat().st_ino
    for minutes in range(59):
        spaces.time_passes(NOON + timedelta(days=1, minutes=minutes))

    assert file.stat().st_ino == written


def test_refs_that_are_no_saved_work_are_passed_over(repo, spaces):
    blob = repo.git("hash-object", "-w", "README")
    repo.git("update-ref", "refs/reconcile/salvage/x-1/1", blob)
    for name in ("x-1/first", "x-1/0", "x-1/2/3", "bad@id/1", "loose"):
        repo.git("update-ref", f"refs/reconcile/salvage/{name}", "main")

    assert spaces.salvages() == ()
