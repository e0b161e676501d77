"""What every command shares: `-o`, `--json`, `--no-color`, and where things are printed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from rich.console import Console, RenderableType

from reconciler import wiring
from reconciler.model.errors import ReconcileError
from reconciler.model.values import replace
from reconciler.render import safe, text
from reconciler.system.journal import Event
from reconciler.system.late import late
from reconciler.wiring import Site


class Output(Struct, frozen=True, kw_only=True):
    """Where a command's answer goes: documents for programs, text for people, chatter beside both."""

    form: str
    color: bool
    timed: bool = False  # what runs for days is read in the morning
    verbose: bool = False  # shows housekeeping too

    @property
    def for_people(self) -> bool:
        return self.form == "text"

    @property
    def interactive(self) -> bool:
        """True where a picture can be drawn and is wanted: for people, on a terminal that can move its cursor."""
        return self.for_people and sys.stdout.isatty() and not self.console().is_dumb_terminal

    def answer(self, document: object, text: Callable[[], RenderableType]) -> None:
        """Print the command's result in the form that was asked for."""
        if self.form == "json":
            click.echo(safe.json_text(document))
        elif self.form == "yaml":
            click.echo(late("yaml").safe_dump(document, sort_keys=False), nl=False)
        else:
            self.console().print(text())

    def acted(self, site: Site, action: str, task: str | None, message: str) -> int:
        """Print the one thing that a command did at a person's word, and add it to the history; the exit code."""
        done = [act(action, task, message)]
        self.noted(site, done)
        self.answer_acts(done, f"{task}  {message}" if task else message)
        return 0

    def answer_acts(self, done: Sequence[dict[str, Any]], message: str) -> None:
        """Print what a command did at a person's word, in the form of a plan."""
        self.answer({"actions": done, "waiting": [], "unknown": []}, lambda: message)

    def noted(self, site: Site, done: Iterable[dict[str, Any]]) -> None:
        """Add to the history what was done at a person's word; where that can't be written, it is done all the same."""
        at = datetime.now(UTC)
        try:
            site.journal.append([Event(at=at, event="PersonActed", values=each) for each in done])
        except ReconcileError as error:
            self.chat(str(error))

    def line(self, text: str) -> None:
        """Print one line of a result that comes bit by bit; nothing where programs read it."""
        if self.for_people:
            click.echo(f"{self._time()}{text}")

    def next(self, document: object) -> None:
        """Print one document of a result that comes bit by bit; nothing where people read it."""
        if self.form == "json":
            click.echo(safe.json_line(document))
        elif self.form == "yaml":
            click.echo(late("yaml").safe_dump(document, sort_keys=False, explicit_start=True), nl=False)

    def chat(self, text: str) -> None:
        """Say something beside the result, on standard error."""
        click.echo(f"{self._time()}{safe.block(text)}", err=True)

    def _time(self) -> str:
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}  " if self.timed else ""

    def console(self) -> Console:
        """Standard output, plain where it is no terminal or colour is not wanted."""
        return text.console(no_color=not self.color)


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `-o`, `--json` and `--no-color`; it gets an `Output` as `out`."""

    @click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="Output format")
    @click.option("--json", "as_json", is_flag=True, help="The same as -o json")
    @click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR)")
    @functools.wraps(command)
    def wrapped(*args: Any, output: str, as_json: bool, no_color: bool, **kwargs: Any) -> Any:
        color = not no_color and not wiring.environ().get("NO_COLOR")
        return command(*args, out=Output(form="json" if as_json else output, color=color), **kwargs)

    return wrapped


def verbose(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that acts `-v`; for below `common`."""

    @click.option("-v", "--verbose", "wordy", is_flag=True, help="Show housekeeping too: labels, check worktrees")
    @functools.wraps(command)
    def wrapped(*args: Any, wordy: bool, out: Output, **kwargs: Any) -> Any:
        return command(*args, out=replace(out, verbose=wordy), **kwargs)

    return wrapped


def looking(command: Callable[..., Any]) -> Callable[..., Any]:
    """For commands that only look, and those that do with `--dry-run`: they leave nothing where nothing was."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with wiring.leaving_nothing() if kwargs.get("dry_run", True) else nullcontext():
            return command(*args, **kwargs)

    return wrapped


def act(action: str, task: str | None, message: str, reason: str = "Person") -> dict[str, Any]:
    """What a command did at a person's word, in the form of a plan's actions."""
    return {"action": action, "task": task, "reason": reason, "message": message, "evidence": {}}


def here() -> Site:
    """The repository that the command was called in."""
    return wiring.open_site(Path.cwd(), wiring.environ())
