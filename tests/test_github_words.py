"""What is decided about GitHub without asking it: answers, checks, reviews, names and texts. Pure, so all cases are tried."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import worlds
from hypothesis import example, given
from hypothesis import strategies as st
from worlds import HEAD, OTHER

from reconciler.forges import choice
from reconciler.forges.github import answers, check_results, look, pull_nodes, query, rules, slug, words
from reconciler.forges.github.answers import LimitError, LostError, SlowError
from reconciler.forges.github.gh import Reply
from reconciler.forges.github.pull import Pull
from reconciler.forges.github.slug import Slug
from reconciler.landing import message
from reconciler.model.desired import ForgeKind
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import CheckResult, QueueSpot, Rules, Standing
from reconciler.system.shell import Finished

APP = Slug("github.com", "acme", "app")
AT = "2026-01-01T12:00:00Z"


# --- which repository ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "git@github.com:acme/app.git", "git@github.com:acme/app", "https://github.com/acme/app.git/",
        "https://somebody:secret@github.com/acme/app", "ssh://git@github.com/acme/app.git",
        "ssh://git@ssh.github.com:443/acme/app.git", "git://github.com/acme/app", "https://GitHub.com/acme/app",
    ],
)  # fmt: skip
def test_a_repository_is_named_by_every_form_of_its_url(url: str) -> None:
    assert slug.parse(url) == APP


@pytest.mark.parametrize(
    "url",
    [
        "../app", "/srv/app.git", "file:///srv/app", "https://gitlab.com/acme/app", "git@example.org:acme/app",
        "https://github.com/acme", "https://github.com/acme/app/extra", "https://github.com.evil.org/acme/app",
        "git@github.com:acme/..", "ext::sh -c x", "https://github.com/-o/app",
    ],
)  # fmt: skip
def test_what_is_not_on_github_is_no_repository_there(url: str) -> None:
    assert slug.parse(url) is None


def test_other_hosts_are_github_by_their_name_or_by_the_users_word() -> None:
    assert slug.parse("git@acme.ghe.com:a/b") == Slug("acme.ghe.com", "a", "b")
    assert slug.parse("git@git.acme.org:a/b", also="git.acme.org") == Slug("git.acme.org", "a", "b")


def chosen(*kinds: ForgeKind, url: str | None = "git@github.com:acme/app.git") -> tuple[Slug | None, list[str | None]]:
    config = (("remote.origin.url", url),) if url else ()
    specs = [worlds.an_epic(name=f"m{n}", forge=kind) for n, kind in enumerate(kinds)]
    found = choice.chosen(specs, config)
    return found.there, [found.refused(spec) for spec in specs]


def test_a_remote_on_github_means_github() -> None:
    assert chosen(ForgeKind.AUTO) == (APP, [None])
    assert chosen(ForgeKind.GITHUB) == (APP, [None])
    assert chosen(ForgeKind.LOCAL) == (None, [None])


def test_without_a_remote_there_is_no_github() -> None:
    assert chosen(ForgeKind.AUTO, url=None) == (None, [None])
    assert "no remote origin" in (chosen(ForgeKind.GITHUB, url=None)[1][0] or "")


def test_another_server_is_never_guessed_at() -> None:
    _, (why,) = chosen(ForgeKind.AUTO, url="git@gitlab.com:acme/app.git")
    assert "write 'forge: local'" in (why or "")


def test_a_repository_has_one_forge_at_a_time() -> None:
    there, (first, second) = chosen(ForgeKind.AUTO, ForgeKind.LOCAL)
    assert (there, first) == (APP, None)
    assert "on GitHub (acme/app), as m0 has it" in (second or "")


# --- answers -------------------------------------------------------------------------------------------------


def answered(status: int, said: object = None, **headers: str) -> ReconcileError:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"message": said} if isinstance(said, str) else said
    return answers.refusal(answers.Answer(status=status, headers=told, body=body), "merge #1", now=1000.0)


@pytest.mark.parametrize(
    ("error", "kind", "delay"),
    [
        (answered(405, "Base branch was modified. Review and try the merge again."), TemporaryError, 4),
        (answered(405, "Pull Request is not mergeable"), TemporaryError, 15),
        (answered(405, "At least 1 approving review is required"), TemporaryError, 60),
        (answered(405, "Merge commits are not allowed on this repository."), TemporaryError, 60),
        (answered(403, "You're not authorized to push to this branch."), TemporaryError, 60),
        (answered(422, {"message": "Repository rule violations found"}), TemporaryError, 60),
        (answered(409, "Head branch was modified."), ChangedError, 0),
        (answered(403, "You have exceeded a secondary rate limit."), LimitError, 60),
        (answered(403, "secondary rate limit", retry_after="30"), LimitError, 30),
        (answered(429, "Too many requests"), LimitError, 60),
        (answered(403, "API rate limit exceeded", x_ratelimit_remaining="0", x_ratelimit_reset="1500"), LimitError, 500),
        (answered(403, "API rate limit exceeded", x_ratelimit_remaining="0", x_ratelimit_reset="9"), LimitError, 1),
        (answered(502), SlowError, 15), (answered(500), LostError, 15),
        (answered(408), LostError, 15),
    ],
)  # fmt: skip
def test_a_refusal_says_when_to_ask_again(error: ReconcileError, kind: type[TemporaryError], delay: float) -> None:
    assert type(error) is kind
    assert error.delay == delay  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 422, 451])
def test_what_would_be_refused_again_is_a_persons(status: int) -> None:
    assert type(answered(status, "no")) is PermanentError


@pytest.mark.parametrize(
    ("code", "err", "kind"),
    [
        (4, "To get started with GitHub CLI, please run:  gh auth login", PermanentError),
        (1, "HTTP 401: Bad credentials", PermanentError),
        (1, 'Post "https://api.github.com/graphql": EOF', LostError),
        (1, "dial unix: no such file or directory", LostError),
        (0, "", LostError),
    ],
)
def test_an_answer_without_a_status_is_lost_or_nobody_is_logged_in(code: int, err: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        answers.read(Finished(code, b"", err.encode()))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"resource": "PullRequest", "field": "base", "code": "invalid"}, "Validation Failed: base invalid"),
        ({"field": "base", "code": "custom", "message": "it is no branch"}, "Validation Failed: it is no branch"),
        ({"code": "missing_field"}, "Validation Failed: missing_field"),
        ({}, "Validation Failed"),
    ],
)
def test_what_is_invalid_is_told_by_its_field(error: dict[str, str], said: str) -> None:
    body = json.dumps({"message": "Validation Failed", "errors": [error]})
    assert answers.read(Finished(1, f"HTTP/2.0 422 No\n\n{body}".encode(), b"")).message == said


@pytest.mark.parametrize(
    ("code", "out", "err", "said"),
    [
        (4, "", "To get started, please run:  gh auth login\nAlternatively, populate GH_TOKEN.", "gh is not logged in"),
        (1, "", "HTTP 401: Bad credentials", "gh is not logged in: HTTP 401: Bad credentials"),
        (0, "%%% no answer\nat all", "", "GitHub did not answer: gh printed '%%% no answer'"),
        (2, "%%%", "panic: oh", "GitHub did not answer: panic: oh"),
    ],
)
def test_an_answer_that_is_none_is_told_in_words_that_say_something(code: int, out: str, err: str, said: str) -> None:
    with pytest.raises(ReconcileError) as told:
        answers.read(Finished(code, out.encode(), err.encode()))
    assert str(told.value) == said and "gh auth" in (told.value.hint or "")


def test_headers_and_body_are_told_apart_whatever_the_line_ends() -> None:
    read = answers.read(Finished(1, b'HTTP/2.0 403 Forbidden\r\nRetry-After: 9\r\n\r\n{"message": "x\\n\\ny"}', b""))
    assert (read.status, read.headers["retry-after"], read.message) == (403, "9", "x\n\ny")


@given(st.binary(), st.binary(), st.integers(0, 5))
def test_no_output_of_gh_is_more_than_an_answer_or_an_error(out: bytes, err: bytes, code: int) -> None:
    try:
        read = answers.read(Finished(code, out, err))
    except ReconcileError:
        return
    assert isinstance(read.message, str)


# --- checks --------------------------------------------------------------------------------------------------


def a_run(name: str = "ci", conclusion: str | None = "SUCCESS", **more: Any) -> dict[str, Any]:
    status = "COMPLETED" if conclusion else "IN_PROGRESS"
    return {"__typename": "CheckRun", "name": name, "status": status, "conclusion": conclusion, "databaseId": 1, **more}


def a_status(state: str, name: str = "ci") -> dict[str, Any]:
    return {"__typename": "StatusContext", "context": name, "state": state}


VERDICTS = {
    CheckResult.PASSED: ["SUCCESS", "NEUTRAL", "SKIPPED"],
    CheckResult.FAILED: ["FAILURE", "TIMED_OUT", "ACTION_REQUIRED", "STARTUP_FAILURE"],
    CheckResult.VOID: ["CANCELLED", "STALE"],
    CheckResult.PENDING: [None, "", "SOMETHING_NEW"],
}


@pytest.mark.parametrize(("result", "conclusion"), [(r, c) for r, each in VERDICTS.items() for c in each])
def test_every_conclusion_has_one_meaning(result: CheckResult, conclusion: str | None) -> None:
    assert [check.result for check in check_results.results([a_run(conclusion=conclusion)])] == [result]


@pytest.mark.parametrize("status", ["QUEUED", "IN_PROGRESS", "WAITING", "REQUESTED", "PENDING"])
def test_what_is_not_over_has_no_result_whatever_it_says(status: str) -> None:
    (check,) = check_results.results([a_run(status=status)])
    assert check.result is CheckResult.PENDING


@pytest.mark.parametrize(
    ("state", "result"),
    [
        ("SUCCESS", "passed"),
        ("FAILURE", "failed"),
        ("ERROR", "failed"),
        ("PENDING", "pending"),
        ("EXPECTED", "pending"),
    ],
)
def test_a_status_has_its_meaning_too(state: str, result: str) -> None:
    assert [check.result for check in check_results.results([a_status(state)])] == [result]


def test_of_runs_of_one_name_the_newest_counts_though_it_has_no_time_yet() -> None:
    again = a_run(conclusion=None, databaseId=2, startedAt=None)
    assert [c.result for c in check_results.results([a_run(startedAt=AT), again])] == [CheckResult.PENDING]
    assert [c.result for c in check_results.results([again, a_run(startedAt=AT)])] == [CheckResult.PENDING]


def test_a_check_of_two_events_is_two_checks() -> None:
    def of(event: str, conclusion: str) -> dict[str, Any]:
        suite = {"workflowRun": {"event": event, "workflow": {"name": "CI"}}}
        return a_run(conclusion=conclusion, checkSuite=suite)

    found = check_results.results([of("push", "SUCCESS"), of("pull_request", "FAILURE")])
    assert sorted(check.result for check in found) == [CheckResult.FAILED, CheckResult.PASSED]


def test_one_name_of_two_apps_is_two_checks() -> None:
    def of(app: int, conclusion: str, number: int) -> dict[str, object]:
        return a_run(checkSuite={"app": {"databaseId": app}}, conclusion=conclusion, databaseId=number)

    found = check_results.results([of(1, "FAILURE", 1), of(2, "SUCCESS", 2)])

    assert [check.result for check in found] == [CheckResult.FAILED, CheckResult.PASSED]


@given(st.lists(st.sampled_from([a_run("a"), a_run("b", None, databaseId=2), a_status("ERROR", "c")]), unique_by=str))
def test_the_order_of_an_answer_says_nothing(contexts: list[dict[str, Any]]) -> None:
    assert check_results.results(contexts) == check_results.results(contexts[::-1])


# --- pull requests -------------------------------------------------------------------------------------------


def a_node(**more: Any) -> dict[str, Any]:
    return {
        "number": 1, "id": "PR_1", "url": "https://github.com/acme/app/pull/1", "state": "OPEN", "title": "T", "body": "",
        "isDraft": False, "isCrossRepository": False, "headRefName": "agent/x-1", "headRefOid": HEAD, "headRef": None,
        "baseRefName": "main", "createdAt": AT, "closedAt": None, "mergeCommit": None, "author": {"login": "robot"},
        "mergeStateStatus": "CLEAN", "reviewDecision": None, "isInMergeQueue": False, "autoMergeRequest": None, **more,
    }  # fmt: skip


def a_review(
    state: str, by: str = "alice", head: Sha = HEAD, kind: str = "User", *, can_push: bool = True
) -> dict[str, Any]:
    author = {"__typename": kind, "login": by}
    said = {"state": state, "submittedAt": AT, "body": f"says {by}", "commit": {"oid": head}}
    return {"author": author, "authorCanPushToRepository": can_push, "viewerDidAuthor": False, "id": f"R_{by}", **said}


def of(**more: Any) -> Pull:
    found = pull_nodes.decoded(a_node(**more))
    assert found
    return found


def reviewed(*reviews: dict[str, Any]) -> Pull:
    return of(reviews={"nodes": list(reviews)})


@pytest.mark.parametrize("branch", ["main", "agent/", "agent/a/b", "agent/..", "agent/--x", "agents/x"])
def test_only_branches_of_tasks_are_ours(branch: str) -> None:
    assert pull_nodes.decoded(a_node(headRefName=branch)) is None


def test_a_fork_is_never_ours_even_one_that_was_deleted() -> None:
    assert pull_nodes.decoded(a_node(isCrossRepository=True, headRepository=None)) is None


@pytest.mark.parametrize("wrong", [{"number": None}, {"state": "?"}, {"createdAt": "now"}, {"headRefOid": None}])
def test_an_answer_that_makes_no_sense_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(TemporaryError):
        pull_nodes.decoded(a_node(**wrong))


def test_checks_that_github_shows_of_another_commit_are_no_checks_of_this_head() -> None:
    def rollup(oid: Sha) -> dict[str, Any]:
        return {"commit": {"oid": oid}, "contexts": {"nodes": [a_run()]}}

    assert of(statusCheckRollup=rollup(OTHER)).checks == ()
    assert len(of(statusCheckRollup=rollup(HEAD)).checks) == 1


def test_an_approval_is_pinned_to_the_head() -> None:
    assert reviewed(a_review("APPROVED")).approved == HEAD
    assert reviewed(a_review("APPROVED", head=OTHER)).approved is None


def test_a_head_that_comes_back_is_approved_as_it_was() -> None:
    reviews = {"nodes": [a_review("APPROVED")]}
    assert of(headRefOid=OTHER, reviews=reviews).approved is None
    assert of(headRefOid=HEAD, reviews=reviews).approved == HEAD


@pytest.mark.parametrize("after", ["CHANGES_REQUESTED", "DISMISSED"])
def test_the_last_word_of_a_reviewer_counts(after: str) -> None:
    assert reviewed(a_review("APPROVED"), a_review(after)).approved is None


def test_one_no_outweighs_every_yes() -> None:
    seen = reviewed(a_review("APPROVED"), a_review("CHANGES_REQUESTED", by="bert"))
    assert seen.approved is None
    assert seen.rejection and seen.rejection.text == "bert: says bert"


def test_a_no_to_an_older_head_is_answered_by_the_new_one() -> None:
    seen = reviewed(a_review("CHANGES_REQUESTED", head=OTHER))
    assert seen.rejection is None and seen.approved is None


def test_a_stranger_decides_nothing() -> None:
    assert reviewed(a_review("APPROVED", can_push=False)).approved is None
    seen = reviewed(a_review("APPROVED"), a_review("CHANGES_REQUESTED", by="mallory", can_push=False))
    assert (seen.approved, seen.rejection) == (HEAD, None)


def test_nobody_approves_their_own_work_and_no_bot_does() -> None:
    assert reviewed(a_review("APPROVED", by="robot")).approved is None
    assert reviewed(a_review("APPROVED", by="ci", kind="Bot")).approved is None


def test_a_place_in_the_merge_queue_is_seen_and_why_it_was_lost() -> None:
    bases, queued = ("main",), {"isInMergeQueue": True}
    entry = {"mergeQueueEntry": {"position": 3, "state": "QUEUED"}}
    assert of(**queued, **entry).observed(bases, None, Standing.SAME).queue == QueueSpot(position=3, state="QUEUED")
    assert of(**queued).observed(bases, None, Standing.SAME).queue == QueueSpot(position=1)
    assert of(**entry).observed(bases, None, Standing.SAME).queue is None
    event = {"id": "E_1", "createdAt": AT, "reason": "checks\nfailed", "actor": {"__typename": "User", "login": "ann"}}
    found = of(removals={"nodes": [event]}).removed
    assert found and (found.reason, found.by_person, found.conflict) == ("checks failed", True, False)


@pytest.mark.parametrize(
    ("state", "aside"),
    [
        ({}, None), ({"isDraft": True}, "draft"), ({"baseRefName": "next"}, "on its way to next"),
        ({"isInMergeQueue": True}, None), ({"autoMergeRequest": {"enabledAt": AT}}, "auto-merge"),
    ],
)  # fmt: skip
def test_what_people_did_to_a_pull_request_sets_it_aside(state: dict[str, Any], aside: str | None) -> None:
    found = of(**state).observed(("main",), None, Standing.SAME).aside
    assert (aside is None and found is None) or (aside and aside in (found or ""))


@pytest.mark.parametrize(
    ("state", "withheld"),
    [
        ({}, False), ({"mergeStateStatus": "UNKNOWN"}, False), ({"mergeStateStatus": "UNSTABLE"}, False),
        ({"mergeStateStatus": "BLOCKED"}, True), ({"reviewDecision": "REVIEW_REQUIRED"}, True),
        ({"reviewDecision": "CHANGES_REQUESTED"}, True), ({"reviewDecision": "APPROVED"}, False),
    ],
)  # fmt: skip
def test_what_the_rules_want_beside_checks_is_said(state: dict[str, Any], withheld: bool) -> None:
    assert (of(**state).withheld() is not None) is withheld


def test_only_the_word_of_github_makes_a_branch_outdated() -> None:
    assert of(mergeStateStatus="BEHIND").observed(("main",), None, Standing.SAME).lacks_base
    assert not of(mergeStateStatus="UNKNOWN").observed(("main",), None, Standing.SAME).lacks_base


# --- the query -----------------------------------------------------------------------------------------------


def test_names_in_a_query_are_data() -> None:
    evil = 'x"){id} evil: viewer{login}} #'
    text = query.Question(slug=APP, bases=(evil,)).text
    assert f"baseRefName: {json.dumps(evil)}" in text
    assert "evil: viewer" not in text.replace(json.dumps(evil), "").replace(json.dumps(f"refs/heads/{evil}"), "")


# --- how often it is looked ----------------------------------------------------------------------------------


def looks_in_an_hour(*pulls: tuple[Pull, timedelta], cost: int) -> float:
    return 3600 / look.fresh_s(pulls, cost) * cost


OLD, YOUNG = timedelta(hours=1), timedelta(seconds=5)


def test_an_idle_hour_costs_at_most_three_hundred_points() -> None:
    green = of(statusCheckRollup={"commit": {"oid": HEAD}, "contexts": {"nodes": [a_run()]}})
    assert looks_in_an_hour(*[(green, OLD)] * 50, cost=4) <= 300
    assert looks_in_an_hour(*[(of(), OLD)] * 50, cost=4) <= 300  # nothing checks them, and nothing will


def test_a_busy_hour_costs_at_most_a_thousand_points_and_is_looked_at_often() -> None:
    busy = of(statusCheckRollup={"commit": {"oid": HEAD}, "contexts": {"nodes": [a_run(conclusion=None)]}})
    assert looks_in_an_hour(*[(busy, YOUNG)] * 50, cost=4) <= 1000
    assert look.fresh_s([(busy, YOUNG)], 1) <= 15


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Closes #1", "fixed: acme/app#12", "RESOLVES https://github.com/a/b/issues/3", "fix GH-3", "[skip ci]", "[CI SKIP]",
        "[no ci]", "[skip actions]", "@ann", "hi @acme/team", "<b>", "<!-- x -->", "\nskip-checks: true", "close\t#2",
    ],
)  # fmt: skip
def test_no_text_of_a_task_commands_github(text: str) -> None:
    made = words.harmless(text)
    assert made != text and words.harmless(made) == made


@pytest.mark.parametrize("text", ["a@b.org", "fix the #1 bug first", "a < b", "[skip]", "see #3", "`x@y`"])
def test_text_that_commands_nothing_stays_as_it_is(text: str) -> None:
    assert words.harmless(text) == text


@given(st.text(), st.text())
@example("0" * 196, "")
@example("Reconcile-Task: y", "")
def test_whatever_a_task_says_the_landed_commit_names_it_and_its_head(title: str, body: str) -> None:
    subject, text = words.message(title, body, TaskId("x-1"), HEAD, 7)
    assert "\n" not in subject and subject.endswith("(#7)")
    assert message.landed(f"{subject}\n\n{text}") == ("x-1", HEAD)


# --- rules ---------------------------------------------------------------------------------------------------

ABOUT = {
    "nameWithOwner": "acme/app", "id": "R_1",
    "viewerPermission": "WRITE", "isArchived": False,
    "mergeCommitAllowed": True, "squashMergeAllowed": True, "rebaseMergeAllowed": True,
}  # fmt: skip


def answered_page(**about: Any) -> query.Page:
    data = {"repository": {**ABOUT, "base0": {"target": {"id": "C_1", "oid": HEAD}}, **about}}
    data["repository"].setdefault("open0", {"pageInfo": {"hasNextPage": False}, "nodes": []})
    return query.page(query.Question(slug=APP, bases=("main",)), Reply(data))


def ruled(*found: dict[str, Any], **about: Any) -> Rules:
    return rules.decoded(APP, "main", answered_page(**about), (list(found), None))


def test_rulesets_say_which_methods_are_left() -> None:
    assert ruled({"type": "required_linear_history"}).methods == {"squash", "rebase"}
    assert ruled({"type": "required_signatures"}).methods == {"squash", "merge"}
    assert ruled({"type": "pull_request", "parameters": {"allowed_merge_methods": ["merge"]}}).methods == {"merge"}
    assert ruled(mergeCommitAllowed=False).methods == {"squash", "rebase"}


def test_protection_that_is_switched_off_asks_for_nothing() -> None:
    told = {"protection": {"enabled": True, "required_status_checks": {"enforcement_level": "off", "contexts": ["ci"]}}}
    assert rules.decoded(APP, "main", answered_page(), (None, told)).required == ()


def test_the_app_that_must_report_a_check_is_read_from_both_kinds_of_rules() -> None:
    some = [{"context": "ci", "integration_id": 7}, {"context": "lint"}]
    asked = ruled({"type": "required_status_checks", "parameters": {"required_status_checks": some}})
    assert (asked.required, asked.apps) == (("ci", "lint"), {"ci": {7}})
    checks = {"contexts": ["ci", "lint"], "checks": [{"context": "ci", "app_id": 7}, {"context": "lint", "app_id": -1}]}
    told = {"protection": {"enabled": True, "required_status_checks": checks}}
    asked = rules.decoded(APP, "main", answered_page(), (None, told))
    assert (asked.required, asked.apps) == (("ci", "lint"), {"ci": {7}})


def test_a_ruleset_with_a_queue_is_a_queue() -> None:
    assert ruled({"type": "merge_queue"}).queue
    assert ruled().queue is None and ruled().closed is None


def test_a_login_without_the_right_to_push_is_told() -> None:
    assert ruled(viewerPermission="TRIAGE").closed and ruled(viewerPermission="READ").closed


def test_an_app_of_which_github_does_not_tell_what_it_may_is_not_refused() -> None:
    asked = ruled(viewerPermission=None)
    assert asked.closed is None and "GITHUB_TOKEN" in (asked.mute or "")
    assert ruled().mute is None


def test_a_base_that_github_lacks_is_told_with_the_one_that_it_may_be() -> None:
    closed = ruled(base0=None, defaultBranchRef={"name": "trunk"}).closed
    assert closed and "no branch main" in closed and "base: trunk" in closed


def test_a_repository_with_another_name_is_told_and_letters_case_is_no_other_name() -> None:
    renamed = ruled(nameWithOwner="acme/shop").renamed
    assert renamed and "acme/app is acme/shop now" in renamed
    assert ruled(nameWithOwner="Acme/App").renamed is None
