"""The terminal of `top`: textual draws it, one thread reads looks, and every act is a command that runs as a child."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.filter import Monochrome
from textual.widgets import Input, OptionList, Static

from reconciler.cli.acting import acted
from reconciler.cli.facts import FIRST_MAX, LocalFacts
from reconciler.cli.look import LatestLook, Looks
from reconciler.cli.output import Output
from reconciler.cli.session import LoopSession
from reconciler.cli.top.cards import card
from reconciler.cli.top.columns import Column
from reconciler.cli.top.lines import heading, hint, keys, patch
from reconciler.cli.top.screens import DescribeScreen, KeysScreen, LinesScreen, QuestionScreen, Reading, WordsScreen
from reconciler.model.errors import ReconcileError
from reconciler.model.names import TaskId, usable
from reconciler.render import safe, text
from reconciler.render.acts import ACTS, MESSAGE_MAX, Click, of_task
from reconciler.render.board import CARDS_MAX, COLUMNS, DONE_MAX, board, degraded
from reconciler.render.status import Entry
from reconciler.wiring import Site

POLL_S, LOG_S, DESCRIBE_S, CLOCK_S = 0.2, 0.3, 2.0, 5.0
EXIT_INTERRUPTED, EXIT_ENDED = 130, 143
Made = TypeVar("Made")


class TopApp(App[int]):
    """Everything that is shown of one repository, or of one manifest of it."""

    TITLE = "reconcile top"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (200, "-widest")]  # noqa: RUF012 - as textual declares it
    CSS_PATH = "top.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "leave(130)", "Leave", priority=True),
        Binding("q", "leave(0)", "Leave"),
        Binding("l", "log", "Log"),
        Binding("d", "diff", "Diff"),
        Binding("slash", "filter", "Filter"),
        Binding("question_mark,f1", "keys", "Keys"),
        Binding("escape", "no_filter", "All"),
        Binding("j", "move('cursor_down')", show=False),
        Binding("k", "move('cursor_up')", show=False),
        Binding("right", "move('beside(1)')", show=False),
        Binding("left", "move('beside(-1)')", show=False),
        *(Binding(key, f"act('{key}')", show=False) for key in sorted({act.key for act in ACTS.values() if act.key})),
    ]

    def __init__(self, site: Site, looks: Looks, *, only: str | None = None, color: bool = True) -> None:
        super().__init__()
        if not color:
            self._filters.append(Monochrome())
        self.site, self.looks, self.only = site, looks, only
        self.facts = LocalFacts(site=site)
        self.look: LatestLook | None = None
        self.trouble = ""
        self.entries: dict[str, tuple[str, Entry]] = {}  # by id, each with its manifest
        self._wanted = ""
        self._look_thread = ThreadPoolExecutor(1, "looks")

    def compose(self) -> ComposeResult:
        yield Static("", id="summary", markup=False)
        with VerticalScroll(id="board"):
            yield from map(Column, COLUMNS)
        yield Input(placeholder="filter", id="filter")
        yield Static("", id="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one("#board").can_focus = False
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.exit, EXIT_INTERRUPTED)
        loop.add_signal_handler(signal.SIGTERM, self.exit, EXIT_ENDED)
        self.run_worker(self._read(), group="looks")
        self.set_interval(CLOCK_S, self.show)
        self.show()

    async def on_unmount(self) -> None:
        self.workers.cancel_all()
        self._look_thread.submit(self.looks.end)
        self._look_thread.shutdown(wait=False)

    async def in_turn(self, read: Callable[[], Made]) -> Made:
        """Read something in the one thread that reads."""
        return await asyncio.get_running_loop().run_in_executor(self._look_thread, read)

    async def _read(self) -> None:
        await self.in_turn(self.looks.begin)
        while True:
            before = self.look, self.trouble
            try:
                self.look, self.trouble = await self.in_turn(self.looks.newest), ""
            except ReconcileError as error:
                self.trouble = str(error)
            if (self.look, self.trouble) != before:
                self.show()
            await asyncio.sleep(1.0 if self.trouble else POLL_S)

    # --- what is shown -----------------------------------------------------------------------------------------

    def show(self) -> None:
        """Show the newest look, as of now."""
        if not self.screen_stack:
            return
        now, look = datetime.now(UTC), self.look
        found = (
            board(look.manifests, look.rest["unmanaged"] or (), self._wanted, self.only)
            if look
            else dict.fromkeys(COLUMNS, ())
        )
        self.entries = {entry["id"]: (name, entry) for listed in found.values() for name, entry in listed}
        home = self.screen_stack[0]
        for column in home.query(Column):
            listed = found[column.column]
            most = DONE_MAX if column.column == "done" else CARDS_MAX
            # A task may stand in two manifests, of which one owns it: a list holds it once.
            shown = {e["id"]: card(column.column, name, e, now) for name, e in listed[:most]}
            column.show(list(shown.items()), len(listed))
        counts = {name: len(listed) for name, listed in found.items()}
        name, manifests = self.only or self.site.repository.main.name, look.manifests if look else {}
        wrong = degraded({each: part for each, part in manifests.items() if self.only in (None, each)})
        home.query_one("#summary", Static).update(
            heading(name, wrong, counts, self.look, self._wanted, self.trouble, now)
        )
        if not isinstance(home.focused, (Column, Input)):
            self._focus_first()
        self._hint()

    def _hint(self) -> None:
        if not self.screen_stack:
            return  # it ends, and what was on its way still arrives
        self.screen_stack[0].query_one("#hint", Static).update(hint(self._entry()))

    def _focus_first(self) -> None:
        for column in self.screen_stack[0].query(Column):
            if column.option_count:
                column.focus()
                return

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._hint()

    def on_descendant_focus(self) -> None:
        self._hint()

    # --- what is read of one task ------------------------------------------------------------------------------

    def _meant(self) -> str | None:
        """The task that a key means: the one that is read, or the one with the highlight."""
        if isinstance(self.screen, Reading):
            return self.screen.subject
        focused = self.screen.focused
        return focused.subject if isinstance(focused, Column) else None

    def _entry(self) -> Entry | None:
        task = self._meant()
        return self.entries[task][1] if task in self.entries else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id:
            self.run_worker(self._read_describe(event.option_id), exclusive=True)

    async def _read_describe(self, task: str) -> None:
        screen = DescribeScreen(task, task)
        await self.push_screen(screen)
        while screen in self.screen_stack:
            if self.look and task in self.entries:
                name, entry = self.entries[task]
                blocked_by = self.look.manifests[name]["blockers"].get(task, ()) if name else ()
                found = await self.in_turn(partial(self.facts.described, self.look.at, name, entry, blocked_by))
                if screen.is_mounted:
                    screen.show(text.describe(found))
            await asyncio.sleep(DESCRIBE_S)

    def action_log(self) -> None:
        if task := self._meant():
            self.run_worker(self._read_log(task), exclusive=True)

    async def _read_log(self, task: str) -> None:
        run = await self.in_turn(partial(self.facts.last_run, task))
        if run is None:
            self._say(f"no agent has run for {task}")
            return
        reader = await self.in_turn(partial(self.facts.reader, run))
        screen = LinesScreen(task, f"{task}  {run}")
        await self.push_screen(screen)
        while screen in self.screen_stack:
            more = await self.in_turn(reader.more)
            if more and screen.is_mounted:
                screen.add(Text(safe.block(more.decode("utf-8", "replace"), FIRST_MAX).rstrip("\n")))
            await asyncio.sleep(LOG_S)

    def action_diff(self) -> None:
        if task := self._meant():
            self.run_worker(self._read_diff(task), exclusive=True)

    async def _read_diff(self, task: str) -> None:
        if self.look is None or not usable(task) or task not in self.entries:
            return
        name, entry = self.entries[task]
        base = self.look.manifests[name]["spec"]["base"] if name else None
        head = (entry["pullRequest"] or {}).get("head")
        found = await self.in_turn(partial(self.facts.diff, TaskId(task), base, head))
        if not found:
            self._say(f"{task} has brought nothing to look at")
            return
        screen = LinesScreen(task, f"{task}  {safe.line(entry['branch'] or '')}")
        await self.push_screen(screen)
        screen.add(patch(found, FIRST_MAX))

    # --- what a key does ---------------------------------------------------------------------------------------

    def action_act(self, key: str) -> None:
        entry = self._entry()
        found = [click for click in of_task(entry) if click.act.key == key] if entry else []
        if found:
            self.run_worker(self._act(found[0]))
        elif entry:
            label = next(act.label for act in ACTS.values() if act.key == key)
            self._say(f"{label}: not as {entry['id']} stands")

    async def _act(self, ask: Click) -> None:
        act, words = ask.act, ""
        if act.words:
            words = await self.push_screen_wait(WordsScreen(f"{act.label}: {ask.subject}\n{act.words}", MESSAGE_MAX))
            if not words:
                return
        elif act.asks and not await self.push_screen_wait(QuestionScreen(f"{ask.subject}\n{act.asks}")):
            return
        self._say(f"{act.label}: {ask.subject} …")
        try:
            found = await asyncio.to_thread(acted, self.site, ask, words)
        except ReconcileError as error:
            self._say(f"{ask.subject}: {error}", wrong=True)
            return
        self.looks.soon()
        self._say(f"{ask.subject}: {found.words}", wrong=not found.done)

    def _say(self, words: str, *, wrong: bool = False) -> None:
        self.notify(safe.line(words), severity="error" if wrong else "information", markup=False)

    # --- keys that do nothing to a task ------------------------------------------------------------------------

    async def action_move(self, action: str) -> None:
        if isinstance(self.focused, Column):
            await self.run_action(action, self.focused)

    def action_leave(self, code: int) -> None:
        self.exit(code)

    def action_keys(self) -> None:
        self.push_screen(KeysScreen(keys()))

    def action_filter(self) -> None:
        if len(self.screen_stack) == 1:
            field = self.query_one("#filter", Input)
            field.display = True
            field.focus()

    def action_no_filter(self) -> None:
        if len(self.screen_stack) == 1:
            field = self.query_one("#filter", Input)
            field.value, field.display, self._wanted = "", False, ""
            self._focus_first()
            self.show()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter":
            self._wanted = event.value
            self.show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "filter":
            event.input.display = bool(self._wanted)
            self._focus_first()


def shown(site: Site, out: Output, only: str | None) -> int:
    """Show it until a person leaves; the exit code."""
    looks = Looks(site=site, loop=LoopSession(site=site, out=out).loop())
    return TopApp(site, looks, only=only, color=out.color).run() or 0
