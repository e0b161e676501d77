"""What an agent's own output says about its run. Plain values; who prints what is known to `agents` alone.

What an agent prints is hostile text: numbers and ids get into a `Report` only through `dollars`, `count` and `session`.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

DOLLARS_MAX, TOKENS_MAX = 10_000.0, 10**10
SAID_MAX = 400
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")


class Fault(StrEnum):
    """An agent's own word for why it did not do its task."""

    USAGE_LIMIT = "usage-limit"  # of its account, or of the rate of requests
    UNAVAILABLE = "unavailable"  # not logged in, refuses to start
    MODEL = "model"  # there is no such model, or not for its account
    UNPAID = "unpaid"  # its account has no credit left
    NETWORK = "network"  # its model can't be reached, is overloaded or out of order: all that may pass
    CONTEXT = "context"  # the conversation no longer fits into its model
    REFUSED = "refused"  # it was not permitted what it tried; says nothing against what it did
    BUDGET = "budget"  # it has spent what it was given
    SESSION = "session"  # the session that it was to go on with is gone
    FAILED = "failed"  # anything else


class Report(Struct, frozen=True, kw_only=True):
    """How a run went, in its agent's words. `done`: it says that it came to its end. None: it does not say.

    `usd` and `tokens` are of this run alone, also where it went on with an older session; with `of_session` they are of
    all runs of its session so far. `retry_at`: when the limit that stopped it is lifted; `worded`: read out of a sentence.
    `message`: the last words for people, or why it failed.
    """

    done: bool = False
    fault: Fault | None = None
    message: str = ""
    session: str | None = None
    usd: float | None = None
    tokens: int | None = None
    retry_at: datetime | None = None
    worded: bool = False
    of_session: bool = False

    @property
    def blameless(self) -> bool:
        """True where neither the task nor what was done for it is at fault: it uses up no attempt."""
        return self.fault in _BLAMELESS

    @property
    def said(self) -> str:
        """The message, for an older watch that loads an agent's module of this version under itself."""
        return self.message


# What a person has to fix before any agent of that kind can work.
UNFIT = (Fault.UNAVAILABLE, Fault.MODEL, Fault.UNPAID)
_BLAMELESS = (*UNFIT, Fault.USAGE_LIMIT, Fault.NETWORK, Fault.BUDGET, Fault.SESSION)


def dollars(value: object) -> float | None:
    """A cost that can be one; None for anything else.

    >>> dollars(0.25), dollars(2), dollars(-1), dollars(float("nan")), dollars(1e300), dollars(True), dollars("3")
    (0.25, 2.0, None, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= DOLLARS_MAX else None


def count(value: object) -> int | None:
    """A number of tokens that can be one; None for anything else.

    >>> count(12), count(-1), count(10**30), count(1.5), count(False)
    (12, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= TOKENS_MAX else None


def session(value: object) -> str | None:
    """The id of a session that may become an argument; None for anything else.

    >>> session("0b5d8c1e-7d3f-4e9a-9d43-6f9d3c0c7a11"), session("--help"), session("../../etc")
    ('0b5d8c1e-7d3f-4e9a-9d43-6f9d3c0c7a11', None, None)
    """
    return value if isinstance(value, str) and _SESSION.fullmatch(value) else None


def last_words(text: object) -> str:
    """The last words of a text, short: its end says more than its beginning."""
    words = text.strip() if isinstance(text, str) else ""
    return words if len(words) <= SAID_MAX else f"…{words[1 - SAID_MAX :]}"
