"""What was pushed to staging branches, and what came of it: a small file for each, written before anything is pushed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from reconciler.model.errors import PermanentError
from reconciler.model.names import RunId, Sha, TaskId
from reconciler.model.observed import Cause, Exit, Run, RunState, StopWhy
from reconciler.system import files

VERSION = 1
ENDED_MAX = 500  # of those that are over the newest are kept: they prove what may land, and what failed before


class StagingRecord(Struct, frozen=True, kw_only=True, dict=True):
    """A commit that was made for a staging branch. `pushed`: git reports that it is there. `gone`: its branch need not be looked
    for any more. `run`: what it is about, as plain values; `end`: what came of it."""

    base: str
    branch: str
    commit: Sha
    at: str  # ISO 8601, UTC
    run: dict[str, Any]
    pushed: bool = False
    gone: bool = False
    end: dict[str, Any] | None = None
    remark: str = ""

    @property
    def id(self) -> RunId:
        return RunId.parse(self.run["id"])

    @cached_property
    def as_run(self) -> Run:
        """The run that it stands for, without what the forge says of it now."""
        run = self.run
        return Run(
            id=self.id,
            task=TaskId(run["task"]),
            manifest=run["manifest"],
            state=RunState.ENDED if self.end else RunState.RUNNING,
            why=run["why"],
            baseline=run["baseline"],
            base_tip=run["base_tip"],
            tree=run["tree"],
            heads=tuple(run["heads"]),
            below=run["below"],
            commit=self.commit,
            started_at=datetime.fromisoformat(self.at),
            exit=_exit(self.end) if self.end else None,
            remark=self.remark,
        )


def plain(run: Run) -> dict[str, Any]:
    """What a run is about, as it is written down."""
    kept = {name: getattr(run, name) for name in ("task", "manifest", "why", "baseline", "base_tip", "tree", "below")}
    return {"id": str(run.id), **kept, "why": str(run.why), "heads": [*run.heads]}


def plain_end(end: Exit) -> dict[str, Any]:
    """What came of it, as it is written down."""
    stop = str(end.stop) if end.stop else None
    return {"cause": str(end.cause), "at": end.at.isoformat(), "code": end.code, "stop": stop}


class StagingRecords:
    """The records of one repository, in a folder of ours. A change is written whole, or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, tuple[tuple[int, int], StagingRecord]] = {}

    def every(self) -> list[StagingRecord]:
        """All that there are, oldest first. Raises PermanentError for one that can't be read."""
        return sorted(self._read(), key=lambda record: (record.at, record.id))

    def find(self, run: RunId) -> StagingRecord | None:
        """That of one run."""
        return next((record for record in self._read() if record.id == run), None)

    def write(self, record: StagingRecord) -> None:
        """Write one down: on the disk before this returns."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(self._path(record.id), json.dumps({"version": VERSION, **asdict(record)}))
        over = [each for each in self.every() if each.gone]
        for old in over[:-ENDED_MAX]:
            self._path(old.id).unlink(missing_ok=True)

    def _path(self, run: RunId) -> Path:
        return self._folder / f"{run.subject}.{run.n}.json"

    def _read(self) -> Iterator[StagingRecord]:
        paths = {*self._folder.glob("*.json")}
        self._known = {path: known for path, known in self._known.items() if path in paths}
        for path in paths:
            try:
                # Written by replacing it: another file has another number.
                status = path.stat()
                mark = status.st_ino, status.st_mtime_ns
                if path not in self._known or self._known[path][0] != mark:
                    self._known[path] = mark, _record(path)
                yield self._known[path][1]
            except FileNotFoundError:
                continue


def _record(path: Path) -> StagingRecord:
    try:
        record = StagingRecord(**files.versioned(path, (VERSION,)))
        record.as_run  # noqa: B018 - all that it is made of can be read
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PermanentError(
            f"{path} is damaged ({error}): what was pushed to a staging branch is not known",
            hint="see that no branch of 'reconcile/staging/' is left on GitHub; then remove the file",
        ) from error
    return record


def _exit(plain: dict[str, Any]) -> Exit:
    stop = StopWhy(plain["stop"]) if plain["stop"] else None
    return Exit(cause=Cause(plain["cause"]), at=datetime.fromisoformat(plain["at"]), code=plain["code"], stop=stop)
