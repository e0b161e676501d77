"""What people and reviewers answered about a change: as plain values, and for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from reconciler.model.changes import Diff
from reconciler.model.desired import EPOCH
from reconciler.model.names import RunId
from reconciler.model.observed import PullRequest, Run
from reconciler.model.pull_records import PersonReview, PullRecord
from reconciler.model.verdicts import ReviewVerdict, ReviewWord
from reconciler.planning.review_standing import why_not, why_not_a_persons
from reconciler.planning.reviews import Reviewing, ended_well, why_it_failed
from reconciler.render.safe import block, line
from reconciler.render.table import Row, Rows
from reconciler.render.words import stamp, wall

Document = dict[str, Any]
Diffs = Mapping[RunId, Diff]
"""What reviewers have read, as far as it is known."""

SHA_MAX = 12
VERDICTS = {ReviewWord.APPROVE: "approved", ReviewWord.REQUEST_CHANGES: "rejected", ReviewWord.PERSON: "for a person"}


def listed(
    record: PullRecord, runs: Sequence[Run], diffs: Diffs, seen: PullRequest, offer: Reviewing | None
) -> list[Document]:
    """What people and what agents answered to a pull request, oldest first: each says which of them it is, whether it counts for
    what is offered now, and why not.

    `runs`: the reviews of its task; `seen`: as it stands now; `offer`: None where it is not open, or no manifest holds its task.
    """
    people = [(each.at, _by_person(each, record, seen)) for each in record.reviews]
    agents = [(_over_at(run), _by_agent(run, diffs.get(run.id), offer)) for run in of_pull(record, runs)]
    return [review for _, review in sorted((*people, *agents), key=lambda each: each[0])]


def as_it_landed(pull: Mapping[str, Any], task: str, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A pull request's document, with its risk and whose yes it had when it was merged, for as long as that event is kept.

    `events`: those of its task, oldest first.
    """
    if pull["state"] != "merged":
        return dict(pull)
    judged = [(event.get("evidence") or {}).get("judged") or {} for event in events if "error" not in event]
    kept = [found for each in judged if (found := each.get(task)) and found["head"] == pull["head"]]
    if not kept:
        return dict(pull)
    review = "approved" if kept[-1]["approvedBy"] else pull["review"]
    return {**pull, "risk": kept[-1]["risk"], "approvedBy": kept[-1]["approvedBy"], "review": review}


def of_pull(record: PullRecord, runs: Sequence[Run]) -> list[Run]:
    """Those of the reviews of its task that are over and about a pull request: made while it was open, or of its very head."""
    return [run for run in runs if run.started_at and not run.alive and _was_of(run, run.started_at, record)]


def verdict(answer: ReviewVerdict | None, diff: Diff | None) -> Document | None:
    """A verdict as JSON has it. `inDiff` of a comment: whether the change that was read shows its place; null: nobody knows."""
    if answer is None:
        return None
    return {
        "verdict": str(answer.verdict),
        "summary": answer.summary,
        "risk": str(answer.risk) if answer.risk else None,
        "comments": _comments(answer, diff),
    }


def stands(run: Run, offer: Reviewing | None) -> Document:
    """Whether a review counts for what is offered, null where nobody can tell; and why not, or why it came to nothing."""
    if run.alive or not run.started:
        return {"counts": None, "because": None}
    failed = None if run.verdict and ended_well(run) else why_it_failed(run)
    why = why_not(offer, run) if offer else failed
    return {"counts": None if offer is None and not failed else why is None, "because": why}


def place(comment: Mapping[str, Any]) -> str:
    """Where a comment belongs, on one line; whoever looks there for it may do so in vain, and reads so."""
    where = line(f"{comment['path']}:{comment['line']}" if comment["line"] else comment["path"])
    return f"{where} ({_ELSEWHERE[comment['inDiff']]})" if comment["inDiff"] is not True else where


_ELSEWHERE = {False: "outside the diff", None: "not looked up in the diff"}


def because(review: Mapping[str, Any]) -> str:
    """Why a review does not count, on a line of its own; empty where it does, or nobody can tell."""
    why = line(review["because"] or "")
    return f"does not count: {why}" if why and review["verdict"] else why


def rows(document: Document) -> Iterator[RenderableType]:
    """The reviews of a pull request for a terminal; nothing where there is none."""
    if document["reviews"]:
        yield Text("\nReviews", "bold")
        yield Rows(rows=[_row(each, document["head"]) for each in document["reviews"]], yields=1)


def _was_of(run: Run, began: datetime, record: PullRecord) -> bool:
    until = record.closed_at
    return (began >= record.opened_at or run.baseline == record.head) and (until is None or began <= until)


def _over_at(run: Run) -> datetime:
    # One whose supervisor was killed left no record of its end: it was there until then at least.
    return run.exit.at if run.exit else run.last_progress_at or run.started_at or EPOCH


def _by_person(review: PersonReview, record: PullRecord, seen: PullRequest) -> Document:
    why = why_not_a_persons(seen, review, record.reviews) if record.open else None
    known = {
        "kind": "person",
        "verdict": str(review.verdict),
        "head": review.head,
        "by": review.by,
        "at": stamp(review.at),
    }
    return {
        **known,
        "text": review.text,
        "comments": [],
        "counts": why is None if record.open else None,
        "because": why,
    }


def _by_agent(run: Run, diff: Diff | None, offer: Reviewing | None) -> Document:
    answer = run.verdict if ended_well(run) else None
    return {
        "kind": "agent",
        "verdict": VERDICTS[answer.verdict] if answer else None,
        "head": run.baseline,
        "by": f"{run.agent or 'reviewer'} ({run.id})",
        "at": stamp(_over_at(run)),
        "text": answer.summary if answer else "",
        "comments": _comments(answer, diff) if answer else [],
        **stands(run, offer),
    }


def _comments(answer: ReviewVerdict, diff: Diff | None) -> list[Document]:
    return [
        {
            "path": each.path,
            "line": each.line,
            "body": each.body,
            "inDiff": None if diff is None else diff.knows(each.path, each.line),
        }
        for each in answer.comments
    ]


def _row(review: Document, head: str) -> Row:
    of = "" if review["head"] == head else f" an older head, {(review['head'] or '')[:SHA_MAX]}"
    holds = ", and still counts" if of and review["counts"] else ""
    verdict = (review["verdict"] or "no verdict") + of + holds
    cells = (wall(review["at"]), review["kind"], line(review["by"]), verdict)
    placed = (f"{place(each)}: {each['body']}" for each in review["comments"])
    text = "\n".join(filter(None, (review["text"], *placed, because(review))))
    return Row(cells=tuple(map(Text, cells)), note=Text(block(text)))
