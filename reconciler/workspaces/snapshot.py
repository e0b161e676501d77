"""The tree that the files of a worktree make: never by the worktree's own index, in which an agent can mark a changed file
as unchanged.

What is not as git wrote it when the worktree was made (by mode, size, inode and both times) is read. A program can set one of
the times back, not both, as long as the clock goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct, field

from reconciler.git import objects
from reconciler.git.commands import Git
from reconciler.git.refusals import UnusableTree
from reconciler.git.tree_entries import SUBMODULE, of_beads
from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.model.names import Sha, TaskId
from reconciler.system.files import Stamp as FileStamp
from reconciler.system.files import stamp_of
from reconciler.workspaces import checkout, folders
from reconciler.workspaces.checkout import Recipe
from reconciler.workspaces.folders import Contents, Stamp

READ_TIMEOUT_S = 3600.0

_CONFIG = (
    # An index of ours is one file. A file that can't be converted back exactly is still saved.
    *("core.splitIndex=false", "core.safecrlf=false", "core.sparseCheckout=false", "core.fsync=all"),
    # Nobody's settings decide by how little a file is known to be unchanged.
    *("core.trustctime=true", "core.checkStat=default", "core.ignoreStat=false", "core.untrackedCache=false"),
    # A file that differs from another by case alone is another one, wherever the repository came from.
    "core.ignoreCase=false",
)


class Work(Struct, frozen=True, kw_only=True):
    """A worktree in which something may stand that no ref holds.

    `start` is the commit that its files are compared with. `whole`: a file that is missing was deleted; otherwise it
    may never have been written.
    """

    task: TaskId
    place: Path
    start: Sha | None
    heads: tuple[Sha, ...] = ()
    branch: str | None = None  # the full name of the branch that is checked out, where it is not the task's own
    recipe: Recipe = field(default_factory=Recipe)
    admin: Path | None = None  # its folder in the common git dir
    whole: bool = True


class Sight(Struct, frozen=True, kw_only=True):
    """What in a worktree counts, without its content. Two equal sights: nothing changed in between."""

    files: Mapping[str, Stamp] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    gitlinks: Mapping[str, str] = field(default_factory=dict)
    repositories: tuple[str, ...] = ()


class Snapshot(Struct, frozen=True, kw_only=True):
    """The tree of a worktree's files, and the tree of the commit that it started from."""

    tree: Sha
    start: Sha
    sight: Sight


def take(git: Git, work: Work, lock: int, standing: Contents | None = None) -> Snapshot:
    """Hash every file that counts, and write what git does not have yet. Raises TemporaryError for an unreadable one.

    `standing`: what stands there, where that was counted just now: before any content is read, so that whatever changes
    from then on makes another sight.
    """
    index = _Index(git, work, lock)
    filled = index.load()
    start = objects.commits(git, work.start)[0].tree if work.start else index.tree()
    if not os.path.lexists(work.place):
        return Snapshot(tree=start, start=start, sight=Sight())
    standing = standing or folders.contents(work.place)
    compared = index.compared()
    seen = index.look(compared, standing)
    if filled and not (seen.deleted or seen.gitlinks) and seen.files.keys() <= compared.unchanged:
        return Snapshot(tree=start, start=start, sight=seen)
    index.forget(seen.deleted)
    index.hash(seen.files)
    if seen.files and (left := sorted(seen.files.keys() - index.listed())):
        # It says so on a line and goes on: '.GIT', 'git~1' and the like.
        raise PermanentError(
            f"{work.place / left[0]} can't be saved: git keeps no file of that name",
            hint="rename it, or move it out of the worktree",
        ).due_to(work.place / left[0])
    if seen.gitlinks:
        covered = {folder for path in seen.files for folder in _folders_of(path)}
        index.put({path: sha for path, sha in seen.gitlinks.items() if path not in covered})
    return Snapshot(tree=index.tree(), start=start, sight=seen)


def sight(git: Git, work: Work, lock: int, standing: Contents) -> Sight:
    """What counts of that which is `standing` in a worktree, without reading any content."""
    index = _Index(git, work, lock)
    index.load()
    return index.look(index.listing(), standing)


def own_index(work: Work) -> FileStamp | None:
    """How the worktree's own index is; None where there is none. What is staged there counts although git ignores it."""
    try:
        return stamp_of(os.lstat(work.admin / "index")) if work.admin else None
    except FileNotFoundError:
        return None


def forget(git: Git, task: TaskId) -> None:
    """Take away what the worktree of a task was looked at with; the next look makes it again."""
    path = _index_of(git, task)
    for each in (path, path.with_name(f"{path.name}.lock")):
        each.unlink(missing_ok=True)


def ignored(git: Git, work: Work, lock: int) -> tuple[int, int]:
    """How many files of a worktree git ignores, and their size in bytes: what goes with it when it is removed."""
    index = _Index(git, work, lock)
    index.load()
    paths = index.listed("--others", "--ignored", "--exclude-standard")
    sizes = [os.lstat(work.place / path).st_size for path in paths if os.path.lexists(work.place / path)]
    return len(sizes), sum(sizes)


def _index_of(git: Git, task: TaskId) -> Path:
    return git.repository.state / "indexes" / task


class _Listing(Struct):
    """The tracked paths, the submodules with their commits, and the untracked paths that are not ignored.

    `unchanged`: those of the tracked whose files are known to hold what the index says; nothing where nobody has asked.
    """

    tracked: set[str] = field(default_factory=set)
    gitlinks: dict[str, str] = field(default_factory=dict)
    untracked: set[str] = field(default_factory=set)
    unchanged: set[str] = field(default_factory=set)

    def add(self, mode: str, sha: str, path: str) -> None:
        if mode == SUBMODULE:
            self.gitlinks[path] = sha
        else:
            self.tracked.add(path)


class _Index:
    """An index file of ours for one worktree, made again each time."""

    def __init__(self, git: Git, work: Work, lock: int) -> None:
        self._git = git
        self._work = work
        self._lock = lock
        self._path = _index_of(git, work.task)

    def load(self) -> bool:
        """Fill it from the commit that the work started from; False where git can't."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        forget(self._git, self._work.task)
        if self._load_as_made():
            return True
        try:
            self._run("read-tree", self._work.start or "--empty", inside=False)
        except UnusableTree:  # nothing of it stands on disk; what does is saved as if it were all new
            self._run("read-tree", "--empty", inside=False)
            return False
        return True

    def _load_as_made(self) -> bool:
        """The same, with how the files were when the worktree was made; False where that is not known."""
        if not (self._work.start and self._work.admin):
            return False
        try:
            written_ns, index = checkout.index_as_made(self._work.admin)
            self._path.write_bytes(index)
            self._run("read-tree", "--reset", self._work.start, inside=False)
            os.utime(self._path, ns=(written_ns, written_ns))
        except (OSError, ReconcileError):  # it is gone or damaged, or the commit is: that shows without it
            forget(self._git, self._work.task)
            return False
        return True

    def look(self, listing: _Listing, found: Contents) -> Sight:
        """What counts: tracked files as they stand, untracked ones that are not ignored, deletions, repositories."""
        tracked, gitlinks, untracked = listing.tracked, listing.gitlinks, listing.untracked
        if gitlinks:
            # Git looks into no folder that it takes for a submodule, even where it holds plain files only.
            self.forget(gitlinks)
            untracked = self.listed("--others", "--exclude-standard")
        if ignored := found.files.keys() - tracked - untracked - self._work.recipe.copies.keys():
            untracked = untracked | (ignored & self._staged())
        skipped = set(self._work.recipe.copies) - tracked
        counted = {path for path in tracked.union(untracked) - skipped if not of_beads(path)}
        missing = sorted(path for path in counted & tracked if path not in found.files)
        return Sight(
            files={path: found.files[path] for path in sorted(counted) if path in found.files},
            deleted=tuple(path for path in missing if self._work.whole and self._work.recipe.covers(path)),
            gitlinks=gitlinks,
            repositories=found.repositories,
        )

    def forget(self, paths: Iterable[str]) -> None:
        """Take paths out of it."""
        none = "0" * len(self._work.start or "0" * 40)
        self._feed("update-index", "-z", "--index-info", lines=[f"0 {none}\t{path}" for path in paths])

    def put(self, gitlinks: Mapping[str, str]) -> None:
        """Put submodules back as they were."""
        lines = [f"{SUBMODULE} {sha}\t{path}" for path, sha in gitlinks.items()]
        self._feed("update-index", "-z", "--index-info", lines=lines)

    def hash(self, paths: Iterable[str]) -> None:
        """Read files and note what they hold."""
        self._feed("update-index", "--add", "--replace", "-z", "--stdin", lines=list(paths))

    def tree(self) -> Sha:
        """The tree that it stands for."""
        return Sha(self._run("write-tree", inside=False).decode().strip())

    def listed(self, *which: str) -> set[str]:
        """Paths that `git ls-files` names."""
        return set(_split(self._run("ls-files", "-z", *which)))

    def _staged(self) -> set[str]:
        """What stands in the worktree's own index; nothing where git can't read that."""
        index = self._work.admin / "index" if self._work.admin else None
        if index is None or not index.is_file():  # git would wait for a pipe
            return set()
        return set(_split(self._git.objects("ls-files", "-z", index=index, ok=(0, 128)).out))

    def listing(self) -> _Listing:
        """What it holds and what stands beside that, without reading any content."""
        found = _Listing()
        for line in _split(self._run("ls-files", "-z", "-t", "--stage", "--others", "--exclude-standard")):
            tag, _, rest = line.partition(" ")
            if tag == "?":  # known by the tag: a file can be called like a line about another one
                found.untracked.add(rest)
                continue
            about, _, path = rest.partition("\t")
            mode, sha, _ = about.split(" ")
            found.add(mode, sha, path)
        return found

    def compared(self) -> _Listing:
        """The same, and every file read that is not as it was made.

        Against a HEAD that names no commit, git lists all that the index holds. It must not look into submodules: their own
        config is an agent's.
        """
        found = _Listing()
        how = ("--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all")
        for line in _split(self._run("status", *how, env={"GIT_OPTIONAL_LOCKS": "0"})):
            kind, _, rest = line.partition(" ")
            if kind == "?":
                found.untracked.add(rest)
            elif kind == "1":
                state, _, _, mode, _, _, sha, path = rest.split(" ", 7)
                found.add(mode, sha, path)
                if state == "A.":
                    found.unchanged.add(path)
        return found

    def _feed(self, *args: str, lines: list[str]) -> None:
        if lines:
            self._run(*args, stdin=os.fsencode("".join(f"{line}\0" for line in lines)))

    def _run(
        self, *args: str, inside: bool = True, stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> bytes:
        return self._git.objects(
            *args,
            stdin=stdin,
            work_tree=self._work.place if inside else None,
            index=self._path,
            config=_CONFIG,
            env=env,
            timeout_s=READ_TIMEOUT_S,
            lock=self._lock,
        ).out


def _split(listed: bytes) -> list[str]:
    return [path for path in os.fsdecode(listed).split("\0") if path]


def _folders_of(path: str) -> Iterable[str]:
    """The path itself and every folder above it."""
    return [path, *(str(parent) for parent in Path(path).parents)]
