"""How REST writes things: lower-case words, snake_case, only what clients of ours read."""

from __future__ import annotations

from typing import Any

from github import merging
from github.records import Account, CheckRun, Comment, Label, Protection, Pull, Review, Status
from github.repository import Repository
from github.rules import passed
from github.views import stamp

Json = dict[str, Any]


def account(url: str, who: Account) -> Json:
    """A user."""
    return {"login": who.login, "id": who.number, "type": who.kind, "html_url": f"{url}/{who.login}"}


def repository(url: str, it: Repository) -> Json:
    """A repository, with what it lets people do."""
    rank = ("READ", "TRIAGE", "WRITE", "MAINTAIN", "ADMIN").index(it.permission or "WRITE")
    return {
        "id": it.number,
        "node_id": f"R_{it.number}",
        "name": it.name,
        "full_name": it.full_name,
        "owner": account(url, it.site.account(it.owner)),
        "private": it.private,
        "fork": it.parent is not None,
        "archived": it.archived,
        "default_branch": it.default,
        "html_url": f"{url}/{it.full_name}",
        "ssh_url": f"git@{url.partition('://')[2]}:{it.full_name}.git",
        "permissions": {
            "admin": rank >= 4, "maintain": rank >= 3, "push": rank >= 2, "triage": rank >= 1, "pull": True
        },
        "allow_merge_commit": it.allow_merge,
        "allow_squash_merge": it.allow_squash,
        "allow_rebase_merge": it.allow_rebase,
        "allow_auto_merge": it.allow_auto_merge,
        "allow_update_branch": it.allow_update_branch,
        "delete_branch_on_merge": it.delete_branch_on_merge,
    }  # fmt: skip


def pull(url: str, it: Repository, pull: Pull) -> Json:
    """A pull request as a list shows it."""
    source = it.site.find(pull.source) if pull.source else None
    owner = (pull.source or "unknown").partition("/")[0]
    return {
        "number": pull.number,
        "id": pull.number,
        "node_id": f"PR_{it.full_name}_{pull.number}",
        "state": "open" if pull.state == "OPEN" else "closed",
        "draft": pull.draft,
        "title": pull.title,
        "body": pull.body or None,
        "user": account(url, it.site.account(pull.author)),
        "labels": [label(each) for each in pull.labels],
        "head": {
            "label": f"{owner}:{pull.branch}",
            "ref": pull.branch,
            "sha": pull.head,
            "repo": repository(url, source) if source else None,
        },
        "base": {"label": f"{it.owner}:{pull.into}", "ref": pull.into, "sha": pull.base, "repo": repository(url, it)},
        "html_url": f"{url}/{it.full_name}/pull/{pull.number}",
        "created_at": stamp(pull.created_at),
        "updated_at": stamp(pull.updated_at),
        "closed_at": stamp(pull.closed_at),
        "merged_at": stamp(pull.merged_at),
        "merge_commit_sha": pull.merge_commit,
        "auto_merge": {"merge_method": pull.auto_merge.method.lower()} if pull.auto_merge else None,
    }


def details(it: Repository, pull: Pull) -> Json:
    """What only `GET pulls/N` adds."""
    mergeable = it.mergeable(pull)
    by = it.site.account(pull.merged_by) if pull.merged_by else None
    return {
        "merged": pull.state == "MERGED",
        # While it is open this is no merge, only the try of one.
        "merge_commit_sha": pull.merge_commit or (it.test_merge(pull) if mergeable == "MERGEABLE" else None),
        "merged_by": {"login": by.login} if by else None,
        "mergeable": {"MERGEABLE": True, "CONFLICTING": False}.get(mergeable),
        "mergeable_state": merging.merge_state(it, pull, mergeable).lower(),
        "rebaseable": mergeable == "MERGEABLE",
    }


def review(url: str, it: Repository, each: Review) -> Json:
    """A review."""
    return {
        "id": each.number,
        "node_id": f"PRR_{each.number}",
        "user": account(url, it.site.account(each.author)),
        "body": each.body,
        "state": each.state,
        "commit_id": each.commit,
        "submitted_at": stamp(each.submitted_at),
    }


def comment(url: str, each: Comment) -> Json:
    """A comment."""
    return {
        "id": each.number,
        "node_id": f"IC_{each.number}",
        "body": each.body,
        "user": {"login": each.author, "html_url": f"{url}/{each.author}"},
        "created_at": stamp(each.created_at),
    }


def label(each: Label) -> Json:
    """A label."""
    return {"id": each.number, "node_id": f"LA_{each.number}", "name": each.name, "color": each.color}


def check(run: CheckRun) -> Json:
    """A check run."""
    return {
        "id": run.number,
        "node_id": f"CR_{run.number}",
        "name": run.name,
        "head_sha": run.commit,
        "status": run.status.lower(),
        "conclusion": run.conclusion.lower() if run.conclusion else None,
        "started_at": stamp(run.started_at),
        "completed_at": stamp(run.completed_at),
        "details_url": run.url,
        "html_url": run.url,
        "check_suite": {"id": run.number},
        "app": {"id": 15368, "slug": "github-actions", "name": "GitHub Actions"},
    }


def status(each: Status) -> Json:
    """A commit status."""
    return {
        "id": each.number,
        "context": each.context,
        "state": each.state.lower(),
        "description": each.description or None,
        "target_url": each.url or None,
        "created_at": stamp(each.created_at),
        "creator": {"login": each.creator},
    }


def combined(it: Repository, sha: str) -> Json:
    """All statuses of a commit, the newest of each context."""
    newest = [item for item in it.shown(sha) if isinstance(item, Status)]
    results = {passed(item) for item in newest}
    state = "failure" if False in results else "pending" if None in results or not newest else "success"
    return {"sha": sha, "state": state, "total_count": len(newest), "statuses": [status(each) for each in newest]}


def rules(it: Repository, branch: str) -> list[Json]:
    """The active rules of a branch, one object each, as rulesets show them to everybody."""
    found = it.rules.get(branch)
    if found is None or found.classic:
        return []
    source = {"ruleset_source_type": "Repository", "ruleset_source": it.full_name, "ruleset_id": 1}
    told: list[Json] = [{"type": "deletion", **source}, {"type": "non_fast_forward", **source}]
    told = [{"type": "tag_name_pattern", **source} for _ in range(found.padding)] + told
    if found.reviews or found.conversations or len(found.methods) < 3:
        parameters: Json = {
            "required_approving_review_count": found.reviews,
            "allowed_merge_methods": list(found.methods),
            "dismiss_stale_reviews_on_push": found.dismiss_stale,
            "require_code_owner_review": False,
            "require_last_push_approval": found.last_push,
            "required_review_thread_resolution": found.conversations,
        }
        told.append({"type": "pull_request", **source, "parameters": parameters})
    if found.required:
        parameters = {
            "required_status_checks": [{"context": name} for name in found.required],
            "strict_required_status_checks_policy": found.strict,
        }
        told.append({"type": "required_status_checks", **source, "parameters": parameters})
    told += [{"type": "required_linear_history", **source}] if found.linear else []
    told += [{"type": "required_signatures", **source}] if found.signed else []
    if found.queue:
        told.append({"type": "merge_queue", **source, "parameters": {"merge_method": "MERGE"}})
    return told


def protected(found: Protection | None) -> Json:
    """What everybody may know of a branch's classic protection. A ruleset protects it too, and is not told of here."""
    if found is None or not found.classic:
        checks: Json = {"enforcement_level": "off", "contexts": [], "checks": []}
        return {"protected": found is not None, "protection": {"enabled": False, "required_status_checks": checks}}
    level = "everyone" if found.admins_too else "non_admins"
    checks = {"enforcement_level": level if found.required else "off", "contexts": list(found.required)}
    return {"protected": True, "protection": {"enabled": True, "required_status_checks": checks}}


def protection(found: Protection) -> Json:
    """The classic protection of a branch."""
    told: Json = {
        "enforce_admins": {"enabled": found.admins_too},
        "required_linear_history": {"enabled": found.linear},
        "allow_force_pushes": {"enabled": False},
        "allow_deletions": {"enabled": False},
    }
    if found.required:
        told["required_status_checks"] = {"strict": found.strict, "contexts": list(found.required)}
    if found.reviews:
        told["required_pull_request_reviews"] = {
            "required_approving_review_count": found.reviews,
            "dismiss_stale_reviews": found.dismiss_stale,
        }
    return told


def limits(**budgets: Any) -> Json:
    """What is left of this hour, by resource."""
    told = {
        name: {
            "limit": budget.limit,
            "used": budget.used,
            "remaining": budget.remaining,
            "reset": int(budget.reset_at.timestamp()),
        }
        for name, budget in budgets.items()
    }
    return {"resources": told, "rate": told["core"]}
