"""The calls below `/repos`, `/user` and `/rate_limit`: who answers which path, and with what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from github import merging, rest_shapes
from github.mutations import change
from github.queries import Hub
from github.records import Problem, Pull
from github.repository import Repository

NOT_FOUND = Problem("Not Found", status=404)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, decoded. `me` is None for somebody without a token."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    me: str | None = None
    accept: str = ""


Reply = tuple[int, Any]
Answer = Callable[["Rest", Call, Repository, "re.Match[str]"], Reply]
ROUTES: list[tuple[str, re.Pattern[str], Answer]] = []


def route(method: str, path: str) -> Callable[[Answer], Answer]:
    """Answers `method` on a path below `/repos/{owner}/{name}`; `{x}` takes one part, `{x+}` all that follow."""
    pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", path)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

    def register(answer: Answer) -> Answer:
        ROUTES.append((method, re.compile(pattern), answer))
        return answer

    return register


class Rest:
    """The routes over one server."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def answer(self, call: Call) -> Reply:
        """Status and JSON (None: no body; str: sent as it is). Raises Problem."""
        if call.path == "/user":
            return 200, rest_shapes.account(self.hub.url, self.hub.account(self._who(call)))
        if call.path == "/rate_limit":
            me = call.me or ""
            return 200, rest_shapes.limits(core=self.hub.budget_of(me, "core"), graphql=self.hub.budget_of(me))
        if call.path == "/":
            return 200, {"current_user_url": "/user"}  # `gh auth status` reads the headers
        found = re.fullmatch(r"/repos/([^/]+)/([^/]+)(/.*)?", call.path)
        repository = self.hub.find(f"{found[1]}/{found[2]}") if found else None
        if found is None or repository is None or (repository.private and call.me is None):
            raise NOT_FOUND
        repository.look()
        if call.method != "GET":
            self._who(call)
            if repository.archived:
                raise Problem("Repository was archived so is read-only.", status=403)
        path = found[3] or ""
        for method, pattern, answer in ROUTES:
            # A slash in a branch's name may come as %2F: what is matched is still encoded.
            if method == call.method and (match := pattern.fullmatch(path)):
                return answer(self, call, repository, match)
        raise NOT_FOUND

    def writer(self, call: Call, repository: Repository) -> str:
        """Who asks, if they may write. Raises Problem."""
        if repository.permission in ("READ", "TRIAGE"):
            raise Problem("Resource not accessible by personal access token", status=403)
        return self._who(call)

    def _who(self, call: Call) -> str:
        if call.me is None:
            raise Problem("Requires authentication", status=401)
        return call.me

    def shape(self, repository: Repository, pull: Pull) -> Any:
        """A pull request as REST shows it."""
        return rest_shapes.pull(self.hub.url, repository, pull)


def _pull(repository: Repository, match: re.Match[str]) -> Pull:
    number = match["number"]
    if not number.isdigit() or int(number) not in repository.pulls:
        raise NOT_FOUND
    return repository.pulls[int(number)]


def _page(call: Call, items: list[Any]) -> list[Any]:
    size, number = min(100, int(call.query.get("per_page", "30"))), int(call.query.get("page", "1"))
    return items[(number - 1) * size : number * size]


@route("GET", "")
def _repository(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    return 200, rest_shapes.repository(rest.hub.url, repository)


@route("GET", "/pulls")
def _list(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    state, head, base = call.query.get("state", "open"), call.query.get("head"), call.query.get("base")
    found = [
        pull
        for pull in repository.pulls.values()
        if state in ("all", "open" if pull.state == "OPEN" else "closed")
        and base in (None, pull.into)
        and head in (None, f"{(pull.source or '').partition('/')[0]}:{pull.branch}")
    ]
    updated = call.query.get("sort") == "updated"
    found.sort(key=lambda pull: (pull.updated_at if updated else pull.created_at, pull.number))
    if call.query.get("direction", "desc") == "desc":
        found.reverse()
    return 200, [rest.shape(repository, pull) for pull in _page(call, found)]


@route("POST", "/pulls")
def _create(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    owner, _, branch = str(call.body.get("head", "")).rpartition(":")
    source = repository
    if owner and owner != repository.owner:
        fork = rest.hub.find(f"{owner}/{repository.name}")
        if fork is None:
            raise Problem("Validation Failed", errors=[{"resource": "PullRequest", "field": "head", "code": "invalid"}])
        source = fork
    pull = repository.open(
        branch, str(call.body.get("base", "")), title=str(call.body.get("title", "")), by=rest._who(call),
        body=str(call.body.get("body") or ""), draft=bool(call.body.get("draft")), source=source,
    )  # fmt: skip
    return 201, rest.shape(repository, pull)


@route("GET", "/pulls/{number}")
def _one(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    pull = _pull(repository, match)
    if call.accept.endswith(".diff"):
        return 200, repository.bare.git("diff", f"{pull.base}...{pull.head}") + "\n"
    return 200, {**rest.shape(repository, pull), **rest_shapes.details(repository, pull)}


@route("PATCH", "/pulls/{number}")
def _edit(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    rest.writer(call, repository)
    pull = _pull(repository, match)
    change(
        repository, pull, call.body.get("title"), call.body.get("body"), call.body.get("base"), call.body.get("state")
    )
    return 200, rest.shape(repository, pull)


@route("GET", "/pulls/{number}/merge")
def _is_merged(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    if _pull(repository, match).state != "MERGED":
        raise NOT_FOUND
    return 204, None


@route("PUT", "/pulls/{number}/merge")
def _merge(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    method = call.body.get("merge_method", "merge")
    if method not in ("merge", "squash", "rebase"):
        words = f'Invalid request.\n\n"{method}" is not a member of ["merge", "squash", "rebase"].'
        raise Problem(words)
    landed = merging.merge(
        repository, _pull(repository, match).number, method.upper(), by=rest.writer(call, repository),
        expected=call.body.get("sha"), title=call.body.get("commit_title"), body=call.body.get("commit_message"),
    )  # fmt: skip
    return 200, {"sha": landed, "merged": True, "message": "Pull Request successfully merged"}


@route("PUT", "/pulls/{number}/update-branch")
def _update_branch(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    number, who = _pull(repository, match).number, rest.writer(call, repository)
    merging.update_branch(repository, number, by=who, expected=call.body.get("expected_head_sha"))
    url = f"{rest.hub.url}/{repository.full_name}/pull/{number}"
    return 202, {"message": "Updating pull request branch.", "url": url}


@route("GET", "/pulls/{number}/reviews")
def _reviews(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    reviews = _pull(repository, match).reviews
    return 200, _page(call, [rest_shapes.review(rest.hub.url, repository, each) for each in reviews])


@route("POST", "/pulls/{number}/reviews")
def _review(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    state = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED"}.get(
        str(call.body.get("event")), "COMMENTED"
    )
    try:
        made = repository.review(
            _pull(repository, match).number, rest._who(call), state, body=str(call.body.get("body") or ""),
            commit=str(call.body.get("commit_id") or ""),
        )  # fmt: skip
    except Problem as problem:
        raise Problem("Unprocessable Entity", errors=[problem.message]) from problem
    return 200, rest_shapes.review(rest.hub.url, repository, made)


@route("GET", "/issues/{number}/comments")
def _comments(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    return 200, _page(call, [rest_shapes.comment(rest.hub.url, each) for each in _pull(repository, match).comments])


@route("POST", "/issues/{number}/comments")
def _comment(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    made = repository.comment(_pull(repository, match).number, rest._who(call), str(call.body["body"]))
    return 201, rest_shapes.comment(rest.hub.url, made)


@route("GET", "/issues/{number}/labels")
def _labels(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    return 200, [rest_shapes.label(each) for each in _pull(repository, match).labels]


@route("POST", "/issues/{number}/labels")
def _add_labels(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    rest.writer(call, repository)
    pull = _pull(repository, match)
    for name in call.body["labels"]:
        if (label := repository.label(name)) not in pull.labels:
            pull.labels.append(label)
    repository.touch(pull)
    return 200, [rest_shapes.label(each) for each in pull.labels]


@route("DELETE", "/issues/{number}/labels/{name}")
def _remove_label(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    rest.writer(call, repository)
    pull, name = _pull(repository, match), unquote(match["name"])
    if all(label.name != name for label in pull.labels):
        raise Problem("Label does not exist", status=404)
    pull.labels = [label for label in pull.labels if label.name != name]
    repository.touch(pull)
    return 200, [rest_shapes.label(each) for each in pull.labels]


@route("GET", "/rules/branches/{branch+}")
def _rules(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    return 200, rest_shapes.rules(repository, unquote(match["branch"]))


@route("GET", "/branches/{branch+}/protection")
def _protection(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    branch = unquote(match["branch"])
    if repository.permission != "ADMIN":
        raise NOT_FOUND  # only who administers it may see the rules
    if branch not in repository.rules:
        raise Problem("Branch not protected", status=404)
    return 200, rest_shapes.protection(repository.rules[branch])


@route("GET", "/branches/{branch+}")
def _branch(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    branch = unquote(match["branch"])
    if branch not in (heads := repository.bare.heads()):
        raise Problem("Branch not found", status=404)
    return 200, {"name": branch, "commit": {"sha": heads[branch]}, "protected": branch in repository.rules}


@route("GET", "/git/ref/{ref+}")
def _ref(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    name = f"refs/{unquote(match['ref'])}"
    sha = repository.bare.resolve(name)
    if sha is None:
        raise NOT_FOUND
    return 200, {"ref": name, "object": {"type": "commit", "sha": sha}}


@route("PATCH", "/git/refs/{ref+}")
def _move_ref(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    rest.writer(call, repository)
    name, new = f"refs/{unquote(match['ref'])}", str(call.body["sha"])
    old = repository.bare.resolve(name)
    if old is None:
        raise Problem("Reference does not exist")
    if repository.bare.resolve(new) is None:
        raise Problem("Object does not exist")
    if not call.body.get("force") and not repository.bare.contains(new, old):
        raise Problem("Update is not a fast forward")
    repository.bare.update(name, new, old)
    repository.look()
    return 200, {"ref": name, "object": {"type": "commit", "sha": new}}


@route("DELETE", "/git/refs/{ref+}")
def _delete_ref(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    rest.writer(call, repository)
    repository.delete_branch(unquote(match["ref"]).removeprefix("heads/"))
    return 204, None


@route("GET", "/commits/{sha}/check-runs")
def _checks(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    sha = _commit(repository, match)
    runs = [run for run in repository.checks if run.commit == sha]
    return 200, {"total_count": len(runs), "check_runs": _page(call, [rest_shapes.check(run) for run in runs])}


@route("POST", "/check-runs")
def _check(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    rest.writer(call, repository)
    body = call.body
    made = repository.check(
        str(body["head_sha"]), str(body["name"]), body.get("conclusion"), status=body.get("status"), again=True
    )
    return 201, rest_shapes.check(made)


@route("GET", "/commits/{sha}/statuses")
def _statuses(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    sha = _commit(repository, match)
    found = [status for status in reversed(repository.statuses) if status.commit == sha]
    return 200, _page(call, [rest_shapes.status(each) for each in found])


@route("GET", "/commits/{sha}/status")
def _combined(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    return 200, rest_shapes.combined(repository, _commit(repository, match))


@route("POST", "/statuses/{sha}")
def _status(rest: Rest, call: Call, repository: Repository, match: re.Match[str]) -> Reply:
    who, sha = rest.writer(call, repository), match["sha"]
    if repository.bare.resolve(sha) is None:
        raise Problem(f"No commit found for SHA: {sha}")
    words = str(call.body.get("description") or "")
    context = str(call.body.get("context", "default"))
    return 201, rest_shapes.status(repository.status(sha, context, str(call.body["state"]), by=who, description=words))


def _commit(repository: Repository, match: re.Match[str]) -> str:
    sha = repository.bare.resolve(unquote(match["sha"]))
    if sha is None:
        raise Problem(f"No commit found for SHA: {match['sha']}")
    return sha
