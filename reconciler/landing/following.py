"""How a checkout goes with its branch: wholly or not at all, no matter who kills us or works there meanwhile.

While it goes its index is locked as git locks it, so that nobody commits a mixture. The files are brought forward by a copy
of the index, which then takes the place of the index; only after that the branch moves. What was written and must not stay
is taken back file by file, where a file still is what we wrote.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from reconciler.git.commands import Git
from reconciler.git.committed_files import LINK
from reconciler.git.refusals import rights
from reconciler.git.tree_entries import SUBMODULE
from reconciler.landing.checkouts import LOCK_SAYS, blocked, expect_its_files, locked_by_us
from reconciler.landing.opened import BaseCheckout, CheckoutStep, Opened, opened, standing
from reconciler.model.errors import TemporaryError
from reconciler.model.names import Sha

_AT_ONCE = 200

Entry = tuple[str, str]  # mode and sha of a file


class PathChange(Struct, frozen=True):
    """One path on the way: what stands there before and after; None where nothing does."""

    path: str
    old: Entry | None
    new: Entry | None


# --- the lock ------------------------------------------------------------------------------------------------


@contextmanager
def held(checkouts: Sequence[BaseCheckout], nonce: str) -> Iterator[None]:
    """Hold the lock of every index while the block runs. Raises BlockedError where a git holds one.

    For the repository's writer: a lock that says that it is ours was left by one that was killed, and is taken over.
    """
    try:
        for checkout in checkouts:
            _lock(checkout, nonce)
        yield
    finally:
        for checkout in checkouts:
            _release(checkout)


def _release(checkout: BaseCheckout) -> None:
    for left in checkout.admin.glob(".reconcile-*.*"):
        left.unlink(missing_ok=True)
    if locked_by_us(checkout.admin):
        _lock_of(checkout).unlink(missing_ok=True)


def _lock(checkout: BaseCheckout, nonce: str) -> None:
    if locked_by_us(checkout.admin):
        return
    made = _named(checkout, "lock", nonce)
    try:
        # Linked in its place with its words in it: killed in between, an empty lock would be a git's.
        made.write_text(LOCK_SAYS.format(nonce=nonce), "ascii")
        os.link(made, _lock_of(checkout))
    except FileExistsError as error:
        what = "wait for the git that runs there, or remove the file"
        raise blocked(checkout, f"its index is locked ({_lock_of(checkout)})", what) from error
    except OSError as error:
        raise _refused(checkout, error) from error
    finally:
        made.unlink(missing_ok=True)


def _lock_of(checkout: BaseCheckout) -> Path:
    return checkout.index.with_name("index.lock")


def _named(checkout: BaseCheckout, what: str, nonce: str) -> Path:
    return checkout.admin / f".reconcile-{what}.{nonce}"


# --- forward and back ----------------------------------------------------------------------------------------


def forward(git: Git, checkout: BaseCheckout, way: CheckoutStep, nonce: str, lock: int, *, again: bool = False) -> None:
    """Bring files and index of a checkout whose lock is held from `way.old` to `way.new`; done already is done.

    Edits elsewhere in it stay as they are. Raises TemporaryError, with everything taken back, where it can't go: somebody
    has changed what the way changes, or a file can't be written. `again`: the one who began it was killed, perhaps amid a file.
    """
    if checkout.busy:
        raise blocked(checkout, f"a {checkout.busy} goes on there", "finish it, or abort it")
    with opened(git, checkout, way.new, lock=lock) as seen:
        complaint = _followed(seen, way, again=again)
        if complaint is None:
            _install(seen, nonce)
            return
        if not again:
            _taken_back(seen, _changes(seen, way))
            _install(seen, nonce)
            expect_its_files(complaint)
    raise blocked(
        checkout,
        f"it is behind its branch, which moved to {way.new[:12]}, and can't follow: {complaint}"
        if again
        else complaint,
        f"save your changes there, then run 'git reset --hard {way.new[:12]}' in it"
        if again
        else rights(complaint.encode()) or "fix that",
    )


def back(git: Git, checkout: BaseCheckout, way: CheckoutStep, now: Sha, nonce: str, lock: int) -> None:
    """Take back what a landing wrote whose branch never moved. `now`: where the branch is; what changed there stays."""
    with opened(git, checkout, now, lock=lock) as seen:
        since = _paths(seen, way.old, now) if now != way.old else frozenset[str]()
        _taken_back(seen, [change for change in _changes(seen, way) if change.path not in since])
        _install(seen, nonce)


def staged(seen: Opened, head: Sha) -> list[PathChange]:
    """In which paths the index differs from `head`: `old` is what that holds, `new` what is staged."""
    how = ("--cached", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=all", "-z")
    listed = seen.run("diff-index", *how, head).text.split("\0")
    return [PathChange(path, *sides(header)) for header, path in zip(listed[0::2], listed[1::2], strict=False)]


def sides(header: str) -> tuple[Entry | None, Entry | None]:
    """What a line of git's raw diffs says that stands there before and after."""
    old_mode, new_mode, old, new, _ = header.removeprefix(":").split(" ")
    return _entry(old_mode, old), _entry(new_mode, new)


def untouched(seen: Opened, change: PathChange) -> bool:
    """True where the file is as it is staged."""
    if change.new is None:
        return not os.path.lexists(seen.checkout.path / change.path)
    return _written(seen, change)


def restored(git: Git, checkout: BaseCheckout, head: Sha, changes: Sequence[PathChange], nonce: str, lock: int) -> None:
    """Have the `old` of these changes staged and on disk again, where their `new` still stands there."""
    with opened(git, checkout, head, lock=lock) as seen:
        there = {change.path: change for change in staged(seen, head)}
        _taken_back(seen, [c for c in changes if there.get(c.path) == c and untouched(seen, c)])
        _install(seen, nonce)


def _followed(seen: Opened, way: CheckoutStep, *, again: bool) -> str | None:
    """Why files and index can't go; None once they have."""
    if again:
        _forget_beginnings(seen, _changes(seen, way))
    found = seen.follow(way, really=True)
    if found.code:  # it looks at everything first: mostly nothing was touched
        seen.refresh()
        if seen.follow(way, really=False).code:
            seen.adopt(way)
        found = seen.follow(way, really=True)
    return found.complaint if found.code else None


def _forget_beginnings(seen: Opened, changes: Sequence[PathChange]) -> None:
    """Remove files that git was killed amid writing: they hold the beginning of what was to stand there, or nothing."""
    there = _entries(seen, [change.path for change in changes])
    for change in changes:
        if change.new and there.get(change.path) == change.old and _begun(seen, change):
            _remove(seen.checkout.path, change.path)


def _taken_back(seen: Opened, changes: Sequence[PathChange]) -> None:
    """Have index and files as they were before, where they are what was written; what somebody did there stays."""
    there = _entries(seen, [change.path for change in changes])
    ours = [change for change in changes if there.get(change.path) in (change.old, change.new)]
    seen.stage([(change.path, change.old) for change in ours if there.get(change.path) != change.old])
    restored = []
    for change in ours:
        missing = not os.path.lexists(seen.checkout.path / change.path)
        if not missing and not (_written(seen, change) or _begun(seen, change)):
            continue
        if change.old:
            restored.append(change.path)
        elif not missing:
            _remove(seen.checkout.path, change.path)
    seen.check_out(restored)
    seen.refresh()


def _written(seen: Opened, change: PathChange) -> bool:
    """True where the file is what the way puts there."""
    if change.new is None:
        return False
    mode, sha = change.new
    place = seen.checkout.path / change.path
    if mode == LINK:
        return (
            standing(seen.checkout.path, change.path) == change.path
            and place.is_symlink()
            and _link(place) == _blob(seen, sha)
        )
    return seen.on_disk(change.path, mode) == sha


def _begun(seen: Opened, change: PathChange) -> bool:
    """True where the file holds a beginning of what the way puts there, and less than all of it."""
    if change.new is None or not change.new[0].startswith("100"):
        return False
    place = seen.checkout.path / change.path
    if standing(seen.checkout.path, change.path) != change.path or not stat.S_ISREG(os.lstat(place).st_mode):
        return False
    wanted = seen.filtered(change.path, change.new[1])
    if wanted is None or place.stat().st_size >= len(wanted):
        return False
    return wanted.startswith(place.read_bytes())


def _link(place: Path) -> bytes:
    return os.fsencode(os.readlink(place))


def _blob(seen: Opened, sha: str) -> bytes:
    return seen.run("cat-file", "blob", sha).out


def _remove(root: Path, path: str) -> None:
    """Remove a file, and the folders that it leaves empty."""
    place = root / path
    if standing(root, path) != path:
        return
    place.unlink()
    for folder in place.parents:
        if folder == root:
            return
        try:
            folder.rmdir()
        except OSError:
            return


def _install(seen: Opened, nonce: str) -> None:
    """Put our copy of the index in the place of the index, at one stroke."""
    if not seen.index.exists():
        return
    made = _named(seen.checkout, "index", nonce)
    try:
        # With its times: git tells by them which files it must look at again.
        shutil.copy2(seen.index, made)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(made, seen.checkout.index)
    except OSError as error:
        raise _refused(seen.checkout, error) from error


def _changes(seen: Opened, way: CheckoutStep) -> list[PathChange]:
    listed = seen.run("diff-tree", "-r", "--raw", "--no-renames", "--no-abbrev", "-z", way.old, way.new).text.split(
        "\0"
    )
    found = []
    for header, path in zip(listed[0::2], listed[1::2], strict=False):
        old, new = sides(header)
        if SUBMODULE not in ((old or new or "")[0], (new or old or "")[0]):
            found.append(PathChange(path, old, new))
    return found


def _entry(mode: str, sha: str) -> Entry | None:
    return None if mode == "000000" else (mode, sha)


def _paths(seen: Opened, old: Sha, new: Sha) -> frozenset[str]:
    return frozenset(seen.run("diff-tree", "-r", "--name-only", "--no-renames", "-z", old, new).text.split("\0"))


def _entries(seen: Opened, paths: Sequence[str]) -> dict[str, Entry]:
    """What the index holds at these paths."""
    found: dict[str, Entry] = {}
    for start in range(0, len(paths), _AT_ONCE):
        listed = seen.run("ls-files", "--stage", "-z", "--", *paths[start : start + _AT_ONCE]).text.split("\0")
        for line in filter(None, listed):
            head, _, path = line.partition("\t")
            mode, sha, _ = head.split(" ")
            found[path] = (mode, sha)
    return found


def _refused(checkout: BaseCheckout, error: OSError) -> TemporaryError:
    return blocked(checkout, f"{error.filename or checkout.admin}: {error.strerror}", "make room, or make it writable")


__all__ = ["back", "forward", "held", "restored", "sides", "staged", "untouched"]
