"""`explain`: what a field of a manifest means, in any folder."""

from __future__ import annotations

from typing import Any

import click
from msgspec import to_builtins

from reconciler.cli.output import Output, common, here
from reconciler.manifest import form, schema
from reconciler.manifest.findings import did_you_mean
from reconciler.manifest.model import KINDS
from reconciler.model.errors import ReconcileError, UsageError
from reconciler.model.reasons import Reason
from reconciler.render import agents, explanation, reasons

LISTS = {"reasons": reasons, "agents": agents}
_PRIVATE = "agent.env"  # its values may be secrets


@click.command("explain")
@click.argument("field", metavar="[FIELD.PATH]", required=False)
@common
def explain_command(field: str | None, out: Output) -> int:
    """Explain a field of a manifest: 'spec.agent.timeout', 'AgentProfile.spec.argv'; without one, all in brief.

    'reasons' lists every reason that 'status', 'diff' and JSON documents name; 'agents' what each kind of agent reports.
    """
    if listed := LISTS.get((field or "").lower()):
        out.answer(listed.document(), listed.table)
        return 0
    if field is None:
        kinds = [{"kind": kind, **to_builtins(schema.explain(kind=kind))} for kind in KINDS]
        out.answer(kinds, lambda: explanation.tree(kinds))
        return 0
    if row := next((row for row in reasons.document() if row["reason"].lower() == field.lower()), None):
        out.answer(row, lambda: reasons.one(row))
        return 0
    kind, found = _looked_up(field)
    fields = {"kind": kind, **to_builtins(found), "recorded": _recorded(found.path) if kind == "Epic" else {}}
    out.answer(fields, lambda: explanation.field(kind, fields))
    return 0


def _looked_up(field: str) -> tuple[str, schema.Field]:
    try:
        return schema.look_up(field)
    except UsageError as error:
        paths = [inner.path for inner in schema.every(schema.explain())]
        known = (*LISTS, *Reason, *paths, *(path.removeprefix("spec.") for path in paths))
        meant = {path for path in known if path.lower() == field.lower()} - {field}
        if len(meant) == 1:
            return _looked_up(*meant)
        raise UsageError(str(error), hint=did_you_mean(field, known) or error.hint) from error


def _recorded(path: str) -> dict[str, Any]:
    """What the manifests that are recorded here say in a field, by name; nothing where none can be read."""
    section, _, field = path.partition(".")
    if section != "spec" or not field or field.startswith(_PRIVATE):
        return {}
    try:
        return {spec.name: form.value_of(spec, field) for spec in here().recorded.load().epics}
    except ReconcileError:
        return {}
