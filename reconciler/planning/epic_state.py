"""How a manifest stands as a whole: what holds it, what is wrong with it, which sources did not answer. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain

from reconciler.model.desired import EpicSpec, MergeMode
from reconciler.model.names import RunKind, TaskId
from reconciler.model.observed import Base, Failure, Observed, Rules, Run, Unknown
from reconciler.model.reasons import Reason
from reconciler.planning import base_checks, landing_mode
from reconciler.planning.actions import Action, Waiting, guards, hindrances
from reconciler.planning.agent_gate import Gate, ask_doctor, no_reviewer
from reconciler.planning.base_checks import broken
from reconciler.planning.check_state import SWEEP
from reconciler.planning.epic_tasks import EpicTasks
from reconciler.planning.jobs import remotes_away


def failing(
    spec: EpicSpec, actions: list[Action], waiting: Collection[TaskId], observed: Observed
) -> dict[TaskId, Failure]:
    """What went wrong at every try until now, and still is to be done: now, or when it is tried again.

    `waiting`: the tasks that wait for something. Of a closed one that does not, whatever was to be done before is over.
    """
    due = {(action.subject_id, type(action).__name__) for action in actions}
    worded = {*waiting, *(action.subject_id for action in actions if not action.housekeeping)}

    def lasts(subject: TaskId, failure: Failure) -> bool:
        if not failure.housekeeping and subject not in worded and observed.closed(subject):
            return False
        waits = (failure.until > observed.at or failure.feedback) and not failure.left
        return failure.manifest == spec.name and ((subject, failure.action) in due or waits)

    found = {
        subject: Failure.joined(each for each in known.each if lasts(subject, each))
        for subject, known in sorted(observed.failures.items())
    }
    return {subject: failure for subject, failure in found.items() if failure}


def degraded(spec: EpicSpec, observed: Observed, gate: Gate | None, paused: str | None = None) -> Waiting | None:
    """What is wrong with the manifest as a whole. `gate`: why no agent of it may start; `paused`: why its line pauses."""
    if observed.replaced:
        return Waiting(Reason.PROGRAM_REPLACED, observed.replaced)
    if gate:
        return Waiting(*gate)
    if missing := observed.reviewers_missing.get(spec.name):
        return Waiting(Reason.AGENT_UNAVAILABLE, ask_doctor(no_reviewer(missing)))
    base = observed.bases.get(spec.base)
    if isinstance(base, Base) and (word := hindrances.of_the_base(base) or hindrances.behind(base)):
        return word
    if why := broken(spec, observed):
        return Waiting(Reason.CHECK_BROKEN, why)
    if paused:
        return Waiting(Reason.QUEUE_PAUSED, paused)
    if isinstance(base, Base) and base.checkout and base.checkout.locked:
        message = f"a landing was cut off, and has locked the index of {base.checkout.path}; 'reconcile watch' or 'apply' ends it"
        return Waiting(Reason.LANDING_CUT_OFF, message)
    if isinstance(base, Base) and base.checkout and (paths := base.checkout.undoes):
        where, names = base.checkout.path, " ".join(shlex.quote(path) for path in paths[:8])
        message = f"{where}: the next commit there takes back what landed: {len(paths)} of its paths are staged as they were before"
        fixes = f"git restore --source=HEAD --staged --worktree -- {names if len(paths) <= 8 else '.'}"
        return Waiting(Reason.LANDING_UNDONE, f"{message}; '{fixes}' fixes it")
    return None


def advice(spec: EpicSpec, observed: Observed) -> Waiting | None:
    base = observed.bases.get(spec.base)
    renamed = isinstance(base, Base) and base.rules and base.rules.renamed
    if renamed:
        return Waiting(Reason.REPOSITORY_RENAMED, renamed)
    doubtful = observed.doubtful.get(spec.name)
    return Waiting(Reason.CHECK_BROKEN, doubtful) if doubtful and not base_checks.passed(spec, observed) else None


def alive(spec: EpicSpec, observed: Observed) -> tuple[Run, ...]:
    return tuple(run for run in every_alive(observed) if run.manifest == spec.name)


def every_alive(observed: Observed) -> Iterator[Run]:
    """What runs, of all manifests; nothing of a source that is silent."""
    live = observed.live
    return chain(live.agents, live.reviews, live.checks)


def limits(spec: EpicSpec, alive: Iterable[Run], now: datetime) -> Iterator[datetime]:
    """When what runs here will be past its limits. A supervisor that was stopped keeps none, and nothing announces that; nor that
    one has swept up after a run whose end it has recorded: somebody may wait for the slot, or the worktree."""
    for run in alive:
        if run.where or run.started_at is None:
            continue
        if run.exit is not None:
            yield now + max(SWEEP, abs(now - run.exit.at))
        agent = spec.reviewing if run.id.kind is RunKind.REVIEW else spec.agent
        timeout_s = spec.merge.timeout_s if run.id.kind is RunKind.CHECK else agent.timeout_s
        ends = [run.started_at + timedelta(seconds=timeout_s)]
        if run.id.kind is RunKind.WORK and agent.stuck_after_s:
            ends.append((run.last_progress_at or run.started_at) + timedelta(seconds=agent.stuck_after_s))
        yield from (at for each in ends if (at := each + guards.SWEPT) > now)


def held(epic_tasks: EpicTasks, observed: Observed) -> Waiting | None:
    """Why nothing of this manifest can be judged or done."""
    spec = epic_tasks.spec
    if word := unwritable(spec, observed):  # first: what else is silent may be so for that
        return word
    if why := observed.trackers.get(spec.name):
        return Waiting(Reason.TRACKER_UNAVAILABLE, why)
    if why := observed.forges.get(spec.name):
        return Waiting(Reason.FORGE_UNAVAILABLE, why)
    if epic_tasks.clash:
        return Waiting(Reason.EPIC_IS_WORK, epic_tasks.clash.message)
    if spec.epic and epic_tasks.epic is None:
        return Waiting(Reason.EPIC_NOT_FOUND, f"no task {spec.epic} is in the tracker: see 'reconcile task list'")
    if epic_tasks.epic and not epic_tasks.epic.closed and not epic_tasks.members and not spec.tasks:
        return Waiting(Reason.EPIC_EMPTY, f"{epic_tasks.epic.id} has no tasks")
    if isinstance(base := observed.bases.get(spec.base), Unknown):
        return Waiting(Reason.FORGE_UNAVAILABLE, base.why)
    if base and base.encoded:
        return Waiting(Reason.FILTER_MISSING, base.encoded)
    if base and base.rules and (why := forbidden(spec, base.rules)):
        return Waiting(Reason.FORGE_UNAVAILABLE, why)
    if why := _untested(spec, observed, base):
        return Waiting(Reason.FORGE_UNAVAILABLE, why)
    return None


def _untested(spec: EpicSpec, observed: Observed, base: Base | None) -> str | None:
    """Why nothing would ever be tested on a staging branch, where that is asked for."""
    if not spec.merge.staging or base is None or spec.merge.mode is MergeMode.MANUAL:
        return None
    if base.rules is None and isinstance(observed.pull_requests, Unknown):
        return None  # nobody has heard of its rules yet
    if base.rules is None:
        return (
            "'queue.staging' has GitHub's own checks test what lands, and this repository is not on GitHub: take it out"
        )
    return observed.unstaged.get(spec.name)


def unwritable(spec: EpicSpec, observed: Observed) -> Waiting | None:
    """Which folder that it has to write to takes nothing."""
    why = observed.unwritable.get(spec.name)
    return Waiting(Reason.NOT_WRITABLE, why) if why else None


def forbidden(spec: EpicSpec, rules: Rules) -> str | None:
    """What the forge's rules forbid to everybody who would land there as this manifest wants it."""
    if rules.closed:
        return rules.closed
    if spec.merge.mode is MergeMode.MANUAL:
        return None
    if why := landing_mode.forbidden(spec, rules) or landing_mode.illegible(spec, rules):
        return why
    if not rules.queue and spec.merge.method not in rules.methods:
        allowed = ", ".join(sorted(rules.methods)) or "none"
        return f"{rules.forge} allows no '{spec.merge.method}' on {spec.base}; write 'mergePolicy.method' as one of: {allowed}"
    return None


def unread(spec: EpicSpec, observed: Observed) -> Iterator[tuple[str, str]]:
    sources = {
        "runs": observed.runs,
        "checks": observed.checks,
        "worktrees": observed.worktrees,
        "branches": observed.branches,
        "forge": observed.pull_requests,
        "landings": observed.landings,
        "base": observed.bases.get(spec.base),
    }
    for name, source in sources.items():
        if isinstance(source, Unknown):
            yield name, source.why
    if why := remotes_away(spec, observed):
        yield "worktrees", why
    if why := observed.trackers.get(spec.name):
        yield "tracker", why
    if why := observed.forges.get(spec.name):
        yield "forge", why
