"""Give a ready task an agent, or give it another one when the last did not do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import ClassVar, Self

from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId, RunKind, Sha, branch_of
from reconciler.model.observed import Branch, PullRequest, PullState, Run, Task, Upon, Worktree
from reconciler.model.ports import Assignment, Change, Place, Ports, RunSpec, SlotBound
from reconciler.model.reasons import Reason
from reconciler.model.venue import Venue
from reconciler.planning import prompts, reviews
from reconciler.planning.actions import guards
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.budget import allowance
from reconciler.planning.job import Job
from reconciler.planning.labels import PHASES
from reconciler.planning.run_results import TOLD_OF_ITS_WORK

FEEDBACK_LOG_CHARS = 8000


class StartAgent(Action, frozen=True, kw_only=True):
    """Claim the task, give it a worktree, start a run in it."""

    by_merge: ClassVar[bool] = False
    spec: EpicSpec  # placed as tasks with its labels are
    subject: Task
    us: str
    n: int
    attempt: int
    base_tip: Sha
    baseline: Sha | None
    epic: str
    evidence_run: RunId | None = None
    model: str | None = None
    session: str | None = None
    usd: float | None = None  # what it may spend
    complaint: str = ""  # why the last attempt did not do
    comments: str = ""  # on its pull request
    heard: tuple[str, ...] = ()  # the ids of those comments
    review: str = ""  # what its reviewer asks for
    asked_by: str = ""  # the review that sent it back
    upon: Upon | None = None  # what its branch, which is to be made, begins on
    leaves: Venue | None = None  # where it was worked on, by another remote
    stands: Reason | None = None  # why its work was not taken before the last attempt came to nothing, and is not now

    @property
    def run(self) -> RunId:
        """The run that it starts."""
        return RunId(RunKind.WORK, self.subject.id, self.n)

    @property
    def evidence(self) -> Mapping[str, object]:
        return {
            "attempt": self.attempt,
            "run": str(self.run),
            "base": self.base_tip,
            **({"model": self.model} if self.model else {}),
            **({"session": self.session} if self.session else {}),
            **({"upon": self.upon.parent} if self.upon else {}),
        }

    @classmethod
    def due(cls, job: Job) -> Decision:
        if job.open_pull or job.attempts.last:
            return None
        if waiting := guards.not_ready(job) or guards.not_now(job):
            return waiting
        return cls._of(job, Reason.READY, "")

    @classmethod
    def _of(cls, job: Job, reason: Reason, message: str, evidence_run: RunId | None = None) -> Self:
        assert job.base_head is not None  # `not_now` has waited for it
        spec = job.spec.placed(job.task.labels)
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=reason,
            message=_begins(job.next_attempt) + (f": {message}" if message else ""),
            complaint=message,
            spec=spec,
            subject=job.task,
            us=job.us,
            n=job.attempts.next_n,
            attempt=job.next_attempt,
            base_tip=job.base_head,
            baseline=_baseline(job, reason),
            epic=job.epic or "",
            evidence_run=evidence_run,
            model=job.spec.agent.model_for(job.task.labels),
            # A session is kept where its agent ran, and the next node is another.
            session=job.attempts.session if spec.venue.local else None,
            usd=allowance(job.spec.budget, job.attempts.spend),
            comments=job.offer.discussion.text,
            heard=job.offer.discussion.ids,
            review=_review(job),
            asked_by=_asked_by(job, reason),
            upon=job.upon if job.branch is None else None,
            stands=job.stands.reason if job.stands else None,
            leaves=_leaves(job, spec.venue),
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        task = self.subject
        stale = {label for label in task.labels if label in PHASES or label.startswith("pr:")}
        yield Change(
            task=task.id,
            expect_status=frozenset({task.status}),
            expect_assignee=frozenset({"", self.us}),
            status="in_progress",
            assignee=self.us,
            add_labels=frozenset({"phase:spawned"}),
            remove_labels=frozenset(stale - {"phase:spawned"}),
        )
        if self.upon:
            ports.forge.begin_on(task.id, self.upon)
        if self.leaves:
            ports.workspaces.remove(task.id, self.leaves)
        start = self.upon.fork if self.upon else self.base_tip
        place = ports.workspaces.create(task.id, self.spec, start, self.n)
        log = ports.runner.log_tail(self.evidence_run, FEEDBACK_LOG_CHARS) if self.evidence_run else ""
        ports.runner.start(self._run_spec(ports, place, log))

    def _run_spec(self, ports: Ports, place: Place, log: str) -> RunSpec:
        spec = self.spec.agent
        values = {
            "task": self.subject.id,
            "epic": self.epic,
            "branch": branch_of(self.subject.id),
            "base": self.spec.base,
            "worktree": place.path,
            "attempt": str(self.attempt),
            "prompt_file": ports.runner.prompt_path(self.run, self.spec.venue),
        }
        again = self.reason != Reason.READY
        lands = (self.spec.base, self.spec.merge.method)
        why = "" if self.asked_by else self.complaint  # its reviewer says it in full
        feedback = prompts.feedback(self.reason, why, log, *lands) if again else ""
        feedback += prompts.not_taken(self.stands, self.spec.base) if self.stands else ""
        feedback += prompts.on_top(self.upon.parent if self.upon else None, self.spec.base)
        feedback += prompts.asked_by_reviewer(self.review) + prompts.comments(self.comments)
        setup = tuple(("/bin/sh", "-c", command) for command in self.spec.worktrees.setup) if not place.set_up else ()
        given = Assignment(values=values, model=self.model, session=self.session, usd=self.usd)
        started = ports.agents[spec.kind].invocation(spec, given)
        return RunSpec(
            id=self.run,
            task=self.subject.id,
            manifest=self.spec.name,
            steps=(*setup, *started.before, started.argv),
            cwd=place.path,
            setup_steps=len(setup),
            ready_marker=place.ready_marker,
            unlock=place.lock_file,
            env={
                "RECONCILE_TASK": self.subject.id,
                "RECONCILE_EPIC": self.epic,
                "RECONCILE_BRANCH": branch_of(self.subject.id),
                "RECONCILE_BASE": self.spec.base,
                "RECONCILE_ATTEMPT": str(self.attempt),
                **(ports.tracker.environment(self.us, self.run) if self.spec.venue.local else {}),
                **started.env,
                **spec.env,
            },
            pass_env=(
                *started.pass_env,
                *spec.pass_env,
                *(ports.forge.login_variables if spec.opens_pull_request else ()),
            ),
            prompt=prompts.render(ports.prompts.template(self.spec, self.base_tip), self.subject, values, feedback),
            timeout_s=spec.timeout_s,
            stuck_after_s=spec.stuck_after_s,
            slot=SlotBound(manifest=self.spec.name, most=self.spec.max_agents),
            attempt=self.attempt,
            why=self.reason,
            baseline=self.baseline or place.head,
            base_tip=self.base_tip if self.reason == Reason.CONFLICT else None,
            judged=self.asked_by,
            heard=self.heard,
            agent=spec.kind,
            prompt_on_stdin=started.prompt_on_stdin,
            at=self.at,
        )

    @property
    def at(self) -> Venue:
        """Where it runs."""
        return self.spec.venue


class RestartAgent(StartAgent, frozen=True, kw_only=True):
    """Another attempt in the same worktree, with why the last one did not do."""

    @classmethod
    def due(cls, job: Job) -> Decision:
        verdict = job.verdict
        if verdict is None or verdict.reason is None:
            return None
        if waiting := guards.not_ready(job) or guards.not_now(job):
            return waiting
        return cls._of(job, verdict.reason, verdict.message, _evidence(job, verdict.reason))


@cache
def _begins(attempt: int) -> str:
    """One text for all: thousands that wait for a slot hold it."""
    return f"start agent (attempt {attempt})"


def _baseline(job: Job, reason: Reason) -> Sha | None:
    """The head after which commits are new: where the task or its last feedback began, not where a crash interrupted."""
    if reason in TOLD_OF_ITS_WORK:
        return job.branch.head if isinstance(job.branch, Branch) else None
    if job.attempts.last:
        return job.attempts.last.baseline
    if not isinstance(job.branch, Branch) or not job.branch.ahead:
        return None
    if isinstance(job.pull, PullRequest) and job.pull.state is PullState.MERGED and job.pull.head == job.branch.head:
        return job.branch.head  # squashed onto the base already: offered again, it would land twice
    return job.base_head  # commits of an earlier life are work to offer, not something to start from


def _leaves(job: Job, at: Venue) -> Venue | None:
    """The place whose remote keeps what the task had not committed there, where it goes on at one that doesn't know of that."""
    tree = job.worktree
    left = tree.elsewhere if isinstance(tree, Worktree) else None
    return left if left and left.remote != at.remote else None


def _review(job: Job) -> str:
    """What its reviewer asks for, for as long as that stands: an attempt that failed has not done it."""
    offer = job.offer.reviewing
    return reviews.at_length(offer.verdict, offer.diff) if offer.verdict and offer.changes_requested else ""


def _asked_by(job: Job, reason: Reason) -> str:
    by = job.offer.reviewing.by
    return str(by.id) if by and reason is Reason.CHANGES_REQUESTED and job.offer.reviewing.sent_back else ""


def _evidence(job: Job, reason: Reason) -> RunId | None:
    run: Run | None = job.offer.checks_last if reason is Reason.CHECKS_FAILED else job.attempts.last
    judged_by_others = reason in TOLD_OF_ITS_WORK and reason is not Reason.CHECKS_FAILED
    return run.id if run and not judged_by_others and not run.commit else None
