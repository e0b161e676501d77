"""A repository, a remote, and pretend nodes on this machine: runs that are elsewhere, under real processes and real git."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import gitrepo
from waiting import until

from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run
from reconciler.model.ports import RunSpec, SlotBound
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners import courier, supervisor
from reconciler.runners._engines import Engine
from reconciler.runners.anywhere import AnyRunner
from reconciler.workspaces.elsewhere import AnyWorkspaces

MOST = 4


class Nodes:
    """`folder` holds everything. Each agent writes into a ledger when it starts, and beats there while it lives."""

    def __init__(self, folder: Path, venue: Venue | None = None, files: int = 5) -> None:
        self.folder, self.ledger = folder, folder / "ledger"
        self.ledger.touch()
        self.repo = gitrepo.make(folder, files={f"f{n}.txt": f"file {n}\n" for n in range(files)})
        self.remote = folder / "remote.git"
        self.repo.git("init", "-q", "--bare", str(self.remote))
        # Nodes reach it through a link, and we do not: so they can be cut off alone.
        self.link = folder / "link.git"
        self.link.symlink_to(self.remote)
        self.repo.git("config", f"url.{self.remote}.insteadOf", str(self.link))
        self.venue = venue or Venue(kind=VenueKind.HERE, hosts=("n1", "n2", "n3"))
        if not self.venue.remote and not self.venue.local:
            self.venue = replace(self.venue, remote=str(self.link))
        if not self.venue.scratch and not self.venue.local:
            self.venue = replace(self.venue, scratch=str(folder / "scratch"), sync_s=0.5, lease_s=4.0)
        self.environ = self.repo.environ
        self.born()

    def born(self) -> None:
        """A controller that starts anew, and remembers nothing."""
        self.spaces, self.runner = self.another()

    def another(self) -> tuple[AnyWorkspaces, AnyRunner]:
        git = self.repo.seam()
        spaces = AnyWorkspaces(git)
        state = git.repository.state
        runner = AnyRunner(state, self.environ, Path("/opt/bin"), {}.get, work=spaces.elsewhere)
        return spaces, runner

    def spec(self, **more: object) -> EpicSpec:
        trees = WorktreeSpec(root=str(self.folder / "worktrees"))
        runner = Venue() if self.venue.local else self.venue
        given = {"name": "demo", "repository": str(self.repo.path), "worktrees": trees, "runner": runner}
        return EpicSpec(**{**given, **more})  # type: ignore[arg-type]

    def agent(self, task: str, body: str = "", *, beats: int = 0, end: str = "") -> tuple[tuple[str, ...], ...]:
        """Writes the ledger, a commit, and a file that it does not commit; beats `beats` times in between."""
        script = f"""echo "start {task} $RECONCILE_RUN $$" >> {self.ledger}
{body}
i=0; while [ $i -lt {beats} ]; do i=$((i+1)); date +"beat {task} $RECONCILE_RUN %s.%N" >> {self.ledger}; sleep 0.1; done
echo work of $RECONCILE_RUN >> work.txt; git add work.txt; git commit -qm "work on {task}"; echo half >> half.txt
echo "hello from {task}"; {end}"""
        return (("/bin/sh", "-c", script),)

    def start(
        self,
        task: str,
        n: int = 1,
        steps: tuple[tuple[str, ...], ...] | None = None,
        runner: AnyRunner | None = None,
        **more: object,
    ) -> RunId:
        """What the start of an agent does, without a task's claim."""
        run, base = RunId(RunKind.WORK, task, n), self.repo.head("main")
        place = self.spaces.create(TaskId(task), self.spec(), base, n)
        given: dict[str, object] = {
            "id": run,
            "task": TaskId(task),
            "manifest": "demo",
            "steps": steps or self.agent(task),
            "cwd": place.path,
            "ready_marker": place.ready_marker,
            "unlock": place.lock_file,
            "env": {"RECONCILE_BASE": "main", "RECONCILE_TASK": task},
            "prompt": f"Do {task}.",
            "slot": SlotBound(manifest="demo", most=MOST),
            "baseline": place.head,
            "at": self.venue,
        }
        (runner or self.runner).start(RunSpec(**{**given, **more}))  # type: ignore[arg-type]
        return run

    def run(self, run: RunId) -> Run:
        return self.runner.runs()[run]

    def over(self, run: RunId) -> Run:
        """A run, once it is over."""
        until(lambda: not self.run(run).alive, f"{run} to be over")
        return self.run(run)

    def begun(self, task: str, times: int = 1) -> None:
        until(lambda: self.starts()[task] >= times, f"an agent of {task} to begin")

    def starts(self) -> Counter[str]:
        return Counter(line.split()[1] for line in self.ledger.read_text().splitlines() if line.startswith("start"))

    def beats(self, run: RunId) -> list[float]:
        rows = [line.split() for line in self.ledger.read_text().splitlines() if line.startswith("beat")]
        return [float(row[3]) for row in rows if len(row) == 4 and row[2] == str(run)]

    def phase(self, task: str) -> str:
        seen = self.spaces.elsewhere.refs(self.venue.remote).one(TaskId(task))
        return seen.phase if seen else ""

    def engine(self) -> Engine:
        return self.runner.remote.engine(self.venue)

    def node_of(self, run: RunId) -> str:
        until(lambda: ":" in self.run(run).where, "a node to have claimed it")
        return self.run(run).where.partition(":")[2]

    def processes(self, run: RunId) -> list[int]:
        """The courier of a run, and everything below it."""
        wanted = f".{run.subject}.{run.n}.".encode()
        found = []
        for pid in supervisor.parent_pids():
            words = courier.read(f"/proc/{pid}/cmdline")
            if b"/jobs/rc." in words and wanted in words and str(self.folder).encode() in words:
                found += [pid, *courier.descendants(pid)]
        return found

    def left(self) -> list[str]:
        """What runs have left on the nodes."""
        runs, trees = ((self.folder / "scratch").glob(where) for where in ("*/runs/work/*/*", "*/work/*"))
        return sorted(str(path) for path in {*runs, *trees})

    def strays(self) -> list[str]:
        """What else lies there, but for the mirrors, and what the engine has of its jobs."""
        found = (path for path in (self.folder / "scratch").rglob("*") if path.is_file())
        kept = re.compile(r"/jobs/|/mirrors/[^/]+\.git/")
        return [str(path) for path in found if not kept.search(str(path))]

    def cut(self, *, nodes_only: bool = False) -> Callable[[], None]:
        """Take the remote away from everybody, or from the nodes; what gives it back."""
        here = self.link if nodes_only else self.remote
        gone = here.with_suffix(".gone")
        here.rename(gone)

        def back() -> None:
            gone.rename(here)

        return back

    def forgets(self, run: RunId) -> None:
        """The engine forgets the job of a run, as where its node is dead: it says nothing of it any more."""
        for job in (self.folder / "scratch").glob(f"*/jobs/*.{run.subject}.{run.n}.*"):
            shutil.rmtree(job)

    def send(self, pids: Iterable[int], signum: int) -> None:
        for pid in pids:
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                pass

    def carriers(self, run: RunId) -> list[int]:
        """Everything that works for a run, whoever started it."""
        folder = self.spaces.elsewhere.run_folder(self.venue, TaskId(run.subject), run.n)
        agents = courier.carriers(folder)
        parents = supervisor.parent_pids()
        return [*{parents[pid] for pid in agents if pid in parents}, *agents]

    def clear(self, without: str = "") -> None:
        """End everything that has this folder in its words or its environment, but for what is in the folder `without`."""
        mine = str(self.folder / "scratch" if without else self.folder).encode()
        for _ in range(3):
            for pid in supervisor.parent_pids():
                if pid == os.getpid():
                    continue
                if mine in courier.read(f"/proc/{pid}/cmdline") or mine in courier.read(f"/proc/{pid}/environ"):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
