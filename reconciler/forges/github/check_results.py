"""Checks as GitHub tells of them, each brought down to one of four results. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from reconciler.forges.github.review_text import STATUS
from reconciler.model.observed import CheckResult, ForgeCheck
from reconciler.planning.messages import one_line

SUMMARY_MAX = 300
FREEZE = "reconcile/freeze"  # a status of ours that is no check
_CONCLUSIONS = {
    "SUCCESS": CheckResult.PASSED,
    "NEUTRAL": CheckResult.PASSED,
    "SKIPPED": CheckResult.PASSED,
    "FAILURE": CheckResult.FAILED,
    "TIMED_OUT": CheckResult.FAILED,
    "ACTION_REQUIRED": CheckResult.FAILED,
    "STARTUP_FAILURE": CheckResult.FAILED,
    "CANCELLED": CheckResult.VOID,
    "STALE": CheckResult.VOID,
}
_STATES = {"SUCCESS": CheckResult.PASSED, "FAILURE": CheckResult.FAILED, "ERROR": CheckResult.FAILED}
_TOLD = (CheckResult.FAILED, CheckResult.VOID)


def results(contexts: Iterable[Mapping[str, Any]]) -> tuple[ForgeCheck, ...]:
    """The checks of one commit: of those that were run again only the last run, by name.

    A check of one name that runs for several events (a push and a pull request), or of several apps, is as many checks.
    """
    newest: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for context in contexts:
        if context.get("context") == STATUS or is_freeze(context):
            continue  # what a reviewer says is judged as that, here, and by nobody as a check
        key = _key(context)
        before = newest.get(key)
        # A run that is queued has no time yet: only its number says that it is the newer one.
        if before is None or _number(context) >= _number(before):
            newest[key] = context
    return tuple(sorted(map(_check, newest.values()), key=lambda check: (check.name, check.result)))


def ends(contexts: Iterable[Mapping[str, Any]]) -> tuple[datetime | None, datetime | None]:
    """When the first, and when the last of these checks ended."""
    ended = (context.get("completedAt") or context.get("createdAt") for context in contexts if not is_freeze(context))
    times = sorted(datetime.fromisoformat(at) for at in ended if at)
    return (times[0], times[-1]) if times else (None, None)


def is_freeze(context: Mapping[str, Any]) -> bool:
    """True for what says of a base that nothing lands on it, or that something does again."""
    return bool(context["__typename"] == "StatusContext" and context["context"] == FREEZE)


def _key(context: Mapping[str, Any]) -> tuple[str, ...]:
    if context["__typename"] == "StatusContext":
        return ("status", context["context"])
    suite = context.get("checkSuite") or {}
    app, run = (suite.get("app") or {}).get("databaseId"), suite.get("workflowRun") or {}
    workflow = (run.get("workflow") or {}).get("name") or ""
    return ("check", str(app), workflow, run.get("event") or "", context["name"])


def _number(context: Mapping[str, Any]) -> int:
    return int(context.get("databaseId") or 0)


def _check(context: Mapping[str, Any]) -> ForgeCheck:
    if context["__typename"] == "StatusContext":
        result = _STATES.get(context["state"], CheckResult.PENDING)
        message = context.get("description")
        return _of(context, context["context"], result, context.get("targetUrl"), message)
    over = context["status"] == "COMPLETED"
    result = _CONCLUSIONS.get(context.get("conclusion") or "", CheckResult.PENDING) if over else CheckResult.PENDING
    message = context.get("title") or context.get("summary")
    if result in _TOLD and context.get("conclusion") != "FAILURE":
        message = f"{context['conclusion'].lower().replace('_', ' ')}{f': {message}' if message else ''}"
    return _of(context, context["name"], result, context.get("detailsUrl"), message)


def _of(context: Mapping[str, Any], name: str, result: CheckResult, url: str | None, text: str | None) -> ForgeCheck:
    suite = context.get("checkSuite") or {}
    run = suite.get("workflowRun") or {}
    words = one_line(text or "")[:SUMMARY_MAX] if result in _TOLD else ""
    return ForgeCheck(
        name=name,
        result=result,
        url=url or None,
        summary=words,
        number=context.get("databaseId"),
        workflow=run.get("databaseId"),
        app=(suite.get("app") or {}).get("databaseId"),
    )
