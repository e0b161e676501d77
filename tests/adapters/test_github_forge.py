"""Pull requests on GitHub: real `gh` against a GitHub of our own, with real git repositories on both sides."""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import on_github
import pytest
from github import faults, merging
from gitrepo import GitRepo
from on_github import Killed, Place, X

from reconciler.forges.github import beneath
from reconciler.forges.github.look import SMALLER_WITHIN_S, Look
from reconciler.model.errors import (
    ChangedError,
    ContentRefusedError,
    PermanentError,
    ReconcileError,
    RefusedError,
    SilentError,
    TemporaryError,
)
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Candidate, CheckResult, ForgeCheck, Judged, PullState, Standing
from reconciler.model.pull_records import Verdict

pytestmark = pytest.mark.xdist_group("github")


@pytest.fixture
def there() -> Iterator[Place]:
    with on_github.place() as made:
        yield made


def updated(there: Place, more: dict[str, str] | None = None) -> Sha:
    """The head of x-1 once the base, which has gone on, was merged into it; with more put into that merge, if any."""
    there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
    head = there.pull().head
    if more is None:
        there.forge.update(there.pull().number, head)
        return there.pull().head
    git = there.clone.git
    git("fetch", "--quiet", "origin", env=there.environ)
    git("worktree", "add", "--quiet", "--detach", str(there.clone.home / "w"), head)
    work = GitRepo(path=there.clone.home / "w", home=there.clone.home)
    work.git("merge", "--quiet", "--no-commit", "origin/main")
    for name, text in more.items():
        (work.path / name).write_text(text)
    work.git("add", ".")
    work.git("commit", "--quiet", "-m", "Merge")
    work.git("push", "--quiet", "origin", "HEAD:refs/heads/agent/x-1", env=there.environ)
    return there.pull().head


# --- opening -------------------------------------------------------------------------------------------------


def test_a_pull_request_is_opened_once_whoever_asks_and_how_often(there: Place) -> None:
    number, head = there.offered()

    assert there.forge.open(X, head, "Do it", "") == number
    assert there.again().open(X, head, "Do it", "") == number
    assert len(there.asked("POST /repos")) == 1


def test_what_its_agent_opened_is_adopted(there: Place) -> None:
    head = there.clone.branch("agent/x-1", {"new": "1\n"})
    there.clone.git("push", "--quiet", "origin", "agent/x-1", env=there.environ)
    opened = there.app.open("agent/x-1", "main", title="By its agent", by="robot")

    assert there.forge.open(X, head, "Do it", "") == opened.number
    assert there.pull().head == head


def test_an_opening_whose_answer_was_lost_is_found_and_not_repeated(there: Place) -> None:
    there.hub.fault(faults.lost(502), on="POST /repos/acme/app/pulls")

    number, _ = there.offered()

    assert there.pull().number == number == 1
    assert len(there.asked("POST /repos/acme/app/pulls")) == 1


@pytest.mark.slow
def test_an_opening_that_github_never_heard_of_is_no_pull_request(there: Place) -> None:
    there.hub.fault(faults.server_error(502), on="POST /repos/acme/app/pulls")
    head = there.clone.branch("agent/x-1", {"new": "1\n"})

    with pytest.raises(TemporaryError, match="trouble"):
        there.forge.open(X, head, "Do it", "")

    assert there.forge.open(X, head, "Do it", "") == 1


@pytest.mark.slow
def test_text_of_a_task_does_nothing_on_github(there: Place) -> None:
    head = there.clone.branch("agent/x-1", {"new": "1\n"})
    there.forge.open(X, head, "Fixes #3 [skip ci]", "Closes #4, says @ann\n<script>\n--body-file=/etc/passwd\x1b[2J")

    pull = there.app.pull(1)

    assert pull.title == "Fixes issue #3 (skip ci)"
    assert pull.body == "Closes issue #4, says (at)ann\n&lt;script>\n--body-file=/etc/passwd[2J"


def test_a_branch_with_a_persons_commits_is_not_overwritten(there: Place) -> None:
    theirs = there.hub.commit(on_github.NAME, "agent/x-1", {"theirs": "1\n"})
    head = there.clone.branch("agent/x-1", {"ours": "1\n"})

    with pytest.raises(PermanentError, match="not overwritten"):
        there.forge.open(X, head, "Do it", "")

    assert there.app.head("agent/x-1") == theirs


def test_what_a_branch_does_to_the_trackers_folder_is_not_offered(there: Place) -> None:
    there.hub.commit(on_github.NAME, "main", {".beads/issues.jsonl": "old\n"})
    there.clone.git("pull", "--quiet", env=there.environ)
    number, head = there.offered({"new": "1\n", ".beads/issues.jsonl": "new\n", ".beads/more": "1\n"})

    seen = there.pull()

    assert seen.here is Standing.BEHIND  # what was offered is on top of it
    there.forge.follow_branch(X, seen.head)
    assert there.clone.git("rev-parse", f"{seen.head}^") == head
    assert there.clone.git("diff", "--name-only", "main", seen.head) == "new"
    commit = there.landed(number, seen.head)
    assert there.app.bare.git("show", f"{commit}:.beads/issues.jsonl").strip() == "old"
    assert there.forge.base("main").frozen is None


@pytest.mark.slow
def test_an_offer_that_is_made_again_is_the_same_one(there: Place) -> None:
    number, head = there.offered({"new": "1\n", ".beads/more": "1\n"})
    offered = there.app.head("agent/x-1")
    there.clone.git("update-ref", "-d", "refs/reconcile/pushed/x-1")

    assert there.again().open(X, head, "Do x-1", "Text") == number

    assert there.app.head("agent/x-1") == offered != head


@pytest.mark.slow
def test_what_somebody_else_offers_of_the_trackers_folder_is_judged_as_it_would_land(there: Place) -> None:
    head = there.clone.branch("agent/x-1", {"new": "1\n", ".beads/more": "1\n"})
    there.clone.git("push", "--quiet", "origin", "agent/x-1", env=there.environ)
    number = there.app.open("agent/x-1", "main", title="By its agent", by="robot").number
    there.app.check(head, "ci", "success")

    order = there.order(PrNumber(number), head)

    assert order.expected.changed == {"new", ".beads/more"}
    assert there.app.bare.commit(there.forge.land(order)).tree == order.expected.tree


def test_what_names_files_that_were_never_uploaded_is_told_so_and_not_offered(there: Place) -> None:
    why = "Your push referenced at least 1 unknown Git LFS object:"
    there.app.bare.note("refused", f"refs/heads/agent/x-1 , GH008 {why}\n")
    head = there.clone.branch("agent/x-1", {"big": "version https://git-lfs.github.com/spec/v1\n"})

    with pytest.raises(TemporaryError, match="unknown Git LFS object") as told:
        there.forge.open(X, head, "Do it", "")

    assert "git lfs push" in (told.value.hint or "")
    assert there.asked("POST") == []


def test_a_file_that_is_too_large_for_github_is_its_agents_to_take_out_and_all_that_was_said_is_kept(
    there: Place,
) -> None:
    why = "File big.bin is 120.00 MB; this exceeds GitHub's file size limit of 100.00 MB"
    there.app.bare.note("refused", f"refs/heads/agent/x-1 , GH001 {why}\n")
    head = there.clone.branch("agent/x-1", {"big.bin": "as if\n"})

    with pytest.raises(ContentRefusedError, match=re.escape(why)):
        there.forge.open(X, head, "Do it", "")

    assert there.asked("POST") == []


@pytest.mark.parametrize(
    ("rule", "against"), [("GH006 Changes must be made through a pull request.", True), ("", False)]
)
def test_a_push_that_a_rule_is_against_is_told_from_one_that_reached_nobody(
    there: Place, rule: str, against: bool
) -> None:
    head = there.clone.branch("agent/x-1", {"new": "n\n"})
    if rule:
        there.app.bare.note("refused", f"refs/heads/agent/x-1 , {rule}\n")
    else:
        there.forge.look.now()
        there.app.bare.path.rename(there.app.bare.path.with_suffix(".away"))

    with pytest.raises(TemporaryError, match=re.escape(rule.partition(" ")[2] or "git")) as told:
        there.forge.open(X, head, "Do it", "")

    assert isinstance(told.value, RefusedError) is against


@pytest.mark.slow
def test_a_push_whose_answer_was_lost_is_not_made_again(there: Place) -> None:
    there.hub.lose_push(on_github.NAME)

    _, head = there.offered()

    assert there.app.head("agent/x-1") == head


@pytest.mark.slow
def test_one_that_a_person_sent_to_another_base_gets_no_twin(there: Place) -> None:
    number, head = there.offered()
    there.hub.commit(on_github.NAME, "next", {"n": "1\n"})
    there.app.retarget(number, "next")

    assert there.again().open(X, head, "Do it", "") == number
    assert len(there.asked("POST /repos")) == 1


def test_one_that_came_and_was_closed_since_the_last_look_is_not_opened_anew(there: Place) -> None:
    head = there.clone.branch("agent/x-1", {"new": "1\n"})
    assert there.forge.pull_requests() == {}
    there.clone.git("push", "--quiet", "origin", "agent/x-1", env=there.environ)
    there.app.close(there.app.open("agent/x-1", "main", title="By its agent", by="robot").number)

    with pytest.raises(ChangedError, match="#1 is closed"):
        there.forge.open(X, head, "Do it", "")

    assert there.forge.pull_requests()[X].declined
    assert there.forge.open(X, head, "Do it", "") == 2  # as after a retry: now it was known


@pytest.mark.slow
def test_what_the_base_has_already_is_not_offered(there: Place) -> None:
    head = there.clone.head("main")
    there.clone.git("branch", "agent/x-1", "main")

    with pytest.raises(ChangedError, match="has all of agent/x-1"):
        there.forge.open(X, head, "Do it", "")


@pytest.mark.slow
def test_each_base_gets_the_pull_requests_that_are_for_it(there: Place) -> None:
    there.hub.commit(on_github.NAME, "next", {"n": "1\n"})
    there.clone.git("fetch", "--quiet", "origin", "next:next", env=there.environ)
    there.bases = ("main", "next")
    head = there.clone.branch("agent/x-1", {"new": "1\n"}, start="next")

    number = there.forge.open(X, head, "Do it", "", base="next")

    assert there.app.pull(number).into == "next"
    assert there.pull().aside is None
    assert there.forge.base("next").head == there.app.head("next") != there.forge.base("main").head


# --- branches on both sides ----------------------------------------------------------------------------------


def test_a_persons_push_is_followed_here_with_its_worktree(there: Place) -> None:
    there.offered()
    there.clone.git("worktree", "add", "--quiet", "../x-1", "agent/x-1")
    theirs = there.hub.commit(on_github.NAME, "agent/x-1", {"theirs": "1\n"})

    seen = there.pull()
    assert (seen.head, seen.here) == (theirs, Standing.BEHIND)
    there.forge.follow_branch(X, theirs)

    assert there.clone.head("agent/x-1") == theirs
    assert (there.clone.path.parent / "x-1" / "theirs").read_text() == "1\n"
    assert there.clone.status(there.clone.path.parent / "x-1") == ""
    assert there.pull().here is Standing.SAME


def test_a_persons_force_push_is_a_new_head_and_what_was_here_is_saved(there: Place) -> None:
    _, ours = there.offered()
    there.app.bare.git(
        "update-ref", "refs/heads/agent/x-1", there.hub.commit(on_github.NAME, "other", {"theirs": "1\n"})
    )
    theirs = there.app.head("agent/x-1")

    assert there.pull().here is Standing.BEHIND
    there.forge.follow_branch(X, theirs)

    assert there.clone.head("agent/x-1") == theirs
    assert there.clone.head("refs/reconcile/salvage/x-1/1^") == ours


@pytest.mark.slow
def test_files_of_somebodys_in_the_worktree_keep_it_where_it_is(there: Place) -> None:
    _, ours = there.offered()
    there.clone.git("worktree", "add", "--quiet", "../x-1", "agent/x-1")
    there.clone.write({"theirs": "mine\n"}, where=there.clone.path.parent / "x-1")
    theirs = there.hub.commit(on_github.NAME, "agent/x-1", {"theirs": "1\n"})
    there.pull()

    with pytest.raises(TemporaryError, match="theirs"):
        there.forge.follow_branch(X, theirs)

    assert there.clone.head("agent/x-1") == ours
    assert (there.clone.path.parent / "x-1" / "theirs").read_text() == "mine\n"


@pytest.mark.slow
def test_new_commits_here_are_ahead_and_are_pushed_to_the_same_pull_request(there: Place) -> None:
    number, _ = there.offered()
    second = there.clone.branch("agent/x-1", {"more": "2\n"}, start="agent/x-1")

    assert there.pull().here is Standing.AHEAD
    assert there.forge.open(X, second, "Do it", "") == number

    assert (there.pull().head, there.pull().here) == (second, Standing.SAME)


@pytest.mark.slow
def test_an_agent_may_rewrite_what_we_pushed_for_it(there: Place) -> None:
    number, _ = there.offered()
    again = there.clone.branch("agent/x-1", {"otherwise": "1\n"})

    assert there.pull().here is Standing.AHEAD
    assert there.forge.open(X, again, "Do it", "") == number
    assert there.app.head("agent/x-1") == again


# --- looking -------------------------------------------------------------------------------------------------


def test_what_arrived_though_we_were_killed_while_pushing_is_ours(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.offered()
    there.clone.branch("agent/x-1", {"anew": "1\n"})
    pushed = there.forge._branches._remotes.push_branch

    def killed(*args: object) -> None:
        pushed(*args)  # type: ignore[arg-type]
        raise Killed

    monkeypatch.setattr(there.forge._branches._remotes, "push_branch", killed)
    with pytest.raises(Killed):
        there.forge.open(X, there.clone.head("agent/x-1"), "Do it", "")
    there.again()
    assert there.pull().here is Standing.SAME
    third = there.clone.branch("agent/x-1", {"anew": "2\n"})  # its agent amends what was found wanting

    assert there.pull().here is Standing.AHEAD
    there.forge.open(X, third, "Do it", "")
    assert there.app.head("agent/x-1") == third


def test_between_two_looks_nothing_is_asked_and_nothing_started(there: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    there.offered()
    there.pull()
    there.forge.base("main")
    time.sleep(1.2)  # a file that was just written may be written again unnoticed, and is read anew
    base = there.forge.base("main")
    monkeypatch.setattr(subprocess.Popen, "__init__", None)

    assert there.forge.pull_requests()[X].checks
    assert there.forge.base("main") == base


@pytest.mark.slow
def test_checks_of_another_commit_say_nothing_of_this_head(there: Place) -> None:
    number, _ = there.offered(check=None)
    other = there.hub.commit(on_github.NAME, "other", {"o": "1\n"})
    there.app.check(other, "ci", "success")
    there.app.pull(number).shown_commit = other

    assert there.pull().checks == ()


def test_what_github_actions_ran_runs_again_once(there: Place) -> None:
    number, head = there.offered(check="failure")
    (red,) = there.pull().checks or ()
    assert red.workflow

    there.forge.rerun(number, head, (red.workflow,))
    with pytest.raises(ChangedError, match="meanwhile"):
        there.again().rerun(number, head, (red.workflow,))

    seen = there.pull()
    assert [check.result for check in seen.checks or ()] == [CheckResult.PENDING]
    assert seen.rerun and (seen.rerun.names, seen.rerun.after) == (("ci",), {red.number})
    assert len(there.asked("rerun")) == 1
    there.app.check(head, "ci", "success")
    assert [check.result for check in there.pull().checks or ()] == [CheckResult.PASSED]


def test_a_head_is_at_least_as_old_as_the_first_check_of_it_that_ended(there: Place) -> None:
    _, head = there.offered(check="success")
    ended = there.pull().settled_at
    there.app.check(head, "late", "success")

    there.again()  # a program that was just started has seen nothing before

    assert there.pull().seen_at == ended


def test_what_was_checked_before_it_was_offered_may_be_checked_further(there: Place) -> None:
    head = there.clone.branch("agent/x-1", {"new": "1\n"})
    there.clone.git("push", "--quiet", "origin", "agent/x-1", env=there.environ)
    there.app.check(head, "ci", "success").completed_at -= timedelta(minutes=5)

    there.forge.open(X, head, "Do it", "")

    seen = there.pull()
    assert seen.seen_at and seen.opened_at and seen.settled_at and seen.seen_at >= seen.opened_at > seen.settled_at


@pytest.mark.slow
def test_a_second_run_belongs_to_its_head(there: Place) -> None:
    number, head = there.offered(check="failure")
    there.forge.rerun(number, head, _workflows(there))
    head = there.clone.branch("agent/x-1", {"more": "1\n"})
    there.forge.open(X, head, "Do it", "")
    there.app.check(head, "ci", "failure")

    assert there.pull().rerun is None
    there.forge.rerun(number, head, _workflows(there))
    assert len(there.asked("rerun")) == 2


@pytest.mark.slow
def test_a_second_run_that_was_never_asked_for_can_be_asked_for_again(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, head = there.offered(check="failure")
    workflows = _workflows(there)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(there.forge._gh, "change", killed)
        there.forge.rerun(number, head, workflows)
    there.again()
    assert (seen := there.pull()).rerun and seen.rerun.times == 1 and seen.rerun.after

    there.forge.rerun(number, head, workflows)

    assert (seen := there.pull()).rerun and seen.rerun.times == 2
    assert len(there.asked("rerun")) == 1


def test_a_second_run_that_github_refuses_is_not_waited_for(there: Place) -> None:
    number, head = there.offered(check="failure")
    workflows = _workflows(there)
    there.hub.fault(faults.refused(403, "Resource not accessible by personal access token"), on="POST /repos")

    with pytest.raises(ChangedError, match="not accessible"):
        there.forge.rerun(number, head, workflows)

    assert (seen := there.pull()).rerun and seen.rerun.after == frozenset()


@pytest.mark.slow
def test_a_second_run_that_comes_too_early_is_asked_for_again(there: Place) -> None:
    """A job that waits for others is not shown before it starts: its workflow looks as if it were over."""
    number, head = there.offered(check="failure")
    there.hub.fault(faults.refused(403, "This workflow is already running"), on="POST /repos")

    with pytest.raises(ChangedError, match="already running"):
        there.forge.rerun(number, head, _workflows(there))

    assert (seen := there.pull()).rerun and seen.rerun.after
    there.forge.rerun(number, head, _workflows(there))
    assert [check.result for check in there.pull().checks or ()] == [CheckResult.PENDING]


def test_what_another_program_reports_is_not_ours_to_run_again(there: Place) -> None:
    _, head = there.offered(check=None)
    there.app.check(head, "ci", "failure", app=True)
    there.app.status(head, "legacy", "failure")

    assert [check.workflow for check in there.pull().checks or ()] == [None, None]


def _workflows(there: Place) -> tuple[int, ...]:
    return tuple(check.workflow for check in there.pull().checks or () if check.workflow)


@pytest.mark.slow
def test_a_check_that_runs_again_has_not_passed(there: Place) -> None:
    _, head = there.offered()
    there.app.check(head, "ci", None, status="queued", again=True)

    assert [check.result for check in there.pull().checks] == [CheckResult.PENDING]


@pytest.mark.slow
def test_checks_beyond_the_first_page_count(there: Place) -> None:
    _, head = there.offered()
    for n in range(100):
        there.app.check(head, f"part-{n:03}", "failure" if n == 99 else "success")

    checks = there.pull().checks

    assert checks is not None and len(checks) == 101
    assert [check.name for check in checks if check.result is CheckResult.FAILED] == ["part-099"]


@pytest.mark.slow
def test_pull_requests_beyond_the_first_page_are_seen(there: Place) -> None:
    there.offered()
    for n in range(101):
        there.hub.commit(on_github.NAME, f"somebodys-{n}", {"f": f"{n}\n"})
        there.app.open(f"somebodys-{n}", "main", title="Theirs", by="alice")

    assert there.pull().state is PullState.OPEN
    assert list(there.forge.pull_requests()) == [X]


def test_a_fork_with_a_branch_of_that_name_is_none_of_ours(there: Place) -> None:
    fork = there.hub.fork(on_github.NAME, "mallory")
    there.hub.commit("mallory/app", "agent/x-1", {"evil": "1\n"})
    there.app.open("agent/x-1", "main", title="Evil", by="mallory", source=fork)

    assert there.forge.pull_requests() == {}


def test_forks_with_a_branch_of_that_name_hide_none_of_ours(there: Place) -> None:
    number, _ = there.offered()
    there.app.close(number)
    fork = there.hub.fork(on_github.NAME, "mallory")
    for n in range(3):
        there.hub.commit("mallory/app", "agent/x-1", {"evil": f"{n}\n"})
        there.app.close(there.app.open("agent/x-1", "main", title="Evil", by="mallory", source=fork).number)

    there.again()

    assert (there.pull().number, there.pull().declined) == (number, True)


def test_what_was_merged_while_we_were_away_is_found_by_its_branch(there: Place) -> None:
    number, _ = there.offered()
    merging.merge(there.app, number, "SQUASH", by="alice", expected=None)

    there.again()

    assert there.pull().state is PullState.MERGED
    assert there.forge.base("main").head == there.app.head("main")
    assert [landing.task for landing in there.forge.landings("main")] == [X]


@pytest.mark.slow
def test_a_name_that_is_used_again_means_the_newest_pull_request(there: Place) -> None:
    there.offered()
    there.app.close(1)
    there.forge.look.stale()
    assert there.pull().state is PullState.CLOSED
    second, _ = there.offered({"anew": "1\n"})

    assert (there.pull().number, there.pull().state) == (second, PullState.OPEN)


@pytest.mark.slow
def test_what_a_person_closed_is_declined_until_they_open_it_again(there: Place) -> None:
    number, _ = there.offered()
    there.pull()
    there.app.close(number)
    closed = there.pull()
    there.app.reopen(number)

    assert (closed.state, closed.declined) == (PullState.CLOSED, True)
    assert (there.pull().state, there.pull().declined) == (PullState.OPEN, False)


@pytest.mark.slow
def test_a_draft_a_queue_and_another_base_set_a_pull_request_aside(there: Place) -> None:
    number, _ = there.offered()
    assert there.pull().aside is None
    there.app.pull(number).draft = True
    assert "draft" in (there.pull().aside or "")
    there.app.pull(number).draft = False
    there.hub.commit(on_github.NAME, "next", {"n": "1\n"})
    there.app.retarget(number, "next")

    assert "on its way to next" in (there.pull().aside or "")


@pytest.mark.parametrize(
    "fault",
    [
        faults.server_error(502),
        *(pytest.param(f, marks=pytest.mark.slow) for f in (faults.dropped(), faults.garbage(), faults.empty())),
        pytest.param(faults.nothing("repository"), marks=pytest.mark.slow),
        pytest.param(faults.partial("repository", "n1", "statusCheckRollup"), marks=pytest.mark.slow),
    ],
    ids=["502", "dropped", "garbage", "empty", "nothing", "partial"],
)  # fmt: skip
def test_an_answer_that_is_none_is_silence_and_never_emptiness(there: Place, fault: faults.Fault) -> None:
    there.offered()
    there.pull()
    there.hub.fault(fault, on="POST /graphql", times=9)
    there.forge.look.stale()

    with pytest.raises(ReconcileError):
        there.forge.pull_requests()


CHECKS = ("statusCheckRollup", "contexts", "nodes", "0")
NOT_YOURS = "Resource not accessible by personal access token"


def withheld(*path: str) -> faults.Fault:
    """What GitHub leaves out of an answer to a login that may not read it."""
    return faults.partial(*path, type="FORBIDDEN", message=NOT_YOURS)


def test_checks_that_the_login_may_not_read_are_unknown_and_all_else_is_seen(there: Place) -> None:
    _, head = there.offered()
    there.pull()
    there.hub.fault(withheld("repository", "n1", *CHECKS), on="POST /graphql")

    pull = there.pull()

    assert (pull.head, pull.checks) == (head, ()) and NOT_YOURS in pull.unseen
    assert "gh auth login" in pull.unseen and "gh auth refresh" not in pull.unseen
    assert there.pull().unseen == ""


@pytest.mark.parametrize(
    ("hidden", "ran", "unread"),
    [
        ({"checks", "statuses"}, "checks", True), ({"checks", "statuses"}, "", True),
        ({"checks"}, "checks", True), ({"checks"}, "statuses", False), ({"checks"}, "", False), ({"statuses"}, "", False),
    ],
)  # fmt: skip
def test_a_login_that_may_read_no_check_is_known_by_the_base_before_anything_is_offered(
    there: Place, hidden: set[str], ran: str, unread: bool
) -> None:
    there.app.hidden = frozenset(hidden)
    tip = there.app.head("main")
    if ran:
        there.app.check(tip, "ci", "success") if ran == "checks" else there.app.status(tip, "ci")
    there.pull_requests()

    rules = there.forge.base("main").rules

    assert rules and bool(rules.unread) is unread, rules
    assert not unread or ("'Checks: read'" in str(rules.unread) and NOT_YOURS in str(rules.unread))
    there.app.hidden = frozenset()
    there.pull_requests()
    rules = there.forge.base("main").rules
    assert rules and rules.unread is None


def test_a_login_that_may_read_no_check_is_known_at_the_latest_by_what_was_offered(there: Place) -> None:
    there.offered()
    there.pull()
    there.hub.fault(withheld("repository", "n1", *CHECKS), on="POST /graphql")
    there.pull()

    rules = there.forge.base("main").rules

    assert rules and NOT_YOURS in (rules.unread or "")


def test_checks_of_further_pages_that_the_login_may_not_read_are_unknown(there: Place) -> None:
    _, head = there.offered()
    for commit in (head, there.app.head("main")):
        for n in range(101):
            there.app.check(commit, f"part-{n:03}", "success")
        there.app.status(commit, "last")
    there.app.hidden = frozenset({"statuses"})

    pull = there.pull()

    assert len(pull.checks or ()) > 100 and NOT_YOURS in pull.unseen
    assert there.forge.trouble is None


@pytest.mark.parametrize("what", ["reviews", "headRef"])
def test_reviews_that_the_login_may_not_read_are_not_taken_for_none(there: Place, what: str) -> None:
    there.offered()
    there.pull()
    there.hub.fault(withheld("repository", "n1", what), on="POST /graphql", times=9)
    there.forge.look.stale()

    assert NOT_YOURS in (there.forge.trouble or "")


def test_a_question_that_takes_github_too_long_is_asked_smaller_at_once_and_grows_again(there: Place) -> None:
    clock = [0.0]
    there.forge.look._clock = lambda: clock[0]
    for n in range(1, 8):
        there.offered(task=TaskId(f"x-{n}"))
    there.pull()
    asked = there.hub.questions()
    clock[0] += 120
    there.hub.fault(faults.server_error(504), on="POST /graphql", times=4)

    assert len({TaskId(f"x-{n}") for n in range(1, 8)} & there.seen()) == 7
    after = there.hub.questions()[len(asked) :]
    whole = [question.count("...whole") for question in after]
    assert whole[:4] == [7, 7, 7, 6] and max(whole[4:]) <= 3 and sum(whole[4:]) == 7
    clock[0] += 3600
    for _ in range(4):
        there.pull()
        clock[0] += 3600
    assert there.hub.questions()[-1].count("...whole") == 7


def test_a_look_that_takes_github_too_long_time_and_again_keeps_nobody_waiting(there: Place) -> None:
    times = itertools.count(0.0, SMALLER_WITHIN_S / 4)  # whenever somebody looks at the clock
    there.offered()
    there.forge.look._clock = lambda: next(times)
    planned = there.hub.fault(faults.server_error(504), on="POST /graphql", times=50)
    there.forge.look.stale()

    with pytest.raises(SilentError):
        there.pull()

    assert planned.times > 40


def test_of_pull_requests_of_people_neither_checks_nor_reviews_are_asked_for(there: Place) -> None:
    there.offered()
    there.hub.commit(on_github.NAME, "theirs", {"f": "1\n"})
    there.app.open("theirs", "main", title="Theirs", by="alice")

    there.pull()

    assert {question.count("...whole") for question in there.hub.questions()} <= {0, 1}
    assert "n2:" not in "".join(there.hub.questions())


def test_rules_and_checks_of_the_base_beyond_the_first_page_are_seen(there: Place) -> None:
    there.app.protect("main", required=("ci",), padding=130)
    for n in range(101):
        there.app.check(there.app.head("main"), f"part-{n:03}", "failure" if n == 100 else "success")
    there.pull_requests()

    rules = there.forge.base("main").rules

    assert rules and rules.required == ("ci",) and rules.red == {"part-100"}


def test_a_repository_that_was_renamed_is_worked_with_under_its_new_name(there: Place) -> None:
    number, head = there.offered()
    there.hub.rename(on_github.NAME, "acme/shop")

    rules = there.pull() and there.forge.base("main").rules
    assert rules and "git remote set-url" in (rules.renamed or "") and rules.closed is None
    there.landed(number, head)

    assert there.forge.slug.name == "shop"
    assert there.asked("PUT") == ["PUT /repos/acme/shop/pulls/1/merge-async"]


def test_what_is_opened_after_a_rename_is_opened_once(there: Place) -> None:
    there.hub.rename(on_github.NAME, "acme/shop")
    there.pull_requests()

    there.offered()

    assert there.asked("POST /repos") == ["POST /repos/acme/shop/pulls"]


def test_a_base_that_was_renamed_there_is_told_before_anybody_works(there: Place) -> None:
    there.app.rename_branch("main", "trunk")
    there.pull_requests()

    rules = there.forge.base("main").rules

    assert rules and "no branch main" in (rules.closed or "") and "trunk" in (rules.closed or "")


def test_an_app_may_push_though_github_does_not_say_so(there: Place) -> None:
    there.app.permission = None
    number, head = there.offered()

    there.landed(number, head)

    assert there.forge.trouble is None


def test_a_rate_limit_is_waited_for_as_long_as_github_says_and_asked_nothing(there: Place) -> None:
    there.hub.fault(faults.secondary_limit(retry_after_s=77), on="POST /graphql")

    with pytest.raises(SilentError, match="rate limit is used up until") as caught:
        there.forge.pull_requests()
    before = len(there.hub.requests)
    with pytest.raises(SilentError):
        there.forge.pull_requests()

    assert 70 < caught.value.delay <= 77
    assert len(there.hub.requests) == before


@pytest.mark.slow
def test_points_that_are_used_up_are_a_rate_limit_too(there: Place) -> None:
    there.hub.budget_of("robot").used = 5000

    with pytest.raises(SilentError, match="rate limit"):
        there.forge.pull_requests()


@pytest.mark.parametrize("who", [None, pytest.param("nobody", marks=pytest.mark.slow)])
def test_without_a_login_it_is_said_how_to_get_one(there: Place, who: str | None) -> None:
    there.as_who = who
    if who:
        there.hub.fault(faults.unauthorized(), on="POST /graphql")

    assert "gh auth login" in (there.again().trouble or "")


def test_a_change_that_is_refused_for_want_of_a_login_is_no_longer_hidden_by_the_last_look(there: Place) -> None:
    number, _ = there.offered()
    there.pull()
    assert there.forge.trouble is None
    there.hub.fault(faults.unauthorized(), on="PUT /repos")
    with pytest.raises(PermanentError):
        there.forge.update(number, there.pull().head)
    there.hub.fault(faults.unauthorized(), on="POST /graphql")

    assert "gh auth login" in (there.forge.trouble or "")
    assert there.forge.trouble is None


@pytest.mark.slow
def test_a_repository_that_is_not_shown_to_this_login_is_said(there: Place) -> None:
    there.hub.remove(on_github.NAME)

    assert "Could not resolve to a Repository" in (there.forge.trouble or "")


# --- rules ---------------------------------------------------------------------------------------------------


def rules(there: Place):
    there.forge.look.stale(rules_too=True)
    there.forge.pull_requests()
    found = there.forge.base("main").rules
    assert found
    return found


def test_what_the_rules_of_a_base_ask_for_is_read(there: Place) -> None:
    there.app.protect("main", required=("ci", "lint"), strict=True, linear=True)
    there.app.allow_rebase = False

    found = rules(there)

    assert (set(found.required), found.methods, found.closed) == ({"ci", "lint"}, {"squash"}, None)


@pytest.mark.parametrize("path", ["rules/branches", "branches"])
def test_a_limit_is_no_word_that_a_base_has_no_rules(there: Place, path: str) -> None:
    there.hub.fault(faults.secondary_limit(30), on=f"GET /repos/acme/app/{path}/main")

    with pytest.raises(SilentError, match="rate limit"):
        there.forge.pull_requests()


@pytest.mark.slow
def test_a_repository_that_nobody_may_push_to_closes_all_of_it(there: Place) -> None:
    there.app.permission = "READ"
    assert "may not push to acme/app" in (rules(there).closed or "")
    there.app.permission, there.app.archived = "ADMIN", True

    assert "archived" in (rules(there).closed or "")


@pytest.mark.slow
def test_a_base_with_a_merge_queue_is_landed_on_by_github_alone(there: Place) -> None:
    there.app.protect("main", queue=True)

    assert "merge queue" in (rules(there).queue or "")


@pytest.mark.slow
def test_what_fails_on_the_base_itself_is_seen(there: Place) -> None:
    there.app.check(there.app.head("main"), "ci", "failure")
    there.app.check(there.app.head("main"), "lint", "success")

    assert rules(there).red == {"ci"}


def test_what_failed_where_a_red_head_left_its_base_is_seen_once_that_has_gone_on_and_asked_for_once(
    there: Place,
) -> None:
    fork = there.app.head("main")
    there.app.check(fork, "ci", "failure")
    there.app.check(fork, "lint", "success")
    there.offered(check="failure")
    assert there.pull().red_beneath == frozenset()  # it stands on the base as it is: what fails there is in the rules

    there.app.check(there.hub.commit("acme/app", "main", {"mend": "x"}), "ci", "success")
    there.pull_requests()
    there.forge.base("main")  # brings it here

    assert there.pull().red_beneath == {"ci"}
    assert there.pull().red_beneath == {"ci"}
    assert len([text for text in there.hub.questions() if f'object(oid: "{fork}")' in text]) == 1


@pytest.mark.parametrize("silent", [False, True])
def test_what_fails_where_it_left_its_base_is_asked_for_again_only_after_a_rest(
    there: Place, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = there.app.head("main")
    there.app.check(fork, "ci", "failure")
    there.app.check(fork, "slow", None)
    there.offered(check="failure")
    there.hub.commit("acme/app", "main", {"mend": "x"})
    there.pull_requests()
    there.forge.base("main")
    real, asked = Look.checks_of, list[Sha]()

    def answered(look: Look, commit: Sha, branch: str) -> tuple[ForgeCheck, ...]:
        asked.append(commit)
        if silent:
            raise SilentError("no answer")
        return real(look, commit, branch)

    monkeypatch.setattr(Look, "checks_of", answered)
    monkeypatch.setattr(beneath, "AGAIN_S", 0.0)
    for _ in range(2):
        assert there.pull().red_beneath == (frozenset() if silent else {"ci"})
    often = len(asked)
    assert often >= 2 and set(asked) == {fork}

    monkeypatch.undo()
    monkeypatch.setattr(Look, "checks_of", answered)
    for _ in range(3):
        there.pull()
    assert len(asked) == often + 1


# --- reviews -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_approval_is_one_of_exactly_the_head_that_was_looked_at(there: Place) -> None:
    number, head = there.offered()
    there.app.review(number, "alice", "APPROVED")
    first = there.pull()
    there.hub.commit(on_github.NAME, "agent/x-1", {"more": "1\n"})

    assert first.approved == head
    assert there.pull().approved is None


@pytest.mark.slow
def test_a_no_that_follows_takes_an_approval_back(there: Place) -> None:
    number, head = there.offered()
    there.app.review(number, "alice", "APPROVED")
    there.app.review(number, "bert", "CHANGES_REQUESTED")

    seen = there.pull()

    assert seen.approved is None
    assert seen.rejection and seen.rejection.head == head and seen.rejection.text.startswith("bert")


def test_an_approval_outlives_the_base_being_merged_into_the_branch_and_nothing_else(there: Place) -> None:
    number, head = there.offered()
    there.app.review(number, "alice", "APPROVED", commit=head)

    again = updated(there)

    assert there.pull().approved == again != head
    git = there.clone.git
    before = Judged(Sha(git("rev-parse", f"{head}^{{tree}}").strip()), Sha(git("rev-parse", f"{head}^").strip()))
    assert there.pull().updated == (before,)
    other = there.clone.branch("agent/x-1", {"sneaked": "1\n"}, start=again)
    there.clone.git("push", "--quiet", "origin", f"{other}:refs/heads/agent/x-1", env=there.environ)
    assert (there.pull().head, there.pull().approved, there.pull().updated) == (other, None, ())


def test_what_is_put_into_the_merge_of_a_base_was_approved_by_nobody(there: Place) -> None:
    number, head = there.offered()
    there.forge.review(number, head, Verdict.APPROVED)

    assert updated(there, {"sneaked": "1\n"}) != head
    assert (there.pull().approved, there.pull().updated) == (None, ())


@pytest.mark.slow
def test_a_no_and_a_word_to_merge_outlive_the_base_being_merged_into_the_branch(there: Place) -> None:
    number, head = there.offered()
    there.forge.review(number, head, Verdict.MERGE)
    again = updated(there)
    assert there.pull().merge_now == again

    there.forge.review(number, again, Verdict.REJECTED, "not so")
    there.hub.commit(on_github.NAME, "main", {"more": "1\n"})
    there.forge.update(number, again)

    seen = there.pull()
    assert seen.rejection and (seen.rejection.head, seen.rejection.text) == (seen.head, "not so")
    assert (seen.approved, seen.merge_now) == (None, None)


@pytest.mark.slow
def test_a_no_outlives_the_base_being_merged_whatever_somebody_else_says_of_the_new_head(there: Place) -> None:
    number, _ = there.offered()
    there.app.review(number, "alice", "CHANGES_REQUESTED", body="not so")
    again = updated(there)

    there.app.review(number, "bert", "APPROVED")

    seen = there.pull()
    assert seen.rejection and (seen.rejection.head, seen.rejection.text) == (again, "alice: not so")
    assert seen.approved is None
    there.app.review(number, "alice", "APPROVED")
    assert ((seen := there.pull()).rejection, seen.approved) == (None, again)


@pytest.mark.slow
def test_a_no_that_was_said_here_is_not_taken_back_by_a_yes_there(there: Place) -> None:
    number, head = there.offered()
    there.forge.review(number, head, Verdict.REJECTED, "not so")
    again = updated(there)
    there.app.review(number, "bert", "APPROVED")

    seen = there.pull()

    assert seen.rejection and (seen.rejection.head, seen.rejection.text) == (again, "not so")


@pytest.mark.slow
def test_an_approval_of_an_older_head_that_is_taken_back_at_the_last_moment_lands_nothing(there: Place) -> None:
    number, _ = there.offered()
    review = there.app.review(number, "alice", "APPROVED")
    again = updated(there)
    there.app.check(again, "ci", "success")
    assert there.pull().approved == again
    order = there.order(number, again)

    review.state = "DISMISSED"

    with pytest.raises(ChangedError, match="what people say"):
        there.forge.land(order)


@pytest.mark.slow
def test_what_strangers_say_of_a_public_pull_request_is_no_review(there: Place) -> None:
    number, _ = there.offered()
    there.app.review(number, "mallory", "APPROVED").can_push = False
    there.app.review(number, "eve", "CHANGES_REQUESTED", body="run this").can_push = False

    assert (there.pull().approved, there.pull().rejection) == (None, None)


def test_open_threads_are_seen_with_what_writers_and_bots_said_in_them(there: Place) -> None:
    number, _ = there.offered()
    thread = there.app.discuss(number, "ann", "why?", path="a", line=3)
    there.app.reply(number, thread, "mallory", "run this", can_push=False)
    there.app.discuss(number, "mallory", "and this", can_push=False)
    there.hub.account("some-bot", kind="Bot")
    there.app.discuss(number, "some-bot", "nit", line=None)
    there.app.discuss(number, "ann", "settled").resolved = True
    there.app.review(number, "ann", "COMMENTED", body="nice")
    there.app.review(number, "ann", "COMMENTED")

    pull = there.pull()

    shown = [(each.path, each.line, [(c.by, c.text, c.bot) for c in each.comments]) for each in pull.threads]
    assert shown == [("a", 3, [("ann", "why?", False)]), ("a", None, [("some-bot", "nit", True)])]
    assert [(each.by, each.text) for each in pull.remarks] == [("ann", "nice")]
    assert pull.author == "robot"


def test_comments_under_the_whole_are_seen_of_people_of_the_repository_and_of_bots(there: Place) -> None:
    number, _ = there.offered()
    there.hub.account("some-bot", kind="Bot")
    there.app.comment(number, "ann", "and the docs?")
    there.app.comment(number, "mallory", "run this", can_push=False)
    there.app.comment(number, "some-bot", "nit", can_push=False)
    there.app.comment(number, "ann", "no matter").hidden = True

    pull = there.pull()

    assert [(each.by, each.text, each.bot, each.review) for each in pull.remarks] == [
        ("ann", "and the docs?", False, False),
        ("some-bot", "nit", True, False),
    ]
    assert pull.threads == () and pull.withheld is None


def test_comments_are_asked_for_only_where_something_was_said_and_cost_a_point_for_all(there: Place) -> None:
    for n in range(1, 8):
        there.offered(task=TaskId(f"x-{n}"))
    there.pull_requests()
    quiet = there.forge.look._cost
    asked = len(there.hub.requests)
    there.pull_requests()
    assert len(there.hub.requests) == asked + 1
    for n in range(1, 8):
        there.app.comment(n, "ann", "a" * 3000)

    there.pull_requests()

    assert there.forge.look._cost == quiet + 1
    assert len(there.hub.requests) == asked + 3
    there.pull_requests()
    assert (there.forge.look._cost, len(there.hub.requests)) == (quiet, asked + 4)


def test_after_an_opening_its_first_check_is_looked_for_soon(there: Place) -> None:
    clock = [0.0]
    there.forge.look._clock = lambda: clock[0]
    there.pull_requests()
    number, head = there.offered(check=None)
    there.forge.look._until = 60.0  # the helper has asked to look anew
    there.forge.look.one(number)
    there.app.check(head, "ci", "success")

    clock[0] = 13.0

    assert [check.name for check in there.forge.pull_requests()[X].checks or ()] == ["ci"]


def test_threads_are_read_again_only_when_something_was_said(there: Place) -> None:
    number, _ = there.offered()
    thread = there.app.discuss(number, "ann", "why?")
    there.pull()
    asked = len(there.hub.requests)
    there.pull()
    assert len(there.hub.requests) == asked + 1
    there.app.reply(number, thread, "bob", "indeed")

    assert [each.by for each in there.pull().threads[0].comments] == ["ann", "bob"]
    thread.resolved = True
    assert there.pull().threads == ()


@pytest.mark.parametrize("how", ["there", "here"])
def test_who_approves_after_their_own_words_has_settled_them(there: Place, how: str) -> None:
    number, head = there.offered()
    there.app.discuss(number, "ann", "a nit")
    assert there.pull().threads
    if how == "here":
        there.forge.review(number, head, Verdict.APPROVED)
    else:
        there.app.review(number, "ann", "APPROVED")

    assert there.pull().threads == ()


def test_who_began_a_thread_settles_it_whoever_spoke_last(there: Place) -> None:
    number, _ = there.offered()
    thread = there.app.discuss(number, "ann", "a nit")
    there.app.reply(number, thread, "robot", "done")
    there.app.review(number, "ann", "APPROVED")

    assert there.pull().threads == ()
    there.app.site.clock = lambda: datetime.now(UTC) + timedelta(seconds=2)  # times there are whole seconds
    there.app.reply(number, thread, "ann", "not quite")
    assert there.pull().threads


@pytest.mark.slow
def test_an_open_thread_is_seen_behind_any_number_of_others(there: Place) -> None:
    number, _ = there.offered()
    for n in range(130):
        there.app.discuss(number, "ann", f"{n}").resolved = True
    there.app.discuss(number, "ann", "the open one")

    assert [each.comments[0].text for each in there.pull().threads] == ["the open one"]


def test_what_nobody_has_sent_yet_is_not_read_and_no_reply_hides_a_remark(there: Place) -> None:
    number, _ = there.offered()
    draft = there.app.discuss(number, "robot", "half a thought")
    draft.comments[0].pending = True
    there.app.review(number, "ann", "COMMENTED", body="and the docs?")
    for _ in range(20):
        there.app.review(number, "ann", "COMMENTED")

    pull = there.pull()

    assert pull.threads == () and [each.text for each in pull.remarks] == ["and the docs?"]


@pytest.mark.parametrize("fault", [faults.server_error(502), withheld("t0", "reviewThreads")], ids=["502", "forbidden"])
def test_what_is_said_about_one_that_can_not_be_read_holds_that_one_alone(there: Place, fault: faults.Fault) -> None:
    number, _ = there.offered()
    other, head = there.offered(task=TaskId("x-2"))
    there.app.discuss(number, "ann", "why?")
    there.hub.fault(fault, on="POST /graphql query rateLimit node", times=9)

    pull = there.pull()

    assert "written about it can't be read" in (pull.withheld or "")
    there.landed(other, head, TaskId("x-2"))
    assert there.app.pull(other).state == "MERGED"


def test_a_pull_request_that_is_gone_hides_no_other(there: Place) -> None:
    there.offered()
    there.offered(task=TaskId("x-2"))
    there.seen()
    del there.app.pulls[1]

    assert there.seen() == {TaskId("x-2")}


def test_another_repository_under_the_name_is_told_and_nothing_is_asked_of_it(there: Place) -> None:
    there.offered()
    there.pull()
    there.hub.rename(on_github.NAME, "acme/old")
    there.hub._moved.clear()
    there.hub.repository(on_github.NAME, files={"other": "1\n"})
    there.forge.look.stale()

    assert "another repository now" in (there.forge.trouble or "")


def test_a_repository_without_a_commit_in_common_is_told_before_anything_is_pushed(there: Place) -> None:
    there.clone.git("checkout", "--quiet", "--orphan", "new")
    there.clone.git("commit", "--quiet", "-m", "mine")
    there.clone.git("branch", "-M", "new", "main")
    there.again()
    there.pull_requests()

    rules = there.forge.base("main").rules

    assert rules and "no commit in common" in (rules.closed or "")


def test_a_look_costs_what_all_of_its_questions_do(there: Place) -> None:
    for n in range(1, 13):
        number, _ = there.offered(task=TaskId(f"x-{n}"))
        there.app.discuss(number, "ann", "why?")
    there.again().pull_requests()
    asked = [request for request in there.hub.requests if request.query]

    assert there.forge.look._cost == sum(request.points for request in asked[-4:]) > 3
    before = len(there.hub.requests)
    there.pull()
    assert len(there.hub.requests) == before + 1


def test_an_approval_of_somebody_else_settles_no_thread(there: Place) -> None:
    number, _ = there.offered()
    there.app.discuss(number, "ann", "a nit")
    there.app.review(number, "bob", "APPROVED")

    assert there.pull().threads


def test_a_conversation_that_the_rules_want_resolved_is_named_as_what_is_in_the_way(there: Place) -> None:
    there.app.protect("main", conversations=True)
    number, _ = there.offered()
    there.app.discuss(number, "mallory", "well", can_push=False)

    assert "a review thread there is not resolved" in (there.pull().withheld or "")


def test_a_crowd_of_strangers_drowns_out_nobody_who_may_push(there: Place) -> None:
    number, head = there.offered()
    there.app.review(number, "alice", "APPROVED")
    for n in range(120):
        there.app.review(number, f"sock-{n}", "APPROVED").can_push = False

    assert there.pull().approved == head


@pytest.mark.slow
def test_what_is_said_here_about_a_head_counts_as_a_review_does(there: Place) -> None:
    number, head = there.offered()
    there.forge.review(number, head, Verdict.APPROVED)
    assert there.pull().approved == head
    there.again().review(number, head, Verdict.REJECTED, "not so")

    seen = there.pull()

    assert seen.approved is None or seen.rejection
    assert seen.rejection and seen.rejection.text == "not so"


def test_a_word_to_merge_is_for_one_head_and_a_no_takes_it_back(there: Place) -> None:
    number, head = there.offered()
    there.forge.review(number, head, Verdict.MERGE)
    assert (there.again().pull_requests()[on_github.X].merge_now, there.pull().approved) == (head, None)
    there.forge.review(number, head, Verdict.REJECTED, "not so")
    there.forge.review(number, head, Verdict.APPROVED)
    assert (there.pull().merge_now, there.pull().approved) == (None, head)
    there.forge.review(number, head, Verdict.MERGE)
    there.hub.commit(on_github.NAME, "agent/x-1", {"more": "1\n"})
    there.again()

    assert there.pull().merge_now is None


@pytest.mark.slow
def test_a_review_that_the_rules_want_is_wanted_from_github(there: Place) -> None:
    there.app.protect("main", reviews=1)
    number, head = there.offered()
    there.forge.review(number, head, Verdict.APPROVED)

    assert "approving review" in (there.pull().withheld or "")
    there.app.review(number, "alice", "APPROVED")
    assert there.pull().withheld is None


@pytest.mark.slow
def test_a_branch_that_a_person_deleted_there_closes_its_pull_request(there: Place) -> None:
    there.offered()
    there.pull()
    there.app.delete_branch("agent/x-1")

    assert (there.pull().state, there.pull().declined, there.pull().left) == (PullState.CLOSED, True, None)


# --- closing and clearing up ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_closing_is_done_once_also_where_its_answer_is_lost(there: Place) -> None:
    number, _ = there.offered()
    there.hub.fault(faults.lost(502), on="PATCH")
    there.forge.close(number, declined=False)
    there.forge.close(number, declined=False)

    assert there.pull().state is PullState.CLOSED
    assert len(there.asked("PATCH")) == 1


def test_a_branch_that_went_on_after_its_landing_stays(there: Place) -> None:
    number, head = there.offered()
    there.landed(number, head)
    there.hub.commit(on_github.NAME, "agent/x-1", {"more": "1\n"})

    with pytest.raises(ChangedError, match="went on"):
        there.forge.drop_branch(X, head)

    assert there.app.head("agent/x-1") == there.pull().left != head


@pytest.mark.slow
def test_a_branch_that_github_deleted_itself_is_deleted() -> None:
    with on_github.place(delete_branch_on_merge=True) as there:
        number, head = there.offered()
        there.landed(number, head)

        there.forge.drop_branch(X, head)

        assert there.pull().left is None


def _on_top(there: Place) -> None:
    """A pull request of somebody's that is to be merged into the branch of x-1."""
    there.hub.commit(on_github.NAME, "on-top", {"top": "1\n"}, start="agent/x-1")
    there.app.open("on-top", "agent/x-1", title="On top", by="alice")


def test_what_builds_on_a_branch_is_sent_on_to_where_that_landed_before_it_is_deleted(there: Place) -> None:
    number, head = there.offered()
    _on_top(there)
    there.landed(number, head)

    there.forge.drop_branch(X, head)

    child = there.app.pull(2)
    assert (child.state, child.into) == ("OPEN", "main")
    assert "agent/x-1" not in there.app.bare.heads()


@pytest.mark.slow
def test_what_builds_on_a_branch_goes_where_that_landed_and_not_where_it_was_closed(there: Place) -> None:
    there.bases = ("main", "dev")
    there.hub.commit(on_github.NAME, "dev", {"dev": "1\n"})
    number, head = there.offered()
    there.app.close(there.app.open("agent/x-1", "dev", title="Also", by="alice").number)
    _on_top(there)
    there.again()
    there.landed(number, head)

    there.forge.drop_branch(X, head)

    assert there.app.pull(3).into == "main"


@pytest.mark.slow
def test_a_task_that_builds_on_another_is_ours_to_land_once_that_has_landed(there: Place) -> None:
    number, head = there.offered()
    above = there.clone.branch("agent/x-2", {"above": "1\n"}, start=head)
    there.clone.git("push", "--quiet", "origin", "agent/x-2", env=there.environ)
    there.app.open("agent/x-2", "agent/x-1", title="Above", by="robot")
    there.app.check(above, "ci", "success")
    child = TaskId("x-2")
    assert "on its way to agent/x-1" in (there.pull(child).aside or "")
    there.landed(number, head)

    there.forge.drop_branch(X, head)

    assert there.pull(child).aside is None
    there.landed(PrNumber(2), above, child)
    assert "above" in there.app.bare.git("ls-tree", "--name-only", "main").split()


@pytest.mark.slow
def test_what_somebody_takes_elsewhere_as_well_is_theirs(there: Place) -> None:
    there.hub.commit(on_github.NAME, "release", {"old": "1\n"})
    number, head = there.offered()
    there.app.open("agent/x-1", "release", title="Backport", by="alice")

    assert there.pull().number == number
    there.landed(number, head)
    assert there.pull().number == number
    with pytest.raises(ChangedError, match="#2 is open"):
        there.forge.drop_branch(X, head)

    assert there.app.pull(2).state == "OPEN"
    assert there.pull().left is None


@pytest.mark.slow
def test_a_branch_stays_while_what_builds_on_it_can_not_be_sent_on(there: Place) -> None:
    number, head = there.offered()
    _on_top(there)
    there.landed(number, head)
    there.hub.fault(faults.refused(422, "There are no new commits"), on="PATCH /repos/acme/app/pulls/2")

    with pytest.raises(ChangedError, match="#2 can't be sent on to main"):
        there.forge.drop_branch(X, head)

    assert there.app.pull(2).state == "OPEN"
    assert there.pull().left is None  # nothing is to be done about it any more


@pytest.mark.parametrize("effect", ["_gh.change", "_branches.delete"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.slow
def test_killed_around_sending_on_nothing_is_closed(
    there: Place, monkeypatch: pytest.MonkeyPatch, effect: str, when: str
) -> None:
    number, head = there.offered()
    _on_top(there)
    there.landed(number, head)
    part, name = effect.split(".")
    real = getattr(getattr(there.forge, part), name)

    def killed(*asked: object) -> None:
        if when == "after":
            real(*asked)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(getattr(there.forge, part), name, killed)
        there.forge.drop_branch(X, head)
    there.again().pull_requests()

    there.forge.drop_branch(X, head)

    assert (there.app.pull(2).state, there.app.pull(2).into) == ("OPEN", "main")
    assert "agent/x-1" not in there.app.bare.heads()


def test_a_head_that_lacks_some_of_the_base_is_not_what_would_land(there: Place) -> None:
    number, head = there.offered()
    assert there.order(number, head).expected.is_head

    there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
    there.forge.look.stale()
    assert not there.order(number, head).expected.is_head

    there.forge.update(number, head)
    assert there.order(number, there.pull().head).expected.is_head


@pytest.mark.slow
def test_a_head_that_was_tested_with_what_the_base_took_back_is_tested_anew(there: Place) -> None:
    """Its checks may have run on its merge with that: that the trees are alike again proves nothing of this one."""
    number, head = there.offered()
    there.hub.commit(on_github.NAME, "main", {"a": "else\n"})
    there.hub.commit(on_github.NAME, "main", {"a": on_github.FILES["a"]})
    there.forge.look.stale()

    assert not there.order(number, head).expected.is_head


def test_an_update_that_github_promises_and_does_not_make_is_not_asked_for_on_and_on(there: Place) -> None:
    number, head = there.offered()
    there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
    there.hub.fault(
        faults.refused(202, "Updating pull request branch."), on="PUT /repos/acme/app/pulls/1/update-branch"
    )

    with pytest.raises(TemporaryError, match="not there yet"):
        there.forge.update(number, head)


@pytest.mark.slow
def test_a_conflict_that_only_github_finds_is_told(there: Place) -> None:
    """It knows nothing of merge drivers that git knows, `merge=union` among them."""
    there.offered({"a": "a\nours\n"})
    there.hub.commit(on_github.NAME, "main", {".gitattributes": "a merge=union\n", "a": "a\ntheirs\n"})

    seen = there.pull()

    assert isinstance(there.forge.candidate(there.forge.base("main").head, seen.head), Candidate)
    assert seen.withheld and "conflict" in seen.withheld


@pytest.mark.slow
def test_the_base_is_brought_into_a_branch_whose_head_still_is_the_judged_one(there: Place) -> None:
    there.app.protect("main", strict=True, required=("ci",))
    number, head = there.offered()
    there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
    assert there.pull().lacks_base

    there.forge.update(number, head)

    seen = there.pull()
    assert seen.head != head and not seen.lacks_base and seen.here is Standing.BEHIND
    with pytest.raises(ChangedError, match="moved on"):
        there.forge.update(number, head)
