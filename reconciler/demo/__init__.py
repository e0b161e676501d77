"""A small real repository with an epic in which things go wrong, for the real program to work off."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
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

    def make(self, example: Path) -> None:
        """Make the repository: the files of the example in one commit."""
        shutil.copytree(example, self.repository)
        git = sh.Command("git").bake(_cwd=str(self.repository), _env=dict(self.env), _tty_out=False)
        git("init", "--quiet", "--initial-branch=main")
        git("config", "user.name", "reconcile demo")
        git("config", "user.email", "demo@localhost")
        git("add", "--all")
        git("commit", "--quiet", "--message=Begin a calculator")

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
