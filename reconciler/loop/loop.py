"""Observe, plan, execute; again and again. Wake-ups carry no data: every tick looks at everything.

The only file that reads the clock. What it remembers between ticks (which actions went wrong lately) is a courtesy to
the machine, never a fact that a decision needs: killed at any instant, it starts again from what it sees.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec import Struct, field

from reconciler.loop.asking import ask
from reconciler.loop.closer import closer
from reconciler.loop.executor import WORKERS, Outcome, execute
from reconciler.loop.memo import Memo
from reconciler.loop.observer import Circumstances, observe
from reconciler.loop.setbacks import PERMANENT_S, Setbacks
from reconciler.model.desired import Desired
from reconciler.model.errors import (
    ChangedError,
    ReconcileError,
)
from reconciler.model.names import TaskId
from reconciler.model.observed import Failure, Observed, Salvage, Unknown
from reconciler.model.ports import Ports
from reconciler.model.values import replace, same
from reconciler.planning.actions import (
    Action,
    Decision,
    StartAgent,
    StartCheck,
    StartReview,
)
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.planning.recall import Recall

RESYNC_S = 30.0
PACE_S = 0.05
POLL_S = 5.0  # where no event can wake it
UNSETTLED_S = 1.0
PROGRAM_LOOK_S = 5.0
RESTS = 10  # a look that takes a second is followed by ten of rest, where nothing calls for it
# A plan past whose timers nothing has moved is made again now and then, for want of trust alone: all of it takes less than
# a thousandth of a core, but for small ones.
DOUBT, DOUBT_MAX_S = 1000, 300.0


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


class Tick(Struct, frozen=True, kw_only=True):
    """One look at everything, what was decided and what was done."""

    observed: Observed
    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    saved: tuple[Salvage, ...] = ()  # what the outcomes have put out of harm's way
    unarchived: str = ""  # why finished runs could not go to the archive

    @property
    def errors(self) -> tuple[ReconcileError, ...]:
        """What went wrong, without lost races: those are looked at again at once."""
        errors = (outcome.error for outcome in self.outcomes)
        return tuple(error for error in errors if error and not isinstance(error, ChangedError))

    @property
    def progressed(self) -> bool:
        return any(outcome.error is None for outcome in self.outcomes)


class Met(Struct, frozen=True, kw_only=True):
    """What only the one who acts here knows: which actions went wrong, and which manifests (by name) it can't read again."""

    failures: Mapping[TaskId, Failure] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)


class _Decided(Struct, frozen=True):
    """A plan, and what it was made of."""

    desired: Desired
    observed: Observed
    seen: Observed  # the same, where it had to be looked at closer
    plan: Plan
    lasts_s: float = RESYNC_S

    def closer(self, at: datetime) -> Observed:
        """What it was made of, as of now."""
        return replace(self.seen, at=at)

    def holds(self, desired: Desired, observed: Observed) -> bool:
        """True where making it again would make the same: nothing but the clock has moved, and past no timer."""
        if self.seen.bases != self.observed.bases or self.plan.unsettled:
            return False  # it has looked into a checkout, or in vain at something, and would again
        age, wake_at = observed.at - self.observed.at, self.plan.wake_at
        if not timedelta() <= age < timedelta(seconds=self.lasts_s) or (wake_at and wake_at <= observed.at):
            return False
        # What is free changes all the time. It matters where something starts, or waits to; such plans are made again anyway.
        alike = replace(observed, at=self.observed.at, room=self.observed.room)
        return desired == self.desired and same(alike, self.observed)


def _starts(decided: Plan) -> bool:
    """True where a plan would have a run begin, which the program of this moment must still be able to follow."""
    return any(isinstance(action, StartAgent | StartReview | StartCheck) for action in decided.actions)


def _give_up(error: Exception) -> None:
    raise error


class Loop(Struct, kw_only=True):
    """The reconcile loop. `load` gives the wanted state again for every tick; `wanted` may hold actions back."""

    load: Callable[[], Desired]
    ports: Ports
    host: str = "localhost"
    forges: Callable[[Desired], Mapping[str, str]] = lambda desired: {}
    trackers: Callable[[Desired], Mapping[str, str]] = lambda desired: {}
    unwritable: Callable[[Desired], Mapping[str, str]] = lambda desired: {}
    replaced: Callable[[], str | None] = lambda: None
    met: Callable[[], Met] = Met  # for the one who only looks on
    clock: Callable[[], datetime] = now
    wanted: Callable[[Action], bool] = lambda action: True
    begins: Callable[[Tick], None] = lambda tick: None  # before what it decided is done, which may take minutes
    seen: Callable[[Tick], None] = lambda tick: None
    troubled: Callable[[Exception], None] = _give_up
    rests: Callable[[threading.Event, float], object] = lambda wake, pause_s: wake.wait(pause_s)
    workers: int = WORKERS
    _setbacks: Setbacks = field(default_factory=Setbacks)
    _decided: _Decided | None = None
    _memo: Memo = field(default_factory=Memo)
    _recall: Recall[Decision] = field(default_factory=Recall)
    _ticked: bool = False
    _held: frozenset[str] = frozenset()  # manifests whose forge, tracker or folder could not be used
    _took_s: float = 0.0  # the last look at everything
    _program_found: str | None = None
    _program_at: float = -PROGRAM_LOOK_S
    _calm: int = 10  # pauses since something was done
    _unsettled: int = 0  # looks in a row that left something which is often over with the next one

    def look(self) -> Tick:
        """Observe and plan as somebody who looks on; nothing is done."""
        met = self.met()
        desired = self.load()
        epics = tuple(replace(e, invalid=e.invalid or met.invalid.get(e.name)) for e in desired.epics)
        return self._look(replace(desired, epics=epics), {**met.failures, **self._setbacks.failures})

    def _look(self, desired: Desired, known: Mapping[TaskId, Failure]) -> Tick:
        at = self.clock()
        forges, trackers, unwritable = self.forges(desired), self.trackers(desired), self.unwritable(desired)
        held = frozenset({*forges, *trackers, *unwritable})
        freed, self._held = self._held - held, held
        # A clock that was set back must not make anything rest for longer than it would have; and what went wrong for want of
        # a login, a program or room, is tried as soon as there is one.
        latest = at + timedelta(seconds=PERMANENT_S)
        self._setbacks.free(freed)
        failures = {s: f for s, f in known.items() if f.until <= latest and f.manifest not in freed}
        circumstances = Circumstances(
            at=at,
            host=self.host,
            failures=failures,
            forges=forges,
            trackers=trackers,
            unwritable=unwritable,
            replaced=self._program(exact=False),
        )
        observed = observe(desired, self.ports, circumstances, self._memo)
        self._took_s = (self.clock() - at).total_seconds()
        if self._decided and self._decided.holds(desired, observed) and not _starts(self._decided.plan):
            return Tick(observed=self._decided.closer(observed.at), plan=self._decided.plan)
        begun = time.thread_time()
        seen, decided = observed, plan(desired, observed, self._recall)
        lasts_s = min(max(RESYNC_S, DOUBT * (time.thread_time() - begun)), DOUBT_MAX_S)
        if _starts(decided) and (found := self._program(exact=True)) != observed.replaced:
            seen = observed = replace(observed, replaced=found)
            decided = plan(desired, observed, self._recall)
        while unsure := decided.unsure:
            seen = closer(seen, desired, self.ports, unsure, self._memo)
            decided = plan(desired, seen, self._recall)
        epics = tuple(replace(e, actions=tuple(a for a in e.actions if self.wanted(a))) for e in decided.epics)
        self._decided = _Decided(desired, observed, seen, replace(decided, epics=epics), lasts_s)
        return Tick(observed=seen, plan=self._decided.plan)

    def tick(self) -> Tick:
        """Observe, plan, execute."""
        if not self._ticked:
            self._ticked = True
            self._setbacks.recall(self.met().failures, self.clock())
        desired = self.load()
        self._setbacks.notice(desired, self.clock())
        looked = self._look(desired, self._setbacks.failures)
        self._setbacks.forget(looked.observed, looked.plan)
        if looked.plan.actions:
            self.begins(looked)
        kept = ask(self.ports.workspaces.salvages) if looked.plan.actions else ()
        outcomes = execute(looked.plan.actions, self.ports, self.workers) if looked.plan.actions else []
        if self._setbacks.remember(outcomes, self.clock):
            self._calm = 0
        # What is kept may get older at the next tick.
        ask(partial(self.ports.workspaces.time_passes, looked.observed.at))
        ask(partial(self.ports.tracker.renew, looked.observed.at))
        saved = self._saved_since(kept, outcomes) if outcomes else ()
        tick = replace(looked, outcomes=tuple(outcomes), saved=saved, unarchived=self._archive())
        self.seen(tick)
        return tick

    def _archive(self) -> str:
        if self._memo.open_tasks is None:
            return ""
        answer = ask(partial(self.ports.runner.archive, self._memo.open_tasks))
        return answer.why if isinstance(answer, Unknown) else ""

    def _saved_since(self, kept: tuple[Salvage, ...] | Unknown, by: list[Outcome]) -> tuple[Salvage, ...]:
        """What is kept of these tasks and was not before; nothing where one of the two can't be seen."""
        now = ask(self.ports.workspaces.salvages)
        if isinstance(kept, Unknown) or isinstance(now, Unknown):
            return ()
        before, tasks = {(each.task, each.commit) for each in kept}, {outcome.action.task for outcome in by}
        new = (each for each in now if not each.dropped and (each.task, each.commit) not in before)
        return tuple(each for each in new if each.task in tasks)

    def until_quiet(self, stop: threading.Event, most: int = 10_000) -> Tick:
        """Tick until nothing is left to do that needs no running process, person or timer; the last tick."""
        tick = self.tick()
        idle = 0
        before: object = None
        for _ in range(most):
            if not tick.plan.actions or stop.is_set():
                return tick
            deeds = [(type(a), a.manifest, a.task, a.reason) for a in tick.plan.actions]
            idle = 0 if tick.progressed and deeds != before else idle + 1
            before = deeds
            if idle:
                # Every action lost a race or went wrong, or is still under way (an agent that takes its time to end).
                stop.wait(min(PACE_S * 2 ** min(idle, 10), 1.0))
            tick = self.tick()
        return tick

    def forever(
        self,
        wake: threading.Event,
        stop: threading.Event,
        *,
        interval_s: float = RESYNC_S,
        deaf: Callable[[], object] = lambda: None,
        enough: Callable[[Tick], bool] = lambda tick: False,
    ) -> Tick:
        """Tick whenever woken, when a timer runs out, and at least every `interval_s`; until `stop` or `enough`.

        While it is `deaf`, at least every `POLL_S`.

        What is wanted may become unreadable meanwhile, or a defect of ours show: `troubled` gets the error, and
        everything is looked at again after `interval_s`.
        """
        tick = Tick(observed=Observed(at=self.clock()), plan=Plan())
        while True:
            wake.clear()
            pause_s = interval_s
            try:
                tick = self.until_quiet(stop)
                polls = deaf() or self._setbacks.watched
                pause_s = self._pause_s(tick.plan, min(interval_s, POLL_S) if polls else interval_s)
            except Exception as error:  # noqa: BLE001 - one bad night must not end a watch
                self.troubled(error)
            else:
                if enough(tick):
                    return tick
            if stop.is_set():
                return tick
            self.rests(wake, pause_s)

    def _program(self, *, exact: bool) -> str | None:
        """What is wrong with the program running here; a few seconds old, as a look at all of its files takes its time."""
        if exact or time.monotonic() - self._program_at >= PROGRAM_LOOK_S:
            self._program_found, self._program_at = self.replaced(), time.monotonic()
        return self._program_found

    def _pause_s(self, decided: Plan, interval_s: float) -> float:
        self._unsettled = self._unsettled + 1 if decided.unsettled else 0
        # What an agent that ends at once writes into its new folder may be written before anybody listens there; and where
        # somebody deletes such a folder, nobody listens any more.
        looks = min(self._unsettled - 1 if self._unsettled else self._calm, 10)
        interval_s = min(interval_s, max(UNSETTLED_S * 2**looks, RESTS * self._took_s))
        self._calm += 1
        if decided.wake_at is None:
            return interval_s
        return max(PACE_S, min(interval_s, (decided.wake_at - self.clock()).total_seconds()))
