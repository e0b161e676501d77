"""The agent in a first manifest: one whose program is here, else a place to put one."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping

from reconciler.cli.found import agents
from reconciler.model.agent_kinds import AgentKind

ANY_AGENT = """\
agent:                  # or 'agent: claude'; see 'reconcile explain agents'
  kind: command
  # Put your agent here. It works in the current directory, commits on its
  # branch and exits with 0. {prompt_file} is the file with its task, and all
  # that is known about it.
  argv: [put-your-agent-here, "{prompt_file}"]
  timeout: 2h"""


def found(environ: Mapping[str, str]) -> AgentKind | None:
    """The agent that a first manifest names; None where no program of one is here."""
    return next(iter(agents(environ.get("PATH", ""))), None)


def first_agent(environ: Mapping[str, str]) -> str:
    """The lines of `spec` that say which agent works and what it may cost; where none is here, a place to put one."""
    kinds = agents(environ.get("PATH", ""))
    return textwrap.indent("\n".join(_lines(kinds, environ)) if kinds else ANY_AGENT, "  ")


def _lines(kinds: list[AgentKind], environ: Mapping[str, str]) -> Iterator[str]:
    kind, *others = kinds
    yield "agent:"
    yield f"  kind: {kind}" + (f"          # also here: {', '.join(others)}" if others else "")
    yield "  # It asks nobody before it does anything. 'reconcile doctor' says whether it is logged in."
    if kind is AgentKind.CLAUDE and not os.geteuid() and environ.get("IS_SANDBOX") != "1":
        yield "  # As root it works only where this says that nothing outside can be harmed:"
        yield '  # env: {IS_SANDBOX: "1"}'
    yield "  timeout: 2h"
    yield "# budget: {usd: 25, usdPerTask: 5}" if kind.row.reports_cost else "# budget: {tokens: 5000000}"
