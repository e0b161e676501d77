"""Text that comes from tasks, made harmless before it is put on GitHub: there words do things. Pure."""

from __future__ import annotations

import re

from reconciler.landing.message import TITLE_MAX, inert, of_landing
from reconciler.model.names import Sha, TaskId

BODY_MAX = 20_000
_HTML = re.compile(r"<(?=[A-Za-z/!?])")


def harmless(text: str) -> str:
    """Text in which nothing is a command: no issue is closed, nobody called, no check skipped, no HTML made.

    >>> harmless("Fixes #1 for @ann [skip ci] <img src=x>")
    'Fixes issue #1 for (at)ann (skip ci) &lt;img src=x>'
    """
    return _HTML.sub("&lt;", inert(text))


def title(text: str, task: TaskId) -> str:
    """The title of a pull request: one line."""
    line = " ".join(harmless(text).split()) or task
    return line if len(line) <= TITLE_MAX else f"{line[: TITLE_MAX - 1]}…"


def body(text: str) -> str:
    """The text of a pull request."""
    text = harmless(text).strip()
    return text if len(text) <= BODY_MAX else f"{text[:BODY_MAX]}…"


def message(subject: str, text: str, task: TaskId, head: Sha, number: int) -> tuple[str, str]:
    """Title and text of the commit that GitHub makes, the latter ending in our trailers. A commit holds no HTML: there
    the brackets around an address stay."""
    first, _, rest = of_landing(inert(subject), inert(text), task, head).partition("\n")
    named = f" (#{number})"
    room = TITLE_MAX - len(named)  # the number is what GitHub's readers look for: a long title makes room for it
    return (first if len(first) <= room else f"{first[: room - 1]}…") + named, rest.strip("\n")
