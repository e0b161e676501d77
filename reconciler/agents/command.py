"""Any program as an agent: `kind: command`. Its argv is the manifest's; placeholders are replaced literally."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.desired import AgentSpec

_PLACEHOLDER = re.compile(r"\{(task|epic|branch|base|worktree|attempt|prompt_file)\}")


class CommandAgent:
    """The program that the manifest names."""

    def argv(self, spec: AgentSpec, values: Mapping[str, str]) -> tuple[str, ...]:
        """The manifest's argv with its placeholders filled in; every other brace stays as it is written."""
        return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], part) for part in spec.argv)


agent = CommandAgent()
