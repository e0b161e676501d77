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
_ATTRIBUTES_MAX = 1024 * 1024


def missing(git: Git, read: Callable[[], Iterable[bytes]]) -> str | None:
    """Why files with the attributes that are `read` can't be worked with, and what fixes it; None where they can.

    Only filters that are `required` count: without one of the others files are as good, only less convenient.
    """
    own = {name for name, settings in _set(git.config()).items() if settings.get("required", "").lower() in _TRUE}
    if not own:
        return None
    texts = [*read()]
    with suppress(OSError), regular(git.repository.common / "info" / "attributes") as file:
        texts.append(file.read(_ATTRIBUTES_MAX))
    used = [name for name in own if any(_names(text, name) for text in texts)]
    known = _set(git.users(r"^filter\.")) if used else {}
    name = next((name for name in sorted(used) if name not in known), None)
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


def _set(config: Config) -> dict[str, dict[str, str]]:
    """The settings of the filters in a config that files are written through, by their names."""
    found: dict[str, dict[str, str]] = {}
    for key, value in config:
        if setting := _SETTING.fullmatch(key):
            found.setdefault(setting["name"], {})[setting["what"]] = "true" if value is None else value
    return {name: settings for name, settings in found.items() if settings.keys() & {"smudge", "process"}}


def _names(attributes: bytes, name: str) -> bool:
    return re.search(rb"(?m)^[^#\n]*\sfilter=" + re.escape(name.encode()) + rb"(?:\s|$)", attributes) is not None
