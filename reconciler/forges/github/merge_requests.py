"""Asking GitHub to merge: in the background where it can, whose result is asked for by its id; else with one call that waits.

Its answer may be lost, and it may be at work still. Of a merge in the background GitHub tells the id again to whoever asks for the
same; of the call that waits the result is looked for, and it is not made again before GitHub can't be at work on it any more.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.forges.github import answers
from reconciler.forges.github.answers import Answer, LostError
from reconciler.forges.github.gh import Gh
from reconciler.forges.github.look import Look
from reconciler.forges.github.notes import Attempt, Notes, PendingMerge
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ReconcileError, TemporaryError, UnfitError
from reconciler.model.names import Sha
from reconciler.model.values import replace

# GitHub may still be running on what it gave no answer for.
STILL_AT_WORK = timedelta(seconds=60)
POLLS = 5
APART_S = 1.0
AGAIN_S = 5.0
_NOT_THERE = (404, 410)


class MergeRequests:
    """What is asked of GitHub for a merge that was noted."""

    def __init__(self, gh: Gh, look: Look, notes: Notes) -> None:
        self._gh, self._look, self._notes = gh, look, notes
        self._waits = False  # this GitHub merges nothing in the background

    def merged(self, attempt: Attempt, title: str, text: str, *, again: bool = False) -> Sha:
        """The commit that GitHub says it made; the note is taken back where it says that it made none.

        `again`: it may have been asked for this very merge already, and its answer was lost.
        """
        fields = {"sha": attempt.head, "merge_method": attempt.method}
        if attempt.method != "rebase":
            fields |= {"commit_title": title, "commit_message": text}
        try:
            answer = self._asked(attempt, fields, again=again)
        except LostError as lost:
            return self._read_back(attempt, lost)
        except ReconcileError:
            if not again:
                self._notes.end(attempt.base)  # refused before anything was done: a limit, no login
            raise
        if uuid := _uuid(answer, attempt):
            attempt = replace(attempt, uuid=uuid)
            self._notes.begin(attempt)
            return self.result(attempt) or self._read_back(attempt, LostError("its result is kept no longer"))
        if answer.ok and (commit := _commit(answer.body)):
            return commit
        if answer.ok:
            nameless = LostError(f"merge #{attempt.number}: GitHub's answer names no commit", delay=5.0)
            return self._read_back(attempt, nameless)
        return self._refused(attempt, _spoken(answer.body) or answer)

    def result(self, attempt: Attempt) -> Sha | None:
        """The commit that a merge in the background made; None where GitHub knows nothing of it any more.

        Raises TemporaryError while it is at work, and what it was refused with.
        """
        path = f"{self._path(attempt)}/merge-async/{attempt.uuid}"
        for n in range(POLLS):
            body = self._gh.get(path, missing=_NOT_THERE)
            match body.get("status") if isinstance(body, dict) else None:
                case "merged":
                    return _commit(body)
                case "failed" | "enqueued":
                    return self._refused(attempt, _spoken(body) or Answer(status=405, complaint=str(body["status"])))
                case None:
                    return None
            if n + 1 < POLLS:
                time.sleep(APART_S)
        raise TemporaryError(f"GitHub is merging #{attempt.number}", delay=AGAIN_S)

    def _asked(self, attempt: Attempt, fields: dict[str, str], *, again: bool) -> Answer:
        path = self._path(attempt)
        if not self._waits:
            later = {**fields, "merge_action": "direct_merge"}
            answer = self._gh.change("PUT", f"{path}/merge-async", later)
            if answer.status not in _NOT_THERE:
                return answer
            self._waits = True
        if again:
            raise LostError(f"merge #{attempt.number}: nobody heard what GitHub said")
        return self._gh.change("PUT", f"{path}/merge", fields)

    def _refused(self, attempt: Attempt, answer: Answer) -> Sha:
        number = attempt.number
        self._look.stale(rules_too=answer.status in (403, 405, 422))
        pull = self._look.one(number)
        if pull and pull.landed and pull.head == attempt.head:
            return pull.landed  # somebody else was first, with the same head
        self._notes.end(attempt.base)
        if answers.by_rules(answer):
            words = (answer.message or answer.complaint)[:400]
            self._notes.refused(number, PendingMerge(head=attempt.head, answer=words))
        if attempt.method == MergeMethod.REBASE and "can't be rebased" in answer.text:
            raise UnfitError(f"{attempt.task}: merge #{number}: {answer.message or answer.complaint}")
        raise answers.refusal(answer, f"{attempt.task}: merge #{number}", datetime.now(UTC).timestamp())

    def _read_back(self, attempt: Attempt, lost: LostError) -> Sha:
        """The commit, where GitHub shows the merge although its answer was lost; else the note stays, for later."""
        pull = self._look.one(attempt.number)
        if pull and pull.landed and pull.head == attempt.head:
            return pull.landed
        delay = max(at_work(attempt), AGAIN_S) if self._waits else AGAIN_S
        raise TemporaryError(f"whether #{attempt.number} was merged is not known yet ({lost})", delay=delay) from lost

    def _path(self, attempt: Attempt) -> str:
        return f"{self._look.slug.path}/pulls/{attempt.number}"


def at_work(attempt: Attempt) -> float:
    """For how many seconds GitHub may still be at work on what it gave no answer for; 0.0: for none."""
    left = attempt.asked_at + STILL_AT_WORK - datetime.now(UTC)
    return left.total_seconds() if timedelta() < left <= STILL_AT_WORK else 0.0


def _uuid(answer: Answer, attempt: Attempt) -> str | None:
    """The id of a merge that is at work: of this one, or of one that was asked for before, of the same head."""
    details = (answer.body.get("details") or {}) if isinstance(answer.body, dict) else {}
    if answer.status not in (202, 409) or details.get("expected_head_sha") != attempt.head:
        return None
    return str(details["uuid"]) if details.get("uuid") else None


def _commit(body: Any) -> Sha | None:
    if not isinstance(body, dict):
        return None
    sha = body.get("sha") or (body.get("details") or {}).get("sha")
    return Sha(sha) if sha else None


def _spoken(body: Any) -> Answer | None:
    """What the call that waits would have been answered, by the words of the other."""
    why = str((body.get("details") or {}).get("message") or "") if isinstance(body, dict) else ""
    status = 409 if "head branch" in why.lower() else 405
    return Answer(status=status, body={"message": why}) if why else None
