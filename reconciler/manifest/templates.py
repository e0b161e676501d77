"""The texts that agents are told their tasks with: the manifest's, the repository's own, or the one that ships."""

from __future__ import annotations

import re
from pathlib import Path

from reconciler.manifest.shipped import shipped_agents
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import PermanentError

WORKER, MERGER = ".claude/agents/worker.md", ".claude/agents/merger.md"
_SPEAKS_OF_THE_TASK = re.compile(r"\{(task|title|description)\}|\$TASK_ID\b")


class Templates:
    """`ports.Prompts` on files; `main`: the main checkout."""

    def __init__(self, main: Path) -> None:
        self._main = main

    def template(self, spec: EpicSpec) -> str:
        """The text of the worker's template, without its front matter."""
        if spec.agent.prompt:
            return _without_front_matter(_text(Path(spec.agent.prompt)))
        own = self._main / WORKER
        text = _text(own) if own.is_file() else ""
        # Somebody's worker may be one for another tool: what does not speak of the task can't be its prompt.
        if not _SPEAKS_OF_THE_TASK.search(text):
            text = _text(shipped_agents() / "worker.md")
        return _without_front_matter(text)

    def review(self, spec: EpicSpec) -> str:
        """What a reviewer is to look for, without its front matter. What it is about is put to it by others."""
        if prompt := spec.reviewing.prompt:
            return _without_front_matter(_text(Path(prompt)))
        own = self._main / MERGER
        return _without_front_matter(_text(own if own.is_file() else shipped_agents() / "merger.md"))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path}: the prompt template can't be read: {error}") from error


def _without_front_matter(text: str) -> str:
    # An agent's CLI could take a prompt that begins with dashes for an option.
    if not text.startswith("---\n"):
        return text
    _, _, rest = text[4:].partition("\n---\n")
    return rest.lstrip() or text
