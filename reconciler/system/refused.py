"""What the kernel refuses, in words that name what there is too little of: room, a right, descriptors, processes.

The look at a folder leaves no trace in it: mere readers may ask as well.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.model.errors import TemporaryError
from reconciler.system import file_lock, files

GIVE_THE_RIGHT = "give this user the right to write there"
LEAST = 64 << 10  # bytes; with less not even a ref can be moved
_PROBE = bytes(4096)
_PASSING = (errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)


def words(error: OSError, place: Path | str = "", *, starting: bool = False) -> tuple[str, str]:
    """What was refused, and what a person does about it; the hint is empty where nothing is known. `place`: where, unless the
    error names a file; `starting`: a program was to be started."""
    where = error.filename if isinstance(error.filename, str) and error.filename else str(place)
    at = where or "a folder"
    match error.errno:
        case errno.ENOSPC:
            return "no space is left on the device" + (f" of {where}" if where else ""), "free some"
        case errno.EDQUOT:
            return f"the disk quota at {at} is used up", "free some"
        case errno.EROFS:
            return f"{at} is on a file system that is read-only", "mount it for writing"
        case errno.EACCES | errno.EPERM:
            return f"{at}: {error.strerror}", GIVE_THE_RIGHT
        case errno.EMFILE:
            return (
                f"too many files are open: a process may have {_limit(resource.RLIMIT_NOFILE)} here",
                f"raise the limit: {_raised('n')}",
            )
        case errno.ENFILE:
            return "too many files are open on this machine", "sysctl fs.file-max says how many there may be"
        case errno.EAGAIN if starting:
            most = _limit(resource.RLIMIT_NPROC)
            return f"no more processes may start: a user may have {most} here", f"end some, or raise it: {_raised('u')}"
        case errno.ENOLCK:
            return f"file locks do not work in {at}: {error.strerror}", file_lock.ADVICE
        case errno.ENOMEM:
            return "no memory is left", "end what takes much of it"
        case _:
            return f"{where}: {error.strerror}" if where else str(error.strerror or error), ""


def short(error: OSError) -> str:
    """The same in one line."""
    message, hint = words(error)
    return f"{message}; {hint}" if hint else message


@contextmanager
def temporarily(what: str, delay: float = 5.0) -> Iterator[None]:
    """Raise TemporaryError for what the kernel refuses in the block; `what` can't be done then, and `delay` is in seconds."""
    try:
        yield
    except OSError as error:
        raise TemporaryError(f"{what}: {short(error)}", delay=delay) from error


def lacks(error: OSError) -> bool:
    """True where there is too little of something: what was asked for is there, and could be had."""
    return error.errno in (errno.EMFILE, *_PASSING)


def passes(error: OSError) -> bool:
    """True where that may be over at another time; how much this very process may have stays as it is."""
    return error.errno in _PASSING


def advice(complaint: str) -> str | None:
    """What a person does about what a program complains of, where that is such a lack; None where it is not.

    >>> advice("error: pack-objects died: No space left on device"), advice("fatal: bad object")
    ('free some', None)
    """
    for number in (errno.EMFILE, errno.EAGAIN, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        if os.strerror(number) in complaint:
            message, hint = words(OSError(number, os.strerror(number)), starting=True)
            return hint if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) else f"{message}; {hint}"
    return None


def unwritable(folders: Iterable[Path]) -> str | None:
    """Why the first of these folders that takes no files takes none, as far as a look tells; None where all do. Of one that is
    yet to be made, the folder that it will be made in."""
    for folder in folders:
        standing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
        with suppress(OSError):  # what can't be asked is found out by who writes there
            found = os.statvfs(standing)
            if found.f_flag & os.ST_RDONLY:
                return short(OSError(errno.EROFS, os.strerror(errno.EROFS), str(standing)))
            free = found.f_bavail if os.geteuid() else found.f_bfree
            # Some file systems count neither blocks nor files, and say zero for all of them.
            if found.f_blocks and free * found.f_frsize < LEAST:
                return short(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(standing)))
            if found.f_files and found.f_ffree == 0:
                return f"no more files can be made on the device of {standing}; remove some"
            if not os.access(standing, os.W_OK | os.X_OK):
                return short(OSError(errno.EACCES, os.strerror(errno.EACCES), str(standing)))
    return None


def tried(folder: Path) -> OSError | None:
    """What writing a file to a folder is refused with; None where it goes."""
    try:
        with files.tried(folder) as path, open(path, "r+b", buffering=0) as file:
            file.write(_PROBE)
            os.fsync(file.fileno())
    except OSError as error:
        return OSError(error.errno, error.strerror, str(folder))
    return None


def _raised(what: str) -> str:
    """The command that raises a limit, with as much as this user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE if what == "n" else resource.RLIMIT_NPROC)
    beyond = f" (no more than {hard} without root)" if hard != resource.RLIM_INFINITY and hard < 4096 else ""
    return f"ulimit -{what} 4096{beyond}"


def _limit(which: int) -> str:
    soft, _ = resource.getrlimit(which)
    return "any number" if soft == resource.RLIM_INFINITY else str(soft)
