"""A recorded manifest, read in a repository that does not stand where it stood when the manifest was recorded."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import EpicSpec
from reconciler.model.values import replace


def anchored(spec: EpicSpec, main: Path) -> EpicSpec:
    """The manifest as it is meant in the repository whose main checkout is `main`.

    A repository that was moved takes the paths of its manifests along. In a copy, a manifest speaks of the original:
    its agents would be given the original's tasks, so it is held until it is recorded here.
    """
    before = spec.repository
    if not before or before == str(main) or _same(before, main):
        return spec
    if os.path.lexists(before):
        return replace(
            spec,
            invalid=(
                f"it was recorded for {before}, and this is {main}; "
                f"'reconcile apply -f FILE' records it for this one, 'reconcile delete {spec.name}' forgets it here"
            ),
        )
    return replace(
        spec,
        repository=str(main),
        worktrees=replace(spec.worktrees, root=_along(spec.worktrees.root, before, main)),
        agent=_prompted(spec.agent, before, main),
        reviewer=spec.reviewer and _prompted(spec.reviewer, before, main),
    )


def _prompted(agent: AgentSpec, before: str, main: Path) -> AgentSpec:
    return replace(agent, prompt=agent.prompt and _along(agent.prompt, before, main))


def _along(path: str, before: str, main: Path) -> str:
    """A path that was recorded beside a repository, beside where that stands now; one that is still there stays."""
    if os.path.lexists(path):
        return path
    return os.path.normpath(main / os.path.relpath(path, before))


def _same(one: str, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
