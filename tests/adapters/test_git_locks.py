"""Lock files of git: those that a git of ours left when it was killed are cleared, those of others are named and left."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git import commands, locks
from reconciler.git.refusals import GitError
from reconciler.git.update_ref import Move, move
from reconciler.system import shell
from reconciler.system.shell import Finished

REF = "refs/heads/agent/x-1"
LEFT = [f"{REF}.lock", "HEAD.lock", "packed-refs.lock", "refs/heads/main.lock", "refs/reconcile/pr/1.lock"]


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path)


def refs_moved(repo: GitRepo) -> None:
    git = repo.seam()
    with git.writing() as lock:
        head = repo.head("main")
        moves = (Move("refs/heads/main", head, head), Move(REF, None, head), Move("refs/reconcile/pr/1", None, head))
        move(git, moves, "test", lock)


def killed_amid(repo: GitRepo, left: str) -> None:
    """A process that is killed together with its git, which has just made a lock."""
    run, child = shell.run, os.fork()
    if child == 0:

        def cut(argv: list[str], **options: object) -> shell.Finished:
            if "update-ref" not in argv:
                return run(argv, **options)  # type: ignore[arg-type]
            lock = repo.common / left
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

        commands.shell.run = cut  # type: ignore[assignment]
        try:
            refs_moved(repo)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (repo.common / left).exists()


@pytest.mark.parametrize("left", LEFT)
def test_what_a_killed_git_of_ours_locked_is_cleared_by_the_next(repo: GitRepo, left: str) -> None:
    repo.git("rev-parse", "main")
    killed_amid(repo, left)

    refs_moved(repo)

    assert not (repo.common / left).exists()
    assert repo.head("agent/x-1") == repo.head("main")


@pytest.mark.parametrize("left", LEFT)
def test_a_lock_of_somebody_elses_git_is_left_and_named_with_its_age_and_the_remedy(repo: GitRepo, left: str) -> None:
    lock = repo.common / left
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)

    try:
        refs_moved(repo)
    except GitError as error:
        assert re.search(re.escape(f"{lock} is there, ") + "6[0-9] min old", str(error))
        assert error.hint == f"if no git runs here: rm {lock}"
    else:
        assert left in ("HEAD.lock", "packed-refs.lock")  # not needed for this change

    assert lock.exists()
    assert lock in dict(locks.stale(repo.common, everywhere=True))


def test_where_git_may_not_write_the_hint_says_who_has_to_have_the_right(repo: GitRepo) -> None:
    denied = b"fatal: cannot lock ref: Unable to create '/r/.git/refs/heads/agent/x-1.lock': Permission denied"
    theirs = b"remote: " + denied
    assert GitError(("update-ref",), Finished(128, b"", denied)).hint == "give this user the right to write there"
    assert GitError(("push",), Finished(128, b"", theirs)).hint is None


def test_a_lock_that_was_there_before_our_git_began_is_not_ours(repo: GitRepo) -> None:
    lock = repo.common / "HEAD.lock"
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)
    killed_amid(repo, f"{REF}.lock")

    with pytest.raises(GitError, match=r"HEAD\.lock is there"):
        refs_moved(repo)

    assert lock.exists() and not (repo.common / f"{REF}.lock").exists()


def test_a_lock_that_comes_and_goes_is_somebodys(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_amid(repo, f"{REF}.lock")
    lock = repo.common / f"{REF}.lock"

    def somebody_ends_and_another_begins(seconds: float) -> None:
        lock.unlink(missing_ok=True)
        lock.with_name("other").touch()
        lock.with_name("other").rename(lock)
        os.utime(lock, (time.time() + 1,) * 2)

    monkeypatch.setattr(locks.time, "sleep", somebody_ends_and_another_begins)
    with repo.seam().writing():
        pass

    assert lock.exists()


@pytest.mark.parametrize(
    "text", ["", "{", '{"at": 1}', '{"at": 0, "refs": ["refs/../../outside", "/etc/passwd", "refs/heads/main"]}']
)
def test_a_damaged_note_removes_nothing_outside(repo: GitRepo, text: str) -> None:
    outside = repo.path / "outside.lock"
    outside.write_text("mine")
    writer = repo.common / "reconcile/locks/git-writer"
    writer.parent.mkdir(parents=True)
    writer.write_text(text)

    with repo.seam().writing():
        pass

    assert outside.read_text() == "mine"


def test_a_git_that_fails_leaves_no_note(repo: GitRepo) -> None:
    git = repo.seam()
    with git.writing() as lock, pytest.raises(GitError):
        git.refs("update-ref", REF, "0" * 39 + "1", lock=lock)

    assert (repo.common / "reconcile/locks/git-writer").read_bytes() == b""
