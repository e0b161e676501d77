"""What a person sees who leaves `watch` open in a terminal; what a pipe gets; what the terminal is like afterwards."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pytest
from strangers import Place, coloured
from terminals import Terminal
from waiting import noting, until

SLOW = "printf '\\033[32mreading %s\\033[0m\\n' the-parser; sleep 600"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with coloured(tmp_path) as place:
        yield place


def watched(place: Place, **spec: object) -> tuple[str, ...]:
    return ("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", SLOW]}, **spec)))


def test_a_running_watch_shows_who_works_and_what_they_say(place):
    terminal = Terminal(place.root, place.env, *watched(place))
    try:
        terminal.shows(r"● project-\w+ +Do a +working +1 +\d+s +reading the-parser")

        assert re.search(r"work  ─+  0/2 closed · 1 running", terminal.text)
        assert re.search(r"· project-\w+ +Do b +blocked by project-\w+", terminal.text)
        assert re.search(r"project-\w+  StartAgent  start agent \(attempt 1\)", terminal.text)  # events go by above it
        terminal.shows(r"working +1 +([3-9]s|\d\ds|\d+m)")  # ages go on
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaving_gives_the_terminal_back_with_the_last_picture_and_a_summary_in_it(place, number):
    terminal = Terminal(place.root, place.env, *watched(place))
    try:
        terminal.shows("reading the-parser")
        os.write(terminal.master, b"keys\r\r")
        time.sleep(1.5)

        terminal.process.send_signal(number)
        assert terminal.wait() == 128 + number

        assert termios.tcgetattr(terminal.slave) == terminal.before
        for mode in (b"?25", b"?7", b"?2026"):
            *_, last = re.findall(rb"\x1b\[" + re.escape(mode) + rb"([hl])", terminal.printed)
            assert last == (b"l" if mode == b"?2026" else b"h")
        assert "keys" not in terminal.text
        *_, end = terminal.text.split("── as of")
        assert "Ctrl-C leaves" not in end
        assert "reading the-parser" in end
        assert (
            "1 agent running, 1 task blocked. 'reconcile watch' carries on.\r\ninterrupted: agents keep running" in end
        )
        assert "?1049h" not in repr(terminal.printed)  # what scrolled by stays
    finally:
        terminal.close()


def test_a_watch_that_is_done_leaves_everything_it_told(place):
    terminal = Terminal(place.root, place.env, "watch", "-f", str(place.manifest()), "--until-done")
    try:
        assert terminal.wait() == 0

        assert terminal.text.count("StartAgent  ") == 2
        assert terminal.text.count("CloseEpic  ") == 1
        assert "2/2 closed" in terminal.text.split("── as of")[-1]
        assert terminal.text.endswith("Up to date: everything matches the manifest.\r\n")
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()


def test_apply_shows_the_same_while_it_waits(place):
    terminal = Terminal(place.root, place.env, "apply", "--wait", "-f", str(place.manifest()))
    try:
        assert terminal.wait() == 0
        assert "2/2 closed" in terminal.text.split("── as of")[-1]
    finally:
        terminal.close()


def test_a_pipe_gets_lines_and_no_escape_sequence(place):
    said = place.reconcile("watch", "-f", str(place.manifest()), "--until-done")

    assert "\x1b" not in said
    assert "as of" not in said
    assert said.splitlines()[-1] == "Up to date: everything matches the manifest."


@pytest.mark.parametrize("args", [(), ("-o", "json")])
def test_a_terminal_that_can_only_print_and_a_program_get_what_a_pipe_gets(place, args):
    place.env["TERM"] = "xterm-256color" if args else "dumb"
    terminal = Terminal(place.root, place.env, "watch", "-f", str(place.manifest()), "--until-done", *args)
    try:
        assert terminal.wait() == 0
        assert b"\x1b" not in terminal.printed
        assert "as of" not in terminal.text
    finally:
        terminal.close()


def test_without_colour_it_is_drawn_without(place):
    place.env["NO_COLOR"] = "1"
    terminal = Terminal(place.root, place.env, *watched(place))
    try:
        terminal.shows("reading the-parser")

        assert not re.search(rb"\x1b\[[0-9;]*m", terminal.printed)
    finally:
        terminal.close()


def test_a_picture_that_goes_wrong_does_not_end_the_watch(place):
    broken = "import reconciler.render.live as live; del live.Picture; from reconciler.cli import main; main()"
    terminal = Terminal(
        place.root,
        place.env,
        "watch",
        "-f",
        str(place.manifest()),
        "--until-done",
        program=(sys.executable, "-c", broken),
    )
    try:
        assert terminal.wait() == 0

        assert terminal.text.count("the live view ended (AttributeError: ") == 1
        assert terminal.text.count("StartAgent  ") == 2  # told in lines from there on
        assert terminal.text.endswith("Up to date: everything matches the manifest.\r\n")
    finally:
        terminal.close()


def test_a_terminal_that_takes_nothing_holds_nobody_up(place):
    terminal = Terminal(place.root, place.env, "watch", "-f", str(place.manifest()), "--until-done")
    try:
        ioctl(terminal.slave, termios.TCXONC, termios.TCOOFF)  # Ctrl-S
        until(lambda: len(place.subjects()) == 3, by=terminal.process)
        ioctl(terminal.slave, termios.TCXONC, termios.TCOON)
        assert terminal.wait() == 0
        assert "2/2 closed" in terminal.text.split("── as of")[-1]
    finally:
        terminal.close()


def test_status_on_a_terminal_is_the_same_picture_once(place):
    place.manifest(agent={"argv": ["sh", "-c", SLOW]})
    place.reconcile("apply", "-f", str(place.root.parent / "epic.yaml"))
    until(
        lambda: (
            "reading" in place.reconcile("logs", next(t["id"] for t in place.tasks().values() if t["title"] == "Do a"))
        )
    )
    terminal = Terminal(place.root, place.env, "status")
    try:
        assert terminal.wait() == 0

        assert re.search(r"● project-\w+ +Do a +working +1 +\d+s +reading the-parser", terminal.text)
        assert "Worktrees (1 in ../worktrees)" in terminal.text
        assert "In progress (1)" in place.reconcile("status")  # a pipe gets what it always did
    finally:
        terminal.close()


# --- a window that changes its size, in a real terminal ----------------------------------------------------------


class Window:
    """A tmux window with a shell in it."""

    def __init__(self, place: Place, folder: Path, line: str) -> None:
        self.tmux = ("tmux", "-S", str(folder / "tmux"), "-f", os.devnull)
        self.run("new-session", "-d", "-x", "80", "-y", "24", "-c", str(place.root), "env PS1='$ ' sh", env=place.env)
        self.type(line)

    def run(self, *args: str, env: dict[str, str] | None = None) -> str:
        return subprocess.run((*self.tmux, *args), env=env, capture_output=True, text=True, check=True).stdout

    def type(self, line: str) -> None:
        self.run("send-keys", line, "Enter")

    def screen(self) -> list[str]:
        return self.run("capture-pane", "-p").splitlines()

    def everything(self) -> list[str]:
        return self.run("capture-pane", "-p", "-S", "-500").splitlines()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds; whoever waits in vain is told what is in the window."""
        with noting(lambda: "\n".join(("in the window stood:", *self.everything()))):
            until(condition)


@pytest.fixture
def window(place: Place, tmp_path: Path) -> Iterator[Window]:
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed: a window can't be made wider and narrower here")
    tasks = [
        {"key": f"t{i}", "title": f"Do {i} 語語語", "dependsOn": [f"t{i - 4}"] if i > 3 else []} for i in range(30)
    ]
    watch = " ".join((sys.executable, "-m", "reconciler", *watched(place, tasks=tasks, maxAgents=3)))
    window = Window(place, tmp_path, watch)
    try:
        window.until(lambda: sum("reading the-parser" in line for line in window.screen()) == 3)
        yield window
    finally:
        window.run("kill-server")


def pictures(lines: list[str]) -> list[list[str]]:
    """Every picture among these lines, from its heading on; the newest comes last."""
    starts = [n for n, line in enumerate(lines) if re.match(r"work +[─ ]*0/30 closed", line)]
    return [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]


def newest(lines: list[str]) -> list[str]:
    return [line for line in (pictures(lines) or [[]])[-1] if line]


def at_work(lines: list[str]) -> int:
    return sum(line.startswith("●") for line in lines)


def drawn(window: Window, columns: int, rows: int) -> list[str]:
    """The newest picture, once it is drawn for a window of this size, and whatever is drawn soon after it."""
    window.run("resize-window", "-x", str(columns), "-y", str(rows))
    time.sleep(1.0)
    window.until(lambda: fits(newest(window.screen()), rows))
    return newest(window.screen())


def fits(picture: list[str], rows: int) -> bool:
    return len(picture) <= rows - 2 and at_work(picture) == min(3, rows - 5)


@pytest.mark.parametrize("size", [(160, 30), (120, 24), (60, 24), (40, 12), (30, 8)])
def test_a_window_that_changes_its_size_gets_a_picture_that_fits(window, size):
    found = drawn(window, *size)

    assert fits(found, size[1])
    assert re.fullmatch(r"  … and \d+ more: .*", found[-1])
    assert len(window.screen()) <= size[1]
    if size[1] <= 24:  # a window that gets taller shows again what has scrolled away
        assert len(pictures(window.screen())) == 1
        assert at_work(window.screen()) == min(3, size[1] - 5)


def test_a_window_that_grows_leaves_no_old_picture_behind(window):
    drawn(window, 50, 24)  # too narrow for what stands there: it is broken, and fills the window from its first row on
    window.run("clear-history")
    for size in ((100, 24), (120, 24), (120, 30), (110, 30)):
        drawn(window, *size)

    window.until(lambda: len(pictures(window.everything())) == 1)


def test_keys_that_are_pressed_leave_no_trace(window):
    for _ in range(3):
        window.type("hello")
    time.sleep(2.5)

    assert "hello" not in "\n".join(window.everything()[1:])
    assert len(pictures(window.everything())) == 1


def test_after_a_suspension_it_goes_on_below_what_others_printed(window):
    window.run("send-keys", "C-z")
    window.until(lambda: any("topped" in line for line in window.screen()))
    window.type("stty -a | grep -o ' echo '; echo it is mine")
    window.until(lambda: "it is mine" in window.screen())
    window.type("fg")
    window.until(lambda: [at_work(each) for each in pictures(window.everything())] == [3, 3])
    time.sleep(1.5)

    found = window.everything()
    assert " echo" in [line.rstrip() for line in found]  # typing was visible meanwhile
    before, after = pictures(found)
    assert "it is mine" in before and "it is mine" not in after
    assert [at_work(each) for each in (before, after)] == [3, 3]
