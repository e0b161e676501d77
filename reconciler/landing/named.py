"""What a commit's own files have agents read or run unasked, beside themselves: what they import, link to, or name as a program."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from functools import partial

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.git.committed_files import LINK, behind
from reconciler.git.tree_entries import SUBMODULE
from reconciler.model.globs import fits
from reconciler.model.instructions import INSTRUCTIONS, PROSE, names
from reconciler.model.names import Sha

_DEEPEST = 5  # imports of imports
_FILES_MAX, _SIZE_MAX = 1000, 1 << 20
# Of each glob what no path can lack that it is about: most paths of a tree have none of these.
_CORES = tuple({max(re.split(r"[*?]+", glob.strip("*/").lower()), key=len) for glob in INSTRUCTIONS})


class NamedPaths(Struct, frozen=True):
    """Paths that are named, without case; folders of which all is; and globs."""

    paths: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    globs: tuple[str, ...] = ()

    def among(self, paths: Iterable[str]) -> frozenset[str]:
        """Those of these paths that are named."""
        return frozenset(path for path in paths if self._has(path))

    def _has(self, path: str) -> bool:
        name = path.casefold()
        if name in self.paths or any(name.startswith(f"{folder}/") for folder in self.folders):
            return True
        return fits(path, self.globs)


def named_at(git: Git, commit: Sha) -> NamedPaths:
    """What the files of a commit that agents read unasked name. A file that is too large to be read by one names nothing."""
    tree = _tree(git, commit)
    links = partial(_target, git, tree)
    found: set[str] = set()
    folders: set[str] = set()
    # By path, the folders that it may mean by a path.
    due: dict[str, tuple[str, ...]] = {path: (posixpath.dirname(path),) for path in _instructions(tree)}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for _ in range(_DEEPEST + 1):
        texts = _texts(git, {path: tree[path][1] for path in list(due)[:_FILES_MAX]})
        seen |= set(due.items())
        further: dict[str, tuple[str, ...]] = {}
        for path, text in texts.items():
            if tree[path][0] == LINK:
                end = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
                found.add(end)
                folders.add(end)
                further |= {
                    at: (posixpath.dirname(at), *due[path]) for at in tree if at == end or at.startswith(f"{end}/")
                }
                continue
            some = set(names(path, text, due[path]))
            for named in list(some):
                some |= behind(named, links)
            found |= some
            further |= {at: (posixpath.dirname(at),) for at in some if at in tree and at.lower().endswith(PROSE)}
        due = {path: where for path, where in further.items() if (path, where) not in seen}
    return NamedPaths(
        frozenset(each.casefold() for each in found if "*" not in each),
        frozenset(each.casefold() for each in folders),
        tuple(sorted(each for each in found if "*" in each)),
    )


def _target(git: Git, tree: Mapping[str, tuple[str, Sha]], path: str) -> str | None:
    """Where the link at a path leads; None for what is none."""
    mode, name = tree.get(path, ("", Sha("")))
    return _texts(git, {path: name}).get(path, "") if mode == LINK else None


def _tree(git: Git, commit: Sha) -> Mapping[str, tuple[str, Sha]]:
    """Mode and object of every file of a commit, by path."""
    rows = git.objects("ls-tree", "-r", "-z", "--full-tree", commit).out.decode("utf-8", "replace").split("\0")
    split = ((row.partition("\t")[2], row.partition("\t")[0].split(" ")) for row in rows if row)
    return {path: (mode, Sha(name)) for path, (mode, _, name) in split if mode != SUBMODULE}


def _instructions(tree: Mapping[str, tuple[str, Sha]]) -> list[str]:
    every = "\n".join(tree).lower()
    cores = [re.escape(core) for core in _CORES if core in every]
    if not cores:
        return []
    likely = re.compile("|".join(cores))
    return [path for path in tree if likely.search(path.lower()) and fits(path, INSTRUCTIONS)]


def _texts(git: Git, objects: Mapping[str, Sha]) -> dict[str, str]:
    """What stands at these paths, as far as it is short enough."""
    if not objects:
        return {}
    asked = "".join(f"{name}\n" for name in dict.fromkeys(objects.values())).encode()
    sizes = (row.split() for row in git.objects("cat-file", "--batch-check", stdin=asked).text.splitlines())
    short = [row[0] for row in sizes if len(row) == 3 and row[1] == "blob" and int(row[2]) <= _SIZE_MAX]
    rest = git.objects("cat-file", "--batch", stdin="".join(f"{name}\n" for name in short).encode()).out
    texts: dict[str, str] = {}
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, _, size = head.decode().split(" ")
        texts[name] = rest[: int(size)].decode("utf-8", "replace")
        rest = rest[int(size) + 1 :]
    return {path: texts[name] for path, name in objects.items() if name in texts}
