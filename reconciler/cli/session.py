"""The loop as the commands use it: made for a repository, written into its journal, reported line by line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cached_property
from typing import Any

from msgspec import Struct, field

from reconciler.cli.look import LookPublisher
from reconciler.cli.output import Output
from reconciler.loop.asking import ask
from reconciler.loop.executor import Outcome
from reconciler.loop.loop import Loop, Met, Tick
from reconciler.loop.teller import Teller
from reconciler.model.desired import Desired
from reconciler.model.errors import ReconcileError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.observed import Salvage, known_or
from reconciler.model.reasons import Reason
from reconciler.planning.actions import Action
from reconciler.planning.plan import Plan
from reconciler.render import asking, document, failing, news, planned, text
from reconciler.system import refused
from reconciler.system.journal import Event, plain
from reconciler.wiring import Site

TELLS_S = 15.0  # of what stays the same, only the clock makes something due


class LoopSession(Struct, kw_only=True, dict=True):
    """A loop with its audience. `load`: what is wanted, and what of it is acted on; None: all that is recorded."""

    site: Site
    out: Output
    load: Callable[[], Desired] | None = None
    wanted: Callable[[Action], bool] = lambda action: True
    show: Callable[[Tick], None] = lambda tick: None  # where a picture is drawn: what there is to draw
    drawn: bool = False  # on a terminal, people see a picture of it
    steady: bool = False  # one bad look at the world does not end it: it goes on overnight
    beside: bool = False  # another reconciler may act here: what is remembered of its manifests is its own
    alive: Callable[[Tick | None], None] = lambda tick: None  # hears of every look, also one that went wrong
    onlookers: tuple[Callable[[Tick], None], ...] = ()  # who else is shown every look
    teller: Teller | None = None  # who tells people that are elsewhere
    bit_by_bit: bool = False  # programs get each event as it happens, and nothing is gathered for the end
    done: list[dict[str, Any]] = field(default_factory=list)
    last_waits: dict[str, dict[str, str]] = field(default_factory=dict)  # by manifest and task
    asking: dict[TaskId, Reason] = field(default_factory=dict)  # what needed a person, as it was shown last
    last_plan: Plan | None = None
    trouble: str = ""  # why the last look went wrong; empty where it went well
    untold: str = ""  # why nobody could be notified, as last printed
    # Why what is remembered can't be written, as last printed.
    unkept: dict[str, str] = field(default_factory=dict)
    unarchived: str = ""  # why finished runs are not archived, as last printed
    lines: dict[TaskId, str] = field(default_factory=dict)  # as last printed, by task
    _notified_of: Plan | None = None
    _tells_again: float = 0.0

    @cached_property
    def _publisher(self) -> LookPublisher:
        return LookPublisher(site=self.site)

    def loop(self) -> Loop:
        warned = ask(self.site.tracker.warnings)
        for word in known_or(warned, ()):
            self.out.chat(f"warning: {word}")
        load = self.load or self.site.desired
        loop = Loop(
            load=lambda: self.site.placed(self._there(load)),
            ports=self.site.ports,
            host=self.site.host,
            forges=self.site.chosen.refused,
            trackers=self.site.trackers,
            unwritable=self.site.unwritable,
            replaced=self.site.replaced,
            met=self.met,
            wanted=self.wanted,
            begins=self._begins,
            seen=self._seen,
        )
        if self.steady:
            loop.troubled = self._troubled
        return loop

    def _there(self, load: Callable[[], Desired]) -> Desired:
        """What is wanted; where the repository is gone, nothing is recorded to be wanted either, and that is not so."""
        git_dir = self.site.repository.common
        if self.steady and not git_dir.is_dir():
            raise TemporaryError(f"{git_dir} is gone", hint="it goes on once that is back")
        return load()

    def _troubled(self, error: Exception) -> None:
        """Say, once while it stays the same, why the world can't be looked at."""
        match error:
            case OSError():
                why = refused.short(error)
            case ReconcileError():
                why = f"{error}; {error.hint}" if error.hint else str(error)
            case _:  # ours
                why = f"{type(error).__name__}: {error}"
        if why != self.trouble:
            self.out.chat(f"held: {why}")
        self.trouble = why
        self.alive(None)

    def look(self) -> Tick:
        """One look at the world; nothing is done."""
        return self.loop().look()

    def answer(self, tick: Tick) -> dict[str, Any]:
        """What a command that acts prints: everything that was done, and what is left and why."""
        return {"actions": self.done, **self.left(tick)}

    def left(self, tick: Tick) -> dict[str, Any]:
        """What waits, and which sources did not answer."""
        left = document.plan(tick.plan)["epics"]
        return {
            "waiting": [word for epic in left for word in epic["waiting"]],
            "unknown": [word for epic in left for word in epic["unknown"]],
        }

    def report_orphans(self, tick: Tick) -> None:
        for words in news.orphans(tick.plan, self.last_plan):
            self.out.chat(words)

    def _of_manifests(self, tick: Tick) -> Iterator[Event]:
        self.report_orphans(tick)
        for words in news.troubles(tick.plan, self.last_plan):
            self.out.chat(words)
        for manifest, words in news.budgets(tick.plan, self.last_plan):
            self.out.chat(words)
            values = {"manifest": manifest, "message": words}
            yield Event(at=tick.observed.at, event="BudgetLow", values=values)

    def _say_saved(self, tick: Tick, salvage: Salvage) -> Event:
        words = text.saved(salvage)
        self.out.line(f"{salvage.task}  WorkSaved  {words}")
        values = {"task": salvage.task, "commit": salvage.commit, "message": words}
        return Event(at=tick.observed.at, event="WorkSaved", values=values)

    def _unarchived(self, tick: Tick) -> Iterator[Event]:
        """Say, once of each, why finished runs can't go to the archive: only the next time shows that it is over."""
        if tick.unarchived not in ("", self.unarchived):
            self.unarchived = tick.unarchived
            self.out.chat(tick.unarchived)
            yield Event(at=tick.observed.at, event="ArchiveFailed", values={"message": tick.unarchived})

    def _say_needy(self, decided: Plan) -> None:
        """Say, once of each, which tasks have come to need a person: one who looks at this later sees nothing else of it."""
        found = {task: word for epic in decided.epics for task, word in epic.needy.items()}
        new = [(task, word) for task, word in found.items() if self.asking.get(task) != word.reason]
        self.asking = {task: word.reason for task, word in found.items()}
        for each in planned.waiting_lines(new):
            self.out.chat(each)

    def _waits(self, tick: Tick) -> Iterator[Event]:
        """Why tasks wait, where that is another reason than it was last."""
        for epic in tick.plan.epics:
            last = self.last_waits.setdefault(epic.name, {})
            for task, word in epic.waiting.items():
                if last.get(task) != word.reason:
                    last[task] = word.reason
                    values = {"manifest": epic.name, "task": task, "reason": word.reason, "message": word.message}
                    yield Event(at=tick.observed.at, event="Waiting", values=values)

    def _worth_a_line(self, outcome: Outcome) -> bool:
        """True unless it is housekeeping, or the very thing that was done for the task last: some take several ticks."""
        about, line = outcome.action.subject_id, text.outcome(outcome)
        again = self.lines.get(about) == line and outcome.error is None
        if again or (outcome.action.housekeeping and outcome.error is None and not self.out.verbose):
            return False
        self.lines[about] = line
        return True

    def conclude(self, tick: Tick, *, by_itself: bool) -> None:
        """Say how it stands; where it has ended `by_itself`, to people with what needs a person now."""
        if by_itself:
            self.tell(tick, closing=True)
        if self.bit_by_bit and not self.out.for_people:
            self.out.next(plain(Event(at=tick.observed.at, event="WatchEnded", values=self.left(tick))))
        elif by_itself or AGENTS_RUN_ON.get():
            for each in planned.attention(tick.plan) if by_itself and self.out.for_people else ():
                self.out.chat(each)
            self.out.answer(self.answer(tick), lambda: text.summary(tick.plan))

    def _begins(self, tick: Tick) -> None:
        """What has just gone wrong is remembered before more is done: a remote that hangs would keep it back for minutes."""
        if not self.beside and any(failing.remembered(epic) for epic in tick.plan.epics):
            self._keep("status", lambda: self._remember(tick))

    def _seen(self, tick: Tick) -> None:
        if self.trouble:
            self.out.chat("no longer held")
        self.trouble = ""
        self.show(tick)
        if tick.plan is not self.last_plan or tick.outcomes or tick.unarchived not in ("", self.unarchived):
            self._changed(tick)
        if not self.beside:
            self._keep("look", lambda: self._publisher.publish(tick))
        for onlooker in self.onlookers:
            onlooker(tick)
        self.tell(tick)
        self.alive(tick)

    def tell(self, tick: Tick, *, closing: bool = False) -> None:
        """Have people notified who are elsewhere; `closing`: this was the last look."""
        quiet = tick.plan is self._notified_of and time.monotonic() < self._tells_again and not closing
        if self.teller is None or quiet:
            return
        self._notified_of, self._tells_again = tick.plan, time.monotonic() + TELLS_S
        known = {epic.name: self.site.recorded.status(epic.name) for epic in tick.plan.epics if epic.spec.notify}
        conditions = {
            epic.name: document.conditions(epic, known[epic.name], tick.observed.at)
            for epic in tick.plan.epics
            if epic.name in known
        }
        try:
            self.teller.tell(tick.plan, conditions, tick.observed.at.astimezone(), closing=closing)
            untold = ""
        except (ReconcileError, OSError) as error:
            untold = str(error)
        if untold and untold != self.untold:
            self.out.chat(f"nobody can be notified: {untold}")
        self.untold = untold

    def _changed(self, tick: Tick) -> None:
        events = [] if self.beside else [*self._of_manifests(tick)]
        self.last_plan = tick.plan
        for outcome in tick.outcomes:
            shown = document.outcome(outcome)
            if not self.bit_by_bit:  # a watch of weeks would gather all that it ever did
                self.done.append(shown)
            if self._worth_a_line(outcome):
                self.out.line(text.outcome(outcome))
            events.append(
                Event(at=tick.observed.at, event="ActionFailed" if outcome.error else "ActionDone", values=shown)
            )
        events += [self._say_saved(tick, salvage) for salvage in tick.saved]
        events += [] if self.beside else self._waits(tick)
        if self.bit_by_bit and self.out.for_people:
            self._say_needy(tick.plan)
        events += self._unarchived(tick)
        if self.bit_by_bit:
            for event in events:
                self.out.next(plain(event))
        self._keep("history", lambda: self._note(tick, events))
        if not self.beside:
            self._keep("status", lambda: self._remember(tick))

    def _keep(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
            why = ""
        except Exception as error:  # noqa: BLE001 - a full disk or an odd name costs a line in a file, not work
            why = refused.short(error) if isinstance(error, OSError) else str(error)
        if why and why != self.unkept.get(what):
            self.out.chat(f"the {what} can't be written: {why}")
        self.unkept[what] = why

    def _note(self, tick: Tick, events: list[Event]) -> None:
        self.site.journal.append(events)
        self.site.journal.state(tick.observed)

    def _remember(self, tick: Tick) -> None:
        for epic in tick.plan.epics:
            before = self.site.recorded.status(epic.name)
            fields = {
                "observedGeneration": epic.spec.generation,
                "conditions": document.conditions(epic, before, tick.observed.at),
                "failing": failing.remembered(epic),
                "asking": asking.remembered(epic, before, tick.observed.at),
                "invalid": epic.spec.invalid,
            }
            self.site.recorded.write_status(epic.name, fields)

    def met(self) -> Met:
        """What the one who acts here, or did last, has met."""
        acting, statuses = self.site.acting, self.site.statuses()
        invalid = {name: why for name, status in statuses.items() if isinstance(why := status.get("invalid"), str)}
        return Met(failures=failing.recalled(statuses, left=not acting), invalid=invalid if acting else {})


# Whether agents outlive who is interrupted: not those of a demo.
AGENTS_RUN_ON: ContextVar[bool] = ContextVar("agents_run_on", default=True)
