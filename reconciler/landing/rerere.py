"""How the merge commits of a branch solved its conflicts, for its commits that are put on a base one by one.

`git rerere` in a git dir of its own, which goes with the bench. The `rr-cache` of the repository is not asked: what one agent
left there would come into the changes of another.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from reconciler.git.objects import Commit
from reconciler.landing.merge_tree import MergeTree
from reconciler.landing.merging import nowhere
from reconciler.model.names import Sha
from reconciler.system.shell import Finished

PATHS_MAX = 100
_PLAIN = ("100644", "100755")
_CONFIG = ("rerere.enabled=true", "rerere.autoUpdate=false", "core.sparseCheckout=false", "core.splitIndex=false")


class _File(Struct, frozen=True):
    mode: str
    blob: Sha


class _Conflict(Struct, frozen=True):
    """What a merge leaves behind that conflicts: its tree, with the files as they are there, and the entries of its index."""

    tree: Sha
    files: Mapping[str, _File]
    entries: str


class Resolutions:
    """What the merges among `commits`, all of one branch and the oldest first, decided. They are read once somebody asks."""

    def __init__(self, bench: MergeTree, commits: Iterable[Commit]) -> None:
        self._bench = bench
        self._merges = [commit for commit in commits if len(commit.parents) == 2]
        self._unread = list(self._merges)
        self._work_tree = bench.folder.with_name("conflicted")

    def merged(self, ours: Sha, theirs: Sha) -> Sha | None:
        """The tree of two commits that conflict, where each of their conflicts was solved before; else None."""
        if not self._merges:
            return None
        while self._unread:
            self._learn(self._unread.pop(0))
        found = self._conflict(ours, theirs)
        if not found:
            return None
        self._lay_out(found)
        if self._git("rerere", "remaining").out:
            return None
        solved = "".join(f"{file.mode} {self._stored(path)}\t{path}\0" for path, file in found.files.items())
        self._git("read-tree", found.tree)
        self._index(solved)
        return Sha(self._git("write-tree").text.strip())

    @cached_property
    def _git_dir(self) -> Path:
        made = self._bench.folder.with_name("rerere")
        for folder in ("refs", "objects", "rr-cache"):
            (made / folder).mkdir(parents=True)
        shutil.copyfile(self._bench.git.prepare() / "config", made / "config")
        (made / "HEAD").write_text("ref: refs/heads/none\n")
        return made

    def _learn(self, merge: Commit) -> None:
        if found := self._conflict(*merge.parents):
            self._lay_out(found)
            for path, file in self._files(merge.sha, found.files).items():
                self._write(path, file)
            self._git("rerere")

    def _conflict(self, ours: Sha, theirs: Sha) -> _Conflict | None:
        args = ("merge-tree", "--write-tree", "--no-messages", "-z", ours, theirs)
        tree, *entries = self._bench.run(*args, ok=(0, 1)).text.rstrip("\0").split("\0")
        paths = {entry.partition("\t")[2] for entry in entries}
        if not paths or len(paths) > PATHS_MAX or any(map(_unfit, paths)):
            return None
        files = self._files(Sha(tree), paths)
        if files.keys() != paths:
            return None
        return _Conflict(Sha(tree), files, "".join(f"{entry}\0" for entry in entries))

    def _lay_out(self, found: _Conflict) -> None:
        """Have it stand there as `git merge` leaves it, solved where it was solved before."""
        (self._git_dir / "MERGE_RR").unlink(missing_ok=True)  # what was not solved of the one before
        if self._work_tree.exists():
            shutil.rmtree(self._work_tree)
        self._work_tree.mkdir()
        for path, file in found.files.items():
            self._write(path, file)
        self._git("read-tree", "--empty")
        self._index(found.entries)
        self._git("rerere")

    def _files(self, where: Sha, paths: Iterable[str]) -> dict[str, _File]:
        """The plain files of a commit or a tree at these paths."""
        args = ("ls-tree", "-z", "--full-tree", where, "--", *paths)
        listed = self._bench.run(*args, env={"GIT_LITERAL_PATHSPECS": "1"}).text.split("\0")
        entries = ((*about.split(" "), path) for about, _, path in (entry.partition("\t") for entry in listed if entry))
        return {path: _File(mode, Sha(blob)) for mode, _, blob, path in entries if mode in _PLAIN}

    def _write(self, path: str, file: _File) -> None:
        (self._work_tree / path).parent.mkdir(parents=True, exist_ok=True)
        (self._work_tree / path).write_bytes(self._bench.run("cat-file", "blob", file.blob).out)

    def _stored(self, path: str) -> Sha:
        solved = (self._work_tree / path).read_bytes()
        return Sha(self._git("hash-object", "-w", "--no-filters", "--stdin", stdin=solved).text.strip())

    def _index(self, entries: str) -> None:
        self._git("update-index", "-z", "--index-info", stdin=entries.encode("utf-8", "surrogateescape"))

    def _git(self, *args: str, stdin: bytes | None = None) -> Finished:
        return self._bench.git.objects(
            *args,
            stdin=stdin,
            work_tree=self._work_tree,
            index=self._bench.folder.with_name("conflicted-index"),
            quarantine=self._bench.quarantine,
            config=_CONFIG,
            env={"GIT_DIR": str(self._git_dir), "GIT_LITERAL_PATHSPECS": "1"},
        )


def _unfit(path: str) -> bool:
    # Attributes choose what git runs to merge a file.
    return nowhere(path) or path.rsplit("/", 1)[-1] == ".gitattributes"
