"""`delete`: forget a manifest. It stops and removes nothing."""

from __future__ import annotations

import click

from reconciler import wiring
from reconciler.cli.apply import FILE, read
from reconciler.cli.output import Output, common, here
from reconciler.errors import UsageError


@click.command("delete")
@click.argument("name", required=False)
@FILE
@common
def delete_command(name: str | None, sources: tuple[str, ...], out: Output) -> int:
    """Forget the manifest NAME, or those in a file. Agents, worktrees, branches and tasks stay as they are."""
    wiring.refuse_agents(wiring.environ(), "delete")
    if bool(name) == bool(sources):
        raise UsageError("delete needs the name of a manifest, or -f FILE")
    site, names = (here(), [name]) if name else (lambda got: (got[0], [spec.name for spec in got[1]]))(read(sources))
    for each in names:
        site.recorded.delete(str(each))
    done = [
        {"action": "DeleteManifest", "task": None, "reason": "Person", "message": f"forgot {each}"} for each in names
    ]
    out.answer({"actions": done, "waiting": [], "unknown": []}, lambda: "\n".join(str(d["message"]) for d in done))
    return 0
