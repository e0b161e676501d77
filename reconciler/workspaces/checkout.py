"""The files of a worktree: written from a commit through the control git dir, so that no program that an agent named in
the repository's config runs. Filters of the user's own config (Git LFS) do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from pathlib import Path

from msgspec import Struct, field

from reconciler.git import large_files
from reconciler.git.commands import Git
from reconciler.git.worktrees import AS_MADE, Entry
from reconciler.model.errors import ChangedError
from reconciler.model.names import Sha
from reconciler.system.files import regular
from reconciler.system.shell import Finished
from reconciler.workspaces.copies import Digests, plain

RECIPE = "reconcile-recipe"
FILL_TIMEOUT_S = 3600.0
_DATE_BYTES = 8

# A shared index would be written to the control git dir, where the worktree's own git does not look.
_SPLIT = b"link"
_WHOLE_INDEX = ("core.splitIndex=false", "index.sparse=false")
# With `core.ignoreStat` it would say of every file that it never changes.
_NOT_SPARSE = (*_WHOLE_INDEX, "core.sparseCheckout=false", "core.ignoreStat=false")
_GLOB = str.maketrans({character: "\\" + character for character in "\\*?["})


class Recipe(Struct, frozen=True, kw_only=True):
    """What a worktree was given beside its commit: copied files, and the folders it is limited to."""

    copies: Digests = field(default_factory=dict)
    sparse: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """True when a tracked file is written to the worktree, by the rules of git's cone mode.

        >>> [Recipe(sparse=("a/b",)).covers(path) for path in ("top", "a/file", "a/b/c/file", "a/d/file", "e/file")]
        [True, True, True, False, False]
        """
        if not self.sparse:
            return True
        folder = os.path.dirname(path)
        return any(_within(folder, chosen) or folder == "" or _within(chosen, folder) for chosen in self.sparse)


def recorded(admins: Iterable[Path]) -> Recipe:
    """The recipe that was noted when a worktree was made; an empty one where none can be read."""
    for admin in admins:
        try:
            noted = json.loads((admin / RECIPE).read_bytes())
            copies, sparse = noted["copies"].items(), noted["sparse"]
            # An agent can write this file: its paths are checked again.
            kept = {str(name): str(digest) for name, digest in copies if plain(str(name))}
            return Recipe(copies=kept, sparse=tuple(str(folder) for folder in sparse))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return Recipe()


def note(admin: Path, recipe: Recipe) -> None:
    """Note a recipe before anything is written by it."""
    text = json.dumps({"copies": dict(recipe.copies), "sparse": recipe.sparse})
    write(admin / RECIPE, text)


def fill(git: Git, entry: Entry, commit: Sha, recipe: Recipe, lock: int) -> None:
    """Write every file of `commit` to a worktree that has none, and the index with which its own git finds it clean."""
    assert entry.admin  # what is filled was just entered
    narrow(git, entry.admin, recipe.sparse, lock)
    large_files.share_keys(entry.admin, git.repository.common)
    run = partial(
        git.objects,
        work_tree=entry.path,
        index=entry.admin / "index",
        config=_NOT_SPARSE,
        timeout_s=FILL_TIMEOUT_S,
        lock=lock,
    )
    if not recipe.sparse:
        run("read-tree", "--reset", "-u", "--no-recurse-submodules", commit)
        return
    run("read-tree", commit)
    _skip_outside(run, recipe)
    run("checkout-index", "--all", "--index", "--quiet")


def keep_index(admin: Path) -> None:
    """Keep a copy of the index that git wrote with the files of a new worktree: it says how each of them was.

    Before it stands when that was written, in nanoseconds: by that git knows which files could have been changed right
    after it looked at them, and reads those. The date of the copy itself is lost when a repository is copied.
    """
    index = admin / "index"
    (admin / AS_MADE).write_bytes(index.stat().st_mtime_ns.to_bytes(_DATE_BYTES, "big") + index.read_bytes())


def index_as_made(admin: Path) -> tuple[int, bytes]:
    """That copy, and when the index was written. Raises OSError where there is none."""
    with regular(admin / AS_MADE) as kept:
        return int.from_bytes(kept.read(_DATE_BYTES), "big"), kept.read()


def _skip_outside(run: Callable[..., Finished], recipe: Recipe) -> None:
    """Note in an index which of its files are not wanted on disk."""
    listed = os.fsdecode(run("ls-files", "-z").out).split("\0")
    outside = "".join(f"{path}\0" for path in listed if path and not recipe.covers(path))
    run("update-index", "-z", "--skip-worktree", "--stdin", stdin=os.fsencode(outside))


def fix_index(git: Git, entry: Entry, recipe: Recipe, lock: int) -> None:
    """Give a worktree whose index nobody can read another one, of the commit that it is on. Its files stay as they are.

    The damaged one is kept beside it: what was staged and nowhere else is perhaps still to be had from it.
    """
    assert entry.admin and entry.head
    index = entry.admin / "index"
    if _readable(git, index, len(entry.head) // 2):
        return
    beside = (index.with_name(f"index.damaged{f'-{n}' if n else ''}") for n in count())
    os.replace(index, next(path for path in beside if not os.path.lexists(path)))
    run = partial(git.objects, work_tree=entry.path, index=index, config=_NOT_SPARSE, lock=lock)
    run("read-tree", entry.head)
    if recipe.sparse:
        _skip_outside(run, recipe)


def _readable(git: Git, index: Path, digest: int) -> bool:
    """True for an index that is whole: it begins as one, and ends with the sum of all before that, or with none.

    One that is split rests on another file; whether that is there, git says.
    """
    try:
        with regular(index) as file:
            held = file.read()
    except FileNotFoundError:
        return not os.path.lexists(index)  # git makes it again
    except OSError:
        return False
    body, sum = held[:-digest], held[-digest:]
    algorithm = hashlib.sha1 if digest == 20 else hashlib.sha256
    if body[:4] != b"DIRC" or sum not in (algorithm(body).digest(), bytes(digest)):
        return False
    return _SPLIT not in body or git.objects("ls-files", "--error-unmatch", index=index, ok=(0, 1, 128)).code != 128


def narrow(git: Git, admin: Path, sparse: tuple[str, ...], lock: int) -> None:
    """Tell the worktree's own git which folders it is limited to; with none, that it is not limited.

    New worktrees inherit both from the main checkout.
    """
    patterns = admin / "info" / "sparse-checkout"
    own = admin / "config.worktree"
    if sparse:
        _allow_own_config(git, lock)
        patterns.parent.mkdir(exist_ok=True)
        write(patterns, cone(sparse))
        _set(git, own, {"core.sparseCheckout": "true", "core.sparseCheckoutCone": "true"}, lock)
    else:
        patterns.unlink(missing_ok=True)
        if own.exists():
            _set(git, own, {"core.sparseCheckout": "false"}, lock)


def cone(folders: Iterable[str]) -> str:
    """The patterns that git itself writes for these folders.

    >>> print(cone(["a/b"]), end="")
    /*
    !/*/
    /a/
    !/a/*/
    /a/b/
    """
    chosen = {folder.strip("/") for folder in folders}
    parents = {str(parent) for folder in chosen for parent in Path(folder).parents if str(parent) != "."}
    lines = ["/*", "!/*/"]
    for folder in sorted(chosen | parents):
        if any(folder != other and _within(folder, other) for other in chosen):
            continue
        name = folder.translate(_GLOB)
        lines += [f"/{name}/"] if folder in chosen else [f"/{name}/", f"!/{name}/*/"]
    return "".join(f"{line}\n" for line in lines)


def attach(admin: Path, ref: str) -> None:
    """Have a worktree be on a branch that is where it stands. Raises ChangedError while a git writes that itself."""
    lock = admin / "HEAD.lock"
    try:
        with lock.open("x", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(f"ref: {ref}\n")
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError as error:
        raise ChangedError(f"{lock} is there: a git works in the worktree") from error
    os.replace(lock, admin / "HEAD")


def write(path: Path, text: str) -> None:
    """Write a small file so that it is whole or absent, whatever happens."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def _within(path: str, folder: str) -> bool:
    folder = folder.strip("/")
    return path == folder or path.startswith(folder + "/")


def _allow_own_config(git: Git, lock: int) -> None:
    """Let worktrees have settings of their own, the way `git sparse-checkout set` does."""
    shared = git.repository.common / "config"
    if _get(git, shared, "extensions.worktreeConfig") == "true":
        return
    moved = {
        key: value for key in ("core.bare", "core.worktree") if (value := _get(git, shared, key)) not in ("", "false")
    }
    # First there, then gone here: at no moment does the main checkout lack them.
    _set(git, git.repository.common / "config.worktree", moved, lock)
    _set(git, shared, {"extensions.worktreeConfig": "true"}, lock)
    for key in moved:
        git.refs("config", "--file", str(shared), "--unset-all", key, lock=lock)


def _get(git: Git, file: Path, key: str) -> str:
    return git.refs("config", "--file", str(file), "--get", key, ok=(0, 1)).text.removesuffix("\n")


def _set(git: Git, file: Path, settings: Mapping[str, str], lock: int) -> None:
    for key, value in settings.items():
        git.refs("config", "--file", str(file), key, value, lock=lock)
