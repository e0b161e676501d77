"""Which run's last line stands beside a task, and which line that is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reconciler.model.names import RunId
from reconciler.model.observed import Observed, Run
from reconciler.planning.plan import Plan
from reconciler.render.safe import line
from reconciler.render.task_views import running, subjects

# Colours, cursor movements, titles: what programs print that is meant for a terminal and says nothing.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]"
)


def live_runs(decided: Plan, observed: Observed) -> dict[str, RunId]:
    """What runs at this moment for each task: its agent, or a check of its work."""
    found = (subject for epic in decided.epics for subject in (*subjects(epic, observed), *running(epic, observed)))
    return {subject.task.id: subject.run.id for subject in found if subject.run and subject.run.alive}


def runs_of(document: dict[str, Any], alive: Iterable[Run]) -> dict[str, RunId]:
    """The same by the document of `status`, of all runs that are alive."""
    known = {(run.task, str(run.id.kind), run.id.n): run.id for run in alive}
    runs = ((entry["id"], entry["run"]) for epic in document["epics"] for entry in epic["tasks"] if entry["run"])
    found = {task: known.get((task, run["kind"], run["n"])) for task, run in runs}
    return {task: id for task, id in found.items() if id}


def last_line(printed: str) -> str:
    """The last line with something on it in what a program printed, without colours; what has no end yet is no line.

    >>> last_line("one\\n\\x1b[32mtwo\\x1b[0m\\n  \\nthr")
    'two'
    >>> last_line("10 %\\r20 %\\r")
    '20 %'
    """
    ended = printed[: max(printed.rfind("\n"), printed.rfind("\r")) + 1]
    shown = (line(_SEQUENCE.sub("", each)) for each in reversed(ended.replace("\r", "\n").split("\n")))
    return next((each for each in shown if each), "")
