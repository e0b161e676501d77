"""What keeps work from landing that has passed its checks and that nobody has to be asked about."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.model.desired import LandingMode
from reconciler.model.observed import Base, Candidate, PullRequest
from reconciler.model.reasons import Reason
from reconciler.planning.actions.base import Waiting
from reconciler.planning.forge_checks import LOOK_AGAIN
from reconciler.planning.job import Job

SETTLES_WITHIN = timedelta(minutes=1)
DOUBTS_AFTER = timedelta(minutes=5)


def hindrance(job: Job, candidate: Candidate) -> Waiting | None:
    """What keeps offered work from landing although it has passed and nobody has to be asked."""
    pull = job.open_pull
    if pull is None:
        return None
    return _blocked(job) or _by_hand(job, pull) or _withheld(job, pull) or _obstacle(job, candidate)


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


def of_the_base(base: Base) -> Waiting | None:
    """What keeps everything from landing on a base, whatever it is."""
    if base.frozen:
        return Waiting(Reason.BASE_FROZEN, base.frozen)
    return Waiting(Reason.BASE_DIVERGED, base.diverged) if base.diverged else None


def behind(base: Base) -> Waiting | None:
    """That a base is older than what was fetched for it, and how a person brings it forward."""
    if not base.fetched:
        return None
    forward = f"merge --ff-only {base.fetched}" if base.checkout else f"fetch . {base.fetched}:{base.name}"
    message = f"{base.name} is behind {base.fetched}, which has been fetched; 'git {forward}' brings it forward"
    return Waiting(Reason.BASE_BEHIND, message)


def _obstacle(job: Job, candidate: Candidate) -> Waiting | None:
    base = job.base
    if not isinstance(base, Base):
        return Waiting(Reason.UNKNOWN, f"{job.spec.base} can't be seen")
    if word := of_the_base(base):
        return word
    if base.checkout is None:
        return None
    if base.checkout.busy:
        return Waiting(
            Reason.CHECKOUT_IN_THE_WAY,
            f"{base.checkout.path} is in the middle of a {base.checkout.busy}; finish it, or abort it",
        )
    touched = overlap(base.checkout.dirty or frozenset(), candidate.changed)
    if touched:
        names = ", ".join(touched[:5])
        return Waiting(
            Reason.CHECKOUT_IN_THE_WAY,
            f"{base.checkout.path} has uncommitted changes to files that merging it would change: {names}; "
            "commit them, stash them or move them away",
        )
    return None


def overlap(dirty: frozenset[str], changed: frozenset[str]) -> list[str]:
    """The dirty paths that a landing changes, or stands above or below."""
    above = {path[:i] for path in changed for i, letter in enumerate(path) if letter == "/"}
    hit = {path for path in dirty if path in changed or path in above}
    hit |= {path for path in dirty if any(path[:i] in changed for i, letter in enumerate(path) if letter == "/")}
    return sorted(hit)
