"""What a check runs on stays there for as long as it runs, whoever has git clear up meanwhile; and nothing of it is left."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import gitrepo
import pytest
from dying import arm, dying
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.git import update_ref
from reconciler.model.desired import EpicSpec, MergeMethod, WorktreeSpec
from reconciler.model.errors import ReconcileError
from reconciler.model.names import CHECK_REFS, LANDING_REFS, Sha, TaskId
from reconciler.model.observed import Candidate, MergeStep
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces

SUBJECT = "tree-commands"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return a_repo(tmp_path)


def a_repo(tmp_path: Path) -> GitRepo:
    made = gitrepo.make(tmp_path, files={"a": "a\n", "b": "b\n"})
    made.branch("agent/x-1", {"a": "A\n", "one": "1\n"})
    made.branch("agent/x-2", {"two": "2\n"})
    return made


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


@pytest.fixture
def spaces(repo: GitRepo) -> GitWorkspaces:
    return GitWorkspaces(repo.seam())


@pytest.fixture
def root(tmp_path: Path) -> Venue:
    return Venue(root=str(tmp_path / "worktrees"))


@pytest.fixture
def order(repo: GitRepo, forge: LocalForge) -> LandOrder:
    return an_order(repo, forge)


def an_order(repo: GitRepo, forge: LocalForge) -> LandOrder:
    """Two that land together, as squashes: what they make is on no branch."""
    tasks = ("x-1", "x-2")
    steps = tuple(MergeStep(repo.head(f"agent/{task}"), MergeMethod.SQUASH) for task in tasks)
    made = [each for each in forge.fold(repo.head("main"), steps) if isinstance(each, Candidate)]
    below, top = (
        LandOrder(
            task=TaskId(task),
            number=forge.open(TaskId(task), step.head, task, ""),
            title=task,
            body="",
            expected=candidate,
            base="main",
            method=step.method,
        )
        for task, step, candidate in zip(tasks, steps, made, strict=True)
    )
    return replace(top, beneath=(below,))


def clear_up(repo: GitRepo) -> None:
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "--quiet", "--prune=now")


def amid_a_move(repo: GitRepo, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """Have somebody clear up right before refs are moved for the n-th time."""
    moved, left = update_ref.move, [nth]

    def amid(*args: object, **more: object) -> None:
        left[0] -= 1
        if not left[0]:
            clear_up(repo)
        moved(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(update_ref, "move", amid)


def left(repo: GitRepo) -> dict[str, str]:
    return repo.refs(CHECK_REFS) | repo.refs(LANDING_REFS)


def land(repo: GitRepo, order: LandOrder) -> None:
    LocalForge(repo.seam()).land(order)


def there(repo: GitRepo, commit: Sha) -> bool:
    return repo.git("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}", ok=False) != ""


def test_what_a_check_runs_on_outlives_a_clearing_up_whatever_the_check_does(
    repo: GitRepo, forge: LocalForge, spaces: GitWorkspaces, root: Venue, order: LandOrder
) -> None:
    commit = forge.candidate_commit(order)
    path = Path(spaces.create_check(SUBJECT, root, commit))
    repo.git("checkout", "--quiet", "--detach", "main", cwd=path)  # its worktree names it no more
    clear_up(repo)
    assert there(repo, commit)
    assert forge.land(order) == commit
    spaces.remove_check(SUBJECT, root)
    assert repo.refs(CHECK_REFS) == {}


WINDOWS = ("before its worktree", "once its worktree is gone", "right before it is to land", "while it lands")


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_cleared_away_while_no_check_runs_on_it_is_made_again_the_same(
    repo: GitRepo, forge: LocalForge, spaces: GitWorkspaces, root: Venue, order: LandOrder, window: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    commit = forge.candidate_commit(order)
    if window == "before its worktree":
        clear_up(repo)
        assert not there(repo, commit)
        with pytest.raises(ReconcileError):
            spaces.create_check(SUBJECT, root, commit)
        assert forge.candidate_commit(order) == commit
    spaces.create_check(SUBJECT, root, commit)
    spaces.remove_check(SUBJECT, root)
    if window == "once its worktree is gone":
        clear_up(repo)
        assert not there(repo, commit)
    if nth := {"right before it is to land": 1, "while it lands": 2}.get(window):
        amid_a_move(repo, monkeypatch, nth)
        with pytest.raises(ReconcileError):  # what says that it has landed was cleared away, or the commit itself
            forge.land(order)
        assert repo.head("main") == order.expected.base and repo.status() == ""
    assert forge.land(order) == commit
    assert left(repo) == {} and repo.git("fsck", "--no-dangling", "--connectivity-only") == ""


def test_a_landing_that_is_killed_anywhere_is_settled_though_git_has_cleared_up_since(tmp_path: Path) -> None:
    step, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        folder = tmp_path / str(step)
        folder.mkdir()
        repo = a_repo(folder)
        order = an_order(repo, LocalForge(repo.seam()))

        code = dying(partial(land, repo, order), partial(arm, step))
        clear_up(repo)
        LocalForge(repo.seam()).catch_up("main")

        assert repo.status() == "" and left(repo) == {}
        assert repo.git("fsck", "--no-dangling", "--connectivity-only") == ""
        if repo.head("main") == order.expected.base:
            LocalForge(repo.seam()).land(order)
        assert repo.git("rev-parse", "main^{tree}") == order.expected.tree
        step += 1
    assert code == 0 and step > 5


def test_what_was_cut_off_is_forgotten_with_the_next_check_and_at_the_next_start(
    repo: GitRepo, spaces: GitWorkspaces, root: Venue
) -> None:
    spaces.create_check("running", root, repo.head())
    for forget in (lambda: spaces.create_check("next", root, repo.head()), lambda: spaces.fix(root)):
        repo.git("update-ref", f"{CHECK_REFS}cut-off", repo.head())
        forget()
        assert set(repo.refs(CHECK_REFS)) == {f"{CHECK_REFS}running", f"{CHECK_REFS}next"}


def test_a_ref_of_a_check_is_no_branch(repo: GitRepo, spaces: GitWorkspaces, root: Venue) -> None:
    before = dict(spaces.branches(repo.head()))
    spaces.create_check(SUBJECT, root, repo.head("agent/x-1"))
    assert dict(spaces.branches(repo.head())) == before
    assert SUBJECT not in repo.git("branch", "--all")


def test_what_only_a_check_names_of_a_tasks_work_is_saved_all_the_same(
    repo: GitRepo, spaces: GitWorkspaces, root: Venue
) -> None:
    spec = EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=root.root))
    place = Path(spaces.create(TaskId("x-1"), spec, repo.head()).path)
    repo.git("checkout", "--quiet", "--detach", cwd=place)
    work = repo.commit({"off": "its branch\n"}, where=place)
    spaces.create_check(SUBJECT, root, work)
    saved = spaces.salvage(TaskId("x-1"), root)
    spaces.remove_check(SUBJECT, root)
    assert saved and repo.git("merge-base", "--is-ancestor", work, saved.commit) == ""
