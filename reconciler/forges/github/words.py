"""Text that comes from tasks, made harmless before it is put on GitHub: there words do things. Pure."""

from __future__ import annotations

import re

from reconciler.landing.message import TITLE_MOST, of_landing
from reconciler.model.names import Sha, TaskId
from reconciler.planning.messages import clean

BODY_MOST = 20_000
# It would close issues, in whatever repository it names, once it is on the default branch.
_CLOSES = re.compile(
    r"\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(\s*:?\s+)(?=\S*(?:#\d|/issues/\d|GH-\d))", re.IGNORECASE
)
_MENTION = re.compile(r"(?<![\w`.+-])@(?=[A-Za-z0-9])")
_SKIPS_CI = re.compile(r"\[(\s*)(skip[ -]ci|ci[ -]skip|no[ -]ci|skip[ -]actions|actions[ -]skip)(\s*)\]", re.IGNORECASE)
_SKIP_TRAILER = re.compile(r"^(\s*)skip-checks\s*:", re.IGNORECASE | re.MULTILINE)
_HTML = re.compile(r"<(?=[A-Za-z/!?])")


def harmless(text: str) -> str:
    """Text in which nothing is a command: no issue is closed, nobody called, no check skipped, no HTML made.

    >>> harmless("Fixes #1 for @ann [skip ci] <img src=x>")
    'Fixes issue #1 for (at)ann (skip ci) &lt;img src=x>'
    """
    text = _CLOSES.sub(lambda found: f"{found[1]} issue ", clean(text))
    text = _MENTION.sub("(at)", text)
    text = _SKIPS_CI.sub(lambda found: f"({found[2]})", text)
    text = _SKIP_TRAILER.sub(r"\1skip checks:", text)
    return _HTML.sub("&lt;", text)


def title(text: str, task: TaskId) -> str:
    """The title of a pull request: one line."""
    line = " ".join(harmless(text).split()) or task
    return line if len(line) <= TITLE_MOST else f"{line[: TITLE_MOST - 1]}…"


def body(text: str) -> str:
    """The text of a pull request."""
    text = harmless(text).strip()
    return text if len(text) <= BODY_MOST else f"{text[:BODY_MOST]}…"


def message(subject: str, text: str, task: TaskId, head: Sha, number: int) -> tuple[str, str]:
    """Title and text of the commit that GitHub makes, the latter ending in our trailers."""
    first, _, rest = of_landing(title(subject, task), body(text), task, head).partition("\n")
    named = f" (#{number})"
    room = TITLE_MOST - len(named)  # the number is what GitHub's readers look for: a long title makes room for it
    return (first if len(first) <= room else f"{first[: room - 1]}…") + named, rest.strip("\n")
