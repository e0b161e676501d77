"""What lands one after the other is merged once each, and is what merging all of it anew would make."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.git import commands
from reconciler.git.refusals import GitError
from reconciler.landing import chains
from reconciler.model.desired import MergeMethod
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Candidate, Conflict, MergeStep
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

TASKS = ("x-1", "x-2", "x-3", "x-4")
METHODS = pytest.mark.parametrize("methods", [*((m,) * 4 for m in MergeMethod), (*MergeMethod, MergeMethod.SQUASH)])


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = gitrepo.make(tmp_path, files={"a": "a\n", "b": "b\n", "deep/down/c": "c\n"})
    made.branch("agent/x-1", {"a": "A\n", "deep/one": "1\n"})
    made.branch("agent/x-2", {"deep/down/two": "2\n"})
    made.branch("agent/x-3", {"three": "3\n"}, start=made.head("agent/x-1"))
    made.branch("agent/x-4", {"a": "rival\n"})
    return made


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


@pytest.fixture
def merges(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The merges that git was started for."""
    seen: list[str] = []
    real = commands.shell.run

    def run(argv, **more):
        if "merge-tree" in argv:
            seen.append(" ".join(argv[-2:]))
        return real(argv, **more)

    monkeypatch.setattr(commands.shell, "run", run)
    yield seen


def steps_of(repo: GitRepo, methods: tuple[MergeMethod, ...]) -> tuple[MergeStep, ...]:
    return tuple(MergeStep(repo.head(f"agent/{task}"), method) for task, method in zip(TASKS, methods, strict=True))


def order_of(
    repo: GitRepo, forge: LocalForge, base: Sha, steps: tuple[MergeStep, ...], tasks: tuple[str, ...] = TASKS
) -> LandOrder:
    orders = []
    for task, step, made in zip(tasks, steps, forge.fold(base, steps), strict=False):
        assert isinstance(made, Candidate)
        number = forge.open(TaskId(task), step.head, task, "")
        kept = {"expected": made, "base": "main", "method": step.method}
        orders.append(LandOrder(task=TaskId(task), number=PrNumber(number), title=task, body="", **kept))
    return replace(orders[-1], beneath=tuple(orders[:-1]))


@METHODS
def test_a_line_that_grows_merges_each_head_once_and_makes_what_one_look_at_all_of_it_would(
    repo: GitRepo, forge: LocalForge, merges: list[str], methods: tuple[MergeMethod, ...]
) -> None:
    base, steps = repo.head("main"), steps_of(repo, methods)
    for n in range(1, 5):
        found = forge.fold(base, steps[:n])
    forge.candidate(base, steps[0].head)

    assert len(merges) == 4
    assert isinstance(found[3], Conflict) and found[3].base == base
    assert found == LocalForge(repo.seam()).fold(base, steps)


@METHODS
def test_what_lands_is_stored_from_where_it_was_judged_whole_and_without_another_merge(
    repo: GitRepo, forge: LocalForge, merges: list[str], methods: tuple[MergeMethod, ...]
) -> None:
    base, steps = repo.head("main"), steps_of(repo, methods)[:3]
    order = order_of(repo, forge, base, steps)
    rebased = sum(step.method is MergeMethod.REBASE for step in steps)
    before = len(merges)
    commit = forge.candidate_commit(order)

    assert rebased or len(merges) == before
    shutil.rmtree(repo.common / "reconcile" / "scratch")
    assert repo.git("rev-parse", f"{commit}^{{tree}}") == order.expected.tree
    repo.git("update-ref", "refs/heads/made", commit)
    assert "missing" not in repo.git("fsck", "--full", "--no-dangling")


@METHODS
def test_what_was_merged_behind_those_that_have_landed_goes_on_as_it_is(
    repo: GitRepo, forge: LocalForge, merges: list[str], methods: tuple[MergeMethod, ...]
) -> None:
    base, steps = repo.head("main"), steps_of(repo, methods)
    forge.fold(base, steps)
    tip = forge.land(order_of(repo, forge, base, steps[:2]))
    before = len(merges)
    behind = forge.fold(tip, steps[2:])

    assert len(merges) == before
    assert behind == LocalForge(repo.seam()).fold(tip, steps[2:])
    assert forge.candidate(tip, steps[2].head) == behind[0]


def test_a_base_that_others_moved_is_merged_into_anew(repo: GitRepo, forge: LocalForge, merges: list[str]) -> None:
    steps = steps_of(repo, (MergeMethod.SQUASH,) * 4)[:2]
    forge.fold(repo.head("main"), steps)
    moved = repo.commit({"deep/theirs": "t\n"})
    before = len(merges)

    assert forge.fold(moved, steps) == LocalForge(repo.seam()).fold(moved, steps)
    assert len(merges) - before == 4


@METHODS
def test_bases_of_before_that_are_asked_for_again_leave_the_newest_as_it_is(
    repo: GitRepo, forge: LocalForge, methods: tuple[MergeMethod, ...]
) -> None:
    first, steps = repo.head("main"), steps_of(repo, methods)
    forge.fold(first, steps)
    second = forge.land(order_of(repo, forge, first, steps[:1]))
    forge.fold(second, steps[1:3])
    forge.fold(first, steps[:2])
    third = forge.land(order_of(repo, forge, second, steps[1:2], TASKS[1:2]))
    forge.fold(third, steps[2:3])

    more = MergeStep(repo.branch("agent/x-5", {"five": "5\n"}, start=first), MergeMethod.SQUASH)
    for base, wanted in ((second, steps[1:3]), (first, steps), (third, steps[2:3])):
        found = forge.fold(base, (*wanted, more))
        assert found == LocalForge(repo.seam()).fold(base, (*wanted, more))


def test_where_somebody_swept_the_folder_away_it_is_merged_again(
    repo: GitRepo, forge: LocalForge, merges: list[str]
) -> None:
    base, steps = repo.head("main"), steps_of(repo, (MergeMethod.SQUASH,) * 4)[:3]
    order = order_of(repo, forge, base, steps)
    shutil.rmtree(repo.common / "reconcile" / "scratch")
    before = len(merges)

    assert repo.git("rev-parse", f"{forge.candidate_commit(order)}^{{tree}}") == order.expected.tree
    assert forge.fold(base, steps)[-1] == order.expected
    assert len(merges) - before == 6


def test_what_was_merged_a_while_ago_is_merged_again_where_it_is_to_land(
    repo: GitRepo, forge: LocalForge, merges: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, steps = repo.head("main"), steps_of(repo, (MergeMethod.SQUASH,) * 4)[:1]
    # What it makes is in the repository already, and named by nothing: the merge stores none of it.
    (made,) = LocalForge(repo.seam()).fold(base, steps)
    forge.candidate_commit(order_of(repo, forge, base, steps))
    late = LocalForge(repo.seam())
    order = order_of(repo, late, base, steps)
    repo.git("reflog", "expire", "--expire=all", "--all")
    repo.git("gc", "--quiet", "--prune=now")
    monkeypatch.setattr(chains, "FRESH_S", 0.0)
    before = len(merges)

    commit = late.candidate_commit(order)

    assert len(merges) - before == 1
    assert isinstance(made, Candidate) and repo.git("rev-parse", f"{commit}^{{tree}}") == made.tree
    repo.git("update-ref", "refs/heads/made", commit)
    assert "missing" not in repo.git("fsck", "--full", "--no-dangling")


def test_what_git_did_not_merge_is_merged_anew_the_next_time(repo: GitRepo, forge: LocalForge) -> None:
    base, steps = repo.head("main"), steps_of(repo, (MergeMethod.SQUASH,) * 4)
    known = forge.fold(base, steps)
    for objects in (repo.common / "reconcile" / "scratch").glob("*/objects"):
        shutil.rmtree(objects)
        objects.mkdir()  # as if all that it held had been damaged
    more = repo.branch("agent/x-5", {"five": "5\n"})
    with pytest.raises(GitError):
        forge.fold(base, (*steps, MergeStep(more, MergeMethod.SQUASH)))

    assert forge.fold(base, (*steps, MergeStep(more, MergeMethod.SQUASH)))[:4] == known


def test_nothing_of_it_stays_behind(repo: GitRepo) -> None:
    forge = LocalForge(repo.seam())
    for n in range(chains.BASES + 2):
        forge.fold(repo.commit({"n": f"{n}\n"}), steps_of(repo, (MergeMethod.SQUASH,) * 4))
    scratch = repo.common / "reconcile" / "scratch"
    assert len(list(scratch.iterdir())) == chains.BASES
    del forge
    gc.collect()
    assert list(scratch.iterdir()) == []


@METHODS
def test_a_head_that_has_what_landed_in_it_is_merged_with_just_that(
    repo: GitRepo, forge: LocalForge, methods: tuple[MergeMethod, ...]
) -> None:
    base, steps = repo.head("main"), steps_of(repo, methods)
    assert isinstance(forge.fold(base, steps)[3], Conflict)
    tip = forge.land(order_of(repo, forge, base, steps[:2]))
    forge.fold(tip, steps[2:3])

    # Its agent brings the two sides together, as it is asked to: with the base that there is now.
    repo.git("checkout", "--quiet", "--detach", steps[3].head)
    repo.git("merge", "--quiet", "--strategy=ours", "--no-edit", tip)
    repo.git("checkout", "--quiet", tip, "--", ".")
    both = repo.commit({"a": "A and rival\n"})
    mended = MergeStep(both, steps[3].method)

    assert isinstance(forge.candidate(tip, both), Candidate)
    found = forge.fold(tip, (steps[2], mended))
    assert all(isinstance(each, Candidate) for each in found)
    assert found == LocalForge(repo.seam()).fold(tip, (steps[2], mended))
