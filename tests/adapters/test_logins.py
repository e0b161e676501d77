"""A password in the address of a remote, against a server that asks for it: it works, and nobody reads it in a command line."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import git_over_http
import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.addresses import Addresses
from reconciler.landing.remotes import Remotes
from reconciler.model.errors import TemporaryError

SECRET = f"SECRET{uuid.uuid4().hex}"  # who runs the same tests beside these has another
USER, PASSWORD = "x-access-token", f"p%40ss-{SECRET}"  # as an address has it


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files={"a": "a\n"})


@pytest.fixture
def host(tmp_path: Path, repo: GitRepo) -> Iterator[str]:
    bare = tmp_path / "served" / "app.git"
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(bare))
    with git_over_http.served(bare.parent, USER, f"p@ss-{SECRET}") as found:
        yield found


def in_its_url(repo: GitRepo, host: str) -> None:
    repo.git("remote", "add", "origin", f"http://{USER}:{PASSWORD}@{host}/app.git")


def by_the_repository(repo: GitRepo, host: str) -> None:
    repo.git("config", f"url.http://{USER}:{PASSWORD}@{host}/.insteadOf", f"http://{host}/")
    repo.git("remote", "add", "origin", f"http://{host}/app.git")


def by_the_user(repo: GitRepo, host: str) -> None:
    repo.git("config", "--global", f"url.http://{USER}:{PASSWORD}@{host}/.insteadOf", f"http://{host}/")
    repo.git("remote", "add", "origin", f"http://{host}/app.git")


def for_short(repo: GitRepo, host: str) -> None:
    repo.git("config", "--global", f"url.http://{USER}:{PASSWORD}@{host}/.insteadOf", "app:")
    repo.git("remote", "add", "origin", "app:app.git")


def by_the_user_for_pushes(repo: GitRepo, host: str) -> None:
    kept = repo.home / "password"
    kept.write_text(f"password=p@ss-{SECRET}\n")
    repo.git("config", "--global", f"url.http://{USER}:{PASSWORD}@{host}/.pushInsteadOf", f"http://{host}/")
    repo.git(
        "config",
        "--global",
        f"credential.http://{host}.helper",
        f"!echo username=x-access-token; cat {kept} #",
    )
    repo.git("remote", "add", "origin", f"http://{host}/app.git")


@pytest.mark.parametrize("how", [in_its_url, by_the_repository, by_the_user, for_short, by_the_user_for_pushes])
def test_nobody_reads_the_password_of_a_remote_in_the_words_of_any_process(
    repo: GitRepo, host: str, how: object
) -> None:
    how(repo, host)  # type: ignore[operator]
    old = repo.head("main")
    (repo.home / "elsewhere").mkdir()
    new = repo.branch("agent/x", {"b": "b\n"})
    git = repo.seam()
    remotes = Remotes(git)

    with git_over_http.everybody_reads() as words:
        assert remotes.head("main", near=old) == old
        with git.writing() as lock:
            remotes.push_branch("main", "agent/x", None, new, lock)
            remotes.push("main", old, new, lock)
        repo.git("update-ref", "-d", "refs/heads/agent/x")
        Remotes(git).bring("main", "agent/x", new, near=old)
        Addresses(git, repo.environ).resolved(git.config())

    assert Remotes(git).head("main", near=old) == new
    assert [word for word in words if b"remote-http" in word and host.encode() in word]
    assert not [word for word in words if SECRET.encode() in word]
    assert SECRET not in (repo.common / "reconcile/control/config").read_text()


def test_a_password_that_is_wrong_is_refused_and_stays_unsaid(repo: GitRepo, host: str) -> None:
    repo.git("remote", "add", "origin", f"http://{USER}:SECRET@{host}/app.git")

    with pytest.raises(TemporaryError) as refused:
        Remotes(repo.seam()).head("main", near=repo.head("main"))

    assert "Authentication failed" in str(refused.value) and "SECRET" not in str(refused.value)


def test_a_remote_is_logged_in_to_by_its_own_address_where_another_has_another(repo: GitRepo, host: str) -> None:
    repo.git("remote", "add", "a-first", f"http://{USER}:wrong@{host}/app.git")
    in_its_url(repo, host)

    assert Remotes(repo.seam()).head("main", near=repo.head("main")) == repo.head("main")


def test_a_name_alone_is_asked_for_its_password_where_that_is_kept(repo: GitRepo, host: str) -> None:
    kept = repo.home / "kept"
    kept.write_text(f"http://somebody:else@{host}\nhttp://{USER}:{PASSWORD}@{host}\n")
    repo.git("config", "--global", "credential.helper", f"store --file={kept}")
    repo.git("remote", "add", "origin", f"http://{USER}@{host}/app.git")

    assert Remotes(repo.seam()).head("main", near=repo.head("main")) == repo.head("main")
