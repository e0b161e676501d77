"""What GraphQL shows of a repository and of its pull requests; the rest is in `views.py`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from github import merging
from github.paging import Connection
from github.records import Problem, Pull
from github.repository import Repository
from github.views import (
    Actor,
    CommentView,
    CommitView,
    LabelView,
    ReviewView,
    Rollup,
    Scene,
    no_reactions,
    none,
    stamp,
)


class PullView:
    """A pull request at this moment."""

    graphql_type = "PullRequest"
    closing_issues_references = assignees = assigned_actors = project_cards = project_items = review_requests = (
        projects_v2
    ) = staticmethod(lambda **page: none(page))
    milestone = None
    locked = False
    maintainer_can_modify = viewer_can_update = True

    def __init__(self, scene: Scene, pull: Pull) -> None:
        self._scene, self._repository, self._pull = scene, scene.repository, pull
        self.number, self.title, self.body = pull.number, pull.title, pull.body
        self.body_text, self.is_draft = pull.body, pull.draft
        self.id, self.database_id, self.full_database_id = (
            f"PR_{self._repository.full_name}_{pull.number}",
            pull.number,
            str(pull.number),
        )
        self.resource_path = f"/{self._repository.full_name}/pull/{pull.number}"
        self.url = self.permalink = scene.url + self.resource_path
        self.created_at, self.updated_at = stamp(pull.created_at), stamp(pull.updated_at)
        self.closed_at, self.merged_at = stamp(pull.closed_at), stamp(pull.merged_at)
        self.base_ref_name, self.base_ref_oid = pull.into, pull.base
        self.head_ref_name, self.head_ref_oid = pull.branch, pull.head
        self.is_cross_repository = pull.source != self._repository.full_name
        self.viewer_did_author = pull.author == scene.me
        self.total_comments_count = len(pull.comments)
        self.reaction_groups = no_reactions()

    # --- where it stands -----------------------------------------------------------------------------------

    @cached_property
    def state(self) -> str:
        """OPEN, CLOSED or MERGED; a merged one may go on saying OPEN for a while."""
        if self._pull.state == "MERGED" and self._pull.says_open > 0:
            self._pull.says_open -= 1
            return "OPEN"
        return self._pull.state

    @property
    def closed(self) -> bool:
        """Closed or merged."""
        return self.state != "OPEN"

    @property
    def merged(self) -> bool:
        """Merged."""
        return self.state == "MERGED"

    @cached_property
    def mergeable(self) -> str:
        """Read once per request, as the answer may change with each reading."""
        return self._repository.mergeable(self._pull)

    @property
    def merge_state_status(self) -> str:
        """Fits `mergeable`."""
        return merging.merge_state(self._repository, self._pull, self.mergeable)

    @property
    def review_decision(self) -> str | None:
        """None where no reviews are required."""
        return merging.review_decision(self._repository, self._pull)

    @property
    def merged_by(self) -> Actor | None:
        """Who merged it."""
        return self._scene.actor(self._pull.merged_by) if self._pull.merged_by else None

    @property
    def merge_commit(self) -> CommitView | None:
        """What it became on the base."""
        return CommitView(self._scene, self._pull.merge_commit) if self._pull.merge_commit else None

    @property
    def potential_merge_commit(self) -> None:
        """GitHub's test merge is not made here."""
        return None

    @property
    def auto_merge_request(self) -> dict[str, Any] | None:
        """Set while it is to be merged by itself."""
        auto = self._pull.auto_merge
        if auto is None:
            return None
        return {
            "authorEmail": None,
            "commitBody": auto.body,
            "commitHeadline": auto.title,
            "enabledAt": stamp(auto.at),
            "enabledBy": self._scene.actor(auto.by),
            "mergeMethod": auto.method,
        }

    @property
    def is_merge_queue_enabled(self) -> bool:
        """The base is merged into through a queue."""
        return merging.rules_of(self._repository, self._pull).queue

    @property
    def is_in_merge_queue(self) -> bool:
        """It has a place there."""
        return self._pull.queue is not None

    @property
    def merge_queue(self) -> dict[str, Any] | None:
        """The queue of its base."""
        return _queue(self._scene, self._pull.into)

    @property
    def merge_queue_entry(self) -> dict[str, Any] | None:
        """Its place there."""
        return entry(self._scene, self._pull)

    # --- what it is made of --------------------------------------------------------------------------------

    @property
    def author(self) -> Actor:
        """Who opened it."""
        return self._scene.actor(self._pull.author)

    @property
    def repository(self) -> Any:
        """Where it is."""
        return self._scene.of(self._repository.full_name)

    base_repository = repository

    @property
    def head_repository(self) -> Any:
        """Where its branch is; None once that fork is gone."""
        return self._scene.of(self._pull.source)

    @property
    def head_repository_owner(self) -> Actor | None:
        """Whose that is."""
        return self.head_repository.owner if self.head_repository else None

    @property
    def head_ref(self) -> dict[str, Any] | None:
        """Its branch, while there is one."""
        return self.head_repository.ref(f"refs/heads/{self.head_ref_name}") if self.head_repository else None

    @property
    def base_ref(self) -> dict[str, Any] | None:
        """The branch it goes into, while there is one."""
        return self.repository.ref(f"refs/heads/{self.base_ref_name}")

    @property
    def status_check_rollup(self) -> Rollup | None:
        """Of its head, unless a fault shows those of another commit."""
        return CommitView(self._scene, self._pull.shown_commit or self._pull.head).status_check_rollup

    def commits(self, **page: Any) -> Connection:
        """In the order of their authors' dates, which need not end with the head."""
        shas = self._repository.bare.between(self._start, self._pull.head)
        if self._pull.shown_commit:
            shas = [sha for sha in shas if sha != self._pull.shown_commit] + [self._pull.shown_commit]
        made = [{"id": f"PRC_{sha}", "commit": CommitView(self._scene, sha)} for sha in shas]
        return Connection(made, **page)

    def files(self, **page: Any) -> Connection:
        """What it changes."""
        return Connection(
            [
                {"path": path, "additions": added, "deletions": deleted, "changeType": "MODIFIED"}
                for path, added, deleted in self._changes
            ],
            **page,
        )

    @property
    def changed_files(self) -> int:
        """How many files."""
        return len(self._changes)

    @property
    def additions(self) -> int:
        """Lines."""
        return sum(added for _, added, _ in self._changes)

    @property
    def deletions(self) -> int:
        """Lines."""
        return sum(deleted for _, _, deleted in self._changes)

    def labels(self, order_by: object = None, **page: Any) -> Connection:
        """Its labels."""
        return Connection([LabelView(self._scene, label) for label in self._pull.labels], **page)

    def comments(self, order_by: object = None, **page: Any) -> Connection:
        """Oldest first."""
        return Connection([CommentView(self._scene, self._pull, each) for each in self._pull.comments], **page)

    def reviews(self, author: str | None = None, states: list[str] | None = None, **page: Any) -> Connection:
        """Oldest first."""
        found = [
            each
            for each in self._pull.reviews
            if author in (None, each.author) and (not states or each.state in states)
        ]
        return Connection([ReviewView(self._scene, self._pull, each) for each in found], **page)

    def latest_reviews(self, writers_only: bool = False, **page: Any) -> Connection:
        """The newest of everybody."""
        newest = {review.author: review for review in self._pull.reviews}
        return Connection([ReviewView(self._scene, self._pull, each) for each in newest.values()], **page)

    def latest_opinionated_reviews(self, writers_only: bool = False, **page: Any) -> Connection:
        """The newest of everybody who said yes or no."""
        newest = {review.author: review for review in self._pull.reviews if review.state != "COMMENTED"}
        return Connection([ReviewView(self._scene, self._pull, each) for each in newest.values()], **page)

    @property
    def _start(self) -> str:
        """What its commits are counted from: its base, or what that was before it was merged."""
        merged = self._pull.merge_commit
        return f"{merged}^" if merged and self._repository.bare.resolve(f"{merged}^") else self._pull.base

    @cached_property
    def _changes(self) -> list[tuple[str, int, int]]:
        return self._repository.bare.changes(self._start, self._pull.head)


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
        self.issue_templates: list[object] = []
        self.pull_request_templates: list[object] = []

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
        self, ref_prefix: str, query: str | None = None, order_by: object = None, direction: object = None, **page: Any
    ) -> Connection:
        """Branches in the order of their names."""
        below = ref_prefix.removeprefix("refs/heads/")
        names = [
            name for name in sorted(self._repository.bare.heads()) if name.startswith(below) and (query or "") in name
        ]
        return Connection([self._ref(name) for name in names], **page)

    def object(self, oid: str | None = None, expression: str | None = None) -> CommitView | None:
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

    def labels(self, query: str | None = None, order_by: object = None, **page: Any) -> Connection:
        """All labels."""
        return Connection([LabelView(self._scene, each) for _, each in sorted(self._repository.labels.items())], **page)

    def merge_queue(self, branch: str | None = None) -> dict[str, Any] | None:
        """The queue of a branch."""
        return _queue(self._scene, branch or self._repository.default)

    def branch_protection_rules(self, **page: Any) -> Connection:
        """One per protected branch."""
        return Connection([protection(self._repository, branch) for branch in self._repository.rules], **page)

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
            "branchProtectionRule": protection(self._repository, name) if name in self._repository.rules else None,
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


def _queue(scene: Scene, branch: str) -> dict[str, Any] | None:
    rules = scene.repository.rules.get(branch)
    if rules is None or not rules.queue:
        return None
    pulls = [pull for pull in scene.repository.opened() if pull.into == branch and pull.queue]

    def entries(**page: Any) -> Connection:
        return Connection([entry(scene, pull) for pull in pulls], **page)

    return {"id": f"MQ_{branch}", "url": f"{scene.url}/{scene.repository.full_name}/queue/{branch}", "entries": entries}


def entry(scene: Scene, pull: Pull) -> dict[str, Any] | None:
    """The place of a pull request in its queue."""
    if pull.queue is None:
        return None
    ahead = [
        each
        for each in scene.repository.opened()
        if each.into == pull.into and each.queue and each.queue.at <= pull.queue.at
    ]
    return {
        "id": f"MQE_{pull.number}",
        "state": pull.queue.state,
        "position": len(ahead),
        "jump": False,
        "solo": False,
        "enqueuedAt": stamp(pull.queue.at),
        "enqueuer": scene.actor(pull.queue.by),
        "baseCommit": CommitView(scene, pull.queue.base),
        "headCommit": None,
        "pullRequest": PullView(scene, pull),
    }
