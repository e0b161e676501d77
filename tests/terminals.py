"""A terminal that a program runs on, and what a person sees there: drawn by a real emulator, line by line."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path
from struct import pack

import pyte
from waiting import noting, until

# Takes the terminal that it is given as its own, as a shell would give it one.
ON_IT = "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR); [os.dup2(fd, n) for n in (0, 1, 2)]; os.execvp(sys.argv[2], sys.argv[2:])"
PROGRAM = (sys.executable, "-m", "reconciler")
SEQUENCE = re.compile(rb"\x1b\[[0-?]*[@-~]")
SCROLLED_MAX = 10_000
SIZES = ((80, 24), (120, 40))


class Terminal:
    """A pseudo-terminal of so many columns and rows, with a program on it."""

    def __init__(
        self,
        cwd: Path,
        env: Mapping[str, str],
        *args: str,
        columns: int = 100,
        rows: int = 30,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self.master, slave = pty.openpty()
        self.name = os.ttyname(slave)
        ioctl(slave, termios.TIOCSWINSZ, pack("HHHH", rows, columns, 0, 0))
        os.set_blocking(self.master, False)
        self.slave, self.before, self.printed = slave, termios.tcgetattr(slave), b""
        self.columns, self.rows = columns, rows
        self.process = subprocess.Popen(
            (sys.executable, "-c", ON_IT, self.name, *program, *args),
            cwd=cwd,
            env={"TERM": "xterm-256color"} | dict(env),
            start_new_session=True,
        )

    def read(self) -> bytes:
        try:
            while part := os.read(self.master, 65536):
                self.printed += part
        except BlockingIOError:
            pass
        return self.printed

    @property
    def text(self) -> str:
        """Everything that was sent, without the sequences that move the cursor or colour something."""
        return SEQUENCE.sub(b"", self.read()).decode("utf-8", "replace")  # a letter may be half there

    @property
    def lines(self) -> list[str]:
        """What stands on the screen and what has scrolled away above it, as a person sees it."""
        screen = pyte.HistoryScreen(self.columns, self.rows, history=SCROLLED_MAX)
        pyte.ByteStream(screen).feed(self.read())
        above = ("".join(row[column].data for column in range(self.columns)) for row in screen.history.top)
        return [line.rstrip() for line in (*above, *screen.display)]

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def shows(self, pattern: str) -> None:
        """Wait until this was printed on it."""
        with noting(lambda: f"on it stood: {self.text}"):
            until(lambda: re.search(pattern, self.text), pattern, by=self.process)

    def as_it_was_found(self) -> bool:
        """True where keys and cursor are as before, nothing is coloured any more, and what comes next has a line of its own."""
        screen = pyte.Screen(self.columns, self.rows)
        pyte.ByteStream(screen).feed(self.read())
        plain = screen.cursor.attrs == screen.default_char
        return (
            termios.tcgetattr(self.slave) == self.before and plain and not screen.cursor.hidden and not screen.cursor.x
        )

    def wait(self) -> int:
        """The program's exit status, once it has ended."""
        with noting(lambda: f"on it stood: {self.text}"):
            until(lambda: (self.read(), self.process.poll() is not None)[1], "its end")
        self.read()
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def the_demo_was_seen(terminal: Terminal) -> None:
    """What a person sees of `reconcile demo`: agents running, a green end, and a terminal that is theirs again."""
    shown = "\n".join(terminal.lines)
    assert re.search(r"● calculator-\w+ +[A-Z]", terminal.text), terminal.text
    assert re.search(r"^calculator  ━+  6/6 closed$", shown, re.MULTILINE), shown
    assert re.search(r"^  command: its agent was killed", shown, re.MULTILINE), shown
    assert re.search(r"^done in \d+\.\d s$", shown, re.MULTILINE), shown
    assert shown.count("── as of") == 1, shown  # no old picture is left behind
    assert "Traceback" not in terminal.text, terminal.text
    assert terminal.as_it_was_found(), terminal.printed
