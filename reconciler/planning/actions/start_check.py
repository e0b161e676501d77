"""The checks of what would land, on exactly that tree; and of the base alone, where it is asked whose fault it is.

They run here, or the forge runs its own on what is pushed to a staging branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import ClassVar

from reconciler.model.checks import Check
from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId, RunKind, Sha
from reconciler.model.observed import (
    Candidate,
    Cause,
    Exit,
    PullRequest,
    Run,
    RunState,
    StagedCheck,
    StopWhy,
    Unknown,
)
from reconciler.model.ports import Change, LandOrder, Ports, RunSpec, StepLimit
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning import base_checks
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.actions.land import numbers, order_of
from reconciler.planning.asked import left_out
from reconciler.planning.check_state import CheckState, seen_again, whereabouts
from reconciler.planning.job import Job
from reconciler.planning.messages import listed


class StartCheck(Action, frozen=True, kw_only=True):
    """Run the manifest's checks on exactly the tree that would land, in a clean worktree."""

    by_merge: ClassVar[bool] = True
    spec: EpicSpec
    order: LandOrder
    asked: tuple[Check, ...]  # those of its checks that are run
    n: int
    below: Sha | None = None  # the tree without the topmost; None: the base's own
    of_the_base: bool = False  # as it is: it tells whose fault it is that others failed

    @property
    def run(self) -> RunId:
        return RunId(RunKind.CHECK, self.spec.subject_of(self.order.expected.tree, self.asked), self.n)

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.order.expected.head, "base": self.order.expected.base, "tree": self.order.expected.tree}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, candidate = job.open_pull, job.candidate
        if pull is None or not isinstance(candidate, Candidate):
            return None
        match job.offer.check_state:
            case CheckState.PENDING:
                return Waiting(
                    Reason.CHECKS_PENDING,
                    f"checks of the forge: {job.offer.forge_verdict.message}",
                    job.offer.forge_verdict.until,
                )
            case CheckState.RUNNING:
                last = job.offer.checks_last
                until = seen_again(last, job.spec.merge.runner, job.now)
                message = f"checks running on the merged tree {candidate.tree[:12]}{whereabouts(last, job.now)}"
                return Waiting(Reason.CHECKS_RUNNING, message, until)
            case CheckState.NONE if job.offer.subject is None:
                return Waiting(
                    Reason.CHECKS_PENDING, "no checks are configured, and 'noChecks: block' merges nothing without them"
                )
            case CheckState.NONE:
                return cls._alone(job, pull, candidate)
            case CheckState.FAILED:
                again = cls._alone(job, pull, candidate) if job.offer.asked_again else None
                return cls._of_the_base(job, pull) or again
            case _:
                return None

    @classmethod
    def _alone(cls, job: Job, pull: PullRequest, candidate: Candidate) -> Decision:
        if any(check.staged for check in job.step) and not job.offer.stageable_as(candidate):
            return None  # a person says yes first: it would run with the secrets of the repository
        return cls.together(job, order_of(job, pull, candidate), None, job.step, job.checks)

    @classmethod
    def together(
        cls,
        job: Job,
        order: LandOrder,
        below: Sha | None,
        asked: tuple[Check, ...],
        before: tuple[Run, ...] | Unknown,
    ) -> StartCheck:
        """The checks of a task's work on the base, with all that is beneath it; `below`: the tree of that alone."""
        again = f" again: failed {_times(len(job.offer.reds))}" if job.offer.reds and not order.beneath else ""
        where = f"for #{order.number} (merged with {listed([job.spec.base, *numbers(order.beneath)])}){again}"
        staged = any(check.staged for check in asked)
        message = f"have the forge run its checks {where}, on a staging branch" if staged else f"run checks {where}"
        return cls._of(job, Reason.CHECKS_PENDING, message, order, asked, before, below)

    @classmethod
    def _of_the_base(cls, job: Job, pull: PullRequest) -> Decision:
        """Whose fault it is that the checks failed: asked once of the base as it is, before an agent is blamed."""
        base, tree = job.base_head, job.base_tree
        if base is None or tree is None or isinstance(tree, Unknown) or job.offer.base_state is CheckState.UNKNOWN:
            return Waiting(Reason.UNKNOWN, f"can't tell whether {job.spec.base} passes the checks that failed")
        match job.offer.base_state:
            case CheckState.RUNNING:
                last = job.offer.base_checks_last
                message = f"checks failed for #{pull.number}; running them on {job.spec.base} alone{whereabouts(last, job.now)}"
                return Waiting(Reason.CHECKS_RUNNING, message, seen_again(last, job.spec.merge.runner, job.now))
            case CheckState.FAILED:
                return Waiting(Reason.CHECK_BROKEN, base_checks.not_its_fault(job.spec, job.offer.base_checks_last))
            case CheckState.NONE:
                order = order_of(job, pull, Candidate(base=base, head=base, tree=tree))
                message = f"run checks on {job.spec.base} alone: they failed for #{pull.number}"
                return replace(
                    cls._of(job, Reason.CHECKS_FAILED, message, order, job.step, job.base_checks), of_the_base=True
                )
            case _:
                return None

    @classmethod
    def _of(
        cls,
        job: Job,
        reason: Reason,
        message: str,
        order: LandOrder,
        asked: tuple[Check, ...],
        before: tuple[Run, ...] | Unknown,
        below: Sha | None = None,
    ) -> StartCheck:
        """One more run of `asked` after those that there were `before` on the same tree."""
        spec = job.spec
        n = max((run.id.n for run in before), default=0) + 1 if isinstance(before, tuple) else 1
        without = ", ".join(spec.merge.commands[n] for n in left_out(spec, asked))
        made = StageChecks if any(check.staged for check in asked) else StartCheck
        return made(
            manifest=spec.name,
            task=job.task.id,
            reason=reason,
            message=f"{message}, without those of other paths: {without}" if without else message,
            spec=spec,
            order=order,
            asked=asked,
            n=n,
            below=below,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        merge, expected, at = self.spec.merge, self.order.expected, self.spec.tests_venue
        tree = expected.tree
        commit = expected.base if self.of_the_base else ports.forge.candidate_commit(self.order)
        path = ports.workspaces.create_check(self.run.subject, at, commit, n=self.n)
        ports.runner.start(
            RunSpec(
                id=self.run,
                task=self.order.task,
                manifest=self.spec.name,
                steps=tuple(("/bin/sh", "-c", check.run) for check in self.asked),
                limits=tuple(StepLimit(timeout_s=check.timeout_s, retries=check.retries) for check in self.asked),
                cwd=path,
                env={
                    "RECONCILE_TASK": self.order.task,
                    "RECONCILE_BASE": self.spec.base,
                    **(ports.tracker.environment() if at.local else {}),
                    **self.spec.agent.env,
                },
                timeout_s=merge.timeout_s,
                why=self.reason,
                baseline=self.order.expected.head,
                base_tip=self.order.expected.base,
                tree=tree,
                heads=tuple(each.expected.head for each in self.order.whole),
                below=self.below,
                at=at,
                commit=None if at.local else commit,
                left_out=left_out(self.spec, self.asked),
            )
        )
        yield from ()


class StageChecks(StartCheck, frozen=True, kw_only=True):
    """Push exactly what would land to a staging branch, where the forge runs its own checks."""

    def perform(self, ports: Ports) -> Iterator[Change]:
        order = self.order
        ports.forge.stage(
            order,
            Run(
                id=self.run,
                task=order.task,
                manifest=self.spec.name,
                state=RunState.STARTING,
                why=self.reason,
                baseline=order.expected.head,
                base_tip=order.expected.base,
                tree=order.expected.tree,
                heads=() if self.of_the_base else tuple(each.expected.head for each in order.whole),
                below=self.below,
            ),
        )
        yield from ()


class ClearStaging(Action, frozen=True, kw_only=True):
    """Write down what the forge's checks of a staged commit came to, and delete its staging branch."""

    by_merge: ClassVar[bool] = True
    run: RunId
    exit: Exit
    remark: str = ""

    @property
    def housekeeping(self) -> bool:
        return True

    @classmethod
    def of(cls, staged: StagedCheck, seen: Run, at: datetime) -> ClearStaging:
        """Of one that is over, as it was seen; or that nothing wants any more."""
        unwanted = Exit(cause=Cause.STOPPED, at=at, stop=StopWhy.PERSON)
        why = "its checks are over" if seen.exit else "what it tested is no longer what would be merged"
        return cls(
            manifest=seen.manifest,
            task=seen.task,
            reason=Reason.CHECK_ENDED if seen.exit else Reason.STALE,
            message=f"delete {staged.branch}: {why}",
            run=seen.id,
            exit=seen.exit or unwanted,
            remark=seen.remark,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        ports.forge.clear_staging(self.run, self.exit, self.remark)
        yield from ()


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
