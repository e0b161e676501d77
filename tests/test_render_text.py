"""What people read: whole outputs, and that hostile text can do nothing to a terminal."""

from __future__ import annotations

import io
import re
import time

import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from worlds import (
    US,
    Unknown,
    a_branch,
    a_candidate,
    a_check,
    a_pull,
    a_run,
    a_task,
    a_worktree,
    ago,
    an_epic,
    seen,
    wanted,
)

from reconciler.loop.executor import Outcome
from reconciler.model.desired import Budget
from reconciler.model.errors import ChangedError, ManifestError, PermanentError, TemporaryError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Base, Failure
from reconciler.model.report import Fault, Report
from reconciler.model.values import replace
from reconciler.planning.forecast import Forecast
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.render import document, listing, planned, queue, safe, text
from reconciler.render.conditions import conditions
from reconciler.render.entry import run_record
from reconciler.render.task import ending

X = (TaskId("x"),)
HOSTILE = {
    "escape": "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "c1": "\x9b31mred\x85next",
    "bidi": "abc\u202egpj.exe\u2066\u200f",
    "lines": "one\ntwo\r\nthree\rfour\u2028five\x0bsix",
    "invisible": "a\u200bb\ufeffc\u00add\U000e0041",
    "surrogate": "half \ud83d of it",
    "markup": "[bold red]no[/] [/nothing] :smile: [link=http://x]y[/link]",
    "long": "x" * 10_000,
    "wide": "語" * 10_000,
    "combining": "e" + "\u0301" * 10_000,
    "blank": " \t ",
}


def printed(renderable, width=100, **settings):
    """What a terminal of this width shows; plain unless told otherwise."""
    file = io.StringIO()
    Console(file=file, width=width, markup=False, highlight=False, emoji=False, **settings).print(renderable)
    return file.getvalue()


def busy(**titles):
    """A manifest in the middle of its work, and one whose epic does not exist."""

    def task(id, title, **fields):
        return a_task(id, title=titles.get(id.replace("-", "_"), title), parents=X, **fields)

    ours = {"status": "in_progress", "assignee": US}
    lexer = {"description": "Digits.\n\tAnd signs.", "notes": "Mind the gap"}
    tasks = (
        a_task("x", type="epic"),
        task("x-1", "Write the grammar", status="closed", labels=["phase:merged"]),
        task("x-2", "レンダラーを書く", **ours, labels=["phase:working"]),
        task("x-3", "Teach the lexer numbers", **ours, labels=["phase:pr_created", "pr:7"], **lexer),
        task("x-4", "Check with just", **ours, labels=["phase:pr_created", "pr:8"]),
        task("x-5", "Write the parser"),
        task("x-6", "Print what was parsed", blockers=(TaskId("x-2"), TaskId("x-5"))),
        task("x-7", "Measure it", status="blocked", assignee=US, labels=["needs-human", "phase:spawned"]),
        task("x-8", "Read from a pipe", **ours, labels=["phase:spawned"]),
        *(task(f"x-9.{n}", f"Example {n}", blockers=(TaskId("x-6"),)) for n in range(1, 9)),
    )
    failed = {"code": 1, "at": ago(4)}
    alive = a_run("x-2", 2, state="running", started_at=ago(754), last_progress_at=ago(200), pid=4242)
    observed = seen(
        *tasks,
        runs={
            "x-2": (a_run("x-2", exit={"code": 1}), alive),
            "x-3": (a_run("x-3"),),
            "x-4": (a_run("x-4"),),
            "x-7": tuple(a_run("x-7", n, exit={"code": 1}) for n in (1, 2, 3)),
            "x-8": (a_run("x-8", exit=failed),),
        },
        worktrees={id: a_worktree(id) for id in ("x-2", "x-3", "x-4", "x-7", "x-8")},
        branches={id: a_branch(id) for id in ("x-3", "x-4")},
        pull_requests={"x-3": a_pull("x-3", 7), "x-4": a_pull("x-4", 8)},
        candidates={"x-3": a_candidate(), "x-4": replace(a_candidate("justfile"), tree=Sha("f4" * 20))},
        checks=(a_check("running", task="x-3"),),
    )
    epics = (an_epic(name="feature-x", epic=TaskId("x")), an_epic(name="gone", epic=TaskId("y")))
    return plan(wanted(*epics), observed), observed


# --- whole outputs -------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_done_what_waits_and_how_to_go_on():
    assert (
        printed(text.plan(busy()[0]))
        == """\
feature-x
  +  x-5      StartAgent  start agent (attempt 1)  (Ready)
  =  x-2      waits       AgentRunning: attempt 2 is running
  =  x-3      waits       ChecksRunning: checks running on the merged tree e3e3e3e3e3e3
  =  x-4      waits       ProtectedPaths: changes protected paths (justfile); its checks run only
                          after 'reconcile approve x-4'
  =  x-6      waits       Blocked: blocked by x-2, x-5
  =  x-7      waits       AgentFailed: agent failed (exit status 1); see 'reconcile describe x-7';
                          'reconcile retry x-7' tries again
  =  x-8      waits       Backoff: agent failed (exit status 1); attempt 2 is next (in 6s)
  =  8 tasks  wait        Blocked: blocked by x-6  (x-9.1, x-9.2, x-9.3, x-9.4, x-9.5, x-9.6 and 2
                          more)
  protected  justfile, Makefile, .ci/**, .github/**, .claude/**

gone
  !  EpicNotFound: no task y is in the tracker: see 'reconcile task list'

1 action, 14 waiting; run 'reconcile apply' to do this
"""
    )


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (Forecast(create=2, start=1, blocked=1), "  then       1 agent starts, 1 task is blocked\n"),
        (Forecast(create=3, start=3), "  then       3 agents start\n"),
        (Forecast(start=1, blocked=3), ""),  # the first tick has said it
    ],
)
def test_a_plan_that_makes_tasks_says_what_follows(then, said):
    shown = printed(text.plan(plan(wanted(), seen(a_task())), "reconcile apply -f x", {"all": then}))

    assert (said in shown) if said else "then" not in shown
    assert "run 'reconcile apply -f x' to do this" in shown


def test_a_status_groups_tasks_by_what_they_wait_for():
    decided, observed = busy()

    assert (
        printed(text.status(document.status(decided, observed)))
        == """\
feature-x  x  ━───────────────────  1/16 closed
  Progressing  1 action due, 1 agent running, 1 check running, 1 timer pending

Needs attention (2)
  x-4  Check with just  pr_created  attempt 1  #8 checks pending
       changes protected paths (justfile); its checks run only after 'reconcile approve x-4'
       (ProtectedPaths)
  x-7  Measure it       spawned     attempt 3
       agent failed (exit status 1); see 'reconcile describe x-7'; 'reconcile retry x-7' tries again
       (AgentFailed)

In progress (1)
  x-2  レンダラーを書く  working  attempt 2  12m34s  attempt 2 is running; quiet for 3m20s
                                                     (AgentRunning)

Pull requests (1)
  x-3  Teach the lexer numbers  pr_created  check  1m00s  #7 checks pending
       checks running on the merged tree e3e3e3e3e3e3  (ChecksRunning)

Ready (2)
  x-5  Write the parser                      next: start agent (attempt 1)  (StartAgent)
  x-8  Read from a pipe  spawned  attempt 1  agent failed (exit status 1); attempt 2 is next (in 6s)
                                             (Backoff)

Blocked (9)
  x-6    Print what was parsed  blocked by x-2, x-5  (Blocked)
  x-9.1  Example 1              blocked by x-6  (Blocked)
  x-9.2  Example 2              blocked by x-6  (Blocked)
  x-9.3  Example 3              blocked by x-6  (Blocked)
  x-9.4  Example 4              blocked by x-6  (Blocked)
  x-9.5  Example 5              blocked by x-6  (Blocked)
  x-9.6  Example 6              blocked by x-6  (Blocked)
  x-9.7  Example 7              blocked by x-6  (Blocked)
  x-9.8  Example 8              blocked by x-6  (Blocked)

Worktrees (5 in ../worktrees)  x-2, x-3, x-4, x-7, x-8

gone  ────────────────────  0/0 closed
  Degraded (EpicNotFound)  no task y is in the tracker: see 'reconcile task list'

"""
    )


def test_a_narrow_status_says_why_below_the_task():
    decided, observed = busy()

    assert (
        printed(text.status(document.status(decided, observed)), 60)
        == """\
feature-x  x  ━───────────────────  1/16 closed
  Progressing  1 action due, 1 agent running, 1 check
               running, 1 timer pending

Needs attention (2)
  x-4  Check wi…  pr_created  attempt 1  #8 checks pending
       changes protected paths (justfile); its checks run
       only after 'reconcile approve x-4'  (ProtectedPaths)
  x-7  Measure …  spawned     attempt 3
       agent failed (exit status 1); see 'reconcile describe
       x-7'; 'reconcile retry x-7' tries again
       (AgentFailed)

In progress (1)
  x-2  レンダラーを書く  working  attempt 2  12m34s
       attempt 2 is running; quiet for 3m20s  (AgentRunning)

Pull requests (1)
  x-3  Teach t…  pr_created  check  1m00s  #7 checks pending
       checks running on the merged tree e3e3e3e3e3e3
       (ChecksRunning)

Ready (2)
  x-5  Write the parser
       next: start agent (attempt 1)  (StartAgent)
  x-8  Read from a pipe  spawned  attempt 1
       agent failed (exit status 1); attempt 2 is next (in
       6s)  (Backoff)

Blocked (9)
  x-6    Print what was par…  blocked by x-2, x-5  (Blocked)
  x-9.1  Example 1            blocked by x-6  (Blocked)
  x-9.2  Example 2            blocked by x-6  (Blocked)
  x-9.3  Example 3            blocked by x-6  (Blocked)
  x-9.4  Example 4            blocked by x-6  (Blocked)
  x-9.5  Example 5            blocked by x-6  (Blocked)
  x-9.6  Example 6            blocked by x-6  (Blocked)
  x-9.7  Example 7            blocked by x-6  (Blocked)
  x-9.8  Example 8            blocked by x-6  (Blocked)

Worktrees (5 in ../worktrees)  x-2, x-3, x-4, x-7, x-8

gone  ────────────────────  0/0 closed
  Degraded (EpicNotFound)
                           no task y is in the tracker: see
                           'reconcile task list'

"""
    )


def test_a_description_holds_the_text_the_runs_and_the_history():
    decided, observed = busy()
    failed = {"at": "2026-01-01T11:59:30.123456Z", "event": "ActionFailed", "task": "x-3", "action": "Land"}
    events = [
        {
            "at": "2026-01-01T11:58:00.000000Z",
            "event": "Waiting",
            "task": "x-3",
            "reason": "Blocked",
            "message": "by x-1",
        },
        {**failed, "message": "land #7", "error": {"message": "its head moved"}},
        {"at": "2026-01-01T11:59:40.000000Z", "event": "Noted", "task": "x-3", "took_s": 1.2},
    ]

    shown = document.describe(TaskId("x-3"), decided, observed, events)

    assert (
        printed(text.describe(shown))
        == """\
x-3  Teach the lexer numbers
  manifest      feature-x
  status        in_progress, phase pr_created
  waits         checks running on the merged tree e3e3e3e3e3e3  (ChecksRunning)
  priority      2
  assignee      reconcile@localhost
  labels        phase:pr_created, pr:7
  worktree      ../worktrees/x-3
  branch        agent/x-3
  pull request  #7 checks pending  open, head c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1

Description
  Digits.
      And signs.

Notes
  Mind the gap

Runs
  RUN                            STATE    TRY  STARTED    BECAUSE  TOOK   ENDED
  work/x-3/1                     ended    1    2m00s ago  Ready    1m00s  exit status 0
  check/e3e3e3e3e3e3-01709241/1  running       1m00s ago  Ready

Events
  2026-01-01 11:58:00  Waiting       Blocked: by x-1
  2026-01-01 11:59:30  ActionFailed  Land: land #7; its head moved
  2026-01-01 11:59:40  Noted         took_s=1.2
"""
    )


def test_a_wait_that_several_commands_noted_is_shown_once_and_stays_in_the_document():
    decided, observed = busy()
    wait = {"event": "Waiting", "task": "x-3", "reason": "Blocked", "message": "by x-1"}
    noted = {"event": "Noted", "task": "x-3", "took_s": 1.2}
    events = [
        {**each, "at": f"2026-01-01T11:58:{n:02}Z"}
        for n, each in enumerate((wait, wait, {**wait, "message": "by x-2"}, wait, noted, noted, wait))
    ]

    shown = document.describe(TaskId("x-3"), decided, observed, events)

    assert shown["events"] == events
    assert (
        printed(text.describe(shown)).partition("Events\n")[2]
        == """\
  2026-01-01 11:58:00  Waiting  Blocked: by x-1
  2026-01-01 11:58:02  Waiting  Blocked: by x-2
  2026-01-01 11:58:03  Waiting  Blocked: by x-1
  2026-01-01 11:58:04  Noted    took_s=1.2
  2026-01-01 11:58:05  Noted    took_s=1.2
  2026-01-01 11:58:06  Waiting  Blocked: by x-1
"""
    )


def test_times_in_tables_are_those_of_the_readers_clock(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        events = listing.events([{"at": "2026-01-01T02:00:00.123456Z", "event": "Noted", "task": "x-1"}])
        place = {"base": "main", "number": 1, "task": "x-1", "state": "testing", "with": [], "message": ""}
        line = queue.table([{**place, "expectedAt": "2026-01-01T12:34:00Z"}])

        assert "2025-12-31 21:00:00" in printed(events)
        assert "  07:34  " in printed(line)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_why_a_change_waits_in_line_is_whole_on_a_usual_terminal():
    why = "waiting for approval of 60dfdda6be60; approve with 'reconcile approve app-ykhdv5'"
    place = {"base": "main", "number": 1, "task": "app-ykhdv5", "state": "ready", "with": [], "message": why}

    shown = printed(queue.table([{**place, "expectedAt": None}]), width=80)

    assert " ".join(shown.split()).endswith(why) and "app-ykhdv5  ready" in shown


def test_the_id_of_a_run_is_whole_on_a_usual_terminal():
    decided, observed = busy()
    shown = document.describe(TaskId("x-3"), decided, observed, [])
    shown["runs"][-1] |= {"why": "ChecksPending", "state": "running on a-node"}

    assert f"  {shown['runs'][-1]['id']}  " in printed(text.describe(shown), width=80)


@pytest.mark.parametrize("fault", Fault)
def test_a_run_whose_agent_says_what_went_wrong_is_shown_with_its_word(fault: Fault) -> None:
    run = a_run("x-1", exit={"code": 1}, report=Report(done=False, fault=fault, message="so it goes"))
    row = run_record(run) | {"task": "x-1", "kind": "work", "pid": None}

    assert f"exit status 1, {fault}: so it goes" in printed(listing.runs([row], worlds.NOW), width=200)
    assert ending(row["exit"], row["report"]) == f"exit status 1, {fault}: so it goes"


def test_a_run_that_slurm_ended_at_its_limit_says_so_and_not_by_which_signal():
    run = a_run("x-1", exit={"cause": "stopped", "stop": "engine-limit"}, where="slurm:n1")
    row = run_record(run) | {"task": "x-1", "kind": "work", "pid": None}

    assert "Slurm's time limit" in printed(listing.runs([row], worlds.NOW), width=200)


def test_where_a_run_is_has_a_column_only_where_one_is_on_another_machine():
    here, far = a_run("x-1", state="running", pid=77), a_run("x-2", state="running", pid=None, where="slurm:n1")
    rows = [run_record(run) | {"task": run.task, "kind": "work", "pid": run.pid} for run in (here, far)]

    heading, first, second = printed(listing.runs(rows, worlds.NOW), width=200).splitlines()[:3]
    assert heading.split() == ["TASK", "RUN", "STATE", "WHERE", "PID", "STARTED", "TOOK", "COST", "ENDED"]
    assert first.split("running")[1].split()[:2] == ["-", "77"]
    assert second.split("running")[1].split()[:2] == ["slurm:n1", "-"]
    assert "WHERE" not in printed(listing.runs(rows[:1], worlds.NOW), width=200)
    took = [row.partition(" ago")[2].split()[0] for row in (first, second)]
    assert took[0] == took[1] != "-"


def test_a_description_says_once_what_is_done_next():
    ready = seen(a_task())

    shown = printed(text.describe(document.describe(TaskId("x-1"), plan(wanted(an_epic()), ready), ready)))

    assert re.search(r"^  next +start agent \(attempt 1\)  \(StartAgent\)$", shown, re.MULTILINE)


def test_what_a_whole_manifest_waits_for_is_said_once():
    ids = ("x-1", "x-2", "x-3")
    failed = {TaskId(id): (a_run(id, started_at=ago(64), exit={"code": 1}),) for id in ids}
    tasks = [a_task(id, status="in_progress", assignee=US, labels=["phase:working"]) for id in ids]
    broken = seen(*tasks, runs=failed)
    decided = plan(wanted(), broken)

    shown = printed(text.status(document.status(decided, broken)))
    assert (shown.count("fix the agent's command"), shown.count("(AgentBroken)")) == (1, 4)
    assert list(planned.attention(decided)) == []


def test_what_did_not_answer_about_a_task_is_said_where_nothing_moves():
    offered = seen(
        a_task(status="in_progress", assignee=US, labels=["phase:pr_created", "pr:7"]),
        runs={TaskId("x-1"): (a_run(),)},
        worktrees={TaskId("x-1"): a_worktree()},
        branches={TaskId("x-1"): a_branch()},
        pull_requests={TaskId("x-1"): a_pull()},
        candidates={TaskId("x-1"): Unknown("git merge-tree did not end within 120 s")},
    )

    (line,) = planned.attention(plan(wanted(), offered))

    assert line.startswith("x-1  waits  Unknown: ") and "did not end within 120 s" in line


def test_a_manifest_that_converged_without_the_work_of_a_task_says_so():
    observed = seen(a_task(status="closed"), branches={TaskId("x-1"): a_branch()})
    (epic,) = document.status(plan(wanted(), observed), observed)["epics"]
    told = next(each["message"] for each in epic["conditions"] if each["type"] == "Converged")
    assert told.endswith("everything matches the manifest, but the work of 1 closed task is not on main")


@pytest.mark.parametrize(
    ("observed", "specs", "said"),
    [
        (seen(), (), "No manifest is applied; run 'reconcile apply -f FILE'"),
        (seen(a_task(status="closed")), (an_epic(),), "Up to date: everything matches the manifest."),
        (
            seen(a_task(status="closed"), branches={TaskId("x-1"): a_branch()}),
            (an_epic(),),
            "Up to date, but for 1 closed task the work is not on the base; see 'reconcile status'.",
        ),
        (seen(a_task(assignee="ann")), (an_epic(),), "1 task needs attention."),
        (
            seen(tasks=Unknown("locked")),
            (an_epic(),),
            "Can't act on 'all': its tasks can't be read: locked.",
        ),
        (
            seen(
                a_task(status="in_progress", assignee=US, labels=["phase:working"]),
                a_task("x-2", blockers=(TaskId("x-1"),)),
                a_task("x-3", assignee="ann"),
                runs={TaskId("x-1"): (a_run(state="running"),)},
                worktrees={TaskId("x-1"): a_worktree()},
            ),
            (an_epic(),),
            "1 agent running, 1 task blocked, 1 task needs attention. 'reconcile watch' carries on.",
        ),
        (
            seen(
                a_task(status="in_progress", assignee=US, labels=["phase:working"]),
                runs={TaskId("x-1"): (a_run(state="running"),)},
                worktrees={TaskId("x-1"): a_worktree()},
            ),
            (an_epic(suspend=True),),
            "1 task needs attention. 'all' is suspended: 'reconcile resume all' carries on.",
        ),
        (seen(a_task(), runs=Unknown("no answer")), (an_epic(),), "Can't read runs: no answer. 1 task waiting."),
        (seen(a_task()), (an_epic(),), "1 action; run 'reconcile apply' to do this"),
        (
            seen(a_task(), a_task("x-2", blockers=(TaskId("x-1"),))),
            (an_epic(),),
            "1 action, 1 waiting; run 'reconcile apply' to do this",
        ),
    ],
)
def test_the_last_line_says_how_much_there_is_to_do(observed, specs, said):
    decided = replace(plan(wanted(*(specs or ())), observed)) if specs else Plan()

    assert printed(text.plan(decided)).splitlines()[-1] == said


def test_the_last_line_names_what_fails_of_the_manifest_itself():
    failed = Failure(
        action="CloseEpic",
        message='x: assignee is "bob"',
        since=ago(60),
        at=ago(60),
        until=ago(-600),
        manifest="all",
        permanent=True,
    )
    decided = plan(
        wanted(an_epic(epic="x-9")),
        seen(
            a_task("x-9", type="epic"),
            a_task(parents=(TaskId("x-9"),), status="closed"),
            failures={TaskId("all"): failed},
        ),
    )
    decided = replace(decided, epics=tuple(replace(epic, actions=(), waiting={}) for epic in decided.epics))

    assert printed(text.plan(decided)).splitlines()[-1].startswith("CloseEpic has failed since")


def test_a_silent_source_and_a_held_manifest_are_in_the_plan_each_said_once():
    logged_out = "not logged in"
    silent = {"runs": Unknown("no answer in 10 s"), "pull_requests": Unknown(logged_out)}
    observed = seen(a_task(), a_task("x-2"), forges={"all": logged_out}, **silent)

    assert printed(text.plan(plan(wanted(), observed))) == (
        "all\n"
        "  !  ForgeUnavailable: not logged in\n"
        "  ?  runs  unread  no answer in 10 s\n"
        "\n"
        "Can't act on 'all': not logged in.\n"
    )


def test_tasks_that_can_not_be_read_are_said_to_be_unknown_and_what_runs_is_listed():
    observed = seen(tasks=Unknown("locked"), runs={TaskId("x-1"): (worlds.a_run(state="running"),)})

    assert printed(text.status(document.status(plan(wanted(), observed), observed))) == (
        "all  tasks unknown\n"
        "  Degraded (TrackerUnavailable)  its tasks can't be read: locked\n"
        "  Progressing                    1 agent running\n"
        "\n"
        "In progress (1)\n"
        "  x-1  attempt 1  2m00s  attempt 1 is running; its task can't be read  (AgentRunning)\n"
        "\n"
    )


def test_a_status_without_manifests_says_how_to_record_one():
    said = printed(text.status(document.status(Plan(), seen())))

    assert said == "No manifest is applied; run 'reconcile apply -f FILE'\n"


def test_what_holds_a_whole_manifest_is_said_once_and_its_tasks_are_not_laid_at_a_persons_door():
    observed = seen(a_task(), a_task("x-2", assignee="ann"))
    decided = plan(wanted(an_epic(suspend=True)), observed)

    assert printed(text.status(document.status(decided, observed))) == (
        "all  ────────────────────  0/2 closed\n"
        "  Suspended  nothing is done until 'reconcile resume all'\n"
        "\n"
        "Blocked (2)\n"
        "  x-1  x-1  the manifest is suspended  (Suspended)\n"
        "  x-2  x-2  the manifest is suspended  (Suspended)\n"
        "\n"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "start agent (attempt 1)"),
        (TemporaryError("rate limited", delay=300), "not now: rate limited  (tried again in 5m00s)"),
        (TemporaryError("locked", hint="end the other one"), "not now: locked  (hint: end the other one)"),
        (ChangedError("its head moved"), "not done: its head moved  (it is looked at again at once)"),
        (PermanentError("no\nprogram", hint="install it"), "failed: no program  (hint: install it)"),
    ],
)
def test_an_outcome_is_one_line(error, said):
    (action,) = plan(wanted(), seen(a_task())).actions

    assert text.outcome(Outcome(action=action, error=error)) == f"x-1  StartAgent  {said}"


def test_an_error_keeps_its_lines_and_says_what_to_do():
    error = ManifestError("a.yaml:1:2: no\na.yaml:3:4: \x1bno", hint="fix it")

    assert text.error(error) == "a.yaml:1:2: no\na.yaml:3:4: \\x1bno\n  hint: fix it"


def test_many_tasks_that_wait_for_the_same_share_a_line():
    tasks = [a_task(f"x-{n}", assignee="ann", created_at=ago(-n)) for n in range(9)]

    said = printed(text.plan(plan(wanted(), seen(*tasks)))).splitlines()

    assert (
        said[1] == "  =  9 tasks  wait  AssignedElsewhere: assigned to ann  (x-0, x-1, x-2, x-3, x-4, x-5 and 3 more)"
    )


# --- hostile text ----------------------------------------------------------------------------------------------


def hostile(title):
    """Everything that shows a task called so, by an agent and a person who say so, too."""
    decided, observed = busy(x_2=title, x_3=title, x_5=title, x_6=title, x_7=title)
    unusable = a_task(title, title=title, parents=X, assignee=title, description=title, notes=title, labels=[title])
    rejected = a_pull("x-4", 8, rejection=worlds.Rejection(head=worlds.HEAD, text=title), url=title)
    observed = replace(
        observed,
        tasks={**observed.tasks, unusable.id: unusable},
        pull_requests={**observed.pull_requests, "x-4": rejected},
        worktrees=Unknown(title) if title == HOSTILE["lines"] else observed.worktrees,
        forges={"gone": title},
    )
    decided = plan(wanted(*(epic.spec for epic in decided.epics)), observed)
    events = [{"at": title, "event": title, "message": title, "action": title}, {title: title}]
    status = document.status(decided, observed)
    yield text.plan(decided)
    yield text.status(status)
    for task in (unusable.id, TaskId("x-3"), TaskId("x-4")):
        yield text.describe(document.describe(task, decided, observed, events))


def lines(renderable, width):
    """The lines of the output as a terminal would break them, and nothing but them."""
    said = printed(renderable, width)
    assert said.endswith("\n")
    return said.removesuffix("\n").split("\n")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_reaches_no_terminal_and_breaks_no_line(name, width):
    for renderable in hostile(HOSTILE[name]):
        found = lines(renderable, width)

        assert all(line.isprintable() for line in found)
        assert max(map(cell_len, found)) <= width
        "\n".join(found).encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_row_is_a_row_whatever_its_title_says(name):
    decided, observed = busy(x_6=HOSTILE[name])

    said = lines(text.status(document.status(decided, observed)), 120)

    (row,) = (line for line in said if line.startswith("  x-6 "))
    assert row.endswith("blocked by x-2, x-5  (Blocked)")


def test_colours_come_from_us_alone():
    decided, observed = busy(x_5=HOSTILE["escape"], x_6=HOSTILE["markup"])

    said = printed(text.status(document.status(decided, observed)), color_system="standard", force_terminal=True)

    assert set(re.findall(r"\x1b[^m]*m?", said)) <= {f"\x1b[{code}m" for code in _CODES}
    assert "[bold red]no[/] [/nothing] :smile:" in said


_CODES = ("0", "1", "2", "1;31", "1;36", "1;35", "1;32", "1;33", "31", "32", "33", "35", "36")


@given(st.text(st.characters(), max_size=60))
def test_a_safe_line_is_one_printable_line(text_of_somebody):
    found = safe.line(text_of_somebody)

    assert found.isprintable()
    assert len(found) <= safe.LINE_MAX


@given(st.text(st.characters(), max_size=60))
def test_a_safe_block_keeps_its_lines_and_nothing_else_that_moves(text_of_somebody):
    found = safe.block(text_of_somebody)

    assert found.replace("\n", "").isprintable()
    assert found.count("\n") == text_of_somebody.count("\n")


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=60))
def test_what_is_harmless_stays_as_it_is(text_of_somebody):
    assert safe.line(text_of_somebody) == text_of_somebody
    assert safe.block(text_of_somebody) == text_of_somebody


def test_a_cause_of_many_words_leaves_what_to_do_about_it_in_sight() -> None:
    shown = safe.line(f"the filter fails here: {'external filter failed; ' * 50}; fix its settings")

    assert len(shown) == safe.LINE_MAX
    assert shown.startswith("the filter fails here: ") and shown.endswith("; fix its settings")


def test_what_is_cut_says_so():
    assert safe.line("a" * 500, 300) == "a" * 299 + "…"
    assert safe.line("a" * 5000) == "a" * 279 + "…" + "a" * 120
    assert safe.line("\n" * 5000) == "…"
    assert safe.block("a" * 30_000).endswith("\n… 10000 more characters")


# --- where it is printed ---------------------------------------------------------------------------------------


def test_a_pipe_gets_plain_uncut_lines(capsys):
    decided, observed = busy(x_5="t" * 70)

    text.console().print(text.status(document.status(decided, observed)))

    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert re.search(r"x-5 +t{70} +next: start agent \(attempt 1\)  \(StartAgent\)\n", said)


def test_no_color_is_plain_on_a_terminal_too(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    text.console(no_color=True).print(text.plan(busy()[0]))
    plain = capsys.readouterr().out
    text.console().print(text.plan(busy()[0]))

    assert "\x1b" not in plain
    assert "\x1b" in capsys.readouterr().out


def test_what_is_wrong_with_a_manifest_is_said_once_and_a_source_only_where_nothing_tells_of_it() -> None:
    why = "not logged in"
    silent = {"runs": Unknown("no answer in 10 s"), "pull_requests": Unknown(why)}

    (epic,) = plan(wanted(), seen(a_task(), forges={"all": why}, **silent)).epics

    assert text.troubles(epic) == {
        "ForgeUnavailable": "all: ForgeUnavailable: not logged in",
        "runs": "all: can't read runs: no answer in 10 s",
    }
    assert text.troubles(plan(wanted(), seen(a_task())).epics[0]) == {}


@pytest.mark.parametrize(
    ("tokens", "stage", "words"),
    [
        (10, "", ""),
        (80, "low", "80 of 100 tokens are used"),
        (120, "spent", "no other starts until the budget is raised"),
    ],
)
def test_a_budget_is_said_to_run_low_and_then_to_be_spent(tokens, stage, words):
    run = a_run(agent="codex", report=Report(done=True, tokens=tokens))
    spec = an_epic(budget=Budget(tokens=100))

    said = text.budget(plan(wanted(spec), seen(a_task(), runs={TaskId("x-1"): (run,)})).epics[0])

    assert said[0] == stage
    assert words in said[1]


THE_BASE = Base(name="main", head=Sha("b" * 40))
USED = a_run(agent="codex", report=Report(done=True, tokens=80))


@pytest.mark.parametrize(
    ("given_of_it", "world"),
    [
        ({"invalid": "its file can't be read"}, {}),
        ({"budget": Budget(tokens=100)}, {"runs": {TaskId("x-1"): (USED,)}}),
        ({}, {"base": replace(THE_BASE, fetched="origin/main")}),
        ({}, {"base": replace(THE_BASE, diverged="both sides went on")}),
        ({}, {"base": replace(THE_BASE, frozen="another tree landed")}),
        ({}, {"base": replace(THE_BASE, encoded="a filter is missing")}),
        ({}, {"unwritable": {"all": "the disk is full"}}),
        ({}, {"unaskable": {"all": "no such check"}}),
        ({}, {"agents_missing": {"all": "no such program"}}),
        ({}, {"trackers": {"all": "another one"}}),
    ],
)
@pytest.mark.parametrize("tasks", [(), (a_task(),)], ids=["none yet", "one"])
def test_a_plan_names_every_condition_under_which_a_status_says_that_something_is_wrong(tasks, given_of_it, world):
    (epic,) = (decided := plan(wanted(an_epic(**given_of_it)), seen(*tasks, **world))).epics
    wrong = [
        each
        for each in conditions(epic, {}, worlds.NOW)
        if each["status"] == "True" and each["type"] in ("Degraded", "BudgetLow")
    ]

    shown = printed(text.plan(decided), width=1000)

    assert wrong
    assert all(f"!  {each['reason']}: {each['message']}\n" in shown for each in wrong), shown


def test_how_a_service_stands_is_told_by_one_look_at_each_task():
    looks = []

    class Counted(tuple):
        def __iter__(self):
            looks.append(len(self))
            return super().__iter__()

    tasks = {id: a_task(id) for id in map("x-{}".format, range(50))}
    tasks |= {"x-50": a_task("x-50", status="blocked", labels=frozenset({"needs-human"}))}
    decided = plan(wanted(an_epic(max_agents=0)), seen(tasks=tasks))
    counted = Plan(epics=tuple(replace(epic, jobs=Counted(epic.jobs)) for epic in decided.epics))

    assert planned.in_short(counted) == planned.in_short(decided) == "0 agents running, 1 task needs a person"
    assert sum(looks) <= 3 * 51
