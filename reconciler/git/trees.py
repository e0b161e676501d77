"""In which paths two trees differ, found without a git process wherever their objects have files of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.git.objects import loose, store
from reconciler.model.names import Sha

_FOLDER = b"40000"
_SUBMODULE = b"160000"
_ENTRY = re.compile(rb"(40000|100644|100755|120000|160000) ([^\0/]+)\0")  # as git writes it today
_TREES_MAX = 10_000  # a few small trees in one another can make billions of paths


def bring(git: Git, tree: Sha, beside: Path) -> bool:
    """Store a tree in the repository, with all that it names, as far as it stands in the folder `beside`, and else stands
    there already. False where only git could: nothing names what was stored by then.
    """
    try:
        _bring(git, _Trees(git, beside, iter(range(_TREES_MAX))), tree, beside)
    except (_OnlyGit, RecursionError):
        return False
    return True


class _OnlyGit(Exception):
    """What has no file of its own, or is written in another way than git writes it."""


def changed(git: Git, old: Sha, new: Sha, beside: Path | None = None) -> Mapping[str, bool] | None:
    """The paths in which two trees differ, as `git diff-tree -r` names them; None where only git can tell.

    With each comes whether a commit of another repository stands there, before or after. `beside` is another folder that
    holds objects.
    """
    try:
        return dict(_differing(_Trees(git, beside, iter(range(_TREES_MAX))), old, new, ""))
    except (_OnlyGit, RecursionError):
        return None


class _Trees(Struct, frozen=True):
    """What trees hold: for every name the mode and the object."""

    git: Git
    beside: Path | None
    left: Iterator[int]  # one is taken for every tree that is read

    def __call__(self, name: Sha | None) -> dict[str, tuple[bytes, Sha]]:
        if name is None:
            return {}
        if next(self.left, None) is None:
            raise _OnlyGit
        stored = (self.beside and loose(self.git, name, self.beside)) or loose(self.git, name)
        if not stored or stored.kind != "tree":
            raise _OnlyGit
        found: dict[str, tuple[bytes, Sha]] = {}
        at, length, last = 0, len(name) // 2, b""
        while at < len(stored.content):
            entry = _ENTRY.match(stored.content, at)
            if not entry:
                raise _OnlyGit
            called, place = os.fsdecode(entry[2]), entry[2] + (b"/" if entry[1] == _FOLDER else b"")
            # In a tree made by hand a name can stand twice: git checks out what both hold.
            if place <= last or called in found:
                raise _OnlyGit
            at, last = entry.end() + length, place
            found[called] = entry[1], Sha(stored.content[entry.end() : at].hex())
        return found


def _differing(trees: _Trees, old: Sha | None, new: Sha | None, above: str) -> Iterator[tuple[str, bool]]:
    before, after = trees(old), trees(new)
    for name in before.keys() | after.keys():
        sides = before.get(name), after.get(name)
        if sides[0] == sides[1]:
            continue
        was, now = (side[1] if side and side[0] == _FOLDER else None for side in sides)
        if (sides[0] and not was) or (sides[1] and not now):
            yield f"{above}{name}", any(side is not None and side[0] == _SUBMODULE for side in sides)
        if was or now:
            yield from _differing(trees, was, now, f"{above}{name}/")


def _bring(git: Git, trees: _Trees, name: Sha, beside: Path) -> None:
    if not os.path.lexists(beside / name[:2] / name[2:]):
        return
    stored = loose(git, name, beside)
    if stored is None:
        raise _OnlyGit
    # What it names comes first: a tree that is there is taken for whole.
    for mode, inner in trees(name).values() if stored.kind == "tree" else ():
        if mode != _SUBMODULE:
            _bring(git, trees, inner, beside)
    store(git, name, stored)
