"""What the error messages of agents mean, where they have no words of their own for it."""

from __future__ import annotations

import re

from reconciler.model.report import Fault

# In this order: a message about too many tokens a minute is of a limit, and of no context; one about a quota that is used up
# for good is of money.
_MEANT = (
    (r"insufficient.?(quota|balance|credit|funds)|credit balance|payment.?required|billing|\b402\b", Fault.UNPAID),
    (
        r"model\W+(\S+\W+)?(is |was )?(not (found|available|supported)|does not exist)|no such model|unknown model|"
        r"(invalid|unsupported) model|model.?not.?found|not found for api version|do not have access to (the |this )?model|"
        r"\b404\b.*\bmodel|\bmodel\b.*\b404\b",
        Fault.MODEL,
    ),
    (r"\b429\b|rate.?limit|usage.?limit|quota|RESOURCE_EXHAUSTED|too many requests", Fault.USAGE_LIMIT),
    (r"context.?(window|length|overflow)|(prompt|input) is too long|token limit|maximum context", Fault.CONTEXT),
    (r"\b40[13]\b|authenticat|unauthorized|api.?key|not logged in|environment variable|credential", Fault.UNAVAILABLE),
    (r"\b(50[0234]|529)\b|internal ?server ?error|overloaded|high demand|unavailable", Fault.NETWORK),
    (r"connect|network|ECONN|ENOTFOUND|timed? ?out|error sending request|stream disconnected", Fault.NETWORK),
)
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), fault) for pattern, fault in _MEANT)


def meant(message: str) -> Fault:
    """The fault that an error message tells of.

    >>> str(meant("unexpected status 401 Unauthorized")), str(meant("last status: 429 Too Many Requests"))
    ('unavailable', 'usage-limit')
    >>> str(meant("last status: 500 Internal Server Error")), str(meant("no such tool"))
    ('network', 'failed')
    """
    return next((fault for pattern, fault in _PATTERNS if pattern.search(message[:2000])), Fault.FAILED)
