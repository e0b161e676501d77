"""Plans, outcomes and how things stand, as plain dictionaries: what `-o json` and `-o yaml` print and scripts rely on.

Strings are given as they are; the one who prints them sees to it that they are harmless (`safe.json_text`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from msgspec.structs import asdict

from reconciler.loop.executor import Outcome
from reconciler.model.errors import ReconcileError
from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, Run, Task, Unknown, known_or
from reconciler.planning.actions import Action
from reconciler.planning.actions.base import OF_MANIFEST
from reconciler.planning.check_state import CheckState
from reconciler.planning.epic_tasks import owners
from reconciler.planning.forecast import Forecast
from reconciler.planning.graph import Index, order
from reconciler.planning.plan import EpicPlan, Plan
from reconciler.render import asking, failing
from reconciler.render.conditions import conditions, observed_generation
from reconciler.render.entry import GROUPS, entry, group, merged, phase, run_record, unread, waiting
from reconciler.render.reviews import Diffs, as_it_landed
from reconciler.render.spend import spend
from reconciler.render.task_views import TaskView, finished, running, subjects, view_of
from reconciler.render.withheld import changes, withheld
from reconciler.render.words import stamp

Document = dict[str, Any]


def plan(decided: Plan, then: Mapping[str, Forecast] | None = None) -> Document:
    """What `diff` prints: for every manifest what is done next, what waits and why, and which sources were silent.

    `then`: what comes of each, by name, where that was asked for.
    """
    return {
        "epics": [{**_epic_plan(epic), **({"then": asdict(then[epic.name])} if then else {})} for epic in decided.epics]
    }


def outcome(ended: Outcome) -> Document:
    """An action that was performed; with `error` where it went wrong."""
    shown = _action(ended.action)
    return {**shown, "error": failure(ended.error)} if ended.error else shown


def failure(error: ReconcileError) -> Document:
    """An error with what can be done about it."""
    return {"kind": type(error).__name__, "message": str(error), "hint": error.hint}


def status(
    decided: Plan,
    observed: Observed,
    recorded: Mapping[str, Mapping[str, Any]] | None = None,
    unmanaged: EpicPlan | None = None,
    *,
    every: bool = True,
) -> Document:
    """What `status` prints. `recorded`: what was last remembered of each manifest, as `Recorded.status` gives it;
    `unmanaged`: the tasks of no manifest for which something was begun; those that no picture shows, as they
    are closed and nothing of them is left, are only counted where not `every` task is to be described.

    Where the tasks can't be read, `counts` are all null, and of the tasks only those are there for which something runs.
    """
    remembered = recorded or {}
    return {
        "at": stamp(observed.at),
        "epics": [_epic_status(epic, observed, remembered.get(epic.name, {}), every) for epic in decided.epics],
        "unmanaged": None if isinstance(observed.tasks, Unknown) else _unmanaged(unmanaged, observed),
    }


def _unmanaged(found: EpicPlan | None, observed: Observed) -> list[Document]:
    return [entry(subject) for subject in subjects(found, observed)] if found else []


def describe(
    task: TaskId,
    decided: Plan,
    observed: Observed,
    events: Iterable[Mapping[str, Any]] = (),
    unmanaged: EpicPlan | None = None,
    diffs: Diffs | None = None,
) -> Document | None:
    """What `describe` prints: the task's entry with its text, all of its runs and its history; None for a task of no
    manifest. One that several hold is shown as its owner sees it. `diffs`: what its reviewers have read."""
    epics = (*decided.epics, *((unmanaged,) if unmanaged else ()))
    subject = view_of(task, epics, observed)
    if subject is None:
        return None
    shown, history = entry(subject), [dict(event) for event in events]
    if pull := shown["pullRequest"]:
        shown["pullRequest"] = as_it_landed(pull, task, history)
    return {
        "at": stamp(observed.at),
        "manifest": None if subject.epic is unmanaged else subject.epic.name,
        **shown,
        **_text(subject.task, subject.job.blocked_by if subject.job else ()),
        "runs": [run_record(run, (diffs or {}).get(run.id), subject.reviewing) for run in _all_runs(subject)],
        "events": history,
    }


def described(
    at: str,
    manifest: str | None,
    found: Document,
    task: Task | None,
    *,
    blocked_by: Sequence[str],
    runs: Sequence[Document],
    events: Sequence[Document],
) -> Document:
    """The same, made of the task's entry in a look; None for a `task` of which no more can be read."""
    return {
        "at": at,
        "manifest": manifest,
        **found,
        **_text(task, blocked_by),
        "runs": list(runs),
        "events": list(events),
    }


def describe_epic(epic: TaskId, decided: Plan, observed: Observed) -> Document | None:
    """What `describe` prints of an epic: its tasks, each with the manifest that holds it; None for what is none."""
    if isinstance(observed.tasks, Unknown) or epic not in observed.tasks:
        return None
    index, holders = (
        Index(observed.tasks, observed.at),
        owners(plan.epic_tasks for plan in decided.epics if plan.epic_tasks),
    )
    if not index.is_epic(epic):
        return None
    below = sorted((observed.tasks[id] for id in index.descendants(epic)), key=order)
    tasks = [{"id": t.id, "title": t.title, "status": t.status, "manifest": holders.get(t.id)} for t in below]
    found = observed.tasks[epic]
    return {"id": epic, "title": found.title, "type": "epic", "status": found.status, "tasks": tasks}


def _epic_plan(epic: EpicPlan) -> Document:
    shown: Document = {
        "name": epic.name,
        "converged": epic.converged,
        "actions": [_action(action) for action in epic.actions],
        "waiting": [{"task": task, **waiting(epic.waiting[task])} for task in waiting_order(epic)],
        "unknown": [{"source": source, "message": why} for source, why in epic.unknown],
        "failing": [
            {"task": None if subject.startswith(OF_MANIFEST) else subject, **failing.shown(failure)}
            for subject, failure in epic.failing.items()
        ],
        "protectedPaths": list(epic.spec.merge.protected_paths),
    }
    # What holds a manifest without tasks, or keeps all of its agents from starting, has no task to stand beside.
    extra = {"held": epic.held, "degraded": epic.degraded, "withheld": withheld(epic.spec)}
    return {**shown, **{name: waiting(word) for name, word in extra.items() if word}}


def waiting_order(epic: EpicPlan) -> list[TaskId]:
    """The tasks that wait, most urgent first."""
    ranks = {task.id: order(task) for task in (epic.epic_tasks.members if epic.epic_tasks else ())}
    return sorted(epic.waiting, key=lambda task: (task not in ranks, ranks.get(task, ()), task))


def _action(action: Action) -> Document:
    return {
        "action": type(action).__name__,
        "task": action.task,
        "reason": str(action.reason),
        "message": action.message,
        "evidence": _plain(action.evidence),
    }


def _plain(value: object) -> Any:
    """The value as JSON knows it."""
    match value:
        case Enum():
            return _plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return stamp(value)
        case Mapping():
            return {str(name): _plain(one) for name, one in value.items()}
        case set() | frozenset():
            return sorted(map(_plain, value), key=str)
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return str(value)


def _epic_status(epic: EpicPlan, observed: Observed, recorded: Mapping[str, Any], every: bool) -> Document:
    done = {} if every else finished(epic, observed)
    found = subjects(epic, observed, but=done)
    asked = asking.recalled(recorded)
    tasks = (
        [asking.dated(entry(subject), asked) for subject in found]
        if epic.epic_tasks
        else [unread(each) for each in running(epic, observed)]
    )
    return {
        "name": epic.name,
        "epic": epic.epic,
        "generation": epic.spec.generation,
        "observedGeneration": observed_generation(recorded),
        "conditions": conditions(epic, recorded, observed.at),
        "withheld": changes(epic.spec),
        "base": _base(epic),
        "counts": _counts(found, done, observed)
        if epic.epic_tasks
        else dict.fromkeys(("tasks", *reversed(GROUPS), "merged")),
        "spend": spend(epic.spend),
        "tasks": tasks,
    }


_KNOWN = {CheckState.PASSED: "green", CheckState.FAILED: "red"}


def _base(epic: EpicPlan) -> Document | None:
    """At which commit the base is green; null where no checks are asked of it, or it can't be seen."""
    if epic.base is None:
        return None
    commits = [{"sha": sha, "state": _KNOWN.get(state, "unknown")} for sha, state in epic.base.commits]
    return {"name": epic.base.base, "green": epic.base.green, "commits": commits}


def _counts(found: tuple[TaskView, ...], done: Mapping[TaskId, Task], observed: Observed) -> dict[str, int]:
    groups = Counter(group(subject) for subject in found)
    groups["closed"] += len(done)
    landed = known_or(observed.landings, {})
    unseen = [task for id, task in done.items() if id not in landed]
    return {
        "tasks": len(found) + len(done),
        **{name: groups[name] for name in reversed(GROUPS)},
        "merged": sum(map(merged, found))
        + len(done)
        - len(unseen)
        + sum(phase(task, None, observed) == "merged" for task in unseen),
    }


def _text(task: Task | None, blocked_by: Sequence[str]) -> Document:
    if task is None:
        unknown = dict.fromkeys(("type", "priority", "assignee", "closeReason"))
        texts = dict.fromkeys(("description", "acceptance", "notes"), "")
        return {**unknown, **texts, "labels": [], "blockedBy": list(blocked_by)}
    return {
        "type": task.type,
        "priority": task.priority,
        "assignee": task.assignee or None,
        "labels": sorted(task.labels),
        "blockedBy": list(blocked_by),
        "description": task.description,
        "acceptance": task.acceptance,
        "notes": task.notes,
        "closeReason": task.close_reason or None,
    }


def _all_runs(subject: TaskView) -> list[Run]:
    """Its work runs, reviews and checks as they began; what was reserved and never started comes last."""
    runs = (*subject.runs, *subject.reviews, *subject.checks)
    return sorted(runs, key=lambda run: (not run.started, run.started_at or subject.observed.at, run.id))


__all__ = [
    "Document",
    "conditions",
    "describe",
    "described",
    "failure",
    "outcome",
    "plan",
    "status",
    "waiting_order",
]
