"""Where trees are merged: a folder that holds nothing but the base's `.gitattributes`, beside the control git dir.

`git merge-tree` reads attributes from the folder it runs in. In a worktree of an agent it would read the agent's, and
with them choose merge drivers; in a bare repository it would read none, and find conflicts that are not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field

from reconciler.git import objects, trees
from reconciler.git.commands import Git
from reconciler.git.identity import OURS
from reconciler.git.refusals import GitError
from reconciler.git.tree_entries import BEADS, SUBMODULE
from reconciler.landing.signature import Signature
from reconciler.model.names import Sha
from reconciler.system.shell import Finished

_OBJECT = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_ATTRIBUTES_MAX = 1024 * 1024
_FILE_MAX = 4 * 1024 * 1024
_NOBODY = Signature(*OURS, "@1 +0000")


class Merged(Struct, frozen=True):
    """What a merge gave: a tree, or the paths in conflict."""

    tree: Sha
    conflicts: tuple[str, ...] = ()


class TreeChanges(Struct, frozen=True):
    """In what two trees differ. `submodules`: those of the paths where a commit of another repository stands, or stood."""

    paths: frozenset[str]
    submodules: frozenset[str]


class MergeTree(Struct, frozen=True):
    """Merges trees under the attributes of one base. With `quarantine` the repository gets no object."""

    git: Git
    folder: Path
    quarantine: Path | None = None
    trees: dict[Sha, Sha] = field(default_factory=dict)  # of the commits made here

    def run(
        self, *args: str, ok: tuple[int, ...] = (0,), stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> Finished:
        return self.git.objects(*args, ok=ok, stdin=stdin, env=env, work_tree=self.folder, quarantine=self.quarantine)

    def tree(self, commit: Sha) -> Sha:
        return Sha(self.run("rev-parse", "--verify", f"{commit}^{{tree}}").text.strip())

    def with_beads_of(self, base: Sha, tree: Sha) -> Sha:
        """`tree`, with `.beads` as it is in `base`: it is the tracker's, and no branch changes it."""
        ours, theirs = self._entries(base), self._entries(tree)
        if ours.get(BEADS) == theirs.get(BEADS):
            return tree
        wanted = {name: entry for name, entry in {**theirs, BEADS: ours.get(BEADS)}.items() if entry}
        listing = "".join(f"{entry}\t{name}\0" for name, entry in wanted.items())
        return Sha(self.run("mktree", "-z", stdin=listing.encode("utf-8", "surrogateescape")).text.strip())

    def commit(self, tree: Sha, *parents: Sha) -> Sha:
        """A commit that exists only to be merged."""
        made = objects.write_commit(
            self.git,
            tree,
            parents,
            author=_NOBODY.line,
            committer=_NOBODY.line,
            text="for a merge\n",
            objects=self.quarantine,
        )
        self.trees[made] = tree
        return made

    def merge(self, ours: Sha, theirs: Sha) -> Merged:
        """Merge two commits, from where they parted."""
        args = ("merge-tree", "--write-tree", "--no-messages", "--name-only", "-z", ours, theirs)
        finished = self.run(*args, ok=(0, 1))
        tree, *paths = finished.out.split(b"\0")
        # Exit status 1 is a conflict, and also a commit that does not exist: only the former names a tree.
        if not _OBJECT.fullmatch(tree):
            raise GitError(args, finished)
        names = dict.fromkeys(path.decode("utf-8", "surrogateescape") for path in paths if path)
        return Merged(Sha(tree.decode()), tuple(names) if finished.code else ())

    def changed(self, old: Sha, new: Sha) -> TreeChanges:
        """In what a tree differs from that of a commit, or from another."""
        commit = None if old in self.trees else objects.loose_commit(self.git, old)
        tree = commit.tree if commit else self.trees.get(old)
        found = trees.changed(self.git, tree, new, self.quarantine) if tree else None
        if found is None:
            listed = self.run("diff-tree", "-r", "--raw", "--no-renames", "-z", old, new).text.split("\0")
            entries = list(zip(listed[::2], listed[1::2], strict=False))
            # A tree made by hand can hold a path twice: both count.
            submodules = (path for about, path in entries if SUBMODULE in about[1:].split()[:2])
            return TreeChanges(frozenset(path for _, path in entries), frozenset(submodules))
        return TreeChanges(frozenset(found), frozenset(path for path, submodule in found.items() if submodule))

    def file(self, where: Sha, path: str) -> bytes | None:
        """What a file holds in a commit or a tree: its beginning only where that is long, nothing where it is no plain
        file; None where nothing is there."""
        listed = self.run("ls-tree", "-z", "--full-tree", where, "--", f":(literal){path}").text
        entry, _, _ = listed.partition("\t")
        if not entry:
            return None
        return b"" if not entry.startswith("100") else self.run("cat-file", "blob", entry.split(" ")[2]).out[:_FILE_MAX]

    def _entries(self, tree: Sha) -> dict[str, str]:
        listed = self.run("ls-tree", "-z", "--full-tree", tree).text.split("\0")
        return {name: entry for entry, _, name in (line.partition("\t") for line in listed if line)}


class MergeTrees:
    """Sets up benches; remembers the attributes of the bases it was asked for last."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._seen: dict[Sha, Mapping[str, bytes]] = {}

    @contextmanager
    def at(self, base: Sha, *, quarantined: bool) -> Iterator[MergeTree]:
        """A bench under the attributes of `base`, for as long as it is used."""
        with self._git.control.scratch() as scratch:
            folder, quarantine = scratch / "tree", scratch / "objects"
            folder.mkdir()
            quarantine.mkdir()
            for path, text in self.attributes(base).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(text)
            yield MergeTree(self._git, folder, quarantine if quarantined else None)

    def note(self, old: Sha, new: Sha, changed: frozenset[str]) -> None:
        """Remember that a commit differs from another one in these paths: most have the same attributes."""
        if old in self._seen and not any(path.endswith(".gitattributes") for path in changed):
            self._remember(new, self._seen[old])

    def attributes(self, base: Sha) -> Mapping[str, bytes]:
        """What the `.gitattributes` of a base say, by their paths."""
        if base not in self._seen:
            self._remember(base, self._read(base))
        return self._seen[base]

    def _remember(self, base: Sha, attributes: Mapping[str, bytes]) -> None:
        self._seen = {**dict(list(self._seen.items())[-7:]), base: attributes}

    def _read(self, base: Sha) -> Mapping[str, bytes]:
        listed = self._git.objects("ls-tree", "-r", "-z", "--full-tree", base).text.split("\0")
        entries = (line.partition("\t") for line in listed if line.endswith(".gitattributes"))
        # A link is no attributes file to git either; a path that leaves the folder is no path.
        return {
            path: self._git.objects("cat-file", "blob", entry.split(" ")[2]).out[:_ATTRIBUTES_MAX]
            for entry, _, path in entries
            if entry.startswith("100") and _stays_below(path)
        }


def _stays_below(path: str) -> bool:
    parts = path.split("/")
    return parts[-1] == ".gitattributes" and not any(part in ("", ".", "..") for part in parts)
