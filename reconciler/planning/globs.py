"""Path globs, as manifests write them."""

from __future__ import annotations

import re
from functools import cache, lru_cache


@cache
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A path glob as a pattern for whole paths: `**` crosses folders, `*` and `?` do not.

    >>> bool(glob_pattern(".ci/**").fullmatch(".ci/a/run")), bool(glob_pattern("*.md").fullmatch("docs/x.md"))
    (True, False)
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)


@lru_cache(maxsize=65536)
def fits(path: str, globs: tuple[str, ...]) -> bool:
    """True where one of these globs is about this path. Remembered: the same paths are asked about at every look."""
    return any(glob_pattern(glob).fullmatch(path) for glob in globs)
