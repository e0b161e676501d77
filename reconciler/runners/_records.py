"""What is written about a run, read and made: what it was given, how it began, how it ended.

What is read here may have been written by an agent, cut off or removed by anybody: what can't be read as a record is no
record.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.observed import Cause, Exit, RetryPoint, Says, StopWhy
from reconciler.model.ports import RunSpec
from reconciler.model.venue import Venue
from reconciler.runners import supervisor

RECORD_MAX = 1 << 20
LABEL_MAX, LABELS_MAX, NOTE_MAX = 100, 20, 2000
VERDICT = "verdict.json"
_TEMPORARY = re.compile(r"reconcile-[0-9a-f]{12}\Z")  # the names of temporary folders of runs
# Missing, or something that an agent put in its place. Anything else (EIO, EMFILE) says nothing about the record.
_NO_RECORD = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES)
_Word = TypeVar("_Word", bound=StrEnum)


class StartRecord(Struct, frozen=True, kw_only=True):
    """What a run was started with, as far as it matters afterwards."""

    task: TaskId
    manifest: str = ""
    attempt: int = 1
    why: str = "Ready"
    baseline: Sha | None = None
    base_tip: Sha | None = None
    tree: Sha | None = None
    heads: tuple[Sha, ...] = ()
    below: Sha | None = None
    left_out: tuple[int, ...] = ()
    judged: str = ""
    terms: tuple[str, ...] = ()
    heard: frozenset[str] = frozenset()
    cwd: str = ""
    timeout_s: float = 0.0
    slot: str = ""  # the manifest among whose slots it holds one
    agent: str = ""  # the kind of agent
    at: Venue = Venue()


class Record(Struct, frozen=True, kw_only=True):
    """Everything that is written about a run at this moment."""

    id: RunId
    start: StartRecord
    started_at: datetime | None = None
    pid: int | None = None
    boot_id: str = ""
    set_up: bool = False
    exit: Exit | None = None
    answer: str = ""  # the SHA-256 of what it had answered when it ended; empty: nothing that counts
    printed: frozenset[str] = frozenset()  # the same of each line that it had printed last
    stop: StopWhy | None = None
    stopped_at: datetime | None = None
    last_progress_at: datetime | None = None
    node: str = ""  # that it is on, where it is elsewhere
    given_up: str = ""  # elsewhere: why nobody waits for it any more
    says: Says | None = None  # elsewhere

    @property
    def settled(self) -> bool:
        """True where it is written that a run which is elsewhere is over."""
        return self.exit is not None or bool(self.given_up)


def read_plain(path: str, most: int = RECORD_MAX, *, at: int = 0, from_end: bool = False) -> bytes:
    """At most `most` bytes of a plain file, those after the first `at`, or its last; empty when there is none. Never waits: a FIFO in its place is not read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_RECORD:
            return b""
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return b""
        return os.pread(fd, most, max(found.st_size - most, 0) if from_end else at)
    finally:
        os.close(fd)


def of_spec(spec: RunSpec, temporary: str = "") -> Mapping[str, object]:
    """What a supervisor is given, and what is read again as `StartRecord`. `temporary`: the folder that it is to make, and remove."""
    # Not the environment: it may hold secrets that were passed on, and goes from process to process only.
    return {
        "id": str(spec.id),
        "task": spec.task,
        "manifest": spec.manifest,
        "steps": [list(step) for step in spec.steps],
        "cwd": spec.cwd,
        "setup_steps": spec.setup_steps,
        "limits": [[float(each.timeout_s or 0), each.retries] for each in spec.limits],
        "ready_marker": spec.ready_marker,
        "unlock": spec.unlock,
        **({"temporary": temporary} if temporary else {}),
        "timeout_s": float(spec.timeout_s),
        "stuck_after_s": spec.stuck_after_s,
        "stop_grace_s": supervisor.STOP_GRACE_S,
        "sweep_grace_s": supervisor.SWEEP_GRACE_S,
        "attempt": spec.attempt,
        "why": spec.why,
        "baseline": spec.baseline,
        "base_tip": spec.base_tip,
        "tree": spec.tree,
        "heads": list(spec.heads),
        "below": spec.below,
        "left_out": list(spec.left_out),
        "judged": spec.judged,
        "terms": list(spec.terms),
        "heard": list(spec.heard),
        "slot": spec.slot.manifest if spec.slot else "",
        "agent": spec.agent,
        "answer": VERDICT if spec.id.kind is RunKind.REVIEW else "",
        "prompt_on_stdin": bool(spec.prompt) and spec.prompt_on_stdin,
        **({} if spec.at.local else {"at": msgspec.to_builtins(spec.at)}),
    }


def clear_temporary(folder: str) -> None:
    """Remove the temporary folder of a run that is over, which its supervisor left where that was killed."""
    where = read_json(f"{folder}/spec.json").get("temporary")
    if not isinstance(where, str) or not _TEMPORARY.match(os.path.basename(where)):
        return
    with suppress(OSError):
        found = os.lstat(where)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            supervisor.remove_tree(where)


def start_of(run: RunId, value: Mapping[str, Any]) -> StartRecord:
    """The record of a run's `spec.json`; what it does not say, or says in another type, is as by default."""
    return StartRecord(
        task=TaskId(str(value.get("task", "" if run.kind is RunKind.CHECK else run.subject.partition("@")[0]))),
        manifest=str(value.get("manifest", "")),
        attempt=number(value.get("attempt")) or 1,
        why=str(value.get("why", "Ready")),
        baseline=sha(value.get("baseline")),
        base_tip=sha(value.get("base_tip")),
        tree=sha(value.get("tree")),
        heads=tuple(filter(None, map(sha, heads))) if isinstance(heads := value.get("heads"), list) else (),
        below=sha(value.get("below")),
        left_out=numbers(value.get("left_out")),
        judged=str(value.get("judged", "")),
        terms=tuple(map(str, given)) if isinstance(given := value.get("terms"), list) else (),
        heard=frozenset(map(str, heard)) if isinstance(heard := value.get("heard"), list) else frozenset(),
        cwd=str(value.get("cwd", "")),
        timeout_s=limit if isinstance(limit := value.get("timeout_s"), float) else 0.0,
        slot=str(value.get("slot", "")),
        agent=str(value.get("agent", "")),
        at=_venue(value.get("at")),
    )


def exit_of(value: Mapping[str, Any]) -> Exit | None:
    """How a run ended, by its `exit.json`; None where that does not say so."""
    cause, at = word(Cause, value.get("cause")), moment(value.get("ended_at"))
    if cause is None or at is None:
        return None
    return Exit(
        cause=cause,
        at=at,
        code=number(value.get("code")),
        signal=number(value.get("signal")),
        stop=word(StopWhy, value.get("stop")),
        step=number(value.get("step")),
        memory=number(value.get("memory")),
        limit_s=limit if isinstance(limit := value.get("limit_s"), float) else None,
        flaky=numbers(value.get("flaky")),
    )


def says_of(value: Mapping[str, Any]) -> Says | None:
    """What an agent says of its task, as far as it may say that; None for nothing. An agent wrote it.

    >>> says_of({"status": "closed", "labels": ["ui", 7, " a"], "note": "x"})
    Says(status='', labels=('ui',), note='x')
    """
    labels, status, note = value.get("labels"), value.get("status"), value.get("note")
    given = [each for each in labels if isinstance(each, str)] if isinstance(labels, list) else []
    fit = (each for each in given if each.isprintable() and 0 < len(each.strip()) == len(each) <= LABEL_MAX)
    found = Says(
        status=status if status in ("blocked", "done") else "",
        labels=tuple(dict.fromkeys(fit))[:LABELS_MAX],
        note=note[:NOTE_MAX] if isinstance(note, str) else "",
    )
    return found if found != Says() else None


def _venue(value: object) -> Venue:
    """Where a run is; one that does not say is on this machine."""
    try:
        return Venue() if value is None else msgspec.convert(value, Venue)
    except msgspec.ValidationError:
        return Venue()


def retry_point(value: Mapping[str, Any]) -> RetryPoint | None:
    """From where runs and landings of a task count, by its `since.json`; None: from the first."""
    at, n = moment(value.get("at")), number(value.get("n"))
    return None if at is None or n is None else RetryPoint(n=n, base=sha(value.get("base")), at=at)


def read_json(path: str) -> Mapping[str, Any]:
    """The object in a file; empty where there is none."""
    return as_object(read_plain(path))


def as_object(content: bytes) -> Mapping[str, Any]:
    """The object that a file holds; empty where it holds none."""
    try:
        value = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def word(words: type[_Word], value: object) -> _Word | None:
    """One of these words; None for anything else."""
    return words(value) if isinstance(value, str) and value in list(words) else None


def number(value: object) -> int | None:
    """A whole number; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def numbers(value: object) -> tuple[int, ...]:
    """The whole numbers in a list; none for anything else."""
    return tuple(each for each in value if number(each) is not None) if isinstance(value, list) else ()


def sha(value: object) -> Sha | None:
    """The name of an object; None for what is no text."""
    return Sha(value) if isinstance(value, str) else None


def moment(value: object) -> datetime | None:
    """A time with its zone; None for anything else."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None
