"""Text that may go to a terminal: what tasks, branches, agents and logs say can show itself there and do nothing else.

Nothing in it moves the cursor, breaks a line, turns the writing direction or hides: such characters are shown the way
Python writes them (`\\x1b`, `\\u202e`). Zero-width joiners, which emoji and some scripts need, are left out instead.
"""

from __future__ import annotations

import json
import re
from typing import Any

LINE_MAX = 400
ENDING_MAX = 120
BLOCK_MAX = 20_000

_JOINERS = "\u200c\u200d"
_WORTH_A_LOOK = re.compile(r"[^\x20-\x7e\n]")


def line(text: str, most: int = LINE_MAX) -> str:
    """The text as one line of at most `most` characters; line ends, tabs and runs of blanks become one blank.

    Of a sentence that is too long the middle goes: what is wrong stands at its beginning, what to do at its end.

    >>> line("a\\x1b[31mb\\n\\tc\\u202ed")
    'a\\\\x1b[31mb c\\\\u202ed'
    """
    shown = _in_a_row(text[: 2 * most])
    if len(shown) <= most and len(text) <= 2 * most:
        return shown
    ending = _in_a_row(text[-ENDING_MAX:])[-ENDING_MAX:] if most >= LINE_MAX else ""
    return f"{shown[: most - 1 - len(ending)]}…{ending}"


def block(text: str, most: int = BLOCK_MAX) -> str:
    """The text with its lines; tabs become four blanks. What is more than `most` characters is left out, with a note.

    >>> block("a\\r\\n\\tb\\x07")
    'a\\n    b\\\\x07'
    """
    lines = text[:most].replace("\r\n", "\n").expandtabs(4).split("\n")
    shown = "\n".join("".join(map(_shown, one)) for one in lines)
    return f"{shown}\n… {len(text) - most} more characters" if len(text) > most else shown


def json_text(document: Any) -> str:
    """The document as JSON for people and programs: the same values, with every unprintable character escaped.

    >>> json_text("é\\u202e\\U000e0041")
    '"é\\\\u202e\\\\udb40\\\\udc41"'
    """
    return _WORTH_A_LOOK.sub(_json_escape, json.dumps(document, ensure_ascii=False, indent=2))


def json_line(document: Any) -> str:
    """The same on one line, for what comes bit by bit."""
    return _WORTH_A_LOOK.sub(_json_escape, json.dumps(document, ensure_ascii=False))


def _in_a_row(text: str) -> str:
    return "".join(map(_shown, " ".join(text.split())))


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    if letter in _JOINERS:
        return ""
    if letter.isspace() and letter > "\xa0":
        return " "  # the blanks of other scripts; U+2028 and U+2029 too, which some programs take for line ends
    return _escape(letter)


def _escape(letter: str) -> str:
    code = ord(letter)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _json_escape(found: re.Match[str]) -> str:
    letter = found[0]
    # JSON has no escape for what lies beyond U+FFFF but the two halves of UTF-16.
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]
