"""Path globs, as manifests write them."""

from __future__ import annotations

import re
from functools import cache, lru_cache


@cache
def glob_pattern(glob: str, *, exact: bool = False) -> re.Pattern[str]:
    """A path glob as a pattern for whole paths: `**` crosses folders, `*` and `?` do not.

    Without case, unless `exact`: where file systems don't tell `.Claude` from `.claude`, they are one folder.

    >>> bool(glob_pattern(".ci/**").fullmatch(".ci/a/run")), bool(glob_pattern("*.md").fullmatch("docs/x.md"))
    (True, False)
    >>> bool(glob_pattern(".ci/**").fullmatch(".CI/run")), bool(glob_pattern(".ci/**", exact=True).fullmatch(".CI/run"))
    (True, False)
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(meaning.get(part, re.escape(part)) for part in parts),
        re.DOTALL if exact else re.DOTALL | re.IGNORECASE,
    )


@lru_cache(maxsize=65536)
def fits(path: str, globs: tuple[str, ...], *, exact: bool = False) -> bool:
    """True where one of these globs is about this path, without case unless `exact`. Remembered: the same paths are
    asked about at every look."""
    return any(glob_pattern(glob, exact=exact).fullmatch(path) for glob in globs)
