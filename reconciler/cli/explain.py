"""`explain`: what a field of a manifest means, in any folder."""

from __future__ import annotations

from dataclasses import asdict

import click

from reconciler.cli.output import Output, common
from reconciler.manifest import schema
from reconciler.manifest.model import KINDS
from reconciler.render import explanation


@click.command("explain")
@click.argument("field", metavar="[FIELD.PATH]", required=False)
@common
def explain_command(field: str | None, out: Output) -> int:
    """Say what a field of a manifest means: 'spec.agent.timeout', 'AgentProfile.spec.argv'; without one, all in brief."""
    if field is None:
        kinds = [{"kind": kind, **asdict(schema.explain(kind=kind))} for kind in KINDS]
        out.answer(kinds, lambda: explanation.tree(kinds))
        return 0
    kind, found = schema.look_up(field)
    said = {"kind": kind, **asdict(found)}
    out.answer(said, lambda: explanation.field(kind, said))
    return 0
