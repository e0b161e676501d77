"""What follows from the state of one task: how its attempts ended, what they cost, what was judged, whose it is."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st
from worlds import BASE, CHECKS, HEAD, NOW, OTHER, US, PullState, Rejection, RetryPoint, Unknown, ago

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.globs import glob_pattern
from reconciler.model.names import TaskId
from reconciler.model.observed import Landing, Run, WorktreeFault
from reconciler.model.reasons import Reason
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.planning import messages, run_results
from reconciler.planning.check_state import CheckState
from reconciler.planning.job import Job
from reconciler.planning.run_results import RunResult


def a_job(**fields: Any) -> Job:
    task = fields.pop("task", worlds.a_task(status="in_progress", assignee=US))
    return Job(**{"task": task, "spec": worlds.an_epic(), "now": NOW, "worktree": worlds.a_worktree(), **fields})


def after(*exits: dict[str, Any], **fields: Any) -> Job:
    """A job whose attempts ended so, one after the other."""
    runs = tuple(worlds.a_run(n=n, exit=record) for n, record in enumerate(exits, start=1))
    return a_job(runs=runs, **fields)


# --- how attempts end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "reason", "counts"),
    [
        ({"code": 1}, Reason.AGENT_FAILED, True),
        ({"code": None, "signal": 9}, Reason.AGENT_FAILED, True),
        ({"code": None, "cause": "timeout"}, Reason.TIMED_OUT, True),
        ({"code": None, "cause": "stuck"}, Reason.STUCK, True),
        ({"code": 2, "cause": "setup"}, Reason.SETUP_FAILED, True),
        ({"code": None, "cause": "unavailable"}, Reason.AGENT_UNAVAILABLE, False),
        ({"code": None, "cause": "stopped", "stop": "person"}, Reason.STOPPED, False),
        ({"code": None, "cause": "stopped", "stop": "closed"}, Reason.STOPPED, False),
        ({"code": 0}, Reason.NO_CHANGES, True),
        ({"code": None, "cause": "stopped", "stop": "done"}, Reason.NO_CHANGES, True),
    ],
)
def test_an_ending_has_a_reason_and_a_price(record: dict[str, Any], reason: Reason, counts: bool) -> None:
    job = after(record)
    assert job.attempts.ending is not None
    assert (job.attempts.ending.reason, job.attempts.ending.counts) == (reason, counts)
    assert job.next_attempt == (2 if counts else 1)


@pytest.mark.parametrize("record", [{"code": 0}, {"code": None, "cause": "stopped", "stop": "done"}])
def test_a_good_ending_with_commits_is_worth_offering(record: dict[str, Any]) -> None:
    assert after(record, branch=worlds.a_branch()).attempts.ending == RunResult(None)


def test_a_bad_ending_with_commits_is_still_a_bad_ending() -> None:
    job = after({"code": 1}, branch=worlds.a_branch())
    assert job.verdict and job.verdict.reason is Reason.AGENT_FAILED


def test_a_run_that_left_no_record_failed() -> None:
    job = a_job(runs=(worlds.a_run(state="lost"),))
    assert job.attempts.ending and job.attempts.ending.reason is Reason.AGENT_FAILED and job.attempts.ending.counts


def test_commits_from_before_the_feedback_are_not_new() -> None:
    asked_again = (worlds.a_run(why="ChecksFailed", baseline=HEAD),)
    assert not a_job(runs=asked_again, branch=worlds.a_branch()).attempts.new_commits
    assert a_job(runs=asked_again, branch=worlds.a_branch(head=OTHER)).attempts.new_commits


def test_a_live_run_has_not_ended() -> None:
    for state in ("starting", "running", "ending"):
        job = a_job(runs=(worlds.a_run(state=state),))
        assert job.attempts.ending is None and job.attempts.live is not None


# --- attempts ------------------------------------------------------------------------------------------------


def test_attempts_are_used_up_only_by_endings_that_count() -> None:
    assert not after({"code": 1}, {"code": 1}).exhausted
    assert after({"code": 1}, {"code": 1}, {"code": 1}).exhausted
    stopped = worlds.a_run(n=4, attempt=3, exit={"code": None, "cause": "stopped", "stop": "person"})
    assert not a_job(runs=(stopped,)).exhausted


def test_only_runs_after_the_last_retry_count() -> None:
    job = after({"code": 1}, {"code": 1}, {"code": 1}, since=RetryPoint(n=3, base=BASE, at=ago(5)))
    assert (job.attempts.last, job.next_attempt, job.attempts.next_n) == (None, 1, 4)


def test_a_run_that_never_began_uses_up_its_number_and_nothing_else() -> None:
    job = a_job(runs=(worlds.a_run(state="lost", started_at=None),))
    assert (job.attempts.last, job.next_attempt, job.attempts.next_n) == (None, 1, 2)


@given(st.lists(st.sampled_from(["count", "free"]), max_size=12), st.integers(1, 5))
def test_a_task_has_exactly_as_many_attempts_as_it_is_given(endings: list[str], most: int) -> None:
    spec = worlds.an_epic(agent={"max_attempts": most})
    runs: list[Run] = []
    for n, ending in enumerate(endings, start=1):
        job = a_job(runs=tuple(runs), spec=spec)
        if job.exhausted:
            break
        record = {"code": 1} if ending == "count" else {"code": None, "cause": "stopped", "stop": "person"}
        runs.append(worlds.a_run(n=n, attempt=job.next_attempt, exit=record))
    counting = sum(run.exit is not None and run.exit.stop is None for run in runs)
    assert counting <= most
    assert a_job(runs=tuple(runs), spec=spec).exhausted == (
        bool(runs) and counting == most and runs[-1].exit.stop is None
    )


# --- pauses --------------------------------------------------------------------------------------------------


def test_the_pause_doubles_up_to_its_limit() -> None:
    agent = AgentSpec(argv=("agent",), backoff_initial_s=10, backoff_max_s=35, max_attempts=9)
    spec = worlds.an_epic(agent=agent)
    pauses = []
    for failures in range(1, 5):
        job = after(*[{"code": 1, "at": NOW}] * failures, spec=spec)
        pauses.append((job.not_before - NOW).total_seconds())
    assert pauses == [10, 20, 35, 35]


def test_an_agent_that_cannot_be_started_is_tried_ever_less_often() -> None:
    unavailable = {"code": None, "cause": "unavailable", "at": NOW}
    runs = tuple(worlds.a_run(n=n, attempt=1, exit=unavailable) for n in range(1, 4))
    assert a_job(runs=runs).not_before == NOW + timedelta(seconds=40)


@pytest.mark.parametrize("reason", ["rejection", "conflict", "checks"])
def test_feedback_is_passed_on_without_a_pause(reason: str) -> None:
    pull = worlds.a_pull(rejection=Rejection(head=HEAD, text="no") if reason == "rejection" else None)
    job = after(
        {"code": 0, "at": NOW},
        branch=worlds.a_branch(),
        pull=pull,
        candidate=worlds.a_conflict() if reason == "conflict" else worlds.a_candidate(),
        checks=(worlds.a_check("failed", 1), worlds.a_check("failed", 2)),
        base_tree=worlds.OTHER,
        base_checks=(worlds.a_check("passed"),),
    )
    assert job.verdict is not None and job.not_before is None


def test_a_vanished_worktree_is_not_remade_at_once() -> None:
    stopped = {"code": None, "cause": "stopped", "stop": "person", "at": NOW}
    assert after(stopped).not_before is None
    assert after(stopped, worktree=None).not_before == NOW + timedelta(seconds=10)


@given(st.integers(-(10**7), 10**7), st.integers(1, 8))
def test_no_pause_is_longer_than_twice_its_limit_whatever_the_clock_did(ended_s: int, failures: int) -> None:
    ended = ago(ended_s)
    job = after(*[{"code": 1, "at": ended}] * failures, spec=worlds.an_epic(agent={"max_attempts": 99}))
    wait = job.not_before
    assert wait is None or NOW < wait <= NOW + timedelta(seconds=600)
    later = NOW + timedelta(seconds=1201)
    assert after(*[{"code": 1, "at": ended}] * failures, now=later, spec=worlds.an_epic()).not_before is None or (
        ended > NOW + timedelta(seconds=600)  # a record that is still in the future then is one that lay far ahead
    )


# --- verdicts ------------------------------------------------------------------------------------------------


def offered(**fields: Any) -> Job:
    return after({"code": 0}, branch=worlds.a_branch(), **{"pull": worlds.a_pull(), **fields})


def test_a_rejection_of_an_older_head_is_no_verdict() -> None:
    pull = worlds.a_pull(rejection=Rejection(head=OTHER, text="no"))
    assert offered(pull=pull, candidate=worlds.a_candidate()).verdict is None


def test_a_repair_pays_only_for_the_tip_it_was_given() -> None:
    repair = worlds.a_run(n=2, attempt=1, why="Conflict", base_tip=BASE, baseline=OTHER)
    fields = {"runs": (repair,), "branch": worlds.a_branch(), "pull": worlds.a_pull(), "candidate": worlds.a_conflict()}
    counts = {repaired: a_job(repaired=repaired, **fields).verdict.counts for repaired in (False, True)}
    assert counts == {False: True, True: False}


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ((), CheckState.NONE),
        (("running",), CheckState.RUNNING),
        (("passed",), CheckState.PASSED),
        (("failed",), CheckState.FAILED),
        (("lost",), CheckState.NONE),
        (("lost", "passed"), CheckState.PASSED),
        (("passed", "failed"), CheckState.FAILED),
        (("lost", "lost", "lost"), CheckState.FAILED),
    ],
)
def test_the_newest_check_of_a_tree_decides(results: tuple[str, ...], state: CheckState) -> None:
    checks = tuple(worlds.a_check(result, n) for n, result in enumerate(results, start=1))
    assert offered(candidate=worlds.a_candidate(), checks=checks).offer.check_state is state


def test_checks_that_were_not_seen_are_neither_red_nor_green() -> None:
    assert offered(candidate=worlds.a_candidate(), checks=Unknown("?")).offer.check_state is CheckState.UNKNOWN


def test_a_conflict_has_no_tree_that_could_be_green() -> None:
    spec = worlds.an_epic(merge={"checks": ()})
    assert offered(candidate=worlds.a_conflict(), spec=spec).offer.check_state is CheckState.NONE
    assert offered(candidate=Unknown("?"), spec=spec).offer.check_state is CheckState.NONE
    assert offered(candidate=worlds.a_candidate(), spec=spec).offer.check_state is CheckState.PASSED


def test_other_commands_make_another_proof() -> None:
    spec = worlds.an_epic(merge={"checks": (*CHECKS, "just more")})
    one, other = offered(candidate=worlds.a_candidate()), offered(candidate=worlds.a_candidate(), spec=spec)
    assert one.offer.subject != other.offer.subject


# --- approval ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("approved", "counts"), [(None, False), (OTHER, False), (HEAD, True)])
def test_an_approval_is_of_one_head(approved: str | None, counts: bool) -> None:
    spec = worlds.an_epic(merge={"review": ReviewByRisk.always(Review.HUMAN)})
    job = offered(pull=worlds.a_pull(approved=approved), candidate=worlds.a_candidate(), spec=spec)
    assert job.offer.approved is counts


def test_of_a_package_json_only_its_scripts_are_protected_where_that_is_said() -> None:
    spec = worlds.an_epic(merge={"protected_paths": ("web/package.json#scripts",)})
    changed = worlds.a_candidate("web/package.json")

    assert offered(candidate=changed, spec=spec).offer.protected == ()
    others = replace(changed, scripts=changed.changed)
    assert offered(candidate=others, spec=spec).offer.protected == ("web/package.json",)


@pytest.mark.parametrize(
    ("path", "protected"),
    [
        ("justfile", True),
        ("sub/justfile", False),
        (".ci/run", True),
        (".ci/a/b/c", True),
        (".cid/run", False),
        ("plans/x.yaml", True),
        ("a.py", False),
        (".ci/line\nbreak", True),
        (".Claude/agents/merger.md", True),
        ("JUSTFILE", True),
        ("Plans/x.yaml", True),
    ],
)
def test_protected_paths_are_matched_whole(path: str, protected: bool) -> None:
    spec = worlds.an_epic(source="/repo/plans/x.yaml")
    job = offered(candidate=worlds.a_candidate(path), spec=spec)
    assert job.offer.protected == ((path,) if protected else ())
    assert job.offer.approved is not protected


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.md", "a.md", True),
        ("*.md", "docs/a.md", False),
        ("**/*.md", "a.md", True),
        ("**/*.md", "a/b/c.md", True),
        ("docs/**", "docs/a/b", True),
        ("docs/**", "docs", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
    ],
)
def test_stars_stay_in_a_folder_unless_doubled(glob: str, path: str, matches: bool) -> None:
    assert glob_pattern(glob).fullmatch(path) is matches


_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@given(st.text("aAbß/*?\n", max_size=12), st.text("aAbBß/\n", max_size=12), st.booleans())
def test_a_glob_means_what_the_same_words_mean_as_a_regular_expression(glob: str, path: str, exact: bool) -> None:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    flags = re.DOTALL if exact else re.DOTALL | re.IGNORECASE
    meant = re.fullmatch("".join(_MEANING.get(part, re.escape(part)) for part in parts), path, flags)
    assert glob_pattern(glob, exact=exact).fullmatch(path) is bool(meant)


@pytest.mark.parametrize("glob", ["*" * 80 + "b", "**/" * 40 + "b", "**a" * 40 + "b", "*a" * 40 + "b"])
def test_no_glob_and_no_path_makes_a_comparison_long(glob: str) -> None:
    began = time.thread_time()
    assert not glob_pattern(glob).fullmatch("a" * 200 + "/a" * 100)
    assert time.thread_time() - began < 1


@given(st.text(min_size=1))
def test_a_path_without_stars_matches_itself_and_nothing_longer(path: str) -> None:
    plain = path.replace("*", "").replace("?", "") or "x"
    assert glob_pattern(plain).fullmatch(plain)
    assert not glob_pattern(plain).fullmatch(plain + "x")


# --- hints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["phase:committed", "pr:9"])
def test_an_agent_says_by_a_label_that_it_is_done(label: str) -> None:
    task = worlds.a_task(status="in_progress", assignee=US, labels=[label], updated_at=ago(30))
    assert a_job(task=task, runs=(worlds.a_run(state="running"),)).attempts.done_claimed_at == ago(30)
    assert a_job(task=task, runs=(worlds.a_run(),)).attempts.done_claimed_at is None


def test_a_label_older_than_the_run_counts_from_its_start() -> None:
    task = worlds.a_task(labels=["phase:committed"], updated_at=ago(3600))
    assert a_job(task=task, runs=(worlds.a_run(state="running", started_at=ago(5)),)).attempts.done_claimed_at == ago(5)


def test_closing_its_own_task_is_a_hint_and_closing_by_anybody_else_is_none() -> None:
    live = (worlds.a_run(state="running"),)
    by_itself = worlds.a_task(status="closed", closed_by_session="work/x-1/1", updated_at=ago(9))
    by_another = worlds.a_task(status="closed", closed_by_session="work/x-1/7", updated_at=ago(9))
    assert a_job(task=by_itself, runs=live).attempts.done_claimed_at == ago(9)
    assert a_job(task=by_another, runs=live).attempts.done_claimed_at is None


# --- reopened, landed, declined ------------------------------------------------------------------------------


def reopened(run: Run | None = None, **fields: Any) -> bool:
    task = worlds.a_task(**{"status": "open", "assignee": US, "updated_at": ago(5), **fields})
    return a_job(task=task, runs=(run or worlds.a_run(exit={"code": 1}),)).reopened


def test_setting_a_task_open_that_needs_a_person_is_a_reopening() -> None:
    assert reopened(labels=["needs-human"])
    assert not reopened(labels=["needs-human"], status="blocked")
    assert not reopened(labels=["needs-human"], run=worlds.a_run(state="running"))


def test_an_open_task_that_is_called_merged_was_reopened() -> None:
    assert reopened(labels=["phase:merged"])
    assert reopened(labels=["phase:merged"], status="deferred")
    assert not reopened(labels=["phase:merged"], status="closed")


def test_opening_a_task_that_was_closed_under_its_agent_is_a_reopening() -> None:
    closed_under_it = worlds.a_run(exit={"code": None, "cause": "stopped", "stop": "closed"})
    assert reopened(run=closed_under_it, labels=["phase:working"])
    assert not reopened(labels=["phase:working"])


@pytest.mark.parametrize("labels", [["needs-human"], ["phase:merged"], []])
def test_what_was_written_while_an_agent_lived_reopens_nothing(labels: list[str]) -> None:
    assert not reopened(labels=labels, updated_at=ago(90))  # it lived from 120 to 60 seconds ago


def test_a_landing_a_hand_merge_and_nothing_else_means_landed() -> None:
    landing = Landing(task=TaskId("x-1"), head=HEAD, commit=OTHER, at=NOW)
    assert offered(landing=landing).landed
    assert offered(merged_by_hand=True).landed
    assert not offered().landed
    assert not offered(landing=Unknown("?")).landed


def test_what_was_declined_before_the_last_retry_is_forgiven() -> None:
    pull = worlds.a_pull(state=PullState.CLOSED, declined=True, closed_at=ago(50))
    assert a_job(pull=pull).offer.declined
    assert a_job(pull=pull, since=RetryPoint(n=1, base=BASE, at=ago(60))).offer.declined
    assert not a_job(pull=pull, since=RetryPoint(n=1, base=BASE, at=ago(40))).offer.declined


def test_a_task_closed_by_its_own_agent_is_done_once_its_commits_are_somewhere() -> None:
    task = worlds.a_task(status="closed", closed_by_session="work/x-1/1")
    runs, branch = (worlds.a_run(),), worlds.a_branch()
    assert a_job(task=task, runs=runs).done
    assert not a_job(task=task, runs=runs, branch=branch).done
    merged = worlds.a_pull(state=PullState.MERGED, closed_at=ago(5))
    assert a_job(task=task, runs=runs, branch=branch, pull=merged).done
    declined = worlds.a_pull(state=PullState.CLOSED, declined=True, closed_at=ago(5))
    assert a_job(task=task, runs=runs, branch=branch, pull=declined).done


def test_ours_is_what_is_assigned_to_us_or_bears_our_marks() -> None:
    def ours(**fields: Any) -> bool:
        job = {name: fields.pop(name) for name in ("worktree", "branch", "runs") if name in fields}
        return a_job(**{"worktree": None, "task": worlds.a_task(**fields), **job}).ours

    assert ours(assignee=US)
    assert not ours(assignee="ann", labels=["phase:working"])
    assert not ours()
    assert ours(labels=["phase:spawned"])
    assert ours(worktree=worlds.a_worktree())
    assert ours(branch=worlds.a_branch())
    assert ours(runs=(worlds.a_run(),))
    assert not ours(runs=Unknown("?"), worktree=Unknown("?"), branch=Unknown("?"))


def test_the_phase_is_a_function_of_what_is_seen() -> None:
    landing = Landing(task=TaskId("x-1"), head=HEAD, commit=OTHER, at=NOW)
    closed = worlds.a_task(status="closed")
    assert a_job().phase is None
    assert a_job(runs=(worlds.a_run(state="starting"),), branch=worlds.a_branch()).phase == "phase:spawned"
    assert a_job(runs=(worlds.a_run(state="running"),), pull=worlds.a_pull()).phase == "phase:working"
    assert offered().phase == "phase:pr_created"
    assert a_job(branch=worlds.a_branch()).phase == "phase:committed"
    assert a_job(task=closed, landing=landing, branch=worlds.a_branch()).phase == "phase:merged"


# --- where commits are that nobody sees ----------------------------------------------------------------------


def test_an_agent_that_moved_the_base_itself_is_told_from_one_that_did_nothing() -> None:
    moved = worlds.a_branch(ahead=0, head=OTHER, in_base=True)
    idle = worlds.a_branch(ahead=0, head=BASE, in_base=True)

    said = [after({"code": 0}, branch=branch).attempts.ending for branch in (moved, idle)]

    assert [ending and ending.reason for ending in said] == [Reason.NO_CHANGES, Reason.NO_CHANGES]
    assert said[0] and "on main already, and was not landed by us" in said[0].message
    assert said[1] and "already" not in said[1].message


def test_commits_off_the_branch_are_named() -> None:
    tree = worlds.a_worktree(fault=WorktreeFault.WRONG_BRANCH, head=OTHER, branch="side")

    ending = after({"code": 0}, worktree=tree, branch=worlds.a_branch(ahead=0)).attempts.ending

    assert ending and f"on the branch side, at {OTHER[:12]}" in ending.message


# --- what was said when it was handed over -------------------------------------------------------------------


def test_what_a_note_of_ours_says_is_said_again_without_what_to_do() -> None:
    note = messages.needs_human("x-1", Reason.CHECKS_FAILED, "check 2 of 3 failed: see a.b. It is red")
    job = a_job(task=worlds.a_task("x-1", notes=f"something else\n{note}"))
    assert (job.notes.reason, job.notes.message) == (
        Reason.CHECKS_FAILED,
        "check 2 of 3 failed: see a.b. It is red",
    )
    assert job.notes.last_words == ""


def test_the_last_words_of_its_notes_are_its_agents() -> None:
    assert a_job(task=worlds.a_task("x-1", notes="old\n\nI need a \x1b[31mpassword\n")).notes.last_words == (
        "I need a [31mpassword"
    )
    assert a_job().notes.message is None and a_job().notes.last_words == ""


@pytest.mark.parametrize(
    ("step", "checks", "said"),
    [
        (1, ("true", "make   all", "true"), "check 2 of 3 failed on the merged tree (exit status 3): make all; "),
        (0, ("x" * 200,), f"the check failed on the merged tree (exit status 3): {'x' * 79}…; "),
        (None, ("make",), "the checks failed on the merged tree (exit status 3)"),
        (5, ("make",), "the checks failed on the merged tree (exit status 3)"),
    ],
)
def test_a_check_that_failed_is_named_with_what_shows_its_output(
    step: int | None, checks: tuple[str, ...], said: str
) -> None:
    run = replace(worlds.a_check("failed"), exit=worlds.an_exit(code=3, step=step))
    found = run_results.failed_check(run, checks)
    assert found.startswith(said)
    assert (f"'reconcile logs {run.id}' shows its output" in found) == said.endswith("; ")
