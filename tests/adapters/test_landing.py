"""A base moves to the tested tree by compare-and-swap, and a landing that is killed anywhere is finished by the next."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gitrepo
import pytest
from dying import arm, dying
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.git import update_ref
from reconciler.git.commands import Git
from reconciler.landing import commits
from reconciler.landing.intents import Intent, Intents
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Candidate, Conflict, PullState
from reconciler.model.ports import LandOrder
from reconciler.model.pull_records import Verdict
from reconciler.model.values import replace
from reconciler.system import shell

TASK = TaskId("x-1")
BRANCH = "agent/x-1"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = gitrepo.make(tmp_path, files={"a": "a\n", "b": "b\n", "old": "old\n"})
    made.branch(BRANCH, {"a": "A\n", "new": "new\n"})
    return made


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


@pytest.fixture
def order(repo: GitRepo, forge: LocalForge) -> LandOrder:
    return order_for(repo, forge)


def test_what_git_answered_does_not_matter_where_the_base_has_moved(
    repo: GitRepo, forge: LocalForge, order: LandOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = update_ref.move

    def unheard(git: Git, moves: tuple[update_ref.Move, ...], *args: object) -> None:
        move(git, moves, *args)  # type: ignore[arg-type]
        if moves[0].ref == "refs/heads/main":
            raise TemporaryError("git was killed before it said how it went")

    monkeypatch.setattr(update_ref, "move", unheard)
    commit = forge.land(order)
    assert repo.head("main") == commit and repo.status() == ""


@pytest.mark.parametrize("method", MergeMethod)
def test_exactly_the_judged_tree_lands(repo: GitRepo, forge: LocalForge, order: LandOrder, method: MergeMethod) -> None:
    commit = forge.land(replace(order, method=method))

    assert repo.head("main") == commit and repo.status() == ""
    assert repo.git("rev-parse", "main^{tree}") == order.expected.tree
    pull = forge.pull_requests()[TASK]
    assert (pull.state, pull.head) == (PullState.MERGED, order.expected.head)
    kept = forge.show(order.number)
    assert (kept.landed, kept.method) == (commit, method)


@pytest.mark.parametrize("first", [{"new": "n\n"}, {".gitattributes": "log merge=union\n"}], ids=["other", "new"])
def test_after_a_landing_the_attributes_are_those_that_landed(
    repo: GitRepo, forge: LocalForge, first: dict[str, str]
) -> None:
    start = repo.commit({"sub/.gitattributes": "log merge=union\n", "sub/log": "start\n", "log": "start\n"})
    repo.branch(BRANCH, {**first, "sub/log": "start\none\n", "log": "start\none\n"}, start=start)
    head = repo.branch("agent/x-2", {"sub/log": "start\ntwo\n", "log": "start\ntwo\n"}, start=start)
    landed = forge.land(order_for(repo, forge))

    found = forge.candidate(landed, head)

    # In `sub` both are kept, as was said there before; beside it only where the landing has said so.
    assert found == LocalForge(repo.seam()).candidate(landed, head)
    assert isinstance(found, Candidate) == (".gitattributes" in first)
    assert not isinstance(found, Conflict) or found.paths == ("log",)


def test_a_landing_that_is_repeated_lands_once(repo: GitRepo, forge: LocalForge, order: LandOrder) -> None:
    commit = forge.land(order)

    with pytest.raises(ChangedError):
        forge.land(order)

    assert repo.head("main") == commit


def test_a_base_that_moved_is_not_landed_on(repo: GitRepo, forge: LocalForge, order: LandOrder) -> None:
    people = repo.commit({"b": "people\n"})

    with pytest.raises(ChangedError, match="not at"):
        forge.land(order)

    assert repo.head("main") == people and repo.status() == ""


def test_a_base_that_moves_in_the_last_moment_is_not_overwritten(repo: GitRepo, order: LandOrder) -> None:
    people = repo.branch("people", {"b": "people\n"})
    repo.git("switch", "--quiet", "--detach")
    before = repo.refs("refs/reconcile/pr/")

    with when_git("update-ref", lambda: repo.git("update-ref", "refs/heads/main", people)), pytest.raises(ChangedError):
        LocalForge(repo.seam()).land(order)

    assert repo.head("main") == people and repo.refs("refs/reconcile/pr/") == before


def test_a_branch_that_moves_in_the_last_moment_does_not_land(repo: GitRepo, order: LandOrder) -> None:
    before = repo.head("main")

    with when_git("update-ref", lambda: repo.branch(BRANCH, {"c": "1\n"})), pytest.raises(ChangedError):
        LocalForge(repo.seam()).land(order)

    assert repo.head("main") == before and repo.status() == ""


def test_a_head_that_was_not_judged_does_not_land(repo: GitRepo, forge: LocalForge, order: LandOrder) -> None:
    repo.branch(BRANCH, {"c": "1\n"}, start=BRANCH)
    before = repo.head("main")

    with pytest.raises(ChangedError, match="which was judged"):
        forge.land(order)

    assert repo.head("main") == before


def test_a_tree_that_was_not_judged_does_not_land(repo: GitRepo, forge: LocalForge, order: LandOrder) -> None:
    tree = Sha(repo.git("rev-parse", "main^{tree}"))

    with pytest.raises(ChangedError, match="merges to"):
        forge.land(replace(order, expected=replace(order.expected, tree=tree)))

    assert repo.git("rev-parse", "main^{tree}") == tree


def test_a_rejected_head_does_not_land(repo: GitRepo, forge: LocalForge, order: LandOrder) -> None:
    forge.review(order.number, order.expected.head, Verdict.REJECTED, "no")
    before = repo.head("main")

    with pytest.raises(ChangedError, match="rejected"):
        forge.land(order)
    assert repo.head("main") == before

    forge.review(order.number, order.expected.head, Verdict.APPROVED)
    assert forge.land(order) == repo.head("main")


@pytest.mark.parametrize("declined", [True, False])
def test_a_closed_pull_request_does_not_land(
    repo: GitRepo, forge: LocalForge, order: LandOrder, declined: bool
) -> None:
    forge.close(order.number, declined=declined)
    before = repo.head("main")

    with pytest.raises(ChangedError, match="#1 is closed"):
        forge.land(order)

    assert repo.head("main") == before


def test_work_that_the_base_holds_already_does_not_land(repo: GitRepo, forge: LocalForge, order: LandOrder) -> None:
    repo.git("merge", "--quiet", "--ff-only", BRANCH)

    with pytest.raises(ChangedError, match="already"):
        forge.land(replace(order, expected=replace(order.expected, base=repo.head("main"))))


def test_a_tree_that_is_wrong_after_all_freezes_the_line(
    repo: GitRepo, forge: LocalForge, order: LandOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, other = commits.write, Sha(repo.git("rev-parse", "main^{tree}"))
    monkeypatch.setattr(commits, "write", lambda bench, commit, by: write(bench, replace(commit, tree=other), by))

    with pytest.raises(PermanentError, match="frozen"):
        forge.land(order)


@pytest.mark.parametrize(
    "method",
    [
        MergeMethod.SQUASH,
        pytest.param(MergeMethod.MERGE, marks=pytest.mark.slow),
        pytest.param(MergeMethod.REBASE, marks=pytest.mark.slow),
    ],
)
def test_a_landing_killed_before_any_of_its_steps_is_done_once_by_the_next(
    tmp_path: Path, repo: GitRepo, order: LandOrder, method: MergeMethod
) -> None:
    order = replace(order, method=method)
    for step, copy in killed_at_every_step(tmp_path, repo, order):
        finish(copy, order)
        assert_landed_once(copy, order, step)


@pytest.mark.slow
def test_a_pushed_landing_killed_before_any_of_its_steps_is_done_once_by_the_next(
    tmp_path: Path, repo: GitRepo, order: LandOrder
) -> None:
    repo.git("init", "--quiet", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    order = replace(order, push=True)
    start = repo.head("main")
    remote = GitRepo(tmp_path / "remote.git", repo.home)
    repo.git("push", "--quiet", "origin", "main")
    for step, copy in killed_at_every_step(tmp_path, repo, order):
        finish(copy, order)
        assert_landed_once(copy, order, step)
        assert remote.head("main") == copy.head("main"), step
        remote.git("update-ref", "refs/heads/main", start)


def test_what_a_killed_landing_left_in_its_scratch_folder_is_swept_after_an_hour(
    tmp_path: Path, repo: GitRepo, order: LandOrder
) -> None:
    git = repo.seam()
    scratch = repo.common / "reconcile" / "scratch"
    before = set(scratch.iterdir())  # of the one who judged it, and stays
    LocalForge(git).land(order)
    assert set(scratch.iterdir()) == before
    for name, age_s in (("killed", 7200), ("in-use", 60)):
        (scratch / name / "objects").mkdir(parents=True)
        os.utime(scratch / name, (time.time() - age_s,) * 2)
    git.control.sweep()
    assert set(scratch.iterdir()) - before == {scratch / "in-use"}


@pytest.mark.parametrize(("before", "after"), [("main", "other"), ("other", "main")])
def test_a_checkout_that_is_switched_while_a_landing_is_pushed_keeps_what_it_has(
    tmp_path: Path, repo: GitRepo, order: LandOrder, before: str, after: str
) -> None:
    remote = tmp_path / "remote.git"
    repo.git("init", "--quiet", "--bare", str(remote))
    repo.git("remote", "add", "origin", str(remote))
    repo.git("push", "--quiet", "origin", "main")
    repo.branch("other", {"z": "other\n"})
    repo.git("checkout", "--quiet", before)
    hook = remote / "hooks" / "pre-receive"
    hook.write_text(f'#!/bin/sh\ncd {repo.path} && env -i PATH="$PATH" HOME={repo.home} git checkout -q {after}\n')
    hook.chmod(0o755)
    LocalForge(repo.seam()).land(replace(order, push=True))
    assert repo.git("symbolic-ref", "--short", "HEAD") == after
    assert repo.git("diff", "--cached", "--name-only") == ""


def test_a_pushed_landing_moves_the_remote_tracking_branch_along(
    tmp_path: Path, repo: GitRepo, order: LandOrder
) -> None:
    repo.git("init", "--quiet", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    repo.git("push", "--quiet", "--set-upstream", "origin", "main")
    LocalForge(repo.seam()).land(replace(order, push=True))
    assert repo.git("rev-parse", "origin/main") == repo.git("rev-parse", "main")
    assert "ahead" not in repo.git("status", "--short", "--branch")


@pytest.mark.slow
def test_catching_up_alone_finishes_a_killed_landing(tmp_path: Path, repo: GitRepo, order: LandOrder) -> None:
    for step, copy in killed_at_every_step(tmp_path, repo, order):
        moved = copy.head("main") != order.expected.base
        forge = LocalForge(copy.seam())
        if moved:
            checkout = forge.base("main").checkout
            assert checkout and checkout.dirty <= {"b", "untracked"}, step
        forge.catch_up("main")
        forge.catch_up("main")
        assert copy.status() == " M b\n?? untracked", step
        assert (forge.pull_requests()[TASK].state is PullState.MERGED) is moved, step


def test_a_checkout_whose_files_were_half_brought_forward_is_brought_all_the_way(
    repo: GitRepo, order: LandOrder
) -> None:
    # Git itself was killed (power, or the kernel): some files are new, the index is old, and no lock is left.
    old = (repo.common / "index").read_bytes()
    LocalForge(repo.seam()).land(order)
    (repo.common / "index").write_bytes(old)
    repo.write({"a": "a\n", "b": "edited\n"})
    Intents(repo.common / "reconcile" / "landing").write(intent_of(repo, order))

    LocalForge(repo.seam()).catch_up("main")

    assert repo.status() == " M b"
    assert (repo.path / "a").read_text() == "A\n" and (repo.path / "new").read_text() == "new\n"


@pytest.mark.parametrize("beginning", ["", "ne"])
def test_a_file_that_git_was_killed_amid_is_written_to_its_end(
    repo: GitRepo, forge: LocalForge, order: LandOrder, beginning: str
) -> None:
    left_behind(repo, order)
    repo.write({"new": beginning})

    forge.catch_up("main")

    assert repo.status() == "" and (repo.path / "new").read_text() == "new\n"


def test_what_somebody_did_in_a_checkout_left_behind_is_not_touched_and_holds_the_line(
    repo: GitRepo, forge: LocalForge, order: LandOrder
) -> None:
    left_behind(repo, order)
    repo.write({"a": "mine\n"})

    with pytest.raises(TemporaryError, match="behind its branch"):
        forge.catch_up("main")
    assert (repo.path / "a").read_text() == "mine\n"

    repo.branch("agent/x-2", {"z": "1\n"})
    other = order_for(repo, forge, "x-2")
    with pytest.raises(TemporaryError, match="behind its branch"):
        forge.land(other)

    repo.git("reset", "--quiet", "--hard", "main")
    assert forge.land(other) == repo.head("main")
    assert repo.status() == ""


def test_a_checkout_that_a_person_moved_on_is_left_alone(repo: GitRepo, forge: LocalForge, order: LandOrder) -> None:
    left_behind(repo, order)
    repo.git("switch", "--quiet", "--force", "--create", "elsewhere", order.expected.base)
    repo.write({"b": "mine\n"})

    forge.catch_up("main")

    assert repo.status() == " M b" and repo.head() == order.expected.base


def test_a_checkout_that_was_made_since_is_not_taken_for_one_left_behind(
    repo: GitRepo, forge: LocalForge, order: LandOrder, tmp_path: Path
) -> None:
    left_behind(repo, order)
    repo.git("worktree", "add", "--quiet", "--force", str(tmp_path / "since"), "main")
    repo.git("checkout", order.expected.base, "--", "a", cwd=tmp_path / "since")

    forge.catch_up("main")

    assert repo.status(tmp_path / "since") == "M  a" and repo.status() == ""


def test_a_checkout_left_behind_is_brought_to_where_its_branch_is_by_then(
    repo: GitRepo, forge: LocalForge, order: LandOrder
) -> None:
    left_behind(repo, order)
    further = repo.branch("further", {"z": "1\n"}, start="main")
    repo.git("update-ref", "refs/heads/main", further)

    forge.catch_up("main")

    assert repo.status() == "" and (repo.path / "z").exists() and (repo.path / "new").exists()


def test_a_landing_that_never_moved_its_base_leaves_nothing_to_do(
    repo: GitRepo, forge: LocalForge, order: LandOrder
) -> None:
    new = forge.candidate_commit(order)
    Intents(repo.common / "reconcile" / "landing").write(
        Intent(base="main", old=order.expected.base, new=new, checkouts=(str(repo.path),), number=order.number)
    )
    people = repo.commit({"b": "people\n"})

    forge.catch_up("main")

    assert (repo.head("main"), repo.status()) == (people, "")
    assert forge.pull_requests()[TASK].state is PullState.OPEN
    assert not any((repo.common / "reconcile" / "landing").iterdir())


@pytest.mark.parametrize("text", ["", "{}", '{"version": 1, "base": "other"}', "[]", '{"version": 9}'])
def test_a_damaged_note_about_a_landing_is_named_and_nothing_lands(
    repo: GitRepo, forge: LocalForge, order: LandOrder, text: str
) -> None:
    intents = Intents(repo.common / "reconcile" / "landing")
    intents.write(Intent(base="main", old=order.expected.base, new=order.expected.head))
    (note,) = (repo.common / "reconcile" / "landing").iterdir()
    note.write_text(text)

    with pytest.raises(PermanentError, match=note.name):
        forge.land(order)

    assert repo.head("main") == order.expected.base


# --- what the tests stand on ---------------------------------------------------------------------------------


class when_git:
    """Does something right before git runs this command, once."""

    def __init__(self, command: str, what: Callable[[], object]) -> None:
        self._command, self._what, self._run = command, what, shell.run

    def __enter__(self) -> None:
        def run(argv: list[str], **options: object) -> shell.Finished:
            if self._command in argv:
                shell.run = self._run
                self._what()
            return self._run(argv, **options)  # type: ignore[arg-type]

        shell.run = run  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        shell.run = self._run


def order_for(repo: GitRepo, forge: LocalForge, task: str = TASK) -> LandOrder:
    head = repo.head(f"agent/{task}")
    candidate = forge.candidate(repo.head("main"), head)
    assert isinstance(candidate, Candidate)
    return LandOrder(
        task=TaskId(task),
        number=forge.open(TaskId(task), head, "Title", ""),
        title="Title",
        body="",
        expected=candidate,
        base="main",
        method=MergeMethod.SQUASH,
    )


def intent_of(repo: GitRepo, order: LandOrder) -> Intent:
    return Intent(
        base="main",
        old=order.expected.base,
        new=repo.head("main"),
        checkouts=(str(repo.path),),
        number=order.number,
        head=order.expected.head,
        method="squash",
    )


def left_behind(repo: GitRepo, order: LandOrder) -> None:
    """The world after a kill between the move of the base and that of its checkout."""
    forge = LocalForge(repo.seam())
    repo.git("update-ref", "refs/heads/main", forge.candidate_commit(order))
    Intents(repo.common / "reconcile" / "landing").write(intent_of(repo, order))
    assert repo.status() == "M  a\nD  new"


def killed_at_every_step(tmp_path: Path, repo: GitRepo, order: LandOrder) -> Iterator[tuple[int, GitRepo]]:
    """Fresh copies of a repository in which the landing was killed before its first, second, … step; all of them."""
    repo.write({"b": "edited\n", "untracked": "mine\n"})
    repo.path.rename(tmp_path / "original")
    for step in range(200):
        shutil.rmtree(repo.path, ignore_errors=True)
        shutil.copytree(tmp_path / "original", repo.path, symlinks=True)
        code = dying(lambda: LocalForge(repo.seam()).land(order), lambda step=step: arm(step))
        yield step, repo
        if code == 0:
            assert step > 20
            return
        assert code == -signal.SIGKILL
    raise AssertionError("it never came to its end")


def finish(repo: GitRepo, order: LandOrder) -> None:
    """What the next tick does: it looks, and lands what has not landed."""
    forge = LocalForge(repo.seam())
    try:
        forge.land(order)
    except ChangedError:
        assert [landing.head for landing in forge.landings("main")][-1:] == [order.expected.head]
    except ReconcileError as error:
        raise AssertionError(f"not finished: {error}") from error


def assert_landed_once(repo: GitRepo, order: LandOrder, step: int) -> None:
    forge = LocalForge(repo.seam())
    assert len(forge.landings("main")) == 1, step
    assert repo.git("rev-parse", "main^{tree}") == order.expected.tree, step
    assert repo.status() == " M b\n?? untracked", step
    assert (repo.path / "b").read_text() == "edited\n", step
    assert forge.show(PrNumber(1)).state is PullState.MERGED, step
    assert not any((repo.common / "reconcile" / "landing").iterdir()), step
