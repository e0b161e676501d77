"""Programs of other people that tests drive for real: which version, how it gets here, what is said where it is missing.

They stand in `.outside/` at the top of the checkout, one folder per program and version; `python tests/outside.py NAME…`
installs some, without arguments it says what there is. A test asks with `outside("bd")` and is skipped, with the command
that would install it, where the program is not there: nothing is installed by running tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / ".outside"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One version of one program. `install` runs in its folder, where `files` stand; `binary` is relative to it."""

    version: str
    install: tuple[str, ...]
    binary: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    runs: bool = True  # False: it is read by something else that runs

    def folder(self, name: str) -> Path:
        return HERE / f"{name}-{self.version}"


def _go(module: str, command: str, version: str, *flags: str, **env: str) -> Program:
    """Built in a module of its own that requires it: `go install` would ask for a list of all versions first."""
    name = command.rpartition("/")[2]
    package = module if command == name else f"{module}/{command}"  # at the top of its module it has no folder
    return Program(
        version=version,
        install=("go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", *flags, "-o", name, package),
        binary=name,
        env={"GOFLAGS": "", **env},
        files={"go.mod": f"module outside\n\ngo 1.24.0\n\nrequire {module} v{version}\n"},
    )


def _npm(package: str, version: str, binary: str, *, runs: bool = True) -> Program:
    return Program(
        version=version,
        install=("npm", "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", f"{package}@{version}"),
        binary=f"node_modules/{binary}",
        files={"package.json": "{}"},  # else npm looks for a project above
        runs=runs,
    )


def _cargo(crate: str, version: str, binary: str) -> Program:
    """Built by the newest compiler that rustup has here: what it needs may be newer than the stable one."""
    build = (
        'command -v cargo >/dev/null || { echo "cargo is missing: install Rust with rustup" >&2; exit 1; }; '
        "rustup run nightly cargo --version >/dev/null 2>&1 && with=+nightly; "
        'cargo $with install --locked --root . --version "$1" "$0" || { echo "if it wants a newer rustc: '
        'rustup toolchain install nightly" >&2; exit 1; }'
    )
    return Program(version=version, install=("sh", "-c", build, crate, version), binary=f"bin/{binary}")


def _pip(package: str, version: str, binary: str) -> Program:
    """In a virtual environment of its own: what others pin is not what we pin."""
    return Program(
        version=version,
        install=("sh", "-c", f'"$0" -m venv . && bin/pip install --quiet "{package}==$1"', sys.executable, version),
        binary=f"bin/{binary}",
    )


PROGRAMS: dict[str, Program] = {
    # The last generation on SQLite that builds without a C compiler, two that hold a whole Dolt, and the newest one.
    "bd-sqlite": _go("github.com/steveyegge/beads", "cmd/bd", "0.47.1", CGO_ENABLED="0"),
    "bd-0.63": _go("github.com/steveyegge/beads", "cmd/bd", "0.63.3", "-tags=gms_pure_go", CGO_ENABLED="1"),
    "bd-1.0": _go("github.com/steveyegge/beads", "cmd/bd", "1.0.5", "-tags=gms_pure_go", CGO_ENABLED="1"),
    "bd": _go("github.com/steveyegge/beads", "cmd/bd", "1.3.0", "-tags=gms_pure_go", CGO_ENABLED="1"),
    # The Beads that others wrote anew, on an SQLite of their own; half an hour to build.
    "br": _cargo("beads_rust", "0.7.6", "br"),
    "git-lfs": _go("github.com/git-lfs/git-lfs/v3", "git-lfs", "3.7.0", CGO_ENABLED="0"),
    "aider": _pip("aider-chat", "0.86.2", "aider"),
    # What finds barriers on a page, in the browser that shows it.
    "axe-core": _npm("axe-core", "4.14.1", "axe-core/axe.min.js", runs=False),
    "claude": _npm("@anthropic-ai/claude-code", "2.1.330", ".bin/claude"),
    "codex": _npm("@openai/codex", "0.169.0", ".bin/codex"),
    "gemini": _npm("@google/gemini-cli", "0.61.0", ".bin/gemini"),
    "opencode": _npm("opencode-ai", "1.18.33", ".bin/opencode"),
}


def find(name: str) -> Path | None:
    """Where a program is; None where nobody has installed it."""
    program = PROGRAMS[name]
    path = program.folder(name) / program.binary
    return path if os.access(path, os.X_OK if program.runs else os.R_OK) else None


def outside(name: str) -> Path:
    """Where a program is. Skips the test, saying how to get it, where it is not there."""
    there = find(name)
    if there is None:
        raise unittest.SkipTest(f"{name} {PROGRAMS[name].version} is not installed: python tests/outside.py {name}")
    return there


def install(name: str) -> Path:
    """The program, installed unless it is there. Raises CalledProcessError or FileNotFoundError."""
    if there := find(name):
        return there
    program = PROGRAMS[name]
    folder = program.folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in program.files.items():
        (folder / file).write_text(text)
    env = {**os.environ, **program.env}
    subprocess.run(program.install, cwd=folder, env=env, check=True, stdin=subprocess.DEVNULL)
    there = find(name)
    if there is None:
        raise FileNotFoundError(f"{name} was installed, but {folder / program.binary} is not there")
    return there


def main(names: list[str]) -> int:
    """Install these; the exit status is 1 where one could not be, after all were tried."""
    failed = 0
    for name in names or sorted(PROGRAMS):
        try:
            found = install(name) if names else find(name)
        except (OSError, subprocess.CalledProcessError) as error:
            failed, found = 1, None
            print(f"{name} {PROGRAMS[name].version}: can't be installed: {error}", file=sys.stderr)
        print(f"{name} {PROGRAMS[name].version}: {found or 'not there'}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
