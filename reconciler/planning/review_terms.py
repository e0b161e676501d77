"""Under what a review judges: the policy, who reviews, and what it is to look for. Pure. What changed since is named."""

from __future__ import annotations

import hashlib

import msgspec

from reconciler.model.desired import EpicSpec

_NAMES = (
    "mergePolicy.review",
    "mergePolicy.risk",
    "mergePolicy.protectedPaths",
    "its reviewer",
    "what it is to look for",
)
_ANY = "the policy, its reviewer or what that is to look for"


def terms(spec: EpicSpec, brief: str) -> str:
    """All of it as one word: a verdict counts for what was judged under the same."""
    review, (high, low), protected, who, brief = _each(spec, brief)
    return _word((review, high, low, protected), who, brief)


def parts(spec: EpicSpec, brief: str) -> tuple[str, ...]:
    """The same, a word for each of its parts."""
    return tuple(_word(each)[:8] for each in _each(spec, brief))


def changed(before: tuple[str, ...], spec: EpicSpec, brief: str) -> str:
    """What of it is not any more as it was, by name; of a review that was made before this was written down, what it may be.

    >>> from reconciler.model.desired import AgentSpec
    >>> changed((), EpicSpec(name="x", repository="/", agent=AgentSpec()), "")
    'the policy, its reviewer or what that is to look for'
    """
    now = parts(spec, brief)
    names = [name for name, old, new in zip(_NAMES, before, now, strict=False) if old != new]
    return ", ".join(names) if len(before) == len(now) and names else _ANY


def _each(spec: EpicSpec, brief: str) -> tuple[object, tuple[object, object], object, object, str]:
    merge, reviewer = spec.merge, spec.reviewing
    who = (reviewer.kind, reviewer.argv, reviewer.model, [(each.labels, each.model) for each in reviewer.overrides])
    return merge.review.each, (merge.risk_high, merge.risk_low), merge.protected_paths, who, brief


def _word(*values: object) -> str:
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:16]
