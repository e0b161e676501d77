"""Words given to an agent. Pure. A template's placeholders are replaced literally; every other brace stays as written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.model.desired import MergeMethod
from reconciler.model.names import split_key
from reconciler.model.observed import Task
from reconciler.model.reasons import Reason
from reconciler.planning.messages import clean

_INTERRUPTED = "The last attempt was interrupted, through no fault of the work. Its commits and files are still here: look, then go on."
_ADVICE = {
    Reason.NO_CHANGES: "The last attempt ended without a commit. Only what is committed on your branch counts as work.",
    Reason.AGENT_FAILED: "The last attempt ended before its time. Its commits and files are still here: look, then go on.",
    Reason.USAGE_LIMIT: _INTERRUPTED,
    Reason.AGENT_UNAVAILABLE: _INTERRUPTED,
    Reason.BUDGET_SPENT: _INTERRUPTED,
    Reason.SETUP_FAILED: "The commands that prepare this worktree failed.",
    Reason.STUCK: "The last attempt made no progress for too long and was stopped. Its commits and files are still here.",
    Reason.TIMED_OUT: "The last attempt ran into its time limit. Its commits and files are still here: look, then go on.",
    Reason.CHECKS_FAILED: "The checks failed on your work merged into {base}. Mend it on your branch and commit.",
    Reason.CHANGES_REQUESTED: "Somebody looked at your work and asked for changes. Make them on your branch and commit.",
    Reason.PUSH_REFUSED: (
        "Where your branch is to go, what is in your commits was refused. Mend it in the commits themselves, by "
        "'git commit --amend' or 'git rebase': none that {base} lacks may hold it, and one more on top does not help."
    ),
    Reason.CONFLICT: (
        "Your branch conflicts with {base}, which has moved on since you began. Merge {base} into your branch "
        "(or rebase onto it), keep what both sides meant, and commit."
    ),
}
_REBASE = (
    "Your branch conflicts with {base}, which has moved on since you began. It lands commit by commit, and a merge commit "
    "can't: rebase your branch onto {base} ('git rebase {base}'), and keep what both sides meant in each commit."
)
_PLACEHOLDER = re.compile(
    r"\{(task|epic|branch|base|worktree|attempt|title|description|acceptance|feedback)\}|\$TASK_ID\b"
)


def render(template: str, task: Task, values: Mapping[str, str], feedback: str) -> str:
    """The prompt of one attempt: `template` with the task's text and, where there is one, why the last did not do."""
    known = {
        **values,
        "title": clean(task.title),
        "description": clean(split_key(task.description)[0]),
        "acceptance": clean(task.acceptance),
        "feedback": feedback,
    }
    return _PLACEHOLDER.sub(lambda found: known.get(found[1] or "task", found[0]), template)


def feedback(reason: Reason, message: str, log: str, base: str, method: MergeMethod = MergeMethod.SQUASH) -> str:
    """Why the last attempt did not do, with the end of what was printed. `method`: how its branch is to land."""
    by_rebase = reason is Reason.CONFLICT and method is MergeMethod.REBASE
    advice = _REBASE if by_rebase else _ADVICE.get(reason, "")
    parts = [clean(message), advice.replace("{base}", base)]
    if log.strip():
        parts.append(f"The end of its output:\n\n{clean(log).strip()}")
    return "\n\n".join(part for part in parts if part)


def comments(text: str) -> str:
    """What people and bots said about its pull request, beside why the last attempt did not do; empty for nothing."""
    return f"\n\nOn your pull request somebody wrote, and has not called it settled:\n\n{text}" if text else ""
