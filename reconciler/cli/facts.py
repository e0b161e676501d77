"""What screens read of this machine while somebody looks: runs, logs, diffs, texts and history."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.cli.logs import LogReader
from reconciler.cli.rows import read_by
from reconciler.cli.tails import Tails
from reconciler.git import refs
from reconciler.git.refs import HEADS
from reconciler.loop.asking import ask
from reconciler.model.errors import ReconcileError
from reconciler.model.names import RunId, RunKind, TaskId, branch_of, split_key, usable
from reconciler.model.observed import Run, Task, Unknown
from reconciler.model.reasons import Reason
from reconciler.model.venue import Venue
from reconciler.render import document
from reconciler.render.details import Details
from reconciler.render.entry import run_record
from reconciler.system.files import regular
from reconciler.wiring import Site

RUNS_S, TEXTS_S = 1.0, 30.0  # so old may be what is shown
PROMPT_MAX = 64 * 1024
FIRST_MAX = 256 * 1024  # of a long log, the end


class _Recent(Struct):
    at: float
    value: Any


class LocalFacts(Struct, kw_only=True):
    """What is read is kept for a moment: several screens ask for the same. For one thread at a time."""

    site: Site
    _kept: dict[object, _Recent] = field(default_factory=dict)
    _tails: Tails | None = None

    def runs(self) -> Sequence[Run]:
        """Every run, as they began."""

        def read() -> list[Run]:
            found = ask(self.site.runner.runs)
            runs = [] if isinstance(found, Unknown) else [run for run in found.values() if run.started_at]
            return sorted(runs, key=lambda run: (run.started_at, run.id))

        runs: list[Run] = self._fresh("runs", RUNS_S, read)
        return runs

    def records(self) -> list[dict[str, Any]]:
        """The same as plain values."""
        return [{**run_record(run), "task": run.task} for run in self.runs()]

    def by_task(self) -> Mapping[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for record in self.records():
            found.setdefault(record["task"], []).append(record)
        return found

    def landed(self) -> Mapping[str, str]:
        """When the work of each task landed, by the history."""

        def read() -> Mapping[str, str]:
            events = ask(self.site.journal.events)
            return {} if isinstance(events, Unknown) else landings(events)

        landed: Mapping[str, str] = self._fresh("landed", RUNS_S, read)
        return landed

    def details(self, task: str, base: str | None, head: str | None, wanted: str) -> Details:
        """What a screen shows of a task. `head`: of its pull request; `wanted`: the run whose log is read."""
        if not usable(task):
            return Details(silent="it has no name that a branch or a folder could have")
        id = TaskId(task)
        runs = [run for run in self.runs() if run.task == id]
        chosen = next((run for run in runs if str(run.id) == wanted), None)
        run = chosen or _newest(runs)
        found = self._task(id)
        return Details(
            text=_texts(found) if isinstance(found, Task) else {},
            silent=f"tracker: {found.why}" if isinstance(found, Unknown) else "",
            prompt=self._prompt(run) if run and run.id.kind is RunKind.WORK else "",
            runs=self._records(runs),
            events=self._events(id),
            diff=self.diff(id, base, head),
            log=str(run.id) if run else None,
        )

    def described(self, at: str, manifest: str, entry: dict[str, Any], blocked_by: Sequence[str]) -> dict[str, Any]:
        """What `describe -o json` prints, of a task as a look has seen it."""
        id = TaskId(entry["id"])
        found = self._task(id)
        return document.described(
            at,
            manifest or None,
            entry,
            found if isinstance(found, Task) else None,
            blocked_by=blocked_by,
            runs=self._records([run for run in self.runs() if run.task == id]),
            events=self._events(id),
        )

    def _records(self, runs: Sequence[Run]) -> list[dict[str, Any]]:
        read = read_by(self.site, runs)
        return [run_record(run, read.get(run.id)) for run in runs]

    def diff(self, id: TaskId, base: str | None, head: str | None) -> str | None:
        """What its branch brings to its base; None where there is no such branch. `head`: of its pull request."""
        found: str | None = self._fresh(("diff", id, head), 2.0, lambda: self._diff(id, base))
        return found

    def last_run(self, task: str) -> str | None:
        """The run whose log says most of a task: its newest work run, else the newest of any kind."""
        newest = _newest([run for run in self.runs() if run.task == task])
        return str(newest.id) if newest else None

    def tails(self, tasks: Mapping[str, str]) -> dict[str, str]:
        """What the agents of tasks printed last; by the elements that show it."""
        if self._tails is None:
            self._tails = Tails(self.site.runner)
        alive = {run.task: run.id for run in self.runs() if run.alive and run.id.kind is RunKind.WORK}
        self._tails.follow({str(task): run for task, run in alive.items()})
        return {element: self._tails.last_line(task) for element, task in tasks.items()}

    def reader(self, run: str) -> LogReader:
        """What reads the log of a run bit by bit. Raises ValueError for what is no run of ours."""
        id = RunId.parse(run)
        if id not in {each.id for each in self.runs()}:
            raise ValueError(f"there is no run {run}")
        reader = LogReader(read=partial(self.site.runner.log, id), shown=self.site.runner.shown(id))
        reader.skip(FIRST_MAX)
        return reader

    def _fresh(self, key: object, most_s: float, read: Callable[[], Any]) -> Any:
        now, known = time.monotonic(), self._kept.get(key)
        if known is None or now - known.at > most_s:
            if len(self._kept) > 500:
                self._kept.clear()
            known = self._kept[key] = _Recent(at=now, value=read())
        return known.value

    def _task(self, id: TaskId) -> Task | Unknown | None:
        def read() -> Task | Unknown | None:
            tasks = ask(self.site.tracker.tasks)
            return tasks if isinstance(tasks, Unknown) else tasks.get(id)

        found: Task | Unknown | None = self._fresh(("task", id), TEXTS_S, read)
        return found

    def _events(self, id: TaskId) -> list[dict[str, Any]]:
        found = self._fresh(("events", id), 1.0, lambda: ask(lambda: self.site.journal.events(id)))
        return [] if isinstance(found, Unknown) else found

    def _prompt(self, run: Run) -> str:
        try:
            with regular(Path(self.site.runner.prompt_path(run.id, Venue()))) as file:
                return file.read(PROMPT_MAX).decode("utf-8", "replace")
        except OSError:
            return ""

    def _diff(self, id: TaskId, base: str | None) -> str | None:
        try:
            head = refs.head_of(self.site.git, HEADS + branch_of(id))
            if head is None or base is None:
                return None
            changes = self.site.forge.changes
            tip = self.site.forge.base(base, look=False).head
            return changes.patch(changes.span(tip, head), whole=False).decode("utf-8", "replace")
        except ReconcileError as error:
            return f"it can't be read: {error}"


def _newest(runs: Sequence[Run]) -> Run | None:
    """Of the runs of a task the newest of its agent, else the newest of any kind."""
    fitting = [run for run in runs if run.id.kind is RunKind.WORK] or runs
    return fitting[-1] if fitting else None


def _texts(task: Task) -> dict[str, str]:
    return {"Description": split_key(task.description)[0], "Acceptance": task.acceptance, "Notes": task.notes}


def landings(events: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """When each task's work landed; of what landed beneath another, or by another's hand, when it was closed for that."""
    done = [each for each in events if each.get("event") == "ActionDone" and each.get("task")]
    closed = [each for each in done if each.get("action") == "CloseTask" and each.get("reason") == Reason.LANDED]
    ours = [each for each in done if each.get("action") == "Land"]
    return {str(each["task"]): str(each["at"]).partition(".")[0].removesuffix("Z") + "Z" for each in (*closed, *ours)}
