"""A plan for people: what is done next, what waits and why, and what of it is theirs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.model.names import RunKind, TaskId
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Action, Waiting
from reconciler.planning.forecast import Forecast
from reconciler.planning.plan import EpicPlan, Plan
from reconciler.render.conditions import amiss
from reconciler.render.document import waiting_order
from reconciler.render.failing import lasting
from reconciler.render.safe import line
from reconciler.render.status import NOTHING_RECORDED, withheld_rows
from reconciler.render.table import Row, Rows, facts
from reconciler.render.withheld import changes
from reconciler.render.words import counted, span

TOGETHER = 4
ATTENTION_MAX = 10


def plan(
    decided: Plan,
    by: str = "reconcile apply",
    then: Mapping[str, Forecast] | None = None,
    *,
    housekeeping: bool = True,
) -> RenderableType:
    """What is done next, what waits and why, what comes of it, manifest by manifest, and how to have it done.

    Without `housekeeping` labels and the like are only counted.
    """
    known = then or {}
    epics = (part for epic in decided.epics for part in _epic(epic, known.get(epic.name), housekeeping))
    return Group(*epics, summary(decided, by, housekeeping=housekeeping))


def summary(decided: Plan, by: str = "reconcile apply", *, housekeeping: bool = True) -> Text:
    """One line: how much there is to do, and how to have it done; or why nothing is."""
    if decided.actions:
        waiting = sum(len(epic.waiting) for epic in decided.epics)
        left = f", {waiting} waiting" if waiting else ""
        kept = 0 if housekeeping else sum(action.housekeeping for action in decided.actions)
        left = f" ({kept} of housekeeping, -v lists {'it' if kept == 1 else 'them'}){left}" if kept else left
        return Text(f"{counted(len(decided.actions), 'action')}{left}; run '{by}' to do this", "bold")
    return Text(_nothing(decided), "bold")


def in_short(decided: Plan) -> str:
    """How it stands in a few words, for who shows a service in a line."""
    agents = sum(job.attempts.live is not None for epic in decided.epics for job in epic.begun)
    reviews = sum(run.id.kind is RunKind.REVIEW for epic in decided.epics for run in epic.alive)
    asking = sum(_for_a_person(epic, task) for epic in decided.epics for task in epic.waiting)
    needs = counted(asking, "task needs a person", "tasks need a person")
    reading = f", {counted(reviews, 'review')}" if reviews else ""
    return f"{counted(agents, 'agent')}{reading} running" + (f", {needs}" if asking else "")


def attention(decided: Plan) -> Iterator[str]:
    """A line for each task that needs a person, or of which something did not answer; not where its manifest is held."""
    for epic in decided.epics:
        needing = (
            []
            if epic.held
            else [task for task in waiting_order(epic) if _for_a_person(epic, task) or _unanswered(epic, task)]
        )
        needing = [task for task in needing if epic.waiting[task] != epic.degraded]  # that is a line of its own
        yield from waiting_lines([(task, epic.waiting[task]) for task in needing], f" of {line(epic.name)}")


def waiting_lines(found: Sequence[tuple[str, Waiting]], of: str = "") -> Iterator[str]:
    """A line for each of these tasks; of many only for some."""
    yield from (waiting_line(task, word) for task, word in found[:ATTENTION_MAX])
    if (more := len(found) - ATTENTION_MAX) > 0:
        yield f"and {more} more{of}: see 'reconcile status'"


def waiting_line(task: str, word: Waiting) -> str:
    """One line about a task that waits.

    >>> from reconciler.model.reasons import Reason
    >>> waiting_line("x-2", Waiting(Reason.BLOCKED, "blocked by x-1"))
    'x-2  waits  Blocked: blocked by x-1'
    """
    return f"{line(task)}  waits  {word.reason}: {line(word.message)}"


def _epic(epic: EpicPlan, then: Forecast | None, housekeeping: bool) -> Iterator[RenderableType]:
    heading = Text.assemble((line(epic.name), "bold"))
    if epic.converged:
        heading.append("  converged", "green")
    yield heading
    if trouble := [_trouble(word) for word in amiss(epic)]:
        yield Rows(rows=trouble, yields=0)
    yield from withheld_rows(changes(epic.spec))
    # A held manifest has named above why all of its tasks wait.
    waiting = [] if epic.held else list(_together(epic))
    silent = [_silent(*source) for source in epic.unknown if not (epic.held and source[1] in epic.held.message)]
    shown = [action for action in epic.actions if housekeeping or not action.housekeeping]
    rows = [*map(_action, shown), *waiting, *silent]
    if rows:
        yield Rows(rows=rows, yields=1, note_least=36)
    known = []
    if then and then.create:
        starts = counted(then.start, "agent starts", "agents start")
        blocked = counted(then.blocked, "task is blocked", "tasks are blocked")
        known.append(("then", f"{starts}, {blocked}" if then.blocked else starts))
    if (paths := epic.spec.merge.protected_paths) and not epic.held:
        known.append(("protected", ", ".join(map(line, paths))))
    if known:
        yield facts((name, Text(fact, "dim")) for name, fact in known)
    yield Text()


def _trouble(word: Waiting) -> Row:
    return Row(cells=(Text("!", "red"),), note=Text(f"{word.reason}: {line(word.message)}", "red"))


def _action(action: Action) -> Row:
    name = type(action).__name__
    return Row(
        cells=(Text("+", "green"), Text(line(action.task or action.manifest)), Text(name, _COLOURS.get(name, "green"))),
        note=Text(line(action.message)).append(f"  ({line(str(action.reason))})", "dim"),
    )


_COLOURS = {"BlockTask": "red", "StopAgent": "red", "RemoveWorktree": "yellow", "DeleteBranch": "yellow"}


def _together(epic: EpicPlan) -> Iterator[Row]:
    """The tasks that wait; many that wait for the very same thing share a row."""
    now = epic.jobs[0].now if epic.jobs else None
    found: dict[Waiting, list[TaskId]] = {}
    for task in waiting_order(epic):
        found.setdefault(epic.waiting[task], []).append(task)
    for word, tasks in found.items():
        left = span((word.until - now).total_seconds()) if word.until and now else ""
        if len(tasks) < TOGETHER:
            yield from (_waits(line(task), word, left) for task in tasks)
        else:
            yield _waits(f"{len(tasks)} tasks", word, left, tasks)


def _waits(who: str, word: Waiting, left: str, same: Sequence[TaskId] = ()) -> Row:
    colour = "red" if word.needs_a_person else "yellow"
    note = Text.assemble((f"{word.reason}: ", colour), line(word.message), f" (in {left})" if left else "")
    if same:
        more = f" and {len(same) - 6} more" if len(same) > 6 else ""
        note.append(f"  ({', '.join(map(line, same[:6]))}{more})", "dim")
    return Row(cells=(Text("=", colour), Text(who), Text("wait" if same else "waits", "dim")), note=note)


def _silent(source: str, why: str) -> Row:
    return Row(cells=(Text("?", "magenta"), Text(line(source)), Text("unread", "magenta")), note=Text(line(why)))


def _for_a_person(epic: EpicPlan, task: TaskId) -> bool:
    return task in epic.handed or epic.failed_for_good(task) or epic.waiting[task].needs_a_person


def _unanswered(epic: EpicPlan, task: TaskId) -> bool:
    """True where nothing moves, and of this task alone something did not answer: a source as a whole has its own line."""
    return epic.waiting[task].reason is Reason.UNKNOWN and not epic.unknown and not epic.moves


def _ended(sentence: str) -> str:
    """The sentence with one mark at its end.

    >>> _ended("is gh installed?"), _ended("the push was refused."), _ended("locked")
    ('is gh installed?', 'the push was refused.', 'locked.')
    """
    return sentence if sentence.endswith((".", "?", "!", "…")) else f"{sentence}."


def _nothing(decided: Plan) -> str:
    """Why nothing is to be done now, and what is left."""
    if not decided.epics:
        return NOTHING_RECORDED
    if decided.converged:
        if gone := sum(len(epic.gone) for epic in decided.epics):
            return f"Up to date, but for {counted(gone, 'closed task')} the work is not on the base; see 'reconcile status'."
        return "Up to date: everything matches the manifest."
    held = [
        f"Can't act on '{line(epic.name)}': {_ended(line(epic.held.message))}" for epic in decided.epics if epic.held
    ]
    unheld = (epic for epic in decided.epics if not epic.held)
    waits = Counter(_awaited(epic, task) for epic in unheld for task in epic.waiting)
    silent = {source: line(why) for epic in decided.epics for source, why in epic.unknown if not epic.held}
    parts = [counted(waits[one], one, several) for one, several in _LEFT if waits[one]]
    left = [f"{', '.join(parts)}."] if parts else []
    unread = [f"Can't read {line(source)}: {why}." for source, why in silent.items()]
    then = (
        ["'reconcile watch' carries on."] if any(epic.moves and not epic.spec.suspend for epic in decided.epics) else []
    )
    then += [
        f"'{line(epic.name)}' is suspended: 'reconcile resume {line(epic.name)}' carries on."
        for epic in decided.epics
        if epic.spec.suspend and not epic.converged
    ]
    # What fails of a manifest itself, of its epic or its base, is no task's wait.
    words = (lasting(epic) for epic in decided.epics if not epic.held and not epic.waiting)
    fails = [f"{line(word.message)}." for word in words if word]
    return " ".join((*held, *unread, *left, *fails, *then)) or "Nothing to do."


def _awaited(epic: EpicPlan, task: TaskId) -> str:
    """Which of `_LEFT` a task that waits is counted as."""
    if _for_a_person(epic, task):
        return "task needs attention"
    match epic.waiting[task].reason:
        case Reason.AGENT_RUNNING | Reason.QUEUED | Reason.NODE_SILENT:
            return "agent running"
        case Reason.REVIEW_RUNNING:
            return "review running"
        case Reason.CHECKS_RUNNING:
            return "check running"
        case Reason.BLOCKED | Reason.DEFERRED:
            return "task blocked"
        case _:
            return "task waiting"


_LEFT = (
    ("agent running", "agents running"),
    ("review running", "reviews running"),
    ("check running", "checks running"),
    ("task waiting", "tasks waiting"),
    ("task blocked", "tasks blocked"),
    ("task needs attention", "tasks need attention"),
)
