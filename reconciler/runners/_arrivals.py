"""What arrives from runs elsewhere: their folders here are filled from their refs, the work before the ending."""

from __future__ import annotations

import hmac
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.git.run_reports import Reported
from reconciler.git.task_refs import TaskRefs
from reconciler.model.errors import ReconcileError
from reconciler.model.names import RunId, RunKind, TaskId, branch_of, remote_key
from reconciler.model.observed import Cause, StopWhy
from reconciler.runners import _records as records
from reconciler.runners import courier, supervisor
from reconciler.runners._folders import GIVEN_UP, Folders
from reconciler.runners._records import Record, read_json, read_plain
from reconciler.runners._reports import LOG_MAX
from reconciler.runners._watched import WatchedRun
from reconciler.runners._work import WorkKeeper

WHY_MAX = 300


class Arrivals:
    """What is written into the folders of one repository's runs elsewhere. `watched`: those that are alive."""

    def __init__(self, folders: Folders, work: WorkKeeper) -> None:
        self._folders, self._work = folders, work
        self.watched: defaultdict[RunId, WatchedRun] = defaultdict(WatchedRun)

    def fill(self, refs: TaskRefs, group: Iterable[Record], seen: Mapping[TaskId, Reported]) -> frozenset[RunId]:
        """Bring what moved on a remote into the run folders: log and beginning first, the ending last. Those that moved."""
        moved: dict[RunId, tuple[Record, Reported]] = {}
        for record in group:
            reported = seen.get(remote_key(record.id, self._work.us))
            nonce = self._folders.claim(record.id).get("nonce")
            if reported is None or reported.nonce != nonce or reported.by != self._work.us:
                continue
            if self.watched[record.id].filled != reported.at:
                moved[record.id] = record, reported
        if not moved:
            return frozenset()
        wanted = [reported for _, reported in moved.values()]
        files = refs.files(wanted, "run.json", "exit.json", "says.json", "log")
        for run, (record, reported) in moved.items():
            watched = self.watched[run]
            watched.silent_s, watched.cancelled = 0.0, False
            with suppress(ReconcileError):  # as its branch moves at this very moment: next time
                watched.filled = reported.at
                self._fill_one(record, reported, files.get(reported.task, {}))
                continue
            watched.filled = None
        return frozenset(moved)

    def given_up(self, record: Record, seen: Reported, why: str, *, unbegun: bool = False, meant: bool = False) -> None:
        """Note that a run can't write any more; what it had committed is taken over."""
        if seen.phase != "reserved" and record.id.kind is RunKind.WORK:
            self._work.adopt(seen, record.start.at)
        self.settle(record, why, unbegun=unbegun, meant=meant)

    def settle(self, record: Record, why: str, *, unbegun: bool = False, meant: bool = False) -> None:
        """Note that nothing more comes from a run. `unbegun`: it was placed, and its node could not begin it; `meant`: it was
        to end."""
        value = {"why": why, "at": datetime.now(UTC).isoformat(), "unbegun": unbegun, "meant": meant}
        supervisor.write_json(str(self._folders.folder(record.id) / GIVEN_UP), value)
        supervisor.wake(str(self._folders.root))
        self.watched.pop(record.id, None)

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
        if reported.phase == "ended" and record.id.kind is not RunKind.WORK:
            self._end_check(record, reported, files.get("exit.json", b""))
        elif reported.phase == "ended" and not began and ending.get("cause") == Cause.SETUP:
            self._not_made(record, reported, ending)
        elif reported.phase == "ended":
            self._end(record, reported, ending)
        elif reported.phase == "revoked":
            self.given_up(record, reported, "it was given up")

    def _end(self, record: Record, reported: Reported, ending: Mapping[str, Any]) -> None:
        """The work first, then the record: who sees that a run is over finds its commits."""
        if not records.exit_of(ending):
            ending = {"cause": "exited", "signal": 9, "ended_at": supervisor.utc(time.time()), "step": 0}
        words = []
        if not self._work.adopt(reported, record.start.at):
            words.append(f"{branch_of(record.start.task)} was moved meanwhile: what this run committed is saved work")
        if reported.lacks:
            words.append(f"not all in its checkout could be saved, so it is kept on {reported.node}: {reported.lacks}")
        if words:
            with open(self._folders.folder(record.id) / "log", "ab") as log:
                log.writelines(f"reconcile: {text}\n".encode() for text in words)
        self._write_end(record, ending)

    def _write_end(self, record: Record, ending: Mapping[str, Any]) -> None:
        stop = read_json(str(self._folders.folder(record.id) / "stop.json"))
        ended = records.exit_of(ending)
        # TERM is all that an engine says to a node: why it did is known here.
        by_engine = ended and (
            ended.stop is StopWhy.ENGINE_LIMIT or (ended.cause is Cause.EXITED and ended.signal in (9, 15))
        )
        if stop and by_engine:
            ending = {**ending, "cause": "stopped", "stop": stop.get("why")}
        folder = str(self._folders.folder(record.id))
        began, ending = _by_our_clock(read_json(f"{folder}/run.json"), ending, datetime.now(UTC))
        if began:
            supervisor.write_json(f"{folder}/run.json", dict(began))
        supervisor.write_json(f"{folder}/exit.json", dict(ending))
        self.watched.pop(record.id, None)

    def _end_check(self, record: Record, reported: Reported, content: bytes) -> None:
        """What a check came to, where it is the word of its own node: by it something lands. Else nothing is known of it."""
        ending, secret = records.as_object(content), self._folders.claim(record.id).get("seal")
        word = courier.sealed(secret, content) if isinstance(secret, str) else ""
        if not word or not hmac.compare_digest(reported.seal.encode(), word.encode()):
            return self.settle(record, "what its ref says of its end was not written by its node")
        if not records.exit_of(ending):
            return self.settle(record, f"{reported.node} does not say how it ended")
        if ending.get("cause") == Cause.SETUP:
            return self._not_made(record, reported, ending)
        self._write_end(record, ending)

    def _not_made(self, record: Record, reported: Reported, ending: Mapping[str, Any]) -> None:
        why = " ".join(str(ending.get("error", "")).split())
        self.settle(record, f"{reported.node} could not make its checkout: {why[-WHY_MAX:]}", unbegun=True)


def _by_our_clock(
    began: Mapping[str, Any], ending: Mapping[str, Any], now: datetime
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The records of a run's beginning and end, by our clock: a node's may be wrong, and what is tried again, and when, goes by
    its end. It ended when that was heard, and took as long as its node says."""
    ended, started = records.exit_of(ending), records.moment(began.get("started_at"))
    dated = {**ending, "ended_at": now.isoformat()}
    if ended is None or started is None:
        return began, dated
    return {**began, "started_at": (now - max(ended.at - started, timedelta())).isoformat()}, dated


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole, where it holds something else."""
    if read_plain(str(path), LOG_MAX) == content:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
    os.replace(temporary, path)
