"""What GraphQL shows of a repository."""

from __future__ import annotations

from typing import Any

from github.paging import Connection
from github.records import Problem
from github.repository import Repository
from github.view_of_pull import PullView, queue
from github.views import Actor, CommitView, LabelView, Scene, none, stamp


class RepositoryView:
    """A repository at this moment."""

    graphql_type = "Repository"
    assignable_users = milestones = projects_v2 = staticmethod(lambda **page: none(page))
    description = None
    has_issues_enabled = has_projects_enabled = has_wiki_enabled = True
    is_in_organization = True
    viewer_default_commit_email = None

    def __init__(self, scene: Scene) -> None:
        it = self._repository = scene.repository
        self._scene = scene
        self.id, self.database_id, self.name, self.name_with_owner = f"R_{it.number}", it.number, it.name, it.full_name
        self.url = f"{scene.url}/{it.full_name}"
        self.ssh_url = f"git@{scene.url.partition('://')[2]}:{it.full_name}.git"
        self.owner = Actor(scene, it.site.account(it.owner))
        self.is_archived, self.is_private, self.is_fork = it.archived, it.private, it.parent is not None
        self.visibility = "PRIVATE" if it.private else "PUBLIC"
        self.archived_at = self.created_at = self.pushed_at = stamp(it.created_at)
        self.archived_at = self.created_at if it.archived else None
        self.viewer_permission = it.permission
        self.viewer_can_administer = it.permission == "ADMIN"
        self.merge_commit_allowed, self.squash_merge_allowed = it.allow_merge, it.allow_squash
        self.rebase_merge_allowed, self.auto_merge_allowed = it.allow_rebase, it.allow_auto_merge
        self.allow_update_branch, self.delete_branch_on_merge = it.allow_update_branch, it.delete_branch_on_merge
        self.viewer_default_merge_method = "MERGE"
        self.viewer_possible_commit_emails: list[str] = []
        self.issue_templates: list[Any] = []
        self.pull_request_templates: list[Any] = []

    @property
    def is_empty(self) -> bool:
        """Without a commit."""
        return not self._repository.bare.heads()

    @property
    def parent(self) -> Any:
        """What it is a fork of."""
        return self._scene.of(self._repository.parent)

    @property
    def default_branch_ref(self) -> dict[str, Any] | None:
        """None while it is empty."""
        return self.ref(self._repository.default)

    def ref(self, qualified_name: str) -> dict[str, Any] | None:
        """A branch."""
        name = qualified_name.removeprefix("refs/heads/")
        return self._ref(name) if name in self._repository.bare.heads() else None

    def refs(
        self, ref_prefix: str, query: str | None = None, order_by: Any = None, direction: Any = None, **page: Any
    ) -> Connection:
        """Branches in the order of their names."""
        below = ref_prefix.removeprefix("refs/heads/")
        names = [
            name for name in sorted(self._repository.bare.heads()) if name.startswith(below) and (query or "") in name
        ]
        return Connection([self._ref(name) for name in names], **page)

    def object(self, oid: str | None = None, expression: str | None = None) -> Any:
        """A commit by any name."""
        sha = self._repository.bare.resolve(oid or expression or "")
        return CommitView(self._scene, sha) if sha else None

    def pull_request(self, number: int) -> PullView:
        """Raises Problem for a number that is not there."""
        if number not in self._repository.pulls:
            raise Problem(f"Could not resolve to a PullRequest with the number of {number}.", type="NOT_FOUND")
        return PullView(self._scene, self._repository.pulls[number])

    def pull_requests(
        self,
        states: list[str] | None = None,
        base_ref_name: str | None = None,
        head_ref_name: str | None = None,
        labels: list[str] | None = None,
        order_by: dict[str, str] | None = None,
        **page: Any,
    ) -> Connection:
        """All that match, in the order asked for, else oldest first."""
        order = order_by or {"field": "CREATED_AT", "direction": "ASC"}
        sign = -1 if order["direction"] == "DESC" else 1
        found = [
            PullView(self._scene, pull)
            for pull in self._repository.pulls.values()
            if base_ref_name in (None, pull.into)
            and head_ref_name in (None, pull.branch)
            and (not labels or {label.name for label in pull.labels} & set(labels))
        ]

        def place(view: PullView) -> tuple[float, ...]:
            pull = self._repository.pulls[view.number]
            at = pull.updated_at if order["field"] == "UPDATED_AT" else pull.created_at
            return (sign * at.timestamp(), sign * view.number)

        return Connection([view for view in found if not states or view.state in states], key=place, **page)

    def label(self, name: str) -> LabelView | None:
        """A label by its name."""
        found = self._repository.labels.get(name.lower())
        return LabelView(self._scene, found) if found else None

    def labels(self, query: str | None = None, order_by: Any = None, **page: Any) -> Connection:
        """All labels."""
        return Connection([LabelView(self._scene, each) for _, each in sorted(self._repository.labels.items())], **page)

    def merge_queue(self, branch: str | None = None) -> dict[str, Any] | None:
        """The queue of a branch."""
        return queue(self._scene, branch or self._repository.default)

    def branch_protection_rules(self, **page: Any) -> Connection:
        """One per protected branch."""
        return Connection(
            [protection(self._repository, branch) for branch, rules in self._repository.rules.items() if rules.classic],
            **page,
        )

    def _classic(self, branch: str) -> bool:
        rules = self._repository.rules.get(branch)
        return rules is not None and rules.classic

    def _ref(self, name: str) -> dict[str, Any]:
        def pulls(states: list[str] | None = None, **page: Any) -> Connection:
            return self.pull_requests(states=states, head_ref_name=name, **page)

        def compare(head_ref: str) -> dict[str, Any]:
            return comparison(self._repository, f"refs/heads/{name}", head_ref)

        return {
            "__typename": "Ref",
            "id": f"REF_{self._repository.full_name}_{name}",
            "name": name,
            "prefix": "refs/heads/",
            "repository": self,
            "target": CommitView(self._scene, self._repository.bare.heads()[name]),
            "associatedPullRequests": pulls,
            "branchProtectionRule": protection(self._repository, name) if self._classic(name) else None,
            "compare": compare,
        }


def protection(repository: Repository, branch: str) -> dict[str, Any]:
    """The rules of a branch, as GraphQL shows them."""
    rules = repository.rules[branch]
    return {
        "id": f"BPR_{branch}",
        "pattern": branch,
        "allowsDeletions": False,
        "allowsForcePushes": False,
        "dismissesStaleReviews": rules.dismiss_stale,
        "isAdminEnforced": rules.admins_too,
        "requiredApprovingReviewCount": rules.reviews or None,
        "requiredStatusCheckContexts": list(rules.required),
        "requiresApprovingReviews": rules.reviews > 0,
        "requiresLinearHistory": rules.linear,
        "requiresStatusChecks": bool(rules.required),
        "requiresStrictStatusChecks": rules.strict,
    }


def comparison(repository: Repository, base: str, head: str) -> dict[str, Any]:
    """How far two branches are apart. `head` may be `owner:branch`."""
    name = head.rpartition(":")[2]
    tip = repository.bare.resolve(f"refs/heads/{name}") or repository.bare.resolve(name)
    if tip is None:
        raise Problem(f"Could not resolve to a ref with the name '{head}'.", type="NOT_FOUND")
    start = repository.bare.resolve(base)
    assert start is not None
    ahead, behind = len(repository.bare.between(start, tip)), len(repository.bare.between(tip, start))
    status = "IDENTICAL" if not ahead + behind else "DIVERGED" if ahead and behind else "AHEAD" if ahead else "BEHIND"
    return {"id": f"CMP_{start}_{tip}", "aheadBy": ahead, "behindBy": behind, "status": status}
