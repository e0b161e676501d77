"""A reviewer's verdict in the words in which it stands on GitHub. Pure.

Its texts are a stranger's: nothing in them is a command there, to GitHub or to a bot that reads along.
"""

from __future__ import annotations

import re
from typing import Any

from reconciler.forges.github.marks import marked
from reconciler.forges.github.words import harmless
from reconciler.model.ports import VerdictPost
from reconciler.model.verdicts import LineComment, ReviewWord

SUMMARY_MAX, COMMENT_MAX, BODY_MAX = 10_000, 4000, 40_000
STATUS_MAX = 140
STATUS = "reconcile/review"
_SLASH = re.compile(r"^(\s*(?:[>*+-]\s+)*)/(?=\w)", re.MULTILINE)
_WORDS = {
    ReviewWord.APPROVE: "approves this",
    ReviewWord.REQUEST_CHANGES: "asks for changes",
    ReviewWord.PERSON: "leaves this to a person",
}
_EVENTS = {ReviewWord.APPROVE: "APPROVE", ReviewWord.REQUEST_CHANGES: "REQUEST_CHANGES"}
_STATES = {ReviewWord.APPROVE: "success", ReviewWord.REQUEST_CHANGES: "failure", ReviewWord.PERSON: "pending"}


def event(post: VerdictPost) -> str:
    """What the review is to count as: a yes only where an agent's is enough."""
    if post.verdict.verdict is ReviewWord.APPROVE and not post.enough:
        return "COMMENT"
    return _EVENTS.get(post.verdict.verdict, "COMMENT")


def review(post: VerdictPost, event: str, *, placed: bool) -> dict[str, Any]:
    """The review as the REST API takes it. `placed` False: all comments stand in its text, none at its line."""
    at_lines = post.placed if placed else ()
    beside = tuple(each for each in post.verdict.comments if each not in at_lines)
    comments = [
        {
            "path": each.path,
            "line": each.line,
            "side": "RIGHT",
            "body": marked(_text(each.body, COMMENT_MAX), post.mark),
        }
        for each in at_lines
    ]
    return {
        "commit_id": post.head,
        "event": event,
        "body": marked(_body(post, beside), post.mark),
        "comments": comments,
    }


def status(post: VerdictPost) -> dict[str, str]:
    """The same as a commit status, which has room for a line."""
    line = " ".join(_text(f"{_WORDS[post.verdict.verdict]}: {post.verdict.summary}", STATUS_MAX).split())
    return {"context": STATUS, "state": _STATES[post.verdict.verdict], "description": line}


def _body(post: VerdictPost, beside: tuple[LineComment, ...]) -> str:
    head = f"**A reviewer ({_inline(post.by)}) {_WORDS[post.verdict.verdict]}.** It is an agent, run by reconcile."
    notes = (
        f"`{_inline(each.path)}{f':{each.line}' if each.line else ''}`{' (outside the diff)' if each in post.outside else ''}\n{_text(each.body, COMMENT_MAX)}"
        for each in beside
    )
    text = "\n\n".join(filter(None, (head, _text(post.verdict.summary, SUMMARY_MAX), *notes)))
    return text if len(text) <= BODY_MAX else f"{text[:BODY_MAX]} …"


def _text(text: str, most: int) -> str:
    """Harmless text of bounded length. A line that begins with a slash is a command to some bots: the sign is written out."""
    text = _SLASH.sub(r"\1&#47;", harmless(text)).strip()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _inline(text: str) -> str:
    return " ".join(harmless(text).replace("`", "'").split())
