"""A job: one task with what was found to belong to it, and what follows from that without deciding anything. Pure.

How its attempts went is a noun of its own, and so is what they offered; here stands what only both together tell. The questions
are asked by several actions; what to do about the answers is theirs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property

from reconciler.model.observed import Branch, Landing, PullRequest, PullState, RunState, StopWhy, Unknown, Worktree
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.planning.attempts import Attempts
from reconciler.planning.facts import Facts
from reconciler.planning.labels import (
    MERGED,
    NEEDS_HUMAN,
    OURS,
    PHASES,
)
from reconciler.planning.offer import Offer
from reconciler.planning.run_results import RunResult
from reconciler.planning.sent_back import sent_back
from reconciler.planning.task_notes import TaskNotes


class Job(Facts, frozen=True, kw_only=True, dict=True):
    """A task with its attempts and what they offered."""

    @cached_property
    def notes(self) -> TaskNotes:
        return TaskNotes(self.task)

    @cached_property
    def attempts(self) -> Attempts:
        return Attempts(self)

    @cached_property
    def offer(self) -> Offer:
        return Offer(self, self.attempts)

    @cached_property
    def verdict(self) -> RunResult | None:
        """What is wrong with the newest attempt or with what it offered; None where nothing is."""
        ended = self.attempts.ending.reason if self.attempts.ending else None
        if ended in (None, Reason.NO_CHANGES) and (refused := self.refused):
            return RunResult(Reason.PUSH_REFUSED, refused, waits=False)
        if ended in (None, Reason.NO_CHANGES) and self.failure and self.unfit:
            return RunResult(Reason.CONFLICT, self.failure.message, counts=False, waits=False)
        if ended is not None:
            return self._with_what_stands
        return self._judged

    @cached_property
    def stands(self) -> RunResult | None:
        """What was wrong with its work before its last attempt came to nothing, and still is; None where nothing was."""
        ending = self.attempts.ending
        if ending is None or ending.reason in (None, Reason.STOPPED):
            return None
        if self.refusal and (self.open_pull is None or self.offer.unpushed):
            return RunResult(Reason.PUSH_REFUSED, self.refusal)
        if self.failure and self.unfit:
            return RunResult(Reason.CONFLICT, self.failure.message)
        return self._judged

    @property
    def _with_what_stands(self) -> RunResult | None:
        ending, stands = self.attempts.ending, self.stands
        if ending is None or stands is None:
            return ending
        return replace(ending, message=f"{ending.message}; before that, its work was not taken: {stands.message}")

    @cached_property
    def _judged(self) -> RunResult | None:
        """What is wrong with what it offers; None where nothing is."""
        return sent_back(self, self.attempts, self.offer)

    @property
    def next_attempt(self) -> int:
        """The number of the attempt that would start now (1, 2, …)."""
        if self.attempts.last is None:
            return 1
        return self.attempts.last.attempt + (1 if self.verdict and self.verdict.counts else 0)

    @property
    def exhausted(self) -> bool:
        """True when no attempt is left."""
        return self.verdict is not None and self.verdict.counts and self.next_attempt > self.spec.agent.max_attempts

    @property
    def not_before(self) -> datetime | None:
        """When the next attempt may start; None: now. Never later than twice `backoff.max`, whatever the clock did."""
        run, agent = self.attempts.last, self.spec.agent
        if run is None or run.alive:
            return None
        ended = run.exit.at if run.exit else run.last_progress_at or run.started_at
        delay = 0.0
        if self.verdict and self.verdict.waits:
            doublings = min(max(self.next_attempt - 2, self.attempts._unavailable_in_a_row - 1, 0), 30)
            delay = min(agent.backoff_initial_s * 2**doublings, agent.backoff_max_s)
        elif self.worktree is None:
            delay = agent.backoff_initial_s
        if ended is None or not delay or ended > self.now + timedelta(seconds=agent.backoff_max_s):
            return None  # a record from the far future: the clock was set back, and nobody knows how long ago it was
        due = min(ended, self.now) + timedelta(seconds=delay)
        return due if due > self.now else None

    @property
    def landed(self) -> bool:
        """True when its work is on the base, since the last retry."""
        return isinstance(self.landing, Landing) or (self.merged_by_hand and self.pull is not None)

    @property
    def merged(self) -> bool:
        """True when its pull request was closed as merged, after the last retry.

        What a person brought to the base leaves no other trace once its pull request is closed.
        """
        pull = self.pull
        if not isinstance(pull, PullRequest) or pull.state is not PullState.MERGED:
            return False
        return self.since is None or (pull.closed_at is not None and pull.closed_at > self.since.at)

    @property
    def finished_by_agent(self) -> bool:
        """True when its own agent closed the task and left commits that have not landed, or still may: they want landing."""
        return (
            self.attempts.last is not None
            and self.attempts.closed_by(self.attempts.last)
            and not self.landed
            and not self.merged
            and not self.offer.declined
            and (self.attempts.live is not None or self.attempts.new_commits or self.open_pull is not None)
        )

    @property
    def unlandable(self) -> bool:
        """True when its landing, or what leads to it, was refused for good."""
        refused = ("OpenPullRequest", "Land", "StartCheck", "StageChecks", "Unstack")
        failure = self.failure
        if failure is None or not failure.permanent or failure.action not in refused:
            return False
        heard = self.attempts.last is not None and self.attempts.last.why == Reason.CONFLICT
        return not failure.refused or (self.unfit and heard)

    @property
    def pushed_again(self) -> bool:
        """True where only the push of finished work had failed, and a person has asked since that it is tried again: what
        stood in the way may be gone, and whatever the branch holds now is to be offered, before any agent is sent.
        """
        held_back = self.since is not None and self.attempts.last is None and self.notes.reason is Reason.PUSH_REFUSED
        return held_back and isinstance(self.branch, Branch) and self.branch.ahead > 0 and not self.landed_before

    @property
    def done(self) -> bool:
        """True when nothing more is to be achieved for this task: only cleared up."""
        return self.task.closed and not self.finished_by_agent

    @property
    def reopened(self) -> bool:
        """True when a person set the task open again: its attempts and landings count from then on.

        An agent may set its own task open too; so what was written while its run lived says nothing.
        """
        if self.task.closed or self.attempts.live or self.in_its_agents_words:
            return False
        if MERGED in self.task.labels:
            return True
        if self.task.status != "open":
            return False
        last = self.attempts.last
        if NEEDS_HUMAN in self.task.labels:
            return True
        if last is None or last.exit is None or self.task.updated_at <= last.exit.at:
            return False
        return last.exit.stop is StopWhy.CLOSED or not self.task.labels & set(PHASES)

    @property
    def in_its_agents_words(self) -> bool:
        """True when the task was last written while its newest attempt lived: no person has written since."""
        last = self.attempts.last
        if last is None or last.started_at is None:
            return False
        ended = last.exit.at if last.exit else last.last_progress_at
        return ended is not None and last.started_at < self.task.updated_at <= ended

    @property
    def landed_before(self) -> bool:
        """True when its pull request was merged, and what counts has started over since."""
        pull = self.pull
        return isinstance(pull, PullRequest) and pull.state is PullState.MERGED and not self.landed and not self.merged

    @property
    def blocked_by_its_agent(self) -> bool:
        """True when the task was set `blocked` before its newest attempt was over: at its start it was not."""
        last = self.attempts.last
        if self.task.status != "blocked" or last is None:
            return False
        if last.says and last.says.status == "blocked":
            return True  # it arrived with its end, and was written down after that
        ended = last.exit.at if last.exit else last.last_progress_at
        return ended is not None and self.task.updated_at <= ended

    @property
    def ours(self) -> bool:
        """True when the task is assigned to us, or to nobody while something of ours belongs to it."""
        if self.task.assignee:
            return self.task.assignee == self.us
        return bool(
            self.task.labels & set(PHASES)
            or isinstance(self.worktree, Worktree)
            or isinstance(self.branch, Branch)
            or (self.runs and not isinstance(self.runs, Unknown))
        )

    @property
    def untouched(self) -> bool:
        """True when nothing anywhere says that anything was ever done for it."""
        labelled = any(label.startswith(("phase:", "pr:")) for label in self.task.labels)
        return not (labelled or self.runs or self.branch or self.worktree or self.landing or self.task.closed)

    @cached_property
    def fresh(self) -> bool:
        """True when there is nothing of it but the task itself, and no word of a person's or ours on that."""
        beside = self.pull or self.candidate or self.since or self.failure or self.damaged or self.merged_by_hand
        return not beside and self.untouched and not self.task.labels & OURS

    def forget(self) -> None:
        """Give back the memory of what was found out about it so far. It is found out again where it is asked again."""
        vars(self).clear()

    @property
    def venue(self) -> Venue:
        """Where its worktree is, or is to be."""
        return self.worktree.at if isinstance(self.worktree, Worktree) else self.spec.venue_for(self.task.labels)

    @property
    def phase(self) -> str | None:
        """The phase label that what is seen stands for; None where nothing seen speaks for one."""
        if self.landed and self.task.closed:
            return MERGED
        if run := self.attempts.live:
            return "phase:spawned" if run.state is RunState.STARTING else "phase:working"
        if self.open_pull:
            return "phase:pr_created"
        if isinstance(self.branch, Branch) and self.branch.ahead:
            return "phase:committed"
        return "phase:spawned" if self.attempts.last else None  # its agent is gone and left nothing: nobody works on it
