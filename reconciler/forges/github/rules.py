"""What a repository and the rules of one of its branches ask of what lands there: decoded, never enforced here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.forges.github.gh import Gh, quoted
from reconciler.forges.github.slug import Slug
from reconciler.model.observed import Rules

FORGE = "GitHub"
_MAY_PUSH = ("ADMIN", "MAINTAIN", "WRITE")
# A repository that may have no rules says 403, an older GitHub knows nothing of them.
_NONE = (403, 404)


def read(gh: Gh, slug: Slug, base: str) -> tuple[Any, Any]:
    """What GitHub tells everybody who may push about the rules of a branch: its rulesets, and its own protection."""
    branch = quoted(base)
    rulesets = gh.get(f"{slug.path}/rules/branches/{branch}", missing=_NONE)
    return rulesets, gh.get(f"{slug.path}/branches/{branch}", missing=_NONE)


def decoded(
    slug: Slug,
    base: str,
    about: Mapping[str, Any],
    told: tuple[Any, Any],
    *,
    queue: bool = False,
    red: frozenset[str] = frozenset(),
) -> Rules:
    """The rules of a branch. `about`: the repository itself, `queue`: the branch has one, `red`: checks that fail on it."""
    rulesets, branch = told
    rules = [rule for rule in rulesets or () if isinstance(rule, dict)]
    required = [*_required(rules), *_protected(branch)]
    queued = queue or any(rule.get("type") == "merge_queue" for rule in rules)
    return Rules(
        forge=FORGE,
        required=tuple(dict.fromkeys(required)),
        methods=_methods(about, rules),
        red=red,
        closed=_closed(slug, about),
        queue=f"{slug} lands on {base} through its merge queue only" if queued else None,
    )


def _closed(slug: Slug, about: Mapping[str, Any]) -> str | None:
    if about.get("isArchived"):
        return f"{slug} is archived: nothing can be pushed to it"
    if about.get("viewerPermission") not in _MAY_PUSH:
        return f"this login may not push to {slug}; log in as somebody who may, or write 'forge: local'"
    return None


def _methods(about: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    allowed = {
        "merge": about.get("mergeCommitAllowed"),
        "squash": about.get("squashMergeAllowed"),
        "rebase": about.get("rebaseMergeAllowed"),
    }
    methods = {method for method, yes in allowed.items() if yes}
    for rule in rules:
        match rule.get("type"):
            case "required_linear_history":
                methods.discard("merge")
            case "required_signatures":
                methods.discard("rebase")  # GitHub signs what it makes itself, and can't for others
            case "pull_request" if named := _parameters(rule).get("allowed_merge_methods"):
                methods &= set(named)
    return frozenset(methods)


def _required(rules: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for rule in rules:
        if rule.get("type") == "required_status_checks":
            yield from (check["context"] for check in _parameters(rule).get("required_status_checks") or ())


def _protected(branch: Any) -> Iterable[str]:
    protection = (branch or {}).get("protection") or {}
    checks = protection.get("required_status_checks") or {}
    if protection.get("enabled", True) and checks.get("enforcement_level") != "off":
        yield from checks.get("contexts") or ()


def _parameters(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    return rule.get("parameters") or {}
