"""What is pushed with real git, and what becomes of pull requests by it."""

from __future__ import annotations

from typing import Any

import pytest

from github import GitHub, Repository, merging
from github.bare import GITHUB
from github.conftest import Shell
from github.records import Method


def test_a_push_moves_the_head_of_a_pull_request(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    clone = run.clone()

    run("git", "checkout", "--quiet", "agent/x", cwd=clone)
    run("git", "commit", "--quiet", "--allow-empty", "-m", "more", cwd=clone)
    pushed = run("git", "push", "--quiet", "origin", "agent/x", cwd=clone)

    head = run("git", "rev-parse", "HEAD", cwd=clone).stdout.strip()
    assert pushed.returncode == 0, pushed.stderr
    assert run.seen(1, "headRefOid", "state") == {"headRefOid": head, "state": "OPEN"}
    assert run("git", "ls-remote", "origin", "refs/pull/1/head", cwd=clone).stdout.split()[0] == head


def test_a_stale_lease_pushes_nothing(run: Shell, hub: GitHub, app: Repository) -> None:
    clone = run.clone()
    old = app.head("agent/x")
    new = hub.commit("acme/app", "agent/x", {"x": "theirs\n"})

    ran = run("git", "push", f"--force-with-lease=agent/x:{old}", "origin", "origin/main:refs/heads/agent/x", cwd=clone)

    assert (ran.returncode, app.head("agent/x")) == (1, new)
    assert "(stale info)" in ran.stderr


def test_a_base_that_holds_the_head_has_merged_it_even_if_the_branch_is_gone(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    clone = run.clone()

    run("git", "push", "--quiet", "origin", "origin/agent/x:main", cwd=clone)
    run("git", "push", "--quiet", "origin", ":agent/x", cwd=clone)

    assert run.seen(1, "state", "mergeCommit") == {"state": "MERGED", "mergeCommit": {"oid": app.head("main")}}


def test_a_branch_that_is_deleted_closes_what_it_was_for(run: Shell, hub: GitHub, app: Repository) -> None:
    hub.commit("acme/app", "agent/y", {"y": "y\n"}, start="agent/x")
    app.open("agent/x")
    app.open("agent/y", "agent/x")
    clone = run.clone()

    run("git", "push", "--quiet", "origin", ":agent/x", cwd=clone)

    assert [run.seen(number, "state")["state"] for number in (1, 2)] == ["CLOSED", "CLOSED"]


def test_a_head_that_is_moved_onto_what_has_landed_is_merged_and_one_without_commits_is_closed(
    hub: GitHub, app: Repository
) -> None:
    hub.commit("acme/app", "agent/y", {"y": "y\n"})
    first = app.head("main")
    app.open("agent/x")
    app.open("agent/y")
    landed = hub.commit("acme/app", "main", {"x": "x\n"}, "squashed by hand")
    assert [app.pull(1).state, app.pull(2).state] == ["OPEN", "OPEN"]

    app.bare.update("refs/heads/agent/x", landed)
    app.bare.update("refs/heads/agent/y", first)

    assert (app.pull(1).state, app.pull(2).state) == ("MERGED", "CLOSED")


def test_the_base_that_is_shown_does_not_follow_its_branch(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    first = app.head("main")

    second = hub.commit("acme/app", "main", {"b": "b\n"})
    stayed = run.seen(1, "baseRefOid")
    hub.commit("acme/app", "agent/x", {"x": "more\n"})

    assert (stayed, run.seen(1, "baseRefOid")) == ({"baseRefOid": first}, {"baseRefOid": second})


def test_who_may_not_push_is_told_so(run: Shell, app: Repository) -> None:
    clone = run.clone()
    push = ("git", "push", "origin", "HEAD:refs/heads/new")

    app.permit("READ")
    denied = run(*push, cwd=clone)
    app.permit("WRITE")
    app.archive()
    archived = run(*push, cwd=clone)

    assert [(ran.returncode, "new" in app.bare.heads()) for ran in (denied, archived)] == [(128, False)] * 2
    assert "ERROR: Permission to acme/app.git denied to robot." in denied.stderr
    assert "ERROR: This repository was archived so it is read-only." in archived.stderr


def test_a_push_can_be_taken_without_anybody_hearing_of_it(run: Shell, hub: GitHub, app: Repository) -> None:
    clone = run.clone()
    hub.lose_push("acme/app")

    ran = run("git", "push", "origin", "HEAD:refs/heads/new", cwd=clone)

    assert (ran.returncode != 0, app.bare.heads()["new"]) == (True, app.head("main"))


@pytest.mark.parametrize(
    ("rule", "classic", "said"),
    [
        ({"required": ("ci",)}, True, "error: GH006: Protected branch update failed for refs/heads/main."),
        ({"reviews": 1}, False, "error: GH013: Repository rule violations found for refs/heads/main."),
    ],
)
def test_a_protected_branch_takes_what_meets_its_rules(
    run: Shell, app: Repository, rule: dict[str, Any], classic: bool, said: str
) -> None:
    app.protect("main", **rule, classic=classic)
    app.open("agent/x")
    clone = run.clone()
    push = ("git", "push", "origin", "origin/agent/x:main")

    refused = run(*push, cwd=clone)
    app.check(app.head("agent/x"), "ci", "success")
    app.review(1, "alice")
    taken = run(*push, cwd=clone)

    assert said in refused.stderr
    assert (refused.returncode, taken.returncode, app.pull(1).state) == (1, 0, "MERGED"), taken.stderr


def test_both_or_neither_of_two_refs_move(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    clone = run.clone()
    old = app.head("main")
    hub.commit("acme/app", "main", {"b": "b\n"})

    ran = run(
        *("git", "push", "--atomic", f"--force-with-lease=main:{old}", "origin"),
        *("origin/agent/x:main", "origin/main:agent/x"),
        cwd=clone,
    )  # fmt: skip

    assert (ran.returncode, app.pull(1).state, app.pull(1).head) == (1, "OPEN", app.head("agent/x"))


def test_an_old_name_leads_to_the_new_one(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")

    hub.rename("acme/app", "acme/tool")

    assert run("git", "ls-remote", "git@github.com:acme/app.git", "refs/heads/main").stdout.startswith(app.head("main"))
    assert run.seen(1, "url") == {"url": "https://github.com/acme/tool/pull/1"}


def test_a_repository_that_is_gone_is_not_found(run: Shell, hub: GitHub, app: Repository) -> None:
    hub.remove("acme/app")

    cloned, listed = run("git", "ls-remote", "git@github.com:acme/app.git"), run.pr("list")

    assert (cloned.returncode, listed.returncode) == (128, 1)
    assert "ERROR: Repository not found." in cloned.stderr
    assert "Could not resolve to a Repository with the name 'acme/app'." in listed.stderr


def test_a_fork_may_have_a_branch_of_the_same_name(run: Shell, hub: GitHub, app: Repository) -> None:
    fork = hub.fork("acme/app", "mallory")
    evil = hub.commit("mallory/app", "agent/x", {"evil": "yes\n"})
    app.open("agent/x", by="mallory", source=fork)
    app.open("agent/x")

    theirs, ours = run.seen(1, "isCrossRepository", "headRefOid"), run.seen(2, "isCrossRepository", "headRefOid")
    hub.remove("mallory/app")

    assert theirs == {"isCrossRepository": True, "headRefOid": evil}
    assert ours == {"isCrossRepository": False, "headRefOid": app.head("agent/x")}
    assert run.seen(1, "state", "headRepository") == {"state": "CLOSED", "headRepository": None}


def test_the_commit_in_which_a_merge_was_tried_is_not_on_the_base(run: Shell, app: Repository) -> None:
    app.open("agent/x")
    base, head = app.head("main"), app.head("agent/x")

    tried = run("gh", "api", "repos/acme/app/pulls/1", "--jq", ".merge_commit_sha").stdout.strip()

    assert app.bare.commit(tried).parents == (base, head)
    assert (app.head("main"), app.bare.resolve("refs/pull/1/merge")) == (base, tried)


@pytest.mark.parametrize("method", ["MERGE", "SQUASH", "REBASE"])
def test_each_way_to_merge_makes_the_commit_that_github_makes(hub: GitHub, app: Repository, method: Method) -> None:
    hub.commit("acme/app", "agent/x", {"x": "x\nx\n"}, "Add more")
    hub.commit("acme/app", "main", {"b": "b\n"}, "Add b")
    base, head = app.head("main"), app.head("agent/x")
    app.open("agent/x", title="The letter x", by="alice")

    landed = app.bare.commit(merging.merge(app, 1, method, by="bob", expected=head))

    assert landed.tree == app.bare.merged_tree(base, head)
    told = (landed.headline, landed.body, landed.parents, landed.author.name, landed.committer)
    match method:
        case "MERGE":
            words = "Merge pull request #1 from acme/agent/x", "The letter x"
            assert told == (*words, (base, head), "bob", GITHUB)
        case "SQUASH":
            words = "The letter x (#1)", "* Add x\n\nBecause it was missing.\n\n* Add more"
            assert told == (*words, (base,), "alice", GITHUB)
        case "REBASE":
            first = app.bare.commit(landed.parents[0])
            assert (first.headline, first.parents, landed.headline) == ("Add x", (base,), "Add more")
            assert (landed.author.name, landed.committer.name) == ("robot", "bob")


def test_a_branch_that_github_deletes_gives_those_into_it_a_new_base(hub: GitHub, app: Repository) -> None:
    app.delete_branch_on_merge = True
    hub.commit("acme/app", "agent/y", {"y": "y\n"}, start="agent/x")
    app.open("agent/x")
    app.open("agent/y", "agent/x")

    merging.merge(app, 1, "MERGE", by="bob", expected=None)

    assert ("agent/x" in app.bare.heads(), app.pull(2).state, app.pull(2).into) == (False, "OPEN", "main")


def test_what_was_rewritten_while_closed_stays_closed(run: Shell, hub: GitHub, app: Repository) -> None:
    app.open("agent/x")
    app.close(1)
    old = app.head("agent/x")
    app.bare.update("refs/heads/agent/x", app.head("main"))
    hub.commit("acme/app", "agent/x", {"x": "anew\n"})

    refused = run.api("PATCH", "/pulls/1", state="open")
    app.bare.update("refs/heads/agent/x", old)
    taken = run.api("PATCH", "/pulls/1", state="open")

    assert "The agent/x branch was force-pushed or recreated." in refused.stdout
    assert (refused.returncode, taken.returncode, app.pull(1).state) == (1, 0, "OPEN")
