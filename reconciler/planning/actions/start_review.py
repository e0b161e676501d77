"""Have an agent that did not write it read an offered change, and say what is to become of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from reconciler.model import verdicts
from reconciler.model.changes import Diff, Span
from reconciler.model.desired import EpicSpec
from reconciler.model.names import PrNumber, RunId, RunKind, branch_of, review_subject
from reconciler.model.observed import PullRequest, RunState, Task, Unknown
from reconciler.model.ports import Assignment, Change, Ports, RunSpec, SlotBound
from reconciler.model.reasons import Reason
from reconciler.model.review_by_risk import Review
from reconciler.model.values import replace
from reconciler.planning import prompts, review_prompts
from reconciler.planning.actions import approval, guards
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.budget import allowance, task_used_up
from reconciler.planning.job import Job
from reconciler.planning.review_terms import parts, terms
from reconciler.planning.risk import Risk

LOG_CHARS = 6000


class StartReview(Action, frozen=True, kw_only=True):
    """Start a review of exactly one head, in a worktree of its own that is thrown away after it."""

    by_merge: ClassVar[bool] = True
    spec: EpicSpec
    subject: Task
    number: PrNumber
    diff: Diff
    risk: Risk
    n: int
    brief: str  # what to look for
    guidelines: str = ""  # whose words that is
    epic: str = ""
    check: RunId | None = None  # that this head has passed
    model: str | None = None
    usd: float | None = None  # what it may spend

    @property
    def run(self) -> RunId:
        """The run that it starts."""
        return RunId(RunKind.REVIEW, review_subject(self.subject.id, self.diff.head), self.n)

    @property
    def evidence(self) -> Mapping[str, object]:
        known = {"head": self.diff.head, "run": str(self.run), "risk": self.risk.level, "reasons": self.risk.reasons}
        return {**known, "guidelines": self.guidelines}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, offer, brief = job.open_pull, job.offer.reviewing, job.offer.facts.brief
        if pull is None or job.offer.approved or job.offer.protected or offer.asks is not Review.AGENT:
            return None
        if offer.verdict or offer.given_up or not job.offer.green_once or approval.unresolved(job):
            return None
        if offer.diff is None or offer.risk is None or offer.diff.head != pull.head:
            return Waiting(Reason.UNKNOWN, "what it changes is not known yet")
        if isinstance(brief, Unknown):
            return Waiting(Reason.UNKNOWN, f"what its reviewer is to look for is not known: {brief.why}")
        return _running(job) or _not_now(job) or cls._of(job, pull, offer.diff, offer.risk, brief)

    @classmethod
    def _of(cls, job: Job, pull: PullRequest, diff: Diff, risk: Risk, brief: str) -> StartReview:
        again = ", again: the last one came to nothing" if job.offer.reviewing.failures else ""
        by = f", by {job.guidelines}" if job.guidelines else ""
        passed, reviewer = job.offer.checks_last, job.spec.reviewing
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.REVIEW_DUE,
            message=f"review #{pull.number} ({pull.head[:12]}; risk {risk.level}){again}{by}",
            spec=job.spec,
            subject=job.task,
            number=pull.number,
            diff=diff,
            risk=risk,
            n=job.offer.reviewing.next_n,
            brief=brief,
            guidelines=job.guidelines,
            epic=job.epic or "",
            check=passed.id if passed and passed.exit and passed.exit.well and not passed.commit else None,
            model=reviewer.model_for(job.task.labels),
            usd=allowance(job.spec.budget, job.attempts.spend),
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        spec, task, head = self.spec.reviewing, self.subject.id, self.diff.head
        path = ports.workspaces.create_check(self.run.subject, self.spec.checks_venue, head, apart=True)
        values = {
            "task": task,
            "epic": self.epic,
            "branch": branch_of(task),
            "base": self.spec.base,
            "worktree": path,
            "attempt": str(self.n),
            "prompt_file": ports.runner.prompt_path(self.run, self.spec.checks_venue),
        }
        by_schema = _by_schema(self.spec, ports)
        schema = verdicts.SCHEMA if by_schema else ""
        given = Assignment(values=values, model=self.model, usd=self.usd, apart=True, schema=schema)
        started = ports.agents[spec.kind].invocation(spec, given)
        ports.runner.start(
            RunSpec(
                id=self.run,
                task=task,
                manifest=self.spec.name,
                steps=(*started.before, started.argv),
                cwd=path,
                env={
                    "RECONCILE_TASK": task,
                    "RECONCILE_BASE": self.spec.base,
                    "RECONCILE_HEAD": head,
                    **ports.tracker.environment(),
                    **started.env,
                    **spec.env,
                },
                pass_env=(*started.pass_env, *spec.pass_env),
                prompt=prompts.render(self.brief, self.subject, values, "") + self._matter(ports, by_schema),
                timeout_s=spec.timeout_s,
                stuck_after_s=spec.stuck_after_s,
                slot=SlotBound(manifest=self.spec.name, most=self.spec.max_agents),
                why=self.reason,
                baseline=head,
                base_tip=self.diff.start,
                tree=self.diff.tree,
                judged=terms(self.spec, self.brief),
                terms=parts(self.spec, self.brief),
                agent=spec.kind,
                prompt_on_stdin=started.prompt_on_stdin,
                at=self.spec.checks_venue,
            )
        )
        yield from ()

    def _matter(self, ports: Ports, by_schema: bool) -> str:
        patch = ports.forge.changes.patch(Span(start=self.diff.start, head=self.diff.head), whole=False)
        log = ports.runner.log_tail(self.check, LOG_CHARS) if self.check else ""
        matter = review_prompts.Matter(
            task=self.subject,
            base=self.spec.base,
            diff=self.diff,
            risk=self.risk,
            checks=self.spec.merge.commands,
            structured=by_schema,
        )
        return matter.text(patch.decode("utf-8", "replace"), log)


def _by_schema(spec: EpicSpec, ports: Ports) -> bool:
    """True where the program that reviews can be given the schema of its answer; one that is too old for it writes a file, as others do."""
    option = spec.reviewing.kind.row.structured
    return bool(option) and ports.runner.takes(replace(spec, agent=spec.reviewing), option)


def _running(job: Job) -> Waiting | None:
    """One review of a task at a time, of whichever head: that of an older one is ended first."""
    run = job.offer.reviewing.alive
    if run is None:
        return None
    if run not in job.offer.reviewing.wanted:
        return Waiting(
            Reason.REVIEW_RUNNING, f"{run.id} ends first: it is about something else", job.now + guards.SWEEP
        )
    until = job.now + guards.SWEEP if run.state is RunState.ENDING else run.done_at and run.done_at + guards.GRACE
    return Waiting(Reason.REVIEW_RUNNING, f"its reviewer is reading {run.baseline[:12] if run.baseline else ''}", until)


def _not_now(job: Job) -> Waiting | None:
    if job.reviewer_gate:
        return Waiting(*job.reviewer_gate)
    if why := task_used_up(job.spec.budget, job.attempts.spend):
        return Waiting(Reason.BUDGET_SPENT, why)
    if due := job.offer.reviewing.not_before:
        return Waiting(Reason.BACKOFF, "its reviewer left no verdict; it is asked once more", due)
    return None
