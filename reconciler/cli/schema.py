"""`schema`: the JSON Schema of a manifest, for editors and other programs."""

from __future__ import annotations

import click
import yaml

from reconciler.manifest import schema
from reconciler.manifest.model import KINDS
from reconciler.model.errors import UsageError
from reconciler.render import safe


@click.command("schema")
@click.argument("kind", metavar="[KIND]", type=click.Choice(list(KINDS), case_sensitive=False), required=False)
@click.option("--all", "everything", is_flag=True, help="The schemas of all kinds")
@click.option("-o", "--output", "form", type=click.Choice(["json", "yaml"]), default="json", help="Output format")
@click.option("--json", "as_json", is_flag=True, help="The same as -o json")
def schema_command(kind: str | None, everything: bool, form: str, as_json: bool) -> int:
    """Print the JSON Schema of a KIND of document (default: Epic)."""
    if kind and everything:
        raise UsageError("schema takes a kind or --all, not both")
    found = {each: schema.schema(each) for each in KINDS} if everything else schema.schema(kind or "Epic")
    if form == "yaml" and not as_json:
        click.echo(yaml.safe_dump(found, sort_keys=False), nl=False)
    else:
        click.echo(safe.json_text(found))
    return 0
