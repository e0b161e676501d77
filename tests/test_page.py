"""What the page is made of: the acts that there are, and what changes from one look to the next."""

from __future__ import annotations

import pytest

from reconciler.cli import COMMANDS
from reconciler.render.page.acts import ACTS, Click, asked
from reconciler.render.page.layout import Block, View, flat, html, patch
from reconciler.render.page.pieces import task_link

HEAD = "0123456789" * 4


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
