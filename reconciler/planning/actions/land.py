"""Landing: the base moves to what was tested, and the task is closed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from reconciler.model.desired import LandingMode
from reconciler.model.names import PrNumber, TaskId
from reconciler.model.observed import Base, Candidate, PullRequest, Task
from reconciler.model.ports import Change, LandOrder, Ports
from reconciler.model.reasons import Reason
from reconciler.planning import messages
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.actions.hindrances import hindrance
from reconciler.planning.check_state import CheckState
from reconciler.planning.job import Job
from reconciler.planning.labels import PHASES
from reconciler.planning.landing_mode import mode_of


class Land(Action, frozen=True, kw_only=True):
    """Move the base to the tested tree by compare-and-swap, then close the task."""

    by_merge: ClassVar[bool] = True
    order: LandOrder
    subject: Task
    judged: Mapping[TaskId, Mapping[str, object]] = {}  # of all that lands: its risk, and who approved it

    @property
    def evidence(self) -> Mapping[str, object]:
        expected = self.order.expected
        found: dict[str, object] = {"head": expected.head, "base": expected.base, "tree": expected.tree}
        return {**found, "judged": self.judged} if self.judged else found

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, candidate = job.open_pull, job.candidate
        if pull is None or not isinstance(candidate, Candidate) or job.offer.check_state is not CheckState.PASSED:
            return None
        return hindrance(job, candidate) or cls.of(job, order_of(job, pull, candidate))

    @classmethod
    def of(cls, job: Job, order: LandOrder, beneath: Sequence[Job] = ()) -> Land:
        """The landing of a task's work, and of all that is beneath it."""
        pull = job.open_pull
        below = f", with {messages.listed(numbers(order.beneath))} below it" if order.beneath else ""
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.CHECKS_PASSED if job.offer.subject or (pull and pull.checks) else Reason.NO_CHECKS,
            message=f"merge #{order.number} ({order.expected.head[:12]}) into {job.spec.base}{below}{_why(job)}{_how(job, order)}"
            f"{_by_chance(pull)}",
            order=order,
            judged={each.task.id: found for each in (*beneath, job) if (found := _judged(each))},
            subject=job.task,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        commit = ports.forge.land(self.order)
        # What was beneath it is closed as what has landed: all of it with the next look, in one go.
        yield closing(self.subject, messages.close_reason(self.order.number, commit), self.order.number)


def closing(task: Task, why: str, number: PrNumber | None) -> Change:
    """Close a landed task; `phase:merged` is written together with the close, and only then.

    The start of a repair took the label of its pull request away: a hint may not outlive the run that gave it.
    """
    numbers = frozenset() if number is None else frozenset({f"pr:{number}"})
    others = {label for label in task.labels if label.startswith("pr:")} - numbers if numbers else set()
    return Change(
        task=task.id,
        expect_status=frozenset({task.status}),
        status="closed",
        close_reason=why,
        add_labels=numbers | {"phase:merged"},
        remove_labels=frozenset(set(PHASES) - {"phase:merged"}) & task.labels
        | {label for label in task.labels if label == "needs-human"}
        | others,
    )


def _judged(job: Job) -> Mapping[str, object] | None:
    risk, pull = job.offer.reviewing.judged, job.open_pull
    person = pull is not None and pull.approved == pull.head
    yes = {"person": person, "agent": job.offer.reviewing.approved_by_agent}
    yeses = [who for who, given in yes.items() if given]
    return {"head": pull.head, "risk": risk, "approvedBy": yeses} if pull and risk else None


def _why(job: Job) -> str:
    """How much could have gone wrong with it, and who approved it, where that was asked."""
    offer, pull = job.offer.reviewing, job.open_pull
    if offer.judged is None or pull is None:
        return ""
    person, agent = pull.approved == pull.head, offer.approved_by_agent
    who = "a person approved" if person else "its reviewer approved" if agent else "nobody is asked"
    return f" (risk {offer.judged['level']}: {'; '.join(offer.judged['reasons'])}; {who})"


def _how(job: Job, order: LandOrder) -> str:
    """By whose hand, where a forge could do it too."""
    elsewhere = isinstance(job.base, Base) and job.base.rules
    return ", by a push of what was tested" if elsewhere and order.how is LandingMode.CAS else ""


def _by_chance(pull: PullRequest | None) -> str:
    """What stays in the log of checks that fail now and then."""
    flaky = ", ".join(pull.rerun.names) if pull and pull.rerun else ""
    return f"; flaky: {flaky} passed only when it was run again" if flaky else ""


def order_of(job: Job, pull: PullRequest, candidate: Candidate) -> LandOrder:
    """How a task's work lands as this candidate."""
    return LandOrder(
        task=job.task.id,
        number=pull.number,
        title=messages.title(job.task),
        body=messages.landed_body(job.task),
        expected=candidate,
        base=job.spec.base,
        method=job.spec.merge.method,
        how=mode_of(job.spec, job.base) if isinstance(job.base, Base) else LandingMode.CAS,
        says=job.spec.merge.message,
        # One line per base: where one of its manifests pushes, what lands is measured against the remote, and pushed.
        push=job.spec.merge.push or (isinstance(job.base, Base) and job.base.remote is not None),
    )


def numbers(orders: Sequence[LandOrder]) -> list[str]:
    return [f"#{order.number}" for order in orders]
