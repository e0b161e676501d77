"""What open pages hear: a change as soon as it is published, last lines and logs while they are looked at.

One thread reads; nothing is read while no page is open.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct, field, json

from reconciler.cli.facts import LocalFacts
from reconciler.cli.logs import LogReader
from reconciler.cli.look import LatestLook, Looks
from reconciler.model.errors import ReconcileError
from reconciler.render import safe
from reconciler.render.page.layout import Flat, View, flat, patch

POLL_S = 0.05
BEAT_S = 3.0
LINES_S, DETAILS_S = 1.0, 2.0
LEAVE_S = 10.0
FIRST_S = 5.0
KNOWN_MAX = 64
Made = TypeVar("Made")


class Feed(Struct, kw_only=True, dict=True):
    """The newest look, for every page that is open."""

    looks: Looks
    facts: LocalFacts
    look: LatestLook | None = None
    trouble: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _poll: asyncio.Task[None] | None = None
    _wanted_at: float = 0.0
    _open: int = 0
    _over: bool = False
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "looks"))
    _known: OrderedDict[str, Flat] = field(default_factory=OrderedDict)
    _numbers: int = 0

    async def in_turn(self, read: Callable[[], Made]) -> Made:
        """Read something in the one thread that reads."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, read)

    async def in_background(self, work: Callable[[], Made]) -> Made:
        """Do something that takes its time, while others go on."""
        return await asyncio.get_running_loop().run_in_executor(None, work)

    async def first(self) -> LatestLook | None:
        """The newest look, waited for a moment where there is none yet."""
        self.want()
        end = time.monotonic() + FIRST_S
        while self.look is None and not self.trouble and time.monotonic() < end:
            await self._change(POLL_S)
        return self.look

    def soon(self) -> None:
        """Something was done here: look at once."""
        self.looks.soon()

    def end(self) -> None:
        """Nobody hears anything any more: every page that listens is let go."""
        self._over = True
        self._changed.set()

    def remember(self, held: Flat) -> str:
        """The name under which it is known what a page holds."""
        self._numbers += 1
        name = str(self._numbers)
        self._known[name] = held
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return name

    async def changes(self, view: Callable[[LatestLook | None], View], since: str) -> AsyncIterator[bytes]:
        """Server-sent events for one page, as long as it listens. `since`: what it holds."""
        self._open += 1
        self.want()
        try:
            async for event in self._events(view, self._known.get(since, Flat())):
                yield event
        finally:
            self._open -= 1

    async def _events(self, view: Callable[[LatestLook | None], View], held: Flat) -> AsyncIterator[bytes]:
        tails: dict[str, str] = {}
        log: LogReader | None = None
        reads: str | None = None
        seen: LatestLook | None = None
        made_at, lines_at, beat_at, details = 0.0, 0.0, time.monotonic(), False
        while not self._over:
            now, change = time.monotonic(), dict[str, Any]()
            if self.look is not seen or not made_at or (details and now - made_at >= DETAILS_S):
                seen, made_at = self.look, now
                shown = await self.in_turn(partial(view, seen))
                found, details = flat(shown), shown.kind == "one"
                change = patch(held, found)
                held = found
                if change:
                    change["title"] = f"{safe.line(shown.title)} · reconcile"
                    change["number"] = self.remember(held)
                if seen:
                    change["at"] = seen.at
                if shown.log != reads:
                    reads, log = shown.log, await self.in_turn(partial(self._reader, shown.log))
                    change["fresh"] = True
            if now - lines_at >= (LINES_S if log is None else 0.2):
                lines_at = now
                if shown.tails:
                    lines = await self.in_turn(partial(self.facts.tails, shown.tails))
                    if fresh := {element: line for element, line in lines.items() if tails.get(element) != line}:
                        change["tails"] = fresh
                    tails = lines
                if log and (more := await self.in_turn(log.more)):
                    change["log"] = safe.block(more.decode("utf-8", "replace"), len(more) + 1)
            if set(change) - {"at"}:
                number = change.pop("number", None)
                yield (f"id: {number}\n".encode() if number else b"") + b"data: " + json.encode(change) + b"\n\n"
                beat_at = now
            elif "at" in change or now - beat_at >= BEAT_S:
                yield b"data: " + json.encode(change) + b"\n\n" if change else b"event: alive\ndata: \n\n"
                beat_at = now
            await self._change(0.2 if log else LINES_S / 2)

    def _reader(self, run: str | None) -> LogReader | None:
        try:
            return self.facts.reader(run) if run else None
        except (ValueError, ReconcileError):
            return None

    def want(self) -> None:
        """Have looks read for a while, whether or not a page is open."""
        self._wanted_at = time.monotonic()
        if self._poll is None or self._poll.done():
            self._poll = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Look for what is new until nobody has wanted it for a while."""
        await self.in_turn(self.looks.begin)
        try:
            while self._open or time.monotonic() - self._wanted_at < LEAVE_S:
                before = self.look, self.trouble
                try:
                    self.look, self.trouble = await self.in_turn(self.looks.newest), ""
                except ReconcileError as error:
                    self.trouble = str(error)
                if (self.look, self.trouble) != before:
                    self._changed.set()
                    self._changed = asyncio.Event()
                await asyncio.sleep(1.0 if self.trouble else POLL_S)
        finally:
            self.looks.end()

    async def _change(self, most_s: float) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), most_s)
        except TimeoutError:
            pass
