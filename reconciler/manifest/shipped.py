"""Where the files are that come with the program: at the top of a checkout, or inside an installed package."""

from __future__ import annotations

from pathlib import Path

from reconciler.model.errors import PermanentError

_PACKAGE = Path(__file__).parents[1]


def shipped() -> Path:
    """The folder with the schemas and the ready-made profiles and policies."""
    return _folder("manifests", "manifests")


def shipped_examples() -> Path:
    """The folder with the examples."""
    return _folder("examples", "examples")


def shipped_agents() -> Path:
    """The folder with the prompt templates."""
    return _folder("agents", ".claude/agents")


def _folder(inside: str, beside: str) -> Path:
    for folder in (_PACKAGE / "shipped" / inside, _PACKAGE.parent / beside):
        if folder.is_dir():
            return folder
    raise PermanentError(f"{_PACKAGE / 'shipped' / inside} is missing", hint="install reconcile again")
