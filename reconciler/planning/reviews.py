"""Who must say yes to an offered change, and what its reviewers have answered. Pure.

A verdict is about what was judged: the tree of the head, where that left the base, the policy, and what the reviewer was asked
to look for. It counts for whatever is the same in all of these, so it outlives a commit message, and a merge of the base that
git makes alone: what was judged would have landed as that anyway. It outlives nothing else. What can't
be known is for a person: silence, nonsense and a change of the rules never say yes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from msgspec import Struct

from reconciler.model.changes import Diff
from reconciler.model.desired import EPOCH
from reconciler.model.names import review_subject
from reconciler.model.observed import Run
from reconciler.model.reasons import Reason
from reconciler.model.report import Fault
from reconciler.model.review_by_risk import Review, RiskLevel
from reconciler.model.verdicts import LineComment, ReviewVerdict, ReviewWord, mark_of
from reconciler.planning import run_results
from reconciler.planning.facts import Facts
from reconciler.planning.messages import clean, one_line
from reconciler.planning.review_terms import terms
from reconciler.planning.risk import Risk, assess, higher, instructions

FAILURES_MAX = 2
MOVED_MAX = 5  # reviews of what its branch no longer holds, since an agent was last at work on it
SUMMARY_MAX = 200
COMMENT_MAX, TEXT_MAX = 2000, 12_000


class Reviewing(Struct, frozen=True, dict=True):
    """What is known of the reviews of an offered head. `guarded`: the paths in it that only people may approve."""

    facts: Facts
    guarded: tuple[str, ...]

    @property
    def diff(self) -> Diff | None:
        """What the head brings to the base, where that is known."""
        return self.facts.diff if isinstance(self.facts.diff, Diff) else None

    @cached_property
    def risk(self) -> Risk | None:
        """What the rules say of it; None where nobody asked."""
        merge = self.facts.spec.merge
        return assess(self.diff, self.guarded, merge.risk_high, merge.risk_low) if self.diff else None

    @property
    def level(self) -> RiskLevel:
        """What counts: a reviewer may raise what the rules say, and never lower it. What nobody looked at is high."""
        floor = self.risk.level if self.risk else RiskLevel.HIGH
        return higher(floor, self.verdict.risk if self.verdict else None)

    @property
    def asks(self) -> Review:
        """Who must say yes to it: never less than by the rules alone, whatever a raised risk would ask for."""
        policy = self.facts.spec.merge.review
        at = (policy.at(self.risk.level), policy.at(self.level)) if self.risk else policy.each
        asked = max(at, key=lambda review: review.rank)
        return Review.HUMAN if asked is Review.AGENT and self.instructions else asked

    @cached_property
    def instructions(self) -> tuple[str, ...]:
        """The paths in it by which it would tell its reviewer what to do: no reviewer is asked about such."""
        return instructions(self.diff) if self.diff and Review.AGENT in self.facts.spec.merge.review.each else ()

    @property
    def asks_now(self) -> Review:
        """The same, with what its reviewer has made of it: where that settles nothing, a person is asked."""
        left = self.verdict is not None and self.verdict.verdict is ReviewWord.PERSON
        at_odds = self.changes_requested and not self.sent_back
        settled = not (left or at_odds or self.given_up or self.dismissed_by)
        return Review.HUMAN if self.asks is Review.AGENT and not settled else self.asks

    @cached_property
    def verdict(self) -> ReviewVerdict | None:
        """The newest verdict that counts for what is offered now."""
        return next((run.verdict for run in reversed(self._current) if run.verdict and ended_well(run)), None)

    @property
    def by(self) -> Run | None:
        """The review that gave it."""
        return next((run for run in reversed(self._current) if run.verdict and ended_well(run)), None)

    @property
    def dismissed_by(self) -> str:
        """The person who dismissed its review on the forge: it counts for nothing; empty where nobody did."""
        return self.dismissal_of(self.by) if self.by else ""

    @property
    def approved(self) -> bool:
        """True where an agent's yes is what it needs, and what it has."""
        return self.asks is Review.NONE or (self.asks is Review.AGENT and self.approved_by_agent)

    @property
    def approved_by_agent(self) -> bool:
        """True where a reviewer has approved it, whether that is enough or not."""
        given = self.verdict is not None and self.verdict.verdict is ReviewWord.APPROVE
        return given and not self.dismissed_by

    @property
    def judged(self) -> dict[str, Any] | None:
        """Its risk and why, who must say yes to it, and what its reviewer has answered, as JSON has it; None where nobody asked."""
        if self.risk is None:
            return None
        raised = self.verdict is not None and self.level is not self.risk.level
        by = [f"its reviewer says so: {in_short(self.verdict)}"] if raised and self.verdict else list(self.risk.reasons)
        answer = str(self.verdict.verdict) if self.verdict else "none" if self.given_up else None
        return {"level": str(self.level), "reasons": by, "review": str(self.asks_now), "reviewer": answer}

    @property
    def sent_back(self) -> bool:
        """True where its reviewer asked for changes that its agent has yet to make, and may be asked for."""
        return self.changes_requested and self.rounds < self.facts.spec.merge.review_rounds

    @property
    def changes_requested(self) -> bool:
        """True where the last word about it is its reviewer's no. A person's yes to this head goes before that."""
        pull, verdict = self.facts.open_pull, self.verdict
        asked = verdict is not None and verdict.verdict is ReviewWord.REQUEST_CHANGES
        return asked and not self.dismissed_by and pull is not None and pull.approved != pull.head

    @property
    def rounds(self) -> int:
        """How often its agent was sent back by a reviewer since the last retry."""
        runs = self.facts.runs if isinstance(self.facts.runs, tuple) else ()
        after = self.facts.since.n if self.facts.since else 0
        return sum(
            run.why == Reason.CHANGES_REQUESTED and bool(run.judged) for run in runs if run.id.n > after and run.started
        )

    @property
    def alive(self) -> Run | None:
        """A review of its task that is alive, of whichever head."""
        return next((run for run in self._runs if run.alive), None)

    @property
    def wanted(self) -> frozenset[Run]:
        """Those alive that may still say something that counts."""
        return frozenset(run for run in self._current if run.alive)

    @property
    def failures(self) -> tuple[Run, ...]:
        """The reviews of this very thing that came to nothing, through their own fault, oldest first."""
        return tuple(run for run in self._current if self._failed(run))

    @property
    def retried(self) -> bool:
        """True where a retry now would have its reviewer asked once more."""
        pull, policy = self.facts.open_pull, self.facts.spec.merge.review
        if pull is None or pull.approved == pull.head or self.guarded or self.instructions or self.risk is None:
            return False
        over = any(run.exit and not self._enough(run) for run in self._current)
        return (over or self.moves) and policy.at(self.risk.level) is Review.AGENT

    @property
    def given_up(self) -> bool:
        """True where no reviewer is asked about it again."""
        return self.verdict is None and (len(self.failures) >= FAILURES_MAX or self.moves)

    @property
    def moves(self) -> bool:
        """True where its branch changes from review to review, and no agent is at work on it: somebody else, perhaps a
        reviewer, would have it read for ever, and each time for money."""
        diff, pull, runs, since = self.diff, self.facts.open_pull, self.facts.runs, self.facts.since
        if diff is None or pull is None or not isinstance(runs, tuple):
            return False
        begun = [run.started_at for run in runs if run.started_at]
        after = max([*begun, *([since.at] if since else [])], default=EPOCH)
        trees = {diff.tree, *(each.tree for each in pull.updated)}
        return sum(_began(run)[0] > after and run.tree not in trees for run in self._runs) >= MOVED_MAX

    @property
    def not_before(self) -> datetime | None:
        """When it may be reviewed again after that went wrong; None: now."""
        last = self.failures[-1] if self.failures else None
        if last is None or last.exit is None:
            return None
        due = min(last.exit.at, self.facts.now) + timedelta(seconds=self.facts.spec.reviewing.backoff_initial_s)
        return due if due > self.facts.now else None

    @property
    def next_n(self) -> int:
        """The number of the next review of this head: one that was never used."""
        pull, runs = self.facts.open_pull, self.facts.reviews
        subject = review_subject(self.facts.task.id, pull.head) if pull else ""
        mine = (run.id.n for run in (runs if isinstance(runs, tuple) else ()) if run.id.subject == subject)
        return max(mine, default=0) + 1

    @cached_property
    def _runs(self) -> tuple[Run, ...]:
        """Every review of its task that really began, oldest first."""
        runs = self.facts.reviews if isinstance(self.facts.reviews, tuple) else ()
        return tuple(sorted((run for run in runs if run.started or run.alive), key=_began))

    @cached_property
    def _current(self) -> tuple[Run, ...]:
        """Those about what is offered now, under what holds now, that no retry has overruled."""
        diff, brief = self.diff, self.facts.brief
        if diff is None or not isinstance(brief, str) or self.facts.open_pull is None:
            return ()
        under, updated = terms(self.facts.spec, brief), self.facts.open_pull.updated
        about = {(diff.tree, diff.start), *((each.tree, each.start) for each in updated)}
        return tuple(
            run
            for run in self._runs
            if (run.tree, run.base_tip) in about and run.judged == under and not self.overruled(run)
        )

    def overruled(self, run: Run) -> bool:
        """True for what ended before somebody asked for another try; a yes that is enough is as good as ever."""
        if self.facts.since is None or run.exit is None or self._enough(run):
            return False
        return run.exit.at <= self.facts.since.at <= self.facts.now

    def dismissal_of(self, run: Run) -> str:
        """Who dismissed what a review says on the forge; empty where nobody did."""
        dismissed = self.facts.open_pull.dismissed if self.facts.open_pull else {}
        return dismissed.get(mark_of(run.id, run.verdict), "") if run.verdict and dismissed else ""

    def _enough(self, run: Run) -> bool:
        """True for a yes after which nobody else is asked: one that raises the risk may call for a person."""
        if (
            run.verdict is None
            or self.risk is None
            or self.instructions
            or not ended_well(run)
            or self.dismissal_of(run)
        ):
            return False
        level, policy = higher(self.risk.level, run.verdict.risk), self.facts.spec.merge.review
        return run.verdict.verdict is ReviewWord.APPROVE and policy.at(level) is not Review.HUMAN

    def _failed(self, run: Run) -> bool:
        stopped = run.exit is not None and run.exit.stop is not None and not run.exit.well
        if run.alive or (run.verdict and ended_well(run)):
            return False
        if run_results.fault(run) is Fault.BUDGET:
            return True  # asked again and again, it would cost as much each time
        if stopped:
            return False
        return not (run.report and run.report.blameless) and not run.unavailable


def why_it_failed(run: Run) -> str:
    """What went wrong with a review, in a few words."""
    if run.exit is not None and run.exit.well:
        unread = one_line(run.unread)
        return f"it left no verdict that can be read ({unread})" if unread else "it left no verdict"
    if run_results.fault(run) is Fault.BUDGET:
        return run_results.SPENT.replace("agent", "it", 1)
    how = run_results.status(run) if run.exit else "killed, or the machine went down"
    return f"it ended before its time ({how})"


def in_short(verdict: ReviewVerdict) -> str:
    """The beginning of what a reviewer says, on one line."""
    summary = one_line(verdict.summary) or next((comment.body for comment in verdict.comments), "")
    return one_line(summary, SUMMARY_MAX)


def at_length(verdict: ReviewVerdict, diff: Diff | None) -> str:
    """What a reviewer says, place by place, as far as a prompt bears it. A place that the diff does not show is not given
    as one: who reads it would look for it in vain, or where nothing of this change is."""
    parts = [clean(verdict.summary).strip(), *(_placed(comment, diff) for comment in verdict.comments)]
    text = "\n\n".join(part for part in parts if part)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]} …"


def _placed(comment: LineComment, diff: Diff | None) -> str:
    body = clean(comment.body).strip()[:COMMENT_MAX]
    path = one_line(comment.path)
    if diff and diff.shows(comment.path, comment.line):
        return f"At {path}{f':{comment.line}' if comment.line else ''}\n{body}"
    if diff and diff.shows(comment.path, None):
        return f"At {path}\n{body}"
    return f"Of the change as a whole\n{body}"


def ended_well(run: Run) -> bool:
    """True for a review whose answer, where it has given one, is one."""
    return run.exit is not None and run.exit.well and not run.alive


def _began(run: Run) -> tuple[datetime, int]:
    return run.started_at or EPOCH, run.id.n
