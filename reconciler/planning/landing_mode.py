"""How what is offered gets onto its base: as the manifest says, else as the rules of the base allow it. Pure."""

from __future__ import annotations

from reconciler.model.desired import EpicSpec, LandingMode, MergeMethod, MergeMode
from reconciler.model.observed import Base, Rules


def mode_of(spec: EpicSpec, base: Base) -> LandingMode:
    """CAS, FORGE or QUEUE. A base that is here is moved by us, whatever is written."""
    rules = base.rules
    if rules is None:
        return LandingMode.CAS
    if spec.merge.landing is not LandingMode.AUTO:
        return spec.merge.landing
    if rules.queue:
        return LandingMode.QUEUE
    # What GitHub finds on the base it calls merged by itself only where that holds the very commits of the branch.
    pushed = spec.merge.tests and spec.merge.method is MergeMethod.MERGE and rules.unpushable is None
    return LandingMode.CAS if pushed else LandingMode.FORGE


def forbidden(spec: EpicSpec, rules: Rules) -> str | None:
    """What the rules of a base have against how a manifest has it merged there; None: nothing."""
    otherwise, written = "write 'mergePolicy.landing: auto'", spec.merge.landing
    if written is LandingMode.QUEUE and not rules.queue:
        return f"{spec.base} has no merge queue; {otherwise}"
    if rules.queue and written not in (LandingMode.QUEUE, LandingMode.AUTO):
        return f"{rules.queue}; {otherwise}"
    if written is LandingMode.CAS and rules.unpushable:
        return f"nothing may be pushed to {spec.base} itself: {rules.unpushable}; {otherwise}"
    if written is LandingMode.CAS and not spec.merge.tests:
        return "'landing: cas' pushes what your own checks have passed, and there are none: write 'mergePolicy.checks'"
    if spec.merge.staging and rules.queue:
        return f"{spec.base} has a merge queue, which tests by itself what it merges: take 'queue.staging' out"
    return None


def illegible(spec: EpicSpec, rules: Rules) -> str | None:
    """Why nothing could ever be judged that lands there as this manifest wants it, whatever agents are paid for; None: it can."""
    if rules.unread is None or spec.merge.mode is MergeMode.MANUAL:
        return None
    if required := spec.merge.required_checks or rules.required:
        return f"nothing lands on {spec.base} before {', '.join(required)} passed, and {rules.unread}"
    if spec.merge.staging:
        return f"'queue.staging' lands what {rules.forge} found green, and {rules.unread}"
    return None if spec.merge.checks else f"{rules.unread}; or have checks run here: write 'mergePolicy.checks'"
