"""What real `gh` says and does against the server is what it says and does against GitHub."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from github import GitHub, Repository, merging
from github.conftest import Ran, Shell, make_app

OTHER = shutil.which("gh", path="/usr/local/bin:/usr/bin")
CREATE = ("--head", "agent/x", "--base", "main", "--title", "Add x", "--body", "why")


def test_a_pull_request_is_made_once_and_found_again(run: Shell, app: Repository) -> None:
    made, again = run.pr("create", *CREATE), run.pr("create", *CREATE)

    assert (made.returncode, made.stdout) == (0, "https://github.com/acme/app/pull/1\n")
    assert again.returncode == 1
    assert again.stderr.startswith('a pull request for branch "agent/x" into branch "main" already exists:\n')
    assert [(pull.title, pull.body, pull.head) for pull in app.pulls.values()] == [
        ("Add x", "why", app.head("agent/x"))
    ]


def test_of_many_who_open_the_same_at_once_one_does(run: Shell, app: Repository) -> None:
    create = ("gh", "api", "repos/acme/app/pulls", "-f", "head=agent/x", "-f", "base=main", "-f", "title=Add x")

    with ThreadPoolExecutor() as many:
        codes = [ran.returncode for ran in many.map(lambda _: run(*create), range(4))]

    assert (sorted(codes), list(app.pulls)) == ([0, 1, 1, 1], [1])


def test_without_commits_there_is_no_pull_request(run: Shell, app: Repository) -> None:
    app.bare.update("refs/heads/agent/x", app.head("main"))

    ran = run.pr("create", *CREATE)

    assert (ran.returncode, app.pulls) == (1, {})
    assert ran.stderr == (
        "pull request create failed: GraphQL: No commits between main and agent/x (createPullRequest)\n"
    )


def test_what_is_not_there_is_said_in_words(run: Shell) -> None:
    number, branch, repository = (
        run.pr("view", "99", "--json", "state"),
        run.pr("view", "nope", "--json", "state"),
        run("gh", "pr", "list", "-R", "acme/nope"),
    )

    assert [ran.returncode for ran in (number, branch, repository)] == [1, 1, 1]
    assert "Could not resolve to a PullRequest with the number of 99. (repository.pullRequest)" in number.stderr
    assert branch.stderr == 'no pull requests found for branch "nope"\n'
    assert "Could not resolve to a Repository with the name 'acme/nope'. (repository)" in repository.stderr


def test_a_list_tells_heads_bases_and_checks(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    app.check(app.head("agent/x"), "ci", "success", workflow="Tests")
    app.status(app.head("agent/x"), "other", "pending")

    fields = "number,headRefOid,baseRefName,isCrossRepository,reviewDecision,mergeCommit,statusCheckRollup"
    (pull,) = json.loads(run.pr("list", "--json", fields).stdout)

    checks = pull.pop("statusCheckRollup")
    assert pull == {
        "number": 1,
        "headRefOid": app.head("agent/x"),
        "baseRefName": "main",
        "isCrossRepository": False,
        "reviewDecision": "",
        "mergeCommit": None,
    }
    assert [check.get("conclusion") or check.get("state") for check in checks] == ["SUCCESS", "PENDING"]
    assert (checks[0]["workflowName"], checks[1]["context"]) == ("Tests", "other")


@pytest.mark.parametrize(
    ("results", "code", "said"),
    [
        ((), 1, "no checks reported on the 'agent/x' branch"),
        (("success", "skipped"), 0, "pass"),
        (("success", None), 8, "pending"),
        (("failure", None), 1, "fail"),
        (("cancelled",), 0, "fail"),
    ],
)
def test_the_exit_status_of_checks_is_their_worst(
    run: Shell, app: Repository, results: tuple[str | None, ...], code: int, said: str
) -> None:
    app.open("agent/x")
    for place, result in enumerate(results):
        app.check(app.head("agent/x"), f"check-{place}", result)

    ran = run.pr("checks", "1")

    assert (ran.returncode, said in ran.stdout + ran.stderr) == (code, True), ran


def test_all_fields_of_a_pull_request_can_be_asked_for(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    app.review(1, "alice", "APPROVED", body="fine")
    app.comment(1, "bob", "hello")
    names = run.pr("view", "1", "--json", "?").stderr.split("Available fields:\n")[1].split()

    seen = run.seen(1, *names)

    assert seen["reviews"][0]["commit"] == {"oid": app.head("agent/x")}
    assert (seen["files"][0]["path"], seen["comments"][0]["body"]) == ("x", "hello")


def test_a_merge_takes_the_judged_head_alone(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    merge = ("merge", "1", "--squash", "--match-head-commit")

    wrong, right, again = (
        run.pr(*merge, "a" * 40),
        run.pr(*merge, app.head("agent/x")),
        run.pr("merge", "1", "--squash"),
    )

    assert wrong.stderr == ("GraphQL: Head branch was modified. Review and try the merge again. (mergePullRequest)\n")
    assert (wrong.returncode, right.returncode, right.stdout + right.stderr) == (1, 0, "")
    assert (again.returncode, again.stderr) == (0, "! Pull request acme/app#1 was already merged\n")
    assert app.bare.commit("main").headline == "Add x (#1)"


def test_what_is_blocked_gh_does_not_even_send(run: Shell, hub: GitHub, app: Repository) -> None:
    app.protect("main", required=("ci",))
    app.open("agent/x")

    ran = run.pr("merge", "1", "--squash")

    assert (ran.returncode, hub.changes()) == (1, [])
    assert "the base branch policy prohibits the merge" in ran.stderr


def test_a_pull_request_is_closed_with_its_branch(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")

    ran = run.pr("close", "1", "--delete-branch")

    assert (ran.returncode, app.pull(1).state, "agent/x" in app.bare.heads()) == (0, "CLOSED", False)
    assert hub.changes()[-1] == "DELETE /repos/acme/app/git/refs/heads%2Fagent%2Fx"


def test_title_labels_draft_and_base_can_be_changed(run: Shell, hub: GitHub, app: Repository) -> None:
    hub.commit("acme/app", "next", {"n": "n\n"})
    app.label("urgent")
    app.open("agent/x")

    ran = [
        run.pr("edit", "1", "--title", "New", "--add-label", "urgent", "--base", "next"),
        run.pr("ready", "1", "--undo"),
        run.pr("comment", "1", "--body", "hello"),
    ]

    assert [each.returncode for each in ran] == [0, 0, 0], ran
    pull = app.pull(1)
    assert (pull.title, pull.into, pull.draft, [label.name for label in pull.labels]) == (
        "New",
        "next",
        True,
        ["urgent"],
    )
    assert [comment.body for comment in pull.comments] == ["hello"]


def test_nobody_approves_their_own(run: Shell, hub: GitHub, app: Repository) -> None:
    app.protect("main", reviews=1)
    app.open("agent/x")

    own, other = run.pr("review", "1", "--approve"), run.pr("review", "1", "--approve", env=hub.env_of("alice"))

    assert (own.returncode, other.returncode) == (1, 0)
    assert "Can not approve your own pull request" in own.stderr
    assert run.seen(1, "reviewDecision") == {"reviewDecision": "APPROVED"}
    assert "Can not approve your own pull request" in run.api("POST", "/pulls/1/reviews", event="APPROVE").stdout


def test_who_is_not_logged_in_gets_exit_status_4(run: Shell, hub: GitHub) -> None:
    ran = run.pr("list", env=hub.env_of(None))

    assert (ran.returncode, hub.requests) == (4, [])
    assert "gh auth login" in ran.stderr


def test_a_token_that_is_unknown_is_bad_credentials(run: Shell, hub: GitHub) -> None:
    ran = run.pr("list", env={**hub.env, "GH_TOKEN": "gho_stale"})

    assert ran.returncode == 1
    assert ran.stderr.startswith("HTTP 401: Bad credentials (https://api.github.com/graphql)\n")


def test_a_merge_may_be_left_to_github(run: Shell, app: Repository) -> None:
    app.allow_auto_merge = True
    app.protect("main", required=("ci",))
    app.open("agent/x")

    asked = run.pr("merge", "1", "--squash", "--auto")
    before = run.seen(1, "state", "autoMergeRequest")
    app.check(app.head("agent/x"), "ci", "success")

    assert (asked.returncode, before["state"], before["autoMergeRequest"]["mergeMethod"]) == (0, "OPEN", "SQUASH")
    assert run.seen(1, "state") == {"state": "MERGED"}


def test_where_there_is_a_queue_a_merge_only_lines_up(run: Shell, app: Repository) -> None:
    app.protect("main", queue=True)
    app.open("agent/x")

    ran = run.pr("merge", "1", "--squash")
    lined_up = (app.pull(1).state, app.pull(1).queue is not None)
    refused = run.api("PUT", "/pulls/1/merge")
    merging.merge_from_queue(app, 1)

    assert (ran.returncode, lined_up, app.pull(1).state) == (0, ("OPEN", True), "MERGED")
    assert "Changes must be made through the merge queue" in refused.stdout


def test_an_enterprise_server_answers_under_its_own_paths(tmp_path: Path) -> None:
    with GitHub(host="ghe.test") as hub:
        run, app = Shell(hub, tmp_path), make_app(hub)

        made = run("gh", "pr", "create", "-R", "ghe.test/acme/app", *CREATE)
        one = run("gh", "api", "repos/acme/app/pulls/1", "--jq", ".head.sha")

        assert made.stdout == "https://ghe.test/acme/app/pull/1\n", made.stderr
        assert one.stdout == app.head("agent/x") + "\n", one.stderr


@pytest.mark.slow
@pytest.mark.skipif(not OTHER, reason="there is no other gh on this machine")
def test_a_gh_of_another_version_gets_along(hub: GitHub, app: Repository, tmp_path: Path) -> None:
    def gh(verb: str, *argv: str) -> Ran:
        return Shell(hub, tmp_path)(str(OTHER), "pr", verb, "-R", "acme/app", *argv)

    made = gh("create", *CREATE)
    app.check(app.head("agent/x"), "ci", "success")
    seen = json.loads(gh("view", "1", "--json", "state,headRefOid,statusCheckRollup").stdout)
    checked, merged, again = gh("checks", "1"), gh("merge", "1", "--squash"), gh("merge", "1", "--squash")

    assert made.stdout == "https://github.com/acme/app/pull/1\n", made.stderr
    assert (seen["headRefOid"], seen["statusCheckRollup"][0]["conclusion"]) == (app.head("agent/x"), "SUCCESS")
    assert (checked.returncode, merged.returncode, app.pull(1).state) == (0, 0, "MERGED")
    assert "was already merged" in again.stderr
