"""What `-o json` prints: scripts rely on every key of it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st
from worlds import Unknown, a_candidate, a_check, a_pull, a_run, a_task, a_worktree, ago, an_epic, seen, wanted

from reconciler.loop.executor import Outcome
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.desired import Budget, InlineTask
from reconciler.model.errors import PermanentError
from reconciler.model.names import PrNumber, TaskId, key_line, task_for_key
from reconciler.model.observed import CheckResult, Failure, ForgeCheck, Landing, PullState, Rejection, WorktreeFault
from reconciler.model.report import Fault, Report
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.planning.planner import plan
from reconciler.render import document, safe
from reconciler.render.pulls import row
from reconciler.render.pulls import tested as checks_of
from reconciler.render.status import section_of, why
from reconciler.render.task_views import ended_checks

X1 = TaskId("x-1")


def shown(observed, *epics, **recorded):
    """The status of the first manifest."""
    return document.status(plan(wanted(*epics), observed), observed, recorded)["epics"][0]


def entry(observed, *epics):
    """The first task of the first manifest."""
    return shown(observed, *epics)["tasks"][0]


def condition(observed, type_, *epics):
    found = {each["type"]: each for each in shown(observed, *epics)["conditions"]}[type_]
    return found["status"], found["reason"]


def offered(**fields):
    """x-1 with an open pull request; its checks ran as told."""
    checks = fields.pop("checks", ())
    pull = fields.pop("pull", {})
    return seen(
        a_task(status="in_progress", assignee=worlds.US, **fields.pop("task", {})),
        runs={X1: (a_run(),)},
        worktrees={X1: a_worktree()},
        branches={X1: worlds.a_branch()},
        pull_requests={X1: a_pull(**pull)},
        candidates={X1: a_candidate()},
        checks=checks,
        **fields,
    )


def working(**fields):
    """x-1 with an agent running."""
    run = a_run(state="running", pid=4242, last_progress_at=ago(5), **fields.pop("run", {}))
    return seen(
        a_task(status="in_progress", assignee=worlds.US), runs={X1: (run,)}, worktrees={X1: a_worktree()}, **fields
    )


# --- diff --------------------------------------------------------------------------------------------------


def test_housekeeping_counts_as_due_only_where_it_is_all_that_goes_on() -> None:
    labels_alone = seen(a_task(status="closed", labels=["phase:working"]))
    beside_an_agent = seen(
        a_task(status="in_progress", assignee=worlds.US, labels=["phase:spawned"]),
        runs={X1: (a_run(state="running"),)},
        worktrees={X1: a_worktree()},
    )

    for observed, message in ((labels_alone, "1 action due"), (beside_an_agent, "1 agent running")):
        conditions = {each["type"]: each["message"] for each in shown(observed)["conditions"]}
        assert conditions["Progressing"] == message


def test_a_plan_has_the_keys_that_scripts_rely_on():
    observed = seen(a_task(), a_task("x-2", blockers=(X1,)))

    (epic,) = document.plan(plan(wanted(), observed))["epics"]

    assert epic == {
        "name": "all",
        "converged": False,
        "actions": [
            {
                "action": "StartAgent",
                "task": "x-1",
                "reason": "Ready",
                "message": "start agent (attempt 1)",
                "evidence": {"attempt": 1, "run": "work/x-1/1", "base": worlds.BASE},
            }
        ],
        "waiting": [{"task": "x-2", "reason": "Blocked", "message": "blocked by x-1"}],
        "unknown": [],
        "failing": [],
        "protectedPaths": ["justfile", "Makefile", ".ci/**", ".github/**", ".claude/**"],
    }


def test_of_tasks_that_can_not_be_read_nothing_is_counted_and_what_runs_is_shown():
    quiet, alive = a_run("x-2"), a_run(n=2, state="running", pid=4711)
    checking = a_check("running", task="x-3")
    observed = seen(
        tasks=Unknown("locked"),
        runs={X1: (alive,), TaskId("x-2"): (quiet,)},
        checks=(checking,),
        worktrees={X1: a_worktree()},
    )

    found = shown(observed)

    counted = ("tasks", "blocked", "ready", "review", "merging", "working", "needsHuman", "closed", "merged")
    assert found["counts"] == dict.fromkeys(counted)
    assert [(each["id"], each["title"], each["status"], each["group"]) for each in found["tasks"]] == [
        ("x-1", None, None, "working"),
        ("x-3", None, None, "merging"),
    ]
    assert found["tasks"][0]["run"]["pid"] == 4711 and found["tasks"][0]["worktree"] == "../worktrees/x-1"
    assert condition(observed, "Progressing") == ("True", "Progressing")
    assert plan(wanted(), observed).moves
    assert set(found["tasks"][0]) == set(entry(working()))


def test_what_runs_is_not_called_nothing_where_it_can_not_be_seen():
    assert condition(seen(tasks=Unknown("locked"), runs=Unknown("?")), "Progressing")[0] == "Unknown"
    assert condition(seen(a_task(), runs=Unknown("?")), "Progressing")[0] == "Unknown"


def test_what_a_held_manifest_has_running_goes_on():
    observed = seen(a_task(), runs={X1: (a_run(state="running"),)}, forges={"all": "logged out"})

    assert condition(observed, "Progressing") == ("True", "Progressing")


def test_a_silent_source_is_named():
    (epic,) = document.plan(plan(wanted(), seen(a_task(), pull_requests=Unknown("rate limited until 12:04"))))["epics"]

    assert epic["unknown"] == [{"source": "forge", "message": "rate limited until 12:04"}]
    assert [word["reason"] for word in epic["waiting"]] == ["Unknown"]


@pytest.mark.parametrize(
    ("observed", "spec", "reason"),
    [
        (seen(a_task()), an_epic(epic=TaskId("x-9")), "EpicNotFound"),
        (seen(tasks=Unknown("the store is locked")), an_epic(), "TrackerUnavailable"),
        (seen(a_task(), forges={"all": "no remote"}), an_epic(), "ForgeUnavailable"),
    ],
)
def test_what_holds_a_whole_manifest_is_seen_even_without_a_task(observed, spec, reason):
    (epic,) = document.plan(plan(wanted(spec), observed))["epics"]

    assert epic["held"]["reason"] == reason
    assert not epic["converged"]


def test_a_declared_task_is_made_under_its_key_and_the_epic_under_none():
    spec = an_epic(name="inline", tasks=(InlineTask(key="parser", title="Write the parser"),))

    (epic,) = document.plan(plan(wanted(spec), seen()))["epics"]

    assert [(action["action"], action["task"], action["evidence"]["key"]) for action in epic["actions"]] == [
        ("CreateTask", task_for_key("x", "inline", None), None),
        ("CreateTask", task_for_key("x", "inline", "parser"), "parser"),
    ]


def test_closing_an_epic_names_no_task():
    observed = seen(a_task("x", type="epic"), a_task(parents=(TaskId("x"),), status="closed"))

    (epic,) = document.plan(plan(wanted(an_epic(epic=TaskId("x"))), observed))["epics"]

    assert [(action["action"], action["task"]) for action in epic["actions"]] == [("CloseEpic", None)]


def test_what_waits_for_a_timer_says_until_when():
    observed = seen(
        a_task(status="in_progress", assignee=worlds.US),
        runs={X1: (a_run(exit={"code": 1, "at": ago(4)}),)},
        worktrees={X1: a_worktree()},
    )

    (epic,) = document.plan(plan(wanted(), observed))["epics"]

    assert epic["waiting"][0]["until"] == "2026-01-01T12:00:06Z"


def test_an_outcome_is_its_action_and_what_went_wrong():
    (action,) = plan(wanted(), seen(a_task())).actions

    done = document.outcome(Outcome(action=action))
    failed = document.outcome(Outcome(action=action, error=PermanentError("no such program", hint="install it")))

    assert set(done) == {"action", "task", "reason", "message", "evidence"}
    assert failed == {**done, "error": {"kind": "PermanentError", "message": "no such program", "hint": "install it"}}


# --- status: a task ------------------------------------------------------------------------------------------


def test_a_task_has_the_keys_that_scripts_rely_on():
    inline = InlineTask(key="parser", title="Write the parser")
    spec = an_epic(tasks=(inline,), applied={"parser": inline}, merge={"review": ReviewByRisk.always(Review.HUMAN)})
    observed = offered(
        task={"description": key_line("all", "parser"), "title": "Write the parser", "labels": ["phase:pr_created"]},
        pull={"approved": worlds.HEAD},
        checks=(a_check("running"),),
    )

    assert entry(observed, spec) == {
        "id": "x-1",
        "key": "parser",
        "title": "Write the parser",
        "status": "in_progress",
        "phase": "pr_created",
        "group": "merging",
        "run": {
            "kind": "check",
            "attempt": 1,
            "n": 1,
            "pid": None,
            "state": "running",
            "startedAt": "2026-01-01T11:59:00Z",
            "lastProgressAt": None,
        },
        "worktree": "../worktrees/x-1",
        "branch": "agent/x-1",
        "pullRequest": {
            "number": 7,
            "url": None,
            "state": "open",
            "head": worlds.HEAD,
            "checks": "pending",
            "checkedWith": None,
            "review": "approved",
            "approvedBy": ["person"],
            "risk": None,
            "notCounted": {},
        },
        "waiting": {"reason": "ChecksRunning", "message": f"checks running on the merged tree {worlds.TREE[:12]}"},
        "failing": None,
        "spend": {"usd": 0.0, "tokens": 0, "untold": 0},
    }


def test_a_task_that_nothing_has_happened_to_has_nulls():
    found = entry(seen(a_task(), base=Unknown("?")))

    assert [found[key] for key in ("key", "phase", "run", "worktree", "pullRequest")] == [None] * 5
    assert found["branch"] == "agent/x-1"


def test_a_task_that_is_acted_on_waits_for_nothing_and_says_what_comes_next():
    found = entry(seen(a_task()))

    assert found["waiting"] is None
    assert found["next"]["action"] == "StartAgent"


def test_where_only_a_posted_review_is_tidied_up_the_task_says_so():
    observed = offered(pull={"posted": frozenset({"a"}), "standing": frozenset({"a"})})

    found = entry(observed)

    assert found["next"]["action"] == "WithdrawReview" and found["waiting"] is None
    assert why(found, worlds.NOW).plain.startswith("next: take back what was posted about #7")


@pytest.mark.parametrize("labels", [["phase:merged"], ["phase:working"]])
def test_a_closed_task_of_which_nothing_is_left_asks_nobody_for_what_failed_before(labels):
    failure = Failure(
        action="Land", message="no", since=ago(90), until=ago(-60), at=ago(9), manifest="all", tries=3, permanent=True
    )

    found = entry(seen(a_task(status="closed", labels=labels), failures={X1: failure}))

    assert (found["failing"], section_of(found)) == (None, None)


def test_what_fails_is_told_also_of_a_task_of_which_nothing_else_is_known():
    failing = {"action": "Land", "message": "it broke", "since": "2026-07-01T00:00:00Z", "nextTry": None}
    bare = {"id": "x-1", "status": "open", "waiting": None, "failing": {**failing, "agentIsTold": False}}

    assert why(bare, worlds.NOW).plain.startswith("Land has failed for")


def test_the_run_that_is_alive_is_shown_before_a_newer_one_that_ended():
    observed = working()
    check = replace(a_check("passed"), started_at=ago(1))

    run = entry(replace(observed, checks={check.id.subject: (check,)}))["run"]

    assert (run["kind"], run["state"], run["pid"], run["lastProgressAt"]) == (
        "work",
        "running",
        4242,
        "2026-01-01T11:59:55Z",
    )


def test_the_pid_of_a_run_that_is_over_is_not_given_to_anybody_who_might_signal_it():
    observed = seen(a_task(), runs={X1: (a_run(pid=4242, exit={"code": 1}),)})

    assert entry(observed)["run"]["pid"] is None


def test_a_folder_of_somebody_else_is_no_worktree_of_the_task():
    observed = seen(a_task(), worktrees={X1: a_worktree(fault=WorktreeFault.TAKEN)})

    assert entry(observed)["worktree"] is None


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((), "pending"),
        ((a_check("running"),), "pending"),
        ((a_check("passed"),), "passed"),
        ((a_check("failed"),), "failed"),
        (Unknown("?"), "pending"),
    ],
)
def test_checks_are_those_of_the_tree_that_would_land(checks, expected):
    assert entry(offered(checks=checks))["pullRequest"]["checks"] == expected


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((), "pending"),
        (("pending",), "pending"),
        (("passed",), "passed"),
        (("passed", "failed"), "failed"),
        (("void",), "pending"),
    ],
)
def test_checks_of_a_forge_are_shown_where_there_are_no_others(results, expected):
    checks = tuple(ForgeCheck(name=f"c{n}", result=CheckResult(result)) for n, result in enumerate(results))
    seen_there = offered(pull={"checks": checks, "seen_at": ago(60)})

    assert entry(seen_there, an_epic(merge={"checks": ()}))["pullRequest"]["checks"] == expected


def test_a_check_of_a_forge_that_runs_is_not_laid_at_a_persons_door():
    def section(result):
        checks = (ForgeCheck(name="ci", result=CheckResult(result)),)
        return section_of(entry(offered(pull={"checks": checks, "seen_at": ago(10)})))

    assert (section("pending"), section("void")) == ("pulls", "person")


def test_work_that_is_about_to_be_offered_is_not_ready_to_be_started():
    done = replace(offered(), pull_requests={})
    backoff = Failure(
        manifest="all", action="OpenPullRequest", message="no route", since=ago(60), at=ago(1), until=ago(-60)
    )

    assert entry(done)["next"]["action"] == "OpenPullRequest"
    assert section_of(entry(done)) == "pulls"
    assert section_of(entry(replace(done, failures={X1: backoff}))) == "pulls"
    assert section_of(entry(seen(a_task()))) == "ready"


@pytest.mark.parametrize(
    ("opened", "closed", "came_to"), [(90, 30, "passed"), (90, 70, "none"), (50, 30, "none"), (50, None, "none")]
)
def test_a_check_is_of_the_pull_request_that_was_open_when_it_began(opened, closed, came_to):
    pull = a_pull(state=PullState.CLOSED, opened_at=ago(opened), closed_at=ago(closed) if closed else None)

    assert ended_checks(pull, [a_check("passed")]) == came_to


def test_what_was_merged_had_passed_also_where_an_older_pull_request_had_the_same_tree_checked():
    pull = a_pull(state=PullState.MERGED, opened_at=ago(50), closed_at=ago(30), landed=worlds.BASE)

    assert ended_checks(pull, [a_check("passed")]) == "passed"
    assert ended_checks(pull, []) == "none"


def test_what_was_merged_had_passed_whichever_of_its_checks_was_over_last():
    merged = a_pull(state=PullState.MERGED, opened_at=ago(90), closed_at=ago(30), landed=worlds.BASE)
    ran = [a_check("passed"), a_check("failed", n=2)]

    assert ended_checks(merged, ran) == "passed"
    assert ended_checks(replace(merged, landed=None), ran) == "failed"


def test_while_the_tracker_is_silent_it_is_not_known_what_no_manifest_covers():
    silent = seen(tasks=Unknown("locked"))

    assert document.status(plan(wanted(), silent), silent)["unmanaged"] is None
    assert document.status(plan(wanted(), seen()), seen())["unmanaged"] == []


def test_what_landed_beneath_another_passed_its_checks_with_it():
    pulls = {
        X1: a_pull(state=PullState.MERGED, landed=worlds.BASE),
        TaskId("x-2"): a_pull("x-2", number=9, head=worlds.OTHER, state=PullState.MERGED, landed=worlds.OTHER),
    }
    alone = a_check("failed")
    together = replace(a_check("passed", n=2, task="x-2"), heads=(worlds.HEAD, worlds.OTHER))
    tasks = a_task(status="closed"), a_task("x-2", status="closed")

    pull, top = (
        task["pullRequest"] for task in shown(seen(*tasks, pull_requests=pulls, checks=(alone, together)))["tasks"]
    )

    assert (pull["checks"], pull["checkedWith"], checks_of(pull)) == ("passed", 9, "passed (with #9)")
    assert (top["checks"], top["checkedWith"], checks_of(top)) == ("passed", None, "passed")
    older = row(pulls[X1], "an older one", None, checks=(alone,), beneath=PrNumber(9), known=True)
    assert (older["checks"], older["checkedWith"]) == ("passed", 9)


def test_what_has_landed_shows_how_it_was_judged_then_also_beneath_another():
    risk = {"level": "low", "reasons": ["prose: a.md"], "review": "none", "reviewer": None}
    kept = {"x-1": {"head": worlds.HEAD, "risk": risk, "approvedBy": ["agent"]}}
    landing = {"action": "Land", "task": "x-2", "evidence": {"judged": kept}}
    observed = seen(a_task(status="closed"), pull_requests={X1: a_pull(state=PullState.MERGED)})

    def pull(*events):
        return document.describe(X1, plan(wanted(), observed), observed, events)["pullRequest"]

    assert [pull(landing)[name] for name in ("risk", "approvedBy", "review")] == [risk, ["agent"], "approved"]
    other = {"x-1": {**kept["x-1"], "head": worlds.OTHER}}
    for event in ({**landing, "error": {}}, {**landing, "evidence": {"judged": other}}, {"event": "Waiting"}):
        assert (pull(event)["risk"], pull(event)["review"]) == (None, "none")


def test_without_checks_there_are_none_to_wait_for():
    assert entry(offered(), an_epic(merge={"checks": ()}))["pullRequest"]["checks"] == "none"


@pytest.mark.parametrize(
    ("pull", "review", "expected"),
    [
        ({}, "none", "none"),
        ({}, "human", "required"),
        ({"approved": worlds.HEAD}, "human", "approved"),
        ({"approved": worlds.OTHER}, "human", "required"),
        ({"rejection": Rejection(head=worlds.HEAD, text="no")}, "human", "rejected"),
        ({"state": PullState.CLOSED, "declined": True}, "human", "rejected"),
        ({"state": PullState.MERGED}, "human", "none"),
    ],
)
def test_a_review_is_of_exactly_this_head(pull, review, expected):
    assert (
        entry(offered(pull=pull), an_epic(merge={"review": ReviewByRisk.always(Review(review))}))["pullRequest"][
            "review"
        ]
        == expected
    )


def test_protected_paths_ask_for_a_review():
    observed = replace(offered(), candidates={X1: a_candidate("justfile")})

    assert entry(observed)["pullRequest"]["review"] == "required"


def test_what_runs_under_a_held_manifest_is_shown_all_the_same():
    found = entry(working(forges={"all": "logged out"}))

    assert found["run"]["state"] == "running"
    assert found["phase"] == "working"
    assert found["waiting"]["reason"] == "ForgeUnavailable"


# --- status: counts ------------------------------------------------------------------------------------------

COUNTED = {
    "closed": [
        seen(a_task(status="closed", labels=["needs-human"])),
        replace(working(), tasks={X1: a_task(status="closed")}),
    ],
    "needsHuman": [
        seen(a_task(status="blocked", labels=["needs-human"])),
        replace(working(), tasks={X1: a_task(status="blocked", labels=["needs-human"])}),
    ],
    "working": [working(), replace(working(), pull_requests={X1: a_pull()})],
    "merging": [offered(checks=(a_check("running"),)), offered(checks=(a_check("passed"),))],
    "review": [offered(), offered(checks=(a_check("failed"),)), replace(offered(), candidates={X1: worlds.a_conflict()})],
    "ready": [
        seen(a_task()),
        seen(a_task(), runs={X1: (a_run(exit={"code": 1, "at": ago(1)}),)}),
        seen(a_task(), a_task("x-0", priority=0)),
    ],
    "blocked": [
        seen(a_task(), base=Unknown("?")),
        seen(a_task(status="deferred")),
        seen(a_task(assignee="ann")),
        seen(a_task(status="review")),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("group", "observed"), [(g, o) for g, found in COUNTED.items() for o in found])
def test_every_task_is_counted_once_where_it_first_fits(group, observed):
    status = shown(observed, an_epic(max_agents=1))
    counts = status["counts"]

    assert list(counts) == [
        "tasks",
        "blocked",
        "ready",
        "review",
        "merging",
        "working",
        "needsHuman",
        "closed",
        "merged",
    ]
    assert {task["id"]: task["group"] for task in status["tasks"]}["x-1"] == group
    assert counts[group] >= 1
    assert (
        counts["tasks"]
        == len(observed.tasks)
        == sum(n for name, n in counts.items() if name not in ("tasks", "merged"))
    )


def test_what_landed_is_counted_as_merged_besides():
    landing = Landing(task=X1, head=worlds.HEAD, commit=worlds.OTHER, at=ago(60))
    observed = seen(a_task(status="closed"), a_task("x-2", status="closed"), landings={X1: landing})

    status = shown(observed)

    assert (status["counts"]["closed"], status["counts"]["merged"]) == (2, 1)
    assert [task["phase"] for task in status["tasks"]] == ["merged", None]


# --- status: a manifest ------------------------------------------------------------------------------------


def test_a_status_has_the_keys_that_scripts_rely_on():
    observed = seen(a_task("x", type="epic"), a_task(parents=(TaskId("x"),)))

    status = shown(observed, an_epic(epic=TaskId("x"), generation=3), all={"observedGeneration": 2})

    assert list(status) == [
        "name",
        "epic",
        "generation",
        "observedGeneration",
        "conditions",
        "withheld",
        "base",
        "counts",
        "spend",
        "tasks",
    ]
    assert (status["name"], status["epic"], status["generation"], status["observedGeneration"]) == ("all", "x", 3, 2)
    assert [set(each) for each in status["conditions"]] == [
        {"type", "status", "reason", "message", "lastTransitionTime"}
    ] * 3
    assert [each["type"] for each in status["conditions"]] == ["Converged", "Progressing", "Degraded"]


@pytest.mark.parametrize(
    ("observed", "spec", "converged", "progressing", "degraded"),
    [
        (seen(a_task(status="closed")), an_epic(), "True Converged", "False Converged", "False Converged"),
        (seen(a_task()), an_epic(), "False Progressing", "True Progressing", "False Progressing"),
        (working(), an_epic(), "False Progressing", "True Progressing", "False Progressing"),
        (working(), an_epic(suspend=True), "False Suspended", "True Progressing", "False Suspended"),
        (
            offered(task={"labels": ["phase:pr_created", "pr:7"]}, checks=(a_check("passed"),)),
            an_epic(merge={"review": ReviewByRisk.always(Review.HUMAN)}),
            "False AwaitingApproval",
            "False AwaitingApproval",
            "False AwaitingApproval",
        ),
        (
            seen(a_task(), agents_missing={"all": "no program 'agent'"}),
            an_epic(),
            "False AgentUnavailable",
            "False AgentUnavailable",
            "True AgentUnavailable",
        ),
        (
            seen(a_task(), forges={"all": "logged out"}),
            an_epic(),
            "False ForgeUnavailable",
            "False ForgeUnavailable",
            "True ForgeUnavailable",
        ),
        (
            seen(a_task()),
            an_epic(invalid="all.yaml:3: no"),
            "False ManifestInvalid",
            "False ManifestInvalid",
            "True ManifestInvalid",
        ),
        (
            seen(a_task()),
            an_epic(epic=TaskId("x-9")),
            "False EpicNotFound",
            "False EpicNotFound",
            "True EpicNotFound",
        ),
        (
            seen(tasks=Unknown("locked")),
            an_epic(),
            "Unknown TrackerUnavailable",
            "False TrackerUnavailable",
            "True TrackerUnavailable",
        ),
        (
            seen(a_task(status="closed"), worktrees=Unknown("git failed")),
            an_epic(),
            "Unknown Unknown",
            "False Unknown",
            "True Unknown",
        ),
    ],
)
def test_conditions_say_where_a_manifest_stands_and_why(observed, spec, converged, progressing, degraded):
    found = [" ".join(condition(observed, name, spec)) for name in ("Converged", "Progressing", "Degraded")]

    assert found == [converged, progressing, degraded]


def test_the_reason_for_standing_still_is_the_task_that_needs_a_person():
    ann = TaskId("x-9")
    observed = seen(a_task(blockers=(ann,)), a_task("x-2", blockers=(X1,)), a_task("x-9", assignee="ann"))

    found = shown(observed)["conditions"][0]

    assert (found["reason"], found["message"]) == (
        "AssignedElsewhere",
        "0 of 3 tasks closed; x-9: assigned to ann; 2 other tasks open",
    )


def test_a_condition_keeps_its_time_until_its_status_changes():
    (epic,) = plan(wanted(), seen(a_task())).epics
    first = document.conditions(epic, {}, ago(600))
    second = document.conditions(epic, {"conditions": first}, ago(300))

    (done,) = plan(wanted(), seen(a_task(status="closed"))).epics
    third = document.conditions(done, {"conditions": second}, worlds.NOW)

    assert second == first
    assert [each["lastTransitionTime"] for each in third] == [
        "2026-01-01T12:00:00Z",  # Converged: False, now True
        "2026-01-01T12:00:00Z",  # Progressing: True, now False
        "2026-01-01T11:50:00Z",  # Degraded: False all the time
    ]


@pytest.mark.parametrize(
    "recorded",
    [{"conditions": None}, {"conditions": [1, {"type": "Converged"}, {"type": ["Degraded"], "status": {}}]}, {"x": 1}],
)
def test_a_damaged_record_costs_nothing_but_the_old_times(recorded):
    status = shown(seen(a_task()), all={**recorded, "observedGeneration": "two"})

    assert {each["lastTransitionTime"] for each in status["conditions"]} == {"2026-01-01T12:00:00Z"}
    assert status["observedGeneration"] == 0


# --- describe --------------------------------------------------------------------------------------------------


def test_describe_is_the_task_with_all_of_its_runs_and_its_history():
    observed = replace(
        offered(checks=(a_check("failed"),), task={"notes": "mind the gap"}),
        runs={X1: (a_run(exit={"code": None, "signal": 9}), a_run(n=2, state="lost"))},
    )
    decided = plan(wanted(), observed)
    events = [{"at": "2026-01-01T11:00:00Z", "event": "ActionDone", "task": "x-1"}]

    found = document.describe(X1, decided, observed, events)

    (plain,) = document.status(decided, observed)["epics"][0]["tasks"]
    assert found.items() >= plain.items()
    assert (found["manifest"], found["notes"], found["events"]) == ("all", "mind the gap", events)
    assert found["runs"][0] == {
        "id": "work/x-1/1",
        "state": "ended",
        "attempt": 1,
        "why": "Ready",
        "startedAt": "2026-01-01T11:58:00Z",
        "endedAt": "2026-01-01T11:59:00Z",
        "exit": {"cause": "exited", "code": None, "signal": 9, "limitSeconds": None, "flaky": []},
        "agent": None,
        "report": None,
    }
    assert [(run["id"].split("/")[0], run["state"], bool(run["exit"])) for run in found["runs"]] == [
        ("work", "ended", True),
        ("work", "lost", False),
        ("check", "ended", True),
    ]


def told(n=1, **report):
    return a_run(n=n, agent="claude", exit={"code": 1}, report=Report(fault=Fault.FAILED, **report))


def test_what_was_used_is_said_of_the_task_its_runs_and_its_epic():
    observed = seen(a_task(), runs={X1: (told(usd=1.5, tokens=10, message="no"), told(2, tokens=5))})
    decided = plan(wanted(an_epic(budget=Budget(tokens=100), agent={"kind": AgentKind.CLAUDE})), observed)

    (epic,) = document.status(decided, observed)["epics"]
    task = document.describe(X1, decided, observed)

    assert epic["spend"] == task["spend"] == {"usd": 1.5, "tokens": 15, "untold": 1}
    said = {"done": False, "fault": "failed", "said": "no", "session": None, "usd": 1.5, "tokens": 10}
    assert (task["runs"][0]["agent"], task["runs"][0]["report"]) == ("claude", said)


@pytest.mark.parametrize(
    ("tokens", "low"), [(79, "False"), (80, "True"), (100, "True")], ids=["enough", "at the mark", "used up"]
)
def test_a_budget_that_runs_low_is_a_condition_of_its_own(tokens, low):
    observed = seen(a_task(status="closed"), runs={X1: (told(tokens=tokens),)})

    status = shown(observed, an_epic(budget=Budget(tokens=100), agent={"kind": AgentKind.CLAUDE}))

    (said,) = (each for each in status["conditions"] if each["type"] == "BudgetLow")
    assert said["status"] == low
    assert (f"{tokens} of 100 tokens are used" in said["message"]) is (low == "True")


def test_a_task_of_no_manifest_is_not_described():
    observed = seen(a_task())

    assert document.describe(TaskId("x-9"), plan(wanted(), observed), observed) is None


def test_a_task_of_two_manifests_is_described_as_its_owner_sees_it():
    observed = seen(a_task())
    decided = plan(wanted(an_epic(name="b"), an_epic(name="a")), observed)
    swapped = replace(decided, epics=decided.epics[::-1])

    assert document.describe(X1, swapped, observed)["manifest"] == "a"


# --- everywhere ------------------------------------------------------------------------------------------------


def leaves(value):
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        yield from (leaf for one in value.values() for leaf in leaves(one))
    elif isinstance(value, list):
        yield from (leaf for one in value for leaf in leaves(one))
    else:
        yield value


@pytest.mark.parametrize("observed", [o for found in COUNTED.values() for o in found] + [working(), offered()])
def test_documents_hold_nothing_but_what_json_and_yaml_know(observed):
    decided = plan(wanted(), observed)
    found = [document.plan(decided), document.status(decided, observed), document.describe(X1, decided, observed)]

    assert {type(leaf) for leaf in leaves(found)} <= {str, int, float, bool, type(None)}


def test_tasks_come_most_urgent_first_whatever_order_they_were_found_in():
    tasks = [a_task(f"x-{n}", created_at=ago(n)) for n in range(50)]
    observed = seen(*tasks, base=Unknown("?"))

    held = document.plan(plan(wanted(), observed))["epics"][0]
    status = shown(observed)

    expected = [f"x-{n}" for n in reversed(range(50))]
    assert [word["task"] for word in held["waiting"]] == expected
    assert [task["id"] for task in status["tasks"]] == expected


@given(st.text(st.characters(), max_size=40))
def test_json_is_the_same_value_and_leaves_the_terminal_alone(title):
    printed = safe.json_text({"title": title})

    assert json.loads(printed) == {"title": title}
    assert printed.replace("\n", "").isprintable()
    printed.encode()


def test_times_are_utc_and_whole_seconds():
    start = ago(0).replace(microsecond=999_999).astimezone(tz=None) + timedelta(hours=1)
    observed = working(run={"started_at": start})

    assert entry(observed)["run"]["startedAt"] == "2026-01-01T13:00:00Z"
