"""What of a manifest can be seen not to work here, before anybody is paid for finding out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial

from reconciler.loop.asking import ask, known_or
from reconciler.model.checks import STAGING
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.observed import Base, Unknown
from reconciler.model.ports import Ports
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.planning import check_programs


def agent_missing(ports: Ports, spec: EpicSpec) -> str | None:
    """Why no agent of a manifest can be started here; None where one can, as far as that can be seen."""
    answer = ask(partial(ports.runner.missing, spec))
    return answer.why if isinstance(answer, Unknown) else answer


def reviewers_missing(ports: Ports, desired: Desired) -> Mapping[str, str]:
    """The same of reviewers, by the manifests that ask for one."""
    asking = (
        replace(spec, agent=replace(spec.reviewing, runner=None, overrides=()), runner=Venue())  # they are here
        for spec in desired.epics
        if spec.merge.reviewed_by_agents
    )
    return {spec.name: why for spec in asking if (why := agent_missing(ports, spec))}


def unaskable(ports: Ports, spec: EpicSpec, base: Base | Unknown | None) -> str | None:
    """Why a manifest's checks can't be run here, as far as that can be seen before they are."""
    checks = spec.merge.commands
    needed = check_programs.programs(checks) if spec.merge.runner.local else ()  # what a node has is known there alone
    if lacking := known_or(ask(partial(ports.runner.lacking, spec, needed)), ()):
        names, verb = ", ".join(lacking), "is" if len(lacking) == 1 else "are"
        return f"the checks can't be run: {names} {verb} not on their PATH; install that, or fix mergePolicy.checks and apply"
    if checks and isinstance(base, Base) and (why := _unfit(ports, spec, base, checks[0])):
        return f"the checks can't be run: {why}, or fix mergePolicy.checks and apply"
    return None


def doubtful(ports: Ports, spec: EpicSpec, base: Base | Unknown | None) -> str | None:
    """Why one of a manifest's later checks can hardly be run; only those before it may still make it fit, and so it holds nothing."""
    if not isinstance(base, Base):
        return None
    for n, check in enumerate(spec.merge.commands[1:], start=2):
        file = check_programs.file(check)
        if file and check_programs.written(file) and (why := _unfit(ports, spec, base, check)):
            return (
                f"check {n} can't be run, unless one before it mends that: {why}, or fix mergePolicy.checks and apply"
            )
    return None


def unstaged(ports: Ports, spec: EpicSpec, base: Base | Unknown | None) -> str | None:
    """Why the forge would run nothing on what is staged for it, as far as that can be seen before it is."""
    if not spec.merge.staging or not isinstance(base, Base):
        return None
    if known_or(ask(partial(ports.forge.runs_when_staged, base.head)), True):
        return None
    return (
        f"'queue.staging' has GitHub test what is pushed to '{STAGING}**', and no workflow of {base.name} names that: "
        f"add it to one ('on: {{push: {{branches: [\"{STAGING}**\"]}}}}'), or take 'queue.staging' out"
    )


def _unfit(ports: Ports, spec: EpicSpec, base: Base, check: str) -> str | None:
    """Why a file of the base that a check runs can't be run, and what fixes it."""
    if (file := check_programs.file(check)) is None:
        return None
    found = ask(partial(ports.workspaces.committed, base.head, file))
    if isinstance(found, Unknown) or found is None:
        return None
    if not found.there:
        return f"{file} is not in {base.name}; commit it there"
    if not check_programs.executed(check):
        return None
    if not found.executable:
        return f"{file} is not executable in {base.name}; 'chmod +x {shlex.quote(file)}' and commit that"
    if not spec.merge.runner.local:
        return None
    if known_or(ask(partial(ports.runner.forbids, spec.checks_venue)), False):
        root = spec.checks_venue.root
        return f"{file} can't be executed at {root}, which is mounted with noexec; write another worktrees.root"
    if lacking := known_or(ask(partial(ports.runner.lacking, spec, found.interpreters)), ()):
        return f"{file} is run by {lacking[0]!r}, as its first line says, which is not here; install that"
    return None
