"""The moment of a landing: whoever is killed in it, and whatever somebody does in the checkout right then, nothing that
landed is undone, nothing of theirs is lost, and nothing lands twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import gitrepo
import pytest
from dying import arm, dying
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.landing import following
from reconciler.landing.checkouts import locked_by_us
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import BlockedError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.observed import Candidate
from reconciler.model.ports import LandOrder
from reconciler.system import shell

TASK = TaskId("x-1")
BRANCH = "agent/x-1"
LANDS = {"a": "A\n", "new": "new\n", "deep/er/file": "deep\n"}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = gitrepo.make(tmp_path, files={"a": "a\n", "b": "b\n", "old": "old\n"})
    made.commit({"more": "more\n"})  # what is amended must have something before it
    made.branch(BRANCH, LANDS, gone=("old",))
    return made


def order_for(repo: GitRepo, forge: LocalForge) -> LandOrder | None:
    """What would be landed now; None where the base holds all of it."""
    head = repo.head(BRANCH)
    candidate = forge.candidate(repo.head("main"), head)
    assert isinstance(candidate, Candidate)
    if not candidate.changed:
        return None
    number = forge.open(TASK, head, "Title", "")
    return LandOrder(
        task=TASK, number=number, title="Title", body="", expected=candidate, base="main", method=MergeMethod.SQUASH
    )


def land(repo: GitRepo) -> None:
    forge = LocalForge(repo.seam())
    if order := order_for(repo, forge):
        forge.land(order)


def finish(repo: GitRepo) -> None:
    """What the next reconciler does: it finishes what was begun, judges anew, and lands what is left to land."""
    LocalForge(repo.seam()).catch_up("main")
    land(repo)


# --- killed ------------------------------------------------------------------------------------------------------


def nobody(repo: GitRepo) -> None:
    pass


def commits_all(repo: GitRepo) -> None:
    (repo.common / "index.lock").unlink(missing_ok=True)
    repo.git("commit", "--quiet", "--all", "--message=mine")


def commits_what_was_added(repo: GitRepo) -> None:
    (repo.common / "index.lock").unlink(missing_ok=True)
    repo.git("add", "b", "untracked")
    repo.git("commit", "--quiet", "--message=mine")


def amends(repo: GitRepo) -> None:
    (repo.common / "index.lock").unlink(missing_ok=True)
    repo.git("commit", "--quiet", "--all", "--amend", "--no-edit")


def stashes_and_pops(repo: GitRepo) -> None:
    (repo.common / "index.lock").unlink(missing_ok=True)
    repo.git("stash", "--quiet")
    repo.git("stash", "pop", "--quiet")


def switches_away_and_back(repo: GitRepo) -> None:
    (repo.common / "index.lock").unlink(missing_ok=True)
    repo.git("switch", "--quiet", "--create", "mine", ok=False)
    repo.git("switch", "--quiet", "main", ok=False)


SOMEBODY = [commits_all, commits_what_was_added, amends, stashes_and_pops, switches_away_and_back]


@pytest.mark.parametrize(
    "who", [commits_all, nobody, *(pytest.param(who, marks=pytest.mark.slow) for who in SOMEBODY[1:])]
)
def test_a_landing_that_is_killed_at_any_step_is_neither_undone_nor_done_twice_whatever_somebody_does_then(
    tmp_path: Path, repo: GitRepo, who: Callable[[GitRepo], None]
) -> None:
    for step, copy in killed_at_every_step(tmp_path, repo):
        who(copy)

        finish(copy)

        assert_all_is_there(copy, step, committed=who in (commits_all, commits_what_was_added, amends))


def test_what_a_killed_landing_left_in_the_checkout_is_not_called_somebodys_work(tmp_path: Path, repo: GitRepo) -> None:
    for step, copy in killed_at_every_step(tmp_path, repo):
        checkout = LocalForge(copy.seam()).base("main").checkout

        assert checkout and checkout.dirty == {"b", "untracked"}, step


def test_a_git_that_is_killed_amid_the_files_leaves_nothing_half_written(tmp_path: Path, repo: GitRepo) -> None:
    """The kernel ends it at its first byte: a file is created and not filled, and the index is old."""
    repo.write({"b": "edited\n", "untracked": "mine\n"})
    for cut in ("new", "a", "deep/er/file"):
        copy = fresh(tmp_path, repo)
        assert dying(lambda copy=copy: land(copy), lambda cut=cut: half(cut)) == -signal.SIGKILL

        finish(copy)

        assert_all_is_there(copy, cut, committed=False)


@pytest.mark.parametrize("who", [commits_all, nobody])
def test_a_landing_that_is_taken_back_leaves_the_checkout_as_it_was(
    tmp_path: Path, repo: GitRepo, who: Callable[[GitRepo], None]
) -> None:
    """Killed before the base moved, and the pull request is rejected: nobody lands it any more."""
    before = repo.head("main")
    for step, copy in killed_at_every_step(tmp_path, repo):
        if copy.head("main") != before:
            break
        who(copy)

        LocalForge(copy.seam()).catch_up("main")

        if who is nobody:
            assert copy.status() == " M b\n?? untracked", step
            assert (copy.path / "a").read_text() == "a\n" and (copy.path / "old").exists(), step
        assert not (copy.path / ".git/index.lock").exists(), step
        assert (copy.path / "b").read_text() == "edited\n", step


# --- what can't be brought along -----------------------------------------------------------------------------------


def test_a_checkout_whose_filter_fails_keeps_its_base_where_it_is(repo: GitRepo) -> None:
    with (repo.home / ".gitconfig").open("a") as config:
        config.write('[filter "broken"]\n\tsmudge = false\n\tclean = cat\n\trequired = true\n')
    repo.commit({".gitattributes": "deep/** filter=broken\n"})
    before, status = repo.head("main"), repo.status()

    with pytest.raises(BlockedError, match="filter"):
        land(repo)

    assert repo.head("main") == before and repo.status() == status
    assert (repo.path / "a").read_text() == "a\n" and not (repo.path / "new").exists()
    assert not list((repo.common / "reconcile/landing").iterdir())


def test_an_object_that_is_gone_is_not_called_the_fault_of_the_checkout(repo: GitRepo) -> None:
    forge = LocalForge(repo.seam())
    order = order_for(repo, forge)
    assert order
    for each in (order.expected.tree, repo.git("rev-parse", f"{order.expected.tree}:deep")):
        (repo.common / "objects" / each[:2] / each[2:]).unlink()

    with pytest.raises(TemporaryError, match="can't be read") as caught:
        forge.land(order)

    assert "in the way" not in str(caught.value) and "git fsck" in (caught.value.hint or "")


def test_a_folder_that_can_not_be_written_keeps_the_base_where_it_is(tmp_path: Path) -> None:
    repo = gitrepo.make(tmp_path, files={"a": "a\n", "closed/x": "x\n"})
    repo.branch(BRANCH, {"a": "A\n", "closed/y": "y\n"})
    before = repo.head("main")
    refused = subprocess.run(("chattr", "+i", repo.path / "closed"), capture_output=True)
    if refused.returncode:
        pytest.skip("no folder can be closed to everybody here")
    try:
        with pytest.raises(BlockedError, match="closed/y"):
            land(repo)
        assert repo.head("main") == before and repo.status() == ""
        repo.write({"a": "mine\n"})
        repo.git("commit", "--quiet", "--all", "--message=mine")
        assert repo.git("show", "--stat", "--format=", "HEAD").split()[0] == "a"
    finally:
        subprocess.run(("chattr", "-i", repo.path / "closed"), check=True)
    assert repo.git("show", "main:closed/x") == "x"


def test_while_a_checkout_goes_forward_nobody_commits_there(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, tried = following.forward, []

    def somebody_tries(*args: object, **options: object) -> None:
        assert locked_by_us(repo.common)
        tried.append(repo.complaint("commit", "--allow-empty", "--message=mine"))
        forward(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(following, "forward", somebody_tries)
    land(repo)

    assert "index.lock" in tried[0]
    assert repo.status() == "" and not (repo.common / "index.lock").exists()


def test_the_lock_of_a_git_is_left_alone(repo: GitRepo) -> None:
    lock = repo.common / "index.lock"
    lock.touch()
    before = repo.head("main")

    with pytest.raises(BlockedError, match=r"index\.lock"):
        land(repo)

    assert lock.exists() and repo.head("main") == before
    lock.unlink()
    land(repo)
    assert repo.status() == ""


# --- what the tests stand on ---------------------------------------------------------------------------------------


def assert_all_is_there(repo: GitRepo, step: object, *, committed: bool) -> None:
    for path, content in LANDS.items():
        assert repo.git("show", f"main:{path}", ok=False) + "\n" == content, (step, path)
        assert (repo.path / path).read_text() == content, (step, path)
    assert repo.git("ls-tree", "main", "old") == "" and not (repo.path / "old").exists(), step
    assert (repo.path / "b").read_text() == "edited\n" and (repo.path / "untracked").read_text() == "mine\n", step
    if committed:
        assert repo.git("show", "main:b") == "edited", step
    # Refreshed first: what was only touched is no change.
    repo.git("update-index", "-q", "--refresh", ok=False)
    assert repo.git("diff", "--cached", "--name-only") in ("", "b"), (step, repo.status())
    landed = repo.git("log", "--format=%(trailers:key=Reconcile-Head,valueonly)", "main").split()
    assert len(landed) <= 1, (step, landed)
    assert not list((repo.common / "reconcile/landing").iterdir()), step
    assert not (repo.common / "index.lock").exists() and not list(repo.common.glob(".reconcile-*")), step


def fresh(tmp_path: Path, repo: GitRepo) -> GitRepo:
    original = tmp_path / "original"
    if not original.exists():
        shutil.copytree(repo.path, original, symlinks=True)
    shutil.rmtree(repo.path)
    shutil.copytree(original, repo.path, symlinks=True)
    return repo


def killed_at_every_step(tmp_path: Path, repo: GitRepo) -> Iterator[tuple[int, GitRepo]]:
    """Fresh copies in which the landing was killed before its first, second, … step."""
    repo.write({"b": "edited\n", "untracked": "mine\n"})
    for step in range(200):
        copy = fresh(tmp_path, repo)
        code = dying(lambda copy=copy: land(copy), lambda step=step: arm(step))
        yield step, copy
        if code == 0:
            assert step > 20
            return
        assert code == -signal.SIGKILL
    raise AssertionError("it never came to its end")


def half(path: str) -> None:
    """Kill git amid its files, and us with it: those before this one are whole, it is empty, those after are old."""
    run = shell.run

    def cut(argv: list[str], **options: object) -> shell.Finished:
        if "read-tree" not in argv or "-u" not in argv or "-n" in argv:
            return run(argv, **options)  # type: ignore[arg-type]
        root = Path(str(options["cwd"]))
        for name, content in sorted(LANDS.items()):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("" if name == path else content)
            if name == path:
                break
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    shell.run = cut  # type: ignore[assignment]
