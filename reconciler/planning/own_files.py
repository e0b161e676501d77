"""The files of a repository that are part of its manifest: itself, and the prompts and scripts that it names. Pure.

Whoever writes there decides who says yes: so they are a person's to change, whatever the policy protects.
"""

from __future__ import annotations

import posixpath
from functools import lru_cache

from reconciler.model.desired import EpicSpec
from reconciler.planning.command_files import run_by


def own_files(spec: EpicSpec) -> frozenset[str]:
    """Their paths, without case: the manifest, the prompts that it names, and what the command line of its reviewer names,
    which is run in a worktree of the change."""
    prompts = tuple(agent.prompt for agent in (spec.agent, spec.reviewer) if agent and agent.prompt)
    argv = spec.reviewer.argv if spec.reviewer and spec.merge.reviewed_by_agents else ()
    return _of(spec.repository, spec.checks_venue.root, (spec.source, *prompts), argv)


@lru_cache(maxsize=64)
def _of(main: str, root: str, written: tuple[str, ...], argv: tuple[str, ...]) -> frozenset[str]:
    at = posixpath.join(root or main, ".checks", "review")
    named = (posixpath.normpath(posixpath.join(at, word)) if word.startswith("../") else word for word in argv)
    found = (
        *(path.removeprefix(f"{main}/") for path in written if path),
        *run_by(word.replace(f"{main}/", "") for word in named),
    )
    return frozenset(path.removesuffix("#scripts").casefold() for path in found)
