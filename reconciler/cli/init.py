"""`init`: look at a repository and write a first manifest that fits it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from reconciler import wiring
from reconciler.cli.output import Output, common
from reconciler.errors import UsageError

TEMPLATE = """\
# What you want: the loop compares this with what it sees and brings the two together.
#   reconcile diff  -f {file}               what would be done, and why
#   reconcile apply -f {file}               record it and begin
#   reconcile watch --until-done{pad}keep going until everything is merged
apiVersion: reconcile/v1
kind: Epic
metadata:
  name: {name}
spec:
  tasks:
    - key: first
      title: Say what is to be done
      description: |
        As much as a colleague would need who has never seen this repository.
      acceptance: What must be true when it is done.
    - key: second
      title: Something that needs the first
      dependsOn: [first]
  base: {base}
  maxAgents: 2
  agent:
    kind: command
    # Any program: it works in the current directory, commits on its branch and ends with 0.
    # The task and all that is known about it are in the file that $RECONCILE_PROMPT names.
    argv: [/bin/sh, -c, "echo replace me with your agent; exit 1"]
    timeout: 2h
  mergePolicy:
    checks: {checks}
    review: none        # human: a person approves every pull request first
"""


@click.command("init")
@click.argument("file", default="epic.yaml", type=click.Path(dir_okay=False, path_type=Path))
@common
def init_command(file: Path, out: Output) -> int:
    """Write a first manifest for this repository to FILE (epic.yaml), with what is found here filled in."""
    if file.exists():
        raise UsageError(f"{file} exists already", hint="name another file: reconcile init FILE")
    located = wiring.locate(Path.cwd(), wiring.environ())
    base = located.default_base or "main"
    checks = list(_checks(located.main))
    text = TEMPLATE.format(
        file=file,
        pad=" " * max(1, len(f" -f {file}") - 1),
        name=_name(located.main),
        base=json.dumps(base),
        checks=json.dumps(checks)
        + ("" if checks else "          # for example: [make test]; run on the merged tree before it lands"),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    found = (
        f"checks: {', '.join(checks)}" if checks else "no check was found: say what must pass under mergePolicy.checks"
    )
    done = {"action": "WriteManifest", "task": None, "reason": "Person", "message": f"wrote {file}; {found}"}
    out.answer({"actions": [done], "waiting": [], "unknown": []}, lambda: _next(file, base, found))
    return 0


def _next(file: Path, base: str, found: str) -> str:
    return f"wrote {file} (base {base}; {found})\nsay in it which tasks and which agent, then: reconcile diff -f {file}"


def _name(main: Path) -> str:
    text = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in main.name.lower()).strip("-")
    return text[:63].strip("-") or "epic"


def _checks(main: Path) -> Iterator[str]:
    """The command that checks this repository, where its files name one."""
    for file, line, command in (
        ("justfile", "check", "just check"),
        ("justfile", "test", "just test"),
        ("Makefile", "check", "make check"),
        ("Makefile", "test", "make test"),
    ):
        if _has_target(main / file, line):
            yield command
            return
    if _npm_test(main / "package.json"):
        yield "npm test"
    elif (main / "Cargo.toml").is_file():
        yield "cargo test"
    elif (main / "go.mod").is_file():
        yield "go test ./..."
    elif (main / "tests").is_dir() and (main / "pyproject.toml").is_file():
        yield "python -m pytest -q"


def _has_target(file: Path, name: str) -> bool:
    if not file.is_file():
        return False
    return any(line.startswith((f"{name}:", f"{name} ")) for line in file.read_text("utf-8", "replace").splitlines())


def _npm_test(file: Path) -> bool:
    try:
        package = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    scripts = package.get("scripts") if isinstance(package, dict) else None
    return isinstance(scripts, dict) and "test" in scripts
