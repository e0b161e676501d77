"""What was used, for JSON and for people."""

from __future__ import annotations

from typing import Any

from reconciler.model.report import Report
from reconciler.planning.budget import Spend


def spend(used: Spend) -> dict[str, Any]:
    """What was used at least, as it stands in JSON; `untold`: how many runs could not say what they cost."""
    return {"usd": round(used.usd, 6), "tokens": used.tokens, "untold": used.untold}


def words(used: dict[str, Any]) -> str:
    """What was used, as short as can be; empty where it is nothing.

    >>> words({"usd": 1.25, "tokens": 120345, "untold": 1}), words({"usd": 0.0, "tokens": 0, "untold": 0})
    ('at least $1.25, 120k tokens', '')
    """
    parts = (f"${used['usd']:.2f}" if used["usd"] else "", f"{tokens(used['tokens'])} tokens" if used["tokens"] else "")
    text = ", ".join(filter(None, parts))
    return f"at least {text}" if text and used["untold"] else text


def tokens(number: int) -> str:
    """A number of tokens, rounded.

    >>> tokens(999), tokens(120345), tokens(2_300_000)
    ('999', '120k', '2.3M')
    """
    if number < 1000:
        return str(number)
    return f"{number / 1e6:.1f}M" if number >= 1_000_000 else f"{number // 1000}k"


def report(value: Report) -> dict[str, Any]:
    """What an agent reported of a run, as it stands in JSON."""
    return {
        "done": value.done,
        "fault": str(value.fault) if value.fault else None,
        "said": value.message,
        "session": value.session,
        "usd": value.usd,
        "tokens": value.tokens,
    }
