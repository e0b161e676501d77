"""A cgroup of its own for each run, from the user's systemd: what happens to a service, or to one run, happens to no other run.

Without a scope a run lives in the cgroup of its starter, and is killed with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping

from msgspec import Struct

from reconciler.model.errors import ReconcileError, TemporaryError
from reconciler.system import shell

VARIABLE = "RECONCILE_SCOPES"
ALWAYS, NEVER = "always", "never"
KEPT_S = 600.0  # so long what was found out holds
LIMIT_S = 10.0
# Where the kernel kills one process of a run for memory, its supervisor is to tell how it ended; older ones know no such word.
_PROPERTIES = (("--property=OOMPolicy=continue",), ())


class Scopes(Struct):
    """Makes scopes where they can be had. `environ`: the caller's; its `RECONCILE_SCOPES` is written by our service."""

    environ: Mapping[str, str]
    _found: tuple[tuple[str, ...] | None, str] = (None, "")
    _at: float = -KEPT_S

    def around(self, folder: str, about: str) -> tuple[str, ...]:
        """What a command line has to begin with to run in a scope of its own; empty where there are none.

        `folder` names it, `about` describes it to people. Raises TemporaryError where a run without one would be killed with
        the service that we are.
        """
        wanted = self.environ.get(VARIABLE)
        if wanted == NEVER:
            return ()
        begin, why = self.found()
        if begin is None:
            if wanted == ALWAYS:
                hint = "'reconcile service install' again does without"
                raise TemporaryError(f"systemd gives no scope: {why}", delay=30.0, hint=hint)
            return ()
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        return (*begin, f"--unit=reconcile-run-{name}", f"--description={about}", "--")

    def found(self) -> tuple[tuple[str, ...] | None, str]:
        """How a scope is made, as it was tried; else None, and why not."""
        if time.monotonic() - self._at >= KEPT_S:
            self._found, self._at = self._tried(), time.monotonic()
        return self._found

    def _tried(self) -> tuple[tuple[str, ...] | None, str]:
        runtime = self.environ.get("XDG_RUNTIME_DIR", "")
        if not runtime or not os.path.exists(f"{runtime}/systemd/private"):
            return None, "no systemd of this user runs"
        program = shutil.which("systemd-run", path=self.environ.get("PATH"))
        if program is None:
            return None, "there is no systemd-run"
        why = ""
        for properties in _PROPERTIES:
            begin = (program, "--user", "--scope", "--quiet", "--collect", *properties)
            if not (why := self._wrong(begin)):
                return begin, ""
        return None, why

    def _wrong(self, begin: tuple[str, ...]) -> str:
        """What is wrong with a scope that is made so; empty where it is another cgroup, and passes our locks on."""
        passed, other = os.pipe()
        try:
            look = 'test -e "/proc/self/fd/$1" && cat /proc/self/cgroup'
            argv = [*begin, "--", "/bin/sh", "-c", look, "sh", str(passed)]
            done = shell.run(argv, env=self.environ, timeout_s=LIMIT_S, pass_fds=[passed])
        except ReconcileError as error:
            return str(error)
        finally:
            os.close(passed)
            os.close(other)
        if done.code:
            return done.complaint
        return "" if done.text != _cgroup() else "what is started in one stays in our own cgroup"


def _cgroup() -> str:
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
