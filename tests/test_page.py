"""What the page is made of: the acts that there are, and what changes from one look to the next."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from reconciler.cli import COMMANDS
from reconciler.cli.facts import landings
from reconciler.cli.top import lines
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Cause, Exit, Run, RunState, StopWhy
from reconciler.render.acts import ACTS, Click, asked, of_task
from reconciler.render.board import column_of
from reconciler.render.details import Details
from reconciler.render.entry import run_record
from reconciler.render.page import repositories, task, timeline, tree
from reconciler.render.page.layout import Block, View, flat, html, patch
from reconciler.render.page.overview import Overview
from reconciler.render.page.pieces import Viewer, pull, task_link
from reconciler.render.page.repositories import RepositoryRow

HEAD = "0123456789" * 4
AT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("name", ACTS)
def test_every_act_is_a_command(name: str) -> None:
    assert name in COMMANDS


@pytest.mark.parametrize("name", ACTS)
def test_what_a_button_says_is_read_as_it_was_meant(name: str) -> None:
    for click in (Click(name=name, subject="x-1"), Click(name=name, subject="x-1", head=HEAD, sure=True)):
        assert asked(str(click)) == click


@pytest.mark.parametrize(
    "said",
    [
        "",
        "delete x-1",
        "approve",
        "approve --all",
        "approve -x",
        "approve x/../y",
        "approve x-1 --close",
        f"approve x-1 {HEAD[:-1]}",
        f"approve x-1 {HEAD} sure more",
        "approve  x-1",
        "suspend ../x",
        "suspend UPPER",
        "approve x-1\nsure",
    ],
)
def test_nothing_else_is_understood(said: str) -> None:
    with pytest.raises(ValueError, match="no such"):
        asked(said)


def test_what_a_person_wrote_never_becomes_an_option() -> None:
    argv = Click(name="reject", subject="x-1", head=HEAD, sure=True).argv("--close")
    assert argv == ["reject", f"--head={HEAD}", "--message=--close", "--", "x-1"]


def test_what_an_act_does_can_be_copied() -> None:
    assert Click(name="approve", subject="x-1", head=HEAD).command() == "reconcile approve x-1"
    assert Click(name="reject", subject="x-1").command() == "reconcile reject x-1 -m TEXT"
    assert Click(name="merge", subject="", sure=True).command() == "reconcile merge --no-wait"


def test_a_title_is_text() -> None:
    link = html(task_link('x"><script>', '<script>"\u202e\x1b[31m'))
    assert "<script" not in link and "\u202e" not in link and "\x1b" not in link
    assert link.startswith('<a href="/task/x%22%3E%3Cscript%3E">&lt;script&gt;')


def shown(**items: str) -> View:
    return View(title="x", blocks=[Block(id="b", head=f"{len(items)} things", items=items)])


def test_an_open_page_gets_no_more_than_what_has_changed() -> None:
    before = flat(shown(a="<p>1</p>", b="<p>2</p>"))
    assert patch(before, before) == {}
    assert patch(before, flat(shown(a="<p>1</p>", b="<p>3</p>"))) == {"items": {"b": "<p>3</p>"}}
    assert patch(before, flat(shown(b="<p>2</p>", a="<p>1</p>"))) == {"lists": {"b-items": ["b", "a"]}}
    assert patch(before, flat(shown(a="<p>1</p>"))) == {"heads": {"b-head": "1 things"}, "lists": {"b-items": ["a"]}}


def run(kind: str, state: str = "running", **more: Any) -> dict[str, Any]:
    """A run that is alive, as an entry has it."""
    known = {"kind": kind, "attempt": 1, "state": state, "startedAt": AT, "lastProgressAt": None}
    return {**known, **more}


def entry(pull: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A task as `status` has it; with an open pull request of which `pull` is known."""
    risk = {"level": "normal", "reasons": ["changes src/a.py"], "review": "agent", "reviewer": None}
    offered = {"number": 3, "url": None, "state": "open", "head": HEAD, "checks": "passed", "review": "required"}
    known: dict[str, Any] = {"id": "x-1", "key": None, "title": "Do x", "status": "in_progress", "phase": None}
    known |= {"group": "review", "run": None, "worktree": None, "branch": "agent/x-1", "waiting": None, "failing": None}
    known |= {"pullRequest": {**offered, "approvedBy": [], "risk": risk, **(pull or {})}}
    return {**known, "spend": {"usd": 0.0, "tokens": 0, "untold": 0}, **more}


def reviewed(verdict: dict[str, Any] | None, ended: str | None) -> dict[str, Any]:
    """A review, as `describe` has it."""
    known = {"id": "review/x-1/1", "state": "ended" if ended else "running", "attempt": None, "why": "ReviewDue"}
    return {**known, "startedAt": AT, "endedAt": ended, "exit": None, "report": None, "verdict": verdict}


def page_of(entry: dict[str, Any], **found: Any) -> str:
    view = task.view(entry, "work", (), Details(**found), Viewer())
    return "".join(html(block.head) for block in view.blocks)


def test_a_task_shows_what_its_reviewers_said() -> None:
    comment = {"path": "src/a.py", "line": 7, "body": "<b>not</b> so", "inDiff": True}
    beside = {"path": "src/b.py", "line": 9, "body": "neither", "inDiff": False}
    no = {"verdict": "request_changes", "summary": "too hasty", "risk": None, "comments": [comment, beside]}
    runs = [reviewed(no, AT), reviewed(None, AT), reviewed(None, None)]

    void = {"notCounted": {"review/x-1/1": "ann dismissed it"}}
    shown = page_of(entry({"approvedBy": ["agent"], **void}), runs=runs)

    for words in ("asks for changes", "too hasty", "src/a.py:7", "&lt;b&gt;not&lt;/b&gt; so", "no verdict", "reading"):
        assert words in shown
    assert "normal (changes src/a.py); its reviewer is asked" in shown and "normal risk" in shown
    assert "Approved by</dt><dd>its reviewer" in shown
    assert "src/a.py:7</code>" in shown and "src/b.py:9 (outside the diff)</code>" in shown
    assert shown.count("does not count: ann dismissed it") == 3 and "does not count" not in page_of(entry(), runs=runs)
    assert "Reviews" not in page_of(entry())


def test_what_a_run_printed_stays_on_an_open_page_when_it_ends() -> None:
    work = {**reviewed(None, None), "id": "work/x-1/1", "attempt": 1}
    before, after = (
        flat(task.view(entry(), "work", (), Details(runs=[each], log="work/x-1/1"), Viewer()))
        for each in (work, {**work, "state": "ended", "endedAt": AT})
    )
    change = patch(before, after)
    assert "live" in before.heads["b-log-head"] and "live" not in change["heads"]["b-log-head"]
    assert not any("<pre id" in text for text in (*change["heads"].values(), *change.get("items", {}).values()))


def test_words_about_a_pull_request_are_apart() -> None:
    told = html(pull(entry({"checks": "pending", "review": "rejected"})))
    assert ">#3</span> <" in told and ">checks pending</span> <" in told
    assert "</span><" not in told


def test_what_time_alone_may_change_waits_for_a_timer_and_for_no_person() -> None:
    word = {"reason": "AgentBroken", "message": "it failed"}
    assert "waits for a person" in page_of(entry({"state": "closed"}, waiting=word))
    assert "waits for a timer" in page_of(entry({"state": "closed"}, waiting=word | {"until": AT}))


def test_what_is_read_by_a_reviewer_is_not_about_to_land() -> None:
    assert column_of(entry(run=run("review"))) == column_of(entry(run=run("check"))) == "checking"
    assert column_of(entry()) == column_of(entry(run=run("check", "ended"))) == "landing"


def test_a_task_without_a_branch_says_what_became_of_it() -> None:
    assert "There is no branch yet" in page_of(entry())
    assert "Its branch is gone: merged as #3." in page_of(entry({"state": "merged"}, status="closed"))
    assert "Its branch is gone: closed with #3." in page_of(entry({"state": "closed"}))
    assert "There is no branch any more" in page_of(entry(status="closed") | {"pullRequest": None})


def part_of(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": {
            "counts": {"tasks": len(tasks), "closed": 0},
            "tasks": list(tasks),
            "conditions": [{"type": "Converged", "status": "True", "reason": "Converged", "message": ""}],
            "spend": {"usd": 0.0, "tokens": 0, "untold": 0},
            "withheld": [],
        },
        "spec": {"base": "main", "suspended": False, "mode": "auto", "maxAgents": 1, "budget": {"usd": None}},
        "plan": {},
        "closedAt": {},
    }


def overview_of(part: dict[str, Any]) -> View:
    rest = {"unmanaged": [], "queue": [], "bases": {}, "forge": None, "done": []}
    return Overview(viewer=Viewer()).view({"work": part}, rest, {})


def bar_of(*tasks: dict[str, Any], part: dict[str, Any] | None = None) -> str:
    shown = overview_of(part or part_of(*tasks))
    return next(block.items["m-work"] for block in shown.blocks if block.id == "b-manifests")


def test_what_needs_a_person_has_one_colour_in_the_bar_and_in_its_column() -> None:
    asks = {"reason": "AwaitingApproval", "message": "waiting for approval"}
    shown = bar_of(entry(waiting=asks), entry(group="closed", status="closed"))
    assert '<rect class="done" x="0.00%" width="50.00%"' in shown
    assert '<rect class="needs" x="50.00%" width="50.00%"' in shown


def test_where_no_agent_said_what_it_cost_the_page_does_not_say_that_it_cost_nothing() -> None:
    assert "<dt>Cost</dt><dd>none reported</dd>" in bar_of()


def test_of_a_budget_it_is_said_what_is_used_and_beside_it_the_tokens() -> None:
    part = part_of()
    part["spec"]["budget"] = {"usd": 10.0, "warnAt": 0.8}
    assert "none reported of $10.00<" in bar_of(part=part)
    part["status"]["spend"] = {"usd": 8.0, "tokens": 15_000, "untold": 1}
    assert "at least $8.00 of $10.00, 15k tokens<" in bar_of(part=part)


def test_a_manifest_that_is_degraded_is_seen_at_a_glance_though_no_task_needs_anybody() -> None:
    well, ill = part_of(), part_of()
    wrong = {"type": "Degraded", "status": "True", "reason": "CheckBroken", "message": "main fails"}
    ill["status"]["conditions"] = [*ill["status"]["conditions"], wrong]

    assert overview_of(ill).title == "(1) need you" and overview_of(well).title == "0 working"
    assert '<a class="chip needs" href="#m-work"><b>1</b> Degraded</a>' in html(overview_of(ill).blocks[0].head)

    rows = [
        RepositoryRow(key=name, path=f"/{name}", at=AT, manifests={"work": p})
        for name, p in zip("ab", (well, ill), strict=True)
    ]
    shown = repositories.view(rows)
    assert shown.title == "(1) need you" and list(shown.blocks[0].items) == ["r-b", "r-a"]
    assert 'href="/r/b/#m-work"><b>1</b> Degraded</a>' in shown.blocks[0].items["r-b"]


def test_the_timeline_says_what_its_colours_mean() -> None:
    now = datetime.fromisoformat(AT)
    head = html(timeline.view([{**reviewed(None, AT), "task": "x-1"}], {}, {"x-1": AT}, "", "", now).blocks[0].head)
    assert all(f'class="key {kind}"' in head for kind in ("work", "check", "review", "bad", "limit", "landed"))


@pytest.mark.parametrize(
    ("stop", "shown", "colour"),
    [
        ("person", "stopped", "work"),
        ("closed", "stopped", "work"),
        ("done", "ended well", "work good"),
        ("budget", "budget spent", "limit"),
        ("stuck", "stopped", "work bad"),
    ],
)
def test_what_was_stopped_as_somebody_wanted_it_did_not_end_badly(stop: str, shown: str, colour: str) -> None:
    ended = Exit(cause=Cause.STOPPED, at=datetime.fromisoformat(AT), stop=StopWhy(stop))
    attempt = Run(
        id=RunId(RunKind.WORK, "x-1", 1),
        task=TaskId("x-1"),
        manifest="work",
        state=RunState.ENDED,
        started_at=ended.at,
        exit=ended,
    )
    record = {**run_record(attempt), "task": "x-1"}
    row = timeline.view([record], {}, {}, "", "", ended.at).blocks[0].items["r-x-1"]
    assert f'<rect class="{colour}"' in row and f"attempt 1: {shown}," in row


@pytest.mark.parametrize("hours", [float(each) for each in timeline.SPANS])
def test_the_timeline_is_read_off_round_times(hours: float) -> None:
    now = datetime.fromisoformat("2026-01-01T13:37:11+05:30")
    found = timeline.ticks(now - timedelta(hours=hours), now)
    steps = {later - at for at, later in pairwise(found)}
    assert 2 <= len(found) <= timeline.TICKS_MAX and len(steps) == 1 and found[-1] <= now
    assert all(each.second == 0 and each.minute % min(max(steps).seconds // 60 or 60, 60) == 0 for each in found)


def test_a_change_of_a_suspended_manifest_is_not_about_to_land() -> None:
    held = {"reason": "Suspended", "message": "nothing is done"}
    assert (
        column_of(entry(waiting=held)) == "waiting" and column_of(entry(waiting=held, run=run("check"))) == "checking"
    )


def test_a_button_asks_for_a_click_only_where_somebody_waits_for_it() -> None:
    asks = {"reason": "AwaitingApproval", "message": "waiting for approval"}
    filled, plain = (f'<button class="{kind}" form="act" name="do" value="approve' for kind in ("act go", "act"))
    assert filled in page_of(entry(waiting=asks)) and plain not in page_of(entry(waiting=asks))
    assert filled not in page_of(entry()) and plain in page_of(entry())

    failed = page_of(entry({"checks": "failed"}, group="needsHuman", waiting={"reason": "ChecksFailed", "message": ""}))
    assert plain in failed and '<button class="act go" form="act" name="do" value="retry' in failed


@pytest.mark.parametrize("more", [{}, {"group": "needsHuman"}, {"run": run("check")}])
def test_all_that_can_be_done_about_a_task_is_named_in_eighty_columns(more: dict[str, Any]) -> None:
    seen = lines.hint(entry(**more)).plain[:77]
    assert all(f" {click.act.key} " in seen for click in of_task(entry(**more))) and seen.startswith("? help")


def test_what_a_manifest_waits_for_is_filled_and_suspending_it_is_not() -> None:
    paused = bar_of(entry(waiting={"reason": "QueuePaused", "message": "the queue pauses"}))
    assert '<summary class="act go" title="Unfreeze"' in paused
    assert '<button class="act" form="act" name="do" value="suspend work"' in paused


def tree_of(found: dict[str, Any], *runs: dict[str, Any], **landed: str) -> str:
    part = {"status": {"tasks": [entry(), found], "spend": found["spend"]}, "blockers": {found["id"]: ["x-1"]}}
    spec = {"spec": {"base": "main", "suspended": False}}
    shown = tree.view("work", part | spec, {found["id"]: list(runs)}, landed, "")
    return next(block.items[f"n-{found['id']}"] for block in shown.blocks if block.items)


def test_the_tree_says_who_said_yes_what_a_review_came_to_and_when_it_landed() -> None:
    no = {"verdict": "request_changes", "summary": "too hasty", "risk": None, "comments": []}
    merged = {"state": "merged", "approvedBy": ["person"]}
    shown = tree_of(entry(merged, id="x2", phase="merged", status="closed"), reviewed(no, AT), x2=AT)
    for words in ("asks for changes", "approved</span> by a person", f'landed</span> <time datetime="{AT}"'):
        assert words in shown
    assert '/task/x2?run=review%2Fx-1%2F1"' in shown and ">Do x</a>" in shown


def test_what_landed_beneath_another_has_landed_too() -> None:
    def event(task: str, action: str, reason: str, second: int, event: str = "ActionDone") -> dict[str, Any]:
        at = f"2026-01-01T00:00:0{second}.000000Z"
        return {"task": task, "action": action, "reason": reason, "at": at, "event": event}

    events = [
        event("x-4", "Land", "ChecksPassed", 1),
        event("x-2", "CloseTask", "Landed", 2),
        event("x-4", "CloseTask", "Landed", 3),  # it was killed between the two
        event("x-5", "CloseTask", "NoWork", 4),
        event("x-6", "Land", "ChecksPassed", 5, "ActionFailed"),
    ]
    assert landings(events) == {"x-4": "2026-01-01T00:00:01Z", "x-2": "2026-01-01T00:00:02Z"}
