"""Filters that files are written and stored through: what of the repository's own config we can't run, and what files need of it.

An agent can write to that config, and so no command of ours runs a program that is named there. Files that only such a
filter makes readable would stand in a worktree as they are stored, and be stored once more as that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from reconciler.git.commands import Git
from reconciler.git.control_dir import Config
from reconciler.system.files import regular

_SETTING = re.compile(r"filter\.(?P<name>.+)\.(?P<what>clean|smudge|process|required)", re.DOTALL)
_USERS = r"^filter\."
FIX_IT = "fix what it runs, or its settings (git config --global --get-regexp ^filter)"
_TRUE = ("true", "yes", "on", "1")
_LFS = "lfs"
_WORD = re.compile(r"[\w./+-]+")
_ATTRIBUTES_MAX = 1024 * 1024


def missing(git: Git, read: Callable[[], Iterable[bytes]], of: str) -> str | None:
    """Why files with the attributes that are `read` can't be worked with, and what fixes it; None where they can. `of`: what
    they are called that hold them.

    Only filters that are `required` count: without one of the others files are as good, only less convenient.
    """
    own, known = _required(_written(_set(git.config()))), _set(git.users(_USERS))
    lacking = {name: why for name, setting in _required(known).items() if (why := _lacking(git, name, setting))}
    if not own and not lacking:
        return None
    used = _used(git, {*own, *lacking}, read)
    if name := next((name for name in used if name in lacking), None):
        return f"files of {of} go through the filter {name}, {lacking[name]}"
    name = next((name for name in used if name not in _written(known)), None)
    if name is None:
        return None
    return (
        f"files of {of} go through the filter {name}, which only the repository's own config sets; agents can write there, and no "
        f"command of ours runs it; {fix(name)}"
    )


def tried(git: Git, read: Callable[[], Iterable[bytes]]) -> dict[str, dict[str, str]]:
    """The filters, by their names with their settings, that files can't do without and that the user has set up: they may be run
    to see whether they work."""
    known = {name: settings for name, settings in _required(_set(git.users(_USERS))).items() if name != _LFS}
    return {name: known[name] for name in _used(git, known, read)} if known else {}


def _used(git: Git, names: Iterable[str], read: Callable[[], Iterable[bytes]]) -> list[str]:
    """Those of these filters that attributes name, in order."""
    texts = [*read()]
    with suppress(OSError), regular(git.repository.common / "info" / "attributes") as file:
        texts.append(file.read(_ATTRIBUTES_MAX))
    return sorted(name for name in names if any(_names(text, name) for text in texts))


def fix(name: str) -> str:
    """What has our commands run a filter."""
    if name == _LFS:
        return "git lfs install (without --local)"
    # What it runs is not quoted as something to be typed: an agent may have written it.
    return f"if it is yours: git config --global filter.{name}.smudge COMMAND (and clean, required)"


def _required(filters: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {name: settings for name, settings in filters.items() if settings.get("required", "").lower() in _TRUE}


def _lacking(git: Git, name: str, settings: dict[str, str]) -> str | None:
    """What a filter lacks without which git neither writes nor stores a file of it, and what fixes that; None where it is whole."""
    ways = ["process"] if settings.get("process") else ["smudge", "clean"]
    for way in ways:
        if not settings.get(way):
            return f"which is required and has no {way} command; git config --global filter.{name}.{way} COMMAND"
        word = settings[way].split(maxsplit=1)[0]
        # What is no plain name is a shell's matter.
        if _WORD.fullmatch(word) and not git.finds(word):
            return f"and {word} is not on the PATH here; install it, or start reconcile where it is found"
    return None


def _set(config: Config) -> dict[str, dict[str, str]]:
    """The settings of the filters in a config, by their names."""
    found: dict[str, dict[str, str]] = {}
    for key, value in config:
        if setting := _SETTING.fullmatch(key):
            found.setdefault(setting["name"], {})[setting["what"]] = "true" if value is None else value
    return found


def _written(filters: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Those that files are written through."""
    return {name: settings for name, settings in filters.items() if settings.keys() & {"smudge", "process"}}


def _names(attributes: bytes, name: str) -> bool:
    return re.search(rb"(?m)^[^#\n]*\sfilter=" + re.escape(name.encode()) + rb"(?:\s|$)", attributes) is not None
