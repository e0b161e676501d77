"""For what something failed, as far as files show it: that they are others by now makes another try worth it.

A courtesy like all that is remembered of failures. Nothing is read of the files, and no program is run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from msgspec import Struct

from reconciler.model.errors import ReconcileError

EARLY_S = 10.0  # the least between two tries
EARLY_MOST_S = 60.0  # and where what it fails for changes all the time
PATHS_MAX = 16

Sight = tuple[object, ...]


class FailureCause(Struct, frozen=True):
    """What something failed for at its last try. `sights`: how each of the paths was then; `early`: how many of its tries came
    before their time, and failed as well; `mended`: that it is another was seen."""

    paths: tuple[str, ...] = ()
    sights: tuple[Sight, ...] = ()
    early: int = 0
    mended: bool = False

    @classmethod
    def of(cls, error: ReconcileError, before: FailureCause | None) -> FailureCause:
        """What an error came from, after another one of the same thing."""
        paths = tuple(dict.fromkeys(_named(error)))[:PATHS_MAX]
        early = before.early + before.mended if before else 0
        return cls(paths=paths, sights=tuple(map(_sight, paths)), early=early)

    @property
    def another(self) -> bool:
        """True once anything of it is not as it was."""
        return self.mended or any(_sight(path) != sight for path, sight in zip(self.paths, self.sights, strict=True))

    @property
    def rest_s(self) -> float:
        """How long it rests at least, though what it failed for is another."""
        return min(EARLY_S * 2.0 ** min(self.early, 10), EARLY_MOST_S)


def _named(error: BaseException | None) -> Iterator[str]:
    """The paths that an error, and what it came from, name."""
    while error is not None:
        if isinstance(error, ReconcileError):
            yield from error.paths
        elif isinstance(error, OSError):
            names = (os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes))
            yield from (name for name in names if os.path.isabs(name))
        error = error.__cause__


def _sight(path: str) -> Sight:
    """What differs once a file is another, or may be made where there was none."""
    there = path
    while True:
        try:
            found = os.lstat(there)
        except (OSError, ValueError) as error:
            above = os.path.dirname(there)
            if above == there:
                return (str(error),)
            there = above
            continue
        mark = there, found.st_ino, found.st_mode, found.st_uid, found.st_gid
        # What else is made in a folder says nothing of what was to be made there.
        beside = stat.S_ISDIR(found.st_mode) and there != path
        return mark if beside else (*mark, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
