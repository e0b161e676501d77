"""What one unquoted word of YAML means, where all programs that read YAML agree on it."""

from __future__ import annotations

import json
import re

import yaml
from msgspec import Struct

_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers

_SWITCHES = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_EMPTY = frozenset({"", "~", "null", "Null", "NULL"})
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
# What YAML 1.1, 1.2 and the programs that read them do not agree on, beyond what PyYAML itself takes for another type.
_YES_OR_NO = re.compile(r"y|n|yes|no|on|off", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(0[0-9]+|0o[0-7]+|(\.[0-9]+|[0-9]+(\.[0-9]*)?)(e[-+]?[0-9]+)?)", re.IGNORECASE)
_TAGS = {
    "int": "is a different number in YAML 1.1 and 1.2",
    "float": "is a different number in YAML 1.1 and 1.2",
    "timestamp": "is a date in YAML 1.1 and a string in YAML 1.2",
}
_UNWANTED_ASCII = re.compile("[^\t\n\r\x20-\x7e]")
# Control characters, lone surrogates, line ends that editors do not show, and what is no character.
_UNWANTED = "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]"


class Odd(Struct, frozen=True):
    """An unquoted scalar that means different things to different programs; `what` says which."""

    what: str
    switch: bool = False


_SWITCH = Odd("is a boolean in YAML 1.1 and a string in YAML 1.2", switch=True)


def quoted(text: str) -> str:
    """`text` in the form that every YAML reader takes for text.

    >>> quoted("no")
    '"no"'
    """
    return json.dumps(text, ensure_ascii=False)


def unwanted(text: str) -> str | None:
    """The first character that no manifest may hold; None where there is none.

    >>> unwanted("a\\tb"), unwanted("a\\x1b[31m")
    (None, '\\x1b')
    """
    # Compiling the larger one takes milliseconds of every command, and few texts need it.
    found = _UNWANTED_ASCII.search(text) if text.isascii() else re.search(_UNWANTED, text)
    return found[0] if found else None


def plain(text: str) -> str | int | float | bool | Odd | None:
    """What an unquoted scalar means, or why that is not known.

    >>> plain("4"), plain("true"), plain("main"), plain("no").what
    (4, True, 'main', 'is a boolean in YAML 1.1 and a string in YAML 1.2')
    """
    if text in _EMPTY:
        return None
    if text in _SWITCHES:
        return _SWITCHES[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _YES_OR_NO.fullmatch(text):
        return _SWITCH
    if _NUMBER.fullmatch(text):
        return Odd(_TAGS["int"])
    for tag, pattern in _RESOLVERS.get(text[0], []):
        if pattern.match(text):
            return Odd(_TAGS.get(tag.rpartition(":")[2], "has a special meaning in YAML"))
    return text
