"""A small real repository with an epic in which things go wrong, for the real program to work off."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sh
from msgspec import Struct


class Demo(Struct, frozen=True):
    """A repository made in `folder`, and what the program says about it."""

    folder: Path
    env: Mapping[str, str]

    @property
    def repository(self) -> Path:
        return self.folder / "calculator"

    def make(self, example: Path, *, approvals: bool = False) -> None:
        """Make the repository: the files of the example in one commit. With `approvals` two of its changes wait for one."""
        shutil.copytree(example, self.repository)
        if approvals:
            manifest = self.repository / "epic.yaml"
            wanted = 'protectedPaths: ["calc/__main__.py", "NOTES.md"]'
            manifest.write_text(manifest.read_text("utf-8").replace("protectedPaths: []", wanted), "utf-8")
        git = sh.Command("git").bake(_cwd=str(self.repository), _env=dict(self.env), _tty_out=False)
        git("init", "--quiet", "--initial-branch=main")
        git("config", "user.name", "reconcile demo")
        git("config", "user.email", "demo@localhost")
        git("add", "--all")
        git("commit", "--quiet", "--message=Begin a calculator")

    @contextmanager
    def page(self, say: Callable[[str], object]) -> Iterator[None]:
        """Serve the page of it while the block runs; what that says is passed on."""
        program = sh.Command(sys.executable).bake("-m", "reconciler", "ui", _cwd=str(self.repository), _tty_out=False)
        env = {**self.env, "PYTHONUNBUFFERED": "1"}
        served = program(_env=env, _bg=True, _bg_exc=False, _out=lambda line: say(line.rstrip("\n")))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):  # a Ctrl-C on a terminal ends it, too
                served.terminate()
            with suppress(sh.ErrorReturnCode, sh.SignalException):
                served.wait()

    def stop(self) -> None:
        """End every agent that is running in it."""
        self._reconcile("stop", "--all")

    def log(self) -> str:
        """The base branch, newest commit first."""
        git = sh.Command("git").bake(_cwd=str(self.repository), _env=dict(self.env), _tty_out=False)
        return str(git("--no-pager", "log", "--format=%h %s", "main"))

    def recovered(self) -> Iterator[str]:
        """What went wrong on the way and was fixed, one line each."""
        status = json.loads(self._reconcile("status", "-o", "json"))
        for task in status["epics"][0]["tasks"]:
            described = json.loads(self._reconcile("describe", task["id"], "-o", "json"))
            runs = [run for run in described["runs"] if run["id"].startswith("work/")]
            yield from (f"{task['key']}: {_mended(run)}" for run in runs if run["why"] != "Ready")

    def _reconcile(self, *args: str) -> str:
        program = sh.Command(sys.executable).bake("-m", "reconciler")
        return str(program(*args, _cwd=str(self.repository), _env=dict(self.env), _tty_out=False))


def _mended(run: Mapping[str, Any]) -> str:
    return {
        "ChecksFailed": "its checks failed on the merged tree; another attempt was given the reason and fixed it",
        "AgentFailed": "its agent was killed; another one went on from what it had committed",
        "Conflict": "it conflicted with what had landed before; another attempt brought both together",
    }.get(run["why"], f"{run['why']}; attempt {run['attempt']} fixed it")
