"""The live view: what `watch` and `apply --wait` show on a terminal while they work.

The loop's thread decides, and only leaves its newest tick and its lines here; a thread of its own draws. A terminal that
hangs, or a picture that goes wrong, costs the view and nothing else.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.cli import streams
from reconciler.cli.output import Output
from reconciler.cli.screen import Drawn, Screen, drawn, rows
from reconciler.cli.session import AGENTS_RUN_ON, LoopSession
from reconciler.cli.tails import Tails
from reconciler.loop.asking import ask
from reconciler.loop.loop import Tick
from reconciler.model.observed import Unknown
from reconciler.render import document, live, safe
from reconciler.render.status import unmanaged
from reconciler.render.tails import live_runs, runs_of
from reconciler.wiring import Site

REFRESH_S = 1.0
PACE_S = 0.1
LEAVE_S = 2.0
LINES_MAX = 5_000  # that wait for a terminal which takes none
HINT, HINT_OF_A_DEMO = "Ctrl-C leaves, agents run on", "Ctrl-C ends it"


@contextmanager
def view(session: LoopSession) -> Iterator[None]:
    """Draw how it goes while the block runs, where that is wanted and there is a terminal to draw on."""
    if not session.drawn or not session.out.interactive:
        yield
        return
    shown, before = _View(session), session.show
    session.show = shown.show
    try:
        with streams.redirected(shown.say), _signals(shown), shown:
            yield
    finally:
        session.show = before
        shown.close()


class _View:
    """The drawing thread, and what it is to draw."""

    def __init__(self, session: LoopSession) -> None:
        self.screen = Screen(
            out=sys.stdout.fileno(),
            keys=sys.stdin.fileno() if sys.stdin.isatty() else None,
            encoding=sys.stdout.encoding,
        )
        self.terminal = sys.stdout
        self._hint = HINT if AGENTS_RUN_ON.get() else HINT_OF_A_DEMO  # here: what draws is a thread without a context
        self._console = session.out.console()
        self._tails = Tails(session.site.runner)
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._tick: Tick | None = None
        self._of: Tick | None = None  # the tick that the document is made of
        self._document: document.Document = {}
        self._laid_out: tuple[live.Size, live.Picture] | None = None
        self._drawn: dict[int, tuple[Text, Drawn]] = {}
        self._over = False
        self._broken = False  # lines are printed as they come
        self._gone = False  # nobody reads them any more
        self._drawing = threading.Lock()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="live view", daemon=True)

    def __enter__(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread is left
            self._give_up(error)

    def __exit__(self, *error: object) -> None:
        """Draw once more, and leave the terminal as it was found. One that takes nothing is not waited for."""
        self._over = True
        self.nudge()
        if self._thread.is_alive():
            self._thread.join(LEAVE_S)
        self.screen.leave()

    def close(self) -> None:
        if not self._thread.is_alive():
            os.close(self._woken)
            os.close(self._wake)

    def show(self, tick: Tick) -> None:
        """Draw this from now on."""
        self._tick = tick
        self.nudge()

    def say(self, text: str) -> None:
        """Have a line scroll away above the picture."""
        if self._gone:
            return
        if self._broken:
            self.terminal.write(f"{text}\n")
            self.terminal.flush()
            return
        self._lines.append(text)
        self.nudge()

    def nudge(self) -> None:
        """Draw soon. A byte in a pipe, not a flag: signal handlers may do this at any instant."""
        try:
            os.write(self._wake, b".")
        except BlockingIOError:
            pass  # it is full of nudges

    def suspend(self) -> None:
        """Stop this process as Ctrl-Z does, with the terminal as it was found, until somebody has it continue."""
        # Held over the stop: continued, the other thread must not draw where the shell has written meanwhile.
        held = self._drawing.acquire(timeout=PACE_S)
        self.screen.leave()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self.screen.forget()
        if held:
            self._drawing.release()
        self.nudge()

    def _run(self) -> None:
        try:
            while not self._over:
                if select.select([self._woken], [], [], self._pause_s())[0]:
                    os.read(self._woken, 4096)
                self._draw()
                if not self._over:
                    time.sleep(PACE_S)
            self._draw(fresh=True)
        except Exception as error:  # noqa: BLE001 - what can't be drawn is no reason to stop working
            self._give_up(error)

    def _pause_s(self) -> float | None:
        moves = self._document and live.restless(self._document, _now())
        return REFRESH_S - PACE_S if moves else None

    def _draw(self, *, fresh: bool = False) -> None:
        picture = self._picture()  # first: what goes wrong with it must not cost a line
        with self._drawing:
            self.screen.draw(picture, [self._lines.popleft() for _ in range(len(self._lines))], fresh=fresh)

    def _picture(self) -> list[Drawn]:
        tick = self._tick
        if tick is None:
            return []
        if tick is not self._of:
            self._document, self._of = document.status(tick.plan, tick.observed, every=False), tick
            self._tails.follow(live_runs(tick.plan, tick.observed))
            self._laid_out = None
        width, height = self.screen.size
        # Never the last column: a terminal may take a full line for one that goes on.
        size = live.Size(width=max(width - 1, 1), height=rows(height), hint="" if self._over else self._hint)
        if self._laid_out is None or self._laid_out[0] != size:
            self._laid_out = (size, live.Picture(self._document, size))
        lines = self._laid_out[1].lines(_now(), self._tails.last_line)
        # A line that stayed the same object needs no colouring again.
        new = [line for line in lines if id(line) not in self._drawn]
        known = self._drawn | {
            id(line): (line, made) for line, made in zip(new, drawn(self._console, new), strict=True)
        }
        self._drawn = {id(line): known[id(line)] for line in lines}
        return [self._drawn[id(line)][1] for line in lines]

    def _give_up(self, error: Exception) -> None:
        self._broken, self._gone = True, isinstance(error, OSError)
        self.screen.leave()
        while self._lines:
            self.say(self._lines.popleft())
        self.say(safe.line(f"the live view ended ({type(error).__name__}: {error}); the work goes on"))


def once(site: Site, shown: document.Document, out: Output) -> RenderableType:
    """The picture of a status document as it is printed once: all of it, however tall."""
    found = ask(site.runner.runs)
    runs = [] if isinstance(found, Unknown) else [run for run in found.values() if run.alive]
    tails = Tails(site.runner, runs_of(shown, runs))
    picture = live.picture(shown, live.Size(width=out.console().width), _now(), tails.last_line)
    return Group(*picture, *unmanaged(shown, _now()))


@contextmanager
def _signals(shown: _View) -> Iterator[None]:
    """A window that changed is drawn again at once; after Ctrl-Z and `fg` the picture begins below what is there."""

    def resized(_number: int, _frame: FrameType | None) -> None:
        shown.nudge()

    def suspended(_number: int, _frame: FrameType | None) -> None:
        shown.suspend()

    wanted = {signal.SIGWINCH: resized, signal.SIGTSTP: suspended}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> datetime:
    return datetime.now(UTC)
