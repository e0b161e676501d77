"""The way to the base: a person's approval where one is needed, the checks on the merged tree, then the landing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from reconciler.model.desired import EpicSpec, LandingMode, Review
from reconciler.model.names import PrNumber, RunId, RunKind, Sha
from reconciler.model.observed import Base, Candidate, PullRequest, Run, Task, Unknown
from reconciler.model.ports import Change, LandOrder, Ports, RunSpec
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.model.verdicts import ReviewWord
from reconciler.planning import base_checks, messages, reviews
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.check_state import CheckState, over_soon
from reconciler.planning.forge_checks import LOOK_AGAIN
from reconciler.planning.job import Job
from reconciler.planning.labels import PHASES
from reconciler.planning.landing_mode import mode_of

SETTLES_WITHIN = timedelta(minutes=1)
LISTED_MAX = 6
DOUBTS_AFTER = timedelta(minutes=5)


def asks_when_green(job: Job) -> Waiting | None:
    """A person is asked about what is green: once the checks of this very head have passed, on whichever base.

    A change to what checks it proves nothing by passing; nor is it run before somebody has read it.
    """
    return asks_a_person(job) if job.offer.green_once or job.offer.protected else None


def asks_a_person(job: Job) -> Waiting | None:
    """What keeps offered work from landing that people say about it, or have yet to say."""
    return unresolved(job) or unapproved(job)


def pr_on_hold(job: Job) -> Waiting | None:
    """Offered work that a person keeps from landing by what they did to its pull request, or that the forge has taken."""
    pull = job.open_pull
    if pull is None:
        return None
    # That another manifest lands there makes it no work for there.
    away = pull.base not in (None, job.spec.base) and f"is on its way to {pull.base}, where somebody has put it"
    why = pull.aside or away
    return Waiting(Reason.SET_ASIDE, f"#{pull.number} {why}") if why else None


def unresolved(job: Job) -> Waiting | None:
    """Conversations that its agent has answered, or that are for people: the one who began one says when it is settled."""
    pull = job.open_pull
    if pull is None or not job.offer.discussion.open:
        return None
    where = f" at {pull.url}" if pull.url else ""
    answered = (
        f"answered in attempt {job.attempts.last.attempt}; " if job.attempts.last and job.attempts.last.heard else ""
    )
    who = (
        "the one who began it resolves it, or approves"
        if len(job.offer.discussion.open) == 1
        else "the one who began them resolves them, or approves"
    )
    return Waiting(Reason.AWAITING_REVIEW, f"{job.offer.discussion.awaited} is open{where}; {answered}{who}")


def unapproved(job: Job) -> Waiting | None:
    """Work that a person has to say yes to, pinned to its head."""
    if job.open_pull is None or job.offer.approved:
        return None
    offer = job.offer.reviewing
    if job.offer.protected and offer.asks is not Review.HUMAN:
        paths = ", ".join(job.offer.protected[:5])
        message = f"changes protected paths ({paths}); its checks run only after 'reconcile approve {job.task.id}'"
        return Waiting(Reason.PROTECTED_PATHS, message)
    if offer.asks is Review.AGENT and not offer.verdict and not offer.given_up:
        return Waiting(Reason.REVIEW_DUE, "its reviewer is asked once its checks have passed")
    message = f"waiting for approval of {job.open_pull.head[:12]}{_because(job)}; approve with 'reconcile approve {job.task.id}'"
    return Waiting(Reason.AWAITING_APPROVAL, message)


def _because(job: Job) -> str:
    """Why a person is asked, where that is not so for every change."""
    offer, policy = job.offer.reviewing, job.spec.merge.review
    said = f"'{reviews.in_short(offer.verdict)}'" if offer.verdict else ""
    if offer.changes_requested:
        answer = f", and its agent the last time: '{words}'" if (words := _last_words(job)) else ""
        times = f"{job.spec.merge.review_rounds} rounds" if job.spec.merge.review_rounds != 1 else "one round"
        return f": after {times} its reviewer says: {said}{answer}; or send it back with 'reconcile reject {job.task.id} -m TEXT'"
    if offer.given_up:
        return f": {len(offer.failures)} reviews came to nothing ({reviews.why_it_failed(offer.failures[-1])}; 'reconcile logs {offer.failures[-1].id}')"
    if offer.verdict and offer.verdict.verdict is ReviewWord.PERSON:
        return f": its reviewer leaves it to a person: {said}"
    if offer.risk is None or policy.each == (Review.HUMAN,) * 3:
        return ""
    if offer.level is not offer.risk.level:
        return f": its reviewer calls its risk {offer.level}: {said}"
    return f" (risk {offer.level}: {'; '.join(offer.risk.reasons)})"


def _last_words(job: Job) -> str:
    report = job.attempts.last.report if job.attempts.last else None
    return " ".join(messages.clean(report.message).split())[: reviews.SUMMARY_MAX] if report else ""


class StartCheck(Action, frozen=True, kw_only=True):
    """Run the manifest's checks on exactly the tree that would land, in a clean worktree."""

    by_merge: ClassVar[bool] = True
    spec: EpicSpec
    order: LandOrder
    n: int
    below: Sha | None = None  # the tree without the topmost; None: the base's own
    of_the_base: bool = False  # as it is: it tells whose fault it is that others failed

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
                until = over_soon(job.offer.checks_last, job.now)
                return Waiting(Reason.CHECKS_RUNNING, f"checks running on the merged tree {candidate.tree[:12]}", until)
            case CheckState.NONE if job.offer.subject is None:
                return Waiting(
                    Reason.CHECKS_PENDING, "no checks are configured, and 'noChecks: block' merges nothing without them"
                )
            case CheckState.NONE:
                return cls.together(job, order_of(job, pull, candidate), None, job.checks)
            case CheckState.FAILED:
                return cls._of_the_base(job, pull) or (
                    cls.together(job, order_of(job, pull, candidate), None, job.checks)
                    if job.offer.asked_again
                    else None
                )
            case _:
                return None

    @classmethod
    def together(cls, job: Job, order: LandOrder, below: Sha | None, before: tuple[Run, ...] | Unknown) -> StartCheck:
        """The checks of a task's work on the base, with all that is beneath it; `below`: the tree of that alone."""
        again = f" again: failed {_times(len(job.offer.reds))}" if job.offer.reds and not order.beneath else ""
        message = (
            f"run checks for #{order.number} (merged with {_listed([job.spec.base, *_numbers(order.beneath)])}){again}"
        )
        return cls._of(job, Reason.CHECKS_PENDING, message, order, before, below)

    @classmethod
    def _of_the_base(cls, job: Job, pull: PullRequest) -> Decision:
        """Whose fault it is that the checks failed: asked once of the base as it is, before an agent is blamed."""
        base, tree = job.base_head, job.base_tree
        if base is None or tree is None or isinstance(tree, Unknown) or job.offer.base_state is CheckState.UNKNOWN:
            return Waiting(Reason.UNKNOWN, f"can't tell whether {job.spec.base} passes the checks that failed")
        match job.offer.base_state:
            case CheckState.RUNNING:
                message = f"checks failed for #{pull.number}; running them on {job.spec.base} alone"
                return Waiting(Reason.CHECKS_RUNNING, message, over_soon(job.offer.base_checks_last, job.now))
            case CheckState.FAILED:
                return Waiting(Reason.CHECK_BROKEN, base_checks.not_its_fault(job.spec, job.offer.base_checks_last))
            case CheckState.NONE:
                order = order_of(job, pull, Candidate(base=base, head=base, tree=tree))
                message = f"run checks on {job.spec.base} alone: they failed for #{pull.number}"
                return replace(cls._of(job, Reason.CHECKS_FAILED, message, order, job.base_checks), of_the_base=True)
            case _:
                return None

    @classmethod
    def _of(
        cls,
        job: Job,
        reason: Reason,
        message: str,
        order: LandOrder,
        before: tuple[Run, ...] | Unknown,
        below: Sha | None = None,
    ) -> StartCheck:
        """One more run after those that there were `before` on the same tree."""
        n = max((run.id.n for run in before), default=0) + 1 if isinstance(before, tuple) else 1
        task, spec = job.task.id, job.spec
        return cls(
            manifest=spec.name, task=task, reason=reason, message=message, spec=spec, order=order, n=n, below=below
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        merge, expected = self.spec.merge, self.order.expected
        tree = expected.tree
        subject = self.spec.subject_of(tree)
        commit = expected.base if self.of_the_base else ports.forge.candidate_commit(self.order)
        path = ports.workspaces.create_check(subject, self.spec.worktrees.root, commit)
        ports.runner.start(
            RunSpec(
                id=RunId(RunKind.CHECK, subject, self.n),
                task=self.order.task,
                manifest=self.spec.name,
                steps=tuple(("/bin/sh", "-c", command) for command in merge.checks),
                cwd=path,
                env={
                    "RECONCILE_TASK": self.order.task,
                    "RECONCILE_BASE": self.spec.base,
                    **ports.tracker.environment(),
                    **self.spec.agent.env,
                },
                timeout_s=merge.timeout_s,
                why=self.reason,
                baseline=self.order.expected.head,
                base_tip=self.order.expected.base,
                tree=tree,
                heads=tuple(each.expected.head for each in self.order.whole),
                below=self.below,
            )
        )
        yield from ()


class Land(Action, frozen=True, kw_only=True):
    """Move the base to the tested tree by compare-and-swap, then close the task."""

    by_merge: ClassVar[bool] = True
    order: LandOrder
    subject: Task

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.order.expected.head, "base": self.order.expected.base, "tree": self.order.expected.tree}

    @classmethod
    def due(cls, job: Job) -> Decision:
        pull, candidate = job.open_pull, job.candidate
        if pull is None or not isinstance(candidate, Candidate) or job.offer.check_state is not CheckState.PASSED:
            return None
        return hindrance(job, candidate) or cls.of(job, order_of(job, pull, candidate))

    @classmethod
    def of(cls, job: Job, order: LandOrder) -> Land:
        """The landing of a task's work, and of all that is beneath it."""
        pull = job.open_pull
        beneath = f", with {_listed(_numbers(order.beneath))} below it" if order.beneath else ""
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason=Reason.CHECKS_PASSED if job.offer.subject or (pull and pull.checks) else Reason.NO_CHECKS,
            message=f"merge #{order.number} ({order.expected.head[:12]}) into {job.spec.base}{beneath}{_how(job, order)}"
            f"{_by_chance(pull)}",
            order=order,
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


def hindrance(job: Job, candidate: Candidate) -> Waiting | None:
    """What keeps offered work from landing although it has passed and nobody has to be asked."""
    pull = job.open_pull
    if pull is None:
        return None
    return _blocked(job) or _by_hand(job, pull) or _withheld(job, pull) or _obstacle(job, candidate)


def _numbers(orders: Sequence[LandOrder]) -> list[str]:
    return [f"#{order.number}" for order in orders]


def _listed(names: Sequence[str]) -> str:
    """`main, #1 and #2`; of many, the first and how many more."""
    *most, last = (
        names if len(names) <= LISTED_MAX else [*names[: LISTED_MAX - 1], f"{len(names) - LISTED_MAX + 1} more"]
    )
    return f"{', '.join(most)} and {last}" if most else last


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _how(job: Job, order: LandOrder) -> str:
    """By whose hand, where a forge could do it too."""
    elsewhere = isinstance(job.base, Base) and job.base.rules
    return ", by a push of what was tested" if elsewhere and order.how is LandingMode.CAS else ""


def _by_chance(pull: PullRequest | None) -> str:
    """What stays in the log of checks that fail now and then."""
    flaky = ", ".join(pull.rerun.names) if pull and pull.rerun else ""
    return f"; flaky: {flaky} passed only when it was run again" if flaky else ""


def _blocked(job: Job) -> Waiting | None:
    """A dependency that somebody added while the work was under way: what it waits for is to be there first."""
    by = ", ".join(job.blocked_by)
    return Waiting(Reason.BLOCKED, f"blocked by {by}; merges once that is closed") if by else None


def _by_hand(job: Job, pull: PullRequest) -> Waiting | None:
    """What a person merges: as the manifest says, until one says 'now', or because their forge lets nobody else."""
    rules = job.base.rules if isinstance(job.base, Base) else None
    if rules and rules.queue and job.spec.merge.landing not in (LandingMode.AUTO, LandingMode.QUEUE):
        return Waiting(Reason.AWAITING_MERGE, f"ready to be merged by a person: {rules.queue}")
    if not job.offer.manual:
        return None
    by_hand = pull.url or f"'git merge {pull.head[:12]}'"
    return Waiting(Reason.AWAITING_MERGE, f"ready to merge: 'reconcile merge', or {by_hand}")


def _withheld(job: Job, pull: PullRequest) -> Waiting | None:
    """What the forge wants beside green checks, and only people can give."""
    if pull.withheld is None or _worth_asking(job, pull):
        return None
    return Waiting(Reason.AWAITING_APPROVAL, f"the forge won't merge #{pull.number} yet: {pull.withheld}", _soon(job))


def _worth_asking(job: Job, pull: PullRequest) -> bool:
    """True where the forge's own 'not yet' may be stale: it has stayed for minutes, with all that is seen being as it should.

    Only of what was tested as it would land: what is asked for is done.
    """
    return pull.doubted and not job.offer.needs_base and job.now >= _doubted_from(job, pull)


def _doubted_from(job: Job, pull: PullRequest) -> datetime:
    known = (at for at in (pull.settled_at, pull.seen_at) if at and at <= job.now)
    return max(known, default=job.now) + DOUBTS_AFTER


def _soon(job: Job) -> datetime | None:
    """When to look again at what the forge may not have worked out yet."""
    pull = job.open_pull
    if pull is None:
        return None
    fresh = pull.settled_at and job.now - pull.settled_at < SETTLES_WITHIN
    asked_at = _doubted_from(job, pull) if pull.doubted and not job.offer.needs_base else None
    return job.now + LOOK_AGAIN if fresh else asked_at


def _obstacle(job: Job, candidate: Candidate) -> Waiting | None:
    base = job.base
    if not isinstance(base, Base):
        return Waiting(Reason.UNKNOWN, f"{job.spec.base} can't be seen")
    if base.frozen:
        return Waiting(Reason.BASE_FROZEN, base.frozen)
    if base.diverged:
        return Waiting(Reason.BASE_DIVERGED, base.diverged)
    if base.checkout is None:
        return None
    if base.checkout.busy:
        return Waiting(Reason.CHECKOUT_IN_THE_WAY, f"{base.checkout.path} is in the middle of a {base.checkout.busy}")
    touched = overlap(base.checkout.dirty or frozenset(), candidate.changed)
    if touched:
        names = ", ".join(touched[:5])
        return Waiting(
            Reason.CHECKOUT_IN_THE_WAY,
            f"{base.checkout.path} has uncommitted changes to files that merging it would change: {names}",
        )
    return None


def overlap(dirty: frozenset[str], changed: frozenset[str]) -> list[str]:
    """The dirty paths that a landing changes, or stands above or below."""
    above = {path[:i] for path in changed for i, letter in enumerate(path) if letter == "/"}
    hit = {path for path in dirty if path in changed or path in above}
    hit |= {path for path in dirty if any(path[:i] in changed for i, letter in enumerate(path) if letter == "/")}
    return sorted(hit)


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
