"""`init`: look at a repository and write a first manifest that fits it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from reconciler import wiring
from reconciler.cli import first_agent, recipes
from reconciler.cli.defaults import FILE
from reconciler.cli.found import checks
from reconciler.cli.output import Output, act, common, here
from reconciler.loop.asking import ask
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import UsageError
from reconciler.model.observed import Unknown
from reconciler.planning.graph import Index, order
from reconciler.planning.messages import listed
from reconciler.render import safe
from reconciler.wiring import Site

TEMPLATE = """\
# What you want. reconcile compares it with what is there, and does the rest.
#   reconcile diff  -f {file}    what would be done, and why
#   reconcile apply -f {file}    record it and begin
#   reconcile watch --until-done{pad}keep going until everything is merged
apiVersion: reconcile/v1
kind: Epic
metadata:
  name: {name}
spec:
{work}
  base: {base}{forge}
  maxAgents: 2
{agent}
  mergePolicy:
    checks: {checks}
    review: none  # or agent, human, {{low: none, normal: agent, high: human}}
"""

TASKS = """\
  tasks:
    - key: first
      title: Say what is to be done
      description: |
        As much as a colleague would need who has never seen this repository.
      acceptance: What must be true when it is done.
    - key: second
      title: Something that needs the first
      dependsOn: [first]"""
EPICS_MAX = 10
TITLE_MAX = 60


@click.command("init")
@click.argument("file", default="epic.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--justfile", is_flag=True, help="Bring in the recipes for just instead (just orchestrate, just worker, …)"
)
@common
def init_command(file: Path, justfile: bool, out: Output) -> int:
    """Write a first manifest for this repository to FILE (epic.yaml), with what is found here filled in.

    With --justfile: write reconcile.just with its recipes, reconcile.yaml with what they go by, and a justfile that
    imports them where there is none. Nothing that is there is overwritten.
    """
    environ = wiring.environ()
    located = wiring.locate(Path.cwd(), environ)
    if justfile:
        done = list(recipes.bring(located, environ))
        kind = first_agent.found(environ)
        then = (
            f"its agent is {kind}; next: just orchestrate" if kind else "name your agent there, then: just orchestrate"
        )
        return _answer(out, done, "\n".join((*done, f"settings are in {FILE}: {then}")))
    if file.exists():
        raise UsageError(f"{file} exists already", hint="name another file: reconcile init FILE")
    base = located.default_base or "main"
    if located.default_base is None:
        out.chat(f"the checkout is on no branch: base {base} is a guess, look at it")
    site, found = here(), list(checks(located.main))
    text = TEMPLATE.format(
        work=_work(site, out),
        forge=_forge(site, base),
        file=file,
        pad=" " * max(1, len(f"apply -f {file}    ") - len("watch --until-done")),
        name=_name(located.main),
        base=json.dumps(base),
        agent=first_agent.first_agent(environ),
        checks=json.dumps(found) + ("" if found else "    # such as [make test]; run on the merged tree"),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    what = f"checks: {', '.join(found)}" if found else "no check was found"
    kind = first_agent.found(environ)
    what = f"agent: {kind}; {what}" if kind else what
    to_edit = (("tasks", TASKS in text), ("agent", not kind), ("mergePolicy.checks", not found))
    left = [name for name, is_left in to_edit if is_left]
    return _answer(out, [f"wrote {file}; {what}"], _next(file, base, what, left))


def _forge(site: Site, base: str) -> str:
    """Nothing where it is found out; else the one that works here: a first manifest is not to be held."""
    if not site.chosen.choice.refused(EpicSpec(name="", base=base)):
        return ""
    if site.chosen.choice.there:
        return "\n  forge: github"
    return "\n  forge: local        # work lands in this repository; 'mergePolicy.push: true' brings it to its remote"


def _work(site: Site, out: Output) -> str:
    """What is to be done: an epic of the Beads database that is here, else tasks to be filled in."""
    if not (database := ask(site.database)) or isinstance(database, Unknown):
        return TASKS
    tasks = ask(site.tracker.tasks)
    if isinstance(tasks, Unknown):
        out.chat(f"the tasks of the Beads database can't be read: {tasks.why}")
        return TASKS
    index = Index(tasks)
    epics = sorted((task for task in tasks.values() if index.is_epic(task.id) and not task.closed), key=order)
    if not epics:
        return TASKS
    first, *others = (f"{task.id}   # {safe.line(task.title, TITLE_MAX)}" for task in epics[:EPICS_MAX])
    return "\n".join([f"  epic: {first}", *(f"  # epic: {other}" for other in others)])


def _answer(out: Output, done: list[str], text: str) -> int:
    out.answer_acts([act("WriteManifest", None, line) for line in done], text)
    return 0


def _next(file: Path, base: str, found: str, left: Sequence[str]) -> str:
    then = f"edit its {listed(left)}, then" if left else "next"
    return f"wrote {file} (base {base}; {found})\n{then}:\n  reconcile diff -f {file}"


def _name(main: Path) -> str:
    text = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in main.name.lower()).strip("-")
    return text[:63].strip("-") or "epic"
