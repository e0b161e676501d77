"""What goes wrong again and again: as it is remembered for the one who looks on, and as it is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Failure
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Waiting
from reconciler.planning.actions.base import OF_MANIFEST
from reconciler.planning.plan import EpicPlan
from reconciler.render.words import counted, seconds_since, span, stamp, stamped

WORTH_IT_S = 30.0
LEFT = "no reconciler is running; 'reconcile watch' tries again"


def shown(failure: Failure) -> dict[str, Any]:
    """As it stands in JSON. `nextTry` is null where nobody tries again by itself; `permanent`: another try is useless.
    `agentIsTold`: its agent can mend it, and hears of it with every attempt. `others`: what fails beside it, in the same form.
    """
    return {**_plain(failure), "others": [_plain(each) for each in failure.others]}


def _plain(failure: Failure) -> dict[str, Any]:
    return {**_bare(failure), "permanent": failure.permanent and not failure.feedback, "agentIsTold": failure.feedback}


def _bare(failure: Failure) -> dict[str, Any]:
    return {
        "action": failure.action,
        "message": failure.message,
        "since": stamp(failure.since),
        "nextTry": None if failure.left else stamp(failure.until),
        "permanent": failure.permanent,
    }


def words(entry: Mapping[str, Any], now: datetime, task: str = "") -> str:
    """What fails, since when, and what comes of it, as a sentence; from what `shown` gives. `task`: one to be retried."""
    since = span(seconds_since(entry["since"], now))
    again = LEFT
    if entry["nextTry"] and entry["agentIsTold"]:
        again = "its agent gets it as feedback"
    elif entry["nextTry"]:
        left_s = (stamped(entry["nextTry"]) - now).total_seconds()
        again = f"tried again in {span(left_s)}" if left_s > 0 else "being tried again"
        again += f", or at once by 'reconcile retry {task}'" if task and left_s > WORTH_IT_S else ""
    beside = "".join(f"; {other['action']} too: {other['message']}" for other in entry.get("others", ()))
    return f"{entry['action']} has failed for {since} ({again}): {entry['message']}{beside}"


def next_step(subject: str, failure: Failure) -> str:
    """What a person does about what fails for a task, or for a manifest."""
    if subject.startswith(OF_MANIFEST):
        return f"mend what it names: it is tried again by itself; reconcile status {failure.manifest}"
    if failure.left:
        return "mend what it names; then reconcile watch"
    if failure.feedback:
        return f"nothing: its agent gets it as feedback; reconcile describe {subject}"
    if failure.permanent:
        return f"once that is fixed: reconcile retry {subject}"
    # Begun again, its attempts would count from the start: what goes on by itself needs no retry.
    if failure.denied:
        return f"lift it there, or ask who can: it is tried again by itself; reconcile describe {subject}"
    if failure.blocked:
        return f"clear that checkout: it is tried again by itself; reconcile describe {subject}"
    return f"mend what it names: it is tried again by itself; reconcile describe {subject}"


def lasting(epic: EpicPlan) -> Waiting | None:
    """What went wrong more than once, by somebody's will, or to no end, as one word about the manifest."""
    known = ((subject, failure) for subject, all in epic.failing.items() for failure in all.each)
    found = [(s, f) for s, f in known if f.tries > 1 or f.permanent or f.denied or f.left]
    if not found:
        return None
    subject, failure = min(found, key=lambda each: (each[1].since, each[0]))
    tasks = {task.id for task in epic.epic_tasks.members} if epic.epic_tasks else set()
    of = f" of {subject}" if subject in tasks else ""
    others = f"; and {counted(len(found) - 1, 'other action')}" if len(found) > 1 else ""
    left = f" ({LEFT})" if failure.left else ""
    return Waiting(
        Reason.CHECKOUT_IN_THE_WAY if failure.blocked else Reason.BACKOFF,
        f"{failure.action}{of} has failed since {stamp(failure.since)}{left}: {failure.message}{others}",
    )


def remembered(epic: EpicPlan) -> list[dict[str, Any]]:
    """For `status/<name>.json`: what `recalled` reads."""
    return [
        {
            **_bare(f),
            "subject": subject,
            "lastTry": stamp(f.at),
            "tries": f.tries,
            "blocked": f.blocked,
            **({"denied": True} if f.denied else {}),
            **({"refused": f.refused} if f.refused else {}),
            **({"feedback": True} if f.feedback else {}),
            **({"housekeeping": True} if f.housekeeping else {}),
        }
        for subject, failure in epic.failing.items()
        for f in failure.each
    ]


def recalled(statuses: Mapping[str, Mapping[str, Any]], *, left: bool) -> dict[TaskId, Failure]:
    """What was remembered of each manifest. Nothing in it is relied on: what can't be understood is as if it were not there.

    `left`: the one who remembered it has ended.
    """
    return {
        subject: failure
        for manifest, status in statuses.items()
        for subject, failure in _recalled(manifest, status, left=left).items()
    }


def _recalled(manifest: str, status: Mapping[str, Any], *, left: bool) -> dict[TaskId, Failure]:
    found = defaultdict[TaskId, list[Failure]](list)
    listed = status.get("failing")
    for each in listed if isinstance(listed, list) else ():
        match each:
            case {"subject": str(subject), "action": str(), "message": str(), "since": str()}:
                if failure := _failure(manifest, each, left=left):
                    found[TaskId(subject)].append(failure)
    return {subject: joined for subject, failures in found.items() if (joined := Failure.joined(failures))}


def _failure(manifest: str, plain: Mapping[str, Any], *, left: bool) -> Failure | None:
    try:
        began = stamped(plain["since"])
        until = began if left else stamped(str(plain.get("nextTry")))
        last = stamped(str(plain.get("lastTry")))
    except ValueError:
        return None
    # Others is not known in every time zone.
    if any(at.tzinfo is None or not 2000 <= at.year < 9000 for at in (began, until, last)):
        return None
    tries, refused = plain.get("tries"), plain.get("refused")
    return Failure(
        action=plain["action"],
        message=plain["message"],
        since=began,
        until=until,
        at=last,
        manifest=manifest,
        tries=tries if isinstance(tries, int) else 1,
        permanent=plain.get("permanent") is True,
        denied=plain.get("denied") is True,
        blocked=plain.get("blocked") is True,
        left=left,
        refused=Sha(refused) if isinstance(refused, str) else None,
        feedback=plain.get("feedback") is True,
        housekeeping=plain.get("housekeeping") is True,
    )
