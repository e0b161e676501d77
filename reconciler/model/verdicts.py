"""What a reviewer answers: one JSON object in a file. Read strictly, because whoever wrote it may be anybody's fool.

What is no such object is no verdict. Its texts are as they were written: hostile, until whoever shows them makes them inert.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import Struct

from reconciler.model.desired import RiskLevel

SIZE_MAX = 64 << 10
COMMENTS_MAX = 200


class ReviewWord(StrEnum):
    """What becomes of the change, as its reviewer sees it."""

    APPROVE = "approve"
    REQUEST_CHANGES = "request_changes"
    PERSON = "person"  # it is not for a reviewer to say


class LineComment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said about a place: a file as the diff names it, and a line of it after the change; None: the whole file."""

    path: str
    body: str
    line: int | None = None


class ReviewVerdict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reviewer's answer. `risk` None: it has nothing to add to what the rules say."""

    verdict: ReviewWord
    summary: str
    risk: RiskLevel | None = None
    comments: tuple[LineComment, ...] = ()


_DECODER = msgspec.json.Decoder(ReviewVerdict)


def decode(content: bytes) -> ReviewVerdict | None:
    """The verdict in a file; None for anything else, or for more of it than a person would read.

    >>> decode(b'{"verdict": "approve", "summary": "fine", "risk": "low", "comments": []}').verdict
    <ReviewWord.APPROVE: 'approve'>
    >>> decode(b'{"verdict": "approve"}'), decode(b'{"verdict": "yes", "summary": ""}'), decode(b'[1'), decode(b'x' * 70000)
    (None, None, None, None)
    """
    if len(content) > SIZE_MAX:
        return None
    try:
        found = _DECODER.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None
    asks_without_saying_what = found.verdict is ReviewWord.REQUEST_CHANGES and not (
        found.summary.strip() or found.comments
    )
    return None if asks_without_saying_what or len(found.comments) > COMMENTS_MAX else found
