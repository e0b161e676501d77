"""A checkout of the base follows its branch, and never at the cost of what somebody has in it."""

from __future__ import annotations

import os
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import TemporaryError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Candidate
from reconciler.model.ports import LandOrder

TASK = TaskId("x-1")
BRANCH = "agent/x-1"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(
        tmp_path, files={"a": "a\n", "b": "b\n", "dir/c": "c\n", ".gitignore": "*.log\nbuild/\n", ".beads/x": "1\n"}
    )


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


def test_the_checkout_of_the_base_is_clean_after_a_landing(repo: GitRepo, forge: LocalForge) -> None:
    commit = land(repo, forge, {"a": "A\n", "new/file": "1\n"}, gone=("dir/c",))

    assert repo.status() == "" and repo.head() == commit
    assert (repo.path / "a").read_text() == "A\n" and not (repo.path / "dir").exists()


def test_edits_elsewhere_in_the_checkout_stay_as_they_are(repo: GitRepo, forge: LocalForge) -> None:
    repo.write({"a": "edited\n", "untracked": "mine\n", "ignored.log": "mine\n", "staged": "mine\n", ".beads/x": "2\n"})
    repo.git("add", "staged")
    os.unlink(repo.path / "dir/c")
    before = repo.status()

    land(repo, forge, {"b": "B\n"})

    assert repo.status() == before
    assert (repo.path / "a").read_text() == "edited\n" and (repo.path / "ignored.log").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("mine", "lands"),
    [
        ({"a": "edited\n"}, {"a": "A\n"}),
        ({"new": "mine\n"}, {"new": "1\n"}),
        ({"new": "1\n"}, {"new": "1\n"}),
        ({"new": "mine\n"}, {"new/below": "1\n"}),
        ({"new/below": "mine\n"}, {"new": "1\n"}),
        ({"dir/more": "mine\n"}, {"dir": "1\n"}),
        ({"x.log": "mine\n"}, {"x.log": "1\n"}),
        ({"x.log": "mine\n"}, {"x.log/below": "1\n"}),
        ({"build/out": "mine\n"}, {"build": "1\n"}),
        ({"dir/x.log": "mine\n"}, {"dir": "1\n"}),
        ({"build/deep/out": "mine\n"}, {"build/deep": "1\n"}),
    ],
)
def test_a_landing_waits_for_what_stands_in_its_way_and_names_it(
    repo: GitRepo, forge: LocalForge, mine: dict[str, str], lands: dict[str, str]
) -> None:
    gone = ("dir/c",) if "dir" in lands else ()
    repo.write(mine)
    before = (repo.head(), repo.status())
    (name,) = mine

    with pytest.raises(TemporaryError, match=name):
        land(repo, forge, lands, gone=gone)

    assert (repo.head(), repo.status()) == before
    assert (repo.path / name).read_text() == mine[name]
    assert forge.pull_requests()[TASK].state == "open"

    os.unlink(repo.path / name)
    repo.git("checkout", "--quiet", "HEAD", "--", "a")
    land(repo, forge, lands, gone=gone)
    assert repo.status() == ""


@pytest.mark.parametrize("staged", ["git add", "git rm", "a mode"])
def test_staged_changes_to_what_lands_are_in_the_way(repo: GitRepo, forge: LocalForge, staged: str) -> None:
    match staged:
        case "git add":
            repo.write({"a": "edited\n"})
            repo.git("add", "a")
        case "git rm":
            repo.git("rm", "--quiet", "--cached", "a")
        case _:
            (repo.path / "a").chmod(0o755)
    before = repo.status()

    with pytest.raises(TemporaryError, match=": a"):
        land(repo, forge, {"a": "A\n"})

    assert repo.status() == before


def test_a_link_that_leads_out_of_the_checkout_is_not_followed(
    repo: GitRepo, forge: LocalForge, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repo.path / "build").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TemporaryError, match="build"):
        land(repo, forge, {"build/out": "1\n"})

    assert not any((tmp_path / "elsewhere").iterdir())


def test_edits_that_git_was_told_to_overlook_are_not_overwritten(repo: GitRepo, forge: LocalForge) -> None:
    repo.git("update-index", "--assume-unchanged", "a")
    repo.write({"a": "mine\n"})

    before = repo.head()

    with pytest.raises(TemporaryError, match="in the way"):
        land(repo, forge, {"a": "A\n"})

    assert (repo.path / "a").read_text() == "mine\n" and repo.head() == before


def test_a_file_that_was_only_touched_is_no_edit(repo: GitRepo, forge: LocalForge) -> None:
    os.utime(repo.path / "a", (1, 1))

    land(repo, forge, {"a": "A\n"})

    assert repo.status() == ""


def test_an_edit_in_the_moment_of_the_last_git_command_is_seen(repo: GitRepo, forge: LocalForge) -> None:
    # Same size, same second: only the time of the index itself tells git to look into the file.
    repo.git("config", "--global", "core.trustCtime", "false")
    os.utime(repo.path / "a", (1, 1))
    repo.git("update-index", "--refresh")
    os.utime(repo.common / "index", (1, 1))
    repo.write({"a": "b\n"})
    os.utime(repo.path / "a", (1, 1))

    checkout = forge.base("main").checkout

    assert checkout and checkout.dirty == {"a"}


@pytest.mark.parametrize("amid", ["merge", "cherry-pick", "revert", "rebase", "bisection"])
def test_a_landing_waits_while_a_person_is_amid_something(repo: GitRepo, forge: LocalForge, amid: str) -> None:
    begin(repo, amid)
    before = repo.refs("refs/heads/main")

    base = forge.base("main")
    assert base.checkout and base.checkout.busy == amid
    with pytest.raises(TemporaryError, match=f"a {amid} goes on there"):
        land(repo, forge, {"new": "1\n"})

    assert repo.refs("refs/heads/main") == before


def test_every_kind_of_change_is_seen_and_the_beads_folder_is_not(repo: GitRepo, forge: LocalForge) -> None:
    repo.write(
        {"a": "edited\n", "sub/untracked": "1\n", "staged": "1\n", "x.log": "1\n", ".beads/x": "2\n", ".beads/y": ""}
    )
    repo.write({'quo"te\n': "1\n"})
    repo.git("add", "staged")
    repo.git("mv", "b", "moved")
    repo.git("init", "--quiet", "nested")
    os.unlink(repo.path / "dir/c")
    before = (repo.common / "index").read_bytes()

    checkout = forge.base("main").checkout

    assert checkout and checkout.path == str(repo.path)
    assert checkout.dirty == {"a", "sub/untracked", "staged", "b", "moved", "dir/c", "nested", 'quo"te\n'}
    assert (repo.common / "index").read_bytes() == before


def test_dirt_is_only_looked_for_when_asked_to(repo: GitRepo, forge: LocalForge) -> None:
    repo.write({"a": "edited\n"})

    checkout = forge.base("main", look=False).checkout

    assert checkout and checkout.dirty is None


def test_a_base_that_nobody_has_checked_out_moves_alone(repo: GitRepo, forge: LocalForge) -> None:
    repo.git("switch", "--quiet", "--create", "elsewhere")
    repo.write({"a": "edited\n"})

    commit = land(repo, forge, {"a": "A\n"})

    assert repo.head("main") == commit and repo.status() == " M a"
    assert forge.base("main").checkout is None


def test_a_linked_worktree_that_has_the_base_follows_too(repo: GitRepo, forge: LocalForge, tmp_path: Path) -> None:
    repo.git("switch", "--quiet", "--create", "elsewhere")
    linked = tmp_path / "linked"
    repo.git("worktree", "add", "--quiet", str(linked), "main")
    (linked / "b").write_text("edited\n")

    land(repo, forge, {"a": "A\n"})

    assert repo.status(linked) == " M b" and (linked / "a").read_text() == "A\n"
    assert repo.status() == ""


def test_two_checkouts_of_the_base_both_follow_or_both_stay(repo: GitRepo, forge: LocalForge, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    repo.git("worktree", "add", "--quiet", "--force", str(linked), "main")
    (linked / "a").write_text("edited\n")
    with pytest.raises(TemporaryError, match="linked"):
        land(repo, forge, {"a": "A\n"})

    repo.git("checkout", "--quiet", "--", "a", cwd=linked)
    land(repo, forge, {"a": "A\n"})

    assert repo.status() == repo.status(linked) == ""


def test_a_worktree_that_is_away_for_good_is_no_checkout(repo: GitRepo, forge: LocalForge, tmp_path: Path) -> None:
    repo.git("switch", "--quiet", "--create", "elsewhere")
    repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"), "main")
    (tmp_path / "linked").rename(tmp_path / "away")
    assert forge.base("main").checkout is None

    repo.git("worktree", "lock", str(tmp_path / "linked"))
    with pytest.raises(TemporaryError, match="not there now"):
        forge.base("main")


def test_a_bare_repository_has_no_checkout(repo: GitRepo, tmp_path: Path) -> None:
    repo.branch(BRANCH, {"a": "A\n"})
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(tmp_path / "bare.git"))
    bare = GitRepo(tmp_path / "bare.git", repo.home)
    forge = LocalForge(bare.seam())

    commit = forge.land(order_for(forge, bare.head(BRANCH)))

    assert forge.base("main").checkout is None and bare.head("main") == commit


def test_a_locked_index_is_waited_for(repo: GitRepo, forge: LocalForge) -> None:
    (repo.common / "index.lock").touch()
    before = repo.head()

    with pytest.raises(TemporaryError, match=r"index\.lock"):
        land(repo, forge, {"a": "A\n"})

    assert repo.head() == before


def test_a_sparse_checkout_stays_sparse(repo: GitRepo, forge: LocalForge) -> None:
    repo.commit({"in/x": "1\n", "out/y": "1\n"})
    repo.git("sparse-checkout", "set", "in")

    land(repo, forge, {"in/x": "2\n", "out/y": "2\n", "out/z": "2\n"})

    assert repo.status() == ""
    assert (repo.path / "in/x").read_text() == "2\n" and not (repo.path / "out").exists()


def test_a_split_index_is_read_and_left_whole(repo: GitRepo, forge: LocalForge) -> None:
    repo.git("config", "core.splitIndex", "true")
    repo.git("update-index", "--split-index")
    repo.write({"b": "edited\n"})

    land(repo, forge, {"a": "A\n"})

    assert repo.status() == " M b"


def test_a_submodule_in_the_checkout_is_never_entered(repo: GitRepo, forge: LocalForge, tmp_path: Path) -> None:
    inner = gitrepo.make(tmp_path, name="inner")
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "sub")
    repo.commit(message="with a submodule")
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    script.chmod(0o755)
    repo.git("config", "filter.evil.clean", str(script), cwd=repo.path / "sub")
    repo.write({"sub/.gitattributes": "* filter=evil\n", "sub/README": "jello\n"})

    land(repo, forge, {"a": "A\n"})

    assert not (tmp_path / "ran").exists()
    assert (repo.path / "sub/README").read_text() == "jello\n"


def begin(repo: GitRepo, what: str) -> None:
    """Leave the main checkout in the middle of something that is about the base."""
    repo.branch("other", {"b": "other\n"})
    repo.commit({"b": "ours\n"})
    match what:
        case "merge" | "cherry-pick":
            repo.git(what, "other", ok=False)
        case "revert":
            repo.commit({"b": "more\n"})
            repo.git("revert", "--no-edit", "HEAD~1", ok=False)
        case "rebase":
            repo.git("rebase", "other", ok=False)
        case _:
            repo.commit({"b": "more\n"})
            repo.git("bisect", "start", "HEAD", "HEAD~2")


def land(repo: GitRepo, forge: LocalForge, files: dict[str, str], gone: tuple[str, ...] = ()) -> Sha:
    """Land a branch with one commit that writes these files and removes those."""
    head = repo.branch(BRANCH, files if not gone else {})
    if gone:
        index = {"GIT_INDEX_FILE": str(repo.common / "index-of-branch")}
        repo.git("read-tree", BRANCH, env=index)
        for name in gone:
            repo.git("update-index", "--force-remove", name, env=index)
        for name, text in files.items():
            (repo.home / "blob").write_text(text)
            blob = repo.git("hash-object", "-w", str(repo.home / "blob"))
            repo.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", env=index)
        tree = repo.git("write-tree", env=index)
        head = Sha(repo.git("commit-tree", tree, "-p", BRANCH, "-m", "work"))
        repo.git("update-ref", f"refs/heads/{BRANCH}", head)
    return forge.land(order_for(forge, head))


def order_for(forge: LocalForge, head: Sha) -> LandOrder:
    candidate = forge.candidate(forge.base("main", look=False).head, head)
    assert isinstance(candidate, Candidate)
    number = forge.open(TASK, head, "Title", "")
    return LandOrder(
        task=TASK, number=number, title="Title", body="", expected=candidate, base="main", method=MergeMethod.SQUASH
    )
