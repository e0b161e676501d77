"""What GitHub showed last, asked for again when it may have changed: often while a check runs, seldom while nothing does.

A change of our own is noted in it from its answer, so that it costs no further look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct, field

from reconciler.forges.github import query, rules
from reconciler.forges.github.answers import LimitError, SlowError
from reconciler.forges.github.gh import Gh
from reconciler.forges.github.pages import QueryPages
from reconciler.forges.github.pull import Pull
from reconciler.forges.github.pull_nodes import WITHHELD
from reconciler.forges.github.query import Page, Question, SaidFreeze
from reconciler.forges.github.slug import Slug
from reconciler.forges.github.staged_commits import StagedCommit
from reconciler.model.errors import ReconcileError, SilentError, TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import CheckResult, ForgeCheck, Rules
from reconciler.model.values import replace

QUIET_S = 60.0
BUSY_S = 12.0
POINT_S = 4.0  # a look that costs more points comes less often: 900 an hour
RULES_S = 600.0
FAILED_S = 3.0  # after the first answer that was none; twice as long after each that follows
FAILED_MOST_S = 60.0
SMALLER_WITHIN_S = 25.0  # for how long a look asks for less and less; GitHub gives up on a question after ten
SETTLES_WITHIN = timedelta(minutes=10)


class Seen(Struct, frozen=True, kw_only=True):
    """One look. `heard`: tasks whose branches were asked for, and need not be again."""

    pulls: Mapping[PrNumber, Pull] = field(default_factory=dict)
    heads: Mapping[str, Sha] = field(default_factory=dict)  # of the bases
    rules: Mapping[str, Rules] = field(default_factory=dict)
    freezes: Mapping[str, SaidFreeze] = field(default_factory=dict)  # what the tips of the bases say
    staged: Mapping[Sha, StagedCommit] = field(
        default_factory=dict
    )  # what was pushed to staging branches, and is not over
    heard: frozenset[TaskId] = frozenset()
    withheld: str = ""  # why some checks can't be read; empty where all can


def fresh_s(pulls: Iterable[tuple[Pull, timedelta]], cost: int, *, awaited: bool = False) -> float:
    """How long a look is good for, where nobody changes anything: until a check may have ended, or a person done something.

    `pulls` come with the time for which each is known to have its head. `cost` is that of a look, in points. `awaited`: the
    checks of something else are.
    """
    waiting = awaited or any(pull.open and _unsettled(pull, age) for pull, age in pulls)
    return max(BUSY_S if waiting else QUIET_S, POINT_S * cost)


def _unsettled(pull: Pull, age: timedelta) -> bool:
    if pull.queued or any(check.result is CheckResult.PENDING for check in pull.checks):
        return True
    # What has just been pushed gets its first check, and its place in the rules, a little later.
    return age < SETTLES_WITHIN and (not pull.checks or pull.merge_state in ("UNKNOWN", "BLOCKED"))


class Look:
    """The pull requests of our branches and the rules of our bases. Safe to share between threads."""

    def __init__(
        self,
        gh: Gh,
        slug: Slug,
        bases: Callable[[], Sequence[str]],
        branches: Callable[[], Iterable[TaskId]],
        clock: Callable[[], float] = time.monotonic,
        staged: Callable[[], Mapping[Sha, str]] = dict,
    ) -> None:
        self._gh, self._bases, self._branches, self._clock, self._staged = gh, bases, branches, clock, staged
        self._pages = QueryPages(gh, slug, lambda: self._clock())
        self._turn = threading.RLock()
        self._seen = Seen()
        self._until = 0.0  # the look is good until then
        self._failed: tuple[float, TemporaryError] | None = None  # until when nobody needs to ask again
        self._failures = 0  # answers in a row that were none
        self._rules_read: dict[str, tuple[float, tuple[Any, Any]]] = {}  # rules, as they were read last
        # Bases whose checks may be read, as GitHub answered, and until when that is good.
        self._legible: dict[str, float] = {}
        self._since: dict[tuple[PrNumber, Sha], datetime] = {}
        self._cost = 1  # points of the last look

    def adopt(self, slug: Slug) -> None:
        """Ask for the repository by another of its names: somebody gave its remote the one that it has now."""
        self._pages.asks = slug

    @property
    def asks(self) -> Slug:
        """The repository, by the name that it is asked for by."""
        return self._pages.asks

    @property
    def slug(self) -> Slug:
        """The same as GitHub calls it: one that was renamed or transferred is found by its old name."""
        return self._pages.slug

    @property
    def last(self) -> Seen:
        """The newest look there was; an empty one before the first."""
        return self._seen

    def now(self) -> Seen:
        """How things stand, as of a moment ago. Raises SilentError while nothing is answered: an old answer is none."""
        with self._turn:
            if self._clock() < self._until and not self._gh.logged_out:
                return self._seen
            if self._failed and (left := self._failed[0] - self._clock()) > 0:
                raise SilentError(str(self._failed[1]), delay=left, hint=self._failed[1].hint)
            self._until = 0.0
            spent = self._gh.spending.total
            try:
                self._seen = self._asked_small_enough()
            except TemporaryError as error:
                raise self._silent(error) from error
            self._failed, self._failures = None, 0
            self._cost = max(self._gh.spending.total - spent, 1)
            self._until = self._clock() + self._good_for()
            return self._seen

    def one(self, number: PrNumber) -> Pull | None:
        """One pull request as it is at this moment; None where it is none of ours."""
        return self.these((number,)).get(number)

    def these(self, numbers: Sequence[PrNumber]) -> Mapping[PrNumber, Pull]:
        """Several of them as they are at this moment, by one question; without those that are none of ours."""
        found = self._pages.whole(numbers)
        for pull in found.values():
            self.note(pull)
        return found

    def of_branch(self, task: TaskId) -> tuple[Pull, ...]:
        """The newest pull requests of a task's branch as they are at this moment, with nothing about their checks."""
        page = self._pages.read(Question(slug=self.asks, branches=(task,)))
        return (*page.pulls, *self._pages.older(page).values())

    def checks_of(self, commit: Sha, branch: str) -> tuple[ForgeCheck, ...]:
        """The checks of a commit as they are now. Raises SilentError, or what else keeps GitHub from answering."""
        page = self._pages.read(Question(slug=self.asks, staged={commit: branch}, size=self._pages.size))
        return self._pages.staged(page)[commit].checks

    def note(self, pull: Pull) -> None:
        """Take over what the answer to a change of ours shows."""
        with self._turn:
            self._seen = replace(self._seen, pulls={**self._seen.pulls, pull.number: pull})
            self._date((pull,))
            # What was just opened or pushed gets its checks long before a quiet look would be over.
            self._until = min(self._until, self._clock() + self._good_for())

    def pushed(self, commit: Sha) -> None:
        """A commit is on its staging branch from now on: its first check comes long before a quiet look would be over."""
        with self._turn:
            self._seen = replace(self._seen, staged={**self._seen.staged, commit: StagedCommit(at=commit)})
            self._until = min(self._until, self._clock() + self._good_for())

    def moved(self, base: str, head: Sha) -> None:
        """Take over where a base was found to be."""
        with self._turn:
            before, rules = self._seen.heads.get(base), self._seen.rules.get(base)
            self._seen = replace(self._seen, heads={**self._seen.heads, base: head})
            if rules and rules.red and head != before:
                self._until = 0.0  # what was red was so on the older one: it may just have been mended

    def stale(self, *, rules_too: bool = False) -> None:
        """Look again the next time: something was not as it was seen."""
        with self._turn:
            self._until = 0.0
            if rules_too:
                self._rules_read.clear()
                self._legible.clear()

    def since(self, pull: Pull) -> datetime | None:
        """Since when a pull request is known to have the head that it has: by us, or by a check of it that has ended."""
        seen = self._since.get((pull.number, pull.head))
        if seen is None or pull.checked_at is None:
            return seen
        # A branch may have been pushed, and checked, long before: opening it begins further checks.
        return min(seen, max(pull.checked_at, pull.opened_at))

    # --- asking --------------------------------------------------------------------------------------------

    def _silent(self, error: TemporaryError) -> SilentError:
        """The error until GitHub is asked again: a limit says when that is, anything else backs off."""
        delay = min(FAILED_S * 2**self._failures, FAILED_MOST_S)
        delay = max(delay, error.delay) if isinstance(error, LimitError) else delay
        self._failures = min(self._failures + 1, 10)
        self._failed = self._clock() + delay, error
        return SilentError(str(error), delay=delay, hint=error.hint)

    def _good_for(self) -> float:
        now = datetime.now(UTC)
        aged = ((pull, now - (self.since(pull) or now)) for pull in self._seen.pulls.values())
        return fresh_s(aged, self._cost, awaited=bool(self._seen.staged))

    def _asked_small_enough(self) -> Seen:
        """A look, by smaller questions at once where GitHub takes too long: who looks but once has no second look for that."""
        end = self._clock() + SMALLER_WITHIN_S
        while True:
            part = self._pages.part
            try:
                return self._asked()
            except SlowError:
                if self._pages.part == part or self._clock() >= end:
                    raise

    def _asked(self) -> Seen:
        before, bases = self._seen, tuple(dict.fromkeys(self._bases()))
        unheard = sorted(set(self._branches()) - before.heard)
        known, size = sorted(pull.number for pull in before.pulls.values() if pull.open), self._pages.size
        some = unheard[: query.BRANCHES_MAX]
        whole = known[: size.whole]
        first = Question(
            slug=self.asks,
            bases=bases,
            branches=some,
            numbers=whole,
            size=size,
            queues=self._pages.queues,
            staged=self._staged(),
        )
        page = self._pages.page(first)
        light = {pull.number: pull for pull in page.pulls} | self._pages.further(page, bases) | self._pages.older(page)
        for start in range(query.BRANCHES_MAX, len(unheard), query.BRANCHES_MAX):
            some = unheard[start : start + query.BRANCHES_MAX]
            listed = self._pages.page(Question(slug=self.asks, branches=some, size=size))
            light = {p.number: p for p in listed.pulls} | self._pages.older(listed) | light
        # What is open and shown without its checks and reviews is not known yet.
        pulls = {number: pull for number, pull in light.items() if not pull.open}
        pulls |= {pull.number: pull for pull in page.pulls if pull.number in page.whole}
        new = [number for number, pull in sorted(light.items()) if pull.open and number not in known]
        pulls |= self._pages.whole([*known[size.whole :], *new])
        gone = {number for number in known if number not in pulls}
        self._date(pulls.values())
        return Seen(
            pulls={n: pull for n, pull in {**before.pulls, **pulls}.items() if n not in gone},
            heads=page.heads,
            freezes=page.freezes,
            staged=self._pages.staged(page),
            rules={base: self._rules(base, page, pulls.values()) for base in bases},
            heard=before.heard | set(unheard) | {pull.task for pull in pulls.values()},
            withheld=page.withheld,
        )

    def _rules(self, base: str, page: Page, pulls: Iterable[Pull]) -> Rules:
        value = self._rules_read.get(base)
        if value is None or self._clock() - value[0] > RULES_S:
            try:
                value = self._clock(), rules.read(self._gh, self.slug, base)
            except ReconcileError:
                if value is None:
                    raise  # what was known of them still is the best that is known
            else:
                self._rules_read[base] = value
        return rules.decoded(self.asks, base, page, value[1], self._unread(base, page, pulls))

    def _unread(self, base: str, page: Page, pulls: Iterable[Pull]) -> str | None:
        """Why no check can be read there. Of what can be read in part, the rest may be what nobody needs."""
        there, tip = [pull for pull in pulls if pull.open and pull.base == base], page.tips.get(base)
        if tip is None or base in page.legible or any(pull.checks for pull in there):
            return None
        shown = (tip.get(WITHHELD), *(pull.unseen for pull in there))
        return next(filter(None, shown), None) or self._denied(base, Sha(tip["oid"]))

    def _denied(self, base: str, tip: Sha) -> str | None:
        """The same, asked for where no check is there that would show it; again at each look, while it is so."""
        if self._clock() < self._legible.get(base, 0.0):
            return None
        try:
            why = rules.denied(self._gh, self.slug, tip)
        except ReconcileError:
            return None  # what is not known keeps nobody from work
        if why is None:
            self._legible[base] = self._clock() + RULES_S
        return why

    def _date(self, pulls: Iterable[Pull]) -> None:
        for pull in pulls:
            if pull.open:
                self._since.setdefault((pull.number, pull.head), datetime.now(UTC))
