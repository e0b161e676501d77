"""Real Beads databases for tests: made once for each `bd`, copied for each test."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import waiting
from outside import outside

from reconciler.trackers.beads import BeadsTracker

# A daemon would outlive the test, telemetry would leave the machine.
QUIET = {
    "BEADS_NO_DAEMON": "1",
    "BEADS_AUTO_START_DAEMON": "false",
    "BD_NON_INTERACTIVE": "1",
    "BD_METRICS_DISABLED": "true",
}
PREFIX = "x"


class Database:
    """A folder whose `.beads/` holds a database of one `bd`, and that `bd` as a person runs it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.root = folder
        self.beads = folder / ".beads"
        self.env = environ(name)

    def tracker(self, env: Mapping[str, str] | None = None) -> BeadsTracker:
        """A tracker that remembers nothing, as in a program that has just started."""
        return BeadsTracker(self.root, self.beads, self.root.parent / "locks", env or self.env, "reconcile@test")

    def bd(self, *args: str, code: int = 0) -> str:
        return run(self.root, self.env, *args, code=code)

    def make(self, title: str, *args: str) -> str:
        """The id of a task that a person makes."""
        return str(json.loads(self.bd("create", title, "--description=d", *args, "--json"))["id"])

    def show(self, task: str) -> dict[str, Any]:
        found = json.loads(self.bd("show", task, "--json"))
        return dict(found[0] if isinstance(found, list) else found)


def environ(name: str) -> dict[str, str]:
    """The environment in which `bd` is this program of `outside`. Skips where it is not installed."""
    return {**os.environ, **QUIET, "PATH": f"{outside(name).parent}:{os.environ['PATH']}"}


def database(folder: Path, name: str) -> Database:
    """A new database in a folder."""
    shutil.copytree(_template(name), folder, dirs_exist_ok=True, symlinks=True)
    return Database(folder, name)


def run(folder: Path, env: Mapping[str, str], *args: str, code: int = 0) -> str:
    done = waiting.run(("bd", *args), cwd=folder, env=env)
    assert done.returncode == code, (args, done.stdout, done.stderr)
    return done.stdout


@functools.cache
def _template(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="reconcile-tests-beads-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    env = environ(name)
    for command in (("init", "-q"), ("config", "user.name", "T"), ("config", "user.email", "t@localhost")):
        subprocess.run(("git", *command), cwd=folder, env=env, check=True)
    run(folder, env, "init", "--quiet", "--prefix", PREFIX)
    return folder
