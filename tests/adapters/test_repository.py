"""Where a repository is found, by which git, and what its config says: with as few processes as that takes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler import wiring
from reconciler.git import commands as git_module
from reconciler.git import fingerprints
from reconciler.git.identity import lent
from reconciler.git.repository import find, remember
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import PermanentError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files={"a": "1\n", "below/b": "2\n"})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The programs that were started, each with its words."""
    seen: list[str] = []
    real = git_module.shell.run

    def run(argv, **more):
        seen.append(" ".join(argv))
        return real(argv, **more)

    monkeypatch.setattr(git_module.shell, "run", run)
    yield seen


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as changed long ago."""
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))


def a_git(folder: Path, says: str) -> dict[str, str]:
    """An environment whose git begins with this."""
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


# --- where it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", [".", "below", ".git", ".git/refs"])
def test_the_main_checkout_is_found_from_anywhere_in_it(repo: GitRepo, within: str) -> None:
    found = find(repo.path / within, repo.environ)

    assert (found.main, found.common, found.bare) == (repo.path, repo.path / ".git", False)


def test_the_main_checkout_is_found_from_a_worktree(repo: GitRepo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))

    found = find(tmp_path / "tree" / "below", repo.environ)

    assert (found.main, found.common) == (repo.path, repo.path / ".git")


@pytest.mark.parametrize("name", ["bare.git", ".git"])
@pytest.mark.parametrize("from_a_worktree", [False, True])
def test_a_bare_repository_is_its_own_main_checkout(
    repo: GitRepo, tmp_path: Path, name: str, from_a_worktree: bool
) -> None:
    bare, tree = tmp_path / "other" / name, tmp_path / "other" / "tree"
    repo.git("clone", "-q", "--bare", str(repo.path), str(bare))
    repo.git("worktree", "add", "-q", "-b", "side", str(tree), cwd=bare)

    found = find(tree if from_a_worktree else bare, repo.environ)

    assert (found.main, found.common, found.bare) == (bare, bare, True)


def apart(repo: GitRepo, tmp_path: Path, kind: str) -> tuple[Path, Path]:
    """A checkout with a commit whose git dir stands elsewhere, and that git dir."""
    if kind == "submodule":
        repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo.path), "lib")
        return repo.path / "lib", repo.common / "modules/lib"
    checkout, store = tmp_path / "apart", tmp_path / "store"
    repo.git("clone", "--quiet", "--separate-git-dir", str(store), str(repo.path), str(checkout))
    return checkout, store


@pytest.mark.parametrize("kind", ["submodule", "separate"])
def test_where_the_git_dir_stands_elsewhere_the_checkout_is_what_people_see(
    repo: GitRepo, tmp_path: Path, kind: str
) -> None:
    checkout, store = apart(repo, tmp_path, kind)
    repo.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "tree"), cwd=checkout)
    (store / "reconcile").mkdir()

    found = find(checkout / "below" if (checkout / "below").is_dir() else checkout, repo.environ)
    remember(found)

    assert (found.main, found.common, found.bare) == (checkout, store, False)
    assert find(tmp_path / "tree", repo.environ) == found


@pytest.mark.parametrize("said", ["{elsewhere}", "{main}/below", "/nowhere"])
def test_a_checkout_that_does_not_lead_back_is_not_believed(repo: GitRepo, tmp_path: Path, said: str) -> None:
    checkout, store = apart(repo, tmp_path, "separate")
    repo.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "tree"), cwd=checkout)
    (store / "reconcile").mkdir()
    (store / "reconcile/checkout").write_text(said.format(elsewhere=repo.path, main=checkout) + "\n")

    assert find(tmp_path / "tree", repo.environ).main == store
    assert find(checkout, repo.environ).main == checkout


@pytest.mark.parametrize("name", ["with\nline end", "with\n", "\n/.git\n", " ", "ünï"])
def test_a_repository_is_found_whatever_its_folder_is_called(repo: GitRepo, tmp_path: Path, name: str) -> None:
    place = tmp_path / "odd" / name
    place.mkdir(parents=True)
    repo.git("init", "-q", cwd=place)

    found = find(place, repo.environ)

    assert (found.main, found.common) == (place, place / ".git")


def test_outside_of_repositories_git_says_why_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"not in a git repository: fatal: not a git repository[^{}]*$"):
        find(tmp_path, {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)})


def test_the_main_checkout_is_found_by_one_process(repo: GitRepo, started: list[str]) -> None:
    find(repo.path, repo.environ)

    assert len(started) == 1


# --- by which git --------------------------------------------------------------------------------------------


def test_a_git_that_is_too_old_is_refused_wherever_it_says_so(repo: GitRepo, tmp_path: Path) -> None:
    real = subprocess.check_output(["which", "git"], text=True).strip()
    older = f"""{real} "$@" 2>{tmp_path}/said; code=$?; sed 's/"exe":"[^"]*"/"exe":"2.37.9"/' {tmp_path}/said >&2"""
    environ = {**repo.environ, **a_git(tmp_path, f"{older}; exit $code")}

    with pytest.raises(PermanentError, match=re.escape("2.38 or newer is needed, here is 'git version 2.37.9'")):
        find(repo.path, environ)


def test_a_git_that_does_not_say_its_version_by_the_way_is_asked(
    repo: GitRepo, tmp_path: Path, started: list[str]
) -> None:
    environ = {**repo.environ, **a_git(tmp_path, 'unset GIT_TRACE2_EVENT; PATH=${PATH#*:} exec git "$@"')}

    assert find(repo.path, environ).main == repo.path
    assert started[1:] == ["git version"]


def test_a_git_so_old_that_it_knows_none_of_this_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"2\.38 or newer is needed, here is 'git version 1\.8\.3'"):
        find(tmp_path, a_git(tmp_path, "echo git version 1.8.3"))


# --- what its config says ------------------------------------------------------------------------------------


def test_config_is_what_stands_in_the_repository_and_nothing_that_it_includes(repo: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "more").write_text('[remote "evil"]\n\turl = ssh://elsewhere/x\n')
    repo.git("config", "include.path", str(tmp_path / "more"))
    with (repo.common / "config").open("a") as file:
        file.write('[remote "Two Words"]\n\turl = "a = b\\nc"\n\tprune\n')

    config = repo.seam().config()

    assert ("remote.Two Words.url", "a = b\nc") in config
    assert ("remote.Two Words.prune", None) in config
    assert not [key for key, _ in config if "evil" in key]


def test_config_is_read_again_once_it_has_changed(repo: GitRepo, settled: None, started: list[str]) -> None:
    tool = repo.seam()
    tool.config()
    tool.config()
    before = len([words for words in started if " config " in words])
    repo.git("remote", "add", "origin", "/somewhere")

    assert ("remote.origin.url", "/somewhere") in tool.config()
    assert before == 1


def test_a_remote_on_a_server_is_seen_at_the_next_look(repo: GitRepo) -> None:
    site = wiring.open_site(repo.path, repo.environ)
    wanted = Desired(epics=(EpicSpec(name="all"),))
    before = site.chosen.refused(wanted)

    repo.git("remote", "add", "origin", "git@example.org:x.git")

    assert not before
    assert "example.org, which is not known as a GitHub" in site.chosen.refused(wanted)["all"]


def test_a_host_that_no_server_has_may_be_a_name_of_ssh_for_github(repo: GitRepo) -> None:
    repo.git("remote", "add", "origin", "git@github-work:acme/work.git")
    site = wiring.open_site(repo.path, repo.environ)

    why = site.chosen.refused(Desired(epics=(EpicSpec(name="all"),)))["all"]

    assert "git remote set-url origin git@github.com:acme/work.git" in why and "GH_HOST" not in why


def test_opening_a_repository_and_asking_for_its_forge_takes_two_processes(
    repo: GitRepo, settled: None, started: list[str]
) -> None:
    site = wiring.open_site(repo.path, repo.environ)

    site.chosen.refused(Desired())

    assert len([words for words in started if "user" not in words]) == 2


# --- who commits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        ("[user]\n\tname = A\n\temail = a@b\n", False),
        ("[user]\n\tname = A\n", True),
        ('[user]\n\tname = A\n\temail = ""\n', True),
        ("", True),
    ],
)
def test_agents_get_an_identity_exactly_where_git_has_none(repo: GitRepo, config: str, needed: bool) -> None:
    (repo.home / ".gitconfig").write_text(config)

    given = lent(repo.seam())

    assert bool(given) is needed
    assert dict(given).get("GIT_AUTHOR_EMAIL") == ("reconcile@localhost" if needed else None)


# --- who asks ------------------------------------------------------------------------------------------------

ASKS = "from reconciler.runners._processes import descends_from_a_carrier as asked; print(asked('CARRIED'))"


@pytest.mark.parametrize(
    ("carried", "found"),
    [("CARRIED=yes", True), ("CARRIED=", True), ("OTHER=CARRIED=yes", False), ("UNCARRIED=yes", False)],
)
@pytest.mark.parametrize("generations", [1, 3])
def test_what_an_agent_started_is_known_by_its_ancestors_though_it_forgot_the_variable(
    carried: str, found: bool, generations: int
) -> None:
    # Each shell stays until what it started has ended; all but the first have forgotten.
    nested = 'env -u CARRIED "$0" -c "$1"; true'
    for _ in range(generations - 1):
        nested = f'env -u CARRIED sh -c {shlex.quote(nested)} "$0" "$1"; true'
    environ = {name: value for name, value in os.environ.items() if name != "CARRIED"} | {"PYTHONPATH": str(ROOT)}

    said = subprocess.check_output(
        ["env", carried, "sh", "-c", nested, sys.executable, ASKS], env=environ, cwd="/", text=True
    )

    assert said.strip() == str(found)


# --- what an agent wrote into the shared config ----------------------------------------------------------------


def test_a_checkout_that_is_called_bare_is_refused_with_what_mends_it(repo, tmp_path):
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    repo.git("config", "core.bare", "true")

    for place in (repo.path, repo.common, tmp_path / "linked"):
        with pytest.raises(PermanentError, match=r"core\.bare is true") as refused:
            find(place, repo.environ)
        assert f"git -C {repo.path} config core.bare false" in (refused.value.hint or "")
    repo.git("config", "core.bare", "false")
    assert find(repo.path, repo.environ).main == repo.path


def test_a_bare_repository_is_one_also_where_it_is_called_git(repo, tmp_path):
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "project/.git"))

    assert find(tmp_path / "project/.git", repo.environ).bare


def test_a_checkout_with_settings_of_its_own_is_no_contradiction(repo):
    repo.git("sparse-checkout", "set", "src")

    assert find(repo.path, repo.environ).main == repo.path


def test_a_work_tree_that_an_agent_set_elsewhere_changes_nothing(repo, tmp_path):
    repo.git("config", "core.worktree", str(tmp_path))

    assert find(repo.path, repo.environ).main == repo.path


def test_what_git_refuses_is_told_as_that_and_not_as_a_missing_repository(repo):
    repo.git("config", "core.repositoryFormatVersion", "0")
    repo.git("config", "extensions.objectFormat", "sha256")

    with pytest.raises(PermanentError, match="git does not work in") as refused:
        find(repo.path, repo.environ)
    assert "git init" not in (refused.value.hint or "")
