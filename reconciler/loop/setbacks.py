"""What went wrong lately, and for how long it rests: remembered by who acts, from one tick to the next.

A courtesy to the machine, never a fact that a decision needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime, timedelta

from msgspec import Struct, field

from reconciler.loop.causes import FailureCause
from reconciler.loop.executor import Outcome
from reconciler.model.desired import Desired, EpicSpec, LandingMode
from reconciler.model.errors import (
    BlockedError,
    ChangedError,
    ContentRefusedError,
    PermanentError,
    ReconcileError,
    RefusedError,
    TemporaryError,
    UnfitError,
)
from reconciler.model.names import RunId, RunKind, Sha, TaskId
from reconciler.model.observed import Failure, Observed, Run, Unknown, known_or
from reconciler.model.values import replace
from reconciler.planning.actions import (
    Action,
    BlockTask,
    Land,
    OpenPullRequest,
    StartAgent,
    StartCheck,
    StartReview,
    Unstack,
)
from reconciler.planning.plan import Plan

FAILURE_MOST_S = 300.0
PERMANENT_S = 600.0
LEAST_S = 1.0
RACES_MAX = 5
STARTS_MAX = 4  # of one and the same run, which was nowhere to be seen after each of them


class Setbacks(Struct, kw_only=True):
    """By subject, what went wrong at its last tries. `recalled`: what the one who acted here before has met."""

    failures: dict[TaskId, Failure] = field(default_factory=dict)
    recalled: dict[TaskId, Failure] = field(default_factory=dict)
    _lost: dict[tuple[TaskId, str], int] = field(default_factory=dict)
    _started: dict[RunId, int] = field(default_factory=dict)  # how often, for as long as it is not seen to have ended
    _delays: dict[tuple[TaskId, str], float] = field(default_factory=dict)
    _causes: dict[tuple[TaskId, str], FailureCause] = field(default_factory=dict)
    _specs: dict[str, EpicSpec] = field(default_factory=dict)  # the manifests as they were wanted last

    def remember(self, outcomes: Sequence[Outcome], clock: Callable[[], datetime]) -> bool:
        """Keep what went wrong, and for how long it rests; True where something was done."""
        done = False
        for outcome in outcomes:
            error, name = outcome.error or self._vanished(outcome.action), type(outcome.action).__name__
            # Of what was to land together it is one that can't: the others go on without it.
            subject = (error and error.about) or outcome.action.subject_id
            recalled = self.recalled.pop(subject, None)  # good for the first thing that is done for it
            if error is None:
                done = True
                # Only what went wrong is fixed by going well: a label that is set says nothing about an agent.
                # Once a person has the task it is theirs to say whether it is tried again.
                self._lost.pop((subject, name), None)
                known, handed_over = self.failures.get(subject), isinstance(outcome.action, BlockTask)
                if known:
                    self._keep(subject, None if handed_over else known.without(name))
                    self._delays.pop((subject, name), None)
                    self._causes.pop((subject, name), None)
            elif not isinstance(error, ChangedError) or self._lost_again(subject, name):
                known = self.failures.get(subject) or recalled
                failure = self._failure(subject, outcome.action, error, known.of(name) if known else None, clock())
                others = (each for each in known.each if each.action != name and not each.left) if known else ()
                self._keep(subject, Failure.joined((failure, *others)))
        return done

    def recall(self, failures: Mapping[TaskId, Failure], at: datetime) -> None:
        """Begin where the one who acted here before has ended: all that failed is tried at once, and counted on."""
        self.recalled = dict(failures)
        for subject, known in failures.items():
            # Until a push goes well every attempt hears why one was refused; what it was may have been allowed by now.
            kept = (
                replace(f, others=(), refused=None, permanent=False, left=False, until=at)
                for f in known.each
                if f.feedback
            )
            self._keep(subject, Failure.joined(kept))

    def forget(self, observed: Observed, decided: Plan) -> None:
        """Whatever went wrong, and is not due although it could be tried again, is wanted no more."""
        self._started = {run: n for run, n in self._started.items() if not _is_over(run, observed)}
        if not self.failures:
            return
        due = {(action.subject_id, type(action).__name__) for epic in decided.epics for action in epic.actions}

        worded = {subject for epic in decided.epics for subject in epic.waiting} | {subject for subject, _ in due}

        def lasts(subject: TaskId, failure: Failure) -> bool:
            if not failure.housekeeping and subject not in worded and observed.closed(subject):
                return False  # what it would advise, a retry, begins a task again that somebody has closed
            waits = failure.until > observed.at or (subject, failure.action) in due
            return waits or _still_refused(subject, failure, observed) or _still_feedback(subject, failure, observed)

        for subject, known in list(self.failures.items()):
            self._keep(subject, Failure.joined(each for each in known.each if lasts(subject, each)))

    def free(self, manifests: Set[str]) -> None:
        """Whatever of these manifests went wrong is tried at once: what they lacked is there."""
        self.failures = {subject: f for subject, f in self.failures.items() if f.manifest not in manifests}

    def notice(self, desired: Desired, at: datetime) -> None:
        """Whatever failed for something that is another by now, a file or its manifest, is tried soon."""
        specs = {spec.name: spec for spec in desired.epics}
        rewritten = {name for name, spec in self._specs.items() if name in specs and specs[name] != spec}
        self._specs = specs
        known = {(subject, each.action) for subject, failure in self.failures.items() for each in failure.each}
        self._causes = {key: cause for key, cause in self._causes.items() if key in known}
        for subject, failure in list(self.failures.items()):
            if any(each.until > at for each in failure.each):
                self._keep(subject, Failure.joined(self._sooner(subject, f, rewritten, at) for f in failure.each))

    @property
    def watched(self) -> bool:
        """True while something rests that is tried as soon as a file is another, which may announce itself to nobody."""
        return any(cause.paths for cause in self._causes.values())

    def _sooner(self, subject: TaskId, failure: Failure, rewritten: Set[str], at: datetime) -> Failure:
        key = (subject, failure.action)
        cause = self._causes.get(key, FailureCause())
        another = cause.another
        if failure.until <= at or not (another or failure.manifest in rewritten):
            return failure
        self._causes[key] = replace(cause, mended=True)
        until = min(failure.until, max(failure.at + timedelta(seconds=cause.rest_s), at))
        if another and failure.refused:  # what it holds was refused for what is not as it was
            return replace(failure, until=until, refused=None, permanent=False)
        return replace(failure, until=until)

    def _vanished(self, action: Action) -> ReconcileError | None:
        """What is wrong where a run was started that had been started before: nothing of it was left to be seen.

        What its agent has deleted can't be counted, as an attempt or against a budget, and would be started for ever.
        """
        if not isinstance(action, StartAgent | StartCheck | StartReview):
            return None
        times = self._started[action.run] = self._started.get(action.run, 0) + 1
        if times == 1:
            return None
        what = f"run {action.run} was started {times} times, and nothing was left of it: something deletes its folder"
        hint = f"see what it runs; then 'reconcile retry {action.task}'"
        return PermanentError(what, hint=hint) if times >= STARTS_MAX else TemporaryError(what, hint=hint)

    def _keep(self, subject: TaskId, failure: Failure | None) -> None:
        if failure:
            self.failures[subject] = failure
        else:
            self.failures.pop(subject, None)

    def _lost_again(self, subject: TaskId, name: str) -> bool:
        """True when a race is lost so often that it is none: the next look will not win it either."""
        self._lost[subject, name] = self._lost.get((subject, name), 0) + 1
        return self._lost[subject, name] >= RACES_MAX

    def _failure(
        self, subject: TaskId, action: Action, error: ReconcileError, again: Failure | None, at: datetime
    ) -> Failure:
        name = type(action).__name__
        permanent = isinstance(error, PermanentError)
        first = max(error.delay, LEAST_S) if isinstance(error, TemporaryError) else PERMANENT_S
        delay = min(
            max(first, 2 * self._delays.get((subject, name), 0.0)), PERMANENT_S if permanent else FAILURE_MOST_S
        )
        self._delays[subject, name] = delay
        self._causes[subject, name] = FailureCause.of(error, self._causes.get((subject, name)))
        return Failure(
            action=name,
            message=error.advised,
            since=again.since if again else at,
            at=at,
            until=at + timedelta(seconds=delay),
            manifest=action.manifest,
            tries=again.tries + 1 if again else 1,
            permanent=permanent,
            denied=isinstance(error, RefusedError),
            blocked=isinstance(error, BlockedError),
            line=_of_the_line(action, error),
            refused=_refused(action, error),
            feedback=isinstance(action, OpenPullRequest) and isinstance(error, ContentRefusedError),
            housekeeping=action.housekeeping,
        )


def _still_refused(subject: TaskId, known: Failure, observed: Observed) -> bool:
    """True while a branch still is where its content was refused: pushed again, it would be so again."""
    branch = known_or(observed.branches, {}).get(subject)
    return known.refused is not None and branch is not None and branch.head == known.refused


def _still_feedback(subject: TaskId, known: Failure, observed: Observed) -> bool:
    """True while a branch holds work that could not be pushed for what it held: what is there now was not pushed either."""
    since, branches = observed.since.get(subject), observed.branches
    if not known.feedback or (since and since.at >= known.at) or observed.closed(subject):
        return False
    return isinstance(branches, Unknown) or (subject in branches and branches[subject].ahead > 0)


def _refused(action: Action, error: ReconcileError) -> Sha | None:
    """The head whose commits were refused as they are; None where that is not what went wrong."""
    match action, error:
        case OpenPullRequest(head=head), ContentRefusedError():
            return head
        case Land(order=order) | StartCheck(order=order), UnfitError():
            return next(each.expected.head for each in order.whole if each.task == (error.about or order.task))
        case Unstack(head=head), UnfitError():
            return head
        case _:
            return None


def _of_the_line(action: Action, error: ReconcileError) -> bool:
    """True where a base of ours could not be moved, or a check not be started, and nothing says that this is on account of what
    was to land there."""
    passing = isinstance(error, TemporaryError) and not isinstance(error, ChangedError | RefusedError)
    lands = isinstance(action, Land) and action.order.how is LandingMode.CAS
    tests = isinstance(action, StartCheck) and not action.of_the_base
    return (lands or tests) and passing and error.about is None


def _is_over(id: RunId, observed: Observed) -> bool:
    """True where a run is seen to have ended."""
    runs: tuple[Run, ...] | Unknown
    match id.kind:
        case RunKind.WORK:
            runs = observed.runs if isinstance(observed.runs, Unknown) else observed.runs.get(TaskId(id.subject), ())
        case RunKind.CHECK:
            runs = observed.checks if isinstance(observed.checks, Unknown) else observed.checks.get(id.subject, ())
        case RunKind.REVIEW:
            task = TaskId(id.subject.partition("@")[0])
            runs = observed.reviews if isinstance(observed.reviews, Unknown) else observed.reviews.get(task, ())
    return not isinstance(runs, Unknown) and any(run.id == id and run.exit for run in runs)
