"""The refs of tasks on a remote: read together, moved by compare-and-swap, and believed only where they hold a record."""

from __future__ import annotations

import shutil
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git.task_refs import TaskRefs, identity_of
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import RUN_REFS, Sha, TaskId

X = TaskId("x-1")
REF = RUN_REFS + X


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = gitrepo.make(tmp_path, files={"a": "a\n"})
    made.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    return made


@pytest.fixture
def refs(repo: GitRepo, tmp_path: Path) -> TaskRefs:
    return TaskRefs(repo.seam(), str(tmp_path / "remote.git"))


def record(refs: TaskRefs, repo: GitRepo, **more: object) -> Sha:
    known = {"phase": "reserved", "n": 1, "nonce": "a", "by": "me", "task": X, "head": repo.head("main")}
    return refs.made({**known, **more}, [repo.head("main")])


def test_what_a_ref_says_is_read_by_who_has_never_seen_it(refs: TaskRefs, repo: GitRepo, tmp_path: Path):
    made = record(refs, repo, phase="claimed", node="n1", wip=repo.head("main"))
    refs.swap(REF, None, made)
    (tmp_path / "other").mkdir()
    other = TaskRefs(gitrepo.make(tmp_path / "other").seam(), refs.url)
    (seen,) = other.look().values()
    assert (seen.task, seen.at, seen.phase, seen.node, seen.n, seen.over) == (X, made, "claimed", "n1", 1, False)
    assert other.one(X) == seen and other.one(TaskId("x-2")) is None
    assert other.files([seen], "record.json", "log")[X].keys() == {"record.json"}


def test_a_ref_moves_from_where_it_was_seen_and_no_other_way(refs: TaskRefs, repo: GitRepo):
    one, two = record(refs, repo), record(refs, repo, n=2)
    refs.swap(REF, None, one)
    refs.swap(REF, None, one)  # its answer was lost: done is done
    for old in (None, two):
        with pytest.raises(ChangedError, match=one[:12]):
            refs.swap(REF, old, two)
    refs.swap(REF, one, two)
    refs.swap(REF, two, None)
    assert refs.look() == {}


def test_who_has_nothing_that_lives_there_does_not_wait_again_at_once_for_a_remote_that_is_silent(
    refs: TaskRefs, tmp_path: Path
):
    remote, away = tmp_path / "remote.git", tmp_path / "away.git"
    remote.rename(away)
    for fresh in (True, False):
        with pytest.raises(TemporaryError, match="ls-remote failed"):
            refs.look(fresh=fresh)
    away.rename(remote)
    with pytest.raises(TemporaryError, match="ls-remote failed"):
        refs.look(fresh=False)
    assert refs.look() == refs.look(fresh=False) == {}


def test_what_holds_no_record_is_nobodys_and_keeps_no_look_from_its_end(refs: TaskRefs, repo: GitRepo):
    junk = [record(refs, repo, **wrong) for wrong in ({"n": "1"}, {"head": "x"}, {"phase": 7}, {"wip": "--all"})]
    for n, commit in enumerate((*junk, repo.head("main"))):
        repo.git("push", "-q", refs.url, f"{commit}:{RUN_REFS}j-{n}")
    refs.swap(REF, None, record(refs, repo))
    assert set(refs.look()) == set(refs.look()) == {X}
    with pytest.raises(ChangedError, match="run/j-0 holds no record of a run") as refused:
        refs.one(TaskId("j-0"))
    assert "--delete refs/reconcile/run/j-0" in refused.value.advised


def test_a_remote_that_does_not_answer_is_not_empty(refs: TaskRefs, repo: GitRepo, tmp_path: Path):
    refs.swap(REF, None, record(refs, repo))
    refs.look()
    (tmp_path / "remote.git").rename(tmp_path / "gone.git")
    for ask in (refs.look, lambda: refs.one(X), lambda: refs.swap(REF, None, record(refs, repo))):
        with pytest.raises(TemporaryError):
            ask()


def test_what_a_killed_look_left_is_taken_away(refs: TaskRefs, repo: GitRepo, tmp_path: Path):
    control = repo.common / "reconcile/control"
    refs.look()
    left = "refs/near/run-4194305-ab/0"  # no process has so high a number
    repo.git(
        f"--git-dir={control}",
        "update-ref",
        left,
        repo.head("main"),
        env={"GIT_OBJECT_DIRECTORY": str(repo.common / "objects")},
    )
    (tmp_path / "other").mkdir()
    theirs = gitrepo.make(tmp_path / "other", files={"b": "b\n"})
    other = TaskRefs(theirs.seam(), refs.url)
    other.swap(REF, None, record(other, theirs))
    assert refs.look()[X].head == theirs.head("main")
    assert not (control / left).exists() and not list((control / "refs/near").glob("*/*"))


def test_a_copy_has_a_name_of_its_own_and_what_was_moved_keeps_its(tmp_path: Path):
    us = identity_of(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    theirs = identity_of(tmp_path / "copy")
    assert theirs != us == identity_of(tmp_path / "a") and identity_of(tmp_path / "copy") == theirs
    (tmp_path / "a").rename(tmp_path / "moved")
    assert identity_of(tmp_path / "moved") == us and identity_of(tmp_path / "copy") == theirs
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    assert identity_of(tmp_path / "link") == us


def test_a_repository_has_one_name_among_those_that_use_a_remote(tmp_path: Path):
    assert identity_of(tmp_path / "a") == identity_of(tmp_path / "a") != identity_of(tmp_path / "b")
    (tmp_path / "a/machines-id").write_text("../../x")
    with pytest.raises(PermanentError, match="machines-id is damaged"):
        identity_of(tmp_path / "a")
