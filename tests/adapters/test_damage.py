"""One thing that can't be read harms what it belongs to, and nobody else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import gitrepo
import pytest
import worlds
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.errors import PermanentError
from reconciler.model.names import PrNumber, TaskId
from reconciler.model.observed import PullState
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.planning.planner import plan
from reconciler.workspaces import GitWorkspaces

ONE, TWO = TaskId("x-1"), TaskId("x-2")


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path)


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


def opened(repo: GitRepo, forge: LocalForge, task: TaskId) -> PrNumber:
    return forge.open(task, repo.branch(f"agent/{task}", {task: "new\n"}), task, "")


def garbage(repo: GitRepo, ref: str) -> None:
    """A ref that names what is no record."""
    repo.git("update-ref", ref, repo.git("rev-parse", "HEAD"))


def lost(repo: GitRepo, ref: str) -> None:
    """What `git gc --prune=now` does that began before the ref was there."""
    name = repo.git("rev-parse", ref)
    (repo.common / "objects" / name[:2] / name[2:]).unlink()


def test_a_damaged_record_is_named_with_what_mends_it_and_the_others_are_read(repo: GitRepo, forge: LocalForge) -> None:
    first, second = opened(repo, forge, ONE), opened(repo, forge, TWO)
    garbage(repo, f"refs/reconcile/pr/{first}")

    assert list(forge.pull_requests()) == [TWO]
    assert list(forge.damaged()) == [first]
    assert f"git update-ref -d refs/reconcile/pr/{first}" in forge.damaged()[first]
    assert forge.show(second).task == TWO
    with pytest.raises(PermanentError, match="damaged"):
        forge.show(first)


def test_the_only_record_may_be_the_damaged_one(repo: GitRepo, forge: LocalForge) -> None:
    number = opened(repo, forge, ONE)
    garbage(repo, f"refs/reconcile/pr/{number}")

    assert (dict(forge.pull_requests()), list(forge.damaged())) == ({}, [number])


@pytest.mark.parametrize("number", ["7", "999999999999999999"])
def test_a_record_that_an_agent_made_up_keeps_nobody_from_opening_one(
    repo: GitRepo, forge: LocalForge, number: str
) -> None:
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=repo.path, input=b"x", capture_output=True, check=True
    ).stdout.decode()
    repo.git("update-ref", f"refs/reconcile/pr/{number}", blob.strip())

    assert opened(repo, forge, ONE) == (8 if number == "7" else 1)
    assert forge.pull_requests()[ONE].state is PullState.OPEN


def test_a_record_that_a_collector_took_before_its_ref_was_there_comes_back(repo: GitRepo, forge: LocalForge) -> None:
    number = opened(repo, forge, ONE)
    lost(repo, f"refs/reconcile/pr/{number}")

    again = LocalForge(repo.seam())

    assert again.pull_requests()[ONE].number == number
    assert dict(again.damaged()) == {}
    assert repo.git("cat-file", "-t", f"refs/reconcile/pr/{number}") == "commit"


def test_a_damaged_save_keeps_nothing_else_from_being_saved(repo: GitRepo) -> None:
    good = repo.branch("elsewhere", {"saved": "saved\n"})
    repo.git("update-ref", "refs/reconcile/salvage/x-1/1", good)
    bad = repo.commit({"other": "other\n"})
    repo.git("update-ref", "refs/reconcile/salvage/x-2/1", bad)
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    lost(repo, "refs/reconcile/salvage/x-2/1")

    assert [saved.task for saved in GitWorkspaces(repo.seam()).salvages()] == [ONE]


@pytest.mark.parametrize("content", ["", "garbage\n"])
def test_a_branch_that_git_calls_broken_is_named_with_what_mends_it_and_the_others_are_seen(
    repo: GitRepo, forge: LocalForge, tmp_path: Path, content: str
) -> None:
    spaces = GitWorkspaces(repo.seam())
    spec = EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=str(tmp_path / "trees")))
    repo.git("config", "core.logAllRefUpdates", "always")
    for task in (ONE, TWO):
        spaces.create(task, spec, repo.head())
        repo.commit({task: "new\n"}, where=tmp_path / "trees" / task)
        forge.open(task, repo.head(f"agent/{task}"), task, "")
    before = repo.head("agent/x-1")
    (repo.common / "refs/heads/agent/x-1").write_text(content)

    assert list(forge.pull_requests()) == [TWO]
    assert list(spaces.branches(repo.head())) == [TWO]
    assert spaces.worktrees(Venue(root=spec.worktrees.root), [ONE, TWO])[TWO].fault is None
    assert list(spaces.broken_branches()) == [ONE]

    subprocess.run(spaces.broken_branches()[ONE].split("'")[1], shell=True, check=True)
    assert repo.head("agent/x-1") == before
    assert list(forge.pull_requests()) == [ONE, TWO]
    assert list(spaces.branches(repo.head())) == [ONE, TWO]
    assert dict(spaces.broken_branches()) == {}


def test_the_task_of_a_damaged_record_goes_to_a_person_and_the_others_go_on() -> None:
    mine = worlds.a_task("x-1", status="in_progress", assignee=worlds.US, labels=frozenset({"pr:7"}))
    tasks = {ONE: mine, TWO: worlds.a_task("x-2")}
    seen = worlds.seen(*tasks.values(), runs={ONE: (worlds.a_run("x-1"),)}, branches={ONE: worlds.a_branch("x-1")})
    observed = replace(seen, damaged={PrNumber(7): "#7 is damaged; 'git update-ref -d refs/reconcile/pr/7'"})

    (epic,) = plan(worlds.wanted(), observed).epics

    assert str(epic.waiting[ONE].reason) == "RecordDamaged"
    assert "update-ref -d" in epic.waiting[ONE].message
    assert [(type(action).__name__, action.task) for action in epic.actions] == [("StartAgent", TWO)]
