"""The marks by which what we post about a reviewer's verdict is known again: as ours, and as that verdict's. Pure.

A login posts for all who use it: what a program says under it must never be taken for the word of the person whose it is.
"""

from __future__ import annotations

import re

# On a line of its own at the very end: what quotes one is somebody's answer.
_MARK = re.compile(r"(?:^|\n)<!-- reconcile-review ([0-9a-f]{16}) -->\s*\Z")


def marked(text: str, mark: str) -> str:
    """Text that is known again. Whatever stands in it, no mark does: `text` has been made harmless before.

    >>> mark_in(marked("Fine.", "0123456789abcdef")), mark_in("> Fine.\\n> <!-- reconcile-review 0123456789abcdef -->\\nNo.")
    ('0123456789abcdef', None)
    """
    return f"{text}\n\n<!-- reconcile-review {mark} -->"


def mark_in(text: str) -> str | None:
    """The mark of the verdict that was posted as this; None for what anybody else wrote."""
    found = _MARK.search(text.replace("\r\n", "\n"))
    return found[1] if found else None
