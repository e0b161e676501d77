"""What is new in a plan since the one before, in words: each thing once, not at every look. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.planning.plan import Plan
from reconciler.render import text


def orphans(plan: Plan, last: Plan | None) -> Iterator[str]:
    """The worktrees that no manifest clears away, and what was begun that none covers."""
    known = last.orphan_worktrees if last else ()
    yield from (text.orphan(each) for each in plan.orphan_worktrees if each not in known)
    if plan.unmanaged - (last.unmanaged if last else frozenset()):
        yield text.unmanaged(sorted(plan.unmanaged))


def troubles(plan: Plan, last: Plan | None) -> Iterator[str]:
    """What is wrong with a manifest as a whole; and when nothing is any more."""
    before = {epic.name: text.troubles(epic) for epic in last.epics} if last else {}
    for epic in plan.epics:
        now, then = text.troubles(epic), before.get(epic.name, {})
        yield from (words for what, words in now.items() if what not in then)
        if then and not now:
            yield f"{epic.name}: no longer blocked"


def budgets(plan: Plan, last: Plan | None) -> Iterator[tuple[str, str]]:
    """The budgets that run low or are used up: the manifest's name, and what is to be read of it."""
    before = {epic.name: text.budget(epic)[0] for epic in last.epics} if last else {}
    for epic in plan.epics:
        stage, words = text.budget(epic)
        if stage and before.get(epic.name) != stage:
            yield epic.name, words
