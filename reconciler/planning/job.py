"""A job: one task with everything that was found to belong to it, and what follows from that without deciding anything.

Pure. The questions asked here ("how did the last attempt end?", "has it landed?", "how many attempts were used?") are
asked by several actions; what to do about the answers is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, cached_property

from reconciler.model.desired import EpicSpec, MergeMode, NoChecks, Review
from reconciler.model.names import SCRIPTS, PrNumber, Sha, TaskId, check_subject
from reconciler.model.observed import (
    Base,
    Branch,
    Candidate,
    CheckResult,
    Conflict,
    Failure,
    Landing,
    Occupant,
    PullRequest,
    PullState,
    RetryPoint,
    Run,
    RunState,
    Standing,
    StopWhy,
    Task,
    Unknown,
    Worktree,
)
from reconciler.model.reasons import Reason
from reconciler.model.report import Fault
from reconciler.planning import forge_checks, review_comments, run_results
from reconciler.planning.budget import Spend, spent, task_used_up
from reconciler.planning.check_state import CheckState, state_of
from reconciler.planning.forge_checks import ForgeVerdict
from reconciler.planning.review_comments import Discussion
from reconciler.planning.run_results import RunResult

_NOTE = re.compile(r"^reconcile: (\w+): ", re.MULTILINE)
MERGED = "phase:merged"
COMMITTED, PR_CREATED = "phase:committed", "phase:pr_created"
PHASES = ("phase:spawned", "phase:working", COMMITTED, PR_CREATED, MERGED)
NEEDS_HUMAN = "needs-human"
STOPPED = "reconcile:stopped"
TAKEN = "reconcile:taken"
OURS = frozenset({*PHASES, NEEDS_HUMAN, STOPPED, TAKEN})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task together with everything found to belong to it, under the manifest that owns it."""

    task: Task
    spec: EpicSpec
    now: datetime
    us: str = "reconcile@localhost"
    epic: TaskId | None = None  # what it is a child of
    blocked_by: tuple[str, ...] = ()
    put_off: Task | None = None  # the epic above it that somebody deferred
    owned_by: str | None = None  # another manifest that comes first
    runs: tuple[Run, ...] | Unknown = ()
    since: RetryPoint | None = None
    occupant: Occupant | Unknown | None = None
    worktree: Worktree | Unknown | None = None
    branch: Branch | Unknown | None = None
    pull: PullRequest | Unknown | None = None
    damaged: str | None = None  # why its pull request or its branch can't be read, and what fixes that
    base: Base | Unknown | None = None
    candidate: Candidate | Conflict | Unknown | None = None
    checks: tuple[Run, ...] | Unknown = ()  # of the candidate's tree, oldest first
    green_heads: Collection[Sha] = ()  # of it, that have passed these checks on some base
    base_tree: Sha | Unknown | None = None  # known where a check turned red on top of it
    base_checks: tuple[Run, ...] | Unknown = ()  # of that tree, oldest first
    retried_at: datetime | None = None  # when any task was retried last: the base is everybody's
    landing: Landing | Unknown | None = None
    outages: Collection[str] = ()  # checks of the forge that fail on everything
    merged_by_hand: bool = False
    repaired: bool = False
    failure: Failure | None = None
    agent_gate: tuple[Reason, str, datetime | None] | None = None  # why no agent of this epic may start

    # --- runs ----------------------------------------------------------------------------------------------

    @cached_property
    def live(self) -> Run | None:
        """The work run that is alive, whether it counts or not."""
        return None if isinstance(self.runs, Unknown) else next((r for r in reversed(self.runs) if r.alive), None)

    @cached_property
    def counted(self) -> tuple[Run, ...]:
        """Work runs since the last retry that really started, oldest first."""
        if isinstance(self.runs, Unknown) or not self.runs:
            return ()
        after = self.since.n if self.since else 0
        return tuple(run for run in self.runs if run.id.n > after and run.started)

    @cached_property
    def last(self) -> Run | None:
        """The newest work run that counts."""
        return self.counted[-1] if self.counted else None

    @property
    def next_n(self) -> int:
        """The number of the next work run: one that was never used."""
        return 1 if isinstance(self.runs, Unknown) else max((run.id.n for run in self.runs), default=0) + 1

    @cached_property
    def done_claimed_at(self) -> datetime | None:
        """Since when the agent says that it is done, by a label it set on its own task."""
        run = self.live
        claimed = self.task.labels & {"phase:committed"} or any(label.startswith("pr:") for label in self.task.labels)
        if run and self._closed_by(run):
            claimed = True
        if not run or not run.started_at or not claimed:
            return None
        return max(self.task.updated_at, run.started_at)

    def _closed_by(self, run: Run) -> bool:
        """True when the task was closed by this run: by its session, or in our name while it lived."""
        task = self.task
        if not task.closed or task.closed_by_session:
            return task.closed and task.closed_by_session == str(run.id)
        if task.closed_by != self.us or task.closed_at is None or run.started_at is None:
            return False
        ended = run.exit.at if run.exit else self.now
        # Some trackers know no fractions of a second.
        return run.started_at - timedelta(seconds=1) <= task.closed_at <= ended + timedelta(seconds=1)

    # --- how the last attempt ended ------------------------------------------------------------------------

    @cached_property
    def ending(self) -> RunResult | None:
        """How the newest attempt ended by itself; None where none has ended yet. Its work may still be judged bad."""
        run = self.last
        if run is None or run.alive:
            return None
        excused = not (run.report and self._cannot_be(run.report.fault))
        found = run_results.of(run, new_commits=self.new_commits, excused=excused)
        if found.reason is Reason.NO_CHANGES and run.heard and self.open_pull:
            return RunResult(None)  # it was asked a question, and there was nothing to change
        where = self._elsewhere(run) if found.reason is Reason.NO_CHANGES else None
        return replace(found, message=f"{found.message}; {where}") if where else found

    def _elsewhere(self, run: Run) -> str | None:
        """Where commits are that count for nothing; None where there are none."""
        tree, branch = self.worktree, self.branch
        if isinstance(tree, Worktree) and tree.off_its_branch:
            where = f"the branch {tree.branch}" if tree.branch else "no branch"
            return f"its worktree is on {where}, at {(tree.head or '')[:12]}: what was committed there is saved and counts for nothing"
        if (
            isinstance(branch, Branch)
            and branch.in_base
            and run.baseline
            and branch.head not in (run.baseline, run.base_tip)
        ):
            return f"what it committed ({branch.head[:12]}) is on {self.spec.base} already, and was not landed by us: nothing checked it"
        return None

    def _cannot_be(self, fault: Fault | None) -> bool:
        """True for an excuse that does not hold: taken for one, it would be given again and again, at once."""
        before = self.counted[:-1]
        match fault:
            case Fault.SESSION:
                return run_results.session(before, self.spec.agent.kind) is None  # it was to go on with none
            case Fault.BUDGET if task_used_up(self.spec.budget, self.spend) is None:
                again = bool(before and before[-1].report and before[-1].report.fault is Fault.BUDGET)
                return again or self.spec.budget.usd_per_task is None
            case _:
                return False

    @property
    def new_commits(self) -> bool:
        """True when the branch holds commits that the last run's reason to be did not know."""
        run = self.last
        branch = self.branch
        return isinstance(branch, Branch) and branch.ahead > 0 and (run is None or branch.head != run.baseline)

    @cached_property
    def verdict(self) -> RunResult | None:
        """What is wrong with the newest attempt or with what it offered; None where nothing is."""
        ended = self.ending.reason if self.ending else None
        if ended in (None, Reason.NO_CHANGES) and (refused := self.refused):
            return RunResult(Reason.PUSH_REFUSED, refused, waits=False)
        if ended is not None:
            return self.ending
        pull = self.open_pull
        if pull is None or self.unpushed:
            return None  # what is not offered yet was not judged
        if pull.rejection and pull.rejection.head == pull.head:
            return RunResult(
                Reason.CHANGES_REQUESTED, f"a person asked for changes: {pull.rejection.text}", waits=False
            )
        if self.discussion.due:
            where = f" at {pull.url}" if pull.url else ""
            return RunResult(
                Reason.CHANGES_REQUESTED, f"comments ask for an answer{where}: {self.discussion.summary}", waits=False
            )
        if isinstance(self.candidate, Conflict):
            return RunResult(
                Reason.CONFLICT, _conflict(self.candidate, self.spec.base), self._conflict_counts, waits=False
            )
        if self.forge_verdict.result is CheckResult.FAILED:
            return RunResult(
                Reason.CHECKS_FAILED, f"checks of the forge failed: {self.forge_verdict.message}", waits=False
            )
        if self.check_state is CheckState.FAILED and self.base_state is CheckState.PASSED:
            return RunResult(
                Reason.CHECKS_FAILED,
                f"the checks failed on the merged tree ({run_results.status(self.checks_last)})",
                waits=False,
            )
        return None

    @property
    def _conflict_counts(self) -> bool:
        # A repair is given one base tip. That the base moved on meanwhile is not its fault; not fixing it is.
        run = self.last
        return run is not None and run.why == Reason.CONFLICT and not self.repaired

    @property
    def next_attempt(self) -> int:
        """The number of the attempt that would start now (1, 2, …)."""
        if self.last is None:
            return 1
        return self.last.attempt + (1 if self.verdict and self.verdict.counts else 0)

    @property
    def exhausted(self) -> bool:
        """True when no attempt is left."""
        return self.verdict is not None and self.verdict.counts and self.next_attempt > self.spec.agent.max_attempts

    @property
    def not_before(self) -> datetime | None:
        """When the next attempt may start; None: now. Never later than twice `backoff.max`, whatever the clock did."""
        run, agent = self.last, self.spec.agent
        if run is None or run.alive:
            return None
        ended = run.exit.at if run.exit else run.last_progress_at or run.started_at
        delay = 0.0
        if self.verdict and self.verdict.waits:
            doublings = min(max(self.next_attempt - 2, self._unavailable_in_a_row - 1, 0), 30)
            delay = min(agent.backoff_initial_s * 2**doublings, agent.backoff_max_s)
        elif self.worktree is None:
            delay = agent.backoff_initial_s
        if ended is None or not delay or ended > self.now + timedelta(seconds=agent.backoff_max_s):
            return None  # a record from the far future: the clock was set back, and nobody knows how long ago it was
        due = min(ended, self.now) + timedelta(seconds=delay)
        return due if due > self.now else None

    @property
    def _unavailable_in_a_row(self) -> int:
        count = 0
        for run in reversed(self.counted):
            if not run.unavailable:
                break
            count += 1
        return count

    # --- what it goes on with ------------------------------------------------------------------------------

    @property
    def session(self) -> str | None:
        """The session of its agent that the next attempt goes on with; None: it begins a new one."""
        return run_results.session(self.counted, self.spec.agent.kind)

    @cached_property
    def spend(self) -> Spend:
        """What all of its runs have used, also those before the last retry."""
        return Spend() if isinstance(self.runs, Unknown) else spent(self.runs)

    # --- the pull request ----------------------------------------------------------------------------------

    @cached_property
    def open_pull(self) -> PullRequest | None:
        return self.pull if isinstance(self.pull, PullRequest) and self.pull.state is PullState.OPEN else None

    @cached_property
    def discussion(self) -> Discussion:
        """What was written about its pull request without a yes or a no."""
        if self.open_pull is None or isinstance(self.runs, Unknown):
            return Discussion()
        return review_comments.discussion_of(self.open_pull, self.spec.merge, self.counted)

    @property
    def unpushed(self) -> bool:
        """True when its branch holds commits that its pull request does not show yet."""
        return self.open_pull is not None and self.open_pull.here is Standing.AHEAD

    @property
    def declined(self) -> bool:
        """True when a person closed its pull request, after the last retry."""
        pull = self.pull
        if not isinstance(pull, PullRequest) or not pull.declined or pull.state is not PullState.CLOSED:
            return False
        return self.since is None or (pull.closed_at is not None and pull.closed_at > self.since.at)

    @cached_property
    def protected(self) -> tuple[str, ...]:
        """The protected paths that landing it would change.

        Such are always `.beads/`, or whatever stands in its place, where the forge merges that too; and submodules: the
        commit that one names may be on no server, or the repository that an agent happened to put there.
        """
        if not isinstance(self.candidate, Candidate):
            return ()
        patterns = self.spec.merge.protected_paths
        whole = [glob_pattern(pattern) for pattern in (*patterns, ".beads", ".beads/**")]
        parts = [glob_pattern(pattern.removesuffix(SCRIPTS)) for pattern in patterns if pattern.endswith(SCRIPTS)]
        manifest = self.spec.source.removeprefix(self.spec.repository + "/")
        changed, scripts = self.candidate.changed, self.candidate.scripts
        found = {path for path in changed if path == manifest or any(glob.fullmatch(path) for glob in whole)}
        found |= {path for path in scripts if any(glob.fullmatch(path) for glob in parts)}
        return tuple(sorted(found | self.candidate.submodules))

    @property
    def outdated(self) -> bool:
        """True when the candidate is one of an older tip of the base: good enough to wait with, not to act on."""
        known = isinstance(self.candidate, Candidate | Conflict) and self.base_head is not None
        return known and self.open_pull is not None and self.candidate.base != self.base_head  # type: ignore[union-attr]

    @property
    def approved(self) -> bool:
        """True when no person needs to be asked, or one has approved exactly this head."""
        pull = self.open_pull
        if pull is None:
            return False
        if self.spec.merge.review is Review.NONE and not self.protected:
            return True
        return pull.approved == pull.head

    # --- checks --------------------------------------------------------------------------------------------

    @property
    def subject(self) -> str | None:
        """The subject of the check run that proves this candidate; None where nothing can be run."""
        if not isinstance(self.candidate, Candidate) or not self.spec.merge.checks:
            return None
        return check_subject(self.candidate.tree, self.spec.merge.checks)

    @property
    def checks_last(self) -> Run | None:
        return None if isinstance(self.checks, Unknown) or not self.checks else self.checks[-1]

    @cached_property
    def forge_verdict(self) -> ForgeVerdict:
        """What the checks that the forge ran on its head come to."""
        if self.open_pull is None:
            return forge_checks.GREEN
        rules = self.base.rules if isinstance(self.base, Base) else None
        return forge_checks.judged(self.open_pull, rules, self.spec.merge, self.now, self.outages)

    @property
    def check_state(self) -> CheckState:
        """What is known about exactly the tree that would land, and on a forge about the head that it is made of."""
        match self.forge_verdict.result:
            case CheckResult.FAILED:
                return CheckState.FAILED
            case CheckResult.PENDING | CheckResult.VOID:
                return CheckState.PENDING
        return self._checked_here

    @property
    def green_once(self) -> bool:
        """True when its head has passed the checks on the base as it is, or as it was: good enough to ask a person."""
        pull = self.open_pull
        if pull is None or self.forge_verdict.result is not CheckResult.PASSED:
            return False
        return self._checked_here is CheckState.PASSED or pull.head in self.green_heads

    @property
    def needs_base(self) -> bool:
        """True when it was tested without all of the base in it: by the forge, on its head, and nobody tests what lands."""
        pull = self.open_pull
        if pull is None or not isinstance(self.candidate, Candidate):
            return False
        alone = bool(pull.checks) and not self.spec.merge.checks
        return pull.lacks_base or (alone and not self.candidate.is_head)

    @property
    def tested_as_it_lands(self) -> bool:
        """True while the forge tests a head that has all of the base in it; for no longer than a check may take."""
        there = self.forge_verdict.result is CheckResult.PENDING and isinstance(self.candidate, Candidate)
        return there and not self.needs_base and not self.outdated and not self.manual and not self._overdue

    @property
    def _overdue(self) -> bool:
        # A job that waits for a machine that nobody has does so for a day, and a status for ever.
        since = self.open_pull.seen_at if self.open_pull else None
        return since is not None and abs(self.now - since) > timedelta(seconds=self.spec.merge.timeout_s)

    @cached_property
    def base_state(self) -> CheckState:
        """What is known about the base as it is under the same checks: asked where they failed on what would land.

        What fails there too, or can't even be started, is no fault of the work.
        """
        if isinstance(self.base_tree, Unknown) or isinstance(self.base_checks, Unknown):
            return CheckState.UNKNOWN
        return state_of(self.base_checks, self.retried_at, self.now)

    @property
    def base_checks_last(self) -> Run | None:
        return None if isinstance(self.base_checks, Unknown) or not self.base_checks else self.base_checks[-1]

    def _excused(self, check: Run) -> bool:
        """True for a failure from when the checks failed on the base too, where they have passed there since."""
        if isinstance(self.base_checks, Unknown) or self.base_state is not CheckState.PASSED:
            return False
        *before, good = self.base_checks
        red = any(run.exit and not run.exit.well for run in before)
        return bool(red and check.exit and good.started_at and check.exit.at <= good.started_at)

    @property
    def _checked_here(self) -> CheckState:
        if self.subject is None:
            allowed = self.spec.merge.no_checks is not NoChecks.BLOCK or bool(self.open_pull and self.open_pull.checks)
            return CheckState.PASSED if allowed and isinstance(self.candidate, Candidate) else CheckState.NONE
        if isinstance(self.checks, Unknown):
            return CheckState.UNKNOWN
        if self.outdated:
            return CheckState.NONE  # another tree would land now
        since = self.since.at if self.since else None
        return state_of([run for run in self.checks if not self._excused(run)], since, self.now)

    # --- the end -------------------------------------------------------------------------------------------

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
        """True when its own agent closed the task and left commits that have not landed: they still want landing."""
        return (
            self.last is not None
            and self._closed_by(self.last)
            and not self.landed
            and not self.merged
            and not self.declined
            and (self.new_commits or self.open_pull is not None)
        )

    @property
    def unlandable(self) -> bool:
        """True when its landing, or what leads to it, was refused for good."""
        refused = ("OpenPullRequest", "Land", "StartCheck")
        failure = self.failure
        return failure is not None and failure.permanent and failure.action in refused and not failure.refused

    @property
    def handed_over_for(self) -> Reason | None:
        """The reason in the note with which it was handed over last: what its branch looks like may say another thing."""
        known = [word for word in _NOTE.findall(self.task.notes) if word in set(Reason)]
        return Reason.of(known[-1]) if known else None

    @property
    def pushed_again(self) -> bool:
        """True where only the push of finished work had failed, and a person has asked since that it is tried again: what
        stood in the way may be gone, and whatever the branch holds now is to be offered, before any agent is sent.
        """
        held_back = self.since is not None and self.last is None and self.handed_over_for is Reason.PUSH_REFUSED
        return held_back and isinstance(self.branch, Branch) and self.branch.ahead > 0 and not self.landed_before

    @property
    def refused(self) -> str | None:
        """Why the push of exactly this head was refused, where its agent can fix that."""
        failure, branch = self.failure, self.branch
        if failure is None or failure.refused is None or not isinstance(branch, Branch):
            return None
        return failure.message if failure.refused == branch.head else None

    @property
    def done(self) -> bool:
        """True when nothing more is to be achieved for this task: only cleared up."""
        return self.task.closed and not self.finished_by_agent

    @property
    def reopened(self) -> bool:
        """True when a person set the task open again: its attempts and landings count from then on.

        An agent may set its own task open too; so what was written while its run lived says nothing.
        """
        if self.task.closed or self.live or self.in_its_agents_words:
            return False
        if MERGED in self.task.labels:
            return True
        if self.task.status != "open":
            return False
        last = self.last
        if NEEDS_HUMAN in self.task.labels:
            return True
        if last is None or last.exit is None or self.task.updated_at <= last.exit.at:
            return False
        return last.exit.stop is StopWhy.CLOSED or not self.task.labels & set(PHASES)

    @property
    def in_its_agents_words(self) -> bool:
        """True when the task was last written while its newest attempt lived: no person has named anything since."""
        last = self.last
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
        last = self.last
        if self.task.status != "blocked" or last is None:
            return False
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

    @property
    def tree_root(self) -> str:
        """Where its worktree stands: another manifest may have made it, under a root of its own."""
        return (
            self.worktree.path.rpartition("/")[0] if isinstance(self.worktree, Worktree) else self.spec.worktrees.root
        )

    @property
    def phase(self) -> str | None:
        """The phase label that what is seen stands for; None where nothing seen speaks for one."""
        if self.landed and self.task.closed:
            return MERGED
        if run := self.live:
            return "phase:spawned" if run.state is RunState.STARTING else "phase:working"
        if self.open_pull:
            return "phase:pr_created"
        if isinstance(self.branch, Branch) and self.branch.ahead:
            return "phase:committed"
        return "phase:spawned" if self.last else None  # its agent is gone and left nothing: nobody works on it

    @property
    def manual(self) -> bool:
        """True when merging is left to a person, and none has named that exactly this head is to be merged now."""
        pull = self.open_pull
        return self.spec.merge.mode is MergeMode.MANUAL and not (pull and pull.merge_now == pull.head)

    @property
    def number(self) -> PrNumber | None:
        return self.pull.number if isinstance(self.pull, PullRequest) else None

    @property
    def base_head(self) -> Sha | None:
        return self.base.head if isinstance(self.base, Base) else None


def left_over(task: Task) -> frozenset[str]:
    """The labels of ours that say nothing any more of a closed task. That of its landing stays, with its number."""
    if task.status == "tombstone":
        return frozenset()  # it was deleted: nobody can write to it any more
    if MERGED in task.labels:
        return task.labels & (OURS - {MERGED})
    return frozenset(label for label in task.labels if label in OURS or label.startswith("pr:"))


@cache
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A path glob as a pattern for whole paths: `**` crosses folders, `*` and `?` do not.

    >>> bool(glob_pattern(".ci/**").fullmatch(".ci/a/run")), bool(glob_pattern("*.md").fullmatch("docs/x.md"))
    (True, False)
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)


def _conflict(conflict: Conflict, base: str) -> str:
    where = ", ".join(conflict.paths[:5]) + (" …" if len(conflict.paths) > 5 else "")
    return (
        f"conflicts with {base}"
        + (f" in {where}" if where else "")
        + (f": {conflict.detail}" if conflict.detail else "")
    )
