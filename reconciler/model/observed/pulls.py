"""Pull requests and what would be merged, as the forge shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from reconciler.model.desired import MergeMethod
from reconciler.model.names import PrNumber, Sha, TaskId, task_of


class PullState(StrEnum):
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class CheckResult(StrEnum):
    """What one check on a forge says of a head. `void`: it ended without a verdict (cancelled, stale)."""

    PASSED = "passed"
    FAILED = "failed"
    PENDING = "pending"
    VOID = "void"


class ForgeCheck(Struct, frozen=True, kw_only=True):
    """A check that a forge ran on exactly one head. `name` is the one that rules call it by.

    `number` tells one run of it from the next. `workflow`: what the forge can run again; None where only others can.
    """

    name: str
    result: CheckResult
    url: str | None = None
    summary: str = ""
    number: int | None = None
    workflow: int | None = None
    app: int | None = None  # that reported it, where that is known


class Rerun(Struct, frozen=True, kw_only=True):
    """A head's checks were asked to run again. `after`: the runs of them that had ended and were not green: while they are
    the newest ones, nothing came of it. `times`: how often that was asked for.
    """

    at: datetime
    after: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()
    times: int = 1


class Standing(StrEnum):
    """How the branch here stands to the head that a forge shows. Elsewhere wins where both have gone on."""

    SAME = "same"
    AHEAD = "ahead"  # it holds commits that are to be pushed
    BEHIND = "behind"  # somebody pushed to it there


class Rejection(Struct, frozen=True, kw_only=True):
    """A person's 'no' to one head, in their words."""

    head: Sha
    text: str


class Comment(Struct, frozen=True, kw_only=True):
    """What somebody who may push, or a bot, wrote about a pull request. `id` is the forge's own."""

    id: str
    by: str  # a login
    text: str
    at: datetime
    bot: bool = False
    review: bool = True  # False: under the whole pull request
    ours: str | None = None  # the mark of the reviewer's verdict that we posted as this, under the user's login


class Thread(Struct, frozen=True, kw_only=True):
    """A conversation about a place in the code that nobody has resolved. `comments`: oldest first, at least one."""

    path: str
    line: int | None
    comments: tuple[Comment, ...]
    id: str = ""  # the forge's own


class QueueSpot(Struct, frozen=True, kw_only=True):
    """A place in the merge queue of a forge; the first is 1. `state`: in its words."""

    position: int
    state: str = ""


class Dequeued(Struct, frozen=True, kw_only=True):
    """The forge took it out of its merge queue, or a person did. `reason`: in its words."""

    at: datetime
    reason: str
    by_person: bool = False
    event: str = ""  # as the forge names it: two may be of one second

    @property
    def conflict(self) -> bool:
        """True where it did not merge after those before it."""
        return "conflict" in self.reason.lower()


class Judged(Struct, frozen=True):
    """What a verdict is about: the tree of a head, and where that head left its base."""

    tree: Sha
    start: Sha


class PullRequest(Struct, frozen=True, kw_only=True, gc=False):
    """The newest pull request of a task. `head` follows the branch while it is open."""

    number: PrNumber
    task: TaskId
    head: Sha
    state: PullState = PullState.OPEN
    approved: Sha | None = None  # the head that a person approved
    rejection: Rejection | None = None
    merge_now: Sha | None = None  # the head that a person wants merged, where that is left to people
    declined: bool = False  # closed by `reject --close` or by deleting the branch
    opened_head: Sha | None = None  # the head it was opened with
    opened_at: datetime | None = None
    closed_at: datetime | None = None  # None where only the missing branch says that it is closed
    url: str | None = None
    # What only a forge that is a program of others knows of it:
    checks: tuple[ForgeCheck, ...] | None = None  # None: that forge runs none
    seen_at: datetime | None = None  # since when it is known to have this head
    settled_at: datetime | None = None  # when the last of its checks ended
    unseen: str = ""  # why it may have checks that can't be read
    rerun: Rerun | None = None  # of this head's checks
    author: str = ""  # who opened it there
    threads: tuple[Thread, ...] = ()
    remarks: tuple[Comment, ...] = ()  # beside them: reviews that say neither yes nor no, and comments; oldest first
    # The forge reports a rule that is not met, all that are seen are, and merging was not asked for yet.
    doubted: bool = False
    here: Standing = Standing.SAME
    base: str | None = None  # where it goes; None: to its manifest's base, as always
    aside: str | None = None  # why it is not to be landed as it is: a draft, on its way to another base
    withheld: str | None = None  # what else the forge wants before it merges
    queue: QueueSpot | None = None  # where it stands in the forge's merge queue
    queued_times: int = 0  # how often we have put this head there
    removed: Dequeued | None = None  # since we last did
    lacks_base: bool = False  # the forge wants the base in it first
    red_beneath: frozenset[str] = frozenset()  # what fails where it left its base, which has gone on since
    landed: Sha | None = None  # the commit that it became, where it is merged
    left: Sha | None = None  # where its branch still stands on the forge, when it is open no more
    updated: tuple[Judged, ...] = ()  # what its head was before nothing but its base was merged into it, newest first
    posted: frozenset[str] | None = (
        None  # the marks of the verdicts of reviewers that stand there; None: none ever does
    )
    standing: frozenset[str] = frozenset()  # of those that still ask for something there
    dismissed: Mapping[str, str] = {}  # of those that a person dismissed there: who did

    @property
    def onto(self) -> TaskId | None:
        """The task onto whose branch it goes; None where it goes onto a base."""
        return task_of(self.base) if self.base else None


class Candidate(Struct, frozen=True, kw_only=True):
    """What the base becomes when `head` lands on `base`: a tree, and the paths in which it differs from the base.

    `own_changes`: head differs from the point where it left the base. With own changes and nothing `changed`, all that
    the branch did is on the base already. `is_head`: what lands is the head's own tree, as the base has nothing that it
    lacks; reported by forges that test heads. `submodules`: the paths among those changed where a commit of another
    repository stands, or stood; `scripts`: those that are a package.json and say other scripts.
    """

    base: Sha
    head: Sha
    tree: Sha
    changed: frozenset[str] = frozenset()
    submodules: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()
    own_changes: bool = True
    is_head: bool = True


class MergeStep(Struct, frozen=True):
    """One of several heads that land one after the other, and how: after a squash, a branch that grew out of it merges
    otherwise than after a merge."""

    head: Sha
    method: MergeMethod


class Conflict(Struct, frozen=True, kw_only=True):
    """`head` can't be merged into `base` by git alone. `detail`: why, where it is not a matter of paths.

    `against`: the newest commits of the base that changed these paths since they parted, each by its id and its subject.
    """

    base: Sha
    head: Sha
    paths: tuple[str, ...] = ()
    detail: str = ""
    against: tuple[str, ...] = ()
