"""A clone of a repository that lives on the tests' GitHub, and our forge on it: real `gh`, real git, no network."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gitrepo
from github import GitHub
from github.repository import Repository
from gitrepo import GitRepo
from waiting import removed

from reconciler.forges.github.forge import Gh, GitHubForge, Slug
from reconciler.forges.local.pulls import Pulls
from reconciler.model.desired import LandingMode, MergeMethod
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Candidate, MergeStep, PullRequest
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

X, Y = TaskId("x-1"), TaskId("x-2")
NAME = "acme/app"
FILES = {"a": "a\n", "b": "b\n"}


@dataclass
class Place:
    """A GitHub, a repository of it, a clone of that, and the forge of the clone."""

    hub: GitHub
    app: Repository
    clone: GitRepo
    as_who: str | None = "robot"
    bases: tuple[str, ...] = ("main",)
    host: str = "github.com"
    forge: GitHubForge = field(init=False)

    def __post_init__(self) -> None:
        self.again()

    @property
    def environ(self) -> dict[str, str]:
        env = self.hub.env if self.as_who == "robot" else self.hub.env_of(self.as_who)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**self.clone.environ, **env, "PATH": path}

    def again(self) -> GitHubForge:
        """The forge as a program that was just started has it."""
        git = gitrepo.Git(self.clone.repository(), self.environ)
        gh = Gh(self.host, self.environ, apart_s=0.0)
        self.forge = GitHubForge(git, gh, Slug(self.host, *NAME.split("/")), lambda: self.bases, Pulls(git))
        return self.forge

    def offered(
        self, files: Mapping[str, str] | None = None, task: TaskId = X, *, check: str | None = "success"
    ) -> tuple[PrNumber, Sha]:
        """A branch with one commit, pushed and opened by us; with a check of the name `ci` unless that is None."""
        head = self.clone.branch(f"agent/{task}", files or {f"of-{task}": "new\n"})
        number = self.forge.open(task, head, f"Do {task}", "Text")
        if check:
            self.app.check(head, "ci", check)
        self.forge.look.stale()
        return number, head

    def pull_requests(self) -> None:
        """Look anew."""
        self.forge.look.stale()
        self.forge.pull_requests()

    def seen(self) -> set[TaskId]:
        """The tasks that have a pull request, looked at anew."""
        self.forge.look.stale()
        return set(self.forge.pull_requests())

    def pull(self, task: TaskId = X) -> PullRequest:
        """The pull request as it is looked at anew."""
        self.forge.look.stale()
        return self.forge.pull_requests()[task]

    def order(self, number: PrNumber, head: Sha, task: TaskId = X, **more: Any) -> LandOrder:
        """What the planner would order, of what is seen now."""
        self.forge.pull_requests()
        base = self.forge.base("main").head
        expected = self.forge.candidate(base, head)
        assert isinstance(expected, Candidate)
        fields = {"method": MergeMethod.SQUASH, "how": LandingMode.FORGE, "title": f"Do {task}", "body": "Text", **more}
        return LandOrder(task=task, number=number, expected=expected, base="main", **fields)

    def landed(self, number: PrNumber, head: Sha, task: TaskId = X, **more: Any) -> Sha:
        """Land it."""
        return self.forge.land(self.order(number, head, task, **more))

    def asked(self, what: str) -> list[str]:
        """The changes that GitHub was asked for, those with `what` in them."""
        return [label for label in self.hub.changes() if what in label]


@contextmanager
def place(*, host: str = "github.com", **fields: Any) -> Iterator[Place]:
    """A place of its own, gone when it was used. `fields` are those of the repository on GitHub."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="gh-"))  # a socket's path is bounded
    try:
        with GitHub(host=host) as hub:
            app = hub.repository(NAME, files=FILES, **fields)
            clone = gitrepo.make(folder, files=FILES)
            ssh = hub.env["GIT_SSH_COMMAND"]
            config = clone.home / ".gitconfig"
            config.write_text(f'{config.read_text()}\n[core]\n\tsshCommand = "{ssh}"\n')
            clone.git("remote", "add", "origin", f"git@{host}:{NAME}.git")
            clone.git("fetch", "--quiet", "origin")
            clone.git("reset", "--quiet", "--hard", "origin/main")
            clone.git("branch", "--quiet", "--set-upstream-to=origin/main")
            yield Place(hub, app, clone, host=host)
    finally:
        removed(folder)


class Killed(BaseException):
    """In place of a SIGKILL: nothing that handles errors handles it."""


def killed(*args: object, **more: object) -> None:
    """In place of an effect before which the process is killed."""
    raise Killed


def both(there: Place, method: MergeMethod = MergeMethod.MERGE) -> LandOrder:
    """Two that are tested and land together, as one order."""
    offered = [(task, *there.offered(task=task)) for task in (X, Y)]
    there.pull_requests()
    base = there.forge.base("main").head
    made = there.forge.fold(base, tuple(MergeStep(head, method) for _, _, head in offered))
    orders = []
    for (task, number, _), expected in zip(offered, made, strict=True):
        assert isinstance(expected, Candidate)
        orders.append(
            LandOrder(
                task=task, number=number, title=f"Do {task}", body="Text", expected=expected, base="main",
                method=method, how=LandingMode.CAS,
            )
        )  # fmt: skip
    return replace(orders[1], beneath=(orders[0],))
