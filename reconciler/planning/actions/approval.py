"""Whose yes offered work is waiting for, and what people have answered."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model.reasons import Reason
from reconciler.model.review_by_risk import Review
from reconciler.model.verdicts import ReviewWord
from reconciler.planning import messages, reviews
from reconciler.planning.actions.base import Waiting
from reconciler.planning.job import Job


def asks_when_green(job: Job) -> Waiting | None:
    """A person is asked about what is green: once the checks of this very head have passed, on whichever base.

    A change to what checks it proves nothing by passing; nor is it run before somebody has read it.
    """
    return asks_a_person(job) if job.offer.green_once or job.offer.protected else None


def asks_a_person(job: Job) -> Waiting | None:
    """What keeps offered work from landing that people say about it, or have yet to say."""
    return unresolved(job) or unapproved(job)


def pr_on_hold(job: Job) -> Waiting | None:
    """Offered work that a person keeps from landing by what they did to its pull request, or that the forge has taken."""
    pull = job.open_pull
    if pull is None:
        return None
    # That another manifest lands there makes it no work for there.
    away = pull.base not in (None, job.spec.base) and f"is on its way to {pull.base}, where somebody has put it"
    why = pull.aside or away
    return Waiting(Reason.SET_ASIDE, f"#{pull.number} {why}") if why else None


def unresolved(job: Job) -> Waiting | None:
    """Conversations that its agent has answered, or that are for people: the one who began one says when it is settled."""
    pull = job.open_pull
    if pull is None or not job.offer.discussion.open:
        return None
    where = f" at {pull.url}" if pull.url else ""
    quoted = "".join(f" ({whose}: '{words}')" for whose, words in _last_words(job))
    last = job.attempts.last
    answered = f"answered in attempt {last.attempt}{quoted}; " if last and last.heard else ""
    who = (
        "the one who began it resolves it, or approves"
        if len(job.offer.discussion.open) == 1
        else "the one who began them resolves them, or approves"
    )
    return Waiting(Reason.AWAITING_REVIEW, f"{job.offer.discussion.awaited} is open{where}; {answered}{who}")


def unapproved(job: Job) -> Waiting | None:
    """Work that a person has to say yes to, pinned to its head."""
    if job.open_pull is None or job.offer.approved:
        return None
    offer = job.offer.reviewing
    if job.offer.protected and offer.asks is not Review.HUMAN:
        paths = ", ".join(job.offer.protected[:5])
        message = f"changes protected paths ({paths}); its checks run only after 'reconcile approve {job.task.id}'"
        return Waiting(Reason.PROTECTED_PATHS, message)
    if offer.asks is Review.AGENT and not offer.verdict and not offer.given_up:
        return Waiting(Reason.REVIEW_DUE, "its reviewer is asked once its checks have passed")
    message = f"waiting for approval of {job.open_pull.head[:12]}{_because(job)}; {_ways_on(job)}"
    return Waiting(Reason.AWAITING_APPROVAL, message)


def _ways_on(job: Job) -> str:
    """What a person may do about what waits for their yes."""
    offer, task = job.offer.reviewing, job.task.id
    if job.offer.protected and job.offer.subject:
        return f"its checks run only after 'reconcile approve {task}'"
    ways = f"approve with 'reconcile approve {task}'"
    if offer.changes_requested:
        return f"{ways}, or send it back with 'reconcile reject {task} -m TEXT'"
    again = offer.given_up or offer.dismissed_by
    return f"{ways}, or have it read again with 'reconcile retry {task}'" if again else ways


def _because(job: Job) -> str:
    """Why a person is asked, where that is not so for every change."""
    offer, policy = job.offer.reviewing, job.spec.merge.review
    quoted = f"'{reviews.in_short(offer.verdict)}'" if offer.verdict else ""
    if offer.changes_requested:
        answer = "".join(f", and {who}: '{words}'" for who, words in _last_words(job))
        times = f"{job.spec.merge.review_rounds} rounds" if job.spec.merge.review_rounds != 1 else "one round"
        return f": after {times} its reviewer says: {quoted}{answer}"
    if offer.given_up and offer.moves:
        return f": its branch changes from review to review, {reviews.MOVED_MAX} times by now, and no agent is at work on it"
    if offer.given_up:
        return f": {len(offer.failures)} reviews came to nothing ({reviews.why_it_failed(offer.failures[-1])}; 'reconcile logs {offer.failures[-1].id}')"
    if offer.dismissed_by:
        return f": {offer.dismissed_by} dismissed the review: {quoted}"
    if offer.verdict and offer.verdict.verdict is ReviewWord.PERSON:
        return f": its reviewer leaves it to a person: {quoted}"
    if job.offer.protected and offer.risk is None:
        return f" (it changes {', '.join(job.offer.protected[:5])})"
    if offer.risk is None or policy.each == (Review.HUMAN,) * 3:
        return ""
    if offer.instructions and policy.at(offer.level) is Review.AGENT:
        return f": it changes instructions that its reviewer would get ({', '.join(offer.instructions[:5])})"
    if offer.level is not offer.risk.level:
        return f": its reviewer calls its risk {offer.level}: {quoted}"
    return f" (risk {offer.level}: {'; '.join(offer.risk.reasons)})"


def _last_words(job: Job) -> Iterator[tuple[str, str]]:
    """The last words of its newest attempt, each with whose words these are: its agent's own, or what that has left of
    itself where it is of a kind that reports nothing."""
    report, left = job.attempts.last.report if job.attempts.last else None, job.authors_words
    if report and (words := messages.one_line(report.message)):
        yield "its agent the last time", words[: reviews.SUMMARY_MAX]
    elif left:
        most = reviews.SUMMARY_MAX
        if words := messages.one_line(left.commit, most):
            yield "its newest commit", words
        if words := messages.one_line(left.printed):
            yield "the last that its agent printed", words if len(words) <= most else f"…{words[1 - most :]}"
