"""What of a manifest can be seen not to work here, before anybody is paid for finding out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct

from reconciler.loop.asking import ask
from reconciler.model.checks import STAGING
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.observed import Base, Unknown, known_or
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
    lacking = known_or(ask(partial(ports.runner.lacking, spec, needed)), ())
    faults = [
        _Fault(file=name, one="is not on their PATH", many="are not on their PATH", fix="install that")
        for name in lacking
    ]
    if checks and isinstance(base, Base):
        first = _unfit(ports, spec, base, checks[0])
        faults += [first] if first else []
        faults += [fault for _, fault in _later(ports, spec, base)] if faults else []
    if faults:
        return f"the checks can't be run: {_together(faults)}, or fix mergePolicy.checks and apply"
    return None


def doubtful(ports: Ports, spec: EpicSpec, base: Base | Unknown | None) -> str | None:
    """Why later checks of a manifest can hardly be run; only those before them may still make them fit, and so it holds nothing.
    Where something holds them, `unaskable` says these with it."""
    found = _later(ports, spec, base) if isinstance(base, Base) else ()
    if not found:
        return None
    numbers, why = [str(n) for n, _ in found], _together([fault for _, fault in found])
    which = f"check {numbers[0]}" if len(found) == 1 else f"checks {', '.join(numbers)}"
    return f"{which} can't be run, unless one before mends that: {why}, or fix mergePolicy.checks and apply"


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


class _Fault(Struct, frozen=True, kw_only=True):
    """What keeps a file of the base that a check runs from being run: in words behind its name, behind several, and what fixes it."""

    file: str
    one: str
    many: str
    fix: str  # {files}: the names of all


def _later(ports: Ports, spec: EpicSpec, base: Base) -> tuple[tuple[int, _Fault], ...]:
    """The checks after the first that run what people write, and can't be run as the base has it; with their numbers."""
    numbered = list(enumerate(spec.merge.commands, start=1))[1:]
    written = [
        (n, check) for n, check in numbered if (file := check_programs.file(check)) and check_programs.written(file)
    ]
    return tuple((n, fault) for n, check in written if (fault := _unfit(ports, spec, base, check)))


def _together(faults: Sequence[_Fault]) -> str:
    """What is wrong, "; " and what fixes all of it: whoever mends one file alone would meet the next."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for fault in faults:
        alike.setdefault((fault.one, fault.many, fault.fix), []).append(fault.file)
    grouped = {words: list(dict.fromkeys(files)) for words, files in alike.items()}
    wrong = (f"{', '.join(files)} {one if len(files) == 1 else many}" for (one, many, _), files in grouped.items())
    fixes = (fix.replace("{files}", shlex.join(files)) for (*_, fix), files in grouped.items())
    return f"{', '.join(wrong)}; {', '.join(fixes)}"


def _unfit(ports: Ports, spec: EpicSpec, base: Base, check: str) -> _Fault | None:
    """Why a file of the base that a check runs can't be run, and what fixes it."""
    if (file := check_programs.file(check)) is None:
        return None
    found = ask(partial(ports.workspaces.committed, base.head, file))
    if isinstance(found, Unknown) or found is None:
        return None
    if not found.there:
        return _Fault(
            file=file, one=f"is not in {base.name}", many=f"are not in {base.name}", fix="commit {files} there"
        )
    if not check_programs.executed(check):
        return None
    if not found.executable:
        what, fix = f"not executable in {base.name}", "'chmod +x {files}' and commit that"
        return _Fault(file=file, one=f"is {what}", many=f"are {what}", fix=fix)
    if not spec.merge.runner.local:
        return None
    if known_or(ask(partial(ports.runner.forbids, spec.checks_venue)), False):
        what = f"can't be executed at {spec.checks_venue.root}, which is mounted with noexec"
        return _Fault(file=file, one=what, many=what, fix="write another worktrees.root")
    if lacking := known_or(ask(partial(ports.runner.lacking, spec, found.interpreters)), ()):
        what = f"run by {lacking[0]!r}, as its first line says, which is not here"
        return _Fault(file=file, one=f"is {what}", many=f"are {what}", fix=f"install {lacking[0]}")
    return None
