"""What GraphQL shows of a pull request and of what belongs to it. A field `headRefOid` is the attribute `head_ref_oid`.

A view is made for one request and reads everything when it is asked for; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from graphql import GraphQLError

from github import bare
from github.paging import Connection, Contexts
from github.records import NOT_YOURS, Account, CheckRun, Comment, Label, Problem, Pull, Review, Status, Thread
from github.repository import Repository
from github.rules import Report, passed

REACTIONS = ("THUMBS_UP", "THUMBS_DOWN", "LAUGH", "HOORAY", "CONFUSED", "HEART", "ROCKET", "EYES")


@dataclass(frozen=True)
class Scene:
    """Who asks, and under which address the answers stand. `show` makes the view of a repository."""

    repository: Repository
    me: str
    url: str  # of the web site, e.g. https://github.com
    show: Callable[[Scene], Any]

    def actor(self, login: str) -> Actor:
        """An account, as GraphQL shows it."""
        return Actor(self, self.repository.site.account(login))

    def of(self, name: str | None) -> Any:
        """The view of a repository, this one or another; None where there is none."""
        found = self.repository.site.find(name) if name else None
        return self.show(replace(self, repository=found)) if found else None


def stamp(at: datetime | None) -> str | None:
    """A time as GitHub writes it."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Actor:
    """A user, bot or organization."""

    def __init__(self, scene: Scene, account: Account) -> None:
        self.graphql_type = account.kind
        self.id, self.database_id, self.login = f"U_{account.login}", account.number, account.login
        self.name = None if account.kind == "Bot" else account.login
        self.email = ""
        self.resource_path = f"/{account.login}"
        self.url = f"{scene.url}/{account.login}"
        self.avatar_url = f"{self.url}.png"

    def projects_v2(self, **page: Any) -> Connection:
        """None here."""
        return none(page)

    def teams(self, **page: Any) -> Connection:
        """None here."""
        return none(page)


class LabelView:
    """A label."""

    graphql_type = "Label"

    def __init__(self, scene: Scene, label: Label) -> None:
        self.id, self.name, self.color, self.description = (
            f"LA_{label.number}",
            label.name,
            label.color,
            label.description,
        )
        self.is_default = False
        self.url = f"{scene.url}/{scene.repository.full_name}/labels/{label.name}"


class CommentView:
    """A comment."""

    graphql_type = "IssueComment"
    includes_created_edit = False
    minimized_reason = None

    def __init__(self, scene: Scene, pull: Pull, comment: Comment) -> None:
        self.id, self.body, self.author = f"IC_{comment.number}", comment.body, scene.actor(comment.author)
        self.created_at = self.updated_at = stamp(comment.created_at)
        self.url = f"{scene.url}/{scene.repository.full_name}/pull/{pull.number}#issuecomment-{comment.number}"
        self.viewer_did_author = comment.author == scene.me
        self.author_association = "MEMBER" if comment.can_push else "NONE"
        self.is_minimized = comment.hidden
        self.reaction_groups = no_reactions()


class ReviewView:
    """A review."""

    graphql_type = "PullRequestReview"
    author_association = "MEMBER"

    def __init__(self, scene: Scene, pull: Pull, review: Review) -> None:
        self.id, self.body, self.author = f"PRR_{review.number}", review.body, scene.actor(review.author)
        self.state, self.submitted_at = review.state, stamp(review.submitted_at)
        self.created_at = self.submitted_at
        self.author_can_push_to_repository = review.can_push
        self.viewer_did_author = review.author == scene.me
        self.commit = CommitView(scene, review.commit)
        self.url = f"{scene.url}/{scene.repository.full_name}/pull/{pull.number}#pullrequestreview-{review.number}"
        self.reaction_groups = no_reactions()


class ThreadView:
    """A conversation about a line."""

    graphql_type = "PullRequestReviewThread"

    def __init__(self, scene: Scene, pull: Pull, thread: Thread) -> None:
        self._scene, self._pull, self._thread = scene, pull, thread
        self.id, self.path, self.line, self.original_line = (
            f"PRRT_{thread.number}", thread.path, None if thread.outdated else thread.line, thread.line
        )  # fmt: skip
        self.is_resolved, self.is_outdated = thread.resolved, thread.outdated

    def comments(self, **page: Any) -> Connection:
        """Oldest first."""
        made = [ThreadCommentView(self._scene, self._pull, self._thread, each) for each in self._thread.comments]
        return Connection(made, **page)


class ThreadCommentView:
    """What somebody said in it. Its review is made up from the comment itself."""

    graphql_type = "PullRequestReviewComment"
    author_association = "MEMBER"

    def __init__(self, scene: Scene, pull: Pull, thread: Thread, comment: Comment) -> None:
        self.id, self.body, self.author = f"PRRC_{comment.number}", comment.body, scene.actor(comment.author)
        self.created_at, self.path, self.line = stamp(comment.created_at), thread.path, thread.line
        self.state = "PENDING" if comment.pending else "SUBMITTED"
        self.viewer_did_author = comment.author == scene.me
        self.url = f"{scene.url}/{scene.repository.full_name}/pull/{pull.number}#discussion_r{comment.number}"
        review = Review(
            number=comment.number, author=comment.author, state="COMMENTED", commit=pull.head, body="",
            submitted_at=comment.created_at, can_push=comment.can_push,
        )  # fmt: skip
        self.pull_request_review = ReviewView(scene, pull, review)


class CheckRunView:
    """A check run; its suite and workflow are made up from the run itself."""

    graphql_type = "CheckRun"

    def __init__(self, scene: Scene, run: CheckRun) -> None:
        self._scene, self._run = scene, run
        self.id, self.database_id, self.name = f"CR_{run.number}", run.number, run.name
        self.status, self.conclusion = run.status, run.conclusion
        self.started_at, self.completed_at = stamp(run.started_at), stamp(run.completed_at)
        self.details_url = self.url = run.url
        self.title, self.summary, self.text = run.title or None, run.summary or None, None

    def is_required(self, pull_request_number: int | None = None, pull_request_id: str | None = None) -> bool:
        """True when the rules of that pull request's base name it."""
        return _required(self._scene.repository, self.name, pull_request_number, pull_request_id)

    @cached_property
    def check_suite(self) -> dict[str, Any]:
        """Where it ran."""
        run = self._run
        workflow = {"id": f"W_{run.workflow}", "databaseId": 1, "name": run.workflow}
        return {
            "id": f"CS_{run.number}",
            "databaseId": run.number,
            "app": {"id": "A_1", "databaseId": 15368, "name": "GitHub Actions", "slug": "github-actions"},
            "commit": CommitView(self._scene, run.commit),
            "conclusion": run.conclusion,
            "status": run.status,
            "createdAt": self.started_at or stamp(self._scene.repository.site.now()),
            "workflowRun": run.workflow_run and {
                "id": f"WR_{run.workflow_run}", "databaseId": run.workflow_run, "event": run.event, "runNumber": 1, "url": run.url,
                "workflow": workflow,
            },
        }  # fmt: skip


class StatusView:
    """A commit status."""

    graphql_type = "StatusContext"

    def __init__(self, scene: Scene, status: Status) -> None:
        self._scene = scene
        self.id, self.context, self.state = f"SC_{status.number}", status.context, status.state
        self.created_at, self.description = stamp(status.created_at), status.description or None
        self.target_url, self.creator = status.url or None, scene.actor(status.creator)
        self.commit = CommitView(scene, status.commit)

    def is_required(self, pull_request_number: int | None = None, pull_request_id: str | None = None) -> bool:
        """True when the rules of that pull request's base name it."""
        return _required(self._scene.repository, self.context, pull_request_number, pull_request_id)


class Rollup:
    """All checks of one commit."""

    graphql_type = "StatusCheckRollup"

    def __init__(self, scene: Scene, sha: str, reports: list[Report]) -> None:
        self._scene = scene
        self.id, self.commit = f"SCR_{sha}", CommitView(scene, sha)
        self._items = reports
        self._views = [
            CheckRunView(scene, item) if isinstance(item, CheckRun) else StatusView(scene, item) for item in self._items
        ]

    @property
    def state(self) -> str:
        """FAILURE before PENDING before SUCCESS."""
        results = {passed(item) for item in self._items}
        return "FAILURE" if False in results else "PENDING" if None in results else "SUCCESS"

    def contexts(self, **page: Any) -> Contexts:
        """Check runs and statuses; an error in place of each that is not to be read."""
        found = Contexts(self._views, **page)
        found.nodes = [self._legible(node) for node in found.nodes]
        return found

    def _legible(self, node: CheckRunView | StatusView) -> CheckRunView | StatusView | GraphQLError:
        kind = "checks" if isinstance(node, CheckRunView) else "statuses"
        if kind not in self._scene.repository.hidden:
            return node
        return GraphQLError(NOT_YOURS, extensions={"type": "FORBIDDEN"})


class CommitView:
    """A commit, read from git."""

    graphql_type = "Commit"

    def __init__(self, scene: Scene, sha: str) -> None:
        self._scene, self.oid, self.id = scene, sha, f"C_{sha}"
        self.url = f"{scene.url}/{scene.repository.full_name}/commit/{sha}"

    @property
    def repository(self) -> Any:
        """Where it is."""
        return self._scene.of(self._scene.repository.full_name)

    @cached_property
    def _commit(self) -> bare.Commit:
        return self._scene.repository.bare.commit(self.oid)

    @property
    def message(self) -> str:
        """All of it."""
        return self._commit.message

    @property
    def message_headline(self) -> str:
        """Its first line."""
        return self._commit.headline

    @property
    def message_body(self) -> str:
        """The rest."""
        return self._commit.body

    @property
    def authored_date(self) -> str:
        """With a zone."""
        return self._commit.authored

    @property
    def committed_date(self) -> str:
        """With a zone."""
        return self._commit.committed

    @property
    def author(self) -> dict[str, Any]:
        """Name, address and account."""
        return self._actor(self._commit.author, self._commit.authored)

    @property
    def committer(self) -> dict[str, Any]:
        """Name, address and account."""
        return self._actor(self._commit.committer, self._commit.committed)

    def authors(self, **page: Any) -> Connection:
        """The author alone: trailers are not read."""
        return Connection([self.author], **page)

    def parents(self, **page: Any) -> Connection:
        """In git's order."""
        return Connection([CommitView(self._scene, sha) for sha in self._commit.parents], **page)

    @property
    def tree(self) -> dict[str, Any]:
        """What it holds, by name alone."""
        return {
            "__typename": "Tree",
            "id": f"T_{self._commit.tree}",
            "oid": self._commit.tree,
            "repository": self.repository,
        }

    @property
    def status(self) -> dict[str, Any] | None:
        """The commit statuses without the check runs."""
        rollup = self.status_check_rollup
        statuses = [view for view in rollup.contexts().nodes if isinstance(view, StatusView)] if rollup else []
        if not rollup or not statuses:
            return None
        return {"id": rollup.id, "commit": self, "state": rollup.state, "contexts": statuses}

    @cached_property
    def status_check_rollup(self) -> Rollup | None:
        """None where nothing was reported."""
        reports = self._scene.repository.shown(self.oid)
        return Rollup(self._scene, self.oid, reports) if reports else None

    def _actor(self, person: bare.Person, date: str) -> dict[str, Any]:
        known = self._scene.repository.site.account_of(person.email)
        user = self._scene.actor(known) if known else None
        return {"date": date, "email": person.email, "name": person.name, "user": user}


def _required(repository: Repository, name: str, number: int | None, node_id: str | None) -> bool:
    if node_id is not None:
        number = int(node_id.rpartition("_")[2])
    if number not in repository.pulls:
        raise Problem("Either a pull request ID or number is required.", type="MISSING_ARGUMENTS")
    return name in repository.rules_of(repository.pulls[number]).required


def none(page: dict[str, Any]) -> Connection:
    known = {name: page[name] for name in ("first", "last", "after", "before") if name in page}
    return Connection([], **known)


def no_reactions() -> list[dict[str, Any]]:
    return [{"content": name, "users": {"totalCount": 0}} for name in REACTIONS]
