"""What GitHub remembers beside git: plain records, changed under the server's lock. Times are UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

State = Literal["OPEN", "CLOSED", "MERGED"]
Method = Literal["MERGE", "SQUASH", "REBASE"]
NOT_YOURS = "Resource not accessible by personal access token"


class Problem(Exception):
    """A refusal in one sentence, with a GraphQL type and an HTTP status. With `errors` REST says `title` and lists them."""

    def __init__(
        self,
        message: str,
        *,
        type: str = "UNPROCESSABLE",
        status: int = 422,
        title: str = "Validation Failed",
        errors: Sequence[object] = (),
        custom: bool = False,
    ) -> None:
        super().__init__(message)
        self.message, self.type, self.status, self.title = message, type, status, title
        own = [{"resource": "PullRequest", "code": "custom", "message": message}] if custom else []
        self.errors = [*errors, *own]


class Moved(Problem):
    """What was asked for is elsewhere: 301 for what only reads, 307 for what changes, as REST has it."""

    def __init__(self, path: str, *, changes: bool) -> None:
        said = "Temporary Redirect" if changes else "Moved Permanently"
        super().__init__(said, status=307 if changes else 301)
        self.path = path


@dataclass(kw_only=True)
class Account:
    """A person or a program with a login."""

    number: int
    login: str
    kind: Literal["User", "Bot", "Organization"] = "User"

    @property
    def email(self) -> str:
        """The address that GitHub puts into commits for those who show none."""
        return f"{self.number}+{self.login}@users.noreply.github.com"


@dataclass(kw_only=True)
class Label:
    """A label of a repository."""

    number: int
    name: str
    color: str = "ededed"
    description: str = ""


@dataclass(kw_only=True)
class Comment:
    """A comment on a pull request."""

    number: int
    author: str
    body: str
    created_at: datetime
    can_push: bool = True  # its author, to the repository
    pending: bool = False  # written, and not sent yet: only its author sees it
    hidden: bool = False  # by somebody who may, as settled or beside the point


@dataclass(kw_only=True)
class Review:
    """A review of one commit. `state`: APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED."""

    number: int
    author: str
    state: str
    commit: str
    body: str
    submitted_at: datetime
    can_push: bool = True  # its author, to the repository
    dismissed_by: str = ""  # by whom
    outdated_by: str = ""  # the commit whose push dismissed it


@dataclass(kw_only=True)
class Thread:
    """A conversation about a line of what a pull request changes."""

    number: int
    path: str
    line: int | None
    comments: list[Comment] = field(default_factory=list)
    resolved: bool = False
    outdated: bool = False


@dataclass(kw_only=True)
class CheckRun:
    """A check of GitHub's own kind. `status` QUEUED … COMPLETED, `conclusion` None until then, both upper case.

    `workflow_run`: the run of its workflow, the same when it runs again; None for the check of another app.
    """

    number: int
    workflow_run: int | None
    commit: str
    name: str
    status: str = "QUEUED"
    conclusion: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    workflow: str = "CI"
    event: str = "push"
    url: str = ""
    title: str = ""
    summary: str = ""


@dataclass(kw_only=True)
class Status:
    """A commit status, as other programs write them. `state`: EXPECTED, ERROR, FAILURE, PENDING, SUCCESS."""

    number: int
    commit: str
    context: str
    state: str
    created_at: datetime
    url: str = ""
    description: str = ""
    creator: str = ""


@dataclass(kw_only=True)
class Protection:
    """The rules of one branch. `required` names checks; `reviews` counts approvals; `methods` are lower case.

    A ruleset can be read by everybody; `classic` protection, GitHub's older kind, only in part.
    """

    classic: bool = False
    required: tuple[str, ...] = ()
    reviews: int = 0
    strict: bool = False
    linear: bool = False
    signed: bool = False
    queue: bool = False
    methods: tuple[str, ...] = ("merge", "squash", "rebase")
    padding: int = 0  # so many rules that say nothing to us stand before the others
    dismiss_stale: bool = False
    last_push: bool = False  # the newest push wants a yes of its own
    other: str = ""  # what a rule that nobody can see says against it
    conversations: bool = False  # all of them must be resolved
    admins_too: bool = True
    pushes: bool = False  # True: who may push may push straight to it, whatever the rules


@dataclass(kw_only=True)
class AutoMerge:
    """Merge it once the rules are met; `method` upper case."""

    by: str
    method: Method
    at: datetime
    title: str | None
    body: str | None


@dataclass(kw_only=True)
class QueueEntry:
    """A place in the merge queue. `state`: QUEUED, AWAITING_CHECKS, MERGEABLE, UNMERGEABLE, LOCKED."""

    by: str
    at: datetime
    state: str = "QUEUED"
    base: str = ""


@dataclass(kw_only=True)
class Removal:
    """It was taken out of the merge queue. `by`: a login; that of the queue itself where nobody did it."""

    number: int
    by: str
    at: datetime
    reason: str
    entry: QueueEntry
    head: str


@dataclass(kw_only=True)
class Order:
    """A merge that was asked for. `status`: pending, merged, enqueued, failed. `action`: default, direct_merge, merge_queue."""

    number: int
    by: str
    method: Method
    action: str
    expected: str | None
    title: str | None
    body: str | None
    uuid: str = ""
    status: str = "pending"
    said: str = ""
    landed: str | None = None
    reads: int = 0  # so many more of them say it is pending


@dataclass(kw_only=True)
class Pull:
    """A pull request. While it is open, `head` and `tip` (of the branch it goes into) follow what was last pushed.

    `base` is the tip at the time of its last own change: GitHub shows that one, and it does not follow the branch.
    """

    number: int
    author: str
    title: str
    body: str
    source: str | None  # the repository of the head; None once a fork is gone
    branch: str
    into: str
    head: str
    tip: str
    base: str
    created_at: datetime
    updated_at: datetime
    draft: bool = False
    state: State = "OPEN"
    labels: list[Label] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    merged_by: str | None = None
    merge_commit: str | None = None
    auto_merge: AutoMerge | None = None
    queue: QueueEntry | None = None
    removals: list[Removal] = field(default_factory=list)
    shown_commit: str | None = None  # a fault: the checks and the last commit shown are those of this one
    blocked_reads: int = 0  # a fault: so many more readings say BLOCKED, whatever the rules have to say
    says_open: int = 0  # a fault: so many more readings of a merged one say OPEN
