"""The worktree in which a change is judged: git shows what was committed, whatever its author has set up in the repository."""

from pathlib import Path

import gitrepo
import pytest

from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces


@pytest.fixture
def repo(tmp_path):
    return gitrepo.make(tmp_path, files={"README": "hello\n"})


@pytest.fixture
def spaces(repo):
    return GitWorkspaces(repo.seam())


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "worktrees")


def test_nothing_that_is_set_up_in_a_repository_shows_in_a_worktree_that_stands_apart(tmp_path, repo, spaces, root):
    start = repo.head()
    harmless, head = repo.branch("harmless", {"README": "harmless\n"}), repo.branch("offered", {"README": "evil\n"})
    program, ran = tmp_path / "program", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\necho $0 >> {ran}\n")
    program.chmod(0o755)
    (repo.common / "hooks").mkdir(exist_ok=True)
    (repo.common / "hooks/post-index-change").symlink_to(program)
    for key in (
        "core.fsmonitor",
        "diff.external",
        "diff.x.command",
        "diff.x.textconv",
        "filter.x.clean",
        "filter.x.smudge",
    ):
        repo.git("config", key, str(program))
    (repo.common / "info/attributes").write_text("* -diff diff=x filter=x\n")
    repo.git("replace", head, harmless)

    path = Path(spaces.create_check("abc", Venue(root=root), head, apart=True))

    (path / "README").write_text("evil\n")  # so that git must read it
    assert repo.git("rev-parse", "HEAD", cwd=path) == head and repo.status(path) == ""
    assert "+evil" in repo.git("diff", start, "HEAD", cwd=path)
    assert repo.git("rev-parse", "main", cwd=path) == start
    assert not ran.exists()


def test_what_is_set_up_in_a_worktree_that_stands_apart_goes_with_it(repo, spaces, root):
    path = Path(spaces.create_check("abc", Venue(root=root), repo.head(), apart=True))
    before = repo.refs()
    repo.git("config", "alias.mine", "status", cwd=path)
    repo.git("commit", "--quiet", "--allow-empty", "--message", "x", cwd=path)
    repo.git("tag", "mine", cwd=path)

    assert repo.refs() == before and repo.git("config", "--get", "alias.mine", ok=False) == ""
    spaces.remove_check("abc", Venue(root=root))
    assert spaces.check_worktrees(Venue(root=root)) == {} and not (repo.common / "worktrees/abc").exists()


def test_the_repository_of_a_worktree_that_stands_apart_is_found(repo, spaces, root):
    path = Path(spaces.create_check("abc", Venue(root=root), repo.head(), apart=True))

    found = gitrepo.find(path, repo.environ)

    assert (found.main, found.common) == (repo.path, repo.common)
