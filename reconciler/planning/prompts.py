"""Words given to an agent. Pure. A template's placeholders are replaced literally; every other brace stays as written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.model.desired import MergeMethod
from reconciler.model.names import TaskId, split_key
from reconciler.model.observed import Task
from reconciler.model.reasons import Reason
from reconciler.planning.messages import clean

_REBASE = (
    "Your branch does not fit onto {base}, which has moved on since you began. It lands commit by commit: rebase your branch "
    "onto {base} ('git rebase {base}'), keep what both sides meant in each commit, and leave no merge commit in it."
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
    advice = _REBASE if by_rebase else reason.row.prompt
    parts = [clean(message), advice.replace("{base}", base)]
    if log.strip():
        parts.append(f"The end of its output:\n\n{clean(log).strip()}")
    return "\n\n".join(part for part in parts if part)


def not_taken(reason: Reason, base: str) -> str:
    """What to do about work that was not taken for this reason before the last attempt came to nothing."""
    return f"\n\n{reason.row.prompt.replace('{base}', base)}"


def on_top(parent: TaskId | None, base: str) -> str:
    """That its branch begins on that of another task; empty where it does not."""
    if parent is None:
        return ""
    return (
        f"\n\nYour branch begins on that of {parent}, which your task needs and which has not landed on {base} yet. Leave its commits "
        f"as they are, put yours on top, and merge nothing into your branch: yours alone are put onto {base} later."
    )


def asked_by_reviewer(text: str) -> str:
    """What the reviewer of its work asks for, place by place; empty for nothing."""
    return f"\n\nA reviewer read your work and asks for changes:\n\n{text}" if text else ""


def comments(text: str) -> str:
    """What people and bots wrote about its pull request, beside why the last attempt did not do; empty for nothing."""
    return f"\n\nOn your pull request somebody wrote, and has not called it settled:\n\n{text}" if text else ""
