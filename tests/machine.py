"""A machine to run things on: a state folder, a runner on it, and nothing left of either when the test is over."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from waiting import until

from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run, RunState
from reconciler.model.ports import RunSpec, SlotBound
from reconciler.runners import supervisor
from reconciler.runners.local import LocalRunner

# Puts a command in place of the shell that has no descriptor but the usual three: neither lock nor slot.
_CLOSE = "import os, sys; os.closerange(3, 400); os.execvp(sys.argv[1], sys.argv[1:])"
CLOSED = f"exec {sys.executable} -I -S -c '{_CLOSE}' "


def lives(pid: int) -> bool:
    return pid in supervisor.parent_pids()


class Machine:
    """One state folder, the runner on it, and a folder to work in."""

    def __init__(self, path: Path) -> None:
        self.state = path / "state"
        self.cwd = path / "worktree"
        self.cwd.mkdir(parents=True)
        self.most: dict[str, int] = {}
        self.environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
        self.runner = self.another()

    def another(self, environ: Mapping[str, str] | None = None) -> LocalRunner:
        """A runner that remembers nothing, as after a restart."""
        return LocalRunner(self.state, environ or self.environ, Path("/opt/reconcile/bin"), self.most.get)

    def spec(
        self, script: str = "", *, n: int = 1, subject: str = "x-1", most: int | None = None, **more: object
    ) -> RunSpec:
        given = {
            "id": RunId(RunKind.WORK, subject, n),
            "task": TaskId(subject),
            "manifest": "demo",
            "steps": (("sh", "-c", script),),
            "cwd": str(self.cwd),
            "slot": None if most is None else SlotBound(manifest="demo", most=most),
        }
        return RunSpec(**{**given, **more})  # type: ignore[arg-type]

    def start(self, script: str = "", **more: object) -> RunId:
        spec = self.spec(script, **more)  # type: ignore[arg-type]
        self.runner.start(spec)
        return spec.id

    def run(self, run: RunId) -> Run:
        return self.runner.runs()[run]

    def is_over(self, run: RunId) -> bool:
        """Ended or lost, and its locks free."""
        locks = self.runner._locks.held(run.kind, run.subject)
        return not self.run(run).alive and not locks.any

    def finished(self, script: str = "", **more: object) -> Run:
        """The run of a script, after it is over."""
        run = self.start(script, **more)
        until(lambda: self.is_over(run), f"{run} to be over")
        return self.run(run)

    def log(self, run: RunId) -> str:
        return self.runner.log_tail(run)

    def told(self, name: str) -> int:
        """The pid that a script wrote into a file of its folder."""
        path = self.cwd / name
        until(lambda: path.exists() and path.read_text().strip(), f"{name} to be written")
        return int(path.read_text())

    def shim_of(self, run: RunId) -> int:
        until(lambda: self.run(run).pid, f"{run} to be supervised")
        pid = self.run(run).pid
        assert pid
        return pid

    def kill_shim(self, run: RunId) -> None:
        """Kill the supervisor of a run that is running (before that there is no agent to outlive it)."""
        until(lambda: self.run(run).state not in (RunState.STARTING, RunState.LOST), "the run to be running")
        pid = self.shim_of(run)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not lives(pid), "the shim to be dead")

    def clear(self) -> None:
        """End everything that carries a marker of this state folder or stands in one of its folders."""
        for _ in range(3):
            for pid in supervisor.parent_pids():
                marker = os.fsdecode(supervisor.marker(pid) or b"")
                if marker.startswith(str(self.state)) or _cwd(pid).startswith(str(self.cwd)):
                    os.kill(pid, signal.SIGKILL)


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd") if pid != os.getpid() else ""
    except OSError:
        return ""


def states(machine: Machine) -> dict[str, RunState]:
    return {str(run): seen.state for run, seen in machine.runner.runs().items()}
