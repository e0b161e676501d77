"""What agents say of runs that have ended: read off the log once, and kept beside the record of the ending.

A log of many megabytes is not read again after a restart, and what a run has cost outlives its log.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from reconciler.model import verdicts
from reconciler.model.agent_kinds import REPORTS_END, STRUCTURED, TELLS_COST
from reconciler.model.names import RunId, RunKind
from reconciler.model.ports import Agent
from reconciler.model.report import Fault, Report, count, dollars, last_words, session
from reconciler.model.verdicts import ReviewVerdict
from reconciler.runners import supervisor
from reconciler.runners._folders import Folders
from reconciler.runners._records import RECORD_MAX, VERDICT, Record, as_object, read_plain

LOG_MAX = 2 * supervisor.LOG_MAX  # a writer may be faster than the shim that cuts its log
LINES_MAX = (64 * 1024, 8 * 1024 * 1024)  # for a last line that says that all is done
VERSION = 1


class Reports:
    """The reports of one repository's runs. With `keep` False nothing is written: then each process reads for itself."""

    def __init__(self, folders: Folders, agents: Mapping[str, Agent], keep: bool) -> None:
        self._folders, self._agents, self._keep = folders, agents, keep
        self._known: dict[RunId, Report | None] = {}
        self._costs: dict[RunId, tuple[int, float]] = {}  # how much of a log was read, and what it came to
        # The last line of a log that counts, and since when it says so.
        self._last: dict[RunId, tuple[tuple[int, int], str, datetime | None]] = {}

    def of(self, record: Record) -> Report | None:
        """What the agent of a run that has ended says of it; None where it says nothing."""
        run = record.id
        if run not in self._known:
            self._last.pop(run, None)
            self._costs.pop(run, None)
            self._known[run] = self.again(record)
        return self._known[run]

    def again(self, record: Record) -> Report | None:
        """The same, read now."""
        agent = self._agents.get(record.start.agent)
        return self._read(record, agent) if agent and agent.program else None

    def forget(self, runs: Iterable[RunId]) -> None:
        """These went to the archive."""
        for run in runs:
            self._known.pop(run, None)

    def verdict(self, record: Record) -> ReviewVerdict | str:
        """What the reviewer of a run that is over had answered when it ended; where that can't be read, what is wrong with it."""
        if record.id.kind is not RunKind.REVIEW:
            return ""
        return verdicts.sterner(self._filed(record), self._printed(record))

    def _filed(self, record: Record) -> ReviewVerdict | str:
        content = self._folders.content(record.id, VERDICT, verdicts.SIZE_MAX + 1)
        if 0 < len(content) <= verdicts.SIZE_MAX and hashlib.sha256(content).hexdigest() != record.answer:
            return "its verdict was written, or changed, after the review had ended"  # as every later run could
        return verdicts.decode(content)

    def _printed(self, record: Record) -> ReviewVerdict | str:
        """The same where its program answers in what it prints: what stood there when it ended."""
        agent = self._agents.get(record.start.agent) if record.start.agent in STRUCTURED else None
        if agent is None or not record.printed:
            return ""
        tail = self._folders.content(record.id, "log", LINES_MAX[1], from_end=True)
        lines = (line for line in reversed(tail.split(b"\n")) if line.startswith(b"{"))
        kept = (line for line in lines if hashlib.sha256(line).hexdigest() in record.printed)
        answers = (agent.answer(line.decode("utf-8", "replace")) for line in kept)
        return verdicts.decode(next(filter(None, answers), b""))

    def can_read(self, record: Record) -> bool:
        """Whether the agent of a run is one that we know: of another one somebody else may know more."""
        return record.start.agent in self._agents

    def end_said(self, record: Record) -> datetime | None:
        """Since when the last report that a run gives of itself, while it is alive, is that it came to its end; None while it is
        not. What is no such line (a warning, or the log of a server that it started and waits for) says nothing.
        """
        agent = self._agents.get(record.start.agent) if record.start.agent in REPORTS_END else None
        if agent is None:
            return None
        path = f"{self._folders.folder(record.id)}/log"
        try:
            found = os.stat(path, follow_symlinks=False)
            mark = (found.st_size, found.st_mtime_ns)
            known = self._last.get(record.id)
            if known is None or known[0] != mark:
                last = _last_object(path, agent.idle)
                if known and last in ("", known[1]):  # it has written nothing more about itself
                    known = mark, known[1], known[2]
                else:
                    report = agent.report(last)
                    done = report is not None and report.done
                    known = mark, last, datetime.fromtimestamp(found.st_mtime, UTC) if done else None
                self._last[record.id] = known
        except OSError:
            return None  # it is asked again, and its time limits hold
        return known[2]

    def cost(self, record: Record) -> float | None:
        """What a run that is alive says that it has cost so far, at least; None where its agent does not say so while it works.

        Only what was printed since the last look is read. What was cut out of the middle of a log before is not known any more.
        """
        agent = self._agents.get(record.start.agent) if record.start.agent in TELLS_COST else None
        if agent is None:
            return None
        read, cost = self._costs.get(record.id, (0, 0.0))
        path = f"{self._folders.folder(record.id)}/log"
        try:
            size = os.stat(path, follow_symlinks=False).st_size
            if size > read:
                piece = read_plain(path, size - read, at=read)
                whole = piece[: piece.rfind(b"\n") + 1]
                read, cost = read + len(whole), agent.cost(whole.decode("utf-8", "replace"), cost)
        except OSError:
            return cost
        self._costs[record.id] = min(read, size), cost
        return cost

    def _read(self, record: Record, agent: Agent) -> Report | None:
        folder = str(self._folders.folder(record.id))
        kept = f"{folder}/report.json"
        if found := _report_from(as_object(self._folders.content(record.id, "report.json", RECORD_MAX))):
            return found
        log = self._folders.content(record.id, "log", LOG_MAX).decode("utf-8", "replace")
        report = agent.report(log, record.exit.at if record.exit else None)
        if report and self._keep and os.path.isdir(folder):
            try:
                supervisor.write_json(kept, _as_json(report))
            except OSError:
                # It is read from the log again; those who must write say that the disk is full.
                return report
        return report


def _last_object(path: str, idle: Callable[[str], bool]) -> str:
    """The last line of a log that begins as a JSON object does, and is not one that idle agents print too; longer pieces are read
    only where a short one holds none."""
    for most in LINES_MAX:
        tail = b"\n" + read_plain(path, most, from_end=True)
        end = len(tail)
        while (at := tail.rfind(b"\n{", 0, end)) >= 0:
            line = tail[at + 1 :].partition(b"\n")[0].decode("utf-8", "replace")
            if not idle(line):
                return line
            end = at + 1
    return ""


def _as_json(report: Report) -> Mapping[str, object]:
    return {
        "version": VERSION,
        "done": report.done,
        "fault": report.fault,
        "said": report.message,
        "session": report.session,
        "usd": report.usd,
        "tokens": report.tokens,
        "retry_at": report.retry_at.isoformat() if report.retry_at else None,
        "worded": report.worded,
        "of_session": report.of_session,
    }


def _report_from(value: Mapping[str, Any]) -> Report | None:
    """The report that was kept; None where there is none that can be believed."""
    fault, at = value.get("fault"), value.get("retry_at")
    if value.get("version") != VERSION or fault not in (None, *Fault):
        return None
    try:
        retry_at = datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        return None
    return Report(
        done=value.get("done") is True,
        fault=Fault(fault) if fault else None,
        message=last_words(value.get("said")),
        session=session(value.get("session")),
        usd=dollars(value.get("usd")),
        tokens=count(value.get("tokens")),
        retry_at=retry_at if retry_at and retry_at.tzinfo else None,
        worded=value.get("worded") is True,
        of_session=value.get("of_session") is True,
    )
