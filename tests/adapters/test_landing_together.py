"""Several pull requests land in one move of the base: all of them or none, each as a commit of its own."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import gitrepo
import pytest
from dying import arm, dying
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError
from reconciler.model.names import PrNumber, TaskId
from reconciler.model.observed import Candidate, Conflict, MergeStep, PullState
from reconciler.model.ports import LandOrder
from reconciler.model.pull_records import Verdict
from reconciler.model.values import replace

TASKS = ("x-1", "x-2", "x-3")


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = gitrepo.make(tmp_path, files={"a": "a\n", "b": "b\n"})
    made.branch("agent/x-1", {"a": "A\n", "one": "1\n"})
    made.branch("agent/x-2", {"two": "2\n"})
    made.branch("agent/x-3", {"three": "3\n"}, start=made.head("agent/x-1"))  # it has grown out of another
    return made


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


def together(repo: GitRepo, forge: LocalForge, *methods: MergeMethod) -> LandOrder:
    steps = tuple(MergeStep(repo.head(f"agent/{task}"), method) for task, method in zip(TASKS, methods, strict=True))
    orders: list[LandOrder] = []
    for task, step, made in zip(TASKS, steps, forge.fold(repo.head("main"), steps), strict=True):
        assert isinstance(made, Candidate)
        number = forge.open(TaskId(task), step.head, task, "")
        orders.append(
            LandOrder(
                task=TaskId(task),
                number=number,
                title=f"Task {task}",
                body="",
                expected=made,
                base="main",
                method=step.method,
            )
        )
    return replace(orders[-1], beneath=tuple(orders[:-1]))


MIXED = pytest.mark.parametrize(
    "methods", [*((method,) * 3 for method in MergeMethod), tuple(MergeMethod)], ids=[*MergeMethod, "each another"]
)


@MIXED
def test_all_land_in_one_move_and_each_as_its_own_commit(
    repo: GitRepo, forge: LocalForge, methods: tuple[MergeMethod, ...]
) -> None:
    order = together(repo, forge, *methods)
    tip = forge.land(order)
    assert repo.head("main") == tip and repo.status() == ""
    assert repo.git("rev-parse", "main^{tree}") == order.expected.tree
    assert len(repo.git("reflog", "show", "main").splitlines()) == 2
    landed = {landing.task: landing for landing in forge.landings("main")}
    assert list(landed) == list(TASKS)
    for each in order.whole:
        record = forge.show(each.number)
        assert record.state is PullState.MERGED and record.method == each.method
        assert (record.landed, landed[each.task].head) == (landed[each.task].commit, each.expected.head)
        assert repo.git("rev-parse", f"{record.landed}^{{tree}}") == each.expected.tree


@MIXED
def test_what_is_computed_of_several_is_what_landing_them_one_by_one_makes(
    repo: GitRepo, forge: LocalForge, methods: tuple[MergeMethod, ...]
) -> None:
    order = together(repo, forge, *methods)
    for each in order.whole:
        alone = forge.candidate(repo.head("main"), each.expected.head)
        assert isinstance(alone, Candidate)
        assert (alone.tree, alone.changed) == (each.expected.tree, each.expected.changed), each.task
        forge.land(replace(each, expected=alone, beneath=()))


def test_computing_it_writes_nothing(repo: GitRepo, forge: LocalForge) -> None:
    before = sorted((repo.common / "objects").rglob("*"))
    forge.fold(repo.head("main"), tuple(MergeStep(repo.head(f"agent/{task}"), MergeMethod.MERGE) for task in TASKS))
    assert sorted((repo.common / "objects").rglob("*")) == before


def test_what_conflicts_with_those_before_it_is_left_out_of_those_behind_it(repo: GitRepo, forge: LocalForge) -> None:
    repo.branch("agent/rival", {"a": "another A\n"})
    heads = [repo.head(f"agent/{name}") for name in ("x-1", "rival", "x-2")]
    steps = tuple(MergeStep(head, MergeMethod.SQUASH) for head in heads)
    first, rival, second = forge.fold(repo.head("main"), steps)
    assert isinstance(rival, Conflict) and rival.paths == ("a",)
    without = forge.fold(repo.head("main"), (steps[0], steps[2]))
    assert (first, second) == without


def test_behind_a_change_of_the_rules_of_merging_nothing_is_guessed(repo: GitRepo, forge: LocalForge) -> None:
    repo.branch("agent/rules", {".gitattributes": "log merge=union\n"})
    heads = [repo.head(f"agent/{name}") for name in ("x-2", "rules", "x-1")]
    made = forge.fold(repo.head("main"), tuple(MergeStep(head, MergeMethod.SQUASH) for head in heads))
    assert [type(each) for each in made] == [Candidate, Candidate, Conflict]


@pytest.mark.parametrize("moved", TASKS)
def test_where_one_head_has_moved_nothing_lands(repo: GitRepo, forge: LocalForge, moved: str) -> None:
    order = together(repo, forge, *[MergeMethod.SQUASH] * 3)
    start = repo.head("main")
    repo.branch(f"agent/{moved}", {"more": "more\n"}, start=repo.head(f"agent/{moved}"))
    with pytest.raises(ChangedError):
        forge.land(order)
    assert repo.head("main") == start
    assert {pull.state for pull in forge.pull_requests().values()} == {PullState.OPEN}


def test_where_one_was_rejected_nothing_lands(repo: GitRepo, forge: LocalForge) -> None:
    order = together(repo, forge, *[MergeMethod.SQUASH] * 3)
    start = repo.head("main")
    forge.review(order.beneath[1].number, order.beneath[1].expected.head, Verdict.REJECTED, "no")
    with pytest.raises(ChangedError):
        forge.land(order)
    assert repo.head("main") == start


def test_where_one_tree_was_not_judged_nothing_lands(repo: GitRepo, forge: LocalForge) -> None:
    order = together(repo, forge, *[MergeMethod.SQUASH] * 3)
    start, first = repo.head("main"), order.beneath[0]
    another = replace(first, expected=replace(first.expected, tree=order.beneath[1].expected.tree))
    with pytest.raises(ReconcileError):
        forge.land(replace(order, beneath=(another, *order.beneath[1:])))
    assert repo.head("main") == start


@pytest.mark.parametrize("push", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["here", "pushed"])
def test_killed_before_any_of_its_steps_all_of_it_is_done_once_by_the_next(
    tmp_path: Path, repo: GitRepo, forge: LocalForge, push: bool
) -> None:
    remote = GitRepo(tmp_path / "remote.git", repo.home)
    if push:
        repo.git("init", "--quiet", "--bare", str(remote.path))
        repo.git("remote", "add", "origin", str(remote.path))
        repo.git("push", "--quiet", "origin", "main")
    order = replace(together(repo, forge, *[MergeMethod.SQUASH] * 3), push=push)
    start = repo.head("main")
    repo.write({"b": "edited\n", "untracked": "mine\n"})
    repo.path.rename(tmp_path / "original")
    for step in range(300):
        shutil.rmtree(repo.path, ignore_errors=True)
        shutil.copytree(tmp_path / "original", repo.path, symlinks=True)
        code = dying(lambda: LocalForge(repo.seam()).land(order), lambda step=step: arm(step))
        after = repo.head("main")
        assert after == start or repo.git("rev-parse", "main^{tree}") == order.expected.tree, step
        again = LocalForge(repo.seam())
        try:
            again.land(order)
        except ChangedError:
            pass
        assert [landing.task for landing in again.landings("main")] == list(TASKS), step
        assert repo.git("rev-parse", "main^{tree}") == order.expected.tree, step
        assert repo.status() == " M b\n?? untracked", step
        assert {again.show(PrNumber(n)).state for n in (1, 2, 3)} == {PullState.MERGED}, step
        assert not any((repo.common / "reconcile" / "landing").iterdir()), step
        if push:
            assert remote.head("main") == repo.head("main"), step
            remote.git("update-ref", "refs/heads/main", start)
        if code == 0:
            assert step > 20
            return
        assert code == -signal.SIGKILL
    raise AssertionError("it never came to its end")


def test_who_can_not_land_is_named_also_below_others(repo: GitRepo, forge: LocalForge) -> None:
    side = repo.branch("side", {"side": "s\n"})
    merge = repo.git("commit-tree", "agent/x-1^{tree}", "-p", "agent/x-1", "-p", side, "-m", "a merge")
    repo.git("update-ref", "refs/heads/agent/x-1", merge)
    order = together(repo, forge, MergeMethod.REBASE, MergeMethod.SQUASH, MergeMethod.SQUASH)
    with pytest.raises(PermanentError, match="can't be rebased") as refused:
        forge.candidate_commit(order)
    assert refused.value.about == "x-1"
