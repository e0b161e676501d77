"""Command lines in a manifest that are started outside a run: what they may be. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from itertools import pairwise

_SHELLS = re.compile(r"(ba|da|z|k|c|tc|fi)?sh|busybox")
_CODE = re.compile(r"-[A-Za-z]*[ce]")
_PLACES = re.compile(r"\{(message|subject)\}")


def wrong_command(argv: Sequence[str]) -> str:
    """What is wrong with a command that tells people something; empty where nothing is.

    It is started by the watch, with the watch's environment: a file of the repository is one that agents can change, and text
    of theirs in the code of a shell would be run.

    >>> wrong_command(["notify-send", "{message}"]), wrong_command(["sh", "-c", 'wall "$1"', "sh", "{message}"])
    ('', '')
    >>> wrong_command(["./tell.sh"])
    "run begins with './tell.sh', which agents could change; allowed: a program on the PATH, or an absolute path"
    """
    program = argv[0]
    if "/" in program and not program.startswith("/"):
        return f"run begins with {program!r}, which agents could change; allowed: a program on the PATH, or an absolute path"
    if _PLACES.search(program) or "${" in program:
        return f"run begins with {program!r}; allowed: a program on the PATH, or an absolute path"
    runs_code = any(map(_runs_code, argv))
    if any(_PLACES.search(code) and runs_code and _CODE.fullmatch(word) for word, code in pairwise(argv)):
        return (
            "run puts a message into the code of a shell, which would run it; "
            """allowed: as an argument, such as ["sh", "-c", "wall \\"$1\\"", "sh", "{message}"], or on standard input"""
        )
    if posixpath.basename(program) == "ssh" and any(map(_PLACES.search, argv)):
        return "run puts a message where the shell at the other end would run it; allowed: the message is on standard input"
    return ""


def _runs_code(program: str) -> bool:
    name = posixpath.basename(program)
    return bool(_SHELLS.fullmatch(name) or re.match(r"python|perl|ruby|node|php|lua", name))
