"""A pull request as GitHub shows it, and what of it belongs to us. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from reconciler.forges.github import answers
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import (
    Comment,
    Dequeued,
    ForgeCheck,
    PullRequest,
    PullState,
    QueueSpot,
    Rejection,
    Standing,
    Thread,
)


class Opinion(Struct, frozen=True, kw_only=True):
    """The last word of one reviewer. `state`: APPROVED, CHANGES_REQUESTED or DISMISSED.

    `mark`: of the verdict of an agent that was posted as this, by whichever login; `mine`: by the one that asks now.
    `dismissed_by`: the login of the person who did, where it was no push that made it stale.
    """

    by: str
    state: str
    head: Sha | None
    at: datetime
    text: str = ""
    bot: bool = False
    mark: str | None = None
    mine: bool = False
    node: str = ""  # its id in GraphQL
    dismissed_by: str = ""

    @property
    def dismissed(self) -> bool:
        """True for one that counts no longer."""
        return self.state == "DISMISSED"

    @property
    def ours(self) -> bool:
        """True for what we posted. A person's no stays one, though somebody put a mark beneath it."""
        return self.mark is not None and (self.mine or self.state != "CHANGES_REQUESTED")


class Pull(Struct, frozen=True, kw_only=True):
    """A pull request of one of our branches. `checks`: of exactly this head; empty while GitHub shows none."""

    number: PrNumber
    task: TaskId
    url: str
    title: str
    body: str
    state: PullState
    head: Sha
    base: str
    author: str
    opened_at: datetime
    closed_at: datetime | None = None
    landed: Sha | None = None
    left: Sha | None = None
    draft: bool = False
    merge_state: str = ""
    decision: str = ""
    node: str = ""  # its id in GraphQL
    queued: bool = False
    spot: QueueSpot | None = None
    removed: Dequeued | None = None  # from the merge queue, the last time
    automatic: bool = False
    opinions: tuple[Opinion, ...] = ()  # of people and bots; what agents wrote in our name stands apart
    posted: tuple[Opinion, ...] = ()  # the yes and the no among what we posted
    remarks: tuple[Comment, ...] = ()  # reviews that say neither yes nor no
    unresolved: tuple[str, ...] = ()  # the ids of the threads that nobody has resolved
    changed: tuple[str, int] = ("", 0)  # when anything of it last did, and how many comments it has
    more_threads: bool = False  # than were listed
    threads: tuple[Thread, ...] = ()  # what was written in those, by people who may push and by bots
    comments: tuple[Comment, ...] = ()  # what they wrote under the whole of it
    unread: str = ""  # why what was written about it is not known
    bypasses: bool = True  # the login may merge it whatever the rules say
    checks: tuple[ForgeCheck, ...] = ()
    checked_at: datetime | None = None  # when the first of its checks ended
    settled_at: datetime | None = None  # and the last
    unseen: str = ""  # why there may be checks that the login can't read; empty where it reads all

    @property
    def open(self) -> bool:
        return self.state is PullState.OPEN

    @property
    def talked(self) -> bool:
        """True where there are review threads that nobody has resolved, or more of them than were listed."""
        return bool(self.unresolved) or self.more_threads

    @property
    def approved(self) -> Sha | None:
        """The head, where a person approved exactly that and nobody wants it changed."""
        found = {opinion.state for opinion in self.opinions if opinion.head == self.head and not opinion.bot}
        refused = any(opinion.state == "CHANGES_REQUESTED" for opinion in self.opinions)
        return self.head if "APPROVED" in found and not refused else None

    @property
    def rejection(self) -> Rejection | None:
        """What somebody wants changed of exactly this head."""
        wanted = ("CHANGES_REQUESTED", self.head)
        mine = [opinion for opinion in self.opinions if (opinion.state, opinion.head) == wanted]
        text = "; ".join(f"{opinion.by}: {opinion.text or 'see the comments in the code'}" for opinion in mine)
        return Rejection(head=self.head, text=text) if mine else None

    def _settled(self, thread: Thread) -> bool:
        """True where the one who began a thread approved exactly this head after their last word in it: it may stay open."""
        who = thread.comments[0].by
        last = max(comment.at for comment in thread.comments if comment.by == who)
        found = (
            each for each in self.opinions if each.by == who and each.state == "APPROVED" and each.head == self.head
        )
        return any(opinion.at >= last for opinion in found)

    def aside(self, bases: Sequence[str]) -> str | None:
        """Why it is not ours to land as it is."""
        if self.base not in bases:
            return f"is on its way to {self.base}, where somebody has put it"
        if self.draft:
            return "is a draft; mark it as ready for review to have it landed"
        if self.automatic:
            return "is to be merged by the forge itself, as somebody asked (auto-merge)"
        return None

    def withheld(self) -> str | None:
        """What GitHub wants, beside green checks, before it merges."""
        if self.unread:
            return f"what was written about it can't be read: {self.unread}"
        if self.decision == "REVIEW_REQUIRED":
            return "the rules of its base want an approving review there"
        if self.decision == "CHANGES_REQUESTED":
            return "somebody asked for changes there and has not looked again"
        if self.merge_state == "DIRTY":
            # Where git here finds it too, its agent has it fixed long before this is asked for.
            return "it finds a conflict that git here does not (a merge driver?): merge its base into it, and push"
        if self.merge_state == "BLOCKED":
            if self.unresolved:
                many = (
                    f"{len(self.unresolved)} review threads there are"
                    if len(self.unresolved) > 1
                    else "a review thread there is"
                )
                return f"a rule of its base is not met, and {many} not resolved"
            return "a rule of its base is not met (a code owner's review?)"
        return None

    @property
    def doubted(self) -> bool:
        """True where GitHub says that a rule is not met and shows none that is not: that may be stale, and only asking tells.

        Not by a login that rules do not bind: it would be let through.
        """
        open_to_see = (
            self.unresolved
            or self.more_threads
            or self.unread
            or self.decision in ("REVIEW_REQUIRED", "CHANGES_REQUESTED")
        )
        return self.merge_state == "BLOCKED" and not self.bypasses and not open_to_see

    def observed(self, bases: Sequence[str], since: datetime | None, here: Standing) -> PullRequest:
        """As the planner sees it."""
        return PullRequest(
            number=self.number,
            task=self.task,
            head=self.head,
            state=self.state,
            approved=self.approved,
            rejection=self.rejection,
            declined=self.state is PullState.CLOSED,
            opened_head=self.head,
            opened_at=self.opened_at,
            closed_at=self.closed_at,
            url=self.url,
            checks=self.checks,
            seen_at=since,
            settled_at=self.settled_at,
            unseen=f"{self.unseen}; {answers.READ_CHECKS}" if self.unseen else "",
            author=self.author,
            threads=tuple(each for each in self.threads if not self._settled(each)),
            remarks=tuple(sorted((*self.remarks, *self.comments), key=lambda each: each.at)),
            here=here if self.open else Standing.SAME,
            base=self.base,
            aside=self.aside(bases) if self.open else None,
            withheld=self.withheld() if self.open else None,
            queue=(self.spot or QueueSpot(position=1)) if self.queued and self.open else None,
            removed=self.removed if self.open else None,
            lacks_base=self.open and self.merge_state == "BEHIND",
            landed=self.landed,
            left=None if self.open else self.left,
        )
