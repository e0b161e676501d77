"""Where a remote is in the end: as git rewrites its URL, and as ssh knows its host. Real git, real ssh, no network."""

from __future__ import annotations

import shutil
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.addresses import Addresses

SSH = shutil.which("ssh")


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path / "of", files={"a": "1\n"})


def urls(repo: GitRepo, *, path: Path | None = None) -> list[str | None]:
    """The URLs of all remotes, as they are taken for."""
    environ = {**repo.environ, **({"PATH": f"{path}:{repo.environ['PATH']}"} if path else {})}
    git = gitrepo.Git(repo.repository(), environ)
    return [value for key, value in Addresses(git, environ).resolved(git.config()) if key.endswith(".url")]


@pytest.mark.parametrize("where", ["--local", "--global"])
def test_a_url_that_git_rewrites_is_taken_for_what_it_becomes(repo: GitRepo, where: str) -> None:
    repo.git("remote", "add", "origin", "gh:acme/app")
    repo.git("config", where, "url.git@github.com:.insteadOf", "gh:")

    assert urls(repo) == ["git@github.com:acme/app"]


@pytest.mark.skipif(SSH is None, reason="there is no ssh on this machine")
@pytest.mark.parametrize("url", ["git@github-work:acme/app.git", "ssh://git@github-work/acme/app.git"])
def test_an_alias_of_ssh_is_taken_for_the_host_that_it_names(repo: GitRepo, url: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host github-work\n  HostName github.com\n")
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec {SSH} -F {tmp_path}/config "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    repo.git("remote", "add", "origin", url)

    assert urls(repo, path=tmp_path) == [url.replace("github-work", "github.com")]


@pytest.mark.parametrize(
    "url", ["/srv/git/app", "../app", "https://gitlab.com/acme/app", "git@github.com:acme/app.git"]
)
def test_what_says_plainly_where_it_is_stays_as_it_is(repo: GitRepo, url: str) -> None:
    repo.git("remote", "add", "origin", url)

    assert urls(repo) == [url]


def test_a_host_is_never_an_option_of_ssh(repo: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "ssh").chmod(0o755)
    repo.git("remote", "add", "origin", "git@-oProxyCommand=true:acme/app")

    assert urls(repo, path=tmp_path) == ["git@-oProxyCommand=true:acme/app"]
    assert not (tmp_path / "asked").exists()
