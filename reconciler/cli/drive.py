"""How every command that acts has the loop work: until when, what ends it early, and with which exit code.

What it acts on, and who hears of it, is the session's; what it says at the end, the command's.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct

from reconciler.cli import EXIT_NEEDS_PERSON, EXIT_TIMEOUT
from reconciler.cli.output import Output
from reconciler.cli.session import AGENTS_RUN_ON, LoopSession
from reconciler.loop.loop import POLL_S, RESYNC_S, Tick
from reconciler.model.errors import LockedError
from reconciler.planning.plan import Plan
from reconciler.system import lock
from reconciler.system.late import late
from reconciler.wiring import Site

if TYPE_CHECKING:
    from reconciler.system.wakes import Wakes

PATIENCE_S = 10.0
LOOK_S = 0.5
SLOW_END_S = 3.0  # after a signal, until it is shown why it takes so long
TWICE_S = 1.0  # signals that come sooner one after the other are one
_LISTENERS = "'reconcile doctor' says how many listeners there are; an editor or another watch may use them up"
_THREADS = "end some programs, or raise the limit: ulimit -u, ulimit -v"


class Ended(Struct, frozen=True, kw_only=True):
    """The last tick, and whether a signal or a time limit came before it was enough."""

    tick: Tick
    interrupted: bool
    timed_out: bool


def waited(session: LoopSession, ended: Ended) -> int:
    """Conclude for a command that waits until nothing is left."""
    session.conclude(ended.tick, by_itself=not ended.interrupted)
    decided = ended.tick.plan
    if not decided.epics and decided.unmanaged:
        return EXIT_NEEDS_PERSON  # what was recorded has been removed meanwhile, and its work is nobody's now
    if decided.converged:
        return 0
    return EXIT_TIMEOUT if ended.timed_out and decided.moves else EXIT_NEEDS_PERSON


def drive(
    session: LoopSession,
    enough: Callable[[Plan], bool],
    conclude: Callable[[LoopSession, Ended], int] = waited,
    *,
    timeout_s: float | None = None,
    interval_s: float = RESYNC_S,
    listens: Sequence[Path] | None = (),
) -> int:
    """Have the loop work until a plan is `enough`, the time is up or a signal comes; the exit code.

    `conclude` says how it ended, and gives the exit code unless that was by a signal. `listens`: files that wake it beside
    what is in the repository; None: nothing does.
    """
    site, out = session.site, session.out
    with interrupted(out.chat) as (wake, stop, got), _deadline(timeout_s, wake, stop):
        for left in () if session.beside else site.catch_up():
            out.chat(left)
        loop = session.loop()
        wakes = late("reconciler.system.wakes")
        loop.rests = partial(wakes.rest, site.tracker.stirred)
        places = [] if listens is None else wakes.spots(site.state, site.repository.common, site.store, listens)
        with wakes.Wakes(places, wake) as listening, late("reconciler.cli.live").view(session):
            tick = loop.forever(
                wake,
                stop,
                interval_s=interval_s,
                deaf=_hearing(listening, out) if places else lambda: None,
                enough=lambda tick: enough(tick.plan),
            )
    code = conclude(session, Ended(tick=tick, interrupted=bool(got), timed_out=stop.is_set() and not got))
    if not got:
        return code
    if AGENTS_RUN_ON.get():
        out.chat("interrupted: agents keep running; 'reconcile watch' continues, 'reconcile stop --all' stops them")
    return 128 + got[0]


def look_on(session: LoopSession, over: Callable[[Plan], bool], end: float | None = None) -> Tick | None:
    """Look on while another reconciler acts: the last tick when it is over or time is up, None when that one ended."""
    loop = session.loop()
    with late("reconciler.cli.live").view(session):
        while not _free(session.site):
            tick = loop.look()
            session.show(tick)
            if over(tick.plan) or (end is not None and time.monotonic() >= end):
                return tick
            time.sleep(LOOK_S)
    return None


class NothingLeft(Struct):
    """Whether there is nothing left to wait for: all is done, or nothing goes on without a person.

    A source that is silent for a moment, or an editor that is just leaving a worktree, needs no person yet.
    """

    since: float | None = None  # since when nothing moves, by the monotonic clock

    def __call__(self, decided: Plan) -> bool:
        if decided.moves and not decided.converged:
            self.since = None
            return False
        if decided.converged or not decided.unsettled:
            return True
        self.since = self.since or time.monotonic()
        return time.monotonic() - self.since >= PATIENCE_S


def _free(site: Site) -> bool:
    """True when no reconciler works in this repository."""
    try:
        with lock.reconciling(site.state, "apply", site.surroundings):
            return True
    except LockedError:
        return False


def _hearing(wakes: Wakes, out: Output) -> Callable[[], object]:
    """What tells the loop that no event wakes it, and says so once."""
    warn = cache(out.chat)

    def deaf() -> str | None:
        if why := wakes.deaf:
            hint = _THREADS if "thread" in why else _LISTENERS
            warn(f"no file events ({why}): polling every {POLL_S:g} s instead\n  hint: {hint}")
        return why

    return deaf


def _leave(code: int) -> NoReturn:
    """End at once, with the cursor that a live view has hidden."""
    if os.isatty(1):
        os.write(1, b"\x1b[?25h\n")
    os._exit(code)


@contextmanager
def _deadline(timeout_s: float | None, wake: threading.Event, stop: threading.Event) -> Iterator[None]:
    """Set both flags once the block has run for so long."""

    def ring() -> None:
        stop.set()
        wake.set()

    timer = threading.Timer(timeout_s or 0.0, ring)
    timer.daemon = True
    if timeout_s is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def interrupted(say: Callable[[str], None]) -> Iterator[tuple[threading.Event, threading.Event, list[int]]]:
    """(wake, stop, signals): INT, TERM and HUP set both flags and are noted; the handlers of before come back at the end.

    A HUP that is ignored stays so: the one who started us with nohup wants it. Where the end is long in coming, `say` gets why;
    another signal then ends us at once, as a kill at any moment may.
    """
    wake, stop, got = threading.Event(), threading.Event(), list[int]()
    # A handler runs amid whatever this thread does, also amid a change of one of these events, whose lock it would wait
    # for without end. A simple queue is made for being filled there.
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()

    at_once = AGENTS_RUN_ON.get()  # who has to end its agents is not to be cut off in that
    first_at = 0.0

    def pass_on() -> None:
        wait_s: float | None = None
        while True:
            try:
                number = numbers.get(timeout=wait_s)
            except queue.Empty:
                wait_s = None
                say("ending once what is being done is done; the same signal once more ends it at once")
                continue
            if not number:
                return
            if at_once and not got:  # a second one of the same moment does not take that back
                wait_s = SLOW_END_S
            got.append(number)
            stop.set()
            wake.set()

    def hand_on(number: int, _frame: object) -> None:
        nonlocal first_at
        first_at = first_at or time.monotonic()
        # Some send a signal twice: to a program, and to its group.
        if at_once and time.monotonic() - first_at > TWICE_S:
            _leave(128 + number)
        numbers.put(number)
        if not listener.is_alive():  # the machine gave no thread: rather now and then a wait than never an end
            numbers.put(0)
            pass_on()

    listener = threading.Thread(target=pass_on, name="signals", daemon=True)
    with suppress(RuntimeError):
        listener.start()
    before = {
        number: signal.signal(number, hand_on)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if number != signal.SIGHUP or signal.getsignal(number) == signal.SIG_DFL
    }
    try:
        yield wake, stop, got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        numbers.put(0)
        if listener.is_alive():
            listener.join()
