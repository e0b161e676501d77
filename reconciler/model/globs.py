"""Path globs, as manifests and labels write them.

Anybody's label may hold one, and anybody's commit a path: so the time that a comparison takes grows with their lengths, and
with nothing else. A regular expression would try every way to share a path out among the stars of a glob.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

_PARTS = re.compile(r"(\*\*/|\*\*|\*|\?)")
# Letters that some file systems, and regular expressions, take for an i.
_ODD = {"\u0130": "i", "\u0131": "i"}


class Glob:
    """A path glob: `**` crosses folders, `*` and `?` do not."""

    def __init__(self, glob: str, *, exact: bool) -> None:
        self._exact = exact
        self._parts = tuple(part for part in _PARTS.split(glob if exact else _folded(glob)) if part)

    def fullmatch(self, path: str) -> bool:
        """True where it is about this path, from its first to its last character."""
        where = _places(path, exact=self._exact)
        at = 1  # a bit for each place in the path that what was read of the glob may end before
        for part in self._parts:
            if part == "?":
                at = (at & where.inside) << 1
            elif part == "*":
                at |= ((at & where.inside) + where.inside) ^ where.inside  # the sum carries each to the end of its name
            elif part == "**/":
                at |= (where.all & -(at & -at) & where.slashes) << 1
            elif part == "**":
                at = where.all & -(at & -at)
            else:
                for character in part:
                    at = (at & where.of.get(character, 0)) << 1
            if not at:
                return False
        return bool(at >> len(path))


@cache
def glob_pattern(glob: str, *, exact: bool = False) -> Glob:
    """A path glob, to compare whole paths with.

    Without case, unless `exact`: where file systems don't tell `.Claude` from `.claude`, they are one folder.

    >>> glob_pattern(".ci/**").fullmatch(".ci/a/run"), glob_pattern("*.md").fullmatch("docs/x.md")
    (True, False)
    >>> glob_pattern(".ci/**").fullmatch(".CI/run"), glob_pattern(".ci/**", exact=True).fullmatch(".CI/run")
    (True, False)
    """
    return Glob(glob, exact=exact)


@lru_cache(maxsize=65536)
def fits(path: str, globs: tuple[str, ...], *, exact: bool = False) -> bool:
    """True where one of these globs is about this path, without case unless `exact`. Remembered: the same paths are
    asked about at every look."""
    return any(glob_pattern(glob, exact=exact).fullmatch(path) for glob in globs)


@cache
def with_folders(globs: tuple[str, ...]) -> tuple[str, ...]:
    """These globs, and the folders that they lead through by name: a link that stands in place of one brings whatever is at its
    other end.

    >>> with_folders(("**/.claude/**", "a/b*/c/x", ".mcp.json"))
    ('**/.claude/**', '**/.claude', 'a/b*/c/x', 'a', 'a/b*/c', '.mcp.json')
    """
    return tuple(each for glob in globs for each in (glob, *_folders(glob)))


def _folders(glob: str) -> list[str]:
    parts = glob.split("/")
    named = (n for n in range(1, len(parts)) if parts[n - 1].strip(".") and not set("*?") & set(parts[n - 1]))
    return ["/".join(parts[:n]) for n in named]


class _Places(NamedTuple):
    """The places in a path, as bits: each character's, those of slashes and of no slashes, and all with the one after it."""

    of: dict[str, int]
    slashes: int
    inside: int
    all: int


@lru_cache(maxsize=4096)
def _places(path: str, *, exact: bool) -> _Places:
    of: dict[str, int] = {}
    for n, character in enumerate(path if exact else _folded(path)):
        of[character] = of.get(character, 0) | 1 << n
    slashes, everywhere = of.get("/", 0), (1 << len(path)) - 1
    return _Places(of, slashes, everywhere & ~slashes, everywhere << 1 | 1)


def _folded(text: str) -> str:
    """A text without case, character by character: it stays as long as it is."""
    if text.isascii():
        return text.lower()
    return "".join(map(_without_case, text))


def _without_case(character: str) -> str:
    lower = character.lower() if len(character.lower()) == 1 else character
    folded = lower.casefold()
    return _ODD.get(character) or (folded if len(folded) == 1 else lower)
