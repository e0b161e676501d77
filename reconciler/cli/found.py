"""What a repository and its machine tell about themselves: the command that checks it, the agents that are there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from reconciler.model.agent_kinds import AgentKind


def agents(path: str) -> list[AgentKind]:
    """The agents whose program is on this search path."""
    return [kind for kind in AgentKind if kind is not AgentKind.COMMAND and shutil.which(kind, path=path)]


def checks(main: Path) -> Iterator[str]:
    """The command that checks this repository, where its files name one."""
    for file, line, command in (
        ("justfile", "check", "just check"),
        ("justfile", "test", "just test"),
        ("Makefile", "check", "make check"),
        ("Makefile", "test", "make test"),
    ):
        if _has_target(main / file, line):
            yield command
            return
    if _npm_test(main / "package.json"):
        yield "npm test"
    elif (main / "Cargo.toml").is_file():
        yield "cargo test"
    elif (main / "go.mod").is_file():
        yield "go test ./..."
    elif (main / "tests").is_dir() and (main / "pyproject.toml").is_file():
        yield "python -m pytest -q"


def _has_target(file: Path, name: str) -> bool:
    if not file.is_file():
        return False
    return any(line.startswith((f"{name}:", f"{name} ")) for line in file.read_text("utf-8", "replace").splitlines())


def _npm_test(file: Path) -> bool:
    try:
        package = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    scripts = package.get("scripts") if isinstance(package, dict) else None
    return isinstance(scripts, dict) and "test" in scripts
