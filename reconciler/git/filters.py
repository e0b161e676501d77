"""Filters that files are written and stored through: what of the repository's own config we can't run, and what files need of it.

An agent can write to that config, and so no command of ours runs a program that is named there. Files that only such a
filter makes readable would stand in a worktree as they are stored, and be stored once more as that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from reconciler.git.commands import Config, Git
from reconciler.system.files import regular

_SETTING = re.compile(r"filter\.(?P<name>.+)\.(?P<what>clean|smudge|process|required)", re.DOTALL)
_TRUE = ("true", "yes", "on", "1")
_LFS = "lfs"
_WORD = re.compile(r"[\w./+-]+")
_ATTRIBUTES_MAX = 1024 * 1024


def missing(git: Git, read: Callable[[], Iterable[bytes]]) -> str | None:
    """Why files with the attributes that are `read` can't be worked with, and what fixes it; None where they can.

    Only filters that are `required` count: without one of the others files are as good, only less convenient.
    """
    own, known = _required(_set(git.config())), _set(git.users(r"^filter\."))
    gone = {name: program for name, setting in _required(known).items() if (program := _gone(git, setting))}
    if not own and not gone:
        return None
    texts = [*read()]
    with suppress(OSError), regular(git.repository.common / "info" / "attributes") as file:
        texts.append(file.read(_ATTRIBUTES_MAX))
    used = sorted(name for name in {*own, *gone} if any(_names(text, name) for text in texts))
    if name := next((name for name in used if name in gone), None):
        what = f"files of it go through the filter {name}, and {gone[name]} is not on the PATH here"
        return f"{what}; install it, or start reconcile where it is found"
    name = next((name for name in used if name not in known), None)
    if name is None:
        return None
    return (
        f"files of it go through the filter {name}, which only the repository's own config sets; agents can write there, and no "
        f"command of ours runs it; {fix(name)}"
    )


def fix(name: str) -> str:
    """What has our commands run a filter."""
    if name == _LFS:
        return "git lfs install (without --local)"
    # What it runs is not quoted as something to be typed: an agent may have written it.
    return f"if it is yours: git config --global filter.{name}.smudge COMMAND (and clean, required)"


def _required(filters: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {name: settings for name, settings in filters.items() if settings.get("required", "").lower() in _TRUE}


def _gone(git: Git, settings: dict[str, str]) -> str | None:
    """The program of a filter, where there is none by that name; None also for what is no plain name."""
    word = (settings.get("process") or settings["smudge"]).split(maxsplit=1)[:1]
    return word[0] if word and _WORD.fullmatch(word[0]) and not git.finds(word[0]) else None


def _set(config: Config) -> dict[str, dict[str, str]]:
    """The settings of the filters in a config that files are written through, by their names."""
    found: dict[str, dict[str, str]] = {}
    for key, value in config:
        if setting := _SETTING.fullmatch(key):
            found.setdefault(setting["name"], {})[setting["what"]] = "true" if value is None else value
    return {name: settings for name, settings in found.items() if settings.keys() & {"smudge", "process"}}


def _names(attributes: bytes, name: str) -> bool:
    return re.search(rb"(?m)^[^#\n]*\sfilter=" + re.escape(name.encode()) + rb"(?:\s|$)", attributes) is not None
