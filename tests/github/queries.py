"""The top fields of GraphQL's queries."""

from __future__ import annotations

import shlex
from typing import Any, Protocol

from github.paging import Connection
from github.records import Account, Problem
from github.repository import Repository
from github.view_of_pull import PullView
from github.view_of_repository import RepositoryView
from github.views import Actor, CommitView, Scene, stamp


class Hub(Protocol):
    """What answering needs of the server."""

    url: str

    def find(self, name: str) -> Repository | None: ...
    def repositories(self) -> list[Repository]: ...
    def account(self, login: str) -> Account: ...
    def budget_of(self, login: str, resource: str = "graphql") -> Any: ...


class Queries:
    """Asked by `me`. `cost` and `node_count` are set before it is executed."""

    id = "Q"
    cost = 1
    node_count = 0

    def __init__(self, hub: Hub, me: str) -> None:
        self.hub, self.me = hub, me

    def scene(self, repository: Repository) -> Scene:
        """What the views of a repository need."""
        return Scene(repository, self.me, self.hub.url, RepositoryView)

    def repository(self, owner: str, name: str, follow_renames: bool = True) -> RepositoryView:
        """Raises Problem for one that is not there, or not to be seen."""
        found = self.hub.find(f"{owner}/{name}")
        if found is None:
            raise Problem(f"Could not resolve to a Repository with the name '{owner}/{name}'.", type="NOT_FOUND")
        found.look()
        return RepositoryView(self.scene(found))

    @property
    def viewer(self) -> Actor:
        """Who asks."""
        return Actor(self.scene(self.hub.repositories()[0]), self.hub.account(self.me))

    def rate_limit(self, dry_run: bool = False) -> dict[str, Any]:
        """After this request."""
        budget = self.hub.budget_of(self.me)
        return {
            "cost": self.cost,
            "limit": budget.limit,
            "nodeCount": self.node_count,
            "remaining": budget.remaining,
            "resetAt": stamp(budget.reset_at),
            "used": budget.used,
        }

    def node(self, id: str) -> Any:
        """A pull request, a commit or a repository by its id. Raises Problem."""
        if id.startswith("PR_"):
            repository, number = self.pull_of(id)
            return PullView(self.scene(repository), repository.pulls[number])
        if id.startswith("C_"):
            found = (each for each in self.hub.repositories() if each.bare.resolve(id.removeprefix("C_")))
            return CommitView(self.scene(next(found)), id.removeprefix("C_"))
        return RepositoryView(self.scene(self.repository_of(id)))

    def search(self, query: str, type: str, **page: Any) -> Connection:
        """Pull requests by the words that `gh pr list` uses. What it does not know finds nothing."""
        terms = [term.partition(":") for term in shlex.split(query)]
        wanted = {key: value for key, colon, value in terms if colon}
        names = [value for key, _, value in terms if key == "repo"]
        found = [
            PullView(self.scene(repository), pull)
            for repository in self.hub.repositories()
            if repository.full_name in names
            for pull in repository.pulls.values()
            if wanted.get("state", pull.state.lower()) in (pull.state.lower(), "closed" if pull.merged_at else "")
            and wanted.get("head", pull.branch) == pull.branch
            and wanted.get("base", pull.into) == pull.into
            and wanted.get("author", pull.author) == pull.author
            and wanted.get("draft", str(pull.draft).lower()) == str(pull.draft).lower()
            and {value for key, _, value in terms if key == "label"} <= {label.name for label in pull.labels}
        ]
        return Connection(found, key=lambda view: (-view.number,), **page)

    def pull_of(self, node_id: str) -> tuple[Repository, int]:
        """A pull request by its id. Raises Problem."""
        name, _, number = node_id.removeprefix("PR_").rpartition("_")
        repository = self.hub.find(name)
        if repository is None or not number.isdigit() or int(number) not in repository.pulls:
            raise Problem(f"Could not resolve to a node with the global id of '{node_id}'", type="NOT_FOUND")
        repository.look()
        return repository, int(number)

    def repository_of(self, node_id: str) -> Repository:
        """A repository by its id. Raises Problem."""
        for repository in self.hub.repositories():
            if f"R_{repository.number}" == node_id:
                repository.look()
                return repository
        raise Problem(f"Could not resolve to a node with the global id of '{node_id}'", type="NOT_FOUND")
