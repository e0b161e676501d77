"""`doctor`: look at everything that the rest stands on. It changes nothing and takes no lock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec.structs import asdict

from reconciler import doctor, wiring
from reconciler.cli.output import Output, common
from reconciler.doctor import State
from reconciler.render import doctor as shown


@click.command("doctor")
@click.option("--nodes", is_flag=True, help="Look at each machine that agents run on as well")
@common
def doctor_command(nodes: bool, out: Output) -> int:
    """Check this machine, its programs and this repository, and suggest fixes. Exit status 1: something needed is
    missing.
    """
    found = doctor.look(Path.cwd(), wiring.environ(), datetime.now(UTC), nodes=nodes)
    document = {"checks": [asdict(finding) | {"state": str(finding.state)} for finding in found]}
    out.answer(document, lambda: shown.doctor(document))
    return 1 if any(finding.state is State.PROBLEM for finding in found) else 0
