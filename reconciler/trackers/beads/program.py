"""The `bd` of this machine: which one it is, and how it is run.

A variable of the environment that a version does not know is ignored, while a flag that it does not know is an error: so
what can be given by a variable is. It runs in the main checkout, because settings of Beads may depend on the folder, with
an absolute `BEADS_DIR`, because a worktree holds a stale copy of the tasks.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.values import replace
from reconciler.system import shell
from reconciler.system.shell import Finished
from reconciler.trackers._settings import holds_database, made_by_br
from reconciler.trackers.beads import decoding, versions
from reconciler.trackers.beads.versions import Can, Version

VERSION_S = 10.0
READ_S = 30.0
WRITE_S = 120.0  # what is killed in the middle may leave a lock, or half a commit: rather wait
WRITE_GRACE_S = 10.0
VERSION_HOLDS_S = 300.0  # a shim of a version manager stays as it is while what it starts is another
TRIES = 4

_SET = {
    **dict.fromkeys(("BEADS_NO_DAEMON", "BD_NO_DAEMON", "BD_NON_INTERACTIVE", "BD_NO_PAGER", "NO_COLOR"), "1"),
    **dict.fromkeys(("BD_AGENT_MODE", "BD_JSON_ENVELOPE"), "0"),
    "BEADS_AUTO_START_DAEMON": "false",
    "BD_EXPORT_GIT_ADD": "false",  # the index of the main checkout is the user's
    "BD_METRICS_DISABLED": "true",
}
# Some make its lists shorter, some choose another database, one would be noted as who closed a task.
_UNSET = ("CLAUDE_CODE", "CLAUDECODE", "CLAUDE_SESSION_ID", "BD_BACKEND", "BD_DATABASE_BACKEND", "BEADS_DB", "BD_DB")
_LOCKED = ("database is locked", "sqlite_busy", "lock busy", "exclusive lock", "lock timeout", "try restarting")
_AWAY = (
    "serialization failure",
    "error 1213",
    "invalid connection",
    "i/o timeout",
    "connection re",
    "context deadline",
)


class Locked(TemporaryError):
    """Another process had the database, and nothing was done."""


class Away(TemporaryError):
    """The database did not answer in the middle of it: what was asked for may be done, or not."""


class BeadsProgram(Struct, frozen=True):
    """An executable, and its version."""

    path: str
    version: Version

    def can(self, what: Can) -> bool:
        return versions.can(self.version, what)


_PROBED: dict[tuple[str, int, int], tuple[float, Version]] = {}


class Bd(Struct, frozen=True, kw_only=True):
    """How `bd` is run for one repository. `main`: its main checkout; `actor`: in whose name things are changed."""

    main: Path
    beads: Path
    environ: Mapping[str, str]
    actor: str

    def program(self) -> BeadsProgram:
        """The one on the PATH, asked for its version once. Raises PermanentError where there is none that can be used."""
        if beside := made_by_br(self.beads):
            raise PermanentError(
                f"br (beads_rust) keeps the tasks ({self.beads / beside}), and it is not used: its 'create' takes no id, so a "
                "task could be made twice, and its 'list' tells no dependencies; bd would break its database",
                hint="run 'br sync --flush-only' and move beads.db* out of .beads/: the built-in store goes on with "
                "issues.jsonl; where bd is to keep them, make its database again",
            )
        path = shutil.which("bd", path=self.environ.get("PATH"))
        if path is None:
            other = shutil.which("br", path=self.environ.get("PATH"))
            raise PermanentError(
                f"the tasks are in a Beads database ({holds_database(self.beads)}), and there is no 'bd' on the PATH"
                + (f"; {other}, which goes by other rules, is not used in its place" if other else ""),
                hint="install Beads, or put its 'bd' on the PATH; nothing is written behind its database",
            )
        version = self._version(path)
        if version < versions.OLDEST:
            raise PermanentError(
                f"{path} is bd {versions.spelled(version)}: {versions.troubles(version)[0]}",
                hint=f"install {versions.spelled(versions.OLDEST)} or later",
            )
        return BeadsProgram(path, version)

    def read(self, *args: str) -> Finished:
        """What a command that changes nothing answers. Raises TemporaryError where it fails, Locked after some tries."""
        finished = self._run(args, READ_S)
        if finished.code:
            text = decoding.complaint(finished.code, finished.out, finished.err)
            raise TemporaryError(f"bd {args[0]} failed: {text}", delay=30.0, hint=f"see what 'bd {args[0]}' says")
        return finished

    def write(self, *args: str, actor: str = "") -> Finished:
        """What a command that changes something answers, whatever its exit status. Raises Locked, or Away.

        With `actor` it is done in another name than ours.
        """
        bd = replace(self, actor=actor) if actor else self
        return bd._run(args, WRITE_S, WRITE_GRACE_S)

    def _run(self, args: tuple[str, ...], timeout_s: float, grace_s: float = 0.0) -> Finished:
        argv = (self.program().path, *args)
        trying = Retrying(
            retry=retry_if_exception_type(Locked),
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.2, max=3),
            reraise=True,
        )
        return trying(self._once, argv, timeout_s, grace_s)

    def _once(self, argv: tuple[str, ...], timeout_s: float, grace_s: float) -> Finished:
        finished = shell.run(argv, env=self._env(), cwd=self.main, timeout_s=timeout_s, grace_s=grace_s)
        if finished.code == 0 and finished.out.startswith((b"[", b'{"id"')):
            return finished  # the usual answer, which may be long
        text = decoding.complaint(finished.code, finished.out, finished.err)
        for words, error in ((_LOCKED, Locked), (_AWAY, Away)):
            if any(word in text.lower() for word in words):
                raise error(f"bd {argv[1]}: {text}", delay=10.0)
        return finished

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in self.environ.items() if name not in _UNSET}
        return {**kept, **_SET, "BEADS_DIR": str(self.beads), "BD_ACTOR": self.actor, "BEADS_ACTOR": self.actor}

    def _version(self, path: str) -> Version:
        real = os.path.realpath(path)
        try:
            found = os.stat(real)
        except OSError as error:
            raise PermanentError(f"{path} can't be looked at: {error.strerror}", hint="install Beads again") from error
        key = (real, found.st_mtime_ns, found.st_size)
        asked_at, version = _PROBED.get(key, (0.0, versions.OLDEST))
        if key not in _PROBED or time.monotonic() - asked_at > VERSION_HOLDS_S:
            version = self._asked_for_version(path)
            _PROBED[key] = time.monotonic(), version
        return version

    def _asked_for_version(self, path: str) -> Version:
        finished = shell.run((path, "version"), env=self._env(), cwd=self.main, timeout_s=VERSION_S)
        version = versions.parsed(finished.text)
        if finished.code or version is None:
            text = finished.text.strip() or decoding.complaint(0, b"", finished.err)
            words = repr(text.partition("\n")[0][:80]) if text else "nothing"
            raise PermanentError(
                f"{path} does not say its version, but {words} (exit status {finished.code})",
                hint="is this the 'bd' of Beads? run 'bd version' yourself",
            )
        return version
