"""What the checks that a forge ran say about a head, under its rules and the manifest's. Pure.

No check at all is not green, and neither is one that was asked for and has not shown up: between a push and the first
check there is a moment in which everything looks fine. And one red run is not red: where the forge can run it again, it
is, once, before an agent is sent to fix what may have been chance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.model.checks import STAGING
from reconciler.model.desired import MergePolicy, NoChecks
from reconciler.model.observed import CheckResult, ForgeCheck, PullRequest, Rules, StagedCheck
from reconciler.model.values import replace

LOOK_AGAIN = timedelta(seconds=15)
SHOWS_UP_WITHIN = timedelta(minutes=10)
NONE_WITHIN = timedelta(seconds=30)
NEXT_WITHIN = timedelta(seconds=10)  # after the end of one check, for another that waits for it
STARTS_WITHIN = timedelta(minutes=2)  # after it was asked to run again; else that went astray
ASKED_MAX = 3
OVER_WITHIN = timedelta(hours=1)  # after the end of one check, for the rest of its workflow
OUTAGE_WITHIN = timedelta(minutes=30)
OUTAGE_FROM = 3  # pull requests that a check fails on one after the other, and none that it passes on
NAMED_MAX = 5
_NOT_GREEN = (CheckResult.FAILED, CheckResult.VOID)


class ForgeVerdict(Struct, frozen=True):
    """What a forge's checks come to. `until`: by then they may say more, without a person. `again`: the workflows that
    are to be run once more before it counts. `inherited`: what fails did so where the head left its base, and no longer does
    on the base as it is.
    """

    result: CheckResult
    message: str = ""
    until: datetime | None = None
    again: tuple[int, ...] = ()
    inherited: bool = False


GREEN = ForgeVerdict(CheckResult.PASSED)


def judged(
    pull: PullRequest, rules: Rules | None, policy: MergePolicy, now: datetime, outages: Collection[str] = ()
) -> ForgeVerdict:
    """What is known about the head of a pull request; always green on a forge that runs no checks."""
    if pull.checks is None:
        return GREEN
    # What the manifest requires of what is staged, a head need not have: rules ask for it there, or nobody does.
    named = policy.required_checks if policy.staging else ()
    required = (() if policy.staging else policy.required_checks) or (rules.required if rules else ())
    checks = tuple(c for c in pull.checks if not named or c.name in (*named, *required))
    since = min(pull.seen_at or now, now)
    if pull.unseen:
        # Our own checks decide where the forge's need not be asked; a check that can't be read is not green.
        unread = ForgeVerdict(CheckResult.VOID, f"its checks can't be read: {pull.unseen}")
        return GREEN if policy.tests and not required else unread
    mute = f" ({rules.mute})" if rules and rules.mute else ""
    apps = rules.apps if rules and (policy.staging or not policy.required_checks) else {}
    if required:
        found = _required(required, _by_their_apps(checks, apps), since, now, mute)
    elif checks:
        found = _whatever_shows(checks, pull.settled_at, since, now)
    else:
        found = _none(policy, since, now, mute)
    bad = [c for c in checks if c.result in _NOT_GREEN and (c.name in required or not required)]
    failed = {check.name for check in bad if check.result is CheckResult.FAILED}
    if found.result not in _NOT_GREEN or not bad:
        return found
    if failed and rules and failed <= rules.red:
        # Nobody's fault: only what is green, and so fixes the base, goes on.
        return ForgeVerdict(CheckResult.VOID, f"red on the base itself, which is to be fixed first: {_named(failed)}")
    if failed and rules and failed <= rules.red | pull.red_beneath:
        # Run again as it is, it would fail again; and no agent has anything to mend in it.
        words = f"red where it left its base, which was fixed since: {_named(failed - rules.red)}"
        return ForgeVerdict(CheckResult.VOID, words, inherited=True)
    if failed and failed <= set(outages):
        return ForgeVerdict(
            CheckResult.VOID,
            f"{_named(failed)} fails on {OUTAGE_FROM} pull requests or more and passes on none: an outage?",
            now + LOOK_AGAIN,
        )
    return _run_twice(found, bad, pull, now)


def of_staged(staged: StagedCheck, policy: MergePolicy, rules: Rules | None, now: datetime) -> ForgeVerdict:
    """What is known about exactly the commit that was pushed to a staging branch. None at all is never green there."""
    found, since = _of_staged(staged, policy, rules, now), staged.run.started_at
    overdue = since is not None and now - since > timedelta(seconds=policy.timeout_s)
    if found.result is not CheckResult.PENDING or not overdue:
        return found
    long = f"{policy.timeout_s / 60:.0f} minutes"
    return ForgeVerdict(CheckResult.VOID, f"{found.message}, after {long}: is there a machine for it?")


def _of_staged(staged: StagedCheck, policy: MergePolicy, rules: Rules | None, now: datetime) -> ForgeVerdict:
    required = policy.required_checks or (rules.required if rules else ())
    since = min(staged.run.started_at or now, now)
    mute = f" ({rules.mute})" if rules and rules.mute else ""
    if staged.unseen:
        return ForgeVerdict(CheckResult.VOID, f"its checks can't be read: {staged.unseen}")
    if required:
        apps = rules.apps if rules and not policy.required_checks else {}
        return _required(required, _by_their_apps(staged.checks, apps), since, now, mute)
    if staged.checks:
        return _whatever_shows(staged.checks, staged.settled_at, since, now)
    if now - since <= SHOWS_UP_WITHIN:
        return ForgeVerdict(CheckResult.PENDING, "no check is there yet", now + LOOK_AGAIN)
    return ForgeVerdict(
        CheckResult.VOID,
        f"no check was there after {SHOWS_UP_WITHIN.seconds // 60} minutes{mute}: does a workflow run on 'push' to '{STAGING}**'?",
    )


def outages(pulls: Iterable[PullRequest], now: datetime) -> frozenset[str]:
    """The checks that failed on one pull request after the other lately, and since then passed on none."""
    lately: dict[str, list[tuple[datetime, CheckResult]]] = {}
    for pull in pulls:
        if pull.settled_at is None or abs(now - pull.settled_at) > OUTAGE_WITHIN:
            continue
        for check in pull.checks or ():
            lately.setdefault(check.name, []).append((pull.settled_at, check.result))
    return frozenset(name for name, ends in lately.items() if _only_failures(ends))


def _only_failures(ends: Sequence[tuple[datetime, CheckResult]]) -> bool:
    failed = [at for at, result in ends if result is CheckResult.FAILED]
    passed = [at for at, result in ends if result is CheckResult.PASSED]
    return len(failed) >= OUTAGE_FROM and not any(at >= min(failed) for at in passed)


def _run_twice(found: ForgeVerdict, bad: Sequence[ForgeCheck], pull: PullRequest, now: datetime) -> ForgeVerdict:
    rerun = pull.rerun
    workflows = {check.workflow for check in bad if check.workflow is not None}
    others = any(check.workflow is None for check in bad if check.result is CheckResult.FAILED)
    astray = rerun is not None and any(check.number in rerun.after for check in bad)
    if rerun and astray and timedelta() <= now - rerun.at < STARTS_WITHIN:
        return ForgeVerdict(
            CheckResult.PENDING, f"to run again: {_named(check.name for check in bad)}", now + LOOK_AGAIN
        )
    if workflows and not others and (rerun is None or (astray and rerun.times < ASKED_MAX)):
        message = f"{found.message}; it runs once more, as that may be chance"
        if rest := _at_work(workflows, pull, now):
            return ForgeVerdict(
                CheckResult.PENDING, f"{message}, once its workflow is over: {_named(rest)}", now + LOOK_AGAIN
            )
        return ForgeVerdict(CheckResult.PENDING, message, again=tuple(sorted(workflows)))
    if rerun and rerun.names and found.result is CheckResult.FAILED and not astray:
        return replace(found, message=f"{found.message} (also when it was run again)")
    return found


def _at_work(workflows: Collection[int | None], pull: PullRequest, now: datetime) -> list[str]:
    """What still runs in these workflows: the forge runs nothing of one again before all of it is over.

    One that waits for a person, or for a machine that nobody has, is not waited for.
    """
    if pull.settled_at and now - pull.settled_at > OVER_WITHIN:
        return []
    return [c.name for c in pull.checks or () if c.workflow in workflows and c.result is CheckResult.PENDING]


def _required(
    names: Sequence[str], checks: Iterable[ForgeCheck], since: datetime, now: datetime, mute: str
) -> ForgeVerdict:
    there = [check for check in checks if check.name in names]
    absent = tuple(name for name in names if name not in {check.name for check in there})
    if any(check.result is CheckResult.FAILED for check in there) or not absent:
        return _all(there, now)
    if now - since > SHOWS_UP_WITHIN:
        return ForgeVerdict(
            CheckResult.VOID,
            f"required, and not there after {SHOWS_UP_WITHIN.seconds // 60} minutes: {_named(absent)}"
            f"{mute or ' (renamed, or kept away by a path filter?)'}",
        )
    return ForgeVerdict(CheckResult.PENDING, f"not there yet: {_named(absent)}", now + LOOK_AGAIN)


def _by_their_apps(checks: Iterable[ForgeCheck], apps: Mapping[str, frozenset[int]]) -> tuple[ForgeCheck, ...]:
    """Without those of a name that only other apps may report. Of a status nobody can tell who reported it."""
    return tuple(c for c in checks if c.app is None or c.app in apps.get(c.name, (c.app,)))


def _whatever_shows(
    checks: Sequence[ForgeCheck], settled_at: datetime | None, since: datetime, now: datetime
) -> ForgeVerdict:
    """Where nobody says which checks there are: green only once those that are slow to show up had the time to."""
    found = _all(checks, now)
    ended = timedelta() <= now - settled_at < NEXT_WITHIN if settled_at else False
    if found.result is not CheckResult.PASSED or (now - since > NONE_WITHIN and not ended):
        return found
    return ForgeVerdict(CheckResult.PENDING, "all green so far, others may still show up", now + LOOK_AGAIN)


def _all(checks: Sequence[ForgeCheck], now: datetime) -> ForgeVerdict:
    by = {result: [check for check in checks if check.result is result] for result in CheckResult}
    if failed := by[CheckResult.FAILED]:
        return ForgeVerdict(CheckResult.FAILED, "; ".join(map(_described, failed[:NAMED_MAX])))
    if pending := by[CheckResult.PENDING]:
        names = _named(check.name for check in pending)
        return ForgeVerdict(CheckResult.PENDING, f"{len(pending)} of {len(checks)} not over: {names}", now + LOOK_AGAIN)
    if void := by[CheckResult.VOID]:
        return ForgeVerdict(
            CheckResult.VOID, f"ended without a verdict: {_named(check.name for check in void)}; run them again"
        )
    return GREEN


def _none(policy: MergePolicy, since: datetime, now: datetime, mute: str) -> ForgeVerdict:
    if now - since <= NONE_WITHIN:
        return ForgeVerdict(CheckResult.PENDING, "no check is there yet", now + LOOK_AGAIN)
    if policy.tests or policy.no_checks is NoChecks.ALLOW:
        return GREEN  # those that we run ourselves are left, or the manifest wants none
    return ForgeVerdict(
        CheckResult.VOID,
        f"no check runs on it{mute}, and none is not green: write 'mergePolicy.checks', or 'noChecks: allow'",
    )


def _described(check: ForgeCheck) -> str:
    parts = (check.name, f"({check.url})" if check.url else "", f"- {check.summary}" if check.summary else "")
    return " ".join(part for part in parts if part)


def _named(names: Iterable[str]) -> str:
    listed = sorted(set(names))
    return ", ".join(listed[:NAMED_MAX]) + (" …" if len(listed) > NAMED_MAX else "")
