"""How a manifest stands, as the conditions that Kubernetes users know: `Converged`, `Progressing`, `Degraded`.

Where it has a budget there is a fourth, `BudgetLow`: true once the share of it is used at which it asks for a warning.

They are observations for people and scripts. No decision reads them; only the time of the last change is carried over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from reconciler.model.desired import Budget
from reconciler.model.names import RunKind
from reconciler.model.observed.tasks import CLOSED
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting
from reconciler.planning.actions.guards import suspended
from reconciler.planning.budget import running_low
from reconciler.planning.check_state import CheckState
from reconciler.planning.plan import EpicPlan
from reconciler.render.failing import lasting
from reconciler.render.withheld import withheld
from reconciler.render.words import counted, stamp

Condition = dict[str, str]


def conditions(epic: EpicPlan, recorded: Mapping[str, Any], now: datetime) -> list[Condition]:
    """The conditions of a manifest. `lastTransitionTime` is the recorded one where the status is still the same.

    `recorded` is what was last remembered of the manifest, as `Recorded.status` gives it; nothing in it is relied on.
    """
    before = _by_type(recorded)
    telling = _telling(epic)
    found = (_converged(epic, telling), _progressing(epic, telling), _degraded(epic, telling), *_budget(epic, telling))
    return [_timed(condition, before.get(condition["type"], {}), now) for condition in found]


def observed_generation(recorded: Mapping[str, Any]) -> int:
    """The generation of the manifest that a reconciler last acted on; 0 for none."""
    found = recorded.get("observedGeneration")
    return found if isinstance(found, int) else 0


def remembered(recorded: Mapping[str, Any]) -> list[Any]:
    """The conditions that a manifest had when it was last seen, whatever they are."""
    found = recorded.get("conditions")
    return found if isinstance(found, list) else []


def _by_type(recorded: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(each.get("type")): each for each in remembered(recorded) if isinstance(each, Mapping)}


def _converged(epic: EpicPlan, telling: Waiting) -> Condition:
    if epic.converged:
        return _condition("Converged", "True", telling)
    unseen = epic.epic_tasks is None or (epic.complete and epic.unknown and not epic.actions)
    return _condition("Converged", "Unknown" if unseen else "False", telling)


def _progressing(epic: EpicPlan, telling: Waiting) -> Condition:
    if doing := _doing(epic):
        return _condition("Progressing", "True", Waiting(Reason.PROGRESSING, doing))
    reason = telling.reason
    if any(source == "runs" for source, _ in epic.unknown):
        return _condition("Progressing", "Unknown", Waiting(reason, "can't tell what is running"))
    nothing = "nothing to do, nothing running" if epic.epic_tasks else "nothing running; can't tell what is to do"
    return _condition("Progressing", "False", Waiting(reason, nothing))


def _degraded(epic: EpicPlan, telling: Waiting) -> Condition:
    if trouble := _trouble(epic) or lasting(epic) or withheld(epic.spec) or remarked(epic):
        return _condition("Degraded", "True", trouble)
    return _condition("Degraded", "False", Waiting(telling.reason, "nothing is wrong"))


def amiss(epic: EpicPlan) -> list[Waiting]:
    """Everything for which a condition of the manifest says that something is wrong with it, the worst first."""
    lasts = (lasting(epic), withheld(epic.spec), remarked(epic))
    return [word for word in (epic.held, _invalid(epic), epic.degraded, *lasts, _low(epic)) if word]


def remarked(epic: EpicPlan) -> Waiting | None:
    """What is amiss and keeps nothing from going on, as one word."""
    if not epic.remarks:
        return epic.advice
    task, word = next(iter(sorted(epic.remarks.items())))
    others = f"; and {counted(len(epic.remarks) - 1, 'other closed task')}" if len(epic.remarks) > 1 else ""
    return Waiting(word.reason, f"{task}: {word.message}{others}")


def _budget(epic: EpicPlan, telling: Waiting) -> Iterator[Condition]:
    if epic.spec.budget == Budget():
        return
    low = _low(epic)
    yield _condition("BudgetLow", "True" if low else "False", low or Waiting(telling.reason, "below warnAt"))


def _low(epic: EpicPlan) -> Waiting | None:
    low = running_low(epic.spec.budget, epic.spend)
    return Waiting(Reason.BUDGET_LOW, f"{low}; nothing new starts once it is used up") if low else None


def _invalid(epic: EpicPlan) -> Waiting | None:
    return Waiting(Reason.MANIFEST_INVALID, epic.spec.invalid) if epic.spec.invalid else None


def _condition(type_: str, status: str, word: Waiting) -> Condition:
    return {"type": type_, "status": status, "reason": str(word.reason), "message": word.message}


def _timed(condition: Condition, before: Mapping[str, Any], now: datetime) -> Condition:
    since = before.get("lastTransitionTime")
    same = before.get("status") == condition["status"] and isinstance(since, str)
    return {**condition, "lastTransitionTime": str(since) if same else stamp(now)}


def _trouble(epic: EpicPlan) -> Waiting | None:
    """What is wrong with the manifest as a whole."""
    if word := epic.held or _invalid(epic) or epic.degraded:
        return word
    if epic.unknown:
        return Waiting(Reason.UNKNOWN, "; ".join(f"{source}: {why}" for source, why in epic.unknown))
    return None


def _telling(epic: EpicPlan) -> Waiting:
    """The one reason that says most about where the manifest stands."""
    if trouble := _trouble(epic):
        return trouble
    if epic.converged:
        done = "nothing is left to do" if epic.spec.made_up else "everything matches the manifest"
        if epic.gone:
            done += f", but the work of {counted(len(epic.gone), 'closed task')} is not on {epic.spec.base}"
        return Waiting(Reason.CONVERGED, f"{_closed(epic)}; {done}")
    if epic.spec.suspend:
        return suspended(epic.spec)
    if doing := _doing(epic):
        return Waiting(Reason.PROGRESSING, f"{_closed(epic)}; {doing}")
    return _stopped_short(epic)


def _stopped_short(epic: EpicPlan) -> Waiting:
    if not epic.waiting:
        return Waiting(Reason.UNKNOWN, f"{_closed(epic)}; no next step is known")
    needy = epic.saying(lambda word: word.needs_a_person)
    task, asking = min(needy or epic.waiting), len(needy)
    word = epic.waiting[task]
    if asking > 1:
        rest = f", {len(epic.waiting) - asking} more wait" if len(epic.waiting) > asking else ""
        return Waiting(word.reason, f"{_closed(epic)}; {asking} tasks need attention{rest}")
    others = f"; {counted(len(epic.waiting) - 1, 'other task')} open" if len(epic.waiting) > 1 else ""
    return Waiting(word.reason, f"{_closed(epic)}; {task}: {word.message}{others}")


def _closed(epic: EpicPlan) -> str:
    members = epic.epic_tasks.members if epic.epic_tasks else ()
    by_status = Counter(map(attrgetter("status"), members))
    return f"{sum(by_status[each] for each in CLOSED)} of {counted(len(members), 'task')} closed"


def _doing(epic: EpicPlan) -> str:
    """What goes on without a person, in words; empty where nothing does."""
    agents = sum(job.attempts.live is not None for job in epic.begun)
    tested = (job.open_pull is not None and job.offer.check_state is CheckState.RUNNING for job in epic.begun)
    # In a line that several manifests share, one of them has started what all are in.
    checks = sum(run.id.kind is RunKind.CHECK for run in epic.alive) or sum(tested)
    reviews = sum(run.id.kind is RunKind.REVIEW for run in epic.alive)
    if epic.held:  # its tasks can't be read or judged, but what runs is known all the same
        agents = sum(run.id.kind is RunKind.WORK for run in epic.alive)
    # Housekeeping is shown nowhere else; it counts where it is all that goes on.
    due = sum(not action.housekeeping for action in epic.actions)
    found = (
        (due if due or agents or reviews or checks or epic.wakes else len(epic.actions), "action due", "actions due"),
        (agents, "agent running", "agents running"),
        (reviews, "review running", "reviews running"),
        (checks, "check running", "checks running"),
        (len(epic.wakes), "timer pending", "timers pending"),
    )
    return ", ".join(counted(n, one, many) for n, one, many in found if n)
