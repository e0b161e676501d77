"""A server with one repository and one branch, and somebody who runs programs against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from github import GitHub, Repository
from github.wire import Asked

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
Ran = subprocess.CompletedProcess[str]


@dataclass
class Shell:
    """Runs programs in an empty folder, as the account of the server unless told otherwise."""

    hub: GitHub
    folder: Path

    def __call__(
        self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> Ran:
        """Any program."""
        own = {"PATH": PATH, "HOME": os.environ["HOME"], "GIT_CONFIG_NOSYSTEM": "1"}
        return subprocess.run(
            argv,
            cwd=cwd or self.folder,
            env={**own, **(self.hub.env if env is None else env)},
            capture_output=True,
            text=True,
            input=stdin,
        )

    def pr(self, verb: str, *argv: str, env: Mapping[str, str] | None = None) -> Ran:
        """`gh pr VERB` on the repository."""
        return self("gh", "pr", verb, "-R", "acme/app", *argv, env=env)

    def api(self, method: str, path: str, **fields: str) -> Ran:
        """`gh api` on the repository."""
        given = [part for name, value in fields.items() for part in ("-f", f"{name}={value}")]
        return self("gh", "api", "-X", method, f"repos/acme/app{path}", *given)

    def rest(self, method: str, path: str, **fields: object) -> tuple[int, Any]:
        """Status and JSON of a call on the repository, without a program between."""
        headers = {"authorization": f"token {self.hub.token(self.hub.me)}"}
        body = json.dumps(fields).encode()
        asked = Asked(method=method, target=f"/repos/acme/app{path}", headers=headers, body=body)
        answer = self.hub.answer(asked)
        return answer.status, json.loads(answer.body) if answer.body else None

    def seen(self, number: int, *fields: str) -> dict[str, Any]:
        """`gh pr view --json`."""
        ran = self.pr("view", str(number), "--json", ",".join(fields))
        assert ran.returncode == 0, ran.stderr
        told: dict[str, Any] = json.loads(ran.stdout)
        return told

    def query(self, text: str) -> dict[str, Any]:
        """`gh api graphql`; the whole answer, errors and all."""
        told: dict[str, Any] = json.loads(self("gh", "api", "graphql", "-f", f"query={text}").stdout)
        return told

    def clone(self) -> Path:
        """A clone of the repository, with an identity."""
        ran = self("git", "clone", "--quiet", "git@github.com:acme/app.git", "clone")
        assert ran.returncode == 0, ran.stderr
        for key in ("name", "email"):
            self("git", "config", f"user.{key}", "ann@example.org", cwd=self.folder / "clone")
        return self.folder / "clone"


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with GitHub() as hub:
        yield hub


def make_app(hub: GitHub) -> Repository:
    """`acme/app`, with one commit on `agent/x` that is not on `main`."""
    app = hub.repository("acme/app", files={"a": "a\n"})
    hub.commit("acme/app", "agent/x", {"x": "x\n"}, "Add x\n\nBecause it was missing.")
    return app


@pytest.fixture
def app(hub: GitHub) -> Repository:
    return make_app(hub)


@pytest.fixture
def run(hub: GitHub, app: Repository, tmp_path: Path) -> Shell:
    return Shell(hub, tmp_path)
