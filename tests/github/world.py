"""Accounts, repositories and the hour's points: what there is on a GitHub, and how tests and people make it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from github.bare import NOBODY, Bare
from github.graphql_api import Budget
from github.records import Account
from github.repository import Repository

HOUR = timedelta(hours=1)


class World:
    """Everything below `folder`. `me` is the account that tests are, unless they say otherwise."""

    def __init__(self, folder: Path, *, url: str, me: str) -> None:
        self.folder, self.url, self.me = folder, url, me
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, str] = {}
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._repositories: dict[str, Repository] = {}
        self._moved: dict[str, str] = {}
        self._count = 0

    def repository(self, name: str, *, files: Mapping[str, str] | None = None, **settings: Any) -> Repository:
        """Makes `owner/name` with one commit on `main`; `settings` are fields of `Repository`."""
        owner, _, short = name.partition("/")
        bare = Bare.make(self._path(name))
        self.account(owner, kind="Organization")
        made = Repository(
            site=self, number=self.number(), owner=owner, name=short, bare=bare, created_at=self.now(), **settings
        )
        self._repositories[name.lower()] = made
        made.tell_git()
        self.commit(name, made.default, files or {"README.md": f"# {short}\n"}, "first")
        return made

    def fork(self, name: str, owner: str) -> Repository:
        """A fork for `owner`, under the same name."""
        source = self._repositories[name.lower()]
        bare = Bare.make(self._path(f"{owner}/{source.name}"), copy_of=source.bare.path)
        self.account(owner)
        made = Repository(
            site=self, number=self.number(), owner=owner, name=source.name, bare=bare, created_at=self.now(),
            parent=source.full_name,
        )  # fmt: skip
        self._repositories[made.full_name.lower()] = made
        return made

    def remove(self, name: str) -> None:
        """Delete a repository; pull requests of its branches are closed."""
        gone = self._repositories.pop(name.lower())
        shutil.rmtree(gone.bare.path)
        for repository in self._repositories.values():
            for pull in repository.pulls.values():
                if pull.source == gone.full_name:
                    pull.source = None
                    if pull.state == "OPEN":
                        repository.close(pull.number)

    def rename(self, name: str, to: str) -> None:
        """Give a repository another name; the old one goes on leading to it."""
        moved = self._repositories.pop(name.lower())
        owner, _, short = to.partition("/")
        path = self._path(to)
        path.parent.mkdir(parents=True, exist_ok=True)
        moved.bare.path.rename(path)
        self._path(name).symlink_to(path)
        old, moved.owner, moved.name, moved.bare = moved.full_name, owner, short, replace(moved.bare, path=path)
        for pull in moved.pulls.values():
            pull.source = moved.full_name if pull.source == old else pull.source
        self._repositories[to.lower()] = moved
        self._moved[name.lower()] = to.lower()

    def commit(
        self, name: str, branch: str, files: Mapping[str, str], message: str = "work", *, start: str | None = None
    ) -> str:
        """Push one commit to a branch, as a person would; its sha. A new branch starts at `start`, else at `main`."""
        repository = self._repositories[name.lower()]
        bare, heads = repository.bare, repository.bare.heads()
        parent = heads.get(branch) or heads.get(start or repository.default)
        index = {"GIT_INDEX_FILE": str(bare.path / "index-of-a-person")}
        bare.git("read-tree", *((parent,) if parent else ("--empty",)), env=index)
        for path, text in files.items():
            blob = bare.git("hash-object", "-w", "--stdin", stdin=text)
            bare.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
        author = repository.commit_as(self.me)
        parents = (parent,) if parent else ()
        new = bare.write(bare.git("write-tree", env=index), parents, message + "\n", author, author, "")
        bare.update(f"refs/heads/{branch}", new, heads.get(branch, NOBODY))
        return new

    def token(self, login: str) -> str:
        """The token of an account."""
        self.account(login)
        token = f"gho_{login}"
        self.tokens[token] = login
        return token

    def budget_of(self, login: str, resource: str = "graphql") -> Budget:
        """The points of an account, for `graphql` or `core` (REST); set `used` to run out of them."""
        now = self.now()
        budget = self._budgets.get((login, resource))
        if budget is None or budget.reset_at <= now:
            budget = self._budgets[login, resource] = Budget(reset_at=now + HOUR)
        return budget

    # --- what repositories ask (Site, Hub) -----------------------------------------------------------------

    def now(self) -> datetime:
        """By `clock`."""
        return self.clock()

    def number(self) -> int:
        """One that was not used before."""
        self._count += 1
        return self._count

    def account(self, login: str, *, kind: Any = "User") -> Account:
        """An account, made if need be."""
        if login not in self.accounts:
            self.accounts[login] = Account(number=self.number(), login=login, kind=kind)
        return self.accounts[login]

    def account_of(self, email: str) -> str | None:
        """Whose address it is."""
        return next((login for login, account in self.accounts.items() if account.email == email), None)

    def find(self, name: str) -> Repository | None:
        """By its name, old or new, in any case."""
        key = name.lower()
        while key in self._moved and key not in self._repositories:
            key = self._moved[key]
        return self._repositories.get(key)

    def repositories(self) -> list[Repository]:
        """All of them."""
        return list(self._repositories.values())

    def _path(self, name: str) -> Path:
        return self.folder / "git" / f"{name}.git"
