"""The commands: parse, wire, print, exit code. No decisions. Each command's module is imported when it is called."""

from __future__ import annotations

import atexit
import difflib
import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem

from reconciler import __version__
from reconciler.cli import streams
from reconciler.model.errors import LockedError, ManifestError, ReconcileError, UsageError
from reconciler.render import safe
from reconciler.system import refused

COMMANDS: dict[str, tuple[str, str]] = {
    "apply": ("apply", "Record a manifest and do what can be done now"),
    "diff": ("apply", "Show what apply would do, and why"),
    "watch": ("watch", "Continuously reconcile all applied manifests"),
    "run": ("run", "Work through an epic, or all tasks, without a manifest"),
    "status": ("status", "Show every task, and what happens to it next"),
    "describe": ("status", "Show everything about one task"),
    "logs": ("status", "Show what a task's agent printed"),
    "top": ("top", "Show every task on this terminal, live, and act by a key"),
    "ui": ("ui", "Open a page on this machine that shows it all, and acts"),
    "get": ("get", "List tasks, runs, worktrees, pull requests, events or manifests"),
    "pr": ("pr", "Look at pull requests: list, show, diff"),
    "approve": ("people", "Approve a task's pull request"),
    "reject": ("people", "Request changes on a task's pull request"),
    "retry": ("people", "Start a task over: its attempts count from 1 again"),
    "stop": ("hands", "Stop a task's agent, or all of them"),
    "spawn": ("spawn", "Start one agent for a task now"),
    "take": ("hands", "Take over a task; automation leaves it alone"),
    "release": ("hands", "Give back a task that you took over"),
    "merge": ("merge", "Run checks on and merge open pull requests"),
    "prune": ("prune", "Remove the worktrees of closed tasks"),
    "restore": ("prune", "Bring saved work back to a branch"),
    "task": ("task", "Manage tasks in the built-in tracker"),
    "suspend": ("manifests", "Pause a manifest until it is resumed"),
    "resume": ("manifests", "Resume a suspended manifest"),
    "unfreeze": ("manifests", "Let a merge queue go on that pauses"),
    "delete": ("manifests", "Delete a manifest; its tasks, branches and agents are kept"),
    "service": ("service", "Have the watch run as a service of yours"),
    "notify": ("notify", "Try out whom a manifest notifies"),
    "explain": ("explain", "Explain a field of a manifest, or a reason"),
    "schema": ("schema", "Print the JSON Schema of a manifest"),
    "completion": ("completion", "Print a completion script for your shell"),
    "init": ("init", "Write a first manifest for this repository"),
    "doctor": ("doctor", "Check the environment and suggest fixes"),
    "demo": ("demo", "See it work in a throwaway repository"),
}
PROGRAM, COMPLETE_VARIABLE = "reconcile", "_RECONCILE_COMPLETE"
# What is read stays for long: looking through it all, over and over, takes a short command's time.
COLLECT_AFTER = 10_000
EXIT_USAGE, EXIT_NEEDS_PERSON, EXIT_TIMEOUT, EXIT_LOCKED = 2, 3, 4, 5


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = _imported(f"reconciler.cli.{COMMANDS[name][0]}")
        found: click.Command = getattr(module, f"{name}_command")
        if ctx.resilient_parsing:  # the shell asks what may come next
            found = _imported("reconciler.cli.completion").completing(found)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "'reconcile --help' lists them"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        # Their modules stay unread here too.
        return [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Their modules stay unread: help is asked for most often.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def program() -> None:
    """Drive many coding agents over one repository: say what you want, it sees to the rest."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    gc.set_threshold(COLLECT_AFTER)
    signal.signal(signal.SIGTERM, _end)
    ended: list[int] = []
    atexit.register(_leave, ended)  # what is registered first is called last
    with streams.standard():
        ended.append(called(sys.argv[1:] if argv is None else argv))
        sys.exit(ended[0])


def _leave(ended: Sequence[int]) -> None:
    """End here, where a command came to its end: to take thousands of objects apart takes a tenth of its time."""
    if ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended[0])


def _imported(name: str) -> Any:
    """A module. What is imported stays: looking through it for what is not needed is a tenth of a short command's time."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def _end(number: int, frame: FrameType | None) -> None:
    """End this process as soon as it can be: what is raised while logging holds its lock around a fork is dropped."""
    if frame is not None and frame.f_globals.get("__name__") == "logging":
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        return
    sys.exit(128 + number)


def called(argv: Sequence[str]) -> int:
    """Run a command; its exit code. Not `run`: that is the module of a command, and takes the name once it is imported."""
    try:
        result = program.main(list(argv), prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.UsageError) and (hint := _hint(error)):
            click.echo(f"  hint: {hint}", err=True)
        return EXIT_USAGE
    except ReconcileError as error:
        click.echo(safe.block(f"{error}\n  hint: {error.hint}" if error.hint else str(error)), err=True)
        return _code(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What the machine or a file system refuses (a right, room, a lock), where nobody has a better word for it.
        message, hint = refused.words(error)
        hint = f"{hint}; " if hint else ""
        click.echo(safe.block(f"{message}\n  hint: {hint}'reconcile doctor' looks at this machine"), err=True)
        return 1


def _hint(error: click.UsageError) -> str | None:
    """What was meant where one word too many is the name of a manifest."""
    if error.ctx is None or "unexpected extra argument" not in error.message:
        return None
    takes_files = any(param.name == "sources" for param in error.ctx.command.params)
    return f"manifests are named with -f: {error.ctx.command_path} -f FILE" if takes_files else None


def _code(error: ReconcileError) -> int:
    match error:
        case ManifestError() | UsageError():
            return EXIT_USAGE
        case LockedError():
            return EXIT_LOCKED
        case _:
            return 1
