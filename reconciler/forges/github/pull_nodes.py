"""Nodes of GitHub's answers read as pull requests, and as what is written about them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reconciler.forges.github import check_results
from reconciler.forges.github.marks import mark_in
from reconciler.forges.github.pull import Opinion, Pull
from reconciler.model.errors import TemporaryError
from reconciler.model.names import PrNumber, Sha, is_sha, task_of
from reconciler.model.observed import Comment, Dequeued, PullState, QueueSpot, Thread
from reconciler.planning.messages import clean, one_line

WITHHELD = "withheld"  # what a node is given of which the login may not read something
# Of a comment under the whole, GitHub does not tell whether its author may push: of those who may, this is true.
_OF_THE_REPOSITORY = ("OWNER", "MEMBER", "COLLABORATOR")
_STATES = {"OPEN": PullState.OPEN, "CLOSED": PullState.CLOSED, "MERGED": PullState.MERGED}


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
        found = [*filter(None, _nodes(rollup, "contexts")), *contexts]
        # GitHub has been seen to show the checks of another commit.
        own: Sequence[Mapping[str, Any]] = (
            found if (rollup.get("commit") or {}).get("oid") == node["headRefOid"] else []
        )
        first, last = check_results.ends(own)
        opinions = _opinions(_nodes(node, "reviews"), login(node.get("author")))
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
            removed=_removed(_nodes(node, "removals")),
            automatic=node["autoMergeRequest"] is not None,
            opinions=tuple(each for each in opinions if not each.ours),
            posted=tuple(each for each in opinions if each.ours),
            remarks=_remarks(_nodes(node, "remarks")),
            unresolved=tuple(each["id"] for each in _nodes(node, "reviewThreads") if not each["isResolved"]),
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


def _nodes(node: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    return (node.get(name) or {}).get("nodes") or ()


def _spot(entry: Mapping[str, Any] | None) -> QueueSpot | None:
    return QueueSpot(position=int(entry["position"]), state=str(entry["state"])) if entry else None


def _removed(events: Sequence[Mapping[str, Any]]) -> Dequeued | None:
    if not (events := [event for event in events if event]):
        return None
    last = events[-1]
    by_person = (last.get("actor") or {}).get("__typename") == "User"
    reason = one_line(str(last.get("reason") or "")) or "it does not say why"
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
    if not is_sha(name):
        raise ValueError(f"not the name of a commit: {name!r}")
    return Sha(name)


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)
