"""The GitHub that other tests stand on: what real `gh` and real `git` get from it is what they get from the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from github import GitHub, Repository, faults

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


class Shell:
    """Runs programs of one account in an empty folder."""

    def __init__(self, hub: GitHub, folder: Path) -> None:
        self.hub, self.folder, self.env = hub, folder, {"PATH": PATH, "HOME": os.environ["HOME"], **hub.env}

    def __call__(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        known = {name: self.env[name] for name in ("PATH", "HOME")}
        return subprocess.run(
            argv,
            cwd=self.folder,
            env={**known, **env} if env else self.env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def pr(self, verb: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """`gh pr VERB` on the repository."""
        return self("gh", "pr", verb, "-R", "acme/app", *argv)


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with GitHub() as hub:
        yield hub


@pytest.fixture
def app(hub: GitHub) -> Repository:
    app = hub.repository("acme/app", files={"a": "a\n"})
    hub.commit("acme/app", "agent/x", {"x": "x\n"}, "Add x")
    return app


@pytest.fixture
def run(hub: GitHub, app: Repository, tmp_path: Path) -> Shell:
    return Shell(hub, tmp_path)


def test_a_pull_request_is_made_once_and_found_again(run: Shell, app: Repository) -> None:
    create = ("--head", "agent/x", "--base", "main", "--title", "Add x", "--body", "why")

    made, again = run.pr("create", *create), run.pr("create", *create)

    assert (made.returncode, made.stdout) == (0, "https://github.com/acme/app/pull/1\n")
    assert again.returncode == 1
    assert again.stderr.startswith('a pull request for branch "agent/x" into branch "main" already exists:\n')
    assert (app.pull(1).title, app.pull(1).body, app.pull(1).head) == ("Add x", "why", app.head("agent/x"))


def test_a_merge_that_lost_its_answer_has_happened(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x", title="Add x")
    hub.fault(faults.lost(502), on="PUT .*/merge")

    ran = run("gh", "api", "-X", "PUT", "repos/acme/app/pulls/1/merge", "-f", "merge_method=squash")

    assert (ran.returncode, app.pull(1).state) == (1, "MERGED")
    assert "HTTP 502" in ran.stderr
    assert json.loads(run.pr("view", "1", "--json", "state").stdout) == {"state": "MERGED"}
