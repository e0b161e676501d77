"""The recipes for `just` that ship with the program, brought into somebody's repository."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.cli.defaults import FILE, RECIPES
from reconciler.cli.first_agent import first_agent
from reconciler.cli.found import checks
from reconciler.manifest import Located, shipped
from reconciler.model.errors import UsageError
from reconciler.system import files

IMPORT = f"import '{RECIPES}'"
JUSTFILE = f"""\
{IMPORT}

[private]
default:
    @just --list
"""
SETTINGS = """\
# What 'reconcile run' and 'reconcile spawn' (just orchestrate, just worker) go by for tasks that no manifest of yours
# speaks of: everything that a manifest can say but the tasks. Manifests that you apply go before it.
apiVersion: reconcile/v1
kind: Epic
metadata:
  name: everything-else
spec:
  base: {base}
  maxAgents: 4
{agent}
  mergePolicy:
    checks: {checks}
    review: none        # human: a person approves every pull request first
  # forge: local        # land in this repository although its remote is on a server
"""
_IMPORTED = re.compile(rf"^\s*import\??\s+(['\"])(\./)?{re.escape(RECIPES)}\1", re.MULTILINE)


def bring(located: Located, environ: Mapping[str, str]) -> Iterator[str]:
    """Write the recipes, the settings they go by, and a justfile where there is none; what was done, line by line.

    Doing it again changes nothing. Raises UsageError for recipes that somebody changed: nothing is written then.
    """
    top = located.main
    wanted = (shipped() / RECIPES).read_text("utf-8")
    there = _text(top / RECIPES)
    if there not in (None, wanted):
        raise UsageError(
            f"{top / RECIPES} is not as it ships: it was changed, or is of another version",
            hint="move it away to get a new one; nothing was written",
        )
    yield _written(top / RECIPES, wanted, there)
    yield _written(top / FILE, _settings(located, environ), _text(top / FILE))
    yield from _imported(top)


def _imported(top: Path) -> Iterator[str]:
    """The justfile that imports the recipes, or what to add to the one that is there."""
    mine = next((file for file in sorted(top.iterdir()) if file.name.lower() in ("justfile", ".justfile")), None)
    if mine is None:
        yield _written(top / "justfile", JUSTFILE, None)
    elif _IMPORTED.search(mine.read_text("utf-8", "replace")):
        yield f"{mine.name} imports them already"
    else:
        yield f"add this line to {mine.name}:  {IMPORT}"


def _settings(located: Located, environ: Mapping[str, str]) -> str:
    return SETTINGS.format(
        base=json.dumps(located.default_base or "main"),
        agent=first_agent(environ),
        checks=json.dumps(list(checks(located.main))),
    )


def _text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None


def _written(file: Path, text: str, before: str | None) -> str:
    """Write a file where there is none, as a whole; what was done."""
    if before is not None:
        return f"{file.name} is there already"
    files.replace(file, text, mode=0o666)
    return f"wrote {file.name}"
