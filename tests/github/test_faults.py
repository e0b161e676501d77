"""What goes wrong on purpose, and what real `gh` makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from github import GitHub, Repository, faults
from github.conftest import Shell, make_app
from github.faults import Fault


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.unauthorized(), "HTTP 401: Bad credentials"),
        (faults.secondary_limit(), "HTTP 403: You have exceeded a secondary rate limit."),
        (faults.primary_limit(), "GraphQL: API rate limit exceeded for user ID 1."),
        (faults.secondary_limit(status=429), "HTTP 429: You have exceeded a secondary rate limit."),
        (faults.server_error(502), "HTTP 502"),
        (faults.server_error(503), "HTTP 503"),
        (faults.dropped(), 'Post "https://api.github.com/graphql": EOF'),
        (faults.garbage(), "invalid character 'g' looking for beginning of value"),
        (faults.empty(), "unexpected end of JSON input"),
        (faults.partial("repository"), "GraphQL: Something went wrong while executing your query."),
    ],
)
def test_gh_tells_each_fault_by_its_own_words_once(run: Shell, hub: GitHub, fault: Fault, said: str) -> None:
    hub.fault(fault, on="PullRequestList")

    bad, good = run.pr("list", "--json", "number"), run.pr("list", "--json", "number")

    assert (bad.returncode, bad.stdout, good.returncode, good.stdout) == (1, "", 0, "[]\n")
    assert said in bad.stderr


def test_nothing_without_an_error_looks_like_success(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    hub.fault(faults.nothing("repository"), on="PullRequestByNumber")

    assert run.seen(1, "number", "state", "mergeable") == {"number": 0, "state": "", "mergeable": ""}


def test_half_an_answer_keeps_its_other_half(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    hub.fault(faults.partial("repository", "pullRequests", "nodes", "0"), on="pulls")
    query = """query pulls { repository(owner: "acme", name: "app") { pullRequests(first: 9) { nodes { number } } } }"""

    ran = run("gh", "api", "graphql", "-f", f"query={query}")

    told = json.loads(ran.stdout)
    assert (ran.returncode, told["data"]["repository"]["pullRequests"]["nodes"]) == (1, [None])
    assert told["errors"][0]["path"] == ["repository", "pullRequests", "nodes", 0]


@pytest.mark.parametrize("fault", [faults.lost(), faults.dropped(done=True), faults.hang(0.3, done=True)])
def test_what_lost_its_answer_was_done(run: Shell, hub: GitHub, app: Repository, fault: Fault) -> None:
    app.open("agent/x")
    hub.fault(fault, on="PUT .*/merge")

    ran = run.api("PUT", "/pulls/1/merge")

    assert (ran.returncode, app.pull(1).state) == (1, "MERGED")


@pytest.mark.parametrize("fault", [faults.server_error(), faults.dropped(), faults.hang(0.3)])
def test_what_was_not_answered_was_not_done(run: Shell, hub: GitHub, app: Repository, fault: Fault) -> None:
    app.open("agent/x")
    hub.fault(fault, on="PUT .*/merge")

    ran = run.api("PUT", "/pulls/1/merge")

    assert (ran.returncode, app.pull(1).state) == (1, "OPEN")


@pytest.mark.parametrize(("after_s", "headers"), [(7, {"retry-after: 7"}), (None, set())])
def test_a_secondary_limit_says_when_to_come_again_or_does_not(
    run: Shell, hub: GitHub, after_s: int | None, headers: set[str]
) -> None:
    hub.fault(faults.secondary_limit(after_s))

    ran = run("gh", "api", "-i", "repos/acme/app")

    assert {line.lower() for line in ran.stdout.splitlines() if line.lower().startswith("retry-after")} == headers


def test_a_fault_is_for_so_many_requests_that_match(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    hub.fault(faults.refused(405, "Base branch was modified. Review and try the merge again."), on="merge", times=2)

    codes = [run.api("PUT", "/pulls/1/merge").returncode for _ in range(3)]

    assert (codes, app.pull(1).state) == ([1, 1, 0], "MERGED")
    assert [request.status for request in hub.requests] == [405, 405, 200]


def test_mergeable_is_unknown_until_it_was_asked_for_often_enough(run: Shell, hub: GitHub, app: Repository) -> None:
    app.unknown_reads = 1
    app.open("agent/x")

    first, second = run.seen(1, "mergeable", "mergeStateStatus"), run.seen(1, "mergeable", "mergeStateStatus")
    hub.commit("acme/app", "main", {"x": "other\n"})
    third, fourth = run.seen(1, "mergeable"), run.seen(1, "mergeable")

    assert first == {"mergeable": "UNKNOWN", "mergeStateStatus": "UNKNOWN"}
    assert second == {"mergeable": "MERGEABLE", "mergeStateStatus": "CLEAN"}
    assert (third["mergeable"], fourth["mergeable"]) == ("UNKNOWN", "CONFLICTING")


def test_mergeable_may_still_be_that_of_the_last_base(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    app.stale_reads = 1
    hub.commit("acme/app", "main", {"x": "other\n"})

    assert [run.seen(1, "mergeable")["mergeable"] for _ in range(2)] == ["MERGEABLE", "CONFLICTING"]


def test_checks_may_come_late(run: Shell, app: Repository) -> None:
    app.late_checks = 1
    pull = app.open("agent/x")
    app.check(pull.head, "ci", "success")

    assert [len(run.seen(1, "statusCheckRollup")["statusCheckRollup"]) for _ in range(2)] == [0, 1]


def test_checks_may_begin_by_themselves(run: Shell, hub: GitHub, app: Repository) -> None:
    app.on_head = lambda sha: app.check(sha, "ci")
    app.open("agent/x")
    head = hub.commit("acme/app", "agent/x", {"x": "more\n"})

    assert [check["status"] for check in run.seen(1, "statusCheckRollup")["statusCheckRollup"]] == ["IN_PROGRESS"]
    assert [run.commit for run in app.checks][-1] == head


def test_checks_may_be_those_of_another_commit(run: Shell, hub: GitHub, app: Repository) -> None:
    old = app.head("agent/x")
    app.check(old, "ci", "success")
    new = hub.commit("acme/app", "agent/x", {"x": "more\n"})
    app.open("agent/x").shown_commit = old

    seen = run.seen(1, "headRefOid", "statusCheckRollup", "commits")
    rollup = run.query(
        '{ repository(owner: "acme", name: "app") { pullRequest(number: 1) { statusCheckRollup { commit { oid } } } } }'
    )

    assert (seen["headRefOid"], seen["commits"][-1]["oid"], len(seen["statusCheckRollup"])) == (new, old, 1)
    assert rollup["data"]["repository"]["pullRequest"]["statusCheckRollup"]["commit"]["oid"] == old


def test_a_name_may_be_there_twice(run: Shell, app: Repository) -> None:
    pull = app.open("agent/x")
    app.check(pull.head, "ci", "failure")
    app.check(pull.head, "ci", "success", again=True, event="pull_request")
    app.check(pull.head, "ci", status="queued", again=True)

    checks = run.seen(1, "statusCheckRollup")["statusCheckRollup"]

    assert [check["conclusion"] for check in checks] == ["FAILURE", "SUCCESS", ""]
    assert checks[2]["startedAt"] == "0001-01-01T00:00:00Z"


def test_what_is_merged_may_say_open_for_a_while(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    run.api("PUT", "/pulls/1/merge")
    app.pulls[1].says_open = 1

    assert [run.seen(1, "state")["state"] for _ in range(2)] == ["OPEN", "MERGED"]


def test_a_body_in_chunks_is_read_whole(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    text = "long " * 20_000

    ran = run("gh", "api", "repos/acme/app/issues/1/comments", "--input", "-", stdin=json.dumps({"body": text}))

    assert (ran.returncode, app.pull(1).comments[0].body) == (0, text), ran.stderr


def test_what_is_pushed_may_not_be_taken_in_yet(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    old = app.head("agent/x")
    app.late_pushes = 2
    new = hub.commit("acme/app", "agent/x", {"x": "more\n"})

    assert [run.seen(1, "headRefOid")["headRefOid"] for _ in range(2)] == [old, new]


def test_a_mistake_of_the_server_fails_the_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the local GitHub broke"), GitHub() as hub:
        app, run = make_app(hub), Shell(hub, tmp_path)
        app.permission = "NONSENSE"

        ran = run("gh", "api", "repos/acme/app")

        assert "HTTP 500" in ran.stderr


def test_a_server_that_is_gone_cant_be_reached(tmp_path: Path) -> None:
    with GitHub() as hub:
        run = Shell(hub, tmp_path)
        env = {**hub.env, "GH_CONFIG_DIR": str(tmp_path)}
        (tmp_path / "config.yml").write_text((hub.folder / "config" / "config.yml").read_text())

    ran = run.pr("list", env=env)

    assert (ran.returncode, "connect: no such file or directory" in ran.stderr) == (1, True)
