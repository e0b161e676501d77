"""What people and reviewers answered about a change: as plain values, and for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from reconciler.model.changes import Diff
from reconciler.model.desired import EPOCH
from reconciler.model.names import RunId
from reconciler.model.observed import Run
from reconciler.model.pull_records import PersonReview, PullRecord
from reconciler.model.verdicts import ReviewVerdict, ReviewWord
from reconciler.planning.reviews import why_it_failed
from reconciler.render.safe import block, line
from reconciler.render.table import Row, Rows
from reconciler.render.words import stamp

Document = dict[str, Any]
Diffs = Mapping[RunId, Diff]
"""What reviewers have read, as far as it is known."""

SHA_MAX = 12
_VERDICTS = {ReviewWord.APPROVE: "approved", ReviewWord.REQUEST_CHANGES: "rejected", ReviewWord.PERSON: "for a person"}


def listed(record: PullRecord, runs: Sequence[Run], diffs: Diffs) -> list[Document]:
    """What people and what agents answered to a pull request, oldest first: each says which of them it is.

    `runs`: the reviews of its task. One that came to nothing has no verdict, and says why.
    """
    people = [(each.at, _by_person(each)) for each in record.reviews]
    agents = [(_over_at(run), _by_agent(run, diffs.get(run.id))) for run in of_pull(record, runs)]
    return [review for _, review in sorted((*people, *agents), key=lambda each: each[0])]


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


def place(comment: Mapping[str, Any]) -> str:
    """Where a comment belongs, on one line; whoever looks there for it may do so in vain, and is told."""
    where = line(f"{comment['path']}:{comment['line']}" if comment["line"] else comment["path"])
    return f"{where} ({_ELSEWHERE[comment['inDiff']]})" if comment["inDiff"] is not True else where


_ELSEWHERE = {False: "outside the diff", None: "not looked up in the diff"}


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


def _by_person(review: PersonReview) -> Document:
    known = {
        "kind": "person",
        "verdict": str(review.verdict),
        "head": review.head,
        "by": review.by,
        "at": stamp(review.at),
    }
    return {**known, "text": review.text, "comments": [], "because": None}


def _by_agent(run: Run, diff: Diff | None) -> Document:
    answer = run.verdict if run.exit and run.exit.well else None
    return {
        "kind": "agent",
        "verdict": _VERDICTS[answer.verdict] if answer else None,
        "head": run.baseline,
        "by": f"{run.agent or 'reviewer'} ({run.id})",
        "at": stamp(_over_at(run)),
        "text": answer.summary if answer else "",
        "comments": _comments(answer, diff) if answer else [],
        "because": None if answer else why_it_failed(run),
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
    said = (review["verdict"] or "no verdict") + of
    cells = (review["at"][:19].replace("T", " "), review["kind"], line(review["by"]), said)
    placed = (f"{place(each)}: {each['body']}" for each in review["comments"])
    text = "\n".join(filter(None, (review["text"], *placed, review["because"])))
    return Row(cells=tuple(map(Text, cells)), note=Text(block(text)))
