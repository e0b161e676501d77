"""What it means that git refuses: looked at again, given up, or a lock that somebody has to take away."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

from reconciler.git import large_files
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.system import refused
from reconciler.system.shell import Finished

_NO_PATH = b"error: invalid path '"
_NAMED = rb"'(/[^'\0]+)'"
_THEIRS = b"remote: "  # what the other side of a push prints
_LOCK = rb"Unable to create '([^'\n]+\.lock)': File exists"
_NO_RIGHT = rb"(?:Unable to create '[^'\n]+'|unable to (?:create|write|unlink)[^:\n]*): Permission denied"


class GitError(TemporaryError):
    """Git refused. Temporary, because a lock or a half-written ref is the usual cause: it is looked at again."""

    def __init__(self, args: tuple[str, ...], finished: Finished) -> None:
        found = re.search(_LOCK, finished.err)
        complaint = finished.complaint
        value, hint = (
            (complaint, refused.advice(complaint) or large_files.advice(complaint) or rights(finished.err))
            if found is None
            else _in_the_way(Path(os.fsdecode(found[1])))
        )
        super().__init__(f"git {args[0]} failed: {value}", delay=10.0, hint=hint)
        self.finished = finished
        named = (
            path
            for line in finished.err.splitlines()
            if not line.startswith(_THEIRS)
            for path in re.findall(_NAMED, line)
        )
        self.due_to(*map(os.fsdecode, named))


class UnusableTree(PermanentError):
    """A commit holds paths that git writes nowhere, '..' or '.git' among them: it was made by hand."""


class LackingFile(PermanentError):
    """A commit names a large file that is neither here nor where such files are kept: it can't be checked out."""


def expected(args: tuple[str, ...], finished: Finished, ok: tuple[int, ...], common: Path) -> Finished:
    """What git did. Raises an error for an exit status that is not in `ok`; `common`: the git dir of the repository."""
    if finished.code in ok:
        return finished
    if _NO_PATH in finished.err:
        raise UnusableTree(f"git {args[0]} failed: {finished.complaint}: no checkout can hold what was committed")
    printed = finished.err.decode("utf-8", "replace")
    if lacking := large_files.lacking(printed):
        error = LackingFile(f"the commit can't be checked out: {lacking}", hint=large_files.ADVICE)
        raise error.due_to(*large_files.places(printed, common))
    raise GitError(args, finished)


def rights(err: bytes) -> str | None:
    """What helps where git may not write here, by what it printed; None where that is not it.

    >>> rights(b"error: unable to create file dist/b: Permission denied")
    'give this user the right to write there'
    >>> rights(b"git@github.com: Permission denied (publickey).")
    >>> rights(b"remote: fatal: Unable to create '/srv/x.lock': Permission denied")
    """
    ours = b"\n".join(line for line in err.splitlines() if not line.startswith(_THEIRS))
    return refused.GIVE_THE_RIGHT if re.search(_NO_RIGHT, ours) else None


def _in_the_way(lock: Path) -> tuple[str, str]:
    """The message and hint for a lock that another git holds, or that a killed one left: git does not always name the file."""
    try:
        age_s = max(time.time() - lock.lstat().st_mtime, 0.0)
    except OSError:
        return f"{lock} was there for a moment", "nothing to do: it is tried again"
    age = f"{age_s:.0f} s" if age_s < 120 else f"{age_s / 60:.0f} min"
    message = f"{lock} is there, {age} old: another git works here, or one was killed"
    return message, f"if no git runs here: rm {shlex.quote(str(lock))}"
