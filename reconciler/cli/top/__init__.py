"""`top`: how everything stands on a terminal, live, and what a person does about it by a key."""

from __future__ import annotations

import sys

import click

from reconciler.cli.output import Output, common, here
from reconciler.model.errors import UsageError
from reconciler.system.late import late


@click.command("top")
@click.argument("name", required=False)
@common
def top_command(name: str | None, out: Output) -> int:
    """Show every task in columns, as it happens, and act by a key; of all applied manifests, or of the one NAMEd.

    Beside a 'reconcile watch' it shows what the watch sees, and asks nobody else; without one it looks itself. A key runs
    the command of the same name. '?' lists the keys. Ctrl-C ends this and nothing else.
    """
    site = here()
    if name is not None:
        site.recorded.must_be_recorded(name)
    if not (out.interactive and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "top draws on a terminal", hint="'reconcile status' prints the same, 'reconcile status -o json' too"
        )
    code: int = late("reconciler.cli.top.app").shown(site, out, name)
    return code
