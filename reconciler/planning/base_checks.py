"""What it means that a manifest's checks fail on its base as it is: nobody's work is at fault, and it is for a person to fix. Pure."""

from __future__ import annotations

import shlex

from msgspec import Struct

from reconciler.model.desired import EpicSpec
from reconciler.model.names import Sha
from reconciler.model.observed import Observed, Run, Unknown, known_or
from reconciler.planning import asked, check_programs, run_results
from reconciler.planning.check_state import CheckState, could_not_run, state_of
from reconciler.planning.proofs import base_checks, every_on, passes, retried_at

SHOWN_MAX = 120
LAST_WORDS_MAX = 80  # beside all that there is to do: the sentence is shown whole


def broken(spec: EpicSpec, observed: Observed) -> str | None:
    """Why the checks of a manifest say nothing about work; None where nothing is known against them."""
    if last := _red(spec, observed):
        if could_not_run(last):
            return _cant_be_asked(spec, last, observed)
        return _whose_fault(spec, last, observed.printed.get(last.id, ""))
    return observed.unaskable.get(spec.name)


def passed(spec: EpicSpec, observed: Observed) -> bool:
    """True where all checks of a manifest, as they are, have passed on anything: whatever they need, they get."""
    every = known_or(observed.checks, {})
    return any(have_passed(spec, run) for runs in every.values() for run in runs)


def have_passed(spec: EpicSpec, run: Run) -> bool:
    """True for a run in which all checks of a manifest passed."""
    return bool(run.exit and run.exit.well and not run.left_out and asked.ran(spec, run))


class BaseHealth(Struct, frozen=True):
    """What is known about the newest commits of a base under a manifest's checks, its tip first."""

    base: str
    commits: tuple[tuple[Sha, CheckState], ...]

    @property
    def green(self) -> Sha | None:
        """The newest commit that is known to pass."""
        return next((commit for commit, state in self.commits if state is CheckState.PASSED), None)


def health(spec: EpicSpec, observed: Observed) -> BaseHealth | None:
    """At which commit its base is green; None where that can't be known: nothing is asked of it, or it can't be seen."""
    recent = observed.recent.get(spec.base, ())
    if isinstance(recent, Unknown) or isinstance(observed.checks, Unknown) or not recent or not spec.merge.tests:
        return None
    return BaseHealth(spec.base, tuple((each.commit, _state_on(spec, each.tree, observed)) for each in recent))


def red_by_itself(spec: EpicSpec, observed: Observed) -> Run | None:
    """The check by which it is known that a base fails the checks of a manifest: they could be run, and failed."""
    last = _red(spec, observed)
    return last if last and last.exit and not could_not_run(last) else None


def _red(spec: EpicSpec, observed: Observed) -> Run | None:
    """The last check of a base as it is, where that fails some of them."""
    found, retried = base_checks(spec, observed), retried_at(spec, observed)
    red = (runs[-1] for runs in known_or(found, ()) if state_of(runs, retried, observed.at) is CheckState.FAILED)
    return next(red, None)


def _state_on(spec: EpicSpec, tree: Sha, observed: Observed) -> CheckState:
    """What is known of a tree, whichever checks ran on it: those were what the change to it had to pass."""
    found, retried = every_on(observed, spec, tree), retried_at(spec, observed)
    if isinstance(found, Unknown):
        return CheckState.UNKNOWN
    # One that could not be run says nothing, and takes nothing back.
    ran = ([run for run in runs if not could_not_run(run)] for runs in found)
    states = {state_of(runs, retried, observed.at) for runs in ran}
    if spec.merge.staging and not passes(observed, spec, tree, staged=True):
        states -= {CheckState.PASSED}  # what passed here alone is no more than half of it
    order = (CheckState.FAILED, CheckState.UNKNOWN, CheckState.RUNNING, CheckState.PASSED)
    return next((state for state in order if state in states), CheckState.NONE)


def _whose_fault(spec: EpicSpec, run: Run, printed: str) -> str:
    """What a check that failed on the base itself means for a task that is to land there. `printed`: its last words."""
    shown = "" if run.commit else f" ('reconcile logs {run.id}' shows it all)"
    printed = run.remark if run.commit else printed
    if len(printed) > LAST_WORDS_MAX:
        printed = f"…{printed[1 - LAST_WORDS_MAX :]}"
    message = (f": {printed}" if printed else "") + shown
    fix = spec.base if run.commit else f"{spec.base} or mergePolicy.checks"
    return (
        f"{spec.base} fails the checks on its own ({run_results.status(run)}){message}; only what passes them is merged, and no task "
        f"begins: fix {fix} ('reconcile spawn TASK' starts a task that does so); if the cause was elsewhere: 'reconcile retry {run.task}'"
    )


def _cant_be_asked(spec: EpicSpec, run: Run, observed: Observed) -> str:
    """What there is to know and to do about checks that could not be run on the base either: what they lack, first."""
    printed = observed.printed.get(run.id, "").replace("; ", ", ")  # what comes behind the first of these is advice
    found, foreseen = check_programs.lacked(printed), observed.unaskable.get(spec.name)
    ended = f"{run_results.which_check(run, asked.commands(spec, run))}{run_results.status(run)}"
    if foreseen:
        why, _, fix = foreseen.partition("; ")
        ended += f": {printed[-SHOWN_MAX:]}" if printed and not found else ""
    else:
        why, fix = _lacking(spec, *found) if found else (printed or "it printed nothing", "see to what they need")
        why = f"the checks can't be run on {spec.base} either: {why}"
        apply = f" ('reconcile apply -f {shlex.quote(spec.source)}')" if spec.source else " and apply"
        fix += f", or fix mergePolicy.checks{apply}"
    return (
        f"{why} ({ended}, 'reconcile logs {run.id}' shows it all); nothing lands until they can: {fix}, then "
        f"'reconcile retry {run.task}'"
    )


def _lacking(spec: EpicSpec, name: str, there: bool) -> tuple[str, str]:
    """What was wrong with something that a check runs, and what mends that."""
    if there:
        return f"{name} can't be executed", f"'chmod +x {shlex.quote(name)}' and commit that"
    if "/" in name:
        return f"{name}, or what its first line names, was not found", f"see to it in {spec.base}"
    if not spec.merge.runner.local:
        return f"{name} was not found", "install it on the nodes where checks run"
    return f"{name} was not found", "install it on the PATH of 'reconcile watch'"


def not_its_fault(spec: EpicSpec, run: Run | None) -> str:
    """The same for a task that waits for it, in short: what there is to know and to do stands once, with the manifest."""
    what = (
        f"the checks can't be run on {spec.base} either"
        if could_not_run(run)
        else f"{spec.base} fails the checks on its own"
    )
    return f"{what}; 'reconcile status {spec.name}' says what to do"
