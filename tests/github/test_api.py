"""What the server's two interfaces answer, asked with `gh api`."""

from __future__ import annotations

import json
from typing import Any

import graphql
import pytest

from github import GitHub, Repository, graphql_api
from github.conftest import Shell
from github.graphql_api import Budget, Request, schema
from github.mutations import enqueue
from github.queries import Queries
from github.records import AutoMerge

# The one query that a program needs to know all open pull requests.
OPEN = """{ repository(owner: "acme", name: "app") { pullRequests(states: OPEN, baseRefName: "main", first: 100%s,
  orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount pageInfo { hasNextPage endCursor } nodes {
  number id state isDraft isCrossRepository headRefName headRefOid headRepository { nameWithOwner } baseRefName
  baseRefOid mergeable mergeStateStatus reviewDecision isInMergeQueue isMergeQueueEnabled mergeQueueEntry { state }
  autoMergeRequest { enabledAt } updatedAt labels(first: 20) { nodes { name } }
  statusCheckRollup { state commit { oid } contexts(first: 100) { pageInfo { hasNextPage endCursor } nodes { __typename
    ... on CheckRun { databaseId name status conclusion startedAt checkSuite { workflowRun { event workflow { name } } } }
    ... on StatusContext { context state createdAt } } } } } } } rateLimit { cost remaining limit used resetAt } }"""


def test_one_query_tells_all_open_pull_requests_and_what_it_cost(run: Shell, hub: GitHub, app: Repository) -> None:
    pull = app.open("agent/x")
    app.check(pull.head, "ci", "success")

    told = run.query(OPEN % "")["data"]

    (node,) = told["repository"]["pullRequests"]["nodes"]
    assert (node["headRefOid"], node["mergeable"], node["mergeStateStatus"]) == (pull.head, "MERGEABLE", "CLEAN")
    assert node["statusCheckRollup"]["commit"]["oid"] == pull.head
    assert node["statusCheckRollup"]["contexts"]["nodes"][0]["conclusion"] == "SUCCESS"
    # 1 request for the list, 100 each for labels and contexts: 201, in hundreds.
    assert (told["rateLimit"]["cost"], told["rateLimit"]["remaining"], hub.requests[-1].points) == (2, 4998, 2)


def test_a_page_begins_where_the_last_one_ended_whatever_came_and_went(
    run: Shell, hub: GitHub, app: Repository
) -> None:
    for number in range(1, 106):
        app.bare.update(f"refs/heads/b{number}", app.head("agent/x"))
        app.open(f"b{number}")
    query = """{ repository(owner: "acme", name: "app") { pullRequests(states: OPEN, first: 100%s,
      orderBy: {field: CREATED_AT, direction: DESC}) { nodes { number } pageInfo { hasNextPage endCursor } } } }"""

    first = run.query(query % "")["data"]["repository"]["pullRequests"]
    app.close(105)
    after = f', after: "{first["pageInfo"]["endCursor"]}"'
    second = run.query(query % after)["data"]["repository"]["pullRequests"]

    numbers = [node["number"] for node in first["nodes"] + second["nodes"]]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert numbers == list(range(105, 0, -1))
    assert len(json.loads(run.pr("list", "--limit", "200", "--json", "number").stdout)) == 104


def test_more_checks_than_a_page_holds_are_on_the_next(run: Shell, app: Repository) -> None:
    pull = app.open("agent/x")
    for number in range(101):
        app.check(pull.head, f"check-{number}", "success")

    listed = json.loads(run.pr("list", "--json", "statusCheckRollup").stdout)[0]["statusCheckRollup"]

    assert (len(listed), len(run.seen(1, "statusCheckRollup")["statusCheckRollup"])) == (100, 101)


def test_a_field_that_github_lacks_is_an_error_here_too(run: Shell) -> None:
    told = run.query('{ repository(owner: "acme", name: "app") { colour } }')

    assert told["errors"][0]["message"] == "Field 'colour' doesn't exist on type 'Repository'"
    assert "data" not in told


@pytest.mark.parametrize(
    ("selected", "type"),
    [
        ("pullRequests { nodes { number } }", "MISSING_PAGINATION_BOUNDARIES"),
        ("pullRequests(first: 101) { nodes { number } }", "EXCESSIVE_PAGINATION"),
        (
            "pullRequests(first: 100) { nodes { commits(first: 100) { nodes { commit { statusCheckRollup "
            "{ contexts(first: 100) { nodes { __typename } } } } } } } }",
            "MAX_NODE_LIMIT_EXCEEDED",
        ),
    ],
)
def test_a_query_that_asks_for_too_much_is_refused(run: Shell, selected: str, type: str) -> None:
    told = run.query(f'{{ repository(owner: "acme", name: "app") {{ {selected} }} }}')

    assert [error["type"] for error in told["errors"]] == [type]


def test_whoever_has_used_up_their_points_is_refused_and_can_still_ask_how_many(run: Shell, hub: GitHub) -> None:
    hub.budget_of("robot").used = 5000
    hub.budget_of("robot", "core").used = 5000

    listed, one, limits = run.pr("list"), run.api("GET", "/pulls/1"), run("gh", "api", "rate_limit")

    assert "GraphQL: API rate limit exceeded for user ID" in listed.stderr
    assert "API rate limit exceeded for user ID" in one.stderr
    assert "(HTTP 403)" in one.stderr
    assert json.loads(limits.stdout)["resources"]["graphql"]["remaining"] == 0


def test_pull_requests_are_opened_listed_and_changed_over_rest(run: Shell, app: Repository) -> None:
    fields = {"head": "agent/x", "base": "main", "title": "Add x"}

    (made, pull), (refused, again) = run.rest("POST", "/pulls", **fields), run.rest("POST", "/pulls", **fields)
    run.rest("PATCH", "/pulls/1", title="New", state="closed")
    _, listed = run.rest("GET", "/pulls?state=all&head=acme:agent/x")

    assert (made, pull["number"], refused) == (201, 1, 422)
    assert again["errors"][0]["message"] == "A pull request already exists for acme:agent/x."
    assert [(each["title"], each["state"], each["merged_at"]) for each in listed] == [("New", "closed", None)]


def test_a_ruleset_can_be_read_by_everybody(run: Shell, app: Repository) -> None:
    app.protect("main", required=("ci",), reviews=2, strict=True, linear=True, queue=True, methods=("squash",))

    _, rules = run.rest("GET", "/rules/branches/main")

    kinds = {rule["type"]: rule.get("parameters") for rule in rules}
    assert kinds["required_status_checks"]["required_status_checks"] == [{"context": "ci"}]
    assert kinds["pull_request"]["required_approving_review_count"] == 2
    assert kinds["pull_request"]["allowed_merge_methods"] == ["squash"]
    assert {"required_linear_history", "merge_queue"} <= set(kinds)
    assert run.rest("GET", "/rules/branches/agent/x") == (200, [])


def test_of_classic_protection_everybody_sees_the_checks_and_who_runs_it_the_rest(run: Shell, app: Repository) -> None:
    app.protect("main", classic=True, required=("ci",), reviews=2, strict=True)

    _, branch = run.rest("GET", "/branches/main")
    hidden, _ = run.rest("GET", "/branches/main/protection")
    app.permission = "ADMIN"
    _, shown = run.rest("GET", "/branches/main/protection")

    assert run.rest("GET", "/rules/branches/main") == (200, [])
    assert (branch["protection"]["required_status_checks"]["contexts"], hidden) == (["ci"], 404)
    assert shown["required_status_checks"] == {"strict": True, "contexts": ["ci"]}
    assert shown["required_pull_request_reviews"]["required_approving_review_count"] == 2


def test_statuses_are_written_by_people_and_check_runs_by_apps(run: Shell, hub: GitHub, app: Repository) -> None:
    sha, check = app.head("agent/x"), {"name": "ci", "status": "completed", "conclusion": "success"}

    status, _ = run.rest("POST", f"/statuses/{sha}", state="pending", context="review")
    refused, told = run.rest("POST", "/check-runs", head_sha=sha, **check)
    hub.accounts["robot"].kind = "Bot"
    made, _ = run.rest("POST", "/check-runs", head_sha=sha, **check)
    _, runs = run.rest("GET", f"/commits/{sha}/check-runs")
    _, combined = run.rest("GET", f"/commits/{sha}/status")

    assert (status, refused, made) == (201, 403, 201)
    assert told["message"] == "You must authenticate via a GitHub App."
    assert [(each["name"], each["conclusion"]) for each in runs["check_runs"]] == [("ci", "success")]
    assert (combined["state"], combined["statuses"][0]["context"]) == ("pending", "review")


def test_a_branch_moves_forward_over_rest_and_goes_once(run: Shell, hub: GitHub, app: Repository) -> None:
    new = hub.commit("acme/app", "next", {"n": "n\n"}, start="agent/x")
    old = app.head("main")

    moved, _ = run.rest("PATCH", "/git/refs/heads/agent/x", sha=new)
    refused, back = run.rest("PATCH", "/git/refs/heads/agent/x", sha=old)
    gone = run.rest("DELETE", "/git/refs/heads/agent%2Fx")
    missing, again = run.rest("DELETE", "/git/refs/heads/agent/x")

    assert (moved, refused, gone, missing) == (200, 422, (204, None), 422)
    assert (back["message"], again["message"]) == ("Update is not a fast forward", "Reference does not exist")


def test_refs_move_together_or_not_at_all(run: Shell, app: Repository) -> None:
    main, head = app.head("main"), app.head("agent/x")
    update = """mutation { updateRefs(input: {repositoryId: "R_%d", refUpdates: [
      {name: "refs/heads/main", beforeOid: "%s", afterOid: "%s"}, {name: "refs/heads/new", afterOid: "%s"}]})
      { clientMutationId } }"""

    lost = run.query(update % (app.number, head, head, head))
    after_loss = app.bare.heads()
    won = run.query(update % (app.number, main, head, head))

    assert ("errors" in lost, after_loss) == (True, {"main": main, "agent/x": head})
    assert ("errors" in won, app.bare.heads()) == (False, {"main": head, "agent/x": head, "new": head})


def test_every_field_that_is_offered_is_answered(hub: GitHub, app: Repository) -> None:
    app.protect("main", classic=True, queue=True)
    pull = app.open("agent/x")
    pull.labels.append(app.label("app"))
    pull.auto_merge = AutoMerge(by="robot", method="SQUASH", at=hub.now(), title=None, body=None)
    app.check(pull.head, "ci", "success")
    app.status(pull.head, "other", "pending")
    app.review(1, "alice")
    app.comment(1, "bob", "hello")
    enqueue(app, pull, "robot", None)
    selection = _everything(schema().type_map["Query"], _places())

    told, _ = graphql_api.answer(Request(selection, {}, None), Queries(hub, "robot"), Budget(reset_at=hub.now()))

    assert "errors" not in told, told["errors"]
    assert told["data"]["Query_repository"]["Repository_pullRequest"]["PullRequest_mergeQueueEntry"]


GIVEN = {
    "owner": '"acme"', "name": '"app"', "number": "1", "id": '"PR_acme/app_1"', "qualifiedName": '"refs/heads/main"',
    "refPrefix": '"refs/heads/"', "headRef": '"agent/x"', "pullRequestNumber": "1", "expression": '"agent/x"',
    "type": "ISSUE", "query": '"repo:acme/app"',
}  # fmt: skip


def _places() -> set[tuple[str, str, str]]:
    """For each type the field, type and all, by which it is met first: there its fields are asked for."""
    places, known, queue = set(), {"Query"}, [schema().type_map["Query"]]
    for parent in queue:
        for name, field in parent.fields.items():
            new = [each for each in _kinds(graphql.get_named_type(field.type)) if each.name not in known]
            if name != "node":
                known |= {each.name for each in new}
                queue += new
                places |= {(parent.name, name, each.name) for each in new}
    return places


def _kinds(kind: Any) -> Any:
    """The types of objects that something of this type may be."""
    if graphql.is_abstract_type(kind):
        return schema().get_possible_types(kind)
    return () if graphql.is_leaf_type(kind) else (kind,)


def _everything(parent: Any, places: set[tuple[str, str, str]]) -> str:
    """A selection of all fields of a type that are leaves, and of those below which a type has its place."""
    parts = ["__typename"]
    for name, field in parent.fields.items():
        call = f"{parent.name}_{name}: {name}{_arguments(field)}"
        kind = graphql.get_named_type(field.type)
        if graphql.is_leaf_type(kind):
            parts.append(call)
            continue
        below = [each for each in _kinds(kind) if (parent.name, name, each.name) in places]
        fragments = [f"... on {each.name} {_everything(each, places)}" for each in below]
        parts.append(f"{call} {{ {' '.join(['__typename', *fragments])} }}")
    return "{ " + " ".join(parts) + " }"


def _arguments(field: Any) -> str:
    given = {"first": "1"} if "first" in field.args else {}
    given |= {name: GIVEN[name] for name in field.args if name in GIVEN and name != "query"}
    if "type" in field.args:
        given["query"] = GIVEN["query"]
    return "(" + ", ".join(f"{name}: {value}" for name, value in given.items()) + ")" if given else ""
