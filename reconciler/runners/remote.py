"""Runs on other machines: reserved by a swap of the task's ref, placed by an engine, seen by what their refs say.

Whether one lives is never for the engine to tell. `ended` in the ref proves that it is over; a ref that we could swap to `revoked`
proves that it can't write any more. Everything else counts as alive, and silence is counted by our own clock, for as long as
the remote answers us.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from reconciler.git.task_refs import Reported, TaskRefs
from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import RUN_REFS, RunId, Sha, TaskId, branch_of
from reconciler.model.observed import Cause, Run, Salvage, StopWhy
from reconciler.model.ports import RunSpec
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners import _records as records
from reconciler.runners import courier, supervisor
from reconciler.runners._engines import Engine, EngineJob, JobState
from reconciler.runners._folders import Folders
from reconciler.runners._hosts import Hosts
from reconciler.runners._locks import Locks
from reconciler.runners._records import Record, read_json, read_plain
from reconciler.runners._slurm import Slurm

UNBORN_S = 2.0  # a reservation without a job, before it is taken back
ASK_AGAIN_S = 10.0
DEAF_S = 30.0  # that a run has been asked to end by its engine, before its ref says so
CANCELLED_MOST_S = 60.0  # from a cancel to the swap, where an engine says that a silent run lives
FINAL_S = 60.0
GIVE_UP_TRIES = 5
CLAIM = "claim.json"
LOG_MAX = 2 * supervisor.LOG_MAX


class WorkKeeper(Protocol):
    """What becomes of the work of runs that are elsewhere."""

    @property
    def us(self) -> str: ...
    def refs(self, url: str) -> TaskRefs: ...
    def run_folder(self, at: Venue, task: TaskId, n: int) -> str: ...
    def tree_path(self, at: Venue, task: TaskId, n: int) -> str: ...
    def adopt(self, seen: Reported, at: Venue) -> bool: ...
    def keep(self, task: TaskId, commit: Sha) -> Salvage: ...
    def base(self, name: str) -> Sha | None: ...
    def identity(self) -> Mapping[str, str]: ...


class Note(Struct, frozen=True, kw_only=True):
    """What is known of a live run beside its record, by the one who looks."""

    node: str = ""
    remark: str = ""
    silent_s: float = 0.0
    gives_up_in_s: float = 0.0

    def on(self, run: Run, now: datetime) -> Run:
        """A run with this note."""
        kind = run.where.partition(":")[0]
        silent = self.gives_up_in_s > 0
        return replace(
            run,
            where=f"{kind}:{self.node}" if self.node else run.where,
            remark=self.remark,
            heard_at=now - timedelta(seconds=self.silent_s) if silent else None,
            gives_up_at=now + timedelta(seconds=self.gives_up_in_s) if silent else None,
        )


class RemoteRuns:
    """The runs of one repository that are not on this machine. For one thread at a time.

    Its folders are where those of every run are, and are filled from the refs: who reads them need not know where a run is.
    """

    def __init__(self, locks: Locks, folders: Folders, work: WorkKeeper, environ: Mapping[str, str]) -> None:
        self._locks, self._folders, self._work, self._environ = locks, folders, work, environ
        self.notes: dict[RunId, Note] = {}
        self._filled: dict[RunId, Sha] = {}
        self._silent: dict[RunId, float] = {}  # seconds of silence that we could have heard something in
        self._heard: dict[str, float] = {}  # when a remote answered last, and has not failed to since
        self._unborn: dict[RunId, float] = {}
        self._asked: dict[RunId, tuple[float, float]] = {}  # when a run was asked to end: first, last
        self._cancelled: dict[RunId, float] = {}

    # --- looking --------------------------------------------------------------------------------------------

    def look(self, runs: Iterable[RunId]) -> None:
        """Write what is new of these runs, which are alive, into their folders; give up those that nobody hears any more."""
        remotes: dict[str, list[Record]] = {}
        for run in runs:
            record = self._folders.record(run)
            remotes.setdefault(record.start.at.remote, []).append(record)
        jobs: dict[tuple[str, ...], Mapping[str, Sequence[EngineJob]] | None] = {}
        for url, group in remotes.items():
            starting = {r.id for r in group if self._locks.held(r.id.kind, r.id.subject).shim}
            now, refs = time.monotonic(), self._work.refs(url)
            try:
                seen = refs.look()
            except ReconcileError as error:
                self._heard.pop(url, None)
                for record in group:
                    self.notes[record.id] = Note(node=record.node, remark=f"the remote does not answer: {error}")
                continue
            passed = now - self._heard.get(url, now)
            self._heard[url] = now
            moved = self._fill(refs, group, seen)
            for record in group:
                if record.id not in starting and not self._settled(record.id):
                    waited = 0.0 if record.id in moved else passed
                    with suppress(ReconcileError):  # what was refused, or not answered, is looked at again
                        self._judge(record, seen.get(record.start.task), waited, self._jobs(record.start.at, jobs))

    def _settled(self, run: RunId) -> bool:
        return self._folders.record(run).settled

    def _jobs(
        self, at: Venue, known: dict[tuple[str, ...], Mapping[str, Sequence[EngineJob]] | None]
    ) -> Mapping[str, Sequence[EngineJob]] | None:
        """What the engine of a venue says; None where it does not answer. Each is asked once."""
        key = (at.kind, at.scratch, *at.hosts)
        if key not in known:
            try:
                known[key] = self.engine(at).jobs()
            except ReconcileError:
                known[key] = None
        return known[key]

    def _fill(self, refs: TaskRefs, group: Iterable[Record], seen: Mapping[TaskId, Reported]) -> frozenset[RunId]:
        """Bring what moved on a remote into the run folders: log and beginning first, the ending last."""
        moved: dict[RunId, tuple[Record, Reported]] = {}
        for record in group:
            reported, nonce = seen.get(record.start.task), self._claim(record.id).get("nonce")
            if reported is None or reported.nonce != nonce:
                continue
            if self._filled.get(record.id) != reported.at:
                moved[record.id] = record, reported
        if not moved:
            return frozenset()
        wanted = [reported for _, reported in moved.values()]
        files = refs.files(wanted, "run.json", "exit.json", "says.json", "log")
        for run, (record, reported) in moved.items():
            self._silent[run] = 0.0
            self._cancelled.pop(run, None)
            with suppress(ReconcileError):  # as its branch moves at this very moment: next time
                self._filled[run] = reported.at
                self._fill_one(record, reported, files.get(reported.task, {}))
                continue
            self._filled.pop(run, None)
        return frozenset(moved)

    def _fill_one(self, record: Record, reported: Reported, files: Mapping[str, bytes]) -> None:
        folder = self._folders.folder(record.id)
        if log := files.get("log"):
            _replace(folder / "log", log)
        if says := files.get("says.json"):
            _replace(folder / "says.json", says)
        if began := records.as_object(files.get("run.json", b"")):
            value = {**began, "pid": None, "boot_id": "", "node": reported.node}
            if read_json(str(folder / "run.json")) != value:
                supervisor.write_json(str(folder / "run.json"), value)
        ending = records.as_object(files.get("exit.json", b""))
        if reported.phase == "ended":
            self._end(record, reported, ending)
        elif reported.phase == "revoked":
            self._given_up(record, reported, "it was given up")

    def _end(self, record: Record, reported: Reported, ending: Mapping[str, Any]) -> None:
        """The work first, then the record: who sees that a run is over finds its commits."""
        if not records.exit_of(ending):
            ending = {"cause": "exited", "signal": 9, "ended_at": supervisor.utc(time.time()), "step": 0}
        stop = read_json(str(self._folders.folder(record.id) / "stop.json"))
        ended = records.exit_of(ending)
        # TERM is all that an engine says to a node: why it did is known here.
        by_engine = ended and (
            ended.stop is StopWhy.ENGINE_LIMIT or (ended.cause is Cause.EXITED and ended.signal in (9, 15))
        )
        if stop and by_engine:
            ending = {**ending, "cause": "stopped", "stop": stop.get("why")}
        words = []
        if not self._work.adopt(reported, record.start.at):
            words.append(f"{branch_of(record.start.task)} was moved meanwhile: what this run committed is saved work")
        if reported.lacks:
            words.append(f"not all in its checkout could be saved, so it is kept on {reported.node}: {reported.lacks}")
        if words:
            with open(self._folders.folder(record.id) / "log", "ab") as log:
                log.writelines(f"reconcile: {text}\n".encode() for text in words)
        supervisor.write_json(str(self._folders.folder(record.id) / "exit.json"), dict(ending))
        self._forget(record.id)

    def _judge(
        self, record: Record, seen: Reported | None, passed: float, jobs: Mapping[str, Sequence[EngineJob]] | None
    ) -> None:
        claim = self._claim(record.id)
        if seen is None or seen.nonce != claim.get("nonce"):
            return self._judge_gone(record, claim, passed, jobs)
        mine = None if jobs is None else jobs.get(self.name(record.id, seen.nonce), ())
        states = {job.state for job in mine or ()}
        node = seen.node or next((job.node for job in mine or () if job.node), "")
        if seen.phase == "reserved":
            return self._judge_unborn(record, seen, mine, states)
        self._unborn.pop(record.id, None)
        if record.stop:
            self._ask(record, record.stop, seen)
        silent, lease_s, sync_s = self._silence(record.id, passed), record.start.at.lease_s, record.start.at.sync_s
        most = 3 * sync_s if mine and states == {JobState.OVER} else 2 * lease_s
        lives = JobState.RUNNING in states or JobState.QUEUED in states
        if silent >= most and lives:
            # The engine is sure of it: it can end it for certain, where it reaches its node.
            if record.id not in self._cancelled:
                self._cancelled[record.id] = time.monotonic()
                with suppress(ReconcileError):
                    self.engine(record.start.at).cancel(self.name(record.id, seen.nonce))
            most += min(CANCELLED_MOST_S, lease_s)
        if silent >= most:
            remark = next((job.remark for job in mine or () if job.remark), "")
            return self._revoke(record, seen, f"no word from {node or 'its node'} for {silent:.0f} s {remark}".strip())
        waits = max(most - silent, 0.001) if silent > 3 * sync_s else 0.0
        self.notes[record.id] = Note(
            node=node,
            remark="" if mine is not None else "its engine does not answer",
            silent_s=silent,
            gives_up_in_s=waits,
        )

    def _judge_unborn(
        self, record: Record, seen: Reported, mine: Sequence[EngineJob] | None, states: set[JobState]
    ) -> None:
        """A reservation that no node has claimed: one side wins the swap; so no clock is asked."""
        waiting = next((job for job in mine or () if job.state in (JobState.QUEUED, JobState.RUNNING)), None)
        if mine is None or (waiting and not record.stop):
            remark = "the engine does not answer" if mine is None else waiting.remark if waiting else ""
            self._unborn.pop(record.id, None)
            self.notes[record.id] = Note(node=waiting.node if waiting else "", remark=remark or "waits for a node")
            return
        since = self._unborn.setdefault(record.id, time.monotonic())
        if record.stop or time.monotonic() - since >= UNBORN_S:
            self._revoke(record, seen, "it was stopped before it began" if record.stop else "its job is gone")

    def _judge_gone(
        self, record: Record, claim: Mapping[str, Any], passed: float, jobs: Mapping[str, Sequence[EngineJob]] | None
    ) -> None:
        """The ref does not speak of this run: it never did, or somebody took it away. Its node is refused at its next push."""
        if not claim.get("reserved"):
            return self._settle(record, "it was not reserved")
        silent = self._silence(record.id, passed)
        mine = None if jobs is None else jobs.get(self.name(record.id, str(claim.get("nonce"))), ())
        over = mine and all(job.state is JobState.OVER for job in mine)
        most = 3 * record.start.at.sync_s if over else 2 * record.start.at.lease_s
        if silent >= most:
            return self._settle(record, "somebody removed or replaced its ref on the remote")
        self.notes[record.id] = Note(node=record.node, silent_s=silent, gives_up_in_s=most - silent)

    def _silence(self, run: RunId, passed: float) -> float:
        self._silent[run] = self._silent.get(run, 0.0) + passed
        return self._silent[run]

    # --- acting ---------------------------------------------------------------------------------------------

    def start(
        self,
        spec: RunSpec,
        shim_fd: int,
        reserve: Callable[[], Path],
    ) -> None:
        """Reserve the task's ref and have the engine place the run. The lock of the task is held, in `shim_fd`.

        `reserve` makes the run's folder, behind the gate. Raises ChangedError where somebody else was first.
        """
        at, refs = spec.at, self._work.refs(spec.at.remote)
        last = refs.one(spec.task)
        # A reservation of ours that no run of ours stands for: its answer was lost. The swap takes it over.
        if last and not last.over and not (last.phase == "reserved" and last.by == self._work.us):
            raise ChangedError(f"{spec.task} is at work on {last.node or 'a node that has yet to be found'}")
        folder = reserve()
        record = self._folders.record(spec.id)
        nonce = secrets.token_hex(8)
        supervisor.write_json(str(folder / CLAIM), {"nonce": nonce, "reserved": False})
        try:
            reserved = self._reserve(spec, last, nonce, refs, shim_fd)
        except ChangedError:
            self._settle(record, "somebody else was first")
            raise
        supervisor.write_json(str(folder / CLAIM), {"nonce": nonce, "reserved": True})
        try:
            script = self._script(spec, reserved)
            passed = {name: self._environ[name] for name in spec.pass_env if name in self._environ}
            self.engine(at).submit(self.name(spec.id, nonce), script, passed, shim_fd)
        except ReconcileError:
            # There may be a job all the same: its claim is refused once this is taken back.
            with suppress(ReconcileError):
                self._revoke(record, reserved, "it could not be submitted")
            raise

    def _reserve(self, spec: RunSpec, last: Reported | None, nonce: str, refs: TaskRefs, lock: int) -> Reported:
        head = self._work.base(branch_of(spec.task))
        if head is None:
            raise ChangedError(f"{branch_of(spec.task)} vanished")
        wip = last.wip if last and last.wip and last.head == head else None
        if last and last.wip and not wip:  # the branch went on without it
            refs.bring(RUN_REFS + spec.task, last.at)
            wip = refs.carried(last.head, last.wip, head)
            if wip is None:
                self._work.keep(spec.task, last.wip)
        made = Reported(
            task=spec.task,
            at=Sha(""),
            phase="reserved",
            n=spec.id.n,
            nonce=nonce,
            by=self._work.us,
            head=head,
            wip=wip,
            branch_at=head,
            manifest=spec.manifest,
        )
        bases = [sha for sha in self._bases(spec).values() if sha != head]
        commit = refs.made(_as_record(made), [wip or head, *bases])
        refs.swap(RUN_REFS + spec.task, last.at if last else None, commit, lock)
        return replace(made, at=commit)

    def _bases(self, spec: RunSpec) -> Mapping[str, Sha]:
        """The base that an agent merges or compares with, by its name."""
        name = spec.env.get("RECONCILE_BASE", "")
        sha = (self._work.base(name) if name else None) or spec.base_tip
        return {name: sha} if name and sha else {}

    def _script(self, spec: RunSpec, reserved: Reported) -> str:
        folder = self._work.run_folder(spec.at, spec.task, spec.id.n)
        given = {
            **self._work.identity(),
            **spec.env,
            "RECONCILE_RUN": str(spec.id),
            supervisor.MARKER: folder,
            "RECONCILE_SAYS": f"{folder}/says.json",
            **({"RECONCILE_PROMPT": f"{folder}/prompt"} if spec.prompt else {}),
        }
        sent = {
            "task": spec.task,
            "n": spec.id.n,
            "nonce": reserved.nonce,
            "by": reserved.by,
            "manifest": spec.manifest,
            "branch_at": reserved.branch_at,
            "expect": reserved.at,
            "ref": RUN_REFS + spec.task,
            "branch": branch_of(spec.task),
            "bases": self._bases(spec),
            "remote": spec.at.remote,
            "root": f"{spec.at.scratch}/{self._work.us}",
            "tree": self._work.tree_path(spec.at, spec.task, spec.id.n),
            "folder": folder,
            "sync_s": spec.at.sync_s,
            "lease_s": spec.at.lease_s,
            "final_s": FINAL_S,
            "run": records.of_spec(spec),
            "prompt": spec.prompt,
            "env": given,
            "supervisor": base64.b64encode(Path(supervisor.__file__).read_bytes()).decode(),
        }
        text = Path(courier.__file__).read_text("utf-8")
        return f"#!/usr/bin/env python3\n{text}\n\nmain(json.loads({json.dumps(sent)!r}))\n"

    def stop(self, run: RunId, why: StopWhy) -> None:
        """Ask a run to end: the engine first, and where that is of no use, by its ref. Look again, and ask again.

        That it is to end is recorded first. Raises TemporaryError where its remote does not answer: every look asks it again.
        """
        record = self._folders.record(run)
        if record.settled:
            return
        if record.stop is None:
            self._folders.write_stop(run, why)
        nonce = str(self._claim(run).get("nonce"))
        try:
            seen = self._work.refs(record.start.at.remote).one(record.start.task)
        except TemporaryError as error:
            raise TemporaryError(f"{self._unseen(record, nonce)}: {error}", delay=30.0) from error
        if seen is None or seen.nonce != nonce or seen.over:
            return
        if seen.phase == "reserved":
            with suppress(ChangedError):  # it was claimed at this very moment
                return self._revoke(record, seen, "it was stopped before it began")
        self._ask(record, why, seen)

    def _unseen(self, record: Record, nonce: str) -> str:
        """Have the engine end a run although its remote does not answer; what became of that."""
        text = f"{record.id} is to end, and that is recorded; its remote does not answer"
        try:
            self.engine(record.start.at).cancel(self.name(record.id, nonce))
        except ReconcileError:
            return f"{text}, nor does its engine, so it goes on until one of them does"
        return f"{text}: its engine was asked to end it, and what it has comes once the remote is back"

    def give_up(self, run: RunId) -> None:
        """Take a run's ref away from it now. It may still live and cost until its lease is over; it can't write any more.

        Raises ChangedError where it wrote in between again and again, TemporaryError where the remote does not answer.
        """
        for _ in range(GIVE_UP_TRIES - 1):
            with suppress(ChangedError):  # it has just renewed its lease
                return self._give_up(run)
        return self._give_up(run)

    def _give_up(self, run: RunId) -> None:
        record = self._folders.record(run)
        seen = self._work.refs(record.start.at.remote).one(record.start.task)
        if record.settled or seen is None or seen.nonce != self._claim(run).get("nonce") or seen.over:
            return
        self._revoke(record, seen, "a person gave it up")
        with suppress(ReconcileError):
            self.engine(record.start.at).cancel(self.name(run, seen.nonce))

    def _ask(self, record: Record, why: StopWhy, seen: Reported) -> None:
        run, now = record.id, time.monotonic()
        first, last = self._asked.get(run, (now, now - ASK_AGAIN_S))
        if now - last < ASK_AGAIN_S:
            return
        self._asked[run] = first, now
        deaf = now - first > DEAF_S
        try:
            self.engine(record.start.at).cancel(self.name(run, seen.nonce))
        except ReconcileError:
            deaf = True
        if deaf and seen.phase != "stopping":
            refs = self._work.refs(record.start.at.remote)
            commit = refs.made({**_as_record(seen), "phase": "stopping", "why": why}, [seen.wip or seen.head])
            with suppress(ChangedError):  # it renewed its lease: it is asked again
                refs.swap(RUN_REFS + seen.task, seen.at, commit)

    def _revoke(self, record: Record, seen: Reported, why: str) -> None:
        """Swap the ref to `revoked`: from then on the run can't write. Where that is refused, it was alive after all."""
        refs = self._work.refs(record.start.at.remote)
        commit = refs.made({**_as_record(seen), "phase": "revoked", "why": why}, [seen.wip or seen.head])
        try:
            refs.swap(RUN_REFS + seen.task, seen.at, commit)
        except ChangedError:
            self._silent[record.id] = 0.0
            raise
        self._given_up(record, seen, why)
        if seen.phase == "reserved":
            with suppress(ReconcileError):  # one that starts all the same is refused at its claim
                self.engine(record.start.at).cancel(self.name(record.id, seen.nonce))
            if not seen.wip:  # nothing has ever run, and nothing is in it but the head of our own branch
                with suppress(ReconcileError):
                    refs.swap(RUN_REFS + seen.task, commit, None)

    def _given_up(self, record: Record, seen: Reported, why: str) -> None:
        if seen.phase != "reserved":
            self._work.adopt(seen, record.start.at)
        self._settle(record, why)

    def _settle(self, record: Record, why: str) -> None:
        value = {"why": why, "at": datetime.now(UTC).isoformat()}
        supervisor.write_json(str(self._folders.folder(record.id) / "given-up.json"), value)
        supervisor.wake(str(self._folders.root))
        self._forget(record.id)

    def _forget(self, run: RunId) -> None:
        for known in (self.notes, self._filled, self._silent, self._unborn, self._asked, self._cancelled):
            known.pop(run, None)

    # --- the engine -----------------------------------------------------------------------------------------

    def engine(self, at: Venue) -> Engine:
        """The engine of a venue."""
        return engine_of(at, self._environ)

    def name(self, run: RunId, nonce: str) -> str:
        """What the job of a run is called."""
        return f"rc.{self._work.us[:6]}.{run.subject}.{run.n}.{nonce[:8]}"

    def _claim(self, run: RunId) -> Mapping[str, Any]:
        return read_json(str(self._folders.folder(run) / CLAIM))


def engine_of(at: Venue, environ: Mapping[str, str]) -> Engine:
    """The engine of a venue, as it is reached from an environment."""
    return Slurm(at, environ) if at.kind is VenueKind.SLURM else Hosts(at, environ)


def _as_record(seen: Reported) -> dict[str, Any]:
    names = ("phase", "task", "n", "nonce", "by", "manifest", "node", "head", "wip", "branch_at", "lacks")
    return {name: getattr(seen, name) for name in names}


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole, where it holds something else."""
    if read_plain(str(path), LOG_MAX) == content:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
    os.replace(temporary, path)
