"""Runs on other machines: reserved by a swap of the task's ref, placed by an engine, seen by what their refs say.

Whether one lives is never for the engine to tell. `ended` in the ref proves that it is over; a ref that we could swap to `revoked`
proves that it can't write any more. Everything else counts as alive, and silence is counted by our own clock, for as long as
the remote answers us.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.git.run_reports import Reported
from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import RUN_REFS, RunId, TaskId, remote_key
from reconciler.model.observed import Run, StopWhy
from reconciler.model.ports import RunSpec
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners._arrivals import Arrivals
from reconciler.runners._checks_elsewhere import ChecksElsewhere
from reconciler.runners._engines import Engine, EngineJob, JobState
from reconciler.runners._folders import Folders
from reconciler.runners._hosts import Hosts
from reconciler.runners._locks import Locks
from reconciler.runners._records import Record
from reconciler.runners._reservation import Reservation
from reconciler.runners._slurm import Slurm
from reconciler.runners._unbegun import ended_unbegun, expect_rested
from reconciler.runners._watched import Note
from reconciler.runners._work import WorkKeeper

STOPPED = "it was stopped before it began"
UNBORN_S = 2.0  # a reservation without a job, before it is taken back
ASK_AGAIN_S = 10.0
DEAF_S = 30.0  # that a run has been asked to end by its engine, before its ref says so
CANCELLED_MOST_S = 60.0  # from a cancel to the swap, where an engine says that a silent run lives
GIVE_UP_TRIES = 5
Jobs = Mapping[str, Sequence[EngineJob]]


class RemoteRuns:
    """The runs of one repository that are not on this machine. For one thread at a time.

    Its folders are where those of every run are, and are filled from the refs: who reads them need not know where a run is.
    """

    def __init__(self, locks: Locks, folders: Folders, work: WorkKeeper, environ: Mapping[str, str]) -> None:
        self._locks, self._folders, self._work, self._environ = locks, folders, work, environ
        self._arrivals = Arrivals(folders, work)
        self._watched = self._arrivals.watched
        self._checks = ChecksElsewhere(folders, work)
        self._heard: dict[str, float] = {}  # when a remote answered last, and has not failed to since

    # --- looking --------------------------------------------------------------------------------------------

    @property
    def notes(self) -> Mapping[RunId, Note]:
        """What is shown of those that are alive, as the last look found it."""
        return {run: watched.note for run, watched in self._watched.items() if watched.note}

    def left_on(self, runs: Mapping[RunId, Run]) -> Collection[str]:
        """The remotes on which something is still to be cleared away after these runs."""
        return self._checks.left_on(runs)

    def look(self, runs: Iterable[RunId], also: Iterable[str] = ()) -> None:
        """Write what is new of these runs, which are alive, into their folders; give up those that nobody hears any more.

        `also`: remotes that are looked at as well, and cleared.
        """
        remotes: dict[str, list[Record]] = {url: [] for url in also}
        for run in runs:
            record = self._folders.record(run)
            remotes.setdefault(record.start.at.remote, []).append(record)
        jobs: dict[tuple[str, ...], Jobs | None] = {}
        for url, group in remotes.items():
            starting = {r.id for r in group if self._locks.held(r.id.kind, r.id.subject).shim}
            now, refs = time.monotonic(), self._work.refs(url)
            try:
                seen = refs.look()
            except ReconcileError as error:
                self._heard.pop(url, None)
                for record in group:
                    self._watched[record.id].note = Note(
                        node=record.node, remark=f"the remote does not answer: {error}"
                    )
                continue
            passed = now - self._heard.get(url, now)
            self._heard[url] = now
            moved = self._arrivals.fill(refs, group, seen)
            for record in group:
                if record.id not in starting and not self._folders.record(record.id).settled:
                    waited = 0.0 if record.id in moved else passed
                    with suppress(ReconcileError):  # what was refused, or not answered, is looked at again
                        self._judge(record, seen.get(self._key(record.id)), waited, self._jobs(record.start.at, jobs))
            self._checks.clear(url, refs, seen)

    def _jobs(self, at: Venue, known: dict[tuple[str, ...], Jobs | None]) -> Jobs | None:
        """What the engine of a venue says; None where it does not answer. Each is asked once."""
        key = (at.kind, at.scratch, *at.hosts)
        if key not in known:
            try:
                known[key] = self.engine(at).jobs()
            except ReconcileError:
                known[key] = None
        return known[key]

    def _judge(self, record: Record, seen: Reported | None, passed: float, jobs: Jobs | None) -> None:
        claim = self._folders.claim(record.id)
        if seen is None or seen.nonce != claim.get("nonce"):
            return self._judge_gone(record, claim, passed, jobs)
        if seen.by != self._work.us:
            return self._arrivals.settle(record, "it works for the repository that this one is a copy of")
        mine = None if jobs is None else jobs.get(self.name(record.id, seen.nonce), ())
        states = {job.state for job in mine or ()}
        node = seen.node or next((job.node for job in mine or () if job.node), "")
        if seen.phase == "reserved":
            return self._judge_unborn(record, seen, mine, states)
        self._watched[record.id].unborn = None
        if record.stop:
            self._ask(record, record.stop, seen)
        silent, lease_s, sync_s = self._silence(record.id, passed), record.start.at.lease_s, record.start.at.sync_s
        most = 3 * sync_s if mine and states == {JobState.OVER} else 2 * lease_s
        lives = JobState.RUNNING in states or JobState.QUEUED in states
        if silent >= most and lives:
            # The engine is sure of it: it can end it for certain, where it reaches its node.
            if not self._watched[record.id].cancelled:
                self._watched[record.id].cancelled = True
                with suppress(ReconcileError):
                    self.engine(record.start.at).cancel(self.name(record.id, seen.nonce))
            most += min(CANCELLED_MOST_S, lease_s)
        if silent >= most:
            remark = next((job.remark for job in mine or () if job.remark), "")
            return self._revoke(record, seen, f"no word from {node or 'its node'} for {silent:.0f} s {remark}".strip())
        waits = max(most - silent, 0.001) if silent > 3 * sync_s else 0.0
        self._watched[record.id].note = Note(
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
            node = waiting.node if waiting else ""
            self._watched[record.id].unborn = None
            self._watched[record.id].note = Note(node=node, remark=remark or ("" if node else "waits for a node"))
            return
        watched, now = self._watched[record.id], time.monotonic()
        watched.unborn = now if watched.unborn is None else watched.unborn
        if record.stop:
            self._revoke(record, seen, STOPPED, meant=True)
        elif now - watched.unborn >= UNBORN_S:
            # Where its engine knows nothing of it, it was never placed, as far as anybody can tell.
            why = ended_unbegun(mine) if mine else "its job is gone"
            self._revoke(record, seen, why, unbegun=bool(mine))

    def _judge_gone(self, record: Record, claim: Mapping[str, Any], passed: float, jobs: Jobs | None) -> None:
        """The ref does not speak of this run: it never did, or somebody took it away. Its node is refused at its next push."""
        if not claim.get("reserved"):
            return self._arrivals.settle(record, "it was not reserved")
        silent = self._silence(record.id, passed)
        mine = None if jobs is None else jobs.get(self.name(record.id, str(claim.get("nonce"))), ())
        over = mine and all(job.state is JobState.OVER for job in mine)
        most = 3 * record.start.at.sync_s if over else 2 * record.start.at.lease_s
        if silent >= most:
            return self._arrivals.settle(record, "somebody removed or replaced its ref on the remote")
        self._watched[record.id].note = Note(node=record.node, silent_s=silent, gives_up_in_s=most - silent)

    def _silence(self, run: RunId, passed: float) -> float:
        self._watched[run].silent_s += passed
        return self._watched[run].silent_s

    # --- acting ---------------------------------------------------------------------------------------------

    def start(self, spec: RunSpec, shim_fd: int, reserve: Callable[[], Path]) -> None:
        """Reserve the task's ref and have the engine place the run. The lock of the task is held, in `shim_fd`.

        `reserve` makes the run's folder, behind the gate. Raises ChangedError where somebody else was first, TemporaryError
        where no node began the last ones.
        """
        expect_rested(self._folders, spec.id, spec.task)
        at, refs = spec.at, self._work.refs(spec.at.remote)
        last = refs.one(self._key(spec.id))
        # A reservation of ours that no run of ours stands for: its answer was lost. The swap takes it over.
        if last and not last.over and not (last.phase == "reserved" and last.by == self._work.us):
            raise ChangedError(f"{spec.task} is at work on {last.node or 'a node that has yet to be found'}")
        reserve()
        record = self._folders.record(spec.id)
        nonce = secrets.token_hex(8)
        claim = {"nonce": nonce, "seal": secrets.token_hex(32), "reserved": False}
        reservation = Reservation(self._work, spec, nonce, str(claim["seal"]))
        self._folders.write_claim(spec.id, claim)
        try:
            reserved = reservation.made(last, refs, shim_fd)
        except ChangedError:
            self._arrivals.settle(record, "somebody else was first")
            raise
        self._folders.write_claim(spec.id, {**claim, "reserved": True})
        try:
            passed = {name: self._environ[name] for name in spec.pass_env if name in self._environ}
            self.engine(at).submit(self.name(spec.id, nonce), reservation.script(reserved), passed, shim_fd)
        except ReconcileError:
            # There may be a job all the same: its claim is refused once this is taken back.
            with suppress(ReconcileError):
                self._revoke(record, reserved, "it could not be submitted")
            raise

    def stop(self, run: RunId, why: StopWhy) -> None:
        """Ask a run to end: the engine first, and where that is of no use, by its ref. Look again, and ask again.

        That it is to end is recorded first. Raises TemporaryError where its remote does not answer: every look asks it again.
        """
        record = self._folders.record(run)
        if record.settled:
            return
        if record.stop is None:
            self._folders.write_stop(run, why)
        try:
            seen = self._ours(record)
        except TemporaryError as error:
            raise TemporaryError(f"{self._unseen(record)}: {error}", delay=30.0) from error
        if seen is None:
            return
        if seen.phase == "reserved":
            with suppress(ChangedError):  # it was claimed at this very moment
                return self._revoke(record, seen, STOPPED, meant=True)
        self._ask(record, why, seen)

    def _ours(self, record: Record) -> Reported | None:
        """What the ref of a run says of it now; None where it is over, or speaks of another one."""
        seen = self._work.refs(record.start.at.remote).one(self._key(record.id))
        if seen is None or seen.over or seen.by != self._work.us:
            return None
        return seen if seen.nonce == self._folders.claim(record.id).get("nonce") else None

    def _unseen(self, record: Record) -> str:
        """Have the engine end a run although its remote does not answer; what became of that."""
        nonce = str(self._folders.claim(record.id).get("nonce"))
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
        seen = self._ours(record)
        if record.settled or seen is None:
            return
        self._revoke(record, seen, "a person gave it up", meant=True)
        with suppress(ReconcileError):
            self.engine(record.start.at).cancel(self.name(run, seen.nonce))

    def _ask(self, record: Record, why: StopWhy, seen: Reported) -> None:
        run, now = record.id, time.monotonic()
        first, last = self._watched[run].asked or (now, now - ASK_AGAIN_S)
        if now - last < ASK_AGAIN_S:
            return
        self._watched[run].asked = first, now
        deaf = now - first > DEAF_S
        try:
            self.engine(record.start.at).cancel(self.name(run, seen.nonce))
        except ReconcileError:
            deaf = True
        if deaf and seen.phase != "stopping":
            refs = self._work.refs(record.start.at.remote)
            commit = refs.made({**seen.record, "phase": "stopping", "why": why}, [seen.wip or seen.head])
            with suppress(ChangedError):  # it renewed its lease: it is asked again
                refs.swap(RUN_REFS + seen.task, seen.at, commit)

    def _revoke(self, record: Record, seen: Reported, why: str, *, unbegun: bool = False, meant: bool = False) -> None:
        """Swap the ref to `revoked`: from then on the run can't write. Where that is refused, it was alive after all."""
        refs = self._work.refs(record.start.at.remote)
        commit = refs.made({**seen.record, "phase": "revoked", "why": why}, [seen.wip or seen.head])
        try:
            refs.swap(RUN_REFS + seen.task, seen.at, commit)
        except ChangedError:
            self._watched[record.id].silent_s = 0.0
            raise
        self._arrivals.given_up(record, seen, why, unbegun=unbegun, meant=meant)
        if seen.phase == "reserved":
            with suppress(ReconcileError):  # one that starts all the same is refused at its claim
                self.engine(record.start.at).cancel(self.name(record.id, seen.nonce))
            if not seen.wip:  # nothing has ever run, and nothing is in it but the head of our own branch
                with suppress(ReconcileError):
                    refs.swap(RUN_REFS + seen.task, commit, None)

    def _key(self, run: RunId) -> TaskId:
        return remote_key(run, self._work.us)

    # --- the engine -----------------------------------------------------------------------------------------

    def engine(self, at: Venue) -> Engine:
        """The engine of a venue."""
        return engine_of(at, self._environ)

    def name(self, run: RunId, nonce: str) -> str:
        """What the job of a run is called."""
        return f"rc.{self._work.us[:6]}.{run.subject}.{run.n}.{nonce[:8]}"


def engine_of(at: Venue, environ: Mapping[str, str]) -> Engine:
    """The engine of a venue, as it is reached from an environment."""
    return Slurm(at, environ) if at.kind is VenueKind.SLURM else Hosts(at, environ)
