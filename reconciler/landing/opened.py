"""A checkout seen through a git dir that exists for one look: a copy of the control git dir, with the checkout's own index in
it. Looking changes nothing, and nothing that the repository configures is run.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from reconciler.git import large_files
from reconciler.git.commands import Git
from reconciler.git.tree_entries import of_beads
from reconciler.model.errors import PermanentError
from reconciler.model.names import Sha
from reconciler.system.shell import Finished


class BaseCheckout(Struct, frozen=True):
    """A folder that has the base checked out. `admin`: its own part of the git dir. `busy`: what it is amid."""

    path: Path
    admin: Path
    busy: str | None = None

    @property
    def index(self) -> Path:
        return self.admin / "index"


class CheckoutStep(Struct, frozen=True):
    """The way that a checkout goes: from one commit of the base to another, and the paths in which these differ."""

    old: Sha
    new: Sha
    changed: frozenset[str]


class Opened(Struct, frozen=True):
    """A checkout, seen through a git dir of ours."""

    git: Git
    checkout: BaseCheckout
    head: Sha
    git_dir: Path
    index: Path
    config: tuple[str, ...] = ()
    lock: int | None = None

    def run(self, *args: str, ok: tuple[int, ...] = (0,), stdin: bytes | None = None) -> Finished:
        return self.git.objects(
            *args,
            ok=ok,
            stdin=stdin,
            work_tree=self.checkout.path,
            index=self.index,
            # A split index would leave its greater half in our folder, which goes away.
            config=("core.splitIndex=false", *self.config),
            env={"GIT_DIR": str(self.git_dir), "GIT_LITERAL_PATHSPECS": "1"},
            lock=self.lock,
        )

    def dirty(self) -> frozenset[str]:
        """Staged, changed and untracked paths, without `.beads/`."""
        args = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty")
        found = self.run(*args, "--no-ahead-behind").text.split("\0")
        paths = (line[3:].rstrip("/") for line in found if line)
        return frozenset(path for path in paths if not of_beads(path))

    def refresh(self) -> None:
        # A file that was touched but not changed would be taken for an edit.
        self.run("update-index", "-q", "--refresh", ok=(0, 1))

    def staged(self, commit: Sha) -> frozenset[str]:
        """The paths in which the index differs from `commit`."""
        listed = self.run(
            "diff-index", "--cached", "--name-only", "--no-renames", "--ignore-submodules=none", "-z", commit
        )
        return frozenset(path for path in listed.text.split("\0") if path)

    def follow(self, way: CheckoutStep, *, really: bool) -> Finished:
        # The two-tree form carries over what differs elsewhere, and refuses to touch what differs where the trees do.
        dry = () if really else ("-n",)
        return self.run("read-tree", "-m", "-u", *dry, "--no-recurse-submodules", way.old, way.new, ok=(0, 1, 128))

    def in_the_way_of(self, changed: frozenset[str]) -> list[str]:
        """Untracked and ignored files that stand where these paths are to go. Git would overwrite ignored ones."""
        suspects = sorted({found for path in changed if (found := standing(self.checkout.path, path))})
        hit: list[str] = []
        for start in range(0, len(suspects), 200):
            listed = self.run("ls-files", "--others", "-z", "--", *suspects[start : start + 200])
            hit += [path for path in listed.text.split("\0") if path]
        return hit

    def adopt(self, way: CheckoutStep) -> None:
        """Put those paths into the index as `way.new` has them that are so on disk: a follower was killed half-way."""
        listed = self.run("diff-tree", "-r", "--raw", "--no-renames", "--no-abbrev", "-z", way.old, way.new).text.split(
            "\0"
        )
        there = self.staged(way.old)
        lines = [
            f"{mode} {sha}\t{path}\0"
            for header, path in zip(listed[0::2], listed[1::2], strict=False)
            for mode, sha in [header.split(" ")[1:4:2]]
            if path not in there and self.on_disk(path, mode) == sha
        ]
        self.run("update-index", "-z", "--index-info", stdin="".join(lines).encode("utf-8", "surrogateescape"))
        self.refresh()

    def stage(self, entries: Sequence[tuple[str, tuple[str, str] | None]]) -> None:
        """Put these files into the index, by mode and sha; those of None out of it."""
        lines = "".join(f"{' '.join(entry or ('0', '0' * len(self.head)))}\t{path}\0" for path, entry in entries)
        if lines:
            self.run("update-index", "-z", "--index-info", stdin=lines.encode("utf-8", "surrogateescape"))

    def check_out(self, paths: Sequence[str]) -> None:
        """Write these files as the index has them, over whatever stands there."""
        if paths:
            listed = "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")
            self.run("checkout-index", "--force", "--quiet", "--index", "-z", "--stdin", stdin=listed, ok=(0, 1, 128))

    def filtered(self, path: str, sha: str) -> bytes | None:
        """What a file of this content looks like on disk; None where it is too large to be compared."""
        try:
            return self.run("cat-file", "--filters", f"--path={path}", sha).out
        except PermanentError:
            return None

    def on_disk(self, path: str, mode: str) -> str | None:
        """The sha of a plain file as it would be added; None for anything else."""
        place = self.checkout.path / path
        if not mode.startswith("100") or not _is_file(self.checkout.path, path):
            return None
        return self.run("hash-object", f"--path={path}", "--", str(place)).text.strip()


@contextmanager
def opened(git: Git, checkout: BaseCheckout, head: Sha, *, lock: int | None = None) -> Iterator[Opened]:
    """A checkout through a git dir of ours, with a copy of its index that may be changed."""
    control = git.prepare()
    with git.control.scratch() as own:
        for folder in ("refs", "objects", "info"):
            (own / folder).mkdir()
        shutil.copyfile(control / "config", own / "config")
        (own / "HEAD").write_text(f"{head}\n")
        large_files.share(own, git.repository.common)
        _copy(git.repository.common / "info" / "exclude", own / "info" / "exclude")
        _copy(checkout.index, own / "index")
        for shared in checkout.admin.glob("sharedindex.*"):
            (own / shared.name).symlink_to(shared)
        yield Opened(git, checkout, head, own, own / "index", _sparse(git, checkout, own), lock)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, with its times: git tells by the index's own time which entries it must look at again."""
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        return  # A repository that excludes nothing, a whole checkout, one that was made without files.


def _sparse(git: Git, checkout: BaseCheckout, own: Path) -> tuple[str, ...]:
    """Settings of a checkout that holds some folders only; they are its own, not the repository's."""
    _copy(checkout.admin / "info" / "sparse-checkout", own / "info" / "sparse-checkout")
    settings = checkout.admin / "config.worktree"
    if not settings.is_file():
        return ()
    listed = git.objects("config", f"--file={settings}", "--no-includes", "--null", "--list").text.split("\0")
    pairs = (entry.partition("\n") for entry in listed)
    return tuple(
        f"{key}={value}" for key, _, value in pairs if key in ("core.sparsecheckout", "core.sparsecheckoutcone")
    )


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def standing(root: Path, path: str) -> str | None:
    """What stands at `path`, or where a folder above it must be; None where the way is free."""
    for part in _parents(path):
        try:
            if not stat.S_ISDIR(os.lstat(root / part).st_mode):
                return part
        except FileNotFoundError:
            return None
    return path if os.path.lexists(root / path) else None


def _is_file(root: Path, path: str) -> bool:
    place = root / path
    return standing(root, path) == path and stat.S_ISREG(os.lstat(place).st_mode)
