"""The fields of a manifest, each once: its name in code and in YAML, how it is read and written, and what loosens it.

A field that is added later needs a value here for manifests that were recorded before it.
"""

from __future__ import annotations

from typing import Any

from reconciler.manifest.kinds import (
    ABSOLUTE,
    COUNT,
    KEY,
    NAMED,
    NUMBER,
    SECONDS,
    SIZE,
    SWITCH,
    TASK_ID,
    TEXT,
    TEXTS,
    Kind,
    Table,
    exactly,
    later,
    listed,
    mapping,
    nested,
    one_of,
    or_auto,
    or_none,
    plain_of,
    values,
)
from reconciler.manifest.loosening import (
    added,
    always,
    asks_less,
    dropped,
    longer,
    milder,
    more,
    narrower,
    never,
    not_continued,
    towards,
    turned_off,
    turned_on,
)
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec, Override
from reconciler.model.checks import Check
from reconciler.model.desired import (
    Budget,
    Comments,
    ForgeKind,
    InlineTask,
    LandingMode,
    MergeMethod,
    MergeMode,
    MergePolicy,
    NoChecks,
    OnConflict,
    Prune,
    SquashMessage,
    TrackerKind,
    WorktreeSpec,
)
from reconciler.model.notify import Notify, Telling
from reconciler.model.review_by_risk import Review, ReviewByRisk, RiskLevel
from reconciler.model.venue import Venue, VenueKind


def _check(value: Any) -> Check:
    """A command, or one with its limits."""
    return Check(value) if isinstance(value, str) else Check(**values(_CHECK, value))


def _check_written(check: Check) -> str | dict[str, Any]:
    """Only what differs from the defaults: what is recorded can be applied again."""
    given = {key: value for key, value in plain_of(_CHECK, check).items() if value}
    return check.run if list(given) == ["run"] else given


def _without(plain: dict[str, Any], *unsaid: object) -> dict[str, Any]:
    """Without what it does not say: what is recorded can be applied again."""
    return {key: value for key, value in plain.items() if value not in unsaid}


def _venue_written(at: Venue) -> dict[str, Any]:
    left_out = {"hosts", "perHost"} if at.kind is VenueKind.SLURM else set()
    return {key: value for key, value in plain_of(_RUNNER, at).items() if key not in left_out}


def _review(value: Any) -> ReviewByRisk:
    """One word for every change, or one for each risk."""
    if isinstance(value, str):
        return ReviewByRisk.always(Review(value))
    return ReviewByRisk(**{level: Review(TEXT.read(review)) for level, review in _all_of(_LEVELS, value).items()})


def _review_written(review: ReviewByRisk) -> str | dict[str, str]:
    one, *others = set(review.each)
    return dict(zip(_LEVELS, map(str, review.each), strict=True)) if others else str(one)


def _all_of(names: tuple[str, ...], value: Any) -> dict[str, Any]:
    found = mapping(value)
    if tuple(sorted(found)) != tuple(sorted(names)):
        raise ValueError(f"{', '.join(found) or 'nothing'} does not belong here")
    return found


_LEVELS = tuple(map(str, RiskLevel))
_CHECK: Table = {
    "run": ("run", TEXT, never),
    "timeout_s": ("timeout", later(or_none(SECONDS), None), never),
    "retries": ("retries", later(COUNT, 0), never),
    "paths": ("paths", later(TEXTS, ()), never),
}
_CHECKS = listed(Kind(_check, _check_written))
TASK: Table = {
    "key": ("key", KEY, never),
    "title": ("title", TEXT, never),
    "description": ("description", TEXT, never),
    "acceptance": ("acceptance", TEXT, never),
    "priority": ("priority", COUNT, never),
    "labels": ("labels", TEXTS, never),
    "depends_on": ("dependsOn", TEXTS, never),
}
_RUNNER: Table = {
    "kind": ("kind", one_of(VenueKind), always),
    "remote": ("remote", TEXT, always),
    "scratch": ("scratch", TEXT, always),
    "sync_s": ("sync", SECONDS, always),
    "lease_s": ("lease", SECONDS, always),
    "options": ("options", TEXTS, always),
    "hosts": ("hosts", later(TEXTS, ()), always),
    "per_host": ("perHost", later(COUNT, 4), always),
}
_WHERE = Kind(
    lambda value: Venue() if value == VenueKind.LOCAL else Venue(**values(_RUNNER, value)),
    # Without what its kind does not know: what is recorded can be applied again.
    lambda at: str(at.kind) if at.local else _venue_written(at),
)


def _placing(value: Any) -> Venue | tuple[str, ...] | None:
    """Another runner, or options alone."""
    if value is None:
        return None
    options = isinstance(value, dict) and "kind" not in value
    read: Venue | tuple[str, ...] = TEXTS.read(value["options"]) if options else _WHERE.read(value)
    return read


def _placing_written(by: Venue | tuple[str, ...] | None) -> Any:
    if by is None:
        return None
    return _WHERE.write(by) if isinstance(by, Venue) else {"options": list(by)}


_PLACED = Kind(_placing, _placing_written)
_OVERRIDE: Table = {
    "labels": ("match.labels", TEXTS, never),
    "model": ("model", later(or_none(TEXT), None), never),
    "runner": ("runner", later(_PLACED, None), never),
}
_OVERRIDES = listed(Kind(nested(Override, _OVERRIDE).read, lambda each: _without(plain_of(_OVERRIDE, each), None)))
_AGENT: Table = {
    "kind": ("kind", one_of(AgentKind), always),
    "argv": ("argv", TEXTS, always),
    "model": ("model", later(or_none(TEXT), None), always),
    "overrides": ("overrides", later(_OVERRIDES, ()), always),
    "prompt": ("prompt", or_none(ABSOLUTE), always),
    "env": ("env", NAMED, always),
    "pass_env": ("passEnv", TEXTS, added),
    "timeout_s": ("timeout", SECONDS, longer),
    "stuck_after_s": ("stuckAfter", SECONDS, longer),
    "max_attempts": ("maxAttempts", COUNT, more),
    "backoff_initial_s": ("backoff.initial", SECONDS, never),
    "backoff_max_s": ("backoff.max", SECONDS, never),
    "opens_pull_request": ("opensPullRequest", later(SWITCH, False), turned_on),
    "memory": ("resources.memory", later(SIZE, None), asks_less),
    "disk": ("resources.disk", later(SIZE, None), asks_less),
    "runner": ("runner", later(_PLACED, None), always),
}
_WORKTREES: Table = {
    "root": ("root", ABSOLUTE, always),
    "copy": ("copy", TEXTS, added),
    "setup": ("setup", TEXTS, always),
    "sparse": ("sparse", TEXTS, never),
}
_SCOPES = Kind(
    lambda value: tuple((KEY.read(name), TEXTS.read(globs)) for name, globs in exactly(dict)(value).items()),
    lambda scopes: {name: list(globs) for name, globs in scopes},
)
_MERGE: Table = {
    "mode": ("mode", one_of(MergeMode), towards(MergeMode.MANUAL, MergeMode.AUTO)),
    "method": ("method", one_of(MergeMethod), never),
    # Whichever it is, the rules of the base are kept where the base is.
    "landing": ("landing", later(one_of(LandingMode), LandingMode.AUTO), never),
    "message": ("message", later(one_of(SquashMessage), SquashMessage.BOTH), never),
    "comments": (
        "comments",
        later(one_of(Comments), Comments.AGENT),
        towards(Comments.WAIT, Comments.AGENT, Comments.IGNORE),
    ),
    "review_bots": ("reviewBots", later(TEXTS, ()), always),
    "checks": ("checks", _CHECKS, not_continued),
    "required_checks": ("requiredChecks", later(TEXTS, ()), narrower),
    "timeout_s": ("timeout", SECONDS, never),
    "runner": ("runner", later(_WHERE, Venue()), always),
    "no_checks": ("noChecks", one_of(NoChecks), towards(NoChecks.BLOCK, NoChecks.AUTO, NoChecks.ALLOW)),
    "protected_paths": ("protectedPaths", TEXTS, dropped),
    "review": ("review", Kind(_review, _review_written), milder),
    "review_rounds": ("reviewRounds", later(COUNT, 3), more),
    "risk_high": ("risk.high", later(TEXTS, ()), dropped),
    "risk_low": ("risk.low", later(TEXTS, ()), added),
    "push": ("push", SWITCH, turned_on),
    "parallel": ("queue.parallel", or_auto(COUNT), never),
    "retries": ("queue.retries", later(COUNT, 1), more),
    "every_commit": ("queue.everyCommit", later(SWITCH, False), turned_off),
    "scopes": ("queue.scopes", later(_SCOPES, ()), never),
    # On, what agents wrote runs with the secrets of the repository; off, what lands together is tested by less.
    "staging": ("queue.staging", later(SWITCH, False), always),
    "on_conflict": ("onConflict", one_of(OnConflict), towards(OnConflict.BLOCK, OnConflict.AGENT)),
    "delete_branch": ("deleteBranch", SWITCH, never),
}
_BUDGET: Table = {
    "usd": ("usd", or_none(NUMBER), more),
    "usd_per_task": ("usdPerTask", or_none(NUMBER), more),
    "usd_per_run": ("usdPerRun", later(or_none(NUMBER), None), more),
    "tokens": ("tokens", or_none(COUNT), more),
    "warn_at": ("warnAt", NUMBER, never),
}
_PRUNE: Table = {
    "worktrees": ("worktrees", SWITCH, never),
    "branches": ("branches", SWITCH, never),
    "orphans": ("orphans", SWITCH, turned_on),
}
_NOTIFY: Table = {
    "on": ("on", listed(one_of(Telling)), never),
    "run": ("run", later(TEXTS, ()), never),
    "url": ("url", later(or_none(TEXT), None), never),
    "every_s": ("every", SECONDS, never),
    "quiet": ("quiet", later(or_none(TEXT), None), never),
}
_NOTIFIES = listed(Kind(nested(Notify, _NOTIFY).read, lambda rule: _without(plain_of(_NOTIFY, rule), None, [])))
# `tasks` is not the last: of a file that was cut off in it whole fields are missing, not only some tasks.
EPIC: Table = {
    "epic": ("epic", or_none(TASK_ID), never),
    "repository": ("repository", ABSOLUTE, always),
    "base": ("base", TEXT, always),
    "suspend": ("suspend", SWITCH, turned_off),
    "max_agents": ("maxAgents", COUNT, more),
    "stack": ("stack", later(SWITCH, False), never),
    "tracker": ("tracker", one_of(TrackerKind), always),
    "forge": ("forge", one_of(ForgeKind), always),
    "tasks": ("tasks", listed(nested(InlineTask, TASK)), never),
    "agent": ("agent", nested(AgentSpec, _AGENT), _AGENT),
    "reviewer": ("reviewer", later(or_none(nested(AgentSpec, _AGENT)), None), always),
    "worktrees": ("worktrees", nested(WorktreeSpec, _WORKTREES), _WORKTREES),
    # Whatever of it changes: other programs place agents, or their work goes to other machines.
    "runner": ("runner", later(_WHERE, Venue()), always),
    "merge": ("mergePolicy", nested(MergePolicy, _MERGE), _MERGE),
    "budget": ("budget", later(nested(Budget, _BUDGET), Budget()), _BUDGET),
    "prune": ("prune", nested(Prune, _PRUNE), _PRUNE),
    # A command is started, or somebody hears no more: either way an agent may have written it.
    "notify": ("notify", later(_NOTIFIES, ()), always),
}
