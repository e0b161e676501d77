"""What a reviewer answers: one JSON object, in a file, or as the last answer of a program that keeps to a schema. Read strictly, because its author may be anybody's fool.

What is no such object is no verdict. Its texts are as they were written: hostile, until what shows them makes them inert.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec
from msgspec import Struct

from reconciler.model.names import RunId
from reconciler.model.review_by_risk import RiskLevel
from reconciler.model.values import replace

SIZE_MAX = 64 << 10
COMMENTS_MAX = 200
QUOTED_MAX = 60


class ReviewWord(StrEnum):
    """What becomes of the change, as its reviewer sees it; the later, the less happens."""

    APPROVE = "approve"
    REQUEST_CHANGES = "request_changes"
    PERSON = "person"  # it is not for a reviewer to say


class LineComment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A remark about a place: a file as the diff names it, and a line of it after the change; None: the whole file."""

    path: str
    body: str
    line: int | None = None


class ReviewVerdict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reviewer's answer. `risk` None: it has nothing to add to what the rules say."""

    verdict: ReviewWord
    summary: str
    risk: RiskLevel | None = None
    comments: tuple[LineComment, ...] = ()


def mark_of(run: RunId, verdict: ReviewVerdict) -> str:
    """What names one verdict of one review wherever it is shown: sixteen hex digits."""
    return hashlib.sha256(msgspec.json.encode((str(run), verdict))).hexdigest()[:16]


# The same for programs that are given a schema of what they answer. Kept to what each of them understands.
SCHEMA = """\
{"type": "object", "additionalProperties": false, "required": ["verdict", "summary"], "properties": {
  "verdict": {"type": "string", "enum": ["approve", "request_changes", "person"]},
  "risk": {"type": "string", "enum": ["low", "normal", "high"]},
  "summary": {"type": "string"},
  "comments": {"type": "array", "items": {
    "type": "object", "additionalProperties": false, "required": ["path", "body"], "properties": {
      "path": {"type": "string"}, "line": {"type": "integer"}, "body": {"type": "string"}}}}}}"""

_DECODER = msgspec.json.Decoder(ReviewVerdict)


def decode(content: bytes) -> ReviewVerdict | str:
    """The verdict in a file; for anything else, or for more of it than a person would read, what is wrong with it: empty
    where there is nothing.

    >>> decode(b'{"verdict": "approve", "summary": "fine", "risk": "low", "comments": []}').verdict
    <ReviewWord.APPROVE: 'approve'>
    >>> decode(b'{"verdict": "approve"}'), decode(b'LGTM'), decode(b'')
    ('Object missing required field `summary`', "not JSON: 'LGTM'", '')
    >>> decode(b'x' * 70000)
    'more than 64 KiB'
    """
    if len(content) > SIZE_MAX:
        return f"more than {SIZE_MAX >> 10} KiB"
    try:
        found = _DECODER.decode(content)
    except msgspec.ValidationError as error:
        return str(error)[: 2 * QUOTED_MAX]
    except (msgspec.DecodeError, RecursionError):
        text = content.decode("utf-8", "replace").strip()
        return f"not JSON: '{text[:QUOTED_MAX]}{'…' * (len(text) > QUOTED_MAX)}'" if text else ""
    if not (found.summary.strip() or found.comments):
        return "it gives no reason"
    return f"more than {COMMENTS_MAX} comments" if len(found.comments) > COMMENTS_MAX else found


def sterner(filed: ReviewVerdict | str, answered: ReviewVerdict | str) -> ReviewVerdict | str:
    """One answer of a reviewer that has two ways to give it, each as `decode` has it: where it has used both, and they differ,
    the one that lets less happen, with the higher risk. One that can't be read makes none of both.

    >>> yes, no = (ReviewVerdict(verdict=word, summary="x") for word in (ReviewWord.APPROVE, ReviewWord.REQUEST_CHANGES))
    >>> sterner(yes, no) == sterner(no, yes) == no, sterner("", yes) == sterner(yes, "") == yes
    (True, True)
    >>> sterner(yes, replace(yes, risk=RiskLevel.HIGH)).risk, sterner("not JSON: 'x'", yes)
    (<RiskLevel.HIGH: 'high'>, "not JSON: 'x'")
    """
    if isinstance(filed, str) or isinstance(answered, str):
        unread = next((each for each in (filed, answered) if each and isinstance(each, str)), "")
        return unread or filed or answered
    words = list(ReviewWord)
    found = max((answered, filed), key=lambda each: words.index(each.verdict))
    return replace(found, risk=max((answered.risk, filed.risk), key=lambda risk: risk.rank if risk else -1))
