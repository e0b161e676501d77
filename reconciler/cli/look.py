"""How everything stands, for screens: what a reconciler beside us publishes, or else what we see ourselves.

Whoever reads what is published asks neither the forge nor the tracker; without anybody who acts here the forge is asked once
a minute at most.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from reconciler.cli.rows import unmanaged
from reconciler.loop.loop import RESTS, Loop, Tick
from reconciler.model.observed import Base, Observed, Unknown
from reconciler.model.values import replace
from reconciler.planning import base_checks
from reconciler.planning.plan import EpicPlan, Plan
from reconciler.render import document, queue
from reconciler.render.text import orphan
from reconciler.render.words import stamp
from reconciler.system import lock, program
from reconciler.system.published import REST, LookIndex, Published
from reconciler.wiring import Site

if TYPE_CHECKING:
    from reconciler.forges.github.forge import GitHubForge

ACTING_S = 1.0  # so old may be what we know of who acts here
GRACE_S = 3.0  # within that, one who has just heard that somebody reads has published
POLL_S = 0.01
LOCAL_S, FORGE_S = 2.0, 60.0  # between two looks of our own


class LatestLook(Struct, frozen=True, kw_only=True):
    """What was seen and decided. `manifests` and `rest` are as `parts` makes them; `by`: who looked; None: we did.
    `amid`: who acts and shows nothing yet, where we looked ourselves.
    """

    number: int
    at: str
    by: str | None
    amid: str | None = None
    manifests: Mapping[str, dict[str, Any]]
    rest: dict[str, Any]


class Looks(Struct, kw_only=True):
    """The newest look at a repository, for one reader at a time. `loop` looks where nobody else does."""

    site: Site
    loop: Loop
    look: LatestLook | None = None
    _published: Published | None = None
    _reading: ExitStack | None = None
    _since: float = 0.0
    _holder: tuple[float, lock.Holder | None] = (-ACTING_S, None)
    _numbers: Mapping[str, int] = field(default_factory=dict)
    _own_at: float = -FORGE_S

    def begin(self) -> None:
        """Have looks published from now on. A watch that waits is woken."""
        if self._reading is None:
            self._published = Published(self.site.state)
            self._reading = ExitStack()
            self._reading.enter_context(self._published.reading())
            self._since = time.monotonic()
            self.site.wake()

    def end(self) -> None:
        """Have nothing published for us any more."""
        if self._reading:
            self._reading.close()
            self._reading = None

    def soon(self) -> None:
        """Something was done: look again at once where we look ourselves."""
        self._own_at = -FORGE_S

    def newest(self) -> LatestLook | None:
        """The newest look; the same object where nothing has changed, None before there is any. Raises ReconcileError."""
        holder = self._acting()
        if holder and self._published:
            index = self._published.index()
            if index and index.pid == holder.pid:
                self.look = self._read(index, str(holder)) or self.look
                return self.look
            if time.monotonic() - self._since < GRACE_S:
                return self.look
        found, amid = self._own(), str(holder) if holder else None
        if found and found.amid != amid:
            self.look = found = replace(found, amid=amid)
        return found

    def _acting(self) -> lock.Holder | None:
        at, known = self._holder
        if time.monotonic() - at >= ACTING_S:
            holder = lock.holder(self.site.state)
            known = holder if holder and self.site.holds(holder) else None
            self._holder = time.monotonic(), known
        return known

    def _read(self, index: LookIndex, by: str) -> LatestLook | None:
        """What was published, of which only changed parts are read; None where it is being replaced."""
        look = self.look if self.look and self.look.by == by else None
        if look and look.number == index.number and look.at == index.at:
            return look
        assert self._published is not None
        old = {**look.manifests, REST: look.rest} if look else {}
        try:
            found = {
                name: old[name] if name in old and self._numbers.get(name) == number else self._published.part(name)
                for name, number in index.parts.items()
            }
        except (OSError, ValueError):
            return None
        self._numbers = index.parts
        return _look(index.number, index.at, by, found)

    def _own(self) -> LatestLook | None:
        pause_s = FORGE_S if self.site.chosen.github else LOCAL_S
        if self.look and time.monotonic() - self._own_at < pause_s:
            return self.look
        tick = self.loop.look()
        self._own_at = time.monotonic()
        found = parts(self.site, tick)
        at, before = stamp(tick.observed.at), self.look
        number = before.number + 1 if before else 1
        self.look = _look(number, at, None, found)
        return self.look


def seen_by_another(site: Site, most_s: float = GRACE_S) -> LatestLook | None:
    """What the one who acts here sees now: a look that began after this was asked, and so holds whatever was done before.

    None where nobody acts, where it is another version of this program, and where it takes longer than `most_s`: it may be
    amid something, or stand still.
    """
    holder, began = lock.holder(site.state), time.time()
    if holder is None or not site.holds(holder) or holder.fingerprint != program.fingerprint():
        return None
    published, until = Published(site.state), time.monotonic() + most_s
    with published.reading():
        site.wake()
        while time.monotonic() < until:
            index = published.index()
            # What began in the future began before somebody set the clock back.
            if index and index.pid == holder.pid and began <= index.begun <= time.time():
                try:
                    found = {name: published.part(name) for name in index.parts}
                except (OSError, ValueError):
                    continue  # it is being replaced
                return _look(index.number, index.at, str(holder), found)
            time.sleep(POLL_S)
    return None


class LookPublisher(Struct, kw_only=True, dict=True):
    """Publishes what the one who acts has seen, while somebody reads."""

    site: Site
    _shown: Plan | None = None  # what was published last
    _rests_until: float = 0.0

    @cached_property
    def _published(self) -> Published:
        return Published(self.site.state)

    def publish(self, tick: Tick) -> None:
        """Publish this look. Amid several ticks only as often as is cheap; the last of them plans nothing, and always is."""
        if not self._published.read or (tick.plan.actions and time.monotonic() < self._rests_until):
            return
        at, begun = stamp(tick.observed.at), tick.observed.at.timestamp()
        if tick.plan is self._shown and not tick.outcomes:
            self._published.confirm(at, begun=begun)
            return
        before = time.monotonic()
        self._published.write(at, parts(self.site, tick), begun=begun)
        self._shown, self._rests_until = tick.plan, time.monotonic() + RESTS * (time.monotonic() - before)


def parts(site: Site, tick: Tick) -> dict[str, Any]:
    """A look as it is published: for every manifest what `status` and `diff` say of it, and what both say beside them."""
    decided, seen = tick.plan, tick.observed
    # Of damaged settings `status` says why.
    stands = document.status(decided, seen, site.statuses(), unmanaged(site, tick))
    planned = document.plan(decided)
    found = {
        epic.name: {"status": status, "plan": plan, **_more(epic)}
        for epic, status, plan in zip(decided.epics, stands["epics"], planned["epics"], strict=True)
    }
    rest = {
        "unmanaged": stands["unmanaged"],
        "queue": queue.document(decided, seen),
        "bases": {name: _base(base, decided.epics, seen) for name, base in seen.bases.items()},
        "forge": spending(site.chosen.github) if site.chosen.github else None,
        "orphans": [orphan(found) for found in decided.orphan_worktrees],
        "done": [document.outcome(outcome) for outcome in tick.outcomes],
    }
    return {**found, REST: rest}


def spending(forge: GitHubForge) -> dict[str, Any]:
    """What GitHub says of its limit for this login, for everything that uses it; null before it has answered."""
    spent = forge.spent
    return {
        "kind": "github",
        "repository": str(forge.slug),
        "pointsThisHour": spent.used,
        "pointsLeft": spent.left,
        "pointsPerHour": spent.limit,
        "resetAt": spent.reset_at,
    }


def _look(number: int, at: str, by: str | None, found: Mapping[str, Any]) -> LatestLook:
    manifests = {name: part for name, part in found.items() if name != REST}
    return LatestLook(number=number, at=at, by=by, manifests=manifests, rest=found[REST])


def _more(epic: EpicPlan) -> dict[str, Any]:
    spec, tasks = epic.spec, epic.epic_tasks.members if epic.epic_tasks else ()
    return {
        "spec": {
            "base": spec.base,
            "maxAgents": spec.max_agents,
            "suspended": spec.suspend,
            "mode": str(spec.merge.mode),
            "budget": {"usd": spec.budget.usd, "tokens": spec.budget.tokens, "warnAt": spec.budget.warn_at},
        },
        "blockers": {task.id: list(task.blockers) for task in tasks if task.blockers},
        "closedAt": {task.id: int(task.closed_at.timestamp()) for task in tasks if task.closed and task.closed_at},
    }


def _base(base: Base | Unknown, epics: tuple[EpicPlan, ...], seen: Observed) -> dict[str, Any]:
    """Where a base stands, and whether what is there has passed the checks; null where nobody has tried."""
    if isinstance(base, Unknown):
        return {"head": None, "green": None, "message": base.why}
    specs = [epic.spec for epic in epics if epic.spec.base == base.name]
    why = base.frozen or next((why for spec in specs if (why := base_checks.broken(spec, seen))), None)
    known = [epic.base for epic in epics if epic.base and epic.base.base == base.name]
    green = bool(known) and all(each.green == base.head for each in known)
    red = base.frozen or any(base_checks.red_by_itself(spec, seen) for spec in specs)
    return {"head": base.head, "green": False if red else (green and not why) or None, "message": why}
