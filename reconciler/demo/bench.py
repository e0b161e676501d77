"""A throwaway repository in which the program can be killed at an instant of one's choice, and started again."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import sh
from msgspec import Struct, field

WAIT_MAX_S = 60.0
PAUSE_S = 0.05
KILLED = 128 + signal.SIGKILL
_ANY_END = range(-64, 256)  # how it ended is looked at, and raises nothing
TASK = "Do it"
HANG = 'touch "$out/hanging"; sleep 600'
# The n-th agent runs what `life.<n>` says; the last one is repeated.
_AGENT = """\
out={out}; echo start >> "$out/starts"; n=$(grep -c . "$out/starts")
while test "$n" -gt 1 && ! test -e "$out/life.$n"; do n=$((n - 1)); done
commit() {{ echo "$1" > "$1" && git add "$1" && git commit --quiet --message="$1"; }}
. "$out/life.$n"
"""
_CHECK = """\
out={out}; echo check >> "$out/checks"
until test -e "$out/may-pass"; do sleep 0.05; done
test -e README && git rev-parse 'HEAD^{{tree}}' >> "$out/green"
"""
# Stands before git on the PATH: the first command that matches is cut off, or kills who asked for it.
STRIKING_GIT = """\
#!/bin/sh
case "$*" in
    {pattern}) if mkdir {out}/struck 2> /dev/null; then
        ({cut} {git} "$@") > /dev/null
        kill -KILL "$PPID"
        exit 137
    fi;;
esac
exec {git} "$@"
"""


class Unmet(Exception):
    """What was promised and did not come."""


class Bench(Struct):
    """A repository with one task, agents that do as they are asked, and the program that can be killed."""

    folder: Path
    env: dict[str, str]
    running: list[Any] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, env: Mapping[str, str]) -> Bench:
        """The repository with its first commit. `folder`: one that is there, and empty."""
        bench = cls(folder, dict(env))
        bench.out.mkdir()
        bench.root.mkdir()
        (bench.out / "may-pass").touch()
        for name, script in (("agent.sh", _AGENT), ("check.sh", _CHECK)):
            (bench.out / name).write_text(script.format(out=bench.out), "utf-8")
        for args in (
            ("init", "--quiet", "--initial-branch=main"),
            ("config", "user.name", "reconcile demo"),
            ("config", "user.email", "demo@localhost"),
        ):
            bench.git(*args)
        (bench.root / "README").write_text("A repository for a moment.\n", "utf-8")
        bench.git("add", "README")
        bench.git("commit", "--quiet", "--message=Begin")
        return bench

    @property
    def root(self) -> Path:
        return self.folder / "project"

    @property
    def out(self) -> Path:
        return self.folder / "outside"

    @property
    def manifest(self) -> Path:
        return self.folder / "epic.yaml"

    # --- what is wanted ---

    def wants(self, *lives: str) -> None:
        """One task, whose agents live these lives one after the other."""
        for number, life in enumerate(lives, 1):
            (self.out / f"life.{number}").write_text(life + "\n", "utf-8")
        spec = {
            "repository": str(self.root),
            "tasks": [{"key": "it", "title": TASK}],
            "agent": {
                "kind": "command",
                "argv": ["sh", str(self.out / "agent.sh")],
                "backoff": {"initial": "0s", "max": "1s"},
            },
            "mergePolicy": {"checks": [f"sh {self.out / 'check.sh'}"], "protectedPaths": []},
        }
        document = {"apiVersion": "reconcile/v1", "kind": "Epic", "metadata": {"name": "recovery"}, "spec": spec}
        self.manifest.write_text(json.dumps(document), "utf-8")  # JSON is YAML

    def strikes(self, pattern: str, cut: str = "") -> None:
        """Kill the one who runs the first git command that matches; `cut`: what git itself runs under until then."""
        folder = self.out / "bin"
        folder.mkdir()
        script = STRIKING_GIT.format(
            pattern=pattern, out=self.out, cut=cut, git=shutil.which("git", path=self.env["PATH"])
        )
        (folder / "git").write_text(script, "utf-8")
        (folder / "git").chmod(0o755)
        self.env["PATH"] = f"{folder}:{self.env['PATH']}"

    # --- what is done ---

    def watch(self) -> Any:
        """The program at its work, in the background."""
        process = self._program(
            "watch",
            "--until-done",
            "--interval=1s",
            "-f",
            str(self.manifest),
            _bg=True,
            _bg_exc=False,
            _ok_code=_ANY_END,
        )
        self.running.append(process)
        return process

    def hanging(self) -> Any:
        """The program at its work, once its agent hangs."""
        process = self.watch()
        self.until((self.out / "hanging").exists, "an agent that hangs")
        return process

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something holds. Raises Unmet."""
        end = time.monotonic() + WAIT_MAX_S
        while not condition():
            if time.monotonic() > end:
                raise Unmet(f"waited {WAIT_MAX_S:.0f} s for {what}")
            time.sleep(PAUSE_S)

    def kill(self, process: Any) -> None:
        """Kill the program alone, and leave its agents running."""
        process.signal(signal.SIGKILL)
        self.until(lambda: not process.is_alive(), "the program to be gone")

    def crash(self, process: Any) -> None:
        """Kill the program, and every agent and check with all that they started: as when a machine goes down."""
        self.kill(process)
        while found := [each for each in psutil.process_iter() if self._is_ours(each)]:
            for each in found:
                try:
                    each.kill()
                except psutil.NoSuchProcess:
                    pass
            psutil.wait_procs(found, timeout=1)

    def dies(self) -> None:
        """Run the program until a git command kills it. Raises Unmet where none did."""
        process = self.watch()
        self.until(lambda: not process.is_alive(), "the kill")
        if process.exit_code not in (-signal.SIGKILL, KILLED):
            raise Unmet(f"the program was to be killed, and ended with {process.exit_code}")

    def goes_on(self) -> None:
        """Start the program again, and let it come to its end. Raises Unmet where that is none."""
        try:
            self._program("watch", "--until-done", "--interval=1s", _timeout=WAIT_MAX_S)
        except (sh.ErrorReturnCode, sh.TimeoutException) as error:
            raise Unmet(f"started again, it came to no good end: {type(error).__name__}") from error

    def clear(self) -> None:
        """End everything that was started here."""
        for process in self.running:
            if process.is_alive():
                self.crash(process)

    # --- what is seen ---

    def count(self, name: str) -> int:
        """How many times agents started (`starts`), or checks ran (`checks`)."""
        path = self.out / name
        return len(path.read_text("utf-8").splitlines()) if path.exists() else 0

    def on_main(self, path: str) -> str:
        """What a file holds on the base; empty where it is not there."""
        return self.git("show", f"main:{path}", _ok_code=(0, 128))

    def expect(self, **facts: int) -> None:
        """Raise Unmet unless agents were started, and checks run, exactly so often."""
        for name, wanted in facts.items():
            if (found := self.count(name)) != wanted:
                raise Unmet(f"{name}: {found}, not {wanted}")

    def converged(self) -> None:
        """The proof with which every scenario ends. Raises Unmet."""
        status = json.loads(self._program("status", "-o", "json"))
        tasks = [task for epic in status["epics"] for task in epic["tasks"]]
        if [(task["status"], task["phase"]) for task in tasks] != [("closed", "merged")]:
            raise Unmet("its task is not merged and closed")
        if (subjects := self.git("log", "--format=%s", "main").splitlines()) != [TASK, "Begin"]:
            raise Unmet(f"main holds {subjects}")
        worktrees = self.git("worktree", "list", "--porcelain").count("worktree ") - 1
        if worktrees or self.git("branch", "--list", "agent/*").strip():
            raise Unmet("a worktree or a branch is left")
        begun, *merged = self.git("log", "--reverse", "--format=%T", "main").split()
        green = (self.out / "green").read_text("utf-8").split()
        if not {*merged, *self.git("log", "--walk-reflogs", "--format=%T", "main").split()} - {begun} <= set(green):
            raise Unmet("a tree got onto main that its checks had not passed")

    def git(self, *args: str, **how: Any) -> str:
        git = sh.Command("git").bake(_cwd=str(self.root), _env=self.env, _tty_out=False)
        return str(git("--no-pager", *args, **how))

    def _program(self, *args: str, **how: Any) -> Any:
        program = sh.Command(sys.executable).bake("-m", "reconciler", _cwd=str(self.root), _env=self.env)
        return program(*args, _tty_out=False, **how)

    def _is_ours(self, process: psutil.Process) -> bool:
        """True for an agent, a check or what supervises one: each carries the mark of its run, and this folder in it."""
        try:
            environ = process.environ()
        except psutil.Error:
            return False
        return "RECONCILE_RUN" in environ and str(self.folder) in "\n".join((*environ.values(), *_argv(process)))


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
