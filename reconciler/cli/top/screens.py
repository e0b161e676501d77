"""What `top` shows above its columns: one task, its log, its diff, a question, the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, RichLog, Static

BACK: list[BindingType] = [Binding("escape,q", "app.back", "Back")]
LOG_LINES_MAX = 20_000


class Reading(Screen[None]):
    """Something to read of a task, with a title. Keys that act mean this task."""

    BINDINGS: ClassVar[list[BindingType]] = BACK

    def __init__(self, subject: str, title: str) -> None:
        super().__init__()
        self.subject = subject
        self._heading = title

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{self._heading}   Esc goes back", "bold", no_wrap=True), id="title", markup=False)


class DescribeScreen(Reading):
    """A task as `describe` prints it; made again as long as it is looked at."""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        with VerticalScroll():
            yield Static("", id="text", markup=False)

    def show(self, found: RenderableType) -> None:
        self.query_one("#text", Static).update(found)


class LinesScreen(Reading):
    """Lines that are added to: a log, a diff."""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield RichLog(id="lines", wrap=True, markup=False, highlight=False, max_lines=LOG_LINES_MAX, min_width=20)

    def add(self, lines: Text) -> None:
        self.query_one(RichLog).write(lines)


class QuestionScreen(ModalScreen[bool]):
    """Asks once more before something is destroyed or spent."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(self._words), markup=False)
            yield Static(Text("y: yes   n: no", "dim"), markup=False)

    def action_answer(self, sure: bool) -> None:
        self.dismiss(sure)


class WordsScreen(ModalScreen[str]):
    """Asks for some words; none at all where a person thinks better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back")]

    def __init__(self, ask: str, most: int) -> None:
        super().__init__()
        self._ask, self._most = ask, most

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(self._ask), markup=False)
            yield Input(max_length=self._most)
            yield Static(Text("Enter sends   Esc goes back", "dim"), markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        self.dismiss("")


class KeysScreen(ModalScreen[None]):
    """Which keys there are."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Back")]

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._rows = rows

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box"):
            yield Static(Text("\n".join(f"{key:<12}{words}" for key, words in self._rows)), markup=False)
