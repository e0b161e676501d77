"""What happened, for people and scripts: `.beads/orchestrator/events.jsonl` and `state.json`. No decision reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.model.errors import TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, PullState, Unknown, Worktree, known_or
from reconciler.planning.messages import clean
from reconciler.system.history import EventLog, parsed


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened: `event` is a name, `values` say the rest."""

    at: datetime
    event: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """The history of one repository, and the seed form of what runs now. Losing it loses nothing but history."""

    def __init__(self, beads: Path, repository: Path) -> None:
        self._folder = beads / "orchestrator"
        self.history = EventLog(self._folder)
        self._repository = repository
        self._state: str | None = None
        self._seen: dict[str, dict[str, str]] = {}

    def append(self, events: Sequence[Event]) -> None:
        """Add events to the history. What was added long ago is dropped, segment by segment."""
        if not events:
            return
        try:
            self._prepared()
            self.history.append(plain(event) for event in events)
        except OSError as error:
            raise TemporaryError(f"the history can't be written: {error}") from error

    def events(self, task: TaskId | None = None) -> list[dict[str, Any]]:
        """The history that is kept, oldest first; of one task where one is named, with
        the landing of what it was beneath. A line that can't be read is left out."""
        if not self._folder.is_dir():
            return []
        named = json.dumps(task).encode() if task else b""
        with self.history.opened() as segments:
            found = [line for file in segments for line in parsed(file.read(), named)]
        return [event for event in found if task is None or task == event.get("task") or task in _landed(event)]

    def state(self, observed: Observed) -> None:
        """Write `state.json` in the form of the seed guide: strings, and no pid where nothing runs."""
        text = json.dumps(self._seed_form(observed), indent=2, sort_keys=True) + "\n"
        if text == self._state:
            return
        try:
            path = self._prepared() / "state.json"
            temporary = path.with_name(f".state.{os.getpid()}")
            temporary.write_text(text, "utf-8")
            os.replace(temporary, path)
        except OSError as error:
            raise TemporaryError(f"state.json can't be written: {error}") from error
        self._state = text

    def _seed_form(self, observed: Observed) -> dict[str, dict[str, str]]:
        if isinstance(observed.runs, Unknown) or isinstance(observed.worktrees, Unknown):
            return self._seen  # a silent source is no news
        found: dict[str, dict[str, str]] = {}
        self._seen = found
        for task, runs in observed.runs.items():
            live = next((run for run in reversed(runs) if run.alive and run.pid), None)
            if live:
                found.setdefault(task, {})["pid"] = str(live.pid)
        for task, tree in observed.worktrees.items():
            found.setdefault(task, {})["worktree"] = self._relative(tree)
        pulls = known_or(observed.pull_requests, {})
        for task, pull in pulls.items():
            if pull.state is PullState.OPEN:
                found.setdefault(task, {})["pr_number"] = str(pull.number)
        return found

    def _relative(self, tree: Worktree) -> str:
        return os.path.relpath(tree.path, self._repository)

    def _prepared(self) -> Path:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
        ignore = self._folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")
        return self._folder


def _landed(event: Mapping[str, Any]) -> Collection[str]:
    """The tasks of which the event of a landing tells how they were judged."""
    evidence = event.get("evidence")
    judged = evidence.get("judged") if isinstance(evidence, dict) else None
    return judged if isinstance(judged, dict) else ()


def plain(event: Event) -> dict[str, Any]:
    """An event as a line of the history has it: `at` in UTC, `event`, and its values."""
    values = {name: clean(value)[:2000] if isinstance(value, str) else value for name, value in event.values.items()}
    return {"at": f"{event.at:%FT%T.%fZ}", "event": event.event, **values}
