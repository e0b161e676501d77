"""`completion`: what a shell needs to complete commands, options, tasks and manifests; and the answers that it then gets.

The shell runs this program with `_RECONCILE_COMPLETE` set, in the middle of a line that somebody types: an answer is
fast, and nothing that goes wrong on the way to it is worth a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from reconciler import wiring
from reconciler.cli import COMPLETE_VARIABLE, PROGRAM, program
from reconciler.git import repository
from reconciler.manifest import Recorded
from reconciler.model.errors import ReconcileError, UsageError
from reconciler.model.names import MANIFEST_NAME, usable
from reconciler.render import safe
from reconciler.system.late import late
from reconciler.trackers.jsonl import JsonlTracker

SHELLS = ("bash", "zsh", "fish")
TITLE_MAX = 60

Known = Callable[[str], Iterable[tuple[str, str]]]
"""What may stand there and what it is, given its beginning. More than fits the beginning does no harm."""


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> int:
    """Print the completion script of a SHELL.

    \b
    bash (4.4 or newer), in ~/.bashrc:      eval "$(reconcile completion bash)"
    zsh, in ~/.zshrc, after compinit:       eval "$(reconcile completion zsh)"
    fish, once:                             reconcile completion fish > ~/.config/fish/completions/reconcile.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"this version of click knows no completion for {shell}")
    # Its own `source` would start a bash to ask for its version.
    script = ShellComplete.source(found(program, {}, PROGRAM, COMPLETE_VARIABLE))
    # Click's own script for fish cuts the description of a choice at its first comma.
    click.echo(script.replace('string split ","', 'string split --max 1 ","'), nl=False)
    return 0


class _Known(click.ParamType[Any]):
    """Text that is completed from what is known here."""

    name = "text"

    def __init__(self, known: Known) -> None:
        self._known = known

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        try:
            return [
                CompletionItem(value, help=safe.line(each, TITLE_MAX))
                for value, each in self._known(incomplete)
                if value.startswith(incomplete)
            ]
        except Exception:  # noqa: BLE001 - no repository, a damaged store: nothing to offer, and no place to say so
            return []


def completing(command: click.Command) -> click.Command:
    """The command, with those of its parameters that name a task, a manifest, a field or a file completed.

    They are known by their names: a new command has it without saying so.
    """
    for param in command.params:
        if known := KNOWN.get(param.name or ""):
            param.type = _Known(known)
        elif param.name in FILES:
            param.type = click.Path()
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        completing(inner)
    return command


def _tasks(_: str) -> Iterable[tuple[str, str]]:
    """Every task that may be named, open ones first; where the store can't be read, those that were seen running."""
    beads = repository.find(Path.cwd(), wiring.environ()).main / ".beads"
    try:
        found = sorted(JsonlTracker(beads).tasks().values(), key=lambda task: (task.closed, task.id))
    except ReconcileError:
        seen = json.loads((beads / "orchestrator" / "state.json").read_bytes())
        return [(task, "") for task in sorted(seen) if usable(task)]
    return [(task.id, task.title) for task in found if usable(task.id)]


def _manifests(_: str) -> Iterable[tuple[str, str]]:
    found = Recorded(repository.find(Path.cwd(), wiring.environ()).state).load()
    names = [*((spec.name, spec.source) for spec in found.epics), *found.problems.items()]
    return sorted((name, each) for name, each in names if MANIFEST_NAME.fullmatch(name))


def _fields(incomplete: str) -> Iterable[tuple[str, str]]:
    """Fields one step below what is there already: with all of them at once nobody sees where to go."""
    schema = late("reconciler.manifest.schema")
    found = [(field.path, field.description) for field in schema.every(schema.explain())]
    return [(path, each) for path, each in found if path.count(".") <= incomplete.count(".") + 1]


KNOWN: dict[str, Known] = {
    **dict.fromkeys(("task", "of", "id", "on", "parent", "epic", "pr"), _tasks),
    "name": _manifests,
    "field": _fields,
}
FILES = ("sources",)
