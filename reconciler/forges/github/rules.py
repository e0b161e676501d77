"""What a repository and the rules of one of its branches ask of what lands there: decoded, never enforced here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.forges.github import answers
from reconciler.forges.github.gh import Gh, quoted
from reconciler.forges.github.query import Page
from reconciler.forges.github.slug import Slug
from reconciler.model.names import Sha
from reconciler.model.observed import Rules

FORGE = "GitHub"
_MAY_PUSH = ("ADMIN", "MAINTAIN", "WRITE")
# GitHub tells of an App, and of GITHUB_TOKEN, not what it may do: that shows when it is tried.
_MUTE = (
    "this login is a GitHub App's: if it is the GITHUB_TOKEN of a workflow, what it pushes, updates and merges starts no "
    "workflows; give reconcile the token of an App of yours, or of a person"
)
# These forbid nobody to push something new that contains the base; of a rule that is not known here, nobody knows.
_LET_PUSH = ("creation", "deletion", "non_fast_forward", "required_linear_history", "tag_name_pattern")
# A repository that may have no rules says 403, an older GitHub knows nothing of them.
_NONE = (403, 404)


def read(gh: Gh, slug: Slug, base: str) -> tuple[Any, Any]:
    """What GitHub tells everybody who may push about the rules of a branch: its rulesets, and its own protection."""
    branch = quoted(base)
    rulesets = gh.pages(f"{slug.path}/rules/branches/{branch}", missing=_NONE)
    return rulesets, gh.get(f"{slug.path}/branches/{branch}", missing=_NONE)


def denied(gh: Gh, slug: Slug, commit: Sha) -> str | None:
    """Why this login may read neither checks nor statuses of a commit; None where it may read either, or nobody says so."""
    paths = (f"{slug.path}/commits/{commit}/check-runs", f"{slug.path}/commits/{commit}/status")
    found = [gh.denied(f"{path}?per_page=1") for path in paths]
    return found[0] if all(found) else None


def decoded(asked: Slug, base: str, page: Page, value: tuple[Any, Any], unread: str | None = None) -> Rules:
    """The rules of a branch of the repository that was `asked` for. `value`: what `read` was answered; `unread`: why no
    check of it can be read.
    """
    rulesets, branch = value
    there = asked.called(page.about["nameWithOwner"])
    rules = [rule for rule in rulesets or () if isinstance(rule, dict)]
    required = [*_required(rules), *_protected(branch)]
    queued = base in page.queues or any(rule.get("type") == "merge_queue" for rule in rules)
    return Rules(
        forge=FORGE,
        required=tuple(dict.fromkeys(name for name, _ in required)),
        apps=_apps(required),
        methods=_methods(page.about, rules),
        red=page.red.get(base, frozenset()),
        closed=_closed(there, base, page),
        renamed=_renamed(asked, there),
        mute=None if page.about.get("viewerPermission") else _MUTE,
        unread=f"this login can read no check of {there}: {unread}; {answers.READ_CHECKS}" if unread else None,
        unpushable=_unpushable(rules, branch),
        queue=f"{there} lands on {base} through its merge queue only" if queued else None,
    )


def _closed(slug: Slug, base: str, page: Page) -> str | None:
    about = page.about
    if about.get("isArchived"):
        return f"{slug} is archived: nothing can be pushed to it"
    if about.get("viewerPermission") not in (None, *_MAY_PUSH):
        return f"this login may not push to {slug}; log in as somebody who may, or write 'forge: local'"
    if base not in page.heads:
        default = (about.get("defaultBranchRef") or {}).get("name")
        renamed = f"is it {default} now? then 'git fetch origin {default}:{default}', and write 'base: {default}'"
        return f"{slug} has no branch {base}: {renamed if default else f'git push origin {base}'}"
    return None


def _unpushable(rules: Iterable[Mapping[str, Any]], branch: Any) -> str | None:
    """Why nobody may push to the branch itself. Who may pass over a rule is not asked: it is kept."""
    forbid = next((str(rule.get("type")) for rule in rules if rule.get("type") not in _LET_PUSH), None)
    if forbid:
        return f"its rule '{forbid}' is for what lands by a pull request"
    protected = ((branch or {}).get("protection") or {}).get("enabled")
    return "the branch is protected" if protected else None


def _renamed(asked: Slug, there: Slug) -> str | None:
    if asked.same(there):
        return None
    return f"{asked} is {there} now, and found by its old name for as long as nobody else takes that"


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


def _required(rules: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, int | None]]:
    """Names of checks, each with the app that must report it where only one may."""
    for rule in rules:
        if rule.get("type") == "required_status_checks":
            for check in _parameters(rule).get("required_status_checks") or ():
                yield check["context"], _app(check.get("integration_id"))


def _protected(branch: Any) -> Iterable[tuple[str, int | None]]:
    protection = (branch or {}).get("protection") or {}
    checks = protection.get("required_status_checks") or {}
    if not protection.get("enabled", True) or checks.get("enforcement_level") == "off":
        return
    named = {check["context"]: _app(check.get("app_id")) for check in checks.get("checks") or ()}
    for context in dict.fromkeys((*(checks.get("contexts") or ()), *named)):
        yield context, named.get(context)


def _apps(required: Iterable[tuple[str, int | None]]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for name, app in required:
        if app is not None:
            found.setdefault(name, set()).add(app)
    return {name: frozenset(apps) for name, apps in found.items()}


def _app(number: object) -> int | None:
    """The app; None where any may report it, which some answers write as -1."""
    return number if isinstance(number, int) and number > 0 else None


def _parameters(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    return rule.get("parameters") or {}
