"""The kernel locks by which runs are known to live. Nothing here reads what a run wrote about itself.

Per subject two files: `<kind>-<subject>.shim`, held by the supervising process alone, and `.agent`, inherited by all that
it starts. Per manifest `slots/<manifest>/<k>`, and `gate`, held for the moment in which a start counts them.

A lock file is deleted only by the one who holds both of a subject's, and who takes one has it only if it still is the one that
stands there: else a second locker would get a lock on a new file while the first still holds the old one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import ChangedError, TemporaryError
from reconciler.model.names import RunId, RunKind, usable_subject
from reconciler.system import file_lock

PROBE_PATIENCE_S = 0.05
GATE_PATIENCE_S = 10.0
_ELSEWHERE = "elsewhere"


class Held(Struct, frozen=True):
    """Which locks of a subject are held at this moment."""

    shim: bool
    agent: bool

    @property
    def any(self) -> bool:
        return self.shim or self.agent


class Slots(Struct, frozen=True):
    """The slots of one manifest: the files of those that were ever used, and the numbers of those that are held."""

    folder: Path
    files: tuple[Path, ...]
    held: frozenset[int]


class Gate:
    """The gate of a manifest, while it is held: nobody else starts a run of it. `turn` says who took a slot last."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def turn(self) -> bytes:
        """The word that was left last; empty where there is none, or no file to hold one."""
        try:
            return os.pread(self._fd, 64, 0)
        except OSError as error:
            if error.errno == errno.ESPIPE:
                return b""  # an agent put a pipe in its place
            raise

    def take_turn(self) -> bytes:
        """Leave a word of our own, by which everybody sees that a slot was taken since they looked; that word."""
        word = os.urandom(8).hex().encode()
        try:
            os.pwrite(self._fd, word, 0)
        except OSError as error:
            if error.errno == errno.ESPIPE:
                return b""  # nobody can read one there, so everybody counts again
            raise
        return word


class Locks:
    """The lock files of one repository."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = str(root)
        self._listed: tuple[int, frozenset[tuple[RunKind, str]]] | None = None

    def shim(self, kind: RunKind, subject: str) -> Path:
        """The lock of whatever supervises the live run of a subject."""
        return self._root / f"{kind}-{subject}.shim"

    def agent(self, kind: RunKind, subject: str) -> Path:
        """The lock of everything that the live run of a subject started."""
        return self._root / f"{kind}-{subject}.agent"

    def held(self, kind: RunKind, subject: str) -> Held:
        """Probe both locks of a subject."""
        # In this order: a start takes the shim's lock first, so it never looks like an agent without a shim.
        # By plain strings: each live run is probed at each look, and a Path costs as much as that.
        agent = held(f"{self._folder}/{kind}-{subject}.agent")
        return Held(shim=held(f"{self._folder}/{kind}-{subject}.shim"), agent=agent)

    def subjects(self) -> frozenset[tuple[RunKind, str]]:
        """Every subject that ever had a run, as far as its locks tell."""
        try:
            changed = self._root.stat().st_mtime_ns
        except FileNotFoundError:
            return frozenset()
        if self._listed is None or self._listed[0] != changed:
            names = (
                name.removesuffix(".shim").split("-", 1) for name in os.listdir(self._root) if name.endswith(".shim")
            )
            kinds = {str(kind): kind for kind in RunKind}
            found = frozenset((kinds[k], subject) for k, subject in names if k in kinds and usable_subject(subject))
            # A folder that changes within one tick of the file system's clock keeps its date.
            same = self._listed[1] if self._listed and self._listed[1] == found else found
            self._listed = (changed if time.time_ns() - changed > 1_000_000_000 else 0, same)
        return self._listed[1]

    def take(self, kind: RunKind, subject: str, patience_s: float = PROBE_PATIENCE_S) -> int:
        """Hold the shim's lock of a subject; its descriptor. Raises ChangedError when somebody else does."""
        return _take_or_refuse(self.shim(kind, subject), f"{kind}/{subject} has a run that is alive", patience_s)

    def take_agent(self, kind: RunKind, subject: str) -> int:
        """Hold the agent's lock of a subject, whose shim's lock is held; its descriptor. Raises ChangedError."""
        what = f"something of the last run of {kind}/{subject} is alive"
        return _take_or_refuse(self.agent(kind, subject), what, PROBE_PATIENCE_S)

    def taken(self, kind: RunKind, subject: str) -> tuple[int, int] | None:
        """Hold both locks of a subject, if nobody holds one; their descriptors."""
        shim = take(self.shim(kind, subject), 0.0)
        agent = None if shim is None else take(self.agent(kind, subject), 0.0)
        if shim is not None and agent is None:
            os.close(shim)
        return None if shim is None or agent is None else (shim, agent)

    def delete(self, kind: RunKind, subject: str) -> None:
        """Delete the locks of a subject, both of which we hold."""
        # The one by which a subject is listed goes last.
        for path in (self.agent(kind, subject), self.shim(kind, subject)):
            path.unlink(missing_ok=True)

    @contextmanager
    def gate(self, manifest: str) -> Iterator[Gate]:
        """Let nobody else start a run of this manifest. Raises TemporaryError when somebody else does so for long."""
        fd = take(self._slots(manifest) / "gate", GATE_PATIENCE_S)
        if fd is None:
            raise TemporaryError(f"another reconciler has been starting a run of {manifest} for {GATE_PATIENCE_S:g} s")
        try:
            yield Gate(fd)
        finally:
            os.close(fd)

    def slots(self, manifest: str) -> Slots:
        """The slots of a manifest, counted whatever their numbers. Only behind the gate."""
        folder = self._slots(manifest)
        files = {int(name): folder / name for name in os.listdir(folder) if name.isdecimal()}
        return Slots(folder, tuple(files.values()), frozenset(k for k, path in files.items() if held(path)))

    def elsewhere(self, manifest: str) -> tuple[RunId, ...]:
        """The runs of a manifest that count although they hold no lock here: they are on other machines."""
        try:
            names = os.listdir(self._slots(manifest) / _ELSEWHERE)
        except FileNotFoundError:
            return ()
        pairs = (name.split(".", 1) for name in names if "." in name)
        return tuple(RunId(RunKind.WORK, subject, int(n)) for n, subject in pairs if n.isdecimal())

    def count_elsewhere(self, manifest: str, run: RunId) -> None:
        """Count a run among those of a manifest. Only behind the gate."""
        folder = self._slots(manifest) / _ELSEWHERE
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / f"{run.n}.{run.subject}").touch(mode=0o600)

    def forget_elsewhere(self, manifest: str, run: RunId) -> None:
        """It is over. Only behind the gate."""
        (self._slots(manifest) / _ELSEWHERE / f"{run.n}.{run.subject}").unlink(missing_ok=True)

    def _slots(self, manifest: str) -> Path:
        return self._root / "slots" / manifest


def held(path: Path | str) -> bool:
    """True when somebody holds the lock at this moment. It is not taken: two who ask do not disturb each other."""
    try:
        # For reading only, which tells a probe from a holder when the file of a lock is found open.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def take(path: Path, patience_s: float) -> int | None:
    """Hold a lock until the descriptor and all its copies are closed; None when somebody else keeps it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return file_lock.hold(path, patience_s)


def _take_or_refuse(path: Path, why: str, patience_s: float) -> int:
    fd = take(path, patience_s)
    if fd is None:
        raise ChangedError(why)
    return fd
