"""`top`: everything on a terminal, as it happens; keys that act; and nothing that a task is called does anything there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from strangers import AGENT, Place, coloured
from terminals import SIZES, Terminal
from textual.pilot import Pilot
from textual.widgets import Input, RichLog, Static
from waiting import MOST_S, until

from reconciler import wiring
from reconciler.cli.look import Looks
from reconciler.cli.output import Output
from reconciler.cli.session import LoopSession
from reconciler.cli.top.app import TopApp
from reconciler.cli.top.columns import Column
from reconciler.cli.top.screens import DescribeScreen, KeysScreen, LinesScreen, QuestionScreen, WordsScreen

SLOW = f'echo "reading $RECONCILE_TASK"; if grep -q Sleep "$RECONCILE_PROMPT"; then sleep 600; fi; {AGENT}'
TASKS = [
    {"key": "a", "title": "Do a"},
    {"key": "b", "title": "Do b", "dependsOn": ["a"]},
    {"key": "c", "title": "Sleep"},
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with coloured(tmp_path) as place:
        yield place


def applied(place: Place) -> Place:
    """A task that needs approval, one that waits for it, one whose agent runs."""
    manifest = place.manifest(tasks=TASKS, agent={"argv": ["sh", "-c", SLOW]}, mergePolicy={"review": "human"})
    until(lambda: place.reconcile("apply", "-f", str(manifest)) and asks(place), "the pull request")
    return place


def asks(place: Place) -> bool:
    return any(pull["checks"] == "passed" for pull in json.loads(place.reconcile("get", "prs", "-o", "json")))


def id_of(place: Place, title: str) -> str:
    return str(place.tasks()[title]["id"])


def alive(place: Place) -> list[str]:
    found = json.loads(place.reconcile("get", "runs", "-o", "json"))
    return [run["task"] for run in found if run["state"] == "running"]


def review(place: Place) -> str:
    return str(json.loads(place.reconcile("get", "prs", "-o", "json"))[0]["review"])


def given_back(terminal: Terminal) -> bool:
    """True where keys, cursor, mouse and the screen that was there before are a person's again."""
    ends = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1003l")
    begins = tuple(end.translate(bytes.maketrans(b"lh", b"hl")) for end in ends)
    over = all(
        terminal.printed.rfind(end) > terminal.printed.rfind(begin) for end, begin in zip(ends, begins, strict=True)
    )
    return over and termios.tcgetattr(terminal.slave) == terminal.before


# --- on a terminal -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_what_needs_a_person_is_approved_by_a_key_and_control_c_ends_nothing_else(
    place: Place, size: tuple[int, int]
) -> None:
    applied(place)
    terminal = Terminal(place.root, place.env, "top", columns=size[0], rows=size[1])
    try:
        for seen in ("Needs you", "Do a", "Working", "Sleep", "Waiting", "blocked by", "a approve"):
            terminal.shows(re.escape(seen))

        terminal.press(b"a")
        terminal.shows("approved #1 at")
        assert review(place) == "approved"

        terminal.press(b"\x03")
        assert terminal.wait() == 130
        assert given_back(terminal)
        assert "Traceback" not in terminal.text
        assert alive(place) == [id_of(place, "Sleep")]
    finally:
        terminal.close()


def test_what_a_task_is_called_and_what_an_agent_prints_does_nothing(place: Place) -> None:
    """Titles that reconcile did not make: another program writes the same store."""
    evil = "[bold red]up[/] [@click=app.leave(7)]x[/] \x1b]0;owned\x07 \x1b[31mowned\u202e"
    argv = ["sh", "-c", "printf '[red]agent[/]\\033]0;owned\\007\\033[2Jowned\\n'; sleep 600"]
    place.reconcile("apply", "-f", str(place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": argv})))
    store = place.root / ".beads/issues.jsonl"
    store.write_text(store.read_text().replace(json.dumps("Do a"), json.dumps(evil)))
    terminal = Terminal(place.root, place.env, "top", columns=100)
    try:
        terminal.shows(re.escape(r"[bold red]up[/] [@click=app.leave(7)]x[/] \x1b]0;owned"))
        terminal.press(b"\r")
        terminal.shows("Esc goes back")
        terminal.press(b"ql")
        terminal.shows(re.escape(r"[red]agent[/]\x1b]0;owned\x07\x1b[2Jowned"))

        assert not re.search(rb"\x1b\]0;owned|\x1b\[2Jowned|\x1b\[31mowned", terminal.printed)
        assert "\u202e" not in terminal.text
    finally:
        terminal.close()


def test_a_terminal_is_given_back_when_it_is_terminated(place: Place) -> None:
    terminal = Terminal(place.root, place.env, "top")
    try:
        terminal.shows("no manifest is applied")
        terminal.process.send_signal(signal.SIGTERM)

        assert terminal.wait() == 143
        assert given_back(terminal)
    finally:
        terminal.close()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux is installed here")
def test_in_tmux_it_is_drawn_again_when_the_window_changes(place: Place, tmp_path: Path) -> None:
    applied(place)
    socket = str(tmp_path / "tmux")

    def tmux(*args: str) -> str:
        done = subprocess.run(
            ("tmux", "-S", socket, "-f", os.devnull, *args), env=place.env, capture_output=True, text=True
        )
        return done.stdout

    def pane() -> list[str]:
        return tmux("capture-pane", "-p").splitlines()

    command = f"cd {place.root} && {sys.executable} -m reconciler top; echo left with $?; sleep 600"
    tmux("new-session", "-d", "-x", "80", "-y", "24", command)
    try:
        until(lambda: any("Needs you 1" in line for line in pane()), "the columns")
        assert not any("Needs you" in line and "Working" in line for line in pane()), "below each other"

        tmux("resize-window", "-x", "140", "-y", "40")
        until(lambda: any("Needs you 1" in line and "Working 1" in line for line in pane()), "columns side by side")

        tmux("send-keys", "C-c")
        until(lambda: any("left with 130" in line for line in pane()), "its end")
    finally:
        tmux("kill-server")


def test_without_a_terminal_it_names_what_prints_the_same(place: Place) -> None:
    assert "'reconcile status' prints the same" in place.reconcile("top", code=2)
    assert "'reconcile status' prints the same" in place.reconcile("top", "-o", "json", code=2)


def test_no_other_command_loads_what_draws_it() -> None:
    loaded = "import sys, importlib, reconciler.cli as c; [importlib.import_module(f'reconciler.cli.{m}') for m, _ in c.COMMANDS.values()]; sys.exit('textual' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", loaded)).returncode == 0


# --- by textual's own pilot ----------------------------------------------------------------------------------------


def piloted(
    place: Place, story: Callable[[TopApp, Pilot[int]], Awaitable[None]], size: tuple[int, int] = (120, 40), **how: Any
) -> None:
    site = wiring.open_site(place.root, place.env)
    looks = Looks(site=site, loop=LoopSession(site=site, out=Output(form="text", color=True)).loop())
    if how.pop("beside", False):
        looks.loop.load = lambda: pytest.fail("it looked itself")

    async def told() -> None:
        app = TopApp(site, looks, **how)
        async with app.run_test(size=size) as pilot:
            await story(app, pilot)

    asyncio.run(told())


async def seen(condition: Callable[[], object]) -> None:
    end = asyncio.get_running_loop().time() + MOST_S
    while not condition():
        assert asyncio.get_running_loop().time() < end, "waited in vain"
        await asyncio.sleep(0.02)


def cards(app: TopApp, column: str) -> str:
    found = app.screen_stack[0].query_one(f"#{column}", Column)
    prompts = [found.get_option_at_index(n).prompt for n in range(found.option_count)]
    return "\n".join(prompt.plain for prompt in prompts if isinstance(prompt, Text))


def summary(app: TopApp) -> str:
    return str(app.screen_stack[0].query_one("#summary", Static).render())


def toasts(app: TopApp) -> str:
    return "\n".join(each.message for each in app._notifications)


def test_beside_a_watch_it_shows_what_the_watch_publishes(place: Place) -> None:
    applied(place)
    watch = place.start("watch")

    async def story(app: TopApp, pilot: Pilot[int]) -> None:
        await seen(lambda: "a watch acts" in summary(app))
        await seen(lambda: "Sleep" in cards(app, "working"))
        place.reconcile("stop", "c")
        await seen(lambda: "Sleep" not in cards(app, "working"))

    try:
        until(lambda: wiring.open_site(place.root, place.env).acting, "the watch to act", by=watch)
        piloted(place, story, beside=True)
    finally:
        watch.terminate()
        watch.communicate()


def test_a_filter_leaves_what_holds_its_words_and_escape_ends_it(place: Place) -> None:
    async def story(app: TopApp, pilot: Pilot[int]) -> None:
        await seen(lambda: "Do a" in cards(app, "needs"))
        await pilot.press("slash", *"sleep")
        await seen(lambda: not cards(app, "needs"))
        assert "Sleep" in cards(app, "working")
        await pilot.press("enter")
        assert isinstance(app.focused, Column)

        await pilot.press("escape")
        await seen(lambda: "Do a" in cards(app, "needs"))

    piloted(applied(place), story)


def test_what_is_to_be_changed_is_asked_for_and_nothing_is_sent_without_it(place: Place) -> None:
    async def story(app: TopApp, pilot: Pilot[int]) -> None:
        await seen(lambda: "Do a" in cards(app, "needs"))
        await pilot.press("r")
        await seen(lambda: isinstance(app.screen, WordsScreen))
        await pilot.press("escape")
        await seen(lambda: not isinstance(app.screen, WordsScreen))
        assert await asyncio.to_thread(review, place) == "required"

        await pilot.press("r")
        await seen(lambda: isinstance(app.screen, WordsScreen) and isinstance(app.focused, Input))
        await pilot.press(*"--louder", "enter")
        await seen(lambda: "rejected #1" in toasts(app))

    piloted(applied(place), story, size=(80, 24))
    assert review(place) == "rejected"


def test_a_stop_is_asked_twice(place: Place) -> None:
    async def story(app: TopApp, pilot: Pilot[int]) -> None:
        await seen(lambda: "Sleep" in cards(app, "working"))
        await pilot.press("down")
        await seen(lambda: isinstance(app.focused, Column) and app.focused.column == "working")
        await pilot.press("s")
        await seen(lambda: isinstance(app.screen, QuestionScreen))
        await pilot.press("n")
        await seen(lambda: not isinstance(app.screen, QuestionScreen))
        assert await asyncio.to_thread(alive, place)

        await pilot.press("s")
        await seen(lambda: isinstance(app.screen, QuestionScreen))
        await pilot.press("y")
        await seen(lambda: not cards(app, "working"))

    piloted(applied(place), story)
    assert alive(place) == []


def test_an_approval_is_of_the_commit_that_was_on_the_screen(place: Place) -> None:
    applied(place)
    id = id_of(place, "Do a")

    async def story(app: TopApp, pilot: Pilot[int]) -> None:
        await seen(lambda: "Do a" in cards(app, "needs"))
        app.workers.cancel_group(app, "looks")  # what comes next is not on the screen
        tree = place.root.parent / "worktrees" / id
        (tree / "more").write_text("more\n")
        place.git("add", "more", cwd=tree)
        place.git("commit", "--quiet", "--message=More", cwd=tree)
        await pilot.press("a")
        await seen(lambda: toasts(app).count(id) > 1)
        assert "approved #1" not in toasts(app)

    piloted(place, story)
    assert review(place) == "required"


def test_a_task_is_described_its_log_and_its_diff_are_read_and_the_keys_are_listed(place: Place) -> None:
    async def story(app: TopApp, pilot: Pilot[int]) -> None:
        def lines() -> str:
            return "\n".join(strip.text for strip in app.screen.query_one(RichLog).lines)

        await seen(lambda: "Do a" in cards(app, "needs"))
        await pilot.press("enter")
        await seen(lambda: isinstance(app.screen, DescribeScreen))
        shown = app.screen.query_one("#text", Static)
        await seen(lambda: "AwaitingApproval" in str(shown.visual) or shown.size.height > 10)
        await pilot.press("escape", "l")
        await seen(lambda: isinstance(app.screen, LinesScreen) and "reading" in lines())
        await pilot.press("escape", "d")
        await seen(lambda: isinstance(app.screen, LinesScreen) and f"+{id_of(place, 'Do a')}" in lines())
        await pilot.press("q", "question_mark")
        await seen(lambda: isinstance(app.screen, KeysScreen))
        await pilot.press("escape")
        await seen(lambda: len(app.screen_stack) == 1)

    piloted(applied(place), story)


def test_one_manifest_is_shown_where_one_is_named(place: Place) -> None:
    applied(place)
    other = place.manifest("other.yaml", tasks=[{"key": "z", "title": "Do z"}])
    other.write_text(other.read_text().replace("name: work", "name: other"))
    place.reconcile("apply", "-f", str(other))

    async def story(app: TopApp, pilot: Pilot[int]) -> None:
        await seen(lambda: list(app.entries) == [id_of(place, "Do z")])

    piloted(place, story, only="other")
