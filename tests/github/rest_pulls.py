"""REST on pull requests: listing, opening, changing, merging, and what people say on them."""

from __future__ import annotations

from typing import Any

from github import background, merging, rest_shapes
from github.mutations import change
from github.records import Method, Order, Problem, Pull
from github.rest_api import Reply, Routes, Visit, not_found

routes = Routes()
METHODS: dict[object, Method] = {"merge": "MERGE", "squash": "SQUASH", "rebase": "REBASE"}
EVENTS = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


@routes("GET", "/pulls")
def _list(visit: Visit) -> Reply:
    asked = visit.call.query
    state, head, base = asked.get("state", "open"), asked.get("head"), asked.get("base")
    found = [
        pull
        for pull in visit.repository.pulls.values()
        if state in ("all", "open" if pull.state == "OPEN" else "closed")
        and base in (None, pull.into)
        and head in (None, f"{(pull.source or '').partition('/')[0]}:{pull.branch}")
    ]
    updated = asked.get("sort") == "updated"
    found.sort(key=lambda pull: (pull.updated_at if updated else pull.created_at, pull.number))
    if asked.get("direction", "desc") == "desc":
        found.reverse()
    return 200, [_shape(visit, pull) for pull in visit.call.page(found)]


@routes("POST", "/pulls")
def _create(visit: Visit) -> Reply:
    asked, repository = visit.call.body, visit.repository
    owner, _, branch = str(asked.get("head", "")).rpartition(":")
    source = visit.hub.find(f"{owner or repository.owner}/{repository.name}")
    if source is None:
        raise Problem("No such head", errors=[{"resource": "PullRequest", "field": "head", "code": "invalid"}])
    pull = repository.open(
        branch, str(asked.get("base", "")), title=str(asked.get("title", "")), by=visit.call.who(),
        body=str(asked.get("body") or ""), draft=bool(asked.get("draft")), source=source,
    )  # fmt: skip
    return 201, _shape(visit, pull)


@routes("GET", "/pulls/{number}")
def _one(visit: Visit) -> Reply:
    pull = _pull(visit)
    if visit.call.accept.endswith(".diff"):
        return 200, visit.repository.bare.git("diff", f"{pull.tip}...{pull.head}") + "\n"
    return 200, {**_shape(visit, pull), **rest_shapes.details(visit.repository, pull)}


@routes("PATCH", "/pulls/{number}")
def _edit(visit: Visit) -> Reply:
    visit.writer()
    pull, asked = _pull(visit), visit.call.body
    change(visit.repository, pull, asked.get("title"), asked.get("body"), asked.get("base"), asked.get("state"))
    return 200, _shape(visit, pull)


@routes("GET", "/pulls/{number}/commits")
def _commits(visit: Visit) -> Reply:
    pull, bare = _pull(visit), visit.repository.bare
    commits = [bare.commit(sha) for sha in bare.between(pull.base, pull.head)]
    return 200, visit.call.page([{"sha": each.sha, "commit": {"message": each.message}} for each in commits])


@routes("GET", "/pulls/{number}/merge")
def _is_merged(visit: Visit) -> Reply:
    if _pull(visit).state != "MERGED":
        raise not_found()
    return 204, None


@routes("PUT", "/pulls/{number}/merge")
def _merge(visit: Visit) -> Reply:
    asked, pull = visit.call.body, _pull(visit)
    if pull.state == "CLOSED":
        raise Problem(merging.NOT_MERGEABLE, status=405)
    landed = merging.merge(
        visit.repository, pull.number, _method(asked.get("merge_method", "merge")), by=visit.writer(),
        expected=asked.get("sha"), title=asked.get("commit_title"), body=asked.get("commit_message"),
    )  # fmt: skip
    return 200, {"sha": landed, "merged": True, "message": "Pull Request successfully merged"}


@routes("PUT", "/pulls/{number}/merge-async")
def _merge_later(visit: Visit) -> Reply:
    if not visit.repository.background:
        raise not_found()
    asked = visit.call.body
    order = Order(
        number=_pull(visit).number, by=visit.writer(), method=_method(asked.get("merge_method", "merge")),
        action=str(asked.get("merge_action", "default")), expected=asked.get("sha"), title=asked.get("commit_title"),
        body=asked.get("commit_message"),
    )  # fmt: skip
    return background.submit(visit.repository, order)


@routes("GET", "/pulls/{number}/merge-async/{uuid}")
def _merged_later(visit: Visit) -> Reply:
    return background.poll(visit.repository, _pull(visit).number, visit.at["uuid"])


@routes("PUT", "/pulls/{number}/update-branch")
def _update_branch(visit: Visit) -> Reply:
    number, who = _pull(visit).number, visit.writer()
    merging.update_branch(visit.repository, number, by=who, expected=visit.call.body.get("expected_head_sha"))
    url = f"{visit.hub.url}/{visit.repository.full_name}/pull/{number}"
    return 202, {"message": "Updating pull request branch.", "url": url}


@routes("GET", "/pulls/{number}/reviews")
def _reviews(visit: Visit) -> Reply:
    reviews = visit.call.page(_pull(visit).reviews)
    return 200, [rest_shapes.review(visit.hub.url, visit.repository, each) for each in reviews]


@routes("POST", "/pulls/{number}/reviews")
def _review(visit: Visit) -> Reply:
    asked = visit.call.body
    pull, comments = _pull(visit), asked.get("comments") or []
    commit = str(asked.get("commit_id") or pull.head)
    shown = visit.repository.bare.shown_lines(pull.tip, commit)
    if any(each["line"] not in shown.get(each["path"], ()) for each in comments):
        raise Problem("Line could not be resolved", title="Unprocessable Entity", errors=["Line could not be resolved"])
    made = visit.repository.review(
        pull.number, visit.call.who(), EVENTS[str(asked.get("event") or "COMMENT")], body=str(asked.get("body") or ""),
        commit=commit,
    )  # fmt: skip
    for each in comments:
        visit.repository.discuss(pull.number, made.author, each["body"], path=each["path"], line=each["line"])
    return 200, rest_shapes.review(visit.hub.url, visit.repository, made)


@routes("GET", "/issues/{number}/comments")
def _comments(visit: Visit) -> Reply:
    return 200, [rest_shapes.comment(visit.hub.url, each) for each in visit.call.page(_pull(visit).comments)]


@routes("POST", "/issues/{number}/comments")
def _comment(visit: Visit) -> Reply:
    made = visit.repository.comment(_pull(visit).number, visit.call.who(), str(visit.call.body["body"]))
    return 201, rest_shapes.comment(visit.hub.url, made)


@routes("GET", "/issues/{number}/labels")
def _labels(visit: Visit) -> Reply:
    return _labelled(_pull(visit))


@routes("POST", "/issues/{number}/labels")
def _add_labels(visit: Visit) -> Reply:
    visit.writer()
    pull = _pull(visit)
    labels = [visit.repository.label(str(name)) for name in visit.call.body["labels"]]
    pull.labels += [label for label in labels if label not in pull.labels]
    visit.repository.touch(pull)
    return _labelled(pull)


@routes("DELETE", "/issues/{number}/labels/{name}")
def _remove_label(visit: Visit) -> Reply:
    visit.writer()
    pull, name = _pull(visit), visit.at["name"]
    if all(label.name != name for label in pull.labels):
        raise Problem("Label does not exist", status=404)
    pull.labels = [label for label in pull.labels if label.name != name]
    visit.repository.touch(pull)
    return _labelled(pull)


def _pull(visit: Visit) -> Pull:
    number = visit.at["number"]
    if not number.isdigit() or int(number) not in visit.repository.pulls:
        raise not_found()
    return visit.repository.pulls[int(number)]


def _method(name: object) -> Method:
    if name not in METHODS:
        raise Problem(f'Invalid request.\n\n"{name}" is not a member of ["merge", "squash", "rebase"].')
    return METHODS[name]


def _shape(visit: Visit, pull: Pull) -> dict[str, Any]:
    return rest_shapes.pull(visit.hub.url, visit.repository, pull)


def _labelled(pull: Pull) -> Reply:
    return 200, [rest_shapes.label(each) for each in pull.labels]
