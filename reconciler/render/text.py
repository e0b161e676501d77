"""Plans, outcomes and how things stand, for people: every word and colour on the terminal. Pure.

What comes from tasks, branches, agents and logs goes through `safe`, and never through rich's markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from reconciler.loop.executor import Outcome
from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import TaskId, salvage_ref
from reconciler.model.observed import Salvage
from reconciler.planning.budget import running_low, used_up
from reconciler.planning.orphans import OrphanWorktree
from reconciler.planning.plan import EpicPlan
from reconciler.render.conditions import remarked
from reconciler.render.planned import plan, summary
from reconciler.render.safe import block, line
from reconciler.render.status import status
from reconciler.render.task import describe, describe_epic
from reconciler.render.withheld import withheld
from reconciler.render.words import counted, span

PIPE_WIDTH = 1000
UNMANAGED_MAX = 5


def unmerged(left: int) -> Text:
    """One line: how many pull requests are offered and not merged."""
    if not left:
        return Text("Nothing left to merge.", "bold")
    return Text(f"{counted(left, 'pull request is', 'pull requests are')} not merged.", "bold")


def outcome(ended: Outcome) -> str:
    """One line about an action that was performed, or why it was not."""
    action = ended.action
    what = f"{line(action.task or action.manifest)}  {type(action).__name__}  "
    return what + (_failure(ended.error) if ended.error else line(action.message))


def saved(salvage: Salvage) -> str:
    """One line about work that no branch held, and that an action has saved before it went on."""
    ref = salvage_ref(salvage.task, salvage.n)
    return f"saved what no branch holds, as {ref}; 'reconcile restore {line(salvage.task)}' brings it back"


def orphan(found: OrphanWorktree) -> str:
    """One line about a worktree that no manifest cares for, and what can be done with it."""
    removes = f"'reconcile prune {line(found.task)}' saves what is in it and removes it"
    what = f"{line(found.task)}: {line(found.path)} is an orphaned worktree: {found.why}"
    return f"{what}; {line(found.kept) if found.kept else removes}"


def unmanaged(tasks: Sequence[TaskId]) -> str:
    """One line about tasks of no manifest for which something was begun."""
    named = ", ".join(map(line, tasks[:UNMANAGED_MAX])) + (" …" if len(tasks) > UNMANAGED_MAX else "")
    what = "has" if len(tasks) == 1 else "have"
    return f"{named} {what} unfinished work, but no manifest covers {'it' if len(tasks) == 1 else 'them'}; see 'reconcile status'"


def budget(epic: EpicPlan) -> tuple[str, str]:
    """Whether a budget is `low` or `spent`, and the line that says so; two empty texts where it is neither."""
    used, name = epic.spend, line(epic.name)
    if words := used_up(epic.spec.budget, used):
        return "spent", f"{name}: {words}; running agents finish, no other starts until the budget is raised"
    if words := running_low(epic.spec.budget, used):
        return "low", f"{name}: {words}; no agent starts once it is used up"
    return "", ""


def troubles(epic: EpicPlan) -> dict[str, str]:
    """What is wrong with a manifest as a whole, by what it is: a reason, or a source that is silent and known by none."""
    words = [word for word in (epic.held, epic.degraded, withheld(epic.spec), remarked(epic)) if word]
    silent = ((source, why) for source, why in epic.unknown if not any(why in word.message for word in words))
    return {
        **{word.reason: f"{line(epic.name)}: {word.reason}: {line(word.message)}" for word in words},
        **{source: f"{line(epic.name)}: can't read {line(source)}: {line(why)}" for source, why in silent},
    }


def spending(forge: Mapping[str, Any]) -> str:
    """One line about what asking a forge has cost, and what is left."""
    if forge["pointsLeft"] is None:
        return f"{line(forge['repository'])} on GitHub has not answered"
    used, left, limit = forge["pointsThisHour"], forge["pointsLeft"], forge["pointsPerHour"]
    reset = f", reset at {line(forge['resetAt'])}" if forge["resetAt"] else ""
    return f"{line(forge['repository'])} on GitHub: {used} points used this hour, {left} of {limit} left{reset}"


def error(failed: ReconcileError) -> str:
    """An error as it is shown: what went wrong, then what to do about it.

    >>> print(error(ReconcileError("x-1: no such task", hint="'reconcile status' lists them")))
    x-1: no such task
      hint: 'reconcile status' lists them
    """
    message = block(str(failed))
    return f"{message}\n  hint: {line(failed.hint)}" if failed.hint else message


def console(*, stdout: bool = True, no_color: bool = False) -> Console:
    """Where text is printed: as wide as the terminal; plain and uncut where it is none."""
    made = Console(
        stderr=not stdout,
        color_system=None if no_color else "auto",
        no_color=no_color,
        highlight=False,
        markup=False,
        emoji=False,
    )
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def _failure(failed: ReconcileError) -> str:
    message = line(str(failed))
    hint = f"  (hint: {line(failed.hint)})" if failed.hint else ""
    match failed:
        case ChangedError():
            return f"not done: {message}{hint or '  (it is looked at again at once)'}"
        case TemporaryError():
            return f"not now: {message}{hint or f'  (tried again in {span(failed.delay)})'}"
        case _:
            return f"failed: {message}{hint}"


__all__ = [
    "console",
    "describe",
    "describe_epic",
    "error",
    "orphan",
    "outcome",
    "plan",
    "status",
    "summary",
    "unmerged",
]
