"""What the page is made of: the acts that there are, and what changes from one look to the next."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.cli import COMMANDS
from reconciler.render.page import task
from reconciler.render.page.acts import ACTS, Click, asked
from reconciler.render.page.layout import Block, View, flat, html, patch
from reconciler.render.page.overview import column_of
from reconciler.render.page.pieces import Viewer, task_link

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
    risk = {"level": "normal", "reasons": ["changes src/a.py"], "review": "agent"}
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
    view = task.view(entry, "work", (), task.Details(**found), Viewer())
    return "".join(html(block.head) for block in view.blocks)


def test_a_task_shows_what_its_reviewers_said() -> None:
    comment = {"path": "src/a.py", "line": 7, "body": "<b>not</b> so"}
    no = {"verdict": "request_changes", "summary": "too hasty", "risk": None, "comments": [comment]}
    runs = [reviewed(no, AT), reviewed(None, AT), reviewed(None, None)]

    shown = page_of(entry({"approvedBy": ["agent"]}), runs=runs)

    for words in ("asks for changes", "too hasty", "src/a.py:7", "&lt;b&gt;not&lt;/b&gt; so", "no verdict", "reading"):
        assert words in shown
    assert "normal (changes src/a.py); its reviewer is asked" in shown and "normal risk" in shown
    assert "Approved by</dt><dd>its reviewer" in shown
    assert "Reviews" not in page_of(entry())


def test_what_is_read_by_a_reviewer_is_not_about_to_land() -> None:
    assert column_of(entry(run=run("review"))) == column_of(entry(run=run("check"))) == "checking"
    assert column_of(entry()) == column_of(entry(run=run("check", "ended"))) == "landing"
