"""Repositories with tasks, history and live agents in them, and the program as its commands put it together there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import yaml

from reconciler import wiring
from reconciler.cli.output import Output
from reconciler.cli.session import LoopSession
from reconciler.landing import message
from reconciler.loop.loop import Loop, Tick
from reconciler.model import pull_records as record
from reconciler.model.names import PrNumber, RunId, RunKind, Sha, TaskId
from reconciler.model.observed import PullState, Run, Unknown
from reconciler.model.ports import RunSpec
from reconciler.model.pull_records import PullRecord
from reconciler.runners import supervisor
from reconciler.runners._folders import Folders
from tests import gitrepo

ROOT = Path(__file__).parents[2]
FILES = 200
SETTLES_S = 1.2  # sources that were changed within this time are read again by whoever is careful
BEGUN = datetime.now(UTC) - timedelta(days=3)
COMMITS = 'echo work > "$RECONCILE_TASK.txt" && git add . && git commit -qm "Do $RECONCILE_TASK"'
# A trivial task leaves six objects, and the commits of agents have git pack objects and refs once there are 6,700 new ones.
PACKED_AFTER = 1_100
STAYS = "exec sleep 100000"


class Scene:
    """A repository in a folder of its own, and the program in it."""

    def __init__(self, folder: Path, files: int = FILES) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.repo = gitrepo.make(folder, files={"README": "hello\n"})
        if files > 1:
            self._grow(files)
        # The checkout that holds this benchmark is what is measured, whatever else is installed.
        self.environ = {**self.repo.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder.parent / "pyc")}

    @property
    def root(self) -> Path:
        return self.repo.path

    @cached_property
    def site(self) -> wiring.Site:
        return wiring.open_site(self.root, self.environ)

    # --- what is there ---------------------------------------------------------------------------------------

    def tasks(self, ids: Mapping[str, Mapping[str, object]]) -> Path:
        """Write the built-in store: these tasks, with these fields beside the usual ones."""
        path = self.root / ".beads" / "issues.jsonl"
        path.parent.mkdir(exist_ok=True)
        # As Beads and the program write it: without spaces between the values.
        lines = (json.dumps(a_record(id, **fields), separators=(",", ":")) for id, fields in ids.items())
        path.write_text("".join(f"{line}\n" for line in lines))
        # As the first task that is created leaves it.
        path.with_name("config.yaml").write_text('issue-prefix: "task"\n')
        return path

    def manifest(self, **spec: object) -> Path:
        """Write a manifest over every task of the store; nothing is checked, and an agent starts where it can."""
        # A crowd that sleeps takes nothing. By what agents take otherwise, a small disk has no room for all of it.
        takes = {"memory": "0K", "disk": "0K"}
        agent = {"kind": "command", "argv": ["sh", "-c", STAYS], "resources": takes, **dict(spec.pop("agent", {}))}  # type: ignore[call-overload]
        merge = {"checks": [], "noChecks": "allow", **dict(spec.pop("mergePolicy", {}))}  # type: ignore[call-overload]
        fields = {"repository": str(self.root), "agent": agent, "mergePolicy": merge, **spec}
        path = self.folder / "all.yaml"
        head = {"apiVersion": "reconcile/v1", "kind": "Epic", "metadata": {"name": "all"}}
        path.write_text(yaml.safe_dump({**head, "spec": fields}))
        return path

    def recorded(self, **spec: object) -> None:
        """Record a manifest, as `apply` does."""
        for each in wiring.read((str(self.manifest(**spec)),), "", self.environ):
            self.site.recorded.record(each)

    def history(self, done: list[str]) -> None:
        """What tasks leave that landed: a commit on the base, a pull request, the folder and the locks of a run."""
        first, packed = self.repo.head(), max(len(done) - PACKED_AFTER, 0)
        rows = [(PrNumber(n), TaskId(id)) for n, id in enumerate(done, 1)]
        for part in filter(None, (rows[:packed], rows[packed:])):
            # Only the first commit names its parent: the others follow what this very stream has made.
            landed = (_landed(first, *row, follow=row is part[0]) for row in part)
            self._import("".join(landed) + "done\n")
            if part[-1][0] == packed:
                self.repo.git("pack-refs", "--all")
        self.repo.git("reset", "--quiet", "--hard", "main")
        for id in done:
            self._ended_run(TaskId(id), first)

    def offered(self, task: str) -> None:
        """Leave a task as an agent does that ended well: a commit on its branch, a run, and an open pull request."""
        self._ended_run(TaskId(task), self.repo.head())
        head = self.repo.branch(f"agent/{task}", {f"offered/{task}": "work\n"})
        self.site.forge.open(TaskId(task), head, f"Do {task}", "What was done, and why. " * 10)

    # --- the program in it -----------------------------------------------------------------------------------

    def session(self, max_agents: int | None = None) -> LoopSession:
        """What a command turns. It says nothing."""
        out = Output(form="json", color=False)
        return LoopSession(site=self.site, out=out, load=lambda: self.site.desired(max_agents))

    def loop(self) -> Loop:
        return self.session().loop()

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a command in a process of its own."""
        return subprocess.Popen(
            (sys.executable, "-m", "reconciler", *args),
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "errors").open("ab"),
        )

    def ran(self, *args: str, most_s: float = 60.0) -> float:
        """Run a command to its end; the seconds it took. One that takes longer than `most_s` is ended."""
        begun = time.perf_counter()
        process = self.start(*args)
        limit = threading.Timer(most_s, process.kill)
        limit.start()
        try:
            code = process.wait()  # with a limit of its own it looks every 50 ms, and that is what would be measured
        finally:
            limit.cancel()
            process.kill()
        took = time.perf_counter() - begun
        if code:
            raise RuntimeError(f"{args} ended with {code}: {(self.folder / 'errors').read_text()[-2000:]}")
        return took

    def run(self, *argv: str, cwd: Path | None = None) -> None:
        """Run a plain program to its end."""
        subprocess.run(argv, cwd=cwd or self.root, env=self.repo.environ, check=True, capture_output=True)

    def end(self) -> None:
        """End every process that carries a run of this scene."""
        mine = os.fsencode(self.folder)
        while carriers := [pid for pid in supervisor.parent_pids() if (supervisor.marker(pid) or b"").startswith(mine)]:
            for pid in carriers:
                _kill(pid)
            time.sleep(0.05)

    # --- how it is made --------------------------------------------------------------------------------------

    def _ended_run(self, task: TaskId, base: Sha) -> None:
        self.ended(RunId(RunKind.WORK, task, 1), task, base)

    def ended(self, run: RunId, task: TaskId, base: Sha, **more: object) -> None:
        """Leave the folder and the locks of a run that ended well."""
        told = RunSpec(id=run, task=task, manifest="all", steps=(("true",),), cwd="/", baseline=base, **more)  # type: ignore[arg-type]
        folder = Folders(self.site.state / "runs").reserve(told)
        at = BEGUN.isoformat()
        began = {"pid": 1, "boot_id": "before", "started_at": at, "set_up": True}
        (folder / "run.json").write_text(json.dumps(began))
        (folder / "exit.json").write_text(json.dumps({"cause": "exited", "code": 0, "ended_at": at}))
        (folder / "log").touch()
        locks = self.site.state / "locks"
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        for end in ("shim", "agent"):
            (locks / f"{run.kind}-{run.subject}.{end}").touch(0o600)

    def _grow(self, files: int) -> None:
        made = "".join(
            f"M 100644 inline d{n // 1000}/e{n // 100 % 10}/f{n}\ndata <<.\nline {n}\n.\n" for n in range(files)
        )
        who = "committer Somebody <somebody@example.org> 1700000000 +0000\n"
        self._import(f"commit refs/heads/main\n{who}data 4\nGrow\nfrom {self.repo.head()}\n{made}done\n")
        self.repo.git("reset", "--quiet", "--hard", "main")

    def _import(self, stream: str) -> None:
        subprocess.run(
            ("git", "fast-import", "--quiet", "--done", "--force"),
            cwd=self.root,
            env=self.repo.environ,
            input=stream.encode(),
            check=True,
        )


@contextmanager
def scene(name: str, files: int = FILES) -> Iterator[Scene]:
    """A scene that leaves nothing behind: neither a file nor a process."""
    with tempfile.TemporaryDirectory(prefix=f"reconcile-bench-{name}-", ignore_cleanup_errors=True) as folder:
        made = Scene(Path(os.path.realpath(folder)) / "scene", files)
        try:
            yield made
        finally:
            made.end()


def a_record(id: str, **fields: object) -> dict[str, object]:
    """A task as the built-in store keeps it, with the text that a task usually has."""
    closed = {"closed_at": stamp(2)} if fields.get("status") == "closed" else {}
    return {
        "id": id,
        "title": f"Bring part {id} to where the others are",
        "description": "What is there, what is to be there, and where to look first. " * 4,
        "acceptance_criteria": "It works as described, and the tests say so. " * 2,
        "status": "open",
        "priority": 2,
        "issue_type": "task",
        "created_at": stamp(3),
        "updated_at": stamp(2),
        **closed,
        **fields,
    }


def landed(ids: list[str]) -> dict[str, dict[str, object]]:
    """Tasks as they stand in the store after they landed."""
    return {id: {"status": "closed", "close_reason": "landed", "labels": ["phase:merged"]} for id in ids}


def live(tick: Tick) -> list[Run]:
    """The work runs that were alive when somebody looked."""
    if isinstance(tick.observed.runs, Unknown):
        raise RuntimeError(tick.observed.runs.why)
    return [run for runs in tick.observed.runs.values() for run in runs if run.alive]


def stamp(days_ago: int) -> str:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def until(true: Callable[[], object], what: str, most_s: float = 120.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + most_s
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain: {what}")
        time.sleep(0.02)


def _landed(first: Sha, number: PrNumber, task: TaskId, *, follow: bool) -> str:
    at = int(BEGUN.timestamp()) + number
    closed = datetime.fromtimestamp(at, UTC)
    kept = PullRecord(
        number=number,
        task=task,
        title=f"Do {task}",
        body="What is there, what is to be there, and where to look first. " * 4,
        head=first,
        opened_head=first,
        opened_at=BEGUN,
        state=PullState.MERGED,
        closed_at=closed,
        method="squash",
    )
    text = message.of_landing(f"Do {task}", "", task, first)
    file = f"M 100644 inline done/{task}\ndata 5\nwork\n\n"
    on_base = _commit("refs/heads/main", at, text, f"from refs/heads/main^0\n{file}" if follow else file)
    return on_base + _commit(f"refs/reconcile/pr/{number}", at, record.encode(kept), f"from {first}\n")


def _commit(ref: str, at: int, text: str, rest: str) -> str:
    who = f"committer Somebody <somebody@example.org> {at} +0000\n"
    return f"commit {ref}\n{who}data {len(text.encode())}\n{text}\n{rest}\n"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
