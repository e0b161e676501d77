"""What a task has offered: its pull request, what it would merge to, and what is known about that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct

from reconciler.model.desired import EPOCH, MergeMode, NoChecks
from reconciler.model.globs import glob_pattern, with_folders
from reconciler.model.names import SCRIPTS, RunId
from reconciler.model.observed import (
    Base,
    Candidate,
    CheckResult,
    Conflict,
    PullRequest,
    PullState,
    Run,
    Standing,
    Unknown,
    known_or,
)
from reconciler.model.review_by_risk import Review
from reconciler.planning import forge_checks, review_comments
from reconciler.planning.attempts import Attempts
from reconciler.planning.check_state import CheckState, could_not_run, state_of, turned_red
from reconciler.planning.facts import Facts
from reconciler.planning.forge_checks import ForgeVerdict
from reconciler.planning.own_files import own_files
from reconciler.planning.review_comments import Discussion
from reconciler.planning.reviews import Reviewing

WORKFLOWS = (".github/**",)


class Offer(Struct, frozen=True, dict=True):
    """The pull request of a task with its checks, its approval and its conversations."""

    facts: Facts
    attempts: Attempts

    @cached_property
    def discussion(self) -> Discussion:
        """What was written about its pull request without a yes or a no."""
        if self.facts.open_pull is None or isinstance(self.facts.runs, Unknown):
            return Discussion()
        return review_comments.discussion_of(self.facts.open_pull, self.facts.spec.merge, self.attempts.counted)

    @property
    def unpushed(self) -> bool:
        """True when its branch holds commits that its pull request does not show yet."""
        return self.facts.open_pull is not None and self.facts.open_pull.here is Standing.AHEAD

    @property
    def declined(self) -> bool:
        """True when a person closed its pull request, after the last retry."""
        pull = self.facts.pull
        if not isinstance(pull, PullRequest) or not pull.declined or pull.state is not PullState.CLOSED:
            return False
        if self.facts.swept:
            return False
        return self.facts.since is None or (pull.closed_at is not None and pull.closed_at > self.facts.since.at)

    @cached_property
    def protected(self) -> tuple[str, ...]:
        """The protected paths that landing it would change, as far as it is known."""
        return self._protected(self.facts.candidate) if isinstance(self.facts.candidate, Candidate) else ()

    def _protected(self, candidate: Candidate) -> tuple[str, ...]:
        """The protected paths that a candidate changes.

        Such are always the manifest with the prompts and scripts that it names; the tracker's folder, or what stands in its place, where the
        forge merges that too; and submodules:
        the commit that one names may be on no server, or the repository that an agent happened to put there.
        """
        # What is staged runs with the secrets of the repository: nothing changes what runs unread.
        patterns = (*self.facts.spec.merge.protected_paths, *(WORKFLOWS if self.facts.spec.merge.staging else ()))
        store = self.facts.tracker_folder
        whole = [glob_pattern(glob) for glob in with_folders((*patterns, *((store, f"{store}/**") if store else ())))]
        parts = [glob_pattern(pattern.removesuffix(SCRIPTS)) for pattern in patterns if pattern.endswith(SCRIPTS)]
        own = own_files(self.facts.spec).union(path.casefold() for path in self.facts.linked_prompts)
        changed, scripts = candidate.changed, candidate.scripts
        found = {path for path in changed if path.casefold() in own or any(glob.fullmatch(path) for glob in whole)}
        found |= {path for path in scripts if any(glob.fullmatch(path) for glob in parts)}
        return tuple(sorted(found | candidate.submodules))

    @property
    def outdated(self) -> bool:
        """True when the candidate is one of an older tip of the base: good enough to wait with, not to act on."""
        known = isinstance(self.facts.candidate, Candidate | Conflict) and self.facts.base_head is not None
        return known and self.facts.open_pull is not None and self.facts.candidate.base != self.facts.base_head  # type: ignore[union-attr]

    @cached_property
    def reviewing(self) -> Reviewing:
        """Who must say yes to it, and what was answered."""
        return Reviewing(self.facts, self.protected)

    @property
    def approved(self) -> bool:
        """True when all who must approve exactly this head have done so."""
        return self._approved(self.protected)

    def approved_as(self, candidate: Candidate) -> bool:
        """The same, where it lands as this candidate."""
        return self._approved(self._protected(candidate))

    def _approved(self, protected: Sequence[str]) -> bool:
        pull = self.facts.open_pull
        if pull is None:
            return False
        return pull.approved == pull.head or (not protected and self.reviewing.approved)

    def stageable_as(self, candidate: Candidate) -> bool:
        """True where what lands as this candidate may be pushed to where workflows run: whatever only a person may let land, a
        person has seen."""
        pull = self.facts.open_pull
        if pull is None:
            return False
        unread = self._protected(candidate) or self.reviewing.asks is Review.HUMAN
        return pull.approved == pull.head or not unread

    @property
    def subject(self) -> str | None:
        """The subject of the check run that proves this candidate; None where nothing can be run."""
        if not isinstance(self.facts.candidate, Candidate) or not self.facts.step:
            return None
        return self.facts.spec.subject_of(self.facts.candidate.tree, self.facts.step)

    @property
    def checks_last(self) -> Run | None:
        return None if isinstance(self.facts.checks, Unknown) or not self.facts.checks else self.facts.checks[-1]

    @cached_property
    def forge_verdict(self) -> ForgeVerdict:
        """What the checks that the forge ran on its head come to."""
        if self.facts.open_pull is None:
            return forge_checks.GREEN
        rules = self.facts.base.rules if isinstance(self.facts.base, Base) else None
        return forge_checks.judged(
            self.facts.open_pull, rules, self.facts.spec.merge, self.facts.now, self.facts.outages
        )

    @property
    def check_state(self) -> CheckState:
        """What is known about exactly the tree that would land, and on a forge about the head that it is made of."""
        match self.forge_verdict.result:
            case CheckResult.FAILED:
                return CheckState.FAILED
            case CheckResult.PENDING | CheckResult.VOID:
                return CheckState.PENDING
        return self.checked_here

    @property
    def green_once(self) -> bool:
        """True when its head has passed the checks on the base as it is, or as it was: good enough to ask a person."""
        pull = self.facts.open_pull
        if pull is None or self.forge_verdict.result is not CheckResult.PASSED:
            return False
        return self.checked_here is CheckState.PASSED or self.facts.was_green

    @property
    def needs_base(self) -> bool:
        """True when it was tested without all of the base in it: by the forge, on its head, and nobody tests what lands."""
        pull = self.facts.open_pull
        if pull is None or not isinstance(self.facts.candidate, Candidate):
            return False
        alone = bool(pull.checks) and not self.facts.spec.merge.tests
        return pull.lacks_base or (alone and not self.facts.candidate.is_head)

    @property
    def tested_as_it_lands(self) -> bool:
        """True while the forge tests a head that has all of the base in it; for no longer than a check may take."""
        there = self.forge_verdict.result is CheckResult.PENDING and isinstance(self.facts.candidate, Candidate)
        return there and self._next and not self._overdue

    @property
    def passed_as_it_lands(self) -> bool:
        """True where the forge has found a head green that has all of the base in it, and nothing but to land is left to it."""
        there = self.forge_verdict.result is CheckResult.PASSED and isinstance(self.facts.candidate, Candidate)
        return there and bool(self.facts.open_pull and self.facts.open_pull.checks) and self._next

    @property
    def _next(self) -> bool:
        return not self.needs_base and not self.outdated and not self.manual

    @property
    def _overdue(self) -> bool:
        # A job that waits for a machine that nobody has does so for a day, and a status for ever.
        since = self.facts.open_pull.seen_at if self.facts.open_pull else None
        return since is not None and abs(self.facts.now - since) > timedelta(seconds=self.facts.spec.merge.timeout_s)

    @cached_property
    def base_state(self) -> CheckState:
        """What is known about the base as it is under the same checks: asked where they failed on what would land.

        What fails there too, or can't even be started, is no fault of the work.
        """
        if isinstance(self.facts.base_tree, Unknown) or isinstance(self.facts.base_checks, Unknown):
            return CheckState.UNKNOWN
        if self._to_be_asked_anew:
            return CheckState.NONE
        return state_of(self.facts.base_checks, self.facts.retried_at, self.facts.now)

    @property
    def unasked(self) -> bool:
        """True where the checks could not be run, here and on the base: that they ended badly says nothing of the work."""
        return (
            could_not_run(self.checks_last)
            and self.base_state is CheckState.FAILED
            and self.forge_verdict.result is not CheckResult.FAILED
        )

    @property
    def _to_be_asked_anew(self) -> bool:
        """True where the checks could not be asked here, and passed on the base before that: it is of the machine whether
        they still would, and not of the tree."""
        last, base = self.checks_last, self.base_checks_last
        if last is None or last.exit is None or not could_not_run(last):
            return False
        if base is None or base.exit is None or not base.exit.well or base.started_at is None:
            return False
        # In the future, only before somebody set the clock back: nobody knows which was first.
        return base.started_at < last.exit.at <= self.facts.now

    @property
    def base_checks_last(self) -> Run | None:
        return (
            None
            if isinstance(self.facts.base_checks, Unknown) or not self.facts.base_checks
            else self.facts.base_checks[-1]
        )

    def _excused(self, check: Run) -> bool:
        """True for a failure from when the checks failed on the base too, where they have passed there since."""
        if isinstance(self.facts.base_checks, Unknown) or self.base_state is not CheckState.PASSED:
            return False
        *before, good = self.facts.base_checks
        red = any(run.exit and not run.exit.well for run in before)
        # One that passed in the future passed before somebody set the clock back: nobody knows when.
        passed = good.started_at if good.started_at and good.started_at <= self.facts.now else None
        return bool(red and check.exit and passed and check.exit.at <= passed)

    @property
    def checked_here(self) -> CheckState:
        """What our own checks say about the tree that would land, whatever the forge's say about its head."""
        if self.subject is None:
            allowed = self.facts.spec.merge.no_checks is not NoChecks.BLOCK or bool(
                self.facts.open_pull and self.facts.open_pull.checks
            )
            return CheckState.PASSED if allowed and isinstance(self.facts.candidate, Candidate) else CheckState.NONE
        if isinstance(self.facts.checks, Unknown):
            return CheckState.UNKNOWN
        if self.outdated:
            return CheckState.NONE  # another tree would land now
        return state_of([run for run in self.facts.checks if not self._excused(run)], self.asked_since, self.facts.now)

    @property
    def asked_since(self) -> datetime | None:
        """What failed before is asked again: its task was retried, or a person let its line go on."""
        retried = self.facts.since.at if self.facts.since else EPOCH
        unfrozen = self.facts.spec.unfrozen_at if self.facts.spec.unfrozen_at <= self.facts.now else EPOCH
        return max(retried, unfrozen) if (retried, unfrozen) != (EPOCH, EPOCH) else None

    @cached_property
    def reds(self) -> frozenset[RunId]:
        """The checks that this head has failed by itself: on a base, or on top of what had passed without it."""
        own = known_or(self.facts.checks, ())
        staged = any(check.staged for check in self.facts.step)
        runs = [run for run in (*self.facts.red_checks, *own) if bool(run.commit) is staged]
        return frozenset(
            run.id for run in runs if turned_red(run, self.asked_since, self.facts.now) and not self._excused(run)
        )

    @property
    def asked_again(self) -> bool:
        """True where the checks that failed here, and pass on the base, are run once more: it may have been bad luck."""
        if (
            self.base_state is not CheckState.PASSED
            or self.forge_verdict.result is CheckResult.FAILED
            or self.checked_here is not CheckState.FAILED
        ):
            return False
        return 0 < len(self.reds) <= self.facts.spec.merge.retries

    @property
    def manual(self) -> bool:
        """True when merging is left to a person, and none has asked for exactly this head to be merged."""
        pull = self.facts.open_pull
        return self.facts.spec.merge.mode is MergeMode.MANUAL and not (pull and pull.merge_now == pull.head)
