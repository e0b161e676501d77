"""What GraphQL shows of a pull request."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from github import merging
from github.paging import Connection
from github.records import Pull, Removal, Review
from github.rules import review_decision
from github.views import (
    Actor,
    CommentView,
    CommitView,
    LabelView,
    ReviewView,
    Rollup,
    Scene,
    ThreadView,
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
        self.total_comments_count = len(pull.comments) + sum(len(thread.comments) for thread in pull.threads)
        self.viewer_can_merge_as_admin = self._repository.permission == "ADMIN"
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
        return review_decision(self._pull, self._repository.rules_of(self._pull))

    @property
    def merged_by(self) -> Actor | None:
        """Who merged it."""
        return self._scene.actor(self._pull.merged_by) if self._pull.merged_by else None

    @property
    def merge_commit(self) -> CommitView | None:
        """What it became on the base."""
        return CommitView(self._scene, self._pull.merge_commit) if self._pull.merge_commit else None

    @property
    def potential_merge_commit(self) -> CommitView | None:
        """What merging it would make."""
        made = self._repository.test_merge(self._pull)
        return CommitView(self._scene, made) if made else None

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
        return self._repository.rules_of(self._pull).queue

    @property
    def is_in_merge_queue(self) -> bool:
        """It has a place there."""
        return self._pull.queue is not None

    @property
    def merge_queue(self) -> dict[str, Any] | None:
        """The queue of its base."""
        return queue(self._scene, self._pull.into)

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
    def head_ref(self) -> Any:
        """Its branch, while there is one."""
        return self.head_repository.ref(f"refs/heads/{self.head_ref_name}") if self.head_repository else None

    @property
    def base_ref(self) -> Any:
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

    def review_threads(self, **page: Any) -> Connection:
        """Oldest first."""
        return Connection([ThreadView(self._scene, self._pull, each) for each in self._pull.threads], **page)

    def latest_reviews(self, writers_only: bool = False, **page: Any) -> Connection:
        """The newest of everybody."""
        newest = {review.author: review for review in self._pull.reviews}
        return Connection([ReviewView(self._scene, self._pull, each) for each in newest.values()], **page)

    def latest_opinionated_reviews(self, writers_only: bool = False, **page: Any) -> Connection:
        """The newest of everybody who said yes or no; of those who may push only, where that is asked for."""
        said = (r for r in self._pull.reviews if r.state != "COMMENTED" and (r.can_push or not writers_only))
        newest = {review.author: review for review in said}
        return Connection([ReviewView(self._scene, self._pull, each) for each in newest.values()], **page)

    def timeline_items(self, item_types: list[str] | None = None, **page: Any) -> Connection:
        """What came of it in the merge queue, and of reviews that count no longer; each oldest first."""
        found: list[dict[str, Any]] = []
        if item_types is None or "REMOVED_FROM_MERGE_QUEUE_EVENT" in item_types:
            found += [_removal(self._scene, self._pull, each) for each in self._pull.removals]
        if item_types is None or "REVIEW_DISMISSED_EVENT" in item_types:
            found += [_dismissal(self._scene, self._pull, r) for r in self._pull.reviews if r.dismissed_by]
        return Connection(found, **page)

    @property
    def _start(self) -> str:
        """What its commits are counted from: its base, or what that was before it was merged."""
        merged = self._pull.merge_commit
        return f"{merged}^" if merged and self._repository.bare.resolve(f"{merged}^") else self._pull.tip

    @cached_property
    def _changes(self) -> list[tuple[str, int, int]]:
        return self._repository.bare.changes(self._start, self._pull.head)


def _removal(scene: Scene, pull: Pull, removal: Removal) -> dict[str, Any]:
    return {
        "__typename": "RemovedFromMergeQueueEvent",
        "id": f"RFMQE_{removal.number}",
        "createdAt": stamp(removal.at),
        "reason": removal.reason,
        "actor": scene.actor(removal.by),
        "enqueuer": scene.actor(removal.entry.by),
        "beforeCommit": CommitView(scene, removal.head),
        "mergeQueue": queue(scene, pull.into),
        "pullRequest": PullView(scene, pull),
    }


def _dismissal(scene: Scene, pull: Pull, review: Review) -> dict[str, Any]:
    commit = CommitView(scene, review.outdated_by) if review.outdated_by else None
    return {
        "__typename": "ReviewDismissedEvent",
        "id": f"RDE_{review.number}",
        "actor": scene.actor(review.dismissed_by),
        "pullRequestCommit": {"id": f"PRC_{review.number}", "commit": commit} if commit else None,
        "review": ReviewView(scene, pull, review),
    }


def queue(scene: Scene, branch: str) -> dict[str, Any] | None:
    """The merge queue of a branch; None where it has none."""
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
