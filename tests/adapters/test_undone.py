"""What was taken back of what has landed: noticed at the next look, fixed where it is nobody's work, else said."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.landing import undone
from reconciler.landing.checkouts import LOCK_SAYS
from reconciler.model.desired import MergeMethod
from reconciler.model.names import TaskId
from reconciler.model.observed import Candidate
from reconciler.model.ports import LandOrder
from reconciler.system import shell
from reconciler.system.shell import Finished

TASK = TaskId("x-1")
FILES = {"a": "a\n", "b": "b\n", "mine": "mine\n"}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files=FILES)


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


def land(repo: GitRepo, forge: LocalForge, task: str = TASK, **files: str) -> None:
    head = repo.branch(f"agent/{task}", files or {"a": "changed\n", "new": "new\n"})
    candidate = forge.candidate(repo.head("main"), head)
    assert isinstance(candidate, Candidate)
    number = forge.open(TaskId(task), head, task, "")
    order = {"title": task, "body": "", "base": "main", "method": MergeMethod.SQUASH}
    forge.land(LandOrder(task=TaskId(task), number=number, expected=candidate, **order))


def put_back(repo: GitRepo, *paths: str) -> None:
    """What a git leaves that began before a landing and ended after it."""
    repo.git("restore", "--source=HEAD~1", "--staged", "--worktree", "--", *(paths or (".",)))


def long_ago(repo: GitRepo, forge: LocalForge) -> LocalForge:
    """As seen two hours after the landing, by a program that has just started."""
    later = time.time() + 7200
    os.utime(repo.common / "index", (later, later))
    return LocalForge(repo.seam())


def test_what_a_landing_left_takes_nothing_back(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)

    base = LocalForge(repo.seam()).base("main")

    assert (base.behind, base.checkout and base.checkout.undoes, dict(base.undone)) == (False, (), {})


def test_a_base_on_which_only_we_landed_is_not_asked_what_each_commit_changed(
    repo: GitRepo, forge: LocalForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undone, "FAR", 2)  # what was there before is further away
    commands, run = [], shell.run

    def noted(argv: Sequence[str], **rest: Any) -> Finished:
        commands.append(argv)
        return run(argv, **rest)

    monkeypatch.setattr(shell, "run", noted)
    land(repo, forge, "x-1", a="1\n")
    land(repo, forge, "x-2", a="2\n")

    assert dict(LocalForge(repo.seam()).base("main").undone) == {}
    assert not [argv for argv in commands if "log" in argv]

    repo.git("revert", "--no-edit", "HEAD")
    assert dict(LocalForge(repo.seam()).base("main").undone) == {TaskId("x-2"): repo.head("main")}


def test_landed_files_that_are_staged_as_they_were_are_brought_back(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)
    put_back(repo)

    assert forge.base("main").behind
    forge.follow("main")

    assert repo.status() == ""
    assert (repo.path / "a").read_text() == "changed\n" and (repo.path / "new").exists()
    assert not forge.base("main").behind


def test_what_the_user_staged_and_changed_beside_it_stays(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)
    put_back(repo)
    repo.write({"mine": "edited\n", "b": "edited\n"})
    repo.git("add", "mine")

    forge.base("main")
    forge.follow("main")

    assert repo.status() == " M b\nM  mine"


@pytest.mark.parametrize("when", ["edited", "long ago"])
def test_what_may_be_somebodys_work_is_said_and_left(repo: GitRepo, forge: LocalForge, when: str) -> None:
    land(repo, forge)
    put_back(repo)
    if when == "edited":
        repo.write({"a": "edited\n"})
    else:
        forge = long_ago(repo, forge)
    before = repo.status()

    base = forge.base("main")
    forge.follow("main")

    assert (base.behind, base.checkout and base.checkout.undoes) == (False, ("a", "new"))
    assert repo.status() == before


def test_what_somebody_staged_of_his_own_takes_nothing_back(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)
    repo.write({"a": "another\n", "mine": "edited\n"})
    repo.git("add", ".")

    base = forge.base("main")

    assert (base.behind, base.checkout and base.checkout.undoes) == (False, ())


def test_a_revert_that_somebody_is_amid_is_his(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)
    repo.git("revert", "--no-commit", "HEAD")

    base = forge.base("main")

    assert not base.behind
    assert base.checkout and base.checkout.busy == "revert"


def test_a_commit_that_takes_a_landing_back_is_named(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)
    land(repo, forge, "x-2", b="changed\n")
    repo.git("revert", "--no-edit", "HEAD~1")

    assert dict(forge.base("main").undone) == {TASK: repo.head("main")}
    assert dict(LocalForge(repo.seam()).base("main").undone) == {TASK: repo.head("main")}


def test_a_landing_of_which_something_is_left_is_not_undone(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)
    repo.commit({"a": "a\n"})

    assert dict(forge.base("main").undone) == {}


def test_what_a_later_landing_takes_back_was_checked(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge, a="changed\n")
    land(repo, forge, "x-2", a="a\n")

    assert dict(LocalForge(repo.seam()).base("main").undone) == {}


def test_an_index_that_a_cut_off_landing_left_locked_is_said(repo: GitRepo, forge: LocalForge) -> None:
    lock = repo.common / "index.lock"
    lock.write_text(LOCK_SAYS.format(nonce="0" * 16))
    young = forge.base("main").checkout
    os.utime(lock, (0, 0))
    old = forge.base("main").checkout
    lock.write_text("")
    os.utime(lock, (0, 0))
    foreign = forge.base("main").checkout

    assert [seen and seen.locked for seen in (young, old, foreign)] == [False, True, False]


def test_what_was_looked_at_is_not_looked_at_again(
    repo: GitRepo, forge: LocalForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    run = shell.run

    def noted(argv: Sequence[str], **how: Any) -> Finished:
        looked.extend(word for word in argv if word in ("log", "diff-index"))
        return run(argv, **how)

    monkeypatch.setattr(shell, "run", noted)
    forge.base("main", look=False)
    for task in ("x-1", "x-2"):
        land(repo, forge, task, **{task: "new\n"})
        forge.base("main", look=False)
    assert looked == []  # it knows what it did itself

    repo.commit({"mine": "edited\n"})
    forge.base("main", look=False)
    forge.base("main", look=False)
    assert sorted(looked) == ["diff-index", "log"]


def test_what_landed_again_is_not_undone_any_more(repo: GitRepo, forge: LocalForge) -> None:
    land(repo, forge)
    repo.git("revert", "--no-edit", "HEAD")
    assert list(forge.base("main").undone) == [TASK]
    repo.git("branch", "--quiet", "-D", "agent/x-1")

    land(repo, forge, a="changed again\n")

    assert dict(forge.base("main").undone) == dict(LocalForge(repo.seam()).base("main").undone) == {}


def test_a_base_that_is_pushed_is_looked_at_as_well(repo: GitRepo, forge: LocalForge, tmp_path: Path) -> None:
    repo.git("init", "--quiet", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    land(repo, forge)
    repo.git("revert", "--no-edit", "HEAD")
    repo.git("push", "--quiet", "origin", "main")

    assert list(forge.base("main", push=True).undone) == [TASK]
