"""A branch that began on another task's: what of it is its own, and how that comes onto the base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.model.errors import ChangedError, TemporaryError, UnfitError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Upon

X, Y = TaskId("x-1"), TaskId("x-2")


class Stack:
    """A parent with two commits, and a child that began on the last of them and has two of its own, in a worktree."""

    def __init__(self, folder: Path) -> None:
        self.repo: GitRepo = gitrepo.make(folder, files={"a": "a\n", "b": "b\n"})
        self.repo.branch("agent/x-1", {"p": "1\n", "dropped": "1\n"})
        self.fork = Sha(self.repo.branch("agent/x-1", {"q": "1\n"}, start="agent/x-1"))
        self.upon = Upon(X, self.fork)
        self.forge.begin_on(Y, self.upon)
        self.repo.branch("agent/x-2", {"own": "1\n"}, start="agent/x-1")
        self.head = Sha(self.repo.branch("agent/x-2", {"own": "2\n", "more": "1\n"}, start="agent/x-2"))

    @property
    def forge(self) -> LocalForge:
        """As a program that was just started has it."""
        return LocalForge(gitrepo.Git(self.repo.repository(), self.repo.environ))

    def git(self, *args: str) -> str:
        return self.repo.git(*args).strip()

    def landed(self, files: dict[str, str]) -> Sha:
        """The base once the parent was squashed onto it, as it then was."""
        self.repo.write(files)
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "The parent")
        return Sha(self.git("rev-parse", "main"))

    def unstack(self, base: Sha) -> Sha:
        return self.forge.unstack(Y, self.head, self.upon, base)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    yield Stack(tmp_path)


def test_what_a_branch_begins_on_is_known_before_it_is_there_and_outlives_who_noted_it(stack: Stack) -> None:
    assert stack.forge.stacks() == {Y: stack.upon}
    stack.git("branch", "--quiet", "-D", "agent/x-1")
    stack.git("reflog", "expire", "--expire=now", "--all")
    stack.git("gc", "--quiet", "--prune=now")
    assert stack.git("cat-file", "-t", stack.fork) == "commit"

    stack.forge.forget_stack(Y)
    assert stack.forge.stacks() == {}


def test_nothing_begins_on_what_has_moved_on_nor_where_a_branch_is(stack: Stack) -> None:
    with pytest.raises(ChangedError, match="is there already"):
        stack.forge.begin_on(Y, stack.upon)
    with pytest.raises(ChangedError, match="has moved on"):
        stack.forge.begin_on(TaskId("x-3"), Upon(X, Sha(stack.git("rev-parse", "main"))))
    assert stack.forge.stacks() == {Y: stack.upon}


def test_a_branch_that_began_twice_began_on_the_last_one(stack: Stack) -> None:
    z = TaskId("x-3")
    stack.forge.begin_on(z, stack.upon)
    stack.forge.begin_on(z, stack.upon)
    stack.forge.begin_on(z, Upon(Y, stack.head))

    assert stack.forge.stacks()[z] == Upon(Y, stack.head)


def test_only_its_own_commits_come_onto_the_base_and_nothing_that_its_parent_took_back(stack: Stack) -> None:
    stack.git("worktree", "add", "--quiet", "../x-2", "agent/x-2")
    base = stack.landed({"p": "1\n", "q": "2\n"})  # without the file that was dropped before it landed

    new = stack.unstack(base)

    assert stack.git("rev-parse", "agent/x-2") == new
    assert stack.git("rev-list", "--count", f"main..{new}") == "2" and stack.git("merge-base", "main", new) == base
    assert set(stack.git("ls-tree", "--name-only", new).split()) == {"a", "b", "p", "q", "own", "more"}
    assert stack.git("show", f"{new}:q") == "2"
    where = stack.repo.path.parent / "x-2"
    assert (where / "own").read_text() == "2\n" and not (where / "dropped").exists() and stack.repo.status(where) == ""
    subjects = stack.git("log", "--format=%an %s", f"main..{new}")
    assert subjects == stack.git("log", "--format=%an %s", f"{stack.fork}..{stack.head}")


def test_what_began_and_did_nothing_yet_is_where_the_base_is(stack: Stack) -> None:
    stack.git("update-ref", "refs/heads/agent/x-2", stack.fork)
    base = stack.landed({"p": "1\n"})

    assert stack.forge.unstack(Y, stack.fork, stack.upon, base) == base == stack.git("rev-parse", "agent/x-2")


def test_what_does_not_fit_stays_where_it_is_and_says_how_it_is_done_by_hand(stack: Stack) -> None:
    base = stack.landed({"own": "other\n"})

    with pytest.raises(
        UnfitError, match=rf"in conflict with the base in own; 'git rebase --onto BASE {stack.fork}'"
    ) as caught:
        stack.unstack(base)

    assert caught.value.about == Y and stack.git("rev-parse", "agent/x-2") == stack.head


def test_a_merge_of_its_own_is_not_put_there_by_itself(stack: Stack) -> None:
    base = stack.landed({"p": "1\n"})
    stack.git("checkout", "--quiet", "agent/x-2")
    stack.git("merge", "--quiet", "--no-edit", "main")
    merged = Sha(stack.git("rev-parse", "HEAD"))
    stack.git("checkout", "--quiet", "main")

    with pytest.raises(UnfitError, match="is a merge"):
        stack.forge.unstack(Y, merged, stack.upon, base)


def test_files_of_somebodys_in_its_worktree_keep_it_where_it_is(stack: Stack) -> None:
    stack.git("worktree", "add", "--quiet", "../x-2", "agent/x-2")
    base = stack.landed({"new": "1\n"})
    (stack.repo.path.parent / "x-2" / "new").write_text("mine\n")

    with pytest.raises(TemporaryError, match="new"):
        stack.unstack(base)
    assert stack.git("rev-parse", "agent/x-2") == stack.head


def test_a_head_that_has_moved_on_is_not_brought_anywhere(stack: Stack) -> None:
    base = stack.landed({"p": "1\n"})
    stack.repo.branch("agent/x-2", {"later": "1\n"}, start="agent/x-2")

    with pytest.raises(ChangedError):
        stack.unstack(base)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_the_move_it_is_brought_there_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    base, forge = stack.landed({"p": "1\n"}), stack.forge
    bring = forge._line.bring

    def killed(*args: object) -> None:
        if when == "after":
            bring(*args)  # type: ignore[arg-type]
        raise Killed

    monkeypatch.setattr(forge._line, "bring", killed)
    with pytest.raises(Killed):
        forge.unstack(Y, stack.head, stack.upon, base)
    if when == "before":
        assert stack.git("rev-parse", "agent/x-2") == stack.head

    new = stack.unstack(base)

    assert stack.git("rev-parse", "agent/x-2") == new and stack.git("rev-list", "--count", f"main..{new}") == "2"
