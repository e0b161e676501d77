"""Any program as an agent: `kind: command`. Its argv is the manifest's; placeholders are replaced literally."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment, Invocation

_PLACEHOLDER = re.compile(r"\{(task|epic|branch|base|worktree|attempt|prompt_file)\}")


class CommandAgent:
    """The program that the manifest names. What it prints means nothing to us."""

    program = None

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        return None

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        """The manifest's argv with its placeholders filled in; every other brace stays as it is written."""
        values = given.values
        return Invocation(argv=tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], part) for part in spec.argv))

    def report(self, log: str, ended: datetime | None = None) -> None:
        return None

    def cost(self, piece: str, before: float) -> float:
        return before

    def idle(self, line: str) -> bool:
        return False

    def answer(self, line: str) -> bytes:
        return b""

    def shown(self, log: str) -> Iterator[str]:
        return iter(log.splitlines())


agent = CommandAgent()
