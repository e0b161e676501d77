"""The rules of a branch, and what GitHub says of a pull request that does not meet them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from github.records import CheckRun, Protection, Pull, Review, Status

PASSES = {"SUCCESS", "NEUTRAL", "SKIPPED"}
Report = CheckRun | Status


def name_of(report: Report) -> str:
    """What rules call it by."""
    return report.name if isinstance(report, CheckRun) else report.context


def passed(report: Report) -> bool | None:
    """True when it passed, False when it failed, None while it is pending."""
    if isinstance(report, Status):
        return {"SUCCESS": True, "FAILURE": False, "ERROR": False}.get(report.state)
    return None if report.status != "COMPLETED" else report.conclusion in PASSES


def unmet_checks(reports: Sequence[Report], rules: Protection) -> list[str]:
    """What is said of required checks that have not passed, as one sentence. The newest of a name counts."""
    newest = {name_of(report): report for report in reports}
    words = {name: _word(newest.get(name)) for name in rules.required}
    bad = {name: word for name, word in words.items() if word != "passed"}
    if not bad:
        return []
    if len(rules.required) == 1:
        return [f'Required status check "{rules.required[0]}" is {bad[rules.required[0]]}.']
    counts = {word: list(bad.values()).count(word) for word in bad.values()}
    many = f"{len(bad)} of {len(rules.required)} required status checks"
    if len(counts) == 1:
        return [f"{many} are {next(iter(counts))}."]
    return [f"{many} have not succeeded: " + ", ".join(f"{count} {word}" for word, count in counts.items()) + "."]


def opinions(pull: Pull) -> dict[str, Review]:
    """The newest review of everybody that says yes or no."""
    return {review.author: review for review in pull.reviews if review.state != "COMMENTED"}


def review_decision(pull: Pull, rules: Protection) -> str | None:
    """APPROVED, CHANGES_REQUESTED, REVIEW_REQUIRED; None where no reviews are asked for, even when approved."""
    if not rules.reviews:
        return None
    states = [
        r.state
        for r in opinions(pull).values()
        if r.state != "APPROVED" or r.commit == pull.head or not rules.last_push
    ]
    if "CHANGES_REQUESTED" in states:
        return "CHANGES_REQUESTED"
    return "APPROVED" if states.count("APPROVED") >= rules.reviews else "REVIEW_REQUIRED"


def refusals(pull: Pull, reports: Sequence[Report], rules: Protection) -> list[str]:
    """Why its base does not take it, in GitHub's words; empty when it does."""
    said = []
    match review_decision(pull, rules):
        case "REVIEW_REQUIRED":
            many = "review is" if rules.reviews == 1 else "reviews are"
            said.append(f"At least {rules.reviews} approving {many} required by reviewers with write access.")
        case "CHANGES_REQUESTED":
            said.append("Changes have been requested by a reviewer with write access.")
    if rules.conversations and not all(thread.resolved for thread in pull.threads):
        said.append("A conversation must be resolved before this pull request can be merged.")
    said += [rules.other] if rules.other else []
    return said + unmet_checks(reports, rules)


def _word(report: Report | None) -> str:
    if report is None:
        return "expected"
    match passed(report):
        case True:
            return "passed"
        case False:
            return "failing"
        case None:
            return "pending" if isinstance(report, Status) else report.status.lower().replace("_", " ")
