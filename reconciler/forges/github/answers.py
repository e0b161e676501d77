"""What `gh api -i` printed, taken apart, and what its refusals mean for us. Pure.

Texts are looked for in lower case and in part: they differ between versions of gh and of GitHub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec import Struct, field

from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError
from reconciler.system.shell import Finished

_STATUS = re.compile(r"HTTP/[\d.]+ (\d{3})\b")
_LOGGED_OUT = ("gh auth login", "bad credentials", "authentication token", "requires authentication")
_LIMITED = ("rate limit", "abuse detection", "too quickly")
_RULES = (
    "protected branch", "rule violation", "rules", "review is required", "required status check", "not authorized",
    "not allowed", "must be resolved", "changes must be made", "merge queue",
)  # fmt: skip
_LIMIT_S = 60.0
_LIMIT_MOST_S = 3600.0
NOT_YET_S = 15.0
CHECK = "see what 'gh auth status' says"
# A fine-grained token can't be given every right that is needed, and none can be added to one that is in GH_TOKEN.
LOG_IN_OTHERWISE = (
    "unset GH_TOKEN and log in with 'gh auth login', or set a classic token with the scopes repo and workflow"
)
READ_CHECKS = f"give its token the permissions 'Checks: read' and 'Commit statuses: read', or {LOG_IN_OTHERWISE}"
_SLOW = (502, 504)


class LostError(TemporaryError):
    """No answer came, or none that says whether it was done: look before anything is done again."""


class SlowError(LostError):
    """GitHub took longer than it gives a question, or than we do."""


class LimitError(TemporaryError):
    """Nothing is to be asked for `delay` seconds."""


class Answer(Struct, frozen=True, kw_only=True):
    """An answer of GitHub's. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    complaint: str = ""  # what gh complained of

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        """GitHub's own words, with those of each single error."""
        if not isinstance(self.body, dict):
            return self.complaint
        errors = self.body.get("errors")
        found = [_message(each) for each in errors] if isinstance(errors, list) else []
        return ": ".join(part for part in (str(self.body.get("message") or ""), "; ".join(filter(None, found))) if part)

    @property
    def text(self) -> str:
        """The message and the complaint, in lower case."""
        return f"{self.message} {self.complaint}".lower()


def read(finished: Finished) -> Answer:
    """The answer in what `gh api -i` printed. Raises LostError where there is none, PermanentError when logged out."""
    head, _, body = finished.text.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    found = finished.err.decode("utf-8", "replace").strip()[:500]
    status = _STATUS.match(first)
    if not status:
        if finished.code == 4 or any(word in found.lower() for word in _LOGGED_OUT):
            # With 4 gh only says what the hint says, in two lines of which the last is no sentence.
            why = "" if finished.code == 4 else f": {finished.complaint}"
            raise PermanentError(f"gh is not logged in{why}", hint="gh auth login")
        why = f"gh printed {first.strip()[:80]!r}" if first.strip() and not found else finished.complaint
        raise LostError(f"GitHub did not answer: {why}", delay=NOT_YET_S, hint=CHECK)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(status=int(status[1]), headers=headers, body=_json(body), complaint=found)


def by_rules(answer: Answer) -> bool:
    """True for a change that the rules of the repository forbid, as they stand."""
    return answer.status in (403, 405, 422) and any(word in answer.text for word in _RULES)


def refusal(answer: Answer, what: str, now: float) -> ReconcileError:
    """What an answer that is none of 2xx means. `what` was asked for; `now`: seconds since the epoch, as GitHub counts."""
    why = f"{what}: {answer.message or answer.complaint or answer.status}"[:400]
    if (delay := limited(answer, now)) is not None:
        return LimitError(f"GitHub's rate limit is used up ({why})", delay=delay)
    match answer.status:
        case 401:
            return PermanentError(f"gh is not logged in ({why})", hint="gh auth login")
        case 404 | 410 | 451:
            return PermanentError(
                f"GitHub has it not, or does not show it to this login ({why})", hint="gh auth status"
            )
        case 405 if "base branch was modified" in answer.text:
            return TemporaryError(why, delay=4.0)
        case _ if by_rules(answer):
            return TemporaryError(f"the rules of the repository forbid it ({why})", delay=60.0)
        case 405:
            return TemporaryError(why, delay=NOT_YET_S)
        case 409:
            return ChangedError(why)
        case status if status in _SLOW:
            return SlowError(f"GitHub is in trouble ({why})", delay=NOT_YET_S)
        case status if status >= 500 or status == 408:
            return LostError(f"GitHub is in trouble ({why})", delay=NOT_YET_S)
        case _:
            return PermanentError(why)


def took_too_long(text: str) -> bool:
    """True for what GitHub says of a question that it gave up on: with status 200, as an error beside no data."""
    return "something went wrong while executing your query" in text.lower()


def limited(answer: Answer, now: float) -> float | None:
    """For how many seconds nothing is to be asked; None where no limit is the reason."""
    if answer.status not in (200, 403, 429) or (answer.status != 429 and not _speaks_of_limits(answer)):
        return None
    after, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        delay = float(after)
    elif answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        delay = float(reset) - now
    else:
        delay = _LIMIT_S
    return min(max(delay, 1.0), _LIMIT_MOST_S)


def _speaks_of_limits(answer: Answer) -> bool:
    return "retry-after" in answer.headers or any(word in answer.text for word in _LIMITED)


def _message(error: object) -> str:
    if isinstance(error, dict):
        # With a code alone it is the field that says what is wrong.
        return str(error.get("message") or " ".join(str(error[k]) for k in ("field", "code") if error.get(k)))
    return str(error)


def _json(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None  # an HTML page of a proxy, nothing at all


@contextmanager
def legible(what: str) -> Iterator[None]:
    """Raises TemporaryError for an answer that does not have the form that it should have."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TemporaryError(f"GitHub: {what} can't be read ({type(error).__name__}: {error})", delay=60.0) from error
