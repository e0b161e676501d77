"""What is kept beside the code: recorded manifests, the task store, our own folder, and who works here now."""

from __future__ import annotations

import os
import shlex
import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reconciler.doctor.findings import Diagnosis, Probe, State, named
from reconciler.doctor.scene import Scene
from reconciler.loop.asking import ask
from reconciler.loop.foreseen import doubtful, unaskable, unstaged
from reconciler.model.checks import STAGING
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.names import RunKind
from reconciler.model.observed import Run, Unknown
from reconciler.model.reasons import Awaits, Reason, Scope
from reconciler.model.report import Fault
from reconciler.model.values import replace
from reconciler.planning import agent_gate, asked, base_checks, budget
from reconciler.planning.actions.base import OF_MANIFEST
from reconciler.planning.epic_clashes import clashes
from reconciler.planning.graph import Index
from reconciler.render import asking, conditions, failing, slow_calls
from reconciler.render.words import counted, seconds_since, span
from reconciler.system import lock
from reconciler.wiring import Site


def probes(scene: Scene, site: Site) -> Iterator[Probe]:
    """What is asked of the records in a repository."""
    yield Probe(name="state folder", look=lambda: _private(site.state))
    yield Probe(name="reconciler", look=lambda: _holder(site))
    yield Probe(name="manifests", look=lambda: _manifests(scene, site))
    yield Probe(name="checks", look=lambda: _checks(scene, site))
    yield Probe(name="flaky checks", look=lambda: _flaky(scene, site))
    yield Probe(name="failing", look=lambda: _failing(scene, site))
    yield Probe(name="attention", look=lambda: _attention(scene, site))
    yield Probe(name="agents", look=lambda: _agents(scene, site))
    yield Probe(name="budget", look=lambda: _budget(scene))
    yield Probe(name="tasks", look=lambda: _tasks(site))


def _private(state: Path) -> Iterator[Diagnosis]:
    try:
        found = os.lstat(state)
    except FileNotFoundError:
        yield Diagnosis(name="state folder", found="none yet")
        return
    mode, quoted = stat.S_IMODE(found.st_mode), shlex.quote(str(state))
    if not stat.S_ISDIR(found.st_mode):
        message, hint = "it is not a folder", f"move it away: mv {quoted} {quoted}.old"
    elif found.st_uid != os.getuid():
        message, hint = "it belongs to another user", f"work as that user, or: sudo chown -R {os.getuid()} {quoted}"
    elif mode & 0o077:
        message, hint = f"others may enter it ({mode:04o}): prompts and logs are theirs to read", f"chmod 700 {quoted}"
        yield Diagnosis(name="state folder", state=State.WARNING, found=str(state), message=message, hint=hint)
        return
    else:
        yield Diagnosis(name="state folder", found=f"{mode:04o}")
        return
    yield Diagnosis(name="state folder", state=State.PROBLEM, found=str(state), message=message, hint=hint)


def _holder(site: Site) -> Iterator[Diagnosis]:
    """Who is the reconciler of this repository now. The lock is not tried: a start at that instant would be refused."""
    holder = lock.holder(site.state)
    if holder is None or not site.holds(holder):
        return
    if replaced := site.replaced():
        hint = f"end it (kill {holder.pid}) and start it again: its agents run on"
        yield Diagnosis(name="reconciler", state=State.PROBLEM, found=str(holder), message=replaced, hint=hint)
    elif holder.stopped:
        message = "it is stopped, and does nothing; no other can start beside it"
        yield Diagnosis(name="reconciler", state=State.PROBLEM, found=str(holder), message=message, hint=holder.awoken)
    elif calls := site.unanswered:
        message, hint = slow_calls.words(calls[0], time.time()), "nothing: it goes on by itself; see what is slow there"
        yield Diagnosis(name="reconciler", state=State.WARNING, found=str(holder), message=message, hint=hint)
    else:
        yield Diagnosis(name="reconciler", found=str(holder), message="is running here")


def _manifests(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    found = site.recorded.load()
    for name, why in found.problems.items():
        message = f"it can't be read, so nothing is done for any: {why}"
        hint = f"apply it again, or forget it: reconcile delete {name}"
        yield Diagnosis(name="manifests", state=State.PROBLEM, found=name, message=message, hint=hint)
    main = os.path.realpath(site.repository.main)
    moved = [spec.name for spec in scene.epics if spec.repository and os.path.realpath(spec.repository) != main]
    if moved:
        message = f"recorded for another place than {main}"
        yield Diagnosis(
            name="manifests", state=State.WARNING, found=named(moved), message=message, hint="apply them again"
        )
    statuses = site.statuses()
    unread = {name: each["invalid"] for name, each in statuses.items() if isinstance(each.get("invalid"), str)}
    for name, reason in unread.items() if site.acting else ():
        message, hint = f"held until its file can be read again: {reason}", "fix the file, or apply another"
        yield Diagnosis(name="manifests", state=State.PROBLEM, found=name, message=message, hint=hint)
    clashing = _clashes(scene, site)
    yield from clashing
    suspended = [spec.name for spec in scene.epics if spec.suspend]
    if suspended:
        message, hint = "suspended: nothing is done", f"to go on: reconcile resume {suspended[0]}"
        yield Diagnosis(name="manifests", state=State.WARNING, found=named(suspended), message=message, hint=hint)
    if not (found.problems or moved or suspended or clashing):
        names = named(spec.name for spec in found.epics)
        yield Diagnosis(name="manifests", found=names or "none applied")


def _clashes(scene: Scene, site: Site) -> list[Diagnosis]:
    """The manifests that are held because another one works on what they call their epic."""
    graph, prefix = ask(site.tracker.tasks), ask(site.tracker.prefix)
    if isinstance(graph, Unknown) or isinstance(prefix, Unknown):
        return []  # the probe of the tasks shows it
    found = clashes(scene.epics, prefix, Index(graph)).values()
    return [
        Diagnosis(
            name="manifests", state=State.PROBLEM, found=each.manifest, message=f"its epic {each.what}", hint=each.hint
        )
        for each in found
    ]


def _checks(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Whether what the checks of every manifest begin with is there, as far as that can be seen."""
    statuses = site.statuses()
    if any(spec.merge.staging for spec in scene.epics):
        ask(site.forge.pull_requests)  # where the bases are there is known from then on
    for spec in scene.epics:
        base = ask(partial(site.forge.base, spec.base, look=False))  # a base that is gone is a finding of its own
        why = (
            unaskable(site.ports, spec, base)
            or unstaged(site.ports, spec, base)
            or _red_base(statuses.get(spec.name, {}))
        )
        staged = [f"GitHub's own on {STAGING}**"] if spec.merge.staging else []
        found = f"{spec.name}: {', '.join([*spec.merge.commands, *staged])}"
        if why:
            message, _, hint = why.partition("; ")
            yield Diagnosis(name="checks", state=State.PROBLEM, found=found, message=message, hint=hint)
        elif doubt := None if _passed(site, spec) else doubtful(site.ports, spec, base):
            message, _, hint = doubt.partition("; ")
            yield Diagnosis(name="checks", state=State.WARNING, found=found, message=message, hint=hint)
        elif spec.merge.tests:
            yield Diagnosis(name="checks", found=found)


def _passed(site: Site, spec: EpicSpec) -> bool:
    """True where the checks of a manifest, as they are, have passed on anything."""
    (placed,) = site.placed(Desired(epics=(spec,))).epics
    runs = (run for run in site.runner.runs().values() if run.id.kind is RunKind.CHECK)
    return any(base_checks.have_passed(placed, run) for run in runs)


def _flaky(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Which checks have failed and passed on one and the same tree, in the same run: how often, of all of them."""
    runs = [run for run in site.runner.runs().values() if run.id.kind is RunKind.CHECK and run.exit and run.exit.well]
    for spec in site.placed(Desired(epics=scene.epics)).epics:
        mine = [(asked.commands(spec, run), run.exit.flaky) for run in runs if run.exit and asked.ran(spec, run)]
        again = Counter(names[step] for names, flaky in mine for step in flaky if step < len(names))
        for command, times in again.most_common():
            ran = sum(command in names for names, _ in mine)
            message = f"passed only when it was started again, in {times} of {counted(ran, 'run')}"
            found = f"{spec.name}: {' '.join(command.split())}"
            hint = "its retries hide that; see what it depends on"
            yield Diagnosis(name="flaky checks", state=State.WARNING, found=found, message=message, hint=hint)


def _red_base(status: Mapping[str, Any]) -> str | None:
    """What was last seen of checks that say nothing about anybody's work."""
    for each in conditions.remembered(status):
        match each:
            case {"type": "Degraded", "status": "True", "reason": Reason.CHECK_BROKEN, "message": str(message)}:
                return message
    return None


def _failing(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """What goes wrong at every try, for the one who works here now, or did last."""
    for subject, failure in failing.recalled(site.statuses(), left=not site.acting).items():
        of = failure.manifest if subject.startswith(OF_MANIFEST) else subject
        text = failing.words(failing.shown(failure), scene.now)
        hint = failing.next_step(subject, failure)
        yield Diagnosis(name="failing", state=State.PROBLEM, found=of, message=text, hint=hint)


def _attention(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Which manifests stand still until a person does something about a task, or left something behind: as it was seen last.

    What is wrong with a whole manifest, and what goes wrong at every try, is shown by the probes of those.
    """
    left = "" if site.acting else " (as it was seen last; no reconciler is running)"
    for name, status in site.statuses().items():
        asked = asking.recalled(status)
        if asked:
            task, each = min(asked.items(), key=lambda each: each[1]["since"])
            ago, others = span(seconds_since(each["since"], scene.now)), len(asked) - 1
            more = f"; {counted(others, 'more task needs', 'more tasks need')} a person" if others else ""
            message = f"{task}: {each['message']} (for {ago}){more}{left}"
            found, hint = f"{name}: {each['reason']}", f"reconcile status {name}"
            yield Diagnosis(name="attention", state=State.WARNING, found=found, message=message, hint=hint)
        for each in conditions.remembered(status):
            match each:
                case {"type": "Converged", "status": "False", "reason": str(word), "message": str(message)} if (
                    not asked
                ):
                    mine = _of_a_task(word, Awaits.PERSON)
                case {"type": "Degraded", "status": "True", "reason": str(word), "message": str(message)}:
                    mine = _of_a_task(word, Awaits.PERSON, Awaits.NOTHING) and not status.get("failing")
                case _:
                    continue
            if mine:
                found, hint = f"{name}: {word}", f"reconcile status {name}"
                yield Diagnosis(name="attention", state=State.WARNING, found=found, message=message + left, hint=hint)


def _of_a_task(word: str, *awaits: Awaits) -> bool:
    """True for a reason about single tasks that waits for one of these, and that nobody has chosen."""
    try:
        row = Reason.of(word).row
    except ValueError:  # a newer program's
        return False
    return row.awaits in awaits and row.scope is Scope.TASK and not row.chosen


def _agents(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Whether the program of every manifest is on the PATH that its agents get, and could work when it was tried last."""
    runs = site.runner.runs().values() if scene.epics else ()
    for spec in scene.epics:
        program = spec.agent.program
        if missing := site.runner.missing(spec):
            hint = "install it, or fix spec.agent (argv, env) and apply"
            found = f"{spec.name}: {program}"
            yield Diagnosis(name="agents", state=State.PROBLEM, found=found, message=missing, hint=hint)
        elif last := agent_gate.last_trouble(spec, runs):
            yield _in_trouble(spec, last)
        else:
            yield Diagnosis(name="agents", found=f"{spec.name}: {program}")
        if spec.merge.reviewed_by_agents and (missing := site.runner.missing(replace(spec, agent=spec.reviewing))):
            yield Diagnosis(
                name="agents",
                state=State.PROBLEM,
                found=f"{spec.name}, reviewer: {spec.reviewing.program}",
                message=agent_gate.no_reviewer(missing),
                hint="install it, or fix spec.reviewer (kind, argv, env) and apply",
            )


def _in_trouble(spec: EpicSpec, run: Run) -> Diagnosis:
    """What a run met that no good one has come after. What passes by itself is no problem yet."""
    passes = run.report is not None and run.report.fault in (Fault.USAGE_LIMIT, Fault.NETWORK)
    lifted = run.report.retry_at if run.report else None
    ended = f" (its last run, {run.id}, ended {run.exit.at:%F %T} UTC)" if run.exit else ""
    what, advice = agent_gate.what_and_advice(spec, run)
    return Diagnosis(
        name="agents",
        state=State.WARNING if passes else State.PROBLEM,
        found=f"{spec.name}: {spec.agent.program}",
        message=what + ended,
        hint=f"lifted at {lifted:%F %T} UTC; {advice}" if lifted else advice,
    )


def _budget(scene: Scene) -> Iterator[Diagnosis]:
    """Which limits nobody keeps."""
    for spec in scene.epics:
        for what, advice in budget.unkept(spec):
            yield Diagnosis(name="budget", state=State.WARNING, found=spec.name, message=what, hint=advice)


def _tasks(site: Site) -> Iterator[Diagnosis]:
    tasks = site.tracker.tasks()  # what it can't read, it says itself
    open_ones = sum(not task.closed for task in tasks.values())
    yield Diagnosis(name="tasks", found=f"{counted(len(tasks), 'task')}, {open_ones} open" if tasks else "none yet")
