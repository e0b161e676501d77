"""A pull request as GitHub shows it, and what of it belongs to us. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from reconciler.forges.github import answers, check_results
from reconciler.forges.github.marks import mark_in
from reconciler.model.errors import TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId, task_of
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
from reconciler.planning.messages import clean

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
WITHHELD = "withheld"  # what a node is given of which the login may not read something
# Of a comment under the whole, GitHub does not tell whether its author may push: of those who may, this is true.
_OF_THE_REPOSITORY = ("OWNER", "MEMBER", "COLLABORATOR")
_STATES = {"OPEN": PullState.OPEN, "CLOSED": PullState.CLOSED, "MERGED": PullState.MERGED}


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


def decoded(node: Mapping[str, Any], contexts: Sequence[Mapping[str, Any]] = ()) -> Pull | None:
    """The pull request in a node of an answer; None where its branch is none of ours, or that of a fork.

    `contexts`: further checks, of the pages that follow. Raises TemporaryError for what can't be one.
    """
    try:
        task = task_of(node["headRefName"])
        # A fork may call its branch as it likes, and one that was deleted says nothing of whose it was.
        if task is None or node["isCrossRepository"]:
            return None
        rollup = node.get("statusCheckRollup") or {}
        found = [*filter(None, (rollup.get("contexts") or {}).get("nodes") or ()), *contexts]
        # GitHub has been seen to show the checks of another commit.
        own: Sequence[Mapping[str, Any]] = (
            found if (rollup.get("commit") or {}).get("oid") == node["headRefOid"] else []
        )
        first, last = check_results.ends(own)
        opinions = _opinions((node.get("reviews") or {}).get("nodes") or (), login(node.get("author")))
        return Pull(
            number=PrNumber(int(node["number"])),
            task=task,
            url=node["url"],
            title=clean(node["title"]),
            body=clean(node["body"] or ""),
            state=_STATES[node["state"]],
            head=_sha(node["headRefOid"]),
            base=node["baseRefName"],
            author=login(node.get("author")),
            opened_at=_when(node["createdAt"]),
            closed_at=_when(node["closedAt"]) if node["closedAt"] else None,
            landed=_oid(node["mergeCommit"]) if node["state"] == "MERGED" else None,
            left=_oid((node["headRef"] or {}).get("target")),
            draft=node["isDraft"],
            merge_state=node["mergeStateStatus"],
            decision=node["reviewDecision"] or "",
            node=node["id"],
            queued=node["isInMergeQueue"],
            spot=_spot(node.get("mergeQueueEntry")),
            removed=_removed((node.get("removals") or {}).get("nodes") or ()),
            automatic=node["autoMergeRequest"] is not None,
            opinions=tuple(each for each in opinions if not each.ours),
            posted=tuple(each for each in opinions if each.ours),
            remarks=_remarks((node.get("remarks") or {}).get("nodes") or ()),
            unresolved=tuple(
                each["id"] for each in (node.get("reviewThreads") or {}).get("nodes") or () if not each["isResolved"]
            ),
            more_threads=bool(((node.get("reviewThreads") or {}).get("pageInfo") or {}).get("hasNextPage")),
            changed=(str(node.get("updatedAt")), int(node.get("totalCommentsCount") or 0)),
            bypasses=node.get("viewerCanMergeAsAdmin") is not False,
            checks=check_results.results(own),
            checked_at=first,
            settled_at=last,
            unseen=str(node.get(WITHHELD) or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TemporaryError(
            f"GitHub's answer about a pull request can't be read ({type(error).__name__}: {error})", delay=60.0
        ) from error


def _spot(entry: Mapping[str, Any] | None) -> QueueSpot | None:
    return QueueSpot(position=int(entry["position"]), state=str(entry["state"])) if entry else None


def _removed(events: Sequence[Mapping[str, Any]]) -> Dequeued | None:
    if not (events := [event for event in events if event]):
        return None
    last = events[-1]
    by_person = (last.get("actor") or {}).get("__typename") == "User"
    reason = " ".join(clean(str(last.get("reason") or "")).split()) or "it does not say why"
    return Dequeued(at=_when(last["createdAt"]), reason=reason, by_person=by_person, event=last["id"])


def _opinions(reviews: Sequence[Mapping[str, Any]], author: str) -> tuple[Opinion, ...]:
    last: dict[str, Opinion] = {}
    for each in reviews:
        by = login(each.get("author"))
        # Anybody at all may review what is public: what those say who could not push it themselves, decides nothing.
        if not each["authorCanPushToRepository"]:
            continue
        # What one says of one's own work is no review, and a comment takes nothing back.
        if by == author or each["state"] not in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            continue
        last[by] = Opinion(
            by=by,
            state=each["state"],
            head=_oid(each.get("commit")),
            at=_when(each["submittedAt"]),
            text=clean(each.get("body") or "").strip(),
            bot=_bot(each),
            mark=mark_in(each.get("body") or ""),
            mine=each["viewerDidAuthor"],
            node=each["id"],
        )
    return tuple(last.values())


def threads(nodes: Sequence[Mapping[str, Any]]) -> tuple[Thread, ...]:
    """The conversations that nobody has resolved, with what people who may push, and bots, wrote in them."""
    found = []
    for node in nodes:
        # A login is shown its own drafts too, which nobody has sent yet.
        sent = [each for each in node["comments"]["nodes"] if each and each["state"] != "PENDING"]
        listed = [_comment(each, each["createdAt"], each.get("pullRequestReview")) for each in sent]
        comments = tuple(filter(None, listed))
        if comments and not node["isResolved"]:
            line, path = node["line"] or node["originalLine"], " ".join(clean(node["path"]).splitlines())
            found.append(Thread(path=path, line=line, comments=comments, id=node["id"]))
    return tuple(found)


def comments(nodes: Sequence[Mapping[str, Any]]) -> tuple[Comment, ...]:
    """What people of the repository, and bots, wrote under the whole of a pull request, but for what somebody has hidden."""
    return tuple(
        Comment(
            id=each["id"],
            by=login(each.get("author")),
            text=clean(each["body"]),
            at=_when(each["createdAt"]),
            bot=_bot(each),
            review=False,
        )
        for each in nodes
        if each and not each["isMinimized"] and (_bot(each) or each["authorAssociation"] in _OF_THE_REPOSITORY)
    )


def _remarks(reviews: Sequence[Mapping[str, Any]]) -> tuple[Comment, ...]:
    found = (_comment(each, each["submittedAt"], each) for each in reviews if (each.get("body") or "").strip())
    return tuple(each for each in found if each and not each.ours)


def _comment(node: Mapping[str, Any], at: str, review: Mapping[str, Any] | None) -> Comment | None:
    """What somebody wrote; None where they are neither a bot nor somebody who may push."""
    bot = _bot(node)
    if not bot and not (review or {}).get("authorCanPushToRepository"):
        return None  # anybody at all may comment on what is public
    ours = mark_in(node["body"]) if node["viewerDidAuthor"] else None
    return Comment(
        id=node["id"], by=login(node.get("author")), text=clean(node["body"]), at=_when(at), bot=bot, ours=ours
    )


def _bot(node: Mapping[str, Any]) -> bool:
    return (node.get("author") or {}).get("__typename") == "Bot"


def login(author: Mapping[str, Any] | None) -> str:
    """Whose it is. An account that was deleted is GitHub's ghost."""
    return author["login"] if author else "ghost"


def _oid(commit: Mapping[str, Any] | None) -> Sha | None:
    return _sha(commit["oid"]) if commit and commit.get("oid") else None


def _sha(name: str) -> Sha:
    if not _SHA.fullmatch(name):
        raise ValueError(f"not the name of a commit: {name!r}")
    return Sha(name)


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)
