"""What is merged and what is not, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from github import GitHub, Repository, merging
from github.conftest import Shell


def _protect(**rules: object) -> Any:
    return lambda hub, app: app.protect("main", **rules)


def _set(**fields: object) -> Any:
    return lambda hub, app: [setattr(app, name, value) for name, value in fields.items()]


def _conflict(hub: GitHub, app: Repository) -> None:
    hub.commit("acme/app", "main", {"x": "other\n"})


def _move_base(hub: GitHub, app: Repository) -> None:
    app.protect("main", required=("ci",), strict=True)
    app.check(app.pull(1).head, "ci", "success")
    hub.commit("acme/app", "main", {"b": "b\n"})


def _disallow(hub: GitHub, app: Repository) -> None:
    app.protect("main", methods=("merge", "rebase"))


def _object(hub: GitHub, app: Repository) -> None:
    app.protect("main", reviews=1)
    app.review(1, "alice", "CHANGES_REQUESTED")


def _fail(hub: GitHub, app: Repository) -> None:
    app.protect("main", required=("ci", "lint"))
    app.check(app.pull(1).head, "ci", "failure")


@pytest.mark.parametrize(
    ("before", "status", "said"),
    [
        (lambda hub, app: setattr(app.pull(1), "draft", True), 405, "Pull Request is still a draft"),
        (lambda hub, app: app.close(1), 405, "Pull Request is not mergeable"),
        (
            lambda hub, app: merging.merge(app, 1, "MERGE", by="bob", expected=None),
            405,
            "Pull Request is not mergeable",
        ),
        (_conflict, 405, "Pull Request is not mergeable"),
        (_set(allow_squash=False), 405, "Squash merges are not allowed on this repository."),
        (_disallow, 405, "Squash merges are not allowed on this repository."),
        (
            _protect(classic=True, reviews=1),
            405,
            "At least 1 approving review is required by reviewers with write access.",
        ),
        (_object, 405, "Changes have been requested by a reviewer with write access."),
        (_protect(required=("ci",)), 405, 'Required status check "ci" is expected.'),
        (_fail, 405, "2 of 2 required status checks have not succeeded: 1 failing, 1 expected."),
        (
            _protect(required=("ci",)),
            405,
            'Repository rule violations found\n\nRequired status check "ci" is expected.',
        ),
        (_move_base, 405, 'Required status check "ci" is expected.'),
        (_protect(queue=True), 405, "Changes must be made through the merge queue"),
        (lambda hub, app: app.permit("READ"), 403, "Resource not accessible by personal access token"),
        (lambda hub, app: app.archive(), 403, "Repository was archived so is read-only."),
        (_set(late_pushes=9), 409, "Head branch is out of date. Review and try the merge again."),
    ],
)
def test_what_must_not_be_merged_is_refused_in_githubs_words(
    run: Shell, hub: GitHub, app: Repository, before: Any, status: int, said: str
) -> None:
    app.open("agent/x")
    head = app.head("agent/x")
    before(hub, app)
    if app.late_pushes:
        hub.commit("acme/app", "agent/x", {"x": "more\n"})
    base = app.head("main")

    refused, told = run.rest("PUT", "/pulls/1/merge", sha=head, merge_method="squash")

    assert (refused, said in told["message"], app.head("main")) == (status, True, base), told


def test_a_merge_answers_with_its_commit(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    head = app.head("agent/x")

    wrong = run.api("PUT", "/pulls/1/merge", sha="a" * 40)
    words = {"commit_title": "Add x", "commit_message": "Reconcile-Head: " + head}
    told = json.loads(run.api("PUT", "/pulls/1/merge", sha=head, merge_method="squash", **words).stdout)

    assert "Head branch was modified. Review and try the merge again. (HTTP 409)" in wrong.stderr
    assert told == {"sha": app.head("main"), "merged": True, "message": "Pull Request successfully merged"}
    assert app.bare.commit("main").message == f"Add x\n\nReconcile-Head: {head}"


def test_a_merge_in_the_background_is_asked_for_until_it_is_over(run: Shell, app: Repository) -> None:
    app.background_reads = 1
    app.open("agent/x")

    (taken, ordered), (refused, twice) = (
        run.rest("PUT", "/pulls/1/merge-async", sha=app.head("agent/x")) for _ in range(2)
    )
    uuid = ordered["details"]["uuid"]
    told = [run.rest("GET", f"/pulls/1/merge-async/{uuid}")[1] for _ in range(2)]

    assert (taken, refused, twice["details"]["uuid"]) == (202, 409, uuid)
    assert [each["status"] for each in told] == ["pending", "merged"]
    assert told[1]["details"]["sha"] == app.head("main")


def test_a_background_merge_tells_of_rules_only_at_its_end(run: Shell, app: Repository) -> None:
    app.protect("main", reviews=1)
    app.open("agent/x")

    uuid = run.rest("PUT", "/pulls/1/merge-async")[1]["details"]["uuid"]
    told = run.rest("GET", f"/pulls/1/merge-async/{uuid}")[1]

    assert (told["status"], app.pull(1).state) == ("failed", "OPEN")
    assert "At least 1 approving review is required" in told["details"]["message"]


def test_a_branch_is_brought_up_to_date(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    base, head = hub.commit("acme/app", "main", {"b": "b\n"}), app.head("agent/x")

    wrong, _ = run.rest("PUT", "/pulls/1/update-branch", expected_head_sha="a" * 40)
    right, _ = run.rest("PUT", "/pulls/1/update-branch", expected_head_sha=head)

    assert (wrong, right) == (422, 202)
    assert app.bare.commit(app.pull(1).head).parents == (head, base)
