"""Runs on this machine: detached processes under a shim, found again by kernel locks, and their run folders.

What a run wrote about itself says how it ended; its locks and processes say whether it lives.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.observed import Occupant, RetryPoint, Room, Run, RunState, StopWhy
from reconciler.model.ports import Agent, RunSpec
from reconciler.model.venue import Venue
from reconciler.runners import _processes as processes
from reconciler.runners import supervisor
from reconciler.runners._archive import Archive
from reconciler.runners._archiving import Archiving, archive_of
from reconciler.runners._census import Census
from reconciler.runners._environments import Environments
from reconciler.runners._folders import Folders
from reconciler.runners._locks import PROBE_PATIENCE_S, Locks, held, take
from reconciler.runners._logs import Logs
from reconciler.runners._occupants import Occupants
from reconciler.runners._past import Past
from reconciler.runners._records import Record
from reconciler.runners._reports import Reports
from reconciler.runners._retry_points import RetryPoints
from reconciler.runners._slots import SlotCounts
from reconciler.runners._states import NOTHING
from reconciler.runners._stopping import Stopping
from reconciler.system import machine_room, program, refused, shell
from reconciler.system.scopes import Scopes

START_PATIENCE_S = 5.0
SWEEP_PATIENCE_S = 3.0


class LocalRunner:
    """The `Runner` of one machine. Safe to share between threads, and to use beside other reconcilers.

    `state` is our folder in the repository, `environ` the caller's environment, `program` the folder that holds the
    `reconcile` program. `bound` gives the number of agents that a recorded manifest allows at this moment, None where
    none is recorded. `always` is what every run gets, whatever its name looks like. `agents` read what runs print; what
    they made of it is kept beside the run, unless `keep` is False. `begins` is called before a run starts and once more
    when it is there: what people say while it starts is not to be missed.

    Who ends what: a shim ends everything of its run. What outlives a shim that was killed is reported as ENDING (an
    agent that is running within its time limit: as RUNNING). It ends when `stop` is called for it, or, where the run left
    a record, when the next run of its subject starts. So for a run that stays ENDING, call `stop` again, whatever the
    reason given: nothing is added to the record of a run that is ending, and after 10 s it is killed.

    After a good ending a run is ENDED while its shim still sweeps (a second at most, if it left something). Until that is
    over, `start` waits, and `occupants` names what stands in the worktree.
    """

    def __init__(
        self,
        state: Path,
        environ: Mapping[str, str],
        program: Path,
        bound: Callable[[str], int | None],
        always: Callable[[], Mapping[str, str]] = dict,
        agents: Mapping[str, Agent] | None = None,
        *,
        keep: bool = True,
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        # One spelling for everybody: the path of its folder is what a run's processes are found by.
        state = state.resolve()
        self._scopes = Scopes(environ)
        self._environ, self._begins = dict(environ), begins
        self._locks = Locks(state / "locks")
        archive = Archive(archive_of(state / "runs"), lambda run: self._census.derive(run))
        self._folders = Folders(state / "runs", archive)
        self._stopping = Stopping(self._locks, self._folders)
        self._occupants = Occupants(self._locks, self._folders)
        self._slots = SlotCounts(locks=self._locks, folders=self._folders, bound=bound)
        agents = agents or {}
        self._logs = Logs(self._folders, agents)
        self._environments = Environments(self._environ, program, always, agents)
        past = Past(str(state / "runs")) if keep else None
        self._census = Census(self._locks, self._folders, Reports(self._folders, agents, keep), past)
        self._archiving = Archiving(
            self._locks, self._folders, archive, self._census.again, lambda key: self._census.forget([key])
        )
        self._retry_points = RetryPoints(self._folders, self._census)
        self._open: Collection[TaskId] | None = None  # of the last look
        self._turn = threading.Lock()

    # --- looking -------------------------------------------------------------------------------------------

    def folder(self, run: RunId) -> Path:
        """Where everything about a run is: spec.json, prompt, log, run.json, exit.json, stop.json."""
        return self._folders.folder(run)

    def log(self, run: RunId, at: int = 0) -> tuple[bytes, int]:
        """What a run printed from byte `at` on, and where it ends; from the beginning where it was cut short."""
        return self._logs.read(run, at)

    def log_tail(self, run: RunId, most: int = 8000) -> str:
        """The last `most` characters that a run printed, as people read them; empty when it printed nothing."""
        return self._logs.tail(run, most)

    def shown(self, run: RunId) -> Callable[[str], Iterator[str]] | None:
        """What makes lines for people of a run's log; None where it holds such lines already."""
        return self._logs.shown(run)

    def venue(self, run: RunId) -> Venue:
        """Where a run is, or was."""
        return self._folders.record(run).start.at

    def prompt_path(self, run: RunId, at: Venue) -> str:
        """The file that holds a run's prompt, once it is started."""
        return str(self.folder(run) / "prompt")

    def runs(self, open_tasks: Collection[TaskId] | None = None) -> Mapping[RunId, Run]:
        """Every run that left a folder or is alive. Runs that are over are not looked at again."""
        self._open = open_tasks
        return self._runs()

    def _runs(self) -> Mapping[RunId, Run]:
        with refused.temporarily("the runs can't be read"), self._turn:
            shell.reap()
            return self._census.take(self._open)

    def since(self, open_tasks: Collection[TaskId] | None = None) -> Mapping[TaskId, RetryPoint]:
        """For tasks that were retried or reopened: from where runs and landings count."""
        with refused.temporarily("the runs can't be read"), self._turn:
            return self._retry_points.all(open_tasks)

    def occupants(self, paths: Iterable[str]) -> Mapping[str, Occupant]:
        """For each of these folders: a process that has its working directory there and that no live run explains."""
        standing = processes.inside(paths)
        if not standing:
            return {}
        return self._occupants.among(standing, [run.id for run in self._runs().values() if run.alive])

    def room(self, folders: Iterable[str]) -> Room:
        """What this machine has free, as its kernel says."""
        return Room(
            memory=machine_room.free_memory(),
            disk=machine_room.free_disk(folders),
            temporary=machine_room.free_disk([self._environ.get("TMPDIR") or "/tmp"]),
            processes=machine_room.free_processes(),
            of_user=machine_room.left_to_user(limit=machine_room.user_limit()),
            processors=machine_room.processors(),
            load=machine_room.load(),
        )

    def missing(self, spec: EpicSpec) -> str | None:
        """Why this manifest's agent can't be started here; None when it can."""
        return self._environments.missing(spec)

    def lacking(self, spec: EpicSpec, programs: Iterable[str]) -> tuple[str, ...]:
        """Those of these programs that are not on the PATH of this manifest's checks."""
        return self._environments.lacking(spec, programs)

    def takes(self, spec: EpicSpec, option: str) -> bool:
        """False where the program of this manifest's agent lists its options, and this is none of them."""
        return self._environments.takes(spec, option)

    def forbids(self, at: Venue) -> bool:
        """True where no file that lies there may be executed."""
        standing = next(path for path in (Path(at.root), *Path(at.root).parents) if path.exists())
        return bool(os.statvfs(standing).f_flag & getattr(os, "ST_NOEXEC", 0))

    # --- acting --------------------------------------------------------------------------------------------

    def start(self, spec: RunSpec) -> None:
        """Start a run, detached. Raises ChangedError when its task or its slot is held or its number is used.

        The locks go from hand to hand: at no moment between the first look and the last process of the run are they
        free, no matter who is killed.
        """
        try:
            with ExitStack() as ours:
                locks = self._take(spec, ours)
                self._begins()
                apart = self._scopes.around(str(self.folder(spec.id)), f"reconcile {spec.id}")
                folder = self._folders.reserve(spec, self._environments.temporary(spec))
                shim = (sys.executable, "-I", "-S", program.runnable(os.path.realpath(supervisor.__file__)))
                shell.start_detached(
                    [*apart, *shim, str(folder), *map(str, locks)],
                    env=self._environments.of(spec, folder),
                    cwd=folder,
                    pass_fds=[fd for fd in locks if fd >= 0],
                )
            self._wait_until_recorded(spec.id)
            self._begins()
        except OSError as error:
            raise TemporaryError(f"{spec.id} can't be started: {refused.short(error)}", delay=30.0) from error
        except ValueError as error:
            raise PermanentError(f"{spec.id} can't be started: {error}") from error

    @contextmanager
    def idle(self, task: TaskId) -> Iterator[None]:
        """Let no run of a task start while the block runs. Raises ChangedError where one is alive."""
        # Looked at first: with its lock in our own hand, a run that is over would read as alive.
        alive = any(run.alive for run in self._runs().values() if run.id.kind is RunKind.WORK and run.task == task)
        fd = None if alive else take(self._locks.shim(RunKind.WORK, task), PROBE_PATIENCE_S)
        if fd is None:
            raise ChangedError(f"an agent works on {task}")
        try:
            yield
        finally:
            os.close(fd)

    def stop(self, run: RunId, why: StopWhy) -> None:
        """End a run and everything it started. Returns once it has been asked to; look again, and ask again.

        The reason is recorded first, and only for a run that nothing else is ending yet.
        """
        with refused.temporarily(f"{run} can't be stopped"), self._turn:
            self._stop(run, why)

    def give_up(self, run: RunId) -> None:
        """Wait no longer for a run that is elsewhere."""
        raise PermanentError(
            f"{run} is on this machine: it can be ended for certain", hint=f"reconcile stop {run.subject}"
        )

    def mark_since(self, task: TaskId, base: Sha | None, at: datetime) -> None:
        """Count runs and landings of `task` from here on; one that is at work is the first of them."""
        with refused.temporarily(f"the runs of {task} can't be written to", delay=30.0):
            newest = self._folders.newest(RunKind.WORK, task)
            run = self._runs().get(RunId(RunKind.WORK, task, newest))
            at_work = run is not None and run.alive and run.state is not RunState.ENDING
            n = newest - 1 if at_work else newest
            self._folders.write_since(task, RetryPoint(n=n, base=base, at=at))

    def archive(self, open_tasks: Collection[TaskId]) -> None:
        """Put finished runs where they cost nothing, a few at a time: those that are quiet, and not of open tasks."""
        with refused.temporarily("finished runs can't be archived, and stay where they are for now"), self._turn:
            self._archiving.note(self._census.finished())
            self._archiving.turn(open_tasks, self._census.bare)

    # --- how it acts ---------------------------------------------------------------------------------------

    def _take(self, spec: RunSpec, ours: ExitStack) -> tuple[int, int, int]:
        """The descriptors of the three locks that a run holds; -1 for a slot that it does not need."""
        kind, subject = spec.id.kind, spec.id.subject
        last = self._last(kind, subject)
        swept = last is not None and last.exit is not None
        shim_fd = self._locks.take(kind, subject, SWEEP_PATIENCE_S if swept else PROBE_PATIENCE_S)
        ours.callback(os.close, shim_fd)
        if last := self._last(kind, subject):
            self._stopping.make_sure_it_is_over(last)
        agent_fd = self._locks.take_agent(kind, subject)
        ours.callback(os.close, agent_fd)
        if spec.slot is None:
            return shim_fd, agent_fd, -1
        slot_fd = self._slots.take(spec.slot)
        ours.callback(os.close, slot_fd)
        return shim_fd, agent_fd, slot_fd

    def _last(self, kind: RunKind, subject: str) -> Record | None:
        newest = self._folders.newest(kind, subject)
        return self._folders.record(RunId(kind, subject, newest)) if newest else None

    def _wait_until_recorded(self, run: RunId) -> None:
        deadline = time.monotonic() + START_PATIENCE_S
        record = self.folder(run) / "run.json"
        while not record.exists() and time.monotonic() < deadline:
            if not held(self._locks.shim(run.kind, run.subject)) and not record.exists():
                why = self._logs.tail(run, 500).strip().rpartition("\n")[2]
                raise TemporaryError(f"{run}: its supervising process died before it could begin: {why}", delay=30.0)
            time.sleep(0.002)

    def _stop(self, run: RunId, why: StopWhy) -> None:
        newest = self._folders.newest(run.kind, run.subject) <= run.n
        locks = self._locks.held(run.kind, run.subject) if newest else NOTHING
        record = self._folders.record(run)
        judged = self._census.judge(record, locks)
        if judged.state in (RunState.STARTING, RunState.RUNNING) and self.folder(run).exists():
            self._folders.write_stop(run, why)
        if locks.shim:
            self._stopping.ask_shim(record)
        elif not judged.over or not self.folder(run).exists():
            self._stopping.sweep(record)
