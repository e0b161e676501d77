"""Why what a task offers goes back to its agent. Pure."""

from __future__ import annotations

from reconciler.model.observed import CheckResult, Conflict
from reconciler.model.reasons import Reason
from reconciler.planning import reviews, run_results
from reconciler.planning.attempts import Attempts
from reconciler.planning.check_state import CheckState
from reconciler.planning.facts import Facts
from reconciler.planning.messages import clean
from reconciler.planning.offer import Offer
from reconciler.planning.run_results import RunResult


def sent_back(facts: Facts, attempts: Attempts, offer: Offer) -> RunResult | None:
    """What is wrong with what a task offers; None where nothing is."""
    pull = facts.open_pull
    if pull is None or offer.unpushed:
        return None  # what is not offered yet was not judged
    if pull.rejection and pull.rejection.head == pull.head:
        return RunResult(Reason.CHANGES_REQUESTED, f"a person asked for changes: {pull.rejection.text}", waits=False)
    if facts.stack:
        return None  # with what is another's in it, whatever else is known of it may be about that
    if offer.reviewing.sent_back:
        return RunResult(Reason.CHANGES_REQUESTED, _by_its_reviewer(offer), counts=False, waits=False)
    if offer.discussion.due:
        where = f" at {pull.url}" if pull.url else ""
        return RunResult(
            Reason.CHANGES_REQUESTED,
            f"comments ask for an answer{where}: {offer.discussion.summary}",
            waits=False,
        )
    out, enough = pull.removed, pull.queued_times > facts.spec.merge.retries
    if out and enough and not (out.by_person or out.conflict or pull.queue):
        why = f"the merge queue of {facts.spec.base} took it out: {out.reason}"
        return RunResult(Reason.CHECKS_FAILED, why, waits=False)
    if isinstance(facts.candidate, Conflict):
        return RunResult(
            Reason.CONFLICT, _conflict(facts.candidate, facts.spec.base), _conflict_counts(facts, attempts), waits=False
        )
    if offer.forge_verdict.result is CheckResult.FAILED:
        return RunResult(
            Reason.CHECKS_FAILED, f"checks of the forge failed: {offer.forge_verdict.message}", waits=False
        )
    failed = offer.check_state is CheckState.FAILED and offer.base_state is CheckState.PASSED
    if failed and not offer.asked_again:
        return RunResult(
            Reason.CHECKS_FAILED,
            run_results.failed_check(offer.checks_last, facts.spec.merge.commands),
            waits=False,
        )
    return None


def _by_its_reviewer(offer: Offer) -> str:
    verdict = offer.reviewing.verdict
    asked = reviews.in_short(verdict) if verdict else ""
    return f"its reviewer asked for changes (round {offer.reviewing.rounds + 1}): {asked}"


def _conflict_counts(facts: Facts, attempts: Attempts) -> bool:
    # A repair is given one base tip. That the base moved on meanwhile is not its fault; not fixing it is.
    run = attempts.last
    return run is not None and run.why == Reason.CONFLICT and not facts.repaired


def _conflict(conflict: Conflict, base: str) -> str:
    """
    >>> _conflict(Conflict(base="", head="", paths=("a.py",), against=("1a2b3c4 Do that (#2)",)), "main")
    'conflicts with main in a.py, where main has 1a2b3c4 Do that (#2)'
    """
    where = ", ".join(conflict.paths[:5]) + (" …" if len(conflict.paths) > 5 else "")
    return (
        f"conflicts with {base}"
        + (f" in {where}" if where else "")
        + (f", where {base} has {'; '.join(map(clean, conflict.against))}" if conflict.against else "")
        + (f": {conflict.detail}" if conflict.detail else "")
    )
